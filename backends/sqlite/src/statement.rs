//! A query plan as SQL: one statement per index range, in the order of the result.

use rusqlite::types::{ToSqlOutput, ValueRef};
use syntrix_storage_core::{
    Direction, Filter, Operand, Operator, OrderBy, Place, QueryPlan, Scalar, ScalarType,
};

use crate::expression::{Expression, direction, push_glob};
use crate::row::COLUMNS;

/// Room for a query of two fields: the type of each is a long expression.
const SQL_BYTES_EXPECTED: usize = 2048;

/// One statement with its values. The limit is bound behind them when it runs.
#[derive(Debug)]
pub(crate) struct Select<'plan> {
    pub(crate) sql: String,
    pub(crate) parameters: Vec<ToSqlOutput<'plan>>,
}

impl<'plan> Select<'plan> {
    fn bind(&mut self, value: ToSqlOutput<'plan>) {
        self.parameters.push(value);
    }

    fn bind_scalar(&mut self, value: &'plan Scalar) {
        self.bind(output(value));
    }

    fn and(&mut self) {
        self.sql.push_str(" AND ");
    }
}

/// The statements that answer `plan` when run one after the other until its limit is reached.
pub(crate) fn selects(plan: &QueryPlan) -> Vec<Select<'_>> {
    let terms: Vec<_> = plan.order().iter().map(|order| Term::of(plan, order)).collect();
    match plan.after() {
        None => vec![select(plan, &terms, None)],
        Some(place) => ranges_after(&terms, place)
            .into_iter()
            .map(|range| select(plan, &terms, Some((place, range))))
            .collect(),
    }
}

/// One field of the effective order.
struct Term {
    expression: Expression,
    direction: Direction,
    /// The only type the result can have here, by the column or by a filter.
    fixed: Option<ScalarType>,
    /// Whether a filter leaves one value only, so that there is nothing to sort by.
    constant: bool,
}

impl Term {
    fn of(plan: &QueryPlan, order: &OrderBy) -> Self {
        let expression = Expression::of(order.field());
        let filters = || plan.filters().iter().filter(|filter| filter.field() == order.field());
        let fixed = match expression {
            Expression::Column { scalar_type, .. } => Some(scalar_type),
            Expression::Data { .. } => filters().find_map(type_by_filter),
        };
        let constant = filters().any(|filter| filter.operator() == Operator::Equal);
        Self { expression, direction: order.direction(), fixed, constant }
    }

    fn may_be(&self, scalar_type: ScalarType) -> bool {
        self.fixed.is_none_or(|fixed| fixed == scalar_type)
    }

    /// Whether values of a type behind `scalar_type` can follow.
    fn has_types_beyond(&self, scalar_type: ScalarType) -> bool {
        ScalarType::ALL.into_iter().any(|other| {
            self.may_be(other) && self.direction.apply(other.cmp(&scalar_type)).is_gt()
        })
    }

    fn beyond(&self) -> &'static str {
        match self.direction {
            Direction::Ascending => " > ",
            Direction::Descending => " < ",
        }
    }
}

/// The type every match of `filter` has in its field.
fn type_by_filter(filter: &Filter) -> Option<ScalarType> {
    match (filter.operator(), filter.operand()) {
        (Operator::NotEqual | Operator::Contains, _) => None,
        (_, Operand::One(value)) => Some(value.scalar_type()),
        (_, Operand::Many(values)) => {
            let first = values.first()?.scalar_type();
            values.iter().all(|value| value.scalar_type() == first).then_some(first)
        }
    }
}

/// Documents that agree with the cursor's place in the first `level` fields and lie beyond it in the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Range {
    /// By a further value of the same type; on the last level also by the key alone.
    SameType { level: usize },
    /// By a further type.
    FurtherType { level: usize },
    /// There is no field: by the key.
    Key,
}

/// The disjoint ranges behind `place` in the order of the result.
fn ranges_after(terms: &[Term], place: &Place) -> Vec<Range> {
    let types: Vec<_> = place.values.iter().map(Scalar::scalar_type).collect();
    let fits = |level: usize| terms[level].may_be(types[level]);
    let mut ranges = Vec::new();
    for level in (0..terms.len()).rev() {
        if !(0..level).all(fits) {
            continue;
        }
        let last = level + 1 == terms.len();
        // There is one null only, so nothing of its type lies beyond it but further keys.
        if fits(level) && (last || types[level] != ScalarType::Null) {
            ranges.push(Range::SameType { level });
        }
        if terms[level].has_types_beyond(types[level]) {
            ranges.push(Range::FurtherType { level });
        }
    }
    if terms.is_empty() { vec![Range::Key] } else { ranges }
}

fn select<'plan>(
    plan: &'plan QueryPlan,
    terms: &[Term],
    range: Option<(&'plan Place, Range)>,
) -> Select<'plan> {
    let mut select = Select {
        sql: String::with_capacity(SQL_BYTES_EXPECTED),
        parameters: Vec::with_capacity(8),
    };
    push_source(&mut select, plan);
    for filter in plan.filters() {
        select.and();
        push_filter(&mut select, filter);
    }
    for term in terms.iter().filter(|term| term.fixed.is_none()) {
        select.and();
        term.expression.push_rank(&mut select.sql);
        select.sql.push_str(" IS NOT NULL");
    }
    if let Some((place, range)) = range {
        push_range(&mut select, plan, terms, place, range);
    }
    push_order(&mut select.sql, plan, terms, range);
    select.sql.push_str(" LIMIT ?");
    select
}

