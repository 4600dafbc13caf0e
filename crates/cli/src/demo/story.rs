//! How the demo tells what it does, and the claims it must keep.

use std::fmt::Display;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::args::Format;
use crate::failure::Failure;
use crate::output::Output;
use crate::report;
use crate::session::Session;
use crate::table;

/// Tells chapter by chapter and keeps the results for the summary.
///
/// The story is what the demo is for, so it goes to stdout; only where JSON is asked for it makes room for the results.
pub(super) struct Story<'session> {
    output: &'session mut Output,
    json: bool,
    chapters: usize,
    claims: usize,
    results: Vec<(&'static str, String, Duration)>,
}

impl<'session> Story<'session> {
    pub(super) fn new(session: &'session mut Session) -> Self {
        let json = session.global.output == Some(Format::Json);
        Self { output: &mut session.output, json, chapters: 0, claims: 0, results: Vec::new() }
    }

    pub(super) fn say(&mut self, text: impl Display) -> Result<(), Failure> {
        if self.json {
            report::line(text);
            return Ok(());
        }
        self.output.line(text)?;
        self.output.flush()
    }

    pub(super) fn chapter(&mut self, title: &str) -> Result<(), Failure> {
        self.chapters += 1;
        let number = self.chapters;
        self.say(format_args!("\n{number}. {title}"))
    }

    /// Tells a result, which the summary will have again.
    pub(super) fn show(
        &mut self,
        step: &'static str,
        result: String,
        took: Duration,
    ) -> Result<(), Failure> {
        self.say(format_args!("   {result} ({})", human(took)))?;
        self.results.push((step, result, took));
        Ok(())
    }

    /// Goes on if `holds`, else ends the demo: it says nothing that it has not seen.
    pub(super) fn claim(&mut self, holds: bool, statement: &str) -> Result<(), Failure> {
        self.claims += 1;
        if holds {
            return Ok(());
        }
        Err(Failure::negative("demo", format!("this does not hold: {statement}")))
    }

    /// Tells the summary.
    pub(super) fn end(&mut self, took: Duration) -> Result<(), Failure> {
        if self.json {
            let row = |(step, result, took): &(&str, String, Duration)| row(step, result, *took);
            let rows: Vec<_> = self.results.iter().map(row).collect();
            return self.output.objects(&rows);
        }
        let mut table = table::with_columns(&["step", "result", "time"]);
        for (step, result, took) in &self.results {
            table.add_row([(*step).to_owned(), result.clone(), human(*took)]);
        }
        let claims = self.claims;
        self.output.line(format_args!(
            "\n{table}\n{claims} claims checked, all hold. {:.1} s in all.",
            took.as_secs_f64()
        ))
    }
}

fn row(step: &str, result: &str, took: Duration) -> Map<String, Value> {
    let milliseconds = took.as_secs_f64() * 1000.0;
    let members = [
        ("step", Value::from(step)),
        ("result", Value::from(result)),
        ("milliseconds", Value::from(milliseconds)),
    ];
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Three figures and a fitting unit.
pub(super) fn human(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds {
        s if s >= 1.0 => format!("{s:.2} s"),
        s if s >= 0.001 => format!("{:.1} ms", s * 1e3),
        s => format!("{:.0} µs", s * 1e6),
    }
}
