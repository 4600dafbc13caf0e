//! Whether SQLite answers our statements the way they were written for: by index range, without sorting.

use rusqlite::Connection;
use serde_json::{Value, json};
use syntrix_storage_core::{Direction, DocumentPath, IndexDefinition, Operator, Query, QueryPlan};

use crate::expression::create_index;
use crate::{schema, statement};

use Direction::{Ascending, Descending};
use Operator::{Equal, Greater, In, Less, NotEqual};

const COLLECTION: &str = "rooms/lobby/messages";

fn database(indexes: &[IndexDefinition]) -> Connection {
    let mut connection = Connection::open_in_memory().expect("open");
    schema::migrate(&mut connection).expect("schema");
    for index in indexes {
        connection.execute_batch(&create_index(index)).expect("index");
    }
    connection
}

fn index(fields: &[(&str, Direction)]) -> IndexDefinition {
    let fields = fields.iter().map(|(field, direction)| {
        syntrix_storage_core::OrderBy::new(field, *direction).expect("field")
    });
    IndexDefinition::new("rooms/*/messages", fields.collect()).expect("index")
}

fn query(filters: &[(&str, Operator, Value)], order: &[(&str, Direction)]) -> Query {
    let mut query = Query::new(COLLECTION).expect("query").limit(20);
    for (field, operator, operand) in filters {
        query = query.filter(field, *operator, operand.clone()).expect("filter");
    }
    for (field, direction) in order {
        query = query.order_by(field, *direction).expect("order");
    }
    query
}

fn behind(query: Query, values: &[Value]) -> Query {
    let path = DocumentPath::parse("rooms/lobby/messages/m1").expect("path");
    query.start_after(values.to_vec(), path)
}

/// One line per statement: how SQLite runs it.
fn explain(query: Query, indexes: &[IndexDefinition]) -> Vec<String> {
    let connection = database(indexes);
    let plan = QueryPlan::new(query, indexes).expect("plan");
    let explain = |select: statement::Select<'_>| {
        let sql = format!("EXPLAIN QUERY PLAN {}", select.sql);
        let mut statement = connection.prepare(&sql).expect("prepare");
        let mut rows = statement.raw_query();
        let mut steps = Vec::new();
        while let Some(row) = rows.next().expect("row") {
            steps.push(row.get::<_, String>(3).expect("detail"));
        }
        steps.join("; ")
    };
    statement::selects(&plan).into_iter().map(explain).collect()
}

fn search(index: &IndexDefinition, bounds: &str) -> String {
    format!("SEARCH documents USING INDEX {} ({bounds})", index.name())
}

#[test]
fn equality_range_and_order_are_one_index_range() {
    let asked =
        || query(&[("room", Equal, json!("x")), ("ts", Greater, json!(5))], &[("ts", Descending)]);
    let bounds = "collection=? AND <expr>=? AND <expr>=? AND <expr>=? AND <expr>>?";
    for direction in [Ascending, Descending] {
        let index = index(&[("room", Ascending), ("ts", direction)]);
        assert_eq!(explain(asked(), std::slice::from_ref(&index)), [search(&index, bounds)]);
        let continued = explain(behind(asked(), &[json!(9)]), std::slice::from_ref(&index));
        assert_eq!(continued, [search(&index, &format!("{bounds} AND <expr><?"))]);
    }
}

#[test]
fn an_order_over_all_types_is_read_from_the_index() {
    let index = index(&[("room", Ascending), ("ts", Descending)]);
    let asked = || query(&[("room", Equal, json!("x"))], &[("ts", Descending)]);
    let bounds = "collection=? AND <expr>=? AND <expr>=?";
    let whole = explain(asked(), std::slice::from_ref(&index));
    assert_eq!(whole, [search(&index, bounds)]);
    let continued = explain(behind(asked(), &[json!("t")]), std::slice::from_ref(&index));
    assert_eq!(continued.len(), 2, "the rest of the type, then further types");
    assert_eq!(continued[0], search(&index, &format!("{bounds} AND <expr>=? AND <expr><?")));
    for range in &continued {
        assert!(range.contains(index.name()) && !range.contains("TEMP"), "{range}");
    }
}

#[test]
fn mixed_directions_are_read_from_the_index_on_every_page() {
    let index = index(&[("k", Ascending), ("ts", Descending)]);
    for order in [[("k", Ascending), ("ts", Descending)], [("k", Descending), ("ts", Ascending)]] {
        let whole = query(&[], &order);
        let continued = behind(query(&[], &order), &[json!(1), json!("a")]);
        for range in [
            explain(whole, std::slice::from_ref(&index)),
            explain(continued, std::slice::from_ref(&index)),
        ]
        .concat()
        {
            assert!(range.contains(index.name()) && !range.contains("TEMP"), "{range}");
        }
    }
}

