//! Lines of any input, each bounded in size.

use std::io::{self, BufRead};

use super::line::Fault;

/// Most bytes of one line: the largest document with every character escaped fits well.
const LINE_BYTES_MAX: usize = 8 << 20;

/// Splits an input into numbered lines.
pub(super) struct Lines {
    input: Box<dyn BufRead>,
    number: u64,
}

/// One line as it was read.
pub(super) struct RawLine {
    /// Counts from 1.
    pub(super) number: u64,
    /// What it took from the input, with its line feed.
    pub(super) bytes: usize,
    /// Its text; `None` if it is blank.
    pub(super) text: Result<Option<String>, Fault>,
}

impl Lines {
    pub(super) fn new(input: Box<dyn BufRead>) -> Self {
        Self { input, number: 0 }
    }

    /// The next line; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<RawLine>> {
        let mut line = Vec::new();
        let bytes = self.read_bounded(&mut line)?;
        if bytes == 0 {
            return Ok(None);
        }
        self.number += 1;
        let text = match bytes > LINE_BYTES_MAX {
            true => Err(Fault::text("the line has more than 8 MiB")),
            false => decode(line),
        };
        Ok(Some(RawLine { number: self.number, bytes, text }))
    }

    /// Reads up to and with the next line feed, keeps what is within the limit, and returns how much there was.
    fn read_bounded(&mut self, line: &mut Vec<u8>) -> io::Result<usize> {
        let mut bytes = 0;
        loop {
            let available = match self.input.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            let end = available.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
            let taken = end.unwrap_or(available.len());
            let kept = taken.min(LINE_BYTES_MAX.saturating_sub(line.len()));
            line.extend_from_slice(&available[..kept]);
            self.input.consume(taken);
            bytes += taken;
            if end.is_some() || taken == 0 {
                return Ok(bytes);
            }
        }
    }
}

fn decode(mut line: Vec<u8>) -> Result<Option<String>, Fault> {
    const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
    if line.starts_with(BYTE_ORDER_MARK) {
        line.drain(..BYTE_ORDER_MARK.len());
    }
    let text = String::from_utf8(line).map_err(|_| Fault::text("the line is not UTF-8"))?;
    Ok(if text.trim().is_empty() { None } else { Some(text) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: Vec<u8>) -> Vec<(u64, Option<bool>)> {
        let mut lines = Lines::new(Box::new(io::Cursor::new(input)));
        let mut read = Vec::new();
        while let Some(line) = lines.next().expect("memory is readable") {
            read.push((line.number, line.text.ok().map(|text| text.is_some())));
        }
        read
    }

    #[test]
    fn blank_lines_count_and_a_last_line_needs_no_line_feed() {
        let expected = [(1, Some(true)), (2, Some(false)), (3, Some(true))];
        assert_eq!(read(b"{}\r\n  \r\n{}".to_vec()), expected);
    }

    #[test]
    fn a_line_that_is_too_long_or_no_text_spares_the_next_one() {
        let mut input = vec![b'x'; LINE_BYTES_MAX + 1];
        input.extend_from_slice(b"\n\xff\n{}\n");
        assert_eq!(read(input), [(1, None), (2, None), (3, Some(true))]);
    }
}
