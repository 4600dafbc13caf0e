//! Durations as people write them: `30d`, `720h`, `15m`, `10s`, `250ms`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Unexpected, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::error::{Error, ErrorKind};

const EXPECTED: &str =
    "a duration: a whole number and one of d h m s ms, for example 30d, 15m or 250ms";

/// Longest unit first, so that `Display` finds the shortest form.
const UNITS_MS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A duration in settings: a whole number and one unit of `d h m s ms`.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use syntrix_storage_core::HumanDuration;
///
/// let duration: HumanDuration = "15m".parse()?;
/// assert_eq!(duration.0, Duration::from_secs(900));
/// assert_eq!(duration.to_string(), "15m");
/// assert!("15 minutes".parse::<HumanDuration>().is_err());
/// # Ok::<(), syntrix_storage_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HumanDuration(pub Duration);

impl FromStr for HumanDuration {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text).ok_or_else(|| {
            Error::new(ErrorKind::ConfigInvalid, "config")
                .with_message(format!("expected {EXPECTED}"))
        })
    }
}

fn parse(text: &str) -> Option<HumanDuration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (amount, unit) = text.split_at(digits);
    let amount: u64 = amount.parse().ok()?;
    let (_, factor) = UNITS_MS.into_iter().find(|(name, _)| *name == unit)?;
    Some(HumanDuration(Duration::from_millis(amount.checked_mul(factor)?)))
}

impl fmt::Display for HumanDuration {
    /// The shortest form that says exactly this; what is below a millisecond is cut off.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total_ms = self.0.as_millis();
        let exact = |factor: u64| total_ms != 0 && total_ms.is_multiple_of(u128::from(factor));
        let (unit, factor) =
            UNITS_MS.into_iter().find(|(_, factor)| exact(*factor)).unwrap_or(("s", 1_000));
        write!(formatter, "{}{unit}", total_ms / u128::from(factor))
    }
}

impl Serialize for HumanDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(DurationVisitor)
    }
}

struct DurationVisitor;

impl Visitor<'_> for DurationVisitor {
    type Value = HumanDuration;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(EXPECTED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<HumanDuration, E> {
        parse(text).ok_or_else(|| E::invalid_value(Unexpected::Other("text"), &self))
    }
}

impl JsonSchema for HumanDuration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^[0-9]+(d|h|m|s|ms)$"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_read_and_written_back() {
        for text in ["30d", "721h", "15m", "10s", "250ms", "0s"] {
            let duration: HumanDuration = text.parse().unwrap();
            assert_eq!(duration.to_string(), text);
        }
    }

    #[test]
    fn durations_print_in_the_largest_exact_unit() {
        assert_eq!("720h".parse::<HumanDuration>().unwrap().to_string(), "30d");
        assert_eq!("90s".parse::<HumanDuration>().unwrap().to_string(), "90s");
    }

    #[test]
    fn other_forms_are_refused_with_the_accepted_one() {
        let too_long = "18446744073709551615d";
        for text in ["", "5", "d", "-5s", "+5s", "1.5h", "5 s", "5S", "1h30m", "5w", too_long] {
            let error = text.parse::<HumanDuration>().unwrap_err();
            assert!(error.to_string().contains("30d, 15m or 250ms"), "{text}: {error}");
        }
    }
}
