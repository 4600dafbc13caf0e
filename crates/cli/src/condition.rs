//! `FIELD OP JSON` and `FIELD[:desc]` as they are typed.

use syntrix_storage::{CollectionPath, Direction, Filter, Operator, Query};

use crate::failure::Failure;
use crate::json::{self, JsonFault};

const OPERATORS: [Operator; 8] = [
    Operator::Equal,
    Operator::NotEqual,
    Operator::LessOrEqual,
    Operator::GreaterOrEqual,
    Operator::Less,
    Operator::Greater,
    Operator::In,
    Operator::Contains,
];

/// Which documents of a collection, in which order.
#[derive(Debug, clap::Args)]
pub(crate) struct QueryArgs {
    /// Collection path, for example countries/JP/cities
    pub(crate) collection: String,

    /// Condition that must hold, for example 'admin1 == "13"'; may be repeated
    #[arg(long = "where", value_name = "FIELD OP JSON")]
    pub(crate) conditions: Vec<String>,

    /// Field to sort by, the first one given decides first; may be repeated
    #[arg(long, value_name = "FIELD[:desc]")]
    pub(crate) order_by: Vec<String>,
}

impl QueryArgs {
    /// The query without limit and cursor.
    pub(crate) fn query(&self) -> Result<Query, Failure> {
        let collection = CollectionPath::parse(&self.collection);
        let mut query = Query::of(collection.map_err(|error| error.in_operation("query"))?);
        for condition in &self.conditions {
            query = query.with_filter(parse_condition(condition, "--where", "query")?);
        }
        for order in &self.order_by {
            let (field, direction) = split_order(order);
            query =
                query.order_by(field, direction).map_err(|error| error.in_operation("query"))?;
        }
        Ok(query)
    }
}

/// Conditions of a write.
pub(crate) fn preconditions(
    conditions: &[String],
    operation: &'static str,
) -> Result<Vec<Filter>, Failure> {
    conditions.iter().map(|condition| parse_condition(condition, "--if", operation)).collect()
}

/// Parses `FIELD OP JSON`.
///
/// A field may have blanks, and operators may be part of its name, so the operator is the first one that is followed by
/// JSON.
fn parse_condition(text: &str, option: &str, operation: &'static str) -> Result<Filter, Failure> {
    let mut fault = None;
    for (field, operator, operand) in splits(text) {
        match json::parse(operand) {
            Ok(value) => {
                let filter = Filter::new(field, operator, value);
                return Ok(filter.map_err(|error| error.in_operation(operation))?);
            }
            Err(other) => fault = fault.or(Some(other)),
        }
    }
    Err(refusal(text, option, operation, fault))
}

fn refusal(text: &str, option: &str, operation: &'static str, fault: Option<JsonFault>) -> Failure {
    match fault {
        Some(JsonFault::Integer) => {
            Failure::Store(json::integer_too_large().in_operation(operation))
        }
        Some(JsonFault::Syntax(error)) => Failure::Usage(format!(
            "{option}: the value behind the operator is no JSON ({error}); a text needs double quotes: {option} 'name == \"Oslo\"'"
        )),
        None => match unknown_operator(text) {
            Some(error) => Failure::Store(error.in_operation(operation)),
            None => Failure::Usage(format!(
                "{option} takes 'FIELD OP JSON' with blanks between, for example {option} 'age >= 18'"
            )),
        },
    }
}

/// The store's word on what stands where the operator should.
fn unknown_operator(text: &str) -> Option<syntrix_storage::Error> {
    let mut words = text.split_whitespace();
    let (_, operator, _) = (words.next()?, words.next()?, words.next()?);
    operator.parse::<Operator>().err()
}

/// Every way to cut `text` at an operator outside backticks, from the left.
fn splits(text: &str) -> impl Iterator<Item = (&str, Operator, &str)> {
    text.char_indices().filter_map(move |(start, character)| {
        if !character.is_whitespace() || is_quoted(&text[..start]) {
            return None;
        }
        let rest = text[start..].trim_start();
        let operator = OPERATORS.into_iter().find(|operator| starts_with_word(rest, operator))?;
        Some((text[..start].trim(), operator, rest[operator.as_str().len()..].trim()))
    })
}

fn starts_with_word(text: &str, operator: &Operator) -> bool {
    text.strip_prefix(operator.as_str()).is_some_and(|rest| rest.starts_with(char::is_whitespace))
}

/// Whether a quoted segment is open at the end; a doubled backtick closes and opens.
fn is_quoted(text: &str) -> bool {
    text.bytes().filter(|byte| *byte == b'`').count() % 2 == 1
}

/// `FIELD`, `FIELD:asc` or `FIELD:desc`.
fn split_order(text: &str) -> (&str, Direction) {
    if let Some(field) = text.strip_suffix(":desc") {
        return (field, Direction::Descending);
    }
    (text.strip_suffix(":asc").unwrap_or(text), Direction::Ascending)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> String {
        let filter = parse_condition(text, "--where", "query").expect(text);
        format!("{} {} {:?}", filter.field(), filter.operator(), filter.operand())
    }

    fn refused(text: &str) -> Failure {
        parse_condition(text, "--where", "query").expect_err(text)
    }

    #[test]
    fn a_condition_has_field_operator_and_json() {
        assert_eq!(parsed(r#"name == "Oslo""#), r#"name == One(String("Oslo"))"#);
        assert_eq!(parsed("tags contains 1"), "tags contains One(Integer(1))");
        assert_eq!(parsed("a.b in [1, 2]"), "a.b in Many([Integer(1), Integer(2)])");
        assert_eq!(parsed("n <= 2"), "n <= One(Integer(2))");
    }

    #[test]
    fn blanks_and_operators_may_be_part_of_a_field() {
        assert_eq!(parsed(r#"first name == "x""#), r#"first name == One(String("x"))"#);
        assert_eq!(parsed("made in == 1"), "made in == One(Integer(1))");
        assert_eq!(parsed("`a == 1` == 2"), "a == 1 == One(Integer(2))");
        assert_eq!(parsed(r#"name == "a == 1""#), r#"name == One(String("a == 1"))"#);
    }

    #[test]
    fn an_unknown_operator_is_the_stores_error_and_bare_text_is_a_usage_error() {
        let Failure::Store(error) = refused("age ~= 3") else { panic!("no store error") };
        assert_eq!(error.reason(), Some(syntrix_storage::Reason::OpUnknown));
        assert!(matches!(refused("name == Oslo"), Failure::Usage(_)));
        assert!(matches!(refused("age"), Failure::Usage(_)));
    }

    #[test]
    fn an_operand_that_would_be_rounded_is_refused() {
        let Failure::Store(error) = refused("n == 18446744073709551616") else { panic!("taken") };
        assert_eq!(error.reason(), Some(syntrix_storage::Reason::NumberOutOfRange));
    }

    #[test]
    fn an_order_may_name_its_direction() {
        assert_eq!(split_order("ts"), ("ts", Direction::Ascending));
        assert_eq!(split_order("ts:asc"), ("ts", Direction::Ascending));
        assert_eq!(split_order("ts:desc"), ("ts", Direction::Descending));
        assert_eq!(split_order("`odd:desc`"), ("`odd:desc`", Direction::Ascending));
    }
}
