//! A query plan as SQL: one statement that walks an index in the order of the result.

use syntrix_storage_core::{
    Direction, Filter, Operand, Operator, OrderBy, Place, QueryPlan, Scalar, ScalarType,
};
use tokio_postgres::types::ToSql;

use crate::expression::{Expression, direction, push_like};
use crate::row::COLUMNS;
use crate::session::Parameter;
use crate::sql::identifier;
use crate::value::Value;

/// Room for a query of two fields.
const SQL_BYTES_EXPECTED: usize = 1024;

/// A statement with its values.
#[derive(Debug)]
pub(crate) struct Select<'plan> {
    pub(crate) sql: String,
    values: Vec<Value<'plan>>,
    /// How many ranges it reads one after the other; with one, the first column is missing.
    pub(crate) branches: usize,
}

impl<'plan> Select<'plan> {
    pub(crate) fn parameters(&self) -> Vec<Parameter<'_>> {
        let with_type = |value| (value as &(dyn ToSql + Sync), Value::sql_type(value));
        self.values.iter().map(with_type).collect()
    }

    fn push(&mut self, text: &str) {
        self.sql.push_str(text);
    }

    fn and(&mut self) {
        self.push(" AND ");
    }

    /// `$n` for a new value.
    fn bind(&mut self, value: Value<'plan>) {
        self.values.push(value);
        self.sql.push('$');
        self.sql.push_str(&self.values.len().to_string());
    }
}

/// The statement that answers `plan` from the tables of `schema`.
pub(crate) fn select<'plan>(plan: &'plan QueryPlan, schema: &'plan str) -> Select<'plan> {
    let terms: Vec<_> = plan.order().iter().map(|order| Term::of(plan, order)).collect();
    let mut builder = Builder {
        plan,
        schema,
        terms,
        select: Select {
            sql: String::with_capacity(SQL_BYTES_EXPECTED),
            values: Vec::with_capacity(8),
            branches: 1,
        },
    };
    match plan.after() {
        None => builder.push_select(None, None),
        Some(place) if builder.is_one_range(place) => {
            builder.push_select(None, Some((place, Range::Row)));
        }
        Some(place) => builder.push_ranges(place),
    }
    builder.select
}

/// One field of the effective order.
struct Term {
    expression: Expression,
    direction: Direction,
    /// Whether a filter leaves one value only, so that there is nothing to sort by.
    constant: bool,
}

impl Term {
    fn of(plan: &QueryPlan, order: &OrderBy) -> Self {
        let equal = |filter: &Filter| {
            filter.field() == order.field() && filter.operator() == Operator::Equal
        };
        Self {
            expression: Expression::of(order.field()),
            direction: order.direction(),
            constant: plan.filters().iter().any(equal),
        }
    }

    /// Whether `value` can be compared with the column or key as it is.
    fn takes(&self, value: &Scalar) -> bool {
        match self.expression {
            Expression::Column { scalar_type, .. } => {
                value.scalar_type() == scalar_type && !matches!(value, Scalar::Double(_))
            }
            Expression::Data { .. } => true,
        }
    }
}

/// Which documents behind a place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Range {
    /// All of them, by comparing rows.
    Row,
    /// Those that agree with it in the first `level` fields and lie beyond it in the next one; behind the last field
    /// comes the key.
    Beyond { level: usize },
}

struct Builder<'plan> {
    plan: &'plan QueryPlan,
    schema: &'plan str,
    terms: Vec<Term>,
    select: Select<'plan>,
}

impl<'plan> Builder<'plan> {
    /// Rows compare in one direction only, and value by value of one type.
    fn is_one_range(&self, place: &Place) -> bool {
        let key_direction = self.plan.key_direction();
        let plain =
            |(term, value): (&Term, &Scalar)| term.direction == key_direction && term.takes(value);
        self.terms.iter().zip(&place.values).all(plain)
    }

    /// Disjoint ranges in the order of the result, each with its number. One condition with OR would be walked unevenly.
    fn push_ranges(&mut self, place: &'plan Place) {
        let levels: Vec<_> = (0..=self.terms.len()).rev().collect();
        self.select.branches = levels.len();
        for (number, level) in levels.into_iter().enumerate() {
            self.select.push(if number > 0 { " UNION ALL (" } else { "(" });
            self.push_select(Some(number), Some((place, Range::Beyond { level })));
            self.select.push(")");
        }
        self.push_limit();
    }

