//! What an import did so far, and how that is told.

use indicatif::ProgressBar;
use serde_json::json;

use super::line::Fault;
use crate::failure::Failure;
use crate::report;

/// Counts lines by outcome.
pub(super) struct Tally {
    pub(super) created: u64,
    pub(super) replaced: u64,
    pub(super) unchanged: u64,
    pub(super) rejected: u64,
    bar: ProgressBar,
    json: bool,
}

impl Tally {
    /// Tells on `bar` how far it is; `json` makes the report one of JSON lines.
    pub(super) fn new(bar: ProgressBar, json: bool) -> Self {
        Self { created: 0, replaced: 0, unchanged: 0, rejected: 0, bar, json }
    }

    pub(super) fn read(&self, bytes: usize) {
        self.bar.inc(bytes as u64);
    }

    /// Brings the bar's words up to date.
    pub(super) fn show(&self) {
        let lines = self.created + self.replaced + self.unchanged + self.rejected;
        let seconds = self.bar.elapsed().as_secs_f64().max(0.001);
        self.bar.set_message(format!("{lines} lines, {:.0}/s", lines as f64 / seconds));
    }

    pub(super) fn reject(&mut self, number: u64, fault: &Fault) {
        self.rejected += 1;
        self.bar.suspend(|| match self.json {
            true => {
                report::line(json!({ "rejected": { "line": number, "error": fault.to_json() } }))
            }
            false => report::line(format_args!("line {number}: {fault}")),
        });
    }

    /// Takes the bar away and says what was done.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
        let Self { created, replaced, unchanged, rejected, .. } = self;
        match self.json {
            true => report::line(json!({ "imported": {
                "created": created, "replaced": replaced, "unchanged": unchanged, "rejected": rejected,
            } })),
            false => report::line(format_args!(
                "{created} created, {replaced} replaced, {unchanged} already there, {rejected} rejected"
            )),
        }
    }

    pub(super) fn verdict(&self) -> Result<(), Failure> {
        match self.rejected {
            0 => Ok(()),
            1 => Err(Failure::negative("import", "1 line was rejected")),
            many => Err(Failure::negative("import", format!("{many} lines were rejected"))),
        }
    }
}
