//! As much of MongoDB's wire protocol as it takes to set up a replica set and to ask how it is, so that no driver is needed.
//!
//! One message form (`OP_MSG`), one section, and of BSON what a few commands and their replies have.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::probe;
use crate::failure::{Context, Failure, Result};

const OP_MSG: i32 = 2013;
const HEADER_BYTES: usize = 16;

/// More than any reply to what we ask.
const REPLY_BYTES_MAX: usize = 1 << 20;

/// A BSON document that is being written.
#[derive(Debug, Default)]
pub(crate) struct Document(Vec<u8>);

impl Document {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn int(self, name: &str, value: i32) -> Self {
        self.element(0x10, name, &value.to_le_bytes())
    }

    pub(crate) fn text(self, name: &str, value: &str) -> Self {
        let bytes = [&length(value.len() + 1)[..], value.as_bytes(), &[0]].concat();
        self.element(0x02, name, &bytes)
    }

    pub(crate) fn document(self, name: &str, value: Document) -> Self {
        let bytes = value.encode();
        self.element(0x03, name, &bytes)
    }

    /// An array is a document whose names are the numbers from 0.
    pub(crate) fn array(self, name: &str, values: Vec<Document>) -> Self {
        let numbered = values.into_iter().enumerate();
        let all = numbered.fold(Self::new(), |all, (at, one)| all.document(&at.to_string(), one));
        self.element(0x04, name, &all.encode())
    }

    fn element(mut self, kind: u8, name: &str, value: &[u8]) -> Self {
        self.0.push(kind);
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(0);
        self.0.extend_from_slice(value);
        self
    }

    fn encode(&self) -> Vec<u8> {
        [&length(self.0.len() + 5)[..], &self.0, &[0]].concat()
    }
}

/// What came back: the members of the outermost document, by name.
#[derive(Debug)]
pub(crate) struct Reply(Vec<(String, Value)>);

#[derive(Debug, PartialEq)]
enum Value {
    Double(f64),
    Text(String),
    Boolean(bool),
    Int(i32),
    Long(i64),
    /// As it came: few are looked into.
    Document(Vec<u8>),
    /// Anything we never ask for.
    Other,
}

impl Reply {
    /// Whether the command was carried out.
    pub(crate) fn is_ok(&self) -> bool {
        matches!(self.get("ok"), Some(Value::Double(1.0) | Value::Int(1)))
    }

    /// The error's number.
    pub(crate) fn code(&self) -> Option<i64> {
        self.number("code")
    }

    /// A whole number. Dots in its name lead into documents.
    pub(crate) fn number(&self, name: &str) -> Option<i64> {
        if let Some((outer, inner)) = name.split_once('.') {
            let Some(Value::Document(bytes)) = self.get(outer) else { return None };
            return Self::parse(bytes).ok()?.number(inner);
        }
        match self.get(name) {
            Some(Value::Int(value)) => Some(i64::from(*value)),
            Some(Value::Long(value)) => Some(*value),
            _ => None,
        }
    }

    /// The error's text.
    pub(crate) fn message(&self) -> &str {
        match self.get("errmsg") {
            Some(Value::Text(text)) => text,
            _ => "no reason given",
        }
    }

    pub(crate) fn boolean(&self, name: &str) -> Option<bool> {
        match self.get(name) {
            Some(Value::Boolean(value)) => Some(*value),
            _ => None,
        }
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        let mut input = Input(bytes);
        input.take(4)?;
        let mut members = Vec::new();
        loop {
            let kind = input.take(1)?[0];
            if kind == 0 {
                return Ok(Self(members));
            }
            let name = input.name()?;
            members.push((name, input.value(kind)?));
        }
    }
}

