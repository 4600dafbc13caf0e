//! Where findings go, one by one: a file, lines of JSON, or the first of them in a table.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value};
use syntrix_storage::backend::StoreKind;
use syntrix_storage::{Error, ErrorKind};

use crate::args::Format;
use crate::commands::routing::flattened;
use crate::failure::Failure;
use crate::output::Output;
use crate::report;

/// Findings of a table; a file has all.
const TABLE_ROWS_MAX: usize = 100;

/// The report of a run.
pub(super) struct Findings<'output> {
    output: &'output mut Output,
    file: Option<File>,
    rows: Vec<Map<String, Value>>,
    /// Findings of the store that is compared.
    count: u64,
    /// Why findings cannot be told any more.
    failure: Option<Failure>,
    /// Nobody reads stdout any more.
    is_closed: bool,
}

impl<'output> Findings<'output> {
    /// `resumes` if the file's findings are of the run that goes on.
    pub(super) fn new(
        report: Option<&Path>,
        resumes: bool,
        output: &'output mut Output,
    ) -> Result<Self, Failure> {
        let file = report.map(|path| open(path, resumes)).transpose()?;
        Ok(Self { output, file, rows: Vec::new(), count: 0, failure: None, is_closed: false })
    }

    pub(super) fn add(
        &mut self,
        store: StoreKind,
        finding: &impl Serialize,
    ) -> syntrix_storage::Result<()> {
        self.count += 1;
        let mut row = object(finding);
        row.insert("store".into(), store.as_str().into());
        let told = match (&mut self.file, self.output.format()) {
            (Some(file), _) => line(file, &row),
            (None, Format::Json) if self.is_closed => Ok(()),
            (None, Format::Json) => self.output.line(Value::Object(row)),
            (None, Format::Table) => {
                self.rows.push(row);
                self.rows.truncate(TABLE_ROWS_MAX);
                Ok(())
            }
        };
        match told {
            Ok(()) => Ok(()),
            Err(Failure::StdoutClosed) => {
                self.is_closed = true;
                Ok(())
            }
            Err(failure) => {
                self.failure = Some(failure);
                Err(Error::new(ErrorKind::Unavailable, "verify")
                    .with_message("the report could not be written"))
            }
        }
    }

    /// What a run came to. What the report said is more to the point than that it ended the run.
    pub(super) fn unless_failed<T>(
        &mut self,
        verified: syntrix_storage::Result<T>,
    ) -> Result<T, Failure> {
        match (verified, self.failure.take()) {
            (Err(_), Some(failure)) => Err(failure),
            (verified, _) => Ok(verified?),
        }
    }

    /// The last line about a store.
    pub(super) fn end_store(&mut self, last: &Map<String, Value>) -> Result<(), Failure> {
        match self.tell_end(last).and_then(|()| self.output.flush()) {
            // Nobody reads it; whether both sides are equal is still what the exit code says.
            Err(Failure::StdoutClosed) => {
                self.is_closed = true;
                Ok(())
            }
            told => told,
        }
    }

    fn tell_end(&mut self, last: &Map<String, Value>) -> Result<(), Failure> {
        if let Some(file) = &mut self.file {
            line(file, last)?;
        }
        let (rows, count) = (std::mem::take(&mut self.rows), std::mem::take(&mut self.count));
        if self.is_closed {
            return Ok(());
        }
        if !rows.is_empty() {
            self.output.objects(&rows)?;
            if count > TABLE_ROWS_MAX as u64 {
                report::line(format_args!(
                    "the first {TABLE_ROWS_MAX} of {count}; --report FILE has them all"
                ));
            }
        }
        match self.output.format() {
            Format::Json => self.output.object(last),
            Format::Table => self.output.object(&flattened(last.clone())),
        }
    }
}

/// Each line is handed to the system at once: a run that is killed leaves what it found to the one that resumes it.
fn line(file: &mut File, row: &Map<String, Value>) -> Result<(), Failure> {
    let text = format!("{}\n", Value::Object(row.clone()));
    file.write_all(text.as_bytes()).map_err(Failure::io("report"))
}

fn open(path: &Path, resumes: bool) -> Result<File, Failure> {
    let failed = || Failure::io(path.display().to_string());
    if !resumes {
        return File::create(path).map_err(failed());
    }
    let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).to_owned();
    let mut file = options.open(path).map_err(failed())?;
    drop_torn_line(&mut file).map_err(failed())?;
    Ok(file)
}

/// A run that was killed may have left half a line.
fn drop_torn_line(file: &mut File) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    file.set_len(whole as u64)?;
    file.seek(SeekFrom::End(0)).map(drop)
}

pub(crate) fn object(value: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(value) {
        Ok(Value::Object(members)) => members,
        _ => Map::new(),
    }
}
