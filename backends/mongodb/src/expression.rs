//! A plan in the server's query language.
//!
//! Conditions on data go to `s`, the copy without arrays, so that no array is entered by accident; what has to see arrays goes
//! to `data` behind guards. Values stand inside `$eq` and its like only, never where an operator could be.

use mongodb::bson::{Bson, Document, doc};
use syntrix_storage_core::{
    Direction, Field, Filter, Operand, Operator, OrderBy, Place, QueryPlan, Scalar, ScalarType,
    SystemField,
};

use crate::{names, record};

/// The documents that belong to the page, the cursor included.
pub(crate) fn filter(plan: &QueryPlan) -> Document {
    let mut all = vec![doc! { "collection": { "$eq": plan.collection().as_str() } }];
    if plan.index().is_some() {
        // Makes the partial index usable.
        all.push(doc! { "pat": { "$eq": plan.pattern().as_str() } });
    }
    if !plan.show_deleted() {
        all.push(doc! { "deleted": { "$eq": false } });
    }
    plan.filters().iter().for_each(|filter| condition(filter, &mut all));
    let open = plan.order().iter().map(OrderBy::field).filter(|field| !is_compared(plan, field));
    open.for_each(|field| comparable(field, &mut all));
    if let Some(place) = plan.after() {
        all.push(behind(plan, place));
    }
    doc! { "$and": all }
}

/// The order, ended by the key.
pub(crate) fn sort(plan: &QueryPlan) -> Document {
    let terms = plan.order().iter().map(|term| (name(term.field()), sign(term.direction())));
    let key = ("_id".to_owned(), sign(plan.key_direction()));
    terms.chain([key]).map(|(name, sign)| (name, Bson::Int32(sign))).collect()
}

/// What the server needs to build a declared index.
pub(crate) fn index_specification(name: &str, pattern: &str, fields: &[OrderBy]) -> Document {
    let mut key = doc! { "collection": 1 };
    let mut partial = doc! { "pat": pattern };
    for term in fields {
        key.insert(self::name(term.field()), sign(term.direction()));
        if let Field::Data(_) = term.field() {
            partial.insert(self::name(term.field()), doc! { "$exists": true });
        }
    }
    key.insert("_id", fields.last().map_or(1, |last| sign(last.direction())));
    doc! { "key": key, "name": name, "partialFilterExpression": partial }
}

/// The field's name where its value can be compared.
fn name(field: &Field) -> String {
    match field {
        Field::System(field) => field.as_str().to_owned(),
        Field::Data(path) => names::path("s", path.keys()),
    }
}

const fn sign(direction: Direction) -> i32 {
    match direction {
        Direction::Ascending => 1,
        Direction::Descending => -1,
    }
}

pub(crate) fn value(scalar: &Scalar) -> Bson {
    match scalar {
        Scalar::Null => Bson::Null,
        Scalar::Integer(integer) => Bson::Int64(*integer),
        Scalar::Double(double) => Bson::Double(*double),
        Scalar::String(text) => Bson::String(text.clone()),
        Scalar::Bool(flag) => Bson::Boolean(*flag),
    }
}

fn condition(filter: &Filter, all: &mut Vec<Document>) {
    let field = filter.field();
    match (filter.operand(), filter.operator()) {
        (Operand::Many(list), _) => all.push(one_of(field, list)),
        (Operand::One(operand), Operator::NotEqual) => {
            present(field, all);
            all.push(doc! { "$nor": [equal(field, operand)] });
        }
        (Operand::One(operand), Operator::Contains) => contains(field, operand, all),
        (Operand::One(operand), operator) if operator.is_range() => {
            all.push(range(field, operator, operand));
        }
        (Operand::One(operand), _) => all.push(equal(field, operand)),
    }
}

/// A plain `null` would match what is missing, too.
fn equal(field: &Field, operand: &Scalar) -> Document {
    match operand {
        Scalar::Null => doc! { name(field): { "$type": "null" } },
        operand => doc! { name(field): { "$eq": value(operand) } },
    }
}

/// The server compares within one type; the operand is a number or a string.
fn range(field: &Field, operator: Operator, operand: &Scalar) -> Document {
    let operator = match operator {
        Operator::Less => "$lt",
        Operator::LessOrEqual => "$lte",
        Operator::Greater => "$gt",
        _ => "$gte",
    };
    doc! { name(field): { operator: value(operand) } }
}

