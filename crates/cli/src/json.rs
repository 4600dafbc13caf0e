//! JSON from people and files, with numbers taken exactly or not at all.

use std::io::Read;

use serde_json::Value;
use syntrix_storage::{Error, Reason};

use crate::failure::Failure;

/// Why a text is not taken.
#[derive(Debug)]
pub(crate) enum JsonFault {
    /// It is no JSON; serde_json's words, which quote nothing of the text.
    Syntax(serde_json::Error),
    /// It has an integer that only a double could hold, and then not exactly.
    Integer,
}

impl JsonFault {
    fn into_failure(self, what: &str, operation: &'static str) -> Failure {
        match self {
            Self::Syntax(error) => Failure::Usage(format!("{what} is no JSON: {error}")),
            Self::Integer => Failure::Store(integer_too_large().in_operation(operation)),
        }
    }
}

/// The store's own error for such a number.
pub(crate) fn integer_too_large() -> Error {
    Error::invalid(
        "number",
        Reason::NumberOutOfRange,
        "an integer is at most 64 bits signed; send a larger one as a string",
    )
}

/// Parses JSON text.
///
/// The parser turns integers beyond 64 bits into the nearest double without a word; here they are refused.
pub(crate) fn parse(text: &str) -> Result<Value, JsonFault> {
    let value = serde_json::from_str(text).map_err(JsonFault::Syntax)?;
    if has_large_integer(text) { Err(JsonFault::Integer) } else { Ok(value) }
}

/// The JSON argument of `operation`, or what stdin has if the argument is `-`.
pub(crate) fn argument(text: &str, operation: &'static str) -> Result<Value, Failure> {
    if text != "-" {
        return parse_argument(text, operation);
    }
    let mut input = String::new();
    std::io::stdin().read_to_string(&mut input).map_err(Failure::io("stdin"))?;
    parse(&input).map_err(|fault| fault.into_failure("stdin", operation))
}

/// The JSON argument of `operation`, which never stands for stdin.
pub(crate) fn parse_argument(text: &str, operation: &'static str) -> Result<Value, Failure> {
    parse(text).map_err(|fault| fault.into_failure("the argument", operation))
}

/// Whether valid JSON text has an integer literal outside i64.
fn has_large_integer(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut position = 0;
    while position < bytes.len() {
        match bytes[position] {
            b'"' => position = string_end(bytes, position),
            b'-' | b'0'..=b'9' => {
                let end = number_end(bytes, position);
                if is_large_integer(&text[position..end]) {
                    return true;
                }
                position = end;
            }
            _ => position += 1,
        }
    }
    false
}

/// The place behind the string that starts at `start`.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut position = start + 1;
    while position < bytes.len() && bytes[position] != b'"' {
        position += if bytes[position] == b'\\' { 2 } else { 1 };
    }
    position + 1
}

fn number_end(bytes: &[u8], start: usize) -> usize {
    let part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
    start + bytes[start..].iter().take_while(|byte| part(byte)).count()
}

fn is_large_integer(literal: &str) -> bool {
    let integer = !literal.contains(['.', 'e', 'E']);
    integer && literal.len() > 18 && literal.parse::<i64>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_that_would_be_rounded_are_refused() {
        for text in
            ["18446744073709551616", "-9223372036854775809", r#"{"a":[9223372036854775808]}"#]
        {
            assert!(matches!(parse(text), Err(JsonFault::Integer)), "{text}");
        }
    }

    #[test]
    fn the_edges_of_i64_and_doubles_of_any_size_are_taken() {
        for text in
            ["9223372036854775807", "-9223372036854775808", "1e300", "18446744073709551616.0"]
        {
            assert!(parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn digits_in_strings_are_no_numbers() {
        assert!(parse(r#"{"99999999999999999999":"\"99999999999999999999\\"}"#).is_ok());
    }

    #[test]
    fn a_double_beyond_the_range_is_no_json() {
        assert!(matches!(parse("1e400"), Err(JsonFault::Syntax(_))));
    }
}