fn push_source<'plan>(select: &mut Select<'plan>, plan: &'plan QueryPlan) {
    select.sql.push_str("SELECT ");
    select.sql.push_str(COLUMNS);
    select.sql.push_str(" FROM documents WHERE collection = ?");
    select.bind(text(plan.collection().as_str()));
    if let Some(index) = plan.index() {
        // Only a literal lets the planner see that the partial index covers the query.
        select.and();
        push_glob(&mut select.sql, index.pattern());
    }
    if !plan.show_deleted() {
        select.sql.push_str(" AND deleted = 0");
    }
}

fn push_range<'plan>(
    select: &mut Select<'plan>,
    plan: &QueryPlan,
    terms: &[Term],
    place: &'plan Place,
    range: Range,
) {
    let (Range::SameType { level } | Range::FurtherType { level }) = range else {
        select.and();
        return push_key(select, plan, place);
    };
    for (term, value) in terms.iter().zip(&place.values).take(level) {
        select.and();
        push_type(select, term, value.scalar_type());
        push_comparison(select, &term.expression, " = ", value);
    }
    select.and();
    let (term, value) = (&terms[level], &place.values[level]);
    match range {
        Range::FurtherType { .. } => push_further_type(&mut select.sql, term, value.scalar_type()),
        _ => push_same_type(select, plan, term, value, (level + 1 == terms.len()).then_some(place)),
    }
}

fn push_further_type(sql: &mut String, term: &Term, scalar_type: ScalarType) {
    if term.fixed.is_some() {
        // Whatever its value, the one possible type lies beyond.
        return sql.push('1');
    }
    term.expression.push_rank(sql);
    sql.push_str(term.beyond());
    sql.push(digit(scalar_type));
}

/// With `place` the key breaks ties. The redundant first bound is what the index can use; a row value would not be.
fn push_same_type<'plan>(
    select: &mut Select<'plan>,
    plan: &QueryPlan,
    term: &Term,
    value: &'plan Scalar,
    place: Option<&'plan Place>,
) {
    push_type(select, term, value.scalar_type());
    match place {
        None => push_comparison(select, &term.expression, term.beyond(), value),
        Some(place) if *value == Scalar::Null => {
            push_comparison(select, &term.expression, " = ", value);
            select.and();
            push_key(select, plan, place);
        }
        Some(place) => {
            let or_equal = if term.direction == Direction::Ascending { " >= " } else { " <= " };
            push_comparison(select, &term.expression, or_equal, value);
            select.sql.push_str(" AND (");
            push_comparison(select, &term.expression, term.beyond(), value);
            select.sql.push_str(" OR ");
            push_key(select, plan, place);
            select.sql.push(')');
        }
    }
}

fn push_key<'plan>(select: &mut Select<'plan>, plan: &QueryPlan, place: &'plan Place) {
    let ascending = plan.key_direction() == Direction::Ascending;
    select.sql.push_str(if ascending { "id > ?" } else { "id < ?" });
    select.bind(ToSqlOutput::Borrowed(ValueRef::Blob(place.key.as_bytes())));
}

/// `R = type AND `, unless the type is fixed anyway.
fn push_type(select: &mut Select<'_>, term: &Term, scalar_type: ScalarType) {
    if term.fixed.is_none() {
        push_rank_is(&mut select.sql, &term.expression, scalar_type);
        select.and();
    }
}

fn push_rank_is(sql: &mut String, expression: &Expression, scalar_type: ScalarType) {
    expression.push_rank(sql);
    sql.push_str(" = ");
    sql.push(digit(scalar_type));
}

/// `V op ?`. Nulls are all equal; saying so lets the planner go on to the next column of the index.
fn push_comparison<'plan>(
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

/// What has one value in the range is left out, types that are fixed included: with it the planner would sort.
fn push_order(sql: &mut String, plan: &QueryPlan, terms: &[Term], range: Option<(&Place, Range)>) {
    sql.push_str(" ORDER BY ");
    for (position, term) in terms.iter().enumerate() {
        let (type_free, value_free) = match range {
            Some((_, Range::SameType { level } | Range::FurtherType { level }))
                if position < level =>
            {
                (false, false)
            }
            Some((place, Range::SameType { level })) if position == level => {
                (false, place.values[level] != Scalar::Null)
            }
            _ => (true, true),
        };
        if type_free && term.fixed.is_none() {
            term.expression.push_rank(sql);
            sql.push_str(direction(term.direction));
            sql.push_str(", ");
        }
        if value_free && !term.constant {
            term.expression.push_value(sql);
            sql.push_str(direction(term.direction));
            sql.push_str(", ");
        }
    }
    sql.push_str("id");
    sql.push_str(direction(plan.key_direction()));
}

fn push_filter<'plan>(select: &mut Select<'plan>, filter: &'plan Filter) {
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

/// Bools are 0 and 1, in `deleted` as in what `json_extract` gives.
fn output(value: &Scalar) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(match value {
        Scalar::Null => ValueRef::Null,
        Scalar::Integer(integer) => ValueRef::Integer(*integer),
        Scalar::Double(double) => ValueRef::Real(*double),
        Scalar::String(text) => ValueRef::Text(text.as_bytes()),
        Scalar::Bool(flag) => ValueRef::Integer(i64::from(*flag)),
    })
}

fn text(text: &str) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes()))
}

fn digit(scalar_type: ScalarType) -> char {
    match scalar_type {
        ScalarType::Null => '1',
        ScalarType::Number => '2',
        ScalarType::String => '3',
        ScalarType::Bool => '4',
    }
}
