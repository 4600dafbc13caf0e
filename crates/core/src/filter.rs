//! Filters: a field, an operator and an operand, tested against one document.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use crate::document::Document;
use crate::error::{Error, Reason, Result};
use crate::field::Field;
use crate::scalar::{Scalar, ScalarType};
use crate::value::kind_of;

/// Most filters in one query or one list of preconditions.
pub const FILTERS_MAX: usize = 20;
/// Most values of `in`.
pub const IN_VALUES_MAX: usize = 100;

/// How a filter compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operator {
    /// `==`: same type and value.
    Equal,
    /// `!=`: present and not equal.
    NotEqual,
    /// `<`, same type.
    Less,
    /// `<=`, same type.
    LessOrEqual,
    /// `>`, same type.
    Greater,
    /// `>=`, same type.
    GreaterOrEqual,
    /// `in`: equal to one of a list.
    In,
    /// `contains`: an array with an equal element.
    Contains,
}

impl Operator {
    /// As written in filters.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::In => "in",
            Self::Contains => "contains",
        }
    }

    /// Whether this is `<`, `<=`, `>` or `>=`.
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage_core::Operator;
    ///
    /// assert!(Operator::Less.is_range() && !Operator::In.is_range());
    /// ```
    pub const fn is_range(self) -> bool {
        matches!(self, Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual)
    }
}

impl FromStr for Operator {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "==" => Self::Equal,
            "!=" => Self::NotEqual,
            "<" => Self::Less,
            "<=" => Self::LessOrEqual,
            ">" => Self::Greater,
            ">=" => Self::GreaterOrEqual,
            "in" => Self::In,
            "contains" => Self::Contains,
            _ => {
                let message = "an operator is one of == != < <= > >= in contains";
                return Err(Error::invalid("op", Reason::OpUnknown, message));
            }
        })
    }
}

/// The checked right-hand side of a [`Filter`].
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// One value.
    One(Scalar),
    /// The values of `in`, sorted and without repeats.
    Many(Vec<Scalar>),
}

/// A condition on one field. Missing matches nothing, not even `!=`.
///
/// # Examples
///
/// ```
/// use serde_json::json;
/// use syntrix_storage_core::{Filter, Operator};
///
/// # fn main() -> syntrix_storage_core::Result<()> {
/// let cheap = Filter::new("price", Operator::Less, json!(10))?;
/// assert_eq!(cheap.field().to_string(), "price");
/// assert!(Filter::new("price", Operator::Less, json!([1])).is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    field: Field,
    operator: Operator,
    operand: Operand,
}

impl Filter {
    /// Checks and takes a condition.
    ///
    /// # Errors
    ///
    /// [`Reason::FieldPath`], [`Reason::OperandType`], [`Reason::OperandTooLong`], [`Reason::InTooMany`] or
    /// [`Reason::NumberOutOfRange`].
    pub fn new(field: &str, operator: Operator, operand: impl Into<Value>) -> Result<Self> {
        let parsed = Field::parse(field)?;
        let operand = operand.into();
        let operand = match operator {
            Operator::In => Operand::Many(parse_list(field, &operand)?),
            _ if operator.is_range() => Operand::One(parse_bound(field, &operand)?),
            _ => Operand::One(Scalar::from_operand(field, &operand)?),
        };
        Ok(Self { field: parsed, operator, operand })
    }

    /// `version == version`: the usual precondition.
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage_core::{Filter, Operator, Version};
    ///
    /// let unchanged = Filter::version_is(Version::new(3));
    /// assert_eq!(unchanged, Filter::new("version", Operator::Equal, 3)?);
    /// # Ok::<(), syntrix_storage_core::Error>(())
    /// ```
    pub fn version_is(version: crate::Version) -> Self {
        Self {
            field: Field::System(crate::SystemField::Version),
            operator: Operator::Equal,
            operand: Operand::One(Scalar::Integer(version.get())),
        }
    }

    /// The field it tests.
    pub fn field(&self) -> &Field {
        &self.field
    }