fn one_of(field: &Field, list: &[Scalar]) -> Document {
    let values: Vec<Bson> =
        list.iter().filter(|scalar| **scalar != Scalar::Null).map(value).collect();
    let among = doc! { name(field): { "$in": &values } };
    if values.len() == list.len() {
        return among;
    }
    doc! { "$or": [among, equal(field, &Scalar::Null)] }
}

/// The field is there, reached through objects only.
fn present(field: &Field, all: &mut Vec<Document>) {
    if let Field::Data(path) = field {
        guard(path.keys(), all);
        all.push(doc! { names::path("data", path.keys()): { "$exists": true } });
    }
}

fn contains(field: &Field, operand: &Scalar, all: &mut Vec<Document>) {
    match field {
        Field::Data(path) => {
            guard(path.keys(), all);
            let element = doc! { "$elemMatch": { "$eq": value(operand) } };
            all.push(doc! { names::path("data", path.keys()): element });
        }
        // None of the system fields is an array.
        Field::System(_) => all.push(doc! { "_id": { "$exists": false } }),
    }
}

/// No array on the way: the server would enter it.
fn guard(keys: &[String], all: &mut Vec<Document>) {
    for length in 1..keys.len() {
        let prefix = names::path("data", &keys[..length]);
        all.push(doc! { prefix: { "$not": { "$type": "array" } } });
    }
}

/// Whether a filter lets through only documents with a comparable value in the field.
fn is_compared(plan: &QueryPlan, field: &Field) -> bool {
    let compares = |operator| !matches!(operator, Operator::NotEqual | Operator::Contains);
    plan.filters().iter().any(|filter| filter.field() == field && compares(filter.operator()))
}

/// Only what has a comparable value is in an order.
fn comparable(field: &Field, all: &mut Vec<Document>) {
    if let Field::Data(_) = field {
        all.push(doc! { name(field): { "$exists": true } });
        all.push(doc! { name(field): { "$not": { "$type": "object" } } });
    }
}

/// Everything behind a place in the order, as ranges that an index can merge.
fn behind(plan: &QueryPlan, place: &Place) -> Document {
    let key = record::key_of(&place.key);
    let operator = beyond_operator(plan.key_direction());
    let mut equals: Vec<Document> = Vec::new();
    let mut ranges: Vec<Document> = Vec::new();
    for (term, scalar) in plan.order().iter().zip(&place.values) {
        for beyond in beyond(term, scalar) {
            ranges.push(all_of(&equals, beyond));
        }
        equals.push(equal(term.field(), scalar));
    }
    ranges.push(all_of(&equals, doc! { "_id": { operator: key } }));
    match ranges.len() {
        1 => ranges.remove(0),
        _ => doc! { "$or": ranges },
    }
}

fn all_of(equals: &[Document], last: Document) -> Document {
    if equals.is_empty() {
        return last;
    }
    let all: Vec<Document> = equals.iter().cloned().chain([last]).collect();
    doc! { "$and": all }
}

const fn beyond_operator(direction: Direction) -> &'static str {
    match direction {
        Direction::Ascending => "$gt",
        Direction::Descending => "$lt",
    }
}

/// What lies behind a value: the rest of its type, then each further type.
fn beyond(term: &OrderBy, scalar: &Scalar) -> Vec<Document> {
    let name = name(term.field());
    let operator = beyond_operator(term.direction());
    let own = (*scalar != Scalar::Null).then(|| doc! { &name: { operator: value(scalar) } });
    let further = ScalarType::ALL
        .into_iter()
        .filter(|other| {
            term.direction().apply(other.cmp(&scalar.scalar_type())) == std::cmp::Ordering::Greater
        })
        // A system field has one type.
        .filter(|_| !matches!(term.field(), Field::System(_)))
        .map(|other| doc! { &name: { "$type": type_name(other) } });
    own.into_iter().chain(further).chain(foreign_types(term, scalar)).collect()
}

