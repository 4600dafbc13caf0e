//! Random data for the cases that compare a store with a model. Every failure names its seed.

use fastrand::Rng;
use serde_json::{Map, Value, json};
use syntrix_storage_core::{Filter, Operator, Scalar};

use super::steps::quoted;
use crate::{CaseResult, Failure};

/// Set to the seed of a failure, this makes the run repeat it.
pub(crate) const SEED_VARIABLE: &str = "SYNTRIX_CONFORMANCE_SEED";

/// Keys of random data: few, so that paths meet, and some that are syntax elsewhere.
const KEYS: [&str; 10] = ["a", "b", "c", "a.b", "$set", "", "0", "q\"r", "`", "é"];

/// A source of random data that can be repeated.
pub(crate) struct Random {
    seed: u64,
    pub(crate) rng: Rng,
}

impl Random {
    /// Seeded from the environment, or anew.
    pub(super) fn new() -> Self {
        let given = std::env::var(SEED_VARIABLE).ok().and_then(|text| text.parse().ok());
        Self::seeded(given.unwrap_or_else(|| fastrand::u64(..)))
    }

    pub(crate) fn seeded(seed: u64) -> Self {
        Self { seed, rng: Rng::with_seed(seed) }
    }

    /// Adds to a failure how to repeat it.
    pub(super) fn explain<T>(&self, round: usize, result: CaseResult<T>) -> CaseResult<T> {
        let seed = self.seed;
        result.map_err(|failure: Failure| {
            failure.prefixed(&format!("round {round} of {SEED_VARIABLE}={seed}"))
        })
    }

    pub(crate) fn one_in(&mut self, count: usize) -> bool {
        self.rng.usize(..count) == 0
    }

    pub(crate) fn pick<'items, T>(&mut self, items: &'items [T]) -> &'items T {
        &items[self.rng.usize(..items.len())]
    }

    pub(crate) fn key(&mut self) -> &'static str {
        self.pick::<&'static str>(&KEYS)
    }

    /// One to four keys.
    pub(crate) fn keys(&mut self) -> Vec<&'static str> {
        (0..self.rng.usize(1..=4)).map(|_| self.key()).collect()
    }

    /// A comparable value, from few enough that equal ones meet.
    pub(crate) fn scalar(&mut self) -> Value {
        /// Where doubles cease to be exact.
        const EDGE: i64 = 1 << 53;
        match self.rng.u8(..12) {
            0 => Value::Null,
            1 => json!(self.rng.bool()),
            2 | 3 => json!(self.rng.i64(-3..=3)),
            4 => json!(self.rng.i64(-6..=6) as f64 / 2.0),
            5 => json!(EDGE + self.rng.i64(-1..=2)),
            6 => json!(*self.pick(&[1e300, -1e300, 9.3e18, -9.3e18, 0.1, 5e-324, 1e19])),
            7 => json!(*self.pick(&[i64::MIN, i64::MAX, i64::MAX - 1])),
            8 => json!(self.rng.char('X'..='c').to_string()),
            _ => json!(
                *self.pick(&["", "a", "B", "b", "1", "a\u{301}", "á", "😀", "\u{fffd}", "true"])
            ),
        }
    }

    /// Any value, at most `depth` levels deep.
    pub(crate) fn value(&mut self, depth: usize) -> Value {
        match self.rng.u8(..10) {
            0 | 1 if depth > 0 => {
                (0..self.rng.usize(..4)).map(|_| self.value(depth - 1)).collect::<Vec<_>>().into()
            }
            2..=4 if depth > 0 => self.object(depth - 1).into(),
            5 if self.one_in(4) => json!("long ".repeat(103)),
            _ => self.scalar(),
        }
    }

    pub(crate) fn object(&mut self, depth: usize) -> Map<String, Value> {
        (0..self.rng.usize(..5)).map(|_| (self.key().to_owned(), self.value(depth))).collect()
    }

    /// A filter on one of `fields`, often with the value that the flat document `near` has there.
    pub(super) fn filter(
        &mut self,
        fields: &[String],
        near: &Map<String, Value>,
    ) -> CaseResult<Filter> {
        use Operator::*;
        let operators = [Equal, NotEqual, Less, LessOrEqual, Greater, GreaterOrEqual, In, Contains];
        let (field, operator) = (self.pick(fields).clone(), *self.pick(&operators));
        let near = near.get(&field).filter(|value| Scalar::from_value(value).is_some());
        let operand = match operator {
            In => (0..self.rng.usize(..8)).map(|_| self.near(near)).collect::<Vec<_>>().into(),
            operator if operator.is_range() => self.bound(near),
            _ => self.near(near),
        };
        Ok(Filter::new(&field, operator, operand)?)
    }

    /// `value` two times out of three.
    fn near(&mut self, value: Option<&Value>) -> Value {
        match value {
            Some(value) if !self.one_in(3) => value.clone(),
            _ => self.scalar(),
        }
    }

    /// A number or a string.
    fn bound(&mut self, near: Option<&Value>) -> Value {
        loop {
            let value = self.near(near.filter(|near| near.is_number() || near.is_string()));
            if value.is_number() || value.is_string() {
                return value;
            }
        }
    }
}

/// `keys` as a field path.
pub(crate) fn field_of(keys: &[&str]) -> String {
    keys.iter().map(|key| quoted(key)).collect::<Vec<_>>().join(".")
}