#[test]
fn equality_on_null_and_bool_is_served_by_the_index() {
    let index = index(&[("room", Ascending), ("ts", Ascending)]);
    for value in [json!(null), json!(true), json!(1.5), json!("x")] {
        let asked = query(&[("room", Equal, value.clone())], &[("ts", Ascending)]);
        let mut ranges = explain(asked.clone(), std::slice::from_ref(&index));
        ranges.extend(explain(
            behind(asked, std::slice::from_ref(&value)),
            std::slice::from_ref(&index),
        ));
        for range in ranges {
            assert!(range.contains(index.name()) && !range.contains("TEMP"), "{value}: {range}");
        }
    }
}

#[test]
fn a_list_is_served_by_the_index() {
    let index = index(&[("room", Ascending), ("ts", Ascending)]);
    for list in [json!(["x", "y"]), json!(["x", 1, true]), json!(["x", null])] {
        let asked = query(&[("room", In, list.clone())], &[("ts", Ascending)]);
        for range in explain(asked, std::slice::from_ref(&index)) {
            assert!(range.contains(index.name()), "{list}: {range}");
        }
    }
}

#[test]
fn residual_conditions_do_not_cost_the_index() {
    let index = index(&[("room", Ascending), ("ts", Descending)]);
    let filters = [
        ("room", Equal, json!("x")),
        ("status", NotEqual, json!("done")),
        ("version", Less, json!(7)),
        ("tags", Operator::Contains, json!("t")),
    ];
    for range in explain(query(&filters, &[("ts", Descending)]), std::slice::from_ref(&index)) {
        assert!(range.contains(index.name()) && !range.contains("TEMP"), "{range}");
    }
}

#[test]
fn system_fields_stand_in_an_index_as_columns() {
    let index = index(&[("room", Ascending), ("updatedAt", Descending)]);
    let asked = query(&[("room", Equal, json!("x"))], &[("updatedAt", Descending)]);
    let bounds = "collection=? AND <expr>=? AND <expr>=?";
    assert_eq!(explain(asked, std::slice::from_ref(&index)), [search(&index, bounds)]);
}

#[test]
fn one_field_of_an_operators_index_needs_no_sort() {
    let index = index(&[("ts", Descending)]);
    for range in explain(query(&[], &[("ts", Ascending)]), std::slice::from_ref(&index)) {
        assert!(range.contains(index.name()) && !range.contains("TEMP"), "{range}");
    }
    let filtered = query(&[("ts", Equal, json!(5))], &[]);
    for range in explain(filtered, std::slice::from_ref(&index)) {
        assert!(range.contains(index.name()), "{range}");
    }
}

#[test]
fn the_built_in_indexes_serve_their_orders() {
    let by = |name: &str, bounds: &str| format!("SEARCH documents USING INDEX {name} ({bounds})");
    assert_eq!(explain(query(&[], &[]), &[]), [by("documents_collection", "collection=?")]);
    let continued = explain(behind(query(&[], &[]), &[]), &[]);
    assert_eq!(continued, [by("documents_collection", "collection=? AND id>?")]);
    for (field, column) in [("createdAt", "created_at"), ("updatedAt", "updated_at")] {
        let name = format!("documents_{column}");
        let newest = || query(&[], &[(field, Descending)]);
        assert_eq!(explain(newest(), &[]), [by(&name, "collection=?")]);
        let continued = explain(behind(newest(), &[json!(5)]), &[]);
        assert_eq!(continued, [by(&name, &format!("collection=? AND {column}<?"))]);
        let since = query(&[(field, Greater, json!(5))], &[]);
        assert_eq!(explain(since, &[]), [by(&name, &format!("collection=? AND {column}>?"))]);
    }
}

#[test]
fn maintenance_and_scans_use_their_indexes() {
    let connection = database(&[]);
    let explain = |sql: &str| -> String {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("sql");
        let mut rows = statement.raw_query();
        let mut steps = Vec::new();
        while let Some(row) = rows.next().expect("row") {
            steps.push(row.get::<_, String>(3).expect("detail"));
        }
        steps.join("; ")
    };
    let purge = explain(crate::maintenance::PURGE);
    assert!(
        purge.contains("documents_deleted (updated_at<?)") && !purge.contains("TEMP"),
        "{purge}"
    );
    let feed = explain(crate::watch::PAGE);
    assert!(feed.contains("INTEGER PRIMARY KEY (rowid>? AND rowid<?)"), "{feed}");
    let all = crate::reads::scan_sql(&syntrix_storage_core::ScanRequest::default());
    let all = explain(&all);
    assert!(all.contains("documents_fullpath (fullpath>?)") && !all.contains("TEMP"), "{all}");
}