    /// How it compares.
    pub fn operator(&self) -> Operator {
        self.operator
    }

    /// What it compares with.
    pub fn operand(&self) -> &Operand {
        &self.operand
    }

    /// Whether `document`, whose data is `data`, satisfies the condition.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
    /// use syntrix_storage_core::{Body, Document, DocumentPath, Filter, Operator, Timestamp};
    ///
    /// let data = json!({"tags": ["a", "b"]});
    /// let path = DocumentPath::parse("notes/1")?;
    /// let document = Document::first(path, Timestamp::default(), Body::from_canonical(data.to_string()));
    /// assert!(Filter::new("tags", Operator::Contains, "a")?.matches(&document, &data));
    /// // A missing field matches nothing, not even `!=`.
    /// assert!(!Filter::new("color", Operator::NotEqual, "red")?.matches(&document, &data));
    /// # Ok::<(), syntrix_storage_core::Error>(())
    /// ```
    pub fn matches(&self, document: &Document, data: &Value) -> bool {
        match &self.field {
            Field::System(field) => self.matches_value(&field.of(document).to_value()),
            Field::Data(path) => path.find(data).is_some_and(|value| self.matches_value(value)),
        }
    }

    fn matches_value(&self, value: &Value) -> bool {
        match (&self.operand, self.operator) {
            (Operand::Many(list), _) => {
                Scalar::from_value(value).is_some_and(|scalar| list.binary_search(&scalar).is_ok())
            }
            (Operand::One(operand), Operator::Contains) => value.as_array().is_some_and(|items| {
                items.iter().any(|item| Scalar::from_value(item).as_ref() == Some(operand))
            }),
            (Operand::One(operand), Operator::NotEqual) => {
                Scalar::from_value(value).as_ref() != Some(operand)
            }
            (Operand::One(operand), operator) => Scalar::from_value(value)
                .is_some_and(|scalar| matches_scalar(&scalar, operator, operand)),
        }
    }
}

fn matches_scalar(scalar: &Scalar, operator: Operator, operand: &Scalar) -> bool {
    let same_type = scalar.scalar_type() == operand.scalar_type();
    same_type
        && match operator {
            Operator::Equal => scalar == operand,
            Operator::Less => scalar < operand,
            Operator::LessOrEqual => scalar <= operand,
            Operator::Greater => scalar > operand,
            Operator::GreaterOrEqual => scalar >= operand,
            Operator::NotEqual | Operator::In | Operator::Contains => false,
        }
}

fn parse_list(field: &str, operand: &Value) -> Result<Vec<Scalar>> {
    let Value::Array(items) = operand else {
        return Err(operand_type(field, "`in` takes an array of scalars", operand));
    };
    if items.len() > IN_VALUES_MAX {
        return Err(Error::invalid(field, Reason::InTooMany, "`in` takes at most 100 values")
            .with_fact("values", items.len())
            .with_fact("limit", IN_VALUES_MAX));
    }
    let mut list: Vec<_> =
        items.iter().map(|item| Scalar::from_operand(field, item)).collect::<Result<_>>()?;
    list.sort_unstable();
    list.dedup();
    Ok(list)
}

fn parse_bound(field: &str, operand: &Value) -> Result<Scalar> {
    let bound = Scalar::from_operand(field, operand)?;
    match bound.scalar_type() {
        ScalarType::Number | ScalarType::String => Ok(bound),
        _ => Err(operand_type(field, "a range compares numbers or strings", operand)),
    }
}

fn operand_type(field: &str, message: &'static str, operand: &Value) -> Error {
    Error::invalid(field, Reason::OperandType, message).with_fact("value", kind_of(operand))
}

pub(crate) fn check_count(filters: &[Filter]) -> Result<()> {
    if filters.len() > FILTERS_MAX {
        return Err(Error::invalid("filters", Reason::TooManyFilters, "at most 20 filters")
            .with_fact("filters", filters.len())
            .with_fact("limit", FILTERS_MAX));
    }
    Ok(())
}

impl fmt::Display for Operator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