/// A place may have been made by hand, with a value of a type that the system field never has: all of it lies behind, or none.
fn foreign_types(term: &OrderBy, scalar: &Scalar) -> Option<Document> {
    let Field::System(field) = term.field() else { return None };
    let own = system_type(*field);
    let order = term.direction().apply(own.cmp(&scalar.scalar_type()));
    (order == std::cmp::Ordering::Greater)
        .then(|| doc! { field.as_str(): { "$type": type_name(own) } })
}

const fn system_type(field: SystemField) -> ScalarType {
    match field {
        SystemField::Fullpath | SystemField::Collection | SystemField::Parent => ScalarType::String,
        SystemField::CreatedAt | SystemField::UpdatedAt | SystemField::Version => {
            ScalarType::Number
        }
        SystemField::Deleted => ScalarType::Bool,
    }
}

const fn type_name(scalar: ScalarType) -> &'static str {
    match scalar {
        ScalarType::Null => "null",
        ScalarType::Number => "number",
        ScalarType::String => "string",
        ScalarType::Bool => "bool",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use syntrix_storage_core::{DocumentPath, IndexDefinition, Query};

    use super::*;

    fn plan(query: Query) -> QueryPlan {
        QueryPlan::check(query).unwrap()
    }

    fn conditions(query: Query) -> Vec<Bson> {
        filter(&plan(query)).get_array("$and").unwrap()[2..].to_vec()
    }

    fn one(field: &str, operator: Operator, operand: serde_json::Value) -> Vec<Bson> {
        conditions(Query::new("c").unwrap().filter(field, operator, operand).unwrap())
    }

    #[test]
    fn a_value_never_stands_where_an_operator_could() {
        let condition = one("a", Operator::Equal, json!("$gt"));
        assert_eq!(condition, [Bson::from(doc! { "s.a": { "$eq": "$gt" } })]);
    }

    #[test]
    fn keys_are_escaped_and_null_is_not_missing() {
        let condition = one("`1.0`.$ref", Operator::Equal, json!(null));
        assert_eq!(condition, [Bson::from(doc! { "s.1%2E0.%24ref": { "$type": "null" } })]);
    }

    #[test]
    fn unequal_needs_the_field_and_enters_no_array() {
        let expected = [
            doc! { "data.a": { "$not": { "$type": "array" } } },
            doc! { "data.a.b": { "$exists": true } },
            doc! { "$nor": [{ "s.a.b": { "$eq": 5_i64 } }] },
        ];
        assert_eq!(one("a.b", Operator::NotEqual, json!(5)), expected.map(Bson::from));
    }

    #[test]
    fn null_among_others_is_asked_for_by_type() {
        let expected = doc! { "$or": [
            { "s.a": { "$in": [1_i64] } },
            { "s.a": { "$type": "null" } },
        ] };
        assert_eq!(one("a", Operator::In, json!([null, 1])), [Bson::from(expected)]);
    }

    #[test]
    fn behind_a_place_come_its_equals_then_its_type_then_the_further_types() {
        let query = Query::new("c").unwrap().order_by("a", Direction::Ascending).unwrap();
        let path = DocumentPath::parse("c/x").unwrap();
        let key = record::key(&path);
        let query = query.start_after(vec![json!("m")], path);
        let last = conditions(query).pop().unwrap();
        let expected = doc! { "$or": [
            { "s.a": { "$gt": "m" } },
            { "s.a": { "$type": "bool" } },
            { "$and": [{ "s.a": { "$eq": "m" } }, { "_id": { "$gt": key } }] },
        ] };
        assert_eq!(last, Bson::from(expected));
    }

    #[test]
    fn an_index_is_partial_by_pattern_and_presence() {
        let fields = vec![
            OrderBy::new("room", Direction::Ascending).unwrap(),
            OrderBy::new("createdAt", Direction::Descending).unwrap(),
        ];
        let index = IndexDefinition::new("rooms/*/messages", fields).unwrap();
        let built = index_specification(index.name(), index.pattern().as_str(), index.fields());
        let expected = doc! {
            "key": { "collection": 1, "s.room": 1, "createdAt": -1, "_id": -1 },
            "name": index.name(),
            "partialFilterExpression": { "pat": "rooms/*/messages", "s.room": { "$exists": true } },
        };
        assert_eq!(built, expected);
    }
}