    fn push_select(&mut self, number: Option<usize>, range: Option<(&'plan Place, Range)>) {
        self.push_source(number);
        for filter in self.plan.filters() {
            self.select.and();
            self.push_filter(filter);
        }
        self.push_presence();
        if let Some((place, range)) = range {
            self.select.and();
            self.push_range(place, range);
        }
        self.push_order();
        self.push_limit();
    }

    fn push_source(&mut self, number: Option<usize>) {
        self.select.push("SELECT ");
        if let Some(number) = number {
            self.select.push(&format!("{number},"));
        }
        self.select.push(COLUMNS);
        let tables = identifier(self.schema);
        self.select.push(&format!(" FROM {tables}.documents WHERE collection = "));
        self.select.bind(Value::Text(self.plan.collection().as_str()));
        if let Some(index) = self.plan.index() {
            // Only a literal lets the planner see that the partial index covers the query.
            self.select.and();
            push_like(&mut self.select.sql, index.pattern());
        }
        if !self.plan.show_deleted() {
            self.select.push(" AND NOT deleted");
        }
    }

    /// A document without a comparable value has no place in the order. Word for word the index's own condition.
    fn push_presence(&mut self) {
        for term in &self.terms {
            if let Expression::Data { .. } = term.expression {
                self.select.sql.push_str(" AND ");
                term.expression.push_key(&mut self.select.sql, self.schema);
                self.select.sql.push_str(" IS NOT NULL");
            }
        }
    }

    fn push_range(&mut self, place: &'plan Place, range: Range) {
        match range {
            Range::Row => self.push_row_comparison(place),
            Range::Beyond { level } => self.push_beyond(place, level),
        }
    }

    fn push_row_comparison(&mut self, place: &'plan Place) {
        self.select.push("(");
        for position in 0..self.terms.len() {
            self.push_ordered(position);
            self.select.push(",");
        }
        self.select.push("id)");
        self.select.push(beyond(self.plan.key_direction()));
        self.select.push("(");
        for (position, value) in place.values.iter().enumerate() {
            self.push_operand(position, value);
            self.select.push(",");
        }
        self.select.bind(Value::Key(place.key.as_bytes()));
        self.select.push(")");
    }

    fn push_beyond(&mut self, place: &'plan Place, level: usize) {
        for position in 0..level {
            self.push_comparison(position, " = ", &place.values[position]);
            self.select.and();
        }
        match self.terms.get(level) {
            Some(term) => {
                let operator = beyond(term.direction);
                self.push_comparison(level, operator, &place.values[level]);
            }
            None => {
                self.select.push("id");
                self.select.push(beyond(self.plan.key_direction()));
                self.select.bind(Value::Key(place.key.as_bytes()));
            }
        }
    }

    /// A column has values of one type: against another type, the order of types decides.
    fn push_comparison(&mut self, position: usize, operator: &str, value: &Scalar) {
        if let Expression::Column { scalar_type, .. } = self.terms[position].expression
            && scalar_type != value.scalar_type()
        {
            let holds = match operator {
                " > " => scalar_type > value.scalar_type(),
                " < " => scalar_type < value.scalar_type(),
                _ => false,
            };
            return self.select.push(boolean(holds));
        }
        self.push_ordered(position);
        self.select.push(operator);
        self.push_operand(position, value);
    }

    fn push_ordered(&mut self, position: usize) {
        self.terms[position].expression.push_ordered(&mut self.select.sql, self.schema);
    }

    fn push_operand(&mut self, position: usize, value: &Scalar) {
        match self.terms[position].expression {
            Expression::Column { .. } => self.push_column_operand(value),
            Expression::Data { .. } => self.push_key_of(value),
        }
    }

    fn push_order(&mut self) {
        self.select.push(" ORDER BY ");
        for term in self.terms.iter().filter(|term| !term.constant) {
            term.expression.push_ordered(&mut self.select.sql, self.schema);
            self.select.sql.push_str(direction(term.direction));
            self.select.sql.push(',');
        }
        self.select.push("id");
        self.select.push(direction(self.plan.key_direction()));
    }

    /// Written out: the planner weighs its choices by it.
    fn push_limit(&mut self) {
        let limit = self.plan.rows_max();
        self.select.push(&format!(" LIMIT {limit}"));
    }

    fn push_filter(&mut self, filter: &'plan Filter) {
        match Expression::of(filter.field()) {
            Expression::Column { name, scalar_type } => {
                self.push_column_filter(filter, name, scalar_type);
            }
            data @ Expression::Data { .. } => self.push_data_filter(filter, &data),
        }
    }

    /// A column is always there and of one type, so a value of another type decides without looking.
    fn push_column_filter(
        &mut self,
        filter: &'plan Filter,
        name: &'static str,
        scalar_type: ScalarType,
    ) {
        match (filter.operator(), filter.operand()) {
            (Operator::Contains, _) => self.select.push("FALSE"),
            (_, Operand::Many(values)) => {
                let fitting = values.iter().filter(|value| value.scalar_type() == scalar_type);
                self.push_column_list(name, fitting);
            }
            (operator, Operand::One(value)) if value.scalar_type() == scalar_type => {
                self.select.push(name);
                self.select.push(comparison(operator));
                self.push_column_operand(value);
            }
            (operator, Operand::One(_)) => {
                self.select.push(boolean(operator == Operator::NotEqual));
            }
        }
    }

    fn push_column_list<'scalar>(
        &mut self,
        name: &str,
        values: impl Iterator<Item = &'scalar Scalar>,
    ) {
        self.select.push("(FALSE");
        for value in values {
            self.select.push(&format!(" OR {name} = "));
            self.push_column_operand(value);
        }
        self.select.push(")");
    }

