//! `doc import`: JSON lines into documents, in a way that can be run again.

mod batch;
mod line;
mod lines;
mod tally;

use std::fs::File;
use std::io::{BufRead, BufReader};

use indicatif::{ProgressBar, ProgressStyle};
use syntrix_storage::DocumentStore;

use crate::args::Format;
use crate::failure::Failure;
use crate::session::Session;
use batch::{Batch, Outcome, Policy};
use line::{Fault, LineFormat};
use lines::{Lines, RawLine};
use tally::Tally;

#[derive(Debug, clap::Args)]
pub(crate) struct ImportArgs {
    /// File of JSON lines, or - for stdin
    file: String,

    /// Lines are plain objects that belong into this collection, instead of {"path","data"}
    #[arg(long, value_name = "COLLECTION")]
    collection: Option<String>,

    /// Member of a plain object that names the document; without it the line number does
    #[arg(long, value_name = "FIELD", requires = "collection")]
    id_field: Option<String>,

    /// Rename a top-level member, for names that belong to the store; may be repeated
    #[arg(long, value_name = "OLD=NEW", value_parser = line::parse_rename)]
    rename: Vec<(String, String)>,

    /// Replace documents that are there with other data
    #[arg(long)]
    replace: bool,

    /// Stop at the first rejected line
    #[arg(long)]
    strict: bool,
}

pub(crate) async fn run(args: &ImportArgs, session: &mut Session) -> Result<(), Failure> {
    let format = LineFormat::new(args.collection.as_deref(), args.id_field.clone(), &args.rename)?;
    let (input, bytes) = open(&args.file)?;
    let json = session.global.output == Some(Format::Json);
    session
        .with_storage(async |storage, _| {
            let documents = storage.documents()?;
            let policy = Policy { replace: args.replace, strict: args.strict };
            let mut import =
                Import { format, policy, tally: Tally::new(progress(bytes), json), documents };
            let ended = import.run(Lines::new(input)).await;
            import.tally.finish();
            ended?;
            import.tally.verdict()
        })
        .await
}

fn open(file: &str) -> Result<(Box<dyn BufRead>, Option<u64>), Failure> {
    if file == "-" {
        return Ok((Box::new(BufReader::new(std::io::stdin())), None));
    }
    let opened = File::open(file).map_err(Failure::io(file))?;
    let metadata = opened.metadata().map_err(Failure::io(file))?;
    let bytes = metadata.is_file().then_some(metadata.len());
    Ok((Box::new(BufReader::with_capacity(1 << 16, opened)), bytes))
}

/// Drawn on a terminal only.
fn progress(bytes: Option<u64>) -> ProgressBar {
    let (bar, template) = match bytes {
        Some(bytes) => (ProgressBar::new(bytes), "{bar:40} {bytes}/{total_bytes} {msg} {eta} left"),
        None => (ProgressBar::new_spinner(), "{spinner} {bytes} {msg} {elapsed}"),
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// One import on its way.
struct Import {
    format: LineFormat,
    policy: Policy,
    tally: Tally,
    documents: std::sync::Arc<dyn DocumentStore>,
}

impl Import {
    async fn run(&mut self, mut lines: Lines) -> Result<(), Failure> {
        let mut batch = Batch::default();
        while let Some(line) = lines.next().map_err(Failure::io("input"))? {
            let (number, bytes) = (line.number, line.bytes);
            match self.read(line) {
                Ok(None) => {}
                Ok(Some(item)) => {
                    if batch.must_be_written_before(&item) {
                        self.write(&mut batch).await;
                    }
                    batch.push(item, bytes);
                }
                Err(fault) => self.reject_in_turn(number, fault, &mut batch).await,
            }
            self.tally.read(bytes);
            if self.is_over() {
                return Ok(());
            }
        }
        self.write(&mut batch).await;
        Ok(())
    }

    fn read(&self, line: RawLine) -> Result<Option<batch::Item>, Fault> {
        let number = line.number;
        let Some(text) = line.text? else { return Ok(None) };
        let (path, data) = self.format.parse(number, &text)?;
        Ok(Some(batch::Item::new(number, path, data)?))
    }

    /// Strict means that everything before a rejected line is stored and nothing behind it.
    async fn reject_in_turn(&mut self, number: u64, fault: Fault, batch: &mut Batch) {
        if self.policy.strict {
            self.write(batch).await;
            if self.is_over() {
                return;
            }
        }
        self.tally.reject(number, &fault);
    }

    async fn write(&mut self, batch: &mut Batch) {
        for (number, outcome) in batch.write(&*self.documents, self.policy).await {
            match outcome {
                Outcome::Created => self.tally.created += 1,
                Outcome::Replaced => self.tally.replaced += 1,
                Outcome::Unchanged => self.tally.unchanged += 1,
                Outcome::Rejected(fault) => self.tally.reject(number, &fault),
            }
        }
        self.tally.show();
    }

    fn is_over(&self) -> bool {
        self.policy.strict && self.tally.rejected > 0
    }
}