/// Bytes that are being read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or_else(|| Failure::new("a BSON reply ends early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn name(&mut self) -> Result<String> {
        let end = self.0.iter().position(|byte| *byte == 0);
        let end = end.ok_or_else(|| Failure::new("a BSON name does not end"))?;
        let name = String::from_utf8_lossy(self.take(end)?).into_owned();
        self.take(1)?;
        Ok(name)
    }

    fn length(&mut self) -> Result<usize> {
        let number = self.int()?;
        usize::try_from(number).map_err(|_| Failure::new("a BSON length is negative"))
    }

    fn int(&mut self) -> Result<i32> {
        let bytes = self.take(4)?;
        Ok(i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn value(&mut self, kind: u8) -> Result<Value> {
        Ok(match kind {
            0x01 => Value::Double(f64::from_bits(self.long()?)),
            0x03 => Value::Document(self.document()?),
            0x02 => {
                let length = self.length()?;
                let text = self.take(length)?.strip_suffix(&[0]).unwrap_or_default();
                Value::Text(String::from_utf8_lossy(text).into_owned())
            }
            0x08 => Value::Boolean(self.take(1)?[0] != 0),
            0x10 => Value::Int(self.int()?),
            0x12 => Value::Long(self.long()?.cast_signed()),
            other => {
                let bytes = self.other_bytes(other)?;
                self.take(bytes)?;
                Value::Other
            }
        })
    }

    fn long(&mut self) -> Result<u64> {
        let bytes: [u8; 8] = self.take(8)?.try_into().unwrap_or_default();
        Ok(u64::from_le_bytes(bytes))
    }

    /// A document, whose length counts its own four bytes.
    fn document(&mut self) -> Result<Vec<u8>> {
        let length = Input(self.0).length()?;
        self.take(length).map(<[u8]>::to_vec)
    }

    /// How many bytes a value takes that nobody looks at.
    fn other_bytes(&mut self, kind: u8) -> Result<usize> {
        match kind {
            // An array's length counts its own four bytes.
            0x04 => Ok(self.length()?.saturating_sub(4)),
            // Binary: length, subtype, bytes.
            0x05 => Ok(self.length()? + 1),
            0x07 => Ok(12),
            0x09 | 0x11 => Ok(8),
            0x0a | 0x7f | 0xff => Ok(0),
            other => Err(Failure::new(format!("a BSON reply has a value of kind {other:#x}"))),
        }
    }
}

fn length(bytes: usize) -> [u8; 4] {
    i32::try_from(bytes).unwrap_or(i32::MAX).to_le_bytes()
}

/// A connection to a `mongod` that asks for no password.
#[derive(Debug)]
pub(crate) struct Client(TcpStream);

impl Client {
    pub(crate) fn connect(port: u16) -> Result<Self> {
        probe::connect(port).map(Self).context(|| "connecting to mongod".into())
    }

    /// Runs one command.
    ///
    /// # Errors
    ///
    /// When there is no reply one can read; a reply that says no is not an error.
    pub(crate) fn run(mut self, command: &Document) -> Result<Reply> {
        let doing = || "talking to mongod".to_owned();
        self.0.write_all(&message(command)).context(doing)?;
        let mut header = [0; HEADER_BYTES];
        self.0.read_exact(&mut header).context(doing)?;
        let bytes = Input(&header).length()?.saturating_sub(HEADER_BYTES);
        if bytes > REPLY_BYTES_MAX {
            return Err(Failure::new("mongod's reply is too long"));
        }
        let mut body = vec![0; bytes];
        self.0.read_exact(&mut body).context(doing)?;
        // Four bytes of flags and the kind of the only section stand before the document.
        Reply::parse(body.get(5..).unwrap_or_default())
    }
}

fn message(command: &Document) -> Vec<u8> {
    let body = command.encode();
    let numbers = [1, 0, OP_MSG, 0].map(i32::to_le_bytes).concat();
    let total = length(4 + numbers.len() + 1 + body.len());
    [&total[..], &numbers, &[0], &body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_written_as_the_manual_has_it() {
        let written = message(&Document::new().int("hello", 1).text("$db", "admin"));
        let mut expected = vec![52, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xdd, 7, 0, 0, 0, 0, 0, 0, 0];
        expected.extend(b"\x1f\0\0\0\x10hello\0\x01\0\0\0\x02$db\0\x06\0\0\0admin\0\0");
        assert_eq!(written, expected);
    }

    #[test]
    fn an_array_is_a_document_with_numbers_for_names() {
        let array = Document::new().array("a", vec![Document::new(), Document::new()]);
        let inner = b"\x15\0\0\0\x030\0\x05\0\0\0\0\x031\0\x05\0\0\0\0\0";
        let expected = [&b"\x1d\0\0\0\x04a\0"[..], inner, b"\0"].concat();
        assert_eq!(array.encode(), expected);
    }

    #[test]
    fn a_reply_is_read_past_what_nobody_asks_for() {
        let reply = Document::new()
            .element(0x08, "isWritablePrimary", &[1])
            .element(0x07, "electionId", &[7; 12])
            .element(0x05, "hash", b"\x02\0\0\0\0ab")
            .element(0x11, "operationTime", &[0; 8])
            .document("nested", Document::new().int("ok", 0).element(0x12, "n", &[1; 8]))
            .text("errmsg", "no")
            .int("code", 23)
            .element(0x01, "ok", &1.0_f64.to_le_bytes());
        let reply = Reply::parse(&reply.encode()).unwrap();
        assert_eq!(reply.boolean("isWritablePrimary"), Some(true));
        assert_eq!((reply.code(), reply.message()), (Some(23), "no"));
        assert!(reply.is_ok());
        assert_eq!(reply.number("nested.n"), Some(0x0101_0101_0101_0101));
        assert_eq!((reply.number("nested.ok"), reply.number("errmsg.ok")), (Some(0), None));
    }

    #[test]
    fn a_reply_that_is_cut_or_foreign_is_a_failure_and_no_panic() {
        let whole = Document::new().text("errmsg", "no").int("code", 1).encode();
        for cut in 0..whole.len() {
            assert!(Reply::parse(&whole[..cut]).is_err(), "{cut}");
        }
        assert!(Reply::parse(&Document::new().element(0x42, "x", &[]).encode()).is_err());
        let negative = Document::new().element(0x02, "x", &(-1_i32).to_le_bytes()).encode();
        assert!(Reply::parse(&negative).is_err());
    }
}