    fn push_column_operand(&mut self, value: &Scalar) {
        match value {
            Scalar::Integer(integer) => self.select.bind(Value::Integer(*integer)),
            Scalar::Bool(flag) => self.select.bind(Value::Bool(*flag)),
            Scalar::Double(double) => {
                self.select.bind(Value::OwnedText(double.to_string()));
                self.select.push("::numeric");
            }
            other => {
                let text = other.to_value().as_str().unwrap_or_default().to_owned();
                self.select.bind(Value::OwnedText(text));
            }
        }
    }

    fn push_data_filter(&mut self, filter: &'plan Filter, data: &Expression) {
        match (filter.operator(), filter.operand()) {
            (_, Operand::Many(values)) => self.push_data_list(data, values),
            (Operator::Contains, Operand::One(value)) => self.push_contains(data, value),
            (Operator::NotEqual, Operand::One(value)) => {
                self.push_value(data);
                self.select.push(" IS NOT NULL AND ");
                data.push_ordered(&mut self.select.sql, self.schema);
                self.select.push(" IS DISTINCT FROM ");
                self.push_key_of(value);
            }
            (operator, Operand::One(value)) => {
                data.push_ordered(&mut self.select.sql, self.schema);
                self.select.push(comparison(operator));
                self.push_key_of(value);
                self.push_type_bound(data, operator, value.scalar_type());
            }
        }
    }

    /// A range never leaves the type of its operand.
    fn push_type_bound(&mut self, data: &Expression, operator: Operator, of_type: ScalarType) {
        let bound = match (operator, of_type) {
            (Operator::Less | Operator::LessOrEqual, ScalarType::Number) => " >= '2'",
            (Operator::Less | Operator::LessOrEqual, _) => " >= '3'",
            (Operator::Greater | Operator::GreaterOrEqual, ScalarType::Number) => " < '3'",
            (Operator::Greater | Operator::GreaterOrEqual, _) => " < '4'",
            _ => return,
        };
        self.select.and();
        data.push_ordered(&mut self.select.sql, self.schema);
        self.select.push(bound);
    }

    fn push_data_list(&mut self, data: &Expression, values: &[Scalar]) {
        if values.is_empty() {
            return self.select.push("FALSE");
        }
        data.push_ordered(&mut self.select.sql, self.schema);
        self.select.push(" = ANY (ARRAY[");
        for (position, value) in values.iter().enumerate() {
            self.select.push(if position > 0 { "," } else { "" });
            self.push_key_of(value);
        }
        self.select.push("])");
    }

    /// `@>` alone would also take a scalar for an array that holds it.
    fn push_contains(&mut self, data: &Expression, value: &Scalar) {
        self.select.push("jsonb_typeof(");
        self.push_value(data);
        self.select.push(") = 'array' AND ");
        self.push_value(data);
        self.select.push(" @> ");
        self.select.bind(Value::Json(value.to_value().to_string()));
    }

    fn push_value(&mut self, data: &Expression) {
        if let Expression::Data { value } = data {
            self.select.push(value);
        }
    }

    /// The operand goes through the same function as the data.
    fn push_key_of(&mut self, value: &Scalar) {
        let function = format!("{}.ds_key(", identifier(self.schema));
        self.select.push(&function);
        self.select.bind(Value::Json(value.to_value().to_string()));
        self.select.push(")");
    }
}

fn beyond(direction: Direction) -> &'static str {
    match direction {
        Direction::Ascending => " > ",
        Direction::Descending => " < ",
    }
}

fn boolean(holds: bool) -> &'static str {
    if holds { "TRUE" } else { "FALSE" }
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
