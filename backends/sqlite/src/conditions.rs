//! Conditions as SQL: filters of a query, and comparisons of one field.

use syntrix_storage_core::{Filter, Operand, Operator, Scalar, ScalarType};

use crate::expression::Expression;
use crate::statement::Select;

pub(crate) fn push_filter<'plan>(select: &mut Select<'plan>, filter: &'plan Filter) {
    let expression = Expression::of(filter.field());
    match expression {
        Expression::Column { scalar_type, .. } => {
            push_column_filter(select, filter, &expression, scalar_type);
        }
        Expression::Data { .. } => push_data_filter(select, filter, &expression),
    }
}

/// A column is always there and of one type, so a value of another type decides without looking.
fn push_column_filter<'plan>(
    select: &mut Select<'plan>,
    filter: &'plan Filter,
    column: &Expression,
    scalar_type: ScalarType,
) {
    match (filter.operator(), filter.operand()) {
        (Operator::Contains, _) => select.sql.push('0'),
        (_, Operand::Many(values)) => {
            let values: Vec<_> =
                values.iter().filter(|value| value.scalar_type() == scalar_type).collect();
            push_in(select, column, &values);
        }
        (operator, Operand::One(value)) if value.scalar_type() == scalar_type => {
            push_comparison(select, column, comparison(operator), value);
        }
        (operator, Operand::One(_)) => {
            select.sql.push(if operator == Operator::NotEqual { '1' } else { '0' });
        }
    }
}

fn push_data_filter<'plan>(select: &mut Select<'plan>, filter: &'plan Filter, data: &Expression) {
    match (filter.operator(), filter.operand()) {
        (_, Operand::Many(values)) => push_data_in(select, data, values),
        (Operator::NotEqual, Operand::One(value)) => {
            data.push_json_type(&mut select.sql);
            select.sql.push_str(" IS NOT NULL AND (");
            push_data_comparison(select, data, Operator::Equal, value);
            select.sql.push_str(") IS NOT TRUE");
        }
        (Operator::Contains, Operand::One(value)) => push_contains(select, data, value),
        (operator, Operand::One(value)) => push_data_comparison(select, data, operator, value),
    }
}

fn push_data_comparison<'plan>(
    select: &mut Select<'plan>,
    data: &Expression,
    operator: Operator,
    value: &'plan Scalar,
) {
    push_rank_is(&mut select.sql, data, value.scalar_type());
    select.and();
    push_comparison(select, data, comparison(operator), value);
}

/// The values are sorted, so those of one type stand together.
fn push_data_in<'plan>(select: &mut Select<'plan>, data: &Expression, values: &'plan [Scalar]) {
    let groups: Vec<_> =
        values.chunk_by(|left, right| left.scalar_type() == right.scalar_type()).collect();
    match groups.as_slice() {
        [] => select.sql.push('0'),
        [group] => push_group(select, data, group),
        groups => {
            push_hint(select, data, values);
            select.sql.push_str(" AND (");
            for (position, group) in groups.iter().enumerate() {
                select.sql.push_str(if position > 0 { " OR " } else { "" });
                push_group(select, data, group);
            }
            select.sql.push(')');
        }
    }
}

/// What a list of mixed types implies, in a form that an index can use: it cannot use the alternatives themselves.
fn push_hint<'plan>(select: &mut Select<'plan>, data: &Expression, values: &'plan [Scalar]) {
    let mut types: Vec<_> = values.iter().map(Scalar::scalar_type).collect();
    types.dedup();
    data.push_rank(&mut select.sql);
    select.sql.push_str(" IN (");
    for (position, scalar_type) in types.iter().enumerate() {
        select.sql.push_str(if position > 0 { "," } else { "" });
        select.sql.push(digit(*scalar_type));
    }
    select.sql.push(')');
    // No list of values contains null.
    if !types.contains(&ScalarType::Null) {
        select.and();
        push_in(select, data, &values.iter().collect::<Vec<_>>());
    }
}

fn push_group<'plan>(select: &mut Select<'plan>, data: &Expression, group: &'plan [Scalar]) {
    push_rank_is(&mut select.sql, data, group[0].scalar_type());
    if group[0] != Scalar::Null {
        select.and();
        push_in(select, data, &group.iter().collect::<Vec<_>>());
    }
}

/// The list is filled up to a power of two with its last value, so that few lengths make few statements.
fn push_in<'plan>(select: &mut Select<'plan>, expression: &Expression, values: &[&'plan Scalar]) {
    let Some(last) = values.last() else { return select.sql.push('0') };
    expression.push_value(&mut select.sql);
    select.sql.push_str(" IN (");
    for position in 0..values.len().next_power_of_two() {
        select.sql.push_str(if position > 0 { ",?" } else { "?" });
        select.bind_scalar(values.get(position).unwrap_or(last));
    }
    select.sql.push(')');
}

/// `json_each` also walks objects and scalars, hence the first condition; bools and null are told by their type alone.
fn push_contains<'plan>(select: &mut Select<'plan>, data: &Expression, value: &'plan Scalar) {
    data.push_json_type(&mut select.sql);
    select.sql.push_str(" = 'array' AND EXISTS (SELECT 1 FROM ");
    data.push_elements(&mut select.sql);
    select.sql.push_str(match value {
        Scalar::Null => " WHERE e.type = 'null')",
        Scalar::Bool(true) => " WHERE e.type = 'true')",
        Scalar::Bool(false) => " WHERE e.type = 'false')",
        Scalar::String(_) => " WHERE e.type = 'text' AND e.value = ?)",
        Scalar::Integer(_) | Scalar::Double(_) => {
            " WHERE e.type IN ('integer','real') AND e.value = ?)"
        }
    });
    if matches!(value, Scalar::String(_) | Scalar::Integer(_) | Scalar::Double(_)) {
        select.bind_scalar(value);
    }
}

pub(crate) fn push_rank_is(sql: &mut String, expression: &Expression, scalar_type: ScalarType) {
    expression.push_rank(sql);
    sql.push_str(" = ");
    sql.push(digit(scalar_type));
}

/// `V op ?`. Nulls are all equal; saying so lets the planner go on to the next column of the index.
pub(crate) fn push_comparison<'plan>(
    select: &mut Select<'plan>,
    expression: &Expression,
    operator: &str,
    value: &'plan Scalar,
) {
    expression.push_value(&mut select.sql);
    if *value == Scalar::Null {
        return select.sql.push_str(" IS NULL");
    }
    select.sql.push_str(operator);
    select.sql.push('?');
    select.bind_scalar(value);
}

fn comparison(operator: Operator) -> &'static str {
    match operator {
        Operator::NotEqual => " <> ",
        Operator::Less => " < ",
        Operator::LessOrEqual => " <= ",
        Operator::Greater => " > ",
        Operator::GreaterOrEqual => " >= ",
        Operator::Equal | Operator::In | Operator::Contains => " = ",
    }
}

pub(crate) fn digit(scalar_type: ScalarType) -> char {
    match scalar_type {
        ScalarType::Null => '1',
        ScalarType::Number => '2',
        ScalarType::String => '3',
        ScalarType::Bool => '4',
    }
}
