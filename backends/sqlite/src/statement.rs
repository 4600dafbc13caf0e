//! A query plan as SQL: one statement per index range, in the order of the result.

use rusqlite::types::{ToSqlOutput, ValueRef};
use syntrix_storage_core::{
    Direction, Filter, Operand, Operator, OrderBy, Place, QueryPlan, Scalar, ScalarType,
};

use crate::conditions::{digit, push_comparison, push_filter, push_rank_is};
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

    pub(crate) fn bind_scalar(&mut self, value: &'plan Scalar) {
        self.bind(output(value));
    }

    pub(crate) fn and(&mut self) {
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
