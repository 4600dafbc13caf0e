//! Times of two clocks: which they are cannot be compared, their order can.

use std::collections::BTreeMap;

use syntrix_storage_core::Timestamp;

use crate::check::{CaseResult, Failure};

/// Around a time in an answer. Nothing else in answers has them: texts are escaped.
const MARKS: [char; 2] = ['\u{2}', '\u{3}'];

/// How a time stands in an answer whose times are only ordered.
pub(super) fn mark(time: Timestamp) -> String {
    let [begin, end] = MARKS;
    format!("{begin}{}{end}", time.as_milliseconds())
}

/// The times that a store of both sides has given so far.
#[derive(Debug)]
pub(super) struct Moments {
    /// By the reference's clock, the subject's time of the same thing.
    met: BTreeMap<i64, i64>,
    /// Whether each time of the reference is that of one step.
    exact: bool,
}

impl Moments {
    pub(super) fn new(exact: bool) -> Self {
        Self { met: BTreeMap::new(), exact }
    }

    /// The texts have to be the same; the times in them, and all that came before, have to be in the same order.
    pub(super) fn agree(&mut self, actual: &str, expected: &str) -> CaseResult {
        let ((actual, ours), (expected, theirs)) = (split(actual), split(expected));
        if actual != expected {
            return Err(Failure::new(format_args!("expected\n  {expected}\nbut got\n  {actual}")));
        }
        let mut pairs = ours.into_iter().zip(theirs);
        pairs.try_for_each(|(subject, reference)| self.meet(reference, subject)).map_err(|broken| {
            Failure::new(format_args!("{broken}: the times (`set`) in\n  {actual}"))
        })
    }

    fn meet(&mut self, reference: i64, subject: i64) -> Result<(), String> {
        if let Some(known) = self.met.get(&reference).filter(|_| self.exact) {
            let apart_ms = subject - known;
            return match apart_ms {
                0 => Ok(()),
                _ => Err(format!("what has one time has two, {apart_ms} ms apart")),
            };
        }
        let before = self.met.range(..reference).next_back();
        let behind = self.met.range(reference + 1..).next();
        let in_order = before.is_none_or(|(_, before)| *before <= subject)
            && behind.is_none_or(|(_, behind)| subject <= *behind);
        self.met.insert(reference, subject);
        if in_order { Ok(()) } else { Err("what comes later has the earlier time".to_owned()) }
    }
}

/// The text with `set` where a time was, and the times.
fn split(answer: &str) -> (String, Vec<i64>) {
    let (mut text, mut times) = (String::new(), Vec::new());
    for (index, part) in answer.split(MARKS).enumerate() {
        match part.parse() {
            Ok(time) if index % 2 == 1 => {
                times.push(time);
                text += "set";
            }
            _ => text += part,
        }
    }
    (text, times)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(times: &[i64]) -> String {
        let marked = times.iter().map(|ms| mark(Timestamp::from_milliseconds(*ms)));
        format!("a {} b", marked.collect::<Vec<_>>().join(" "))
    }

    fn agree(moments: &mut Moments, subject: &[i64], reference: &[i64]) -> CaseResult {
        moments.agree(&answer(subject), &answer(reference))
    }

    #[test]
    fn other_times_in_the_same_order_agree() {
        let mut moments = Moments::new(true);
        agree(&mut moments, &[500, 500], &[1, 1]).unwrap();
        agree(&mut moments, &[500, 510], &[2, 3]).unwrap();
        agree(&mut moments, &[500, 500], &[1, 2]).unwrap();
    }

    #[test]
    fn one_time_that_became_two_is_told() {
        let mut moments = Moments::new(true);
        let failure = agree(&mut moments, &[500, 507], &[1, 1]).unwrap_err().to_string();
        assert!(failure.contains("7 ms apart") && failure.contains("a set set b"), "{failure}");
        agree(&mut Moments::new(false), &[500, 507], &[1, 1]).unwrap();
    }

    #[test]
    fn times_that_changed_places_are_told() {
        for (subject, reference) in [([500, 499], [1, 2]), ([500, 501], [2, 1])] {
            let failure = agree(&mut Moments::new(true), &subject, &reference).unwrap_err();
            assert!(failure.to_string().contains("earlier time"), "{failure}");
        }
    }

    #[test]
    fn other_texts_are_told_whatever_the_times() {
        let failure = Moments::new(true).agree("x", "y").unwrap_err().to_string();
        assert!(failure.starts_with("expected\n  y\nbut got\n  x"), "{failure}");
    }
}
