//! Comparable values and their one order: null < number < string < bool.

use std::cmp::Ordering;

use serde_json::{Number, Value};

use crate::error::{Error, Reason, Result};
use crate::value::{COMPARABLE_BYTES_MAX, I64_END, kind_of, normalize_number};

/// A value that filters and orders can compare.
///
/// The order is null < numbers < strings < false < true: numbers by exact value, strings by UTF-8 bytes.
///
/// # Examples
///
/// ```
/// use serde_json::json;
/// use syntrix_storage_core::Scalar;
///
/// assert!(Scalar::from_value(&json!(2)) < Scalar::from_value(&json!(2.5)));
/// assert!(Scalar::from_value(&json!("Z")) < Scalar::from_value(&json!("a")));
/// assert_eq!(Scalar::from_value(&json!([1])), None);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// `null`.
    Null,
    /// An integer.
    Integer(i64),
    /// A finite double that is no i64: not integral, or beyond the range of i64.
    Double(f64),
    /// A string of at most 512 bytes.
    String(String),
    /// `false` or `true`.
    Bool(bool),
}

/// The type of a [`Scalar`], in canonical order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScalarType {
    /// `null`.
    Null = 1,
    /// Integers and doubles.
    Number = 2,
    /// Strings.
    String = 3,
    /// `false`, `true`.
    Bool = 4,
}

impl ScalarType {
    /// All types in canonical order.
    pub const ALL: [Self; 4] = [Self::Null, Self::Number, Self::String, Self::Bool];
}

impl Scalar {
    /// The comparable form of a stored value; `None` for arrays, objects and strings over 512 bytes.
    pub fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(Self::Null),
            Value::Bool(flag) => Some(Self::Bool(*flag)),
            Value::Number(number) => Some(Self::from_number(number)),
            Value::String(text) if text.len() <= COMPARABLE_BYTES_MAX => {
                Some(Self::String(text.clone()))
            }
            Value::String(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// The operand of a filter or a cursor value, normalised.
    pub(crate) fn from_operand(field: &str, value: &Value) -> Result<Self> {
        match value {
            Value::Number(number) => Ok(Self::from_number(&normalize_number(number)?)),
            Value::String(text) if text.len() > COMPARABLE_BYTES_MAX => Err(Error::invalid(
                field,
                Reason::OperandTooLong,
                "a string operand has at most 512 bytes",
            )
            .with_fact("bytes", text.len())
            .with_fact("limit", COMPARABLE_BYTES_MAX)),
            Value::String(text) if text.contains('\0') => Err(Error::invalid(
                field,
                Reason::StringNul,
                "an operand must not contain U+0000; no stored string does",
            )),
            other => Self::from_value(other).ok_or_else(|| {
                Error::invalid(
                    field,
                    Reason::OperandType,
                    "an operand is null, a bool, a number or a string",
                )
                .with_fact("value", kind_of(other))
            }),
        }
    }

    /// An integer outside i64 that comes back from storage is a double.
    fn from_number(number: &Number) -> Self {
        match number.as_i64() {
            Some(integer) => Self::Integer(integer),
            None => Self::from_double(number.as_f64().unwrap_or(f64::MAX)),
        }
    }

    fn from_double(double: f64) -> Self {
        if double.fract() == 0.0 && (-I64_END..I64_END).contains(&double) {
            Self::Integer(double as i64)
        } else {
            Self::Double(double)
        }
    }

    /// A double as `Double` may hold it; `None` if it is not finite or has an integer's value.
    pub(crate) fn from_stored_double(double: f64) -> Option<Self> {
        let scalar = Self::from_double(double);
        (double.is_finite() && matches!(scalar, Self::Double(_))).then_some(scalar)
    }

    /// The JSON form.
    pub fn to_value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Integer(integer) => Value::from(*integer),
            Self::Double(double) => Value::from(*double),
            Self::String(text) => Value::from(text.as_str()),
            Self::Bool(flag) => Value::from(*flag),
        }
    }

    /// The type, which decides first in the order.
    pub fn scalar_type(&self) -> ScalarType {
        match self {
            Self::Null => ScalarType::Null,
            Self::Integer(_) | Self::Double(_) => ScalarType::Number,
            Self::String(_) => ScalarType::String,
            Self::Bool(_) => ScalarType::Bool,
        }
    }
}

impl Eq for Scalar {}

impl PartialOrd for Scalar {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scalar {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Integer(left), Self::Integer(right)) => left.cmp(right),
            (Self::Double(left), Self::Double(right)) => left.total_cmp(right),
            (Self::Integer(left), Self::Double(right)) => compare_mixed(*left, *right),
            (Self::Double(left), Self::Integer(right)) => compare_mixed(*right, *left).reverse(),
            (Self::String(left), Self::String(right)) => left.cmp(right),
            (Self::Bool(left), Self::Bool(right)) => left.cmp(right),
            _ => self.scalar_type().cmp(&other.scalar_type()),
        }
    }
}

/// A double here is never integral inside i64, so the two are never equal and its floor is exact.
fn compare_mixed(integer: i64, double: f64) -> Ordering {
    if double >= I64_END {
        Ordering::Less
    } else if double < -I64_END {
        Ordering::Greater
    } else if integer <= double.floor() as i64 {
        Ordering::Less
    } else {
        Ordering::Greater
    }
}
