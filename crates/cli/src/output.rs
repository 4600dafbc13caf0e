//! What goes to stdout: results and nothing else.

use std::io::{BufWriter, IsTerminal, Stdout, Write};

use serde_json::{Map, Value};

use crate::args::{Format, Global};
use crate::failure::Failure;
use crate::table;

/// Writes results in the format that was asked for.
#[derive(Debug)]
pub(crate) struct Output {
    format: Format,
    stdout: BufWriter<Stdout>,
}

impl Output {
    pub(crate) fn new(global: &Global) -> Self {
        let stdout = std::io::stdout();
        let fitting = if stdout.is_terminal() { Format::Table } else { Format::Json };
        Self { format: global.output.unwrap_or(fitting), stdout: BufWriter::new(stdout) }
    }

    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// One line of JSON with sorted keys.
    pub(crate) fn json(&mut self, value: &Value) -> Result<(), Failure> {
        self.line(value)
    }

    /// One line of text.
    pub(crate) fn line(&mut self, text: impl std::fmt::Display) -> Result<(), Failure> {
        writeln!(self.stdout, "{text}").map_err(Failure::stdout)
    }

    /// Bytes as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stdout.write_all(bytes).map_err(Failure::stdout)
    }

    /// Hands what was written so far to the reader.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.stdout.flush().map_err(Failure::stdout)
    }

    /// One object: a JSON line, or a table of its members.
    pub(crate) fn object(&mut self, object: &Map<String, Value>) -> Result<(), Failure> {
        match self.format {
            Format::Json => self.line(Value::Object(object.clone())),
            Format::Table => self.line(table::of_members(object)),
        }
    }

    /// Objects of one kind: JSON lines, or a table with a row each.
    pub(crate) fn objects(&mut self, objects: &[Map<String, Value>]) -> Result<(), Failure> {
        match self.format {
            Format::Json => {
                objects.iter().try_for_each(|object| self.line(Value::Object(object.clone())))
            }
            Format::Table => self.line(table::of_rows(objects)),
        }
    }
}
