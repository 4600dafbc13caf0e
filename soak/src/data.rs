//! Data that knows whether it is whole.
//!
//! A document has two halves, each with a checksum of its own. A patch touches the
//! three fields of one half, so a patch of which only a part arrived shows.

use serde_json::{Value, json};
use syntrix_storage::Document;

/// The halves of a document.
pub(crate) const HALVES: [&str; 2] = ["left", "right"];

/// The field that says which write a document's data came with last.
pub(crate) const MARK: &str = "mark";

/// Most bytes of filler in a half; now and then it is this long, so that a write spans many pages.
const FILL_BYTES_MAX: usize = 60_000;

/// A half with random content.
pub(crate) fn half(random: &mut fastrand::Rng) -> Value {
    let number = random.i64(..);
    let longest = if random.u8(..20) == 0 { FILL_BYTES_MAX } else { 600 };
    let length = random.usize(..longest);
    let fill: String = std::iter::repeat_with(|| random.alphanumeric()).take(length).collect();
    let sum = sum(number, &fill);
    json!({"n": number, "fill": fill, "sum": sum})
}

/// A whole document with random content and the mark of the write that brings it.
pub(crate) fn whole(mark: &str, random: &mut fastrand::Rng) -> Value {
    json!({"left": half(random), "right": half(random), MARK: mark})
}

/// The mark in a live document's data.
pub(crate) fn mark(document: &Document) -> Option<String> {
    document.value().ok()?[MARK].as_str().map(str::to_owned)
}

/// Whether both halves match their checksums.
pub(crate) fn is_whole(data: &Value) -> bool {
    HALVES.iter().all(|name| half_is_whole(&data[name]))
}

fn half_is_whole(half: &Value) -> bool {
    match (half["n"].as_i64(), half["fill"].as_str(), half["sum"].as_str()) {
        (Some(number), Some(fill), Some(stored)) => sum(number, fill) == stored,
        _ => false,
    }
}

fn sum(number: i64, fill: &str) -> String {
    blake3::hash(format!("{number} {fill}").as_bytes()).to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_here_is_whole() {
        let mut random = fastrand::Rng::with_seed(7);
        assert!((0..50).all(|_| is_whole(&whole("a", &mut random))));
    }

    #[test]
    fn a_half_of_another_write_shows() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut torn = whole("a", &mut random);
        torn["right"]["n"] = json!(1);
        assert!(!is_whole(&torn));
        assert!(!is_whole(&json!({"left": whole("a", &mut random)["left"]})));
        assert!(!is_whole(&json!({})));
    }
}
