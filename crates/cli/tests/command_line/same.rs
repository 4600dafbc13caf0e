//! One script of operations prints the same bytes on every backend that keeps documents, but for times and tokens.
//!
//! Memory lives no longer than a process, so there the script runs through the library, and what it returns is printed as
//! the program prints it. Everywhere else each operation is a process of its own.

use std::fmt::Write;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::StreamExt;
use serde_json::{Map, Value, json};
use syntrix_storage::{
    Cursor, Direction, DocumentPath, DocumentStore, ErrorKind, Filter, Patch, Query, QueryPlan,
    Storage, StorageConfig, WatchItem, WatchOptions, WatchStart,
};

use crate::program::Program;

/// What is written, in this order.
const WRITES: [(&str, &str, &str); 12] = [
    ("create", "c/numbers", NUMBERS),
    ("create", "c/words", WORDS),
    ("create", "c/nested", r#"{"n":2,"a":{"b":{"c":[1,{"d":[]},[[]],{}]},"":{"":null}}}"#),
    ("create", "c/nested/d/below", r#"{"n":1.5}"#),
    ("create", "c/gone", r#"{"n":1}"#),
    ("update", "c/nested", r#"{"n":3,"a":{"b":{"c":[true,null,"x"]}},"$x.y":{"%":1}}"#),
    ("patch", "c/nested", r#"{"a.b.c":{"$delete":true},"a.e":{"f":1e-7},"n":2.0}"#),
    ("patch", "c/numbers", r#"{"tiny":{"$delete":true},"n":-5}"#),
    ("delete", "c/gone", ""),
    ("create", "c/gone", r#"{"n":9007199254740993,"again":true}"#),
    ("patch", "c/gone", r#"{"n":9007199254740992.0}"#),
    ("delete", "c/words", ""),
];
const NUMBERS: &str = r#"{"n":0,"max":9223372036854775807,"min":-9223372036854775808,"one":1.0,"zero":-0.0,
    "odd":9007199254740993,"large":1e300,"tiny":5e-324,"third":0.3333333333333333,"exponent":1.5E+3}"#;
const WORDS: &str = r#"{"n":4,"text":"\u00e9 e\u0301 \ud83d\ude00 \"\\\/\b\f\n\r\t \u007f\u2028","ключ":"值","low":"a\u001fb"}"#;

/// What is asked then: one condition perhaps, the order, documents per page, whether tombstones are shown.
type Asked = (Option<(&'static str, &'static str, &'static str)>, Option<&'static str>, u32, bool);
const QUERIES: [Asked; 5] = [
    (None, None, 2, true),
    (None, Some("n:desc"), 1, false),
    (Some(("n", ">=", "-5")), Some("n"), 2, false),
    (Some(("n", "==", "2")), None, 5, false),
    (Some(("again", "==", "true")), Some("n"), 5, false),
];

/// Who carries out the script; each operation returns what it prints.
#[async_trait]
trait Backend {
    async fn write(&self, operation: &str, path: &str, data: &str) -> String;
    async fn events(&self) -> String;
    async fn create_index(&self, asked: Asked);
    async fn page(&self, asked: Asked, after: Option<String>) -> String;
}

async fn run(backend: &dyn Backend) -> String {
    let mut printed = String::new();
    for (operation, path, data) in WRITES {
        printed += &backend.write(operation, path, data).await;
    }
    // When a bookmark comes depends on the clock.
    let events = backend.events().await;
    let events = events.lines().filter(|line| !line.contains(r#""type":"bookmark""#));
    events.for_each(|event| printed += &format!("{event}\n"));
    for asked in QUERIES {
        backend.create_index(asked).await;
        let mut page = backend.page(asked, None).await;
        while let Some(next) = next_of(&page) {
            printed += &page;
            page = backend.page(asked, Some(next)).await;
        }
        printed += &page;
    }
    blanked(&printed)
}

fn next_of(page: &str) -> Option<String> {
    let last: Map<String, Value> = serde_json::from_str(page.lines().last()?).expect("an object");
    (last.len() == 1).then(|| last["next"].as_str().expect("a cursor").to_owned())
}

/// A text with what differs between runs blanked: times, and the tokens of events.
fn blanked(text: &str) -> String {
    let mut text = text.to_owned();
    for key in ["\"createdAt\":", "\"updatedAt\":", "\"commitTime\":", "\"token\":"] {
        let mut parts = text.split(key);
        let mut blank = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let end = part.find([',', '}']).expect("the object goes on or ends");
            write!(blank, "{key}_{}", &part[end..]).expect("written");
        }
        text = blank;
    }
    text
}

/// The program, with a configuration.
struct Processes {
    program: Program,
    config: String,
}

impl Processes {
    fn new(block: &str) -> Self {
        let program = Program::new();
        let config = program.file("same.yaml", block);
        Self { program, config }
    }

    fn run(&self, arguments: &[&str]) -> String {
        let finished = self.program.run(&[arguments, &["--config", &self.config]].concat());
        assert_eq!(finished.code, 0, "{arguments:?}: {}", finished.stderr);
        finished.stdout
    }
}

/// The arguments of a query without paging, as `doc query` and `index suggest` take them.
fn arguments((condition, order, _, _): Asked) -> Vec<String> {
    let condition = condition.map(|(field, operator, operand)| {
        ["--where".to_owned(), format!("{field} {operator} {operand}")]
    });
    let order = order.map(|order| ["--order-by".to_owned(), order.to_owned()]);
    let options = condition.into_iter().chain(order).flatten();
    std::iter::once("c".to_owned()).chain(options).collect()
}

#[async_trait]
impl Backend for Processes {
    async fn write(&self, operation: &str, path: &str, data: &str) -> String {
        match data {
            "" => self.run(&["doc", operation, path]),
            data => self.run(&["doc", operation, path, data]),
        }
    }

    async fn events(&self) -> String {
        let count = WRITES.len().to_string();
        self.run(&["watch", "--from", "oldest", "--before", "--limit", &count])
    }

    async fn create_index(&self, asked: Asked) {
        let arguments = arguments(asked);
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let suggestion = self.run(&[&["index", "suggest"], &arguments[..]].concat());
        if !suggestion.is_empty() {
            self.run(&["index", "create", suggestion.trim()]);
        }
    }

    async fn page(&self, asked: Asked, after: Option<String>) -> String {
        let (_, _, limit, deleted) = asked;
        let mut options = arguments(asked);
        options.extend(["--limit".to_owned(), limit.to_string()]);
        options.extend(deleted.then(|| "--show-deleted".to_owned()));
        options.extend(after.into_iter().flat_map(|after| ["--after".to_owned(), after]));
        let options: Vec<_> = options.iter().map(String::as_str).collect();
        self.run(&[&["doc", "query"], &options[..]].concat())
    }
}

/// Memory, within this process.
struct Library(Storage);

fn query((condition, order, limit, deleted): Asked) -> Query {
    let mut query = Query::new("c").expect("a collection").limit(limit).show_deleted(deleted);
    if let Some((field, operator, operand)) = condition {
        let operand: Value = serde_json::from_str(operand).expect("JSON");
        let operator = operator.parse().expect("an operator");
        query = query.with_filter(Filter::new(field, operator, operand).expect("a filter"));
    }
    if let Some(order) = order {
        let direction = match order.ends_with(":desc") {
            true => Direction::Descending,
            false => Direction::Ascending,
        };
        let field = order.trim_end_matches(":desc");
        query = query.order_by(field, direction).expect("an order");
    }
    query
}

fn line(value: impl Into<Value>) -> String {
    value.into().to_string() + "\n"
}

impl Library {
    fn documents(&self) -> Arc<dyn DocumentStore> {
        self.0.documents().expect("documents")
    }
}

#[async_trait]
impl Backend for Library {
    async fn write(&self, operation: &str, path: &str, data: &str) -> String {
        let path = DocumentPath::parse(path).expect("a path");
        let data = || serde_json::from_str(data).expect("JSON");
        let (store, options) = (self.documents(), Default::default());
        let written = match operation {
            "create" => store.create(&path, data(), options).await,
            "update" => store.update(&path, data(), options).await,
            "patch" => {
                store.patch(&path, Patch::from_value(data()).expect("a patch"), options).await
            }
            _ => store.delete(&path, options).await,
        };
        line(written.expect("written").document.flat().expect("JSON"))
    }

    async fn events(&self) -> String {
        let options = WatchOptions::default().with_before();
        let stream = self.documents().watch(None, WatchStart::Oldest, options).await;
        let items = stream.expect("a stream").map(|item| item.expect("an event"));
        let events = items.filter(|item| std::future::ready(matches!(item, WatchItem::Event(_))));
        let lines = events.take(WRITES.len()).map(|item| line(json!(item)));
        lines.collect::<Vec<_>>().await.concat()
    }

    async fn create_index(&self, asked: Asked) {
        let Err(needed) = QueryPlan::new(query(asked), &[]) else { return };
        assert_eq!(needed.kind(), ErrorKind::IndexRequired);
        let suggestion = needed.suggestion().expect("a suggestion");
        self.0.indexes().expect("indexes").create(suggestion).await.expect("an index");
    }

    async fn page(&self, asked: Asked, after: Option<String>) -> String {
        let mut query = query(asked);
        if let Some(after) = after {
            query = query.after(Cursor::from_text(&after));
        }
        let page = self.documents().query(query, Default::default()).await.expect("a page");
        let flat = page.documents.iter().map(|document| line(document.flat().expect("JSON")));
        let next = page.next.map(|next| line(json!({"next": next.as_str()})));
        flat.chain(next).collect()
    }
}

async fn in_memory() -> String {
    let storage = Storage::from_config(StorageConfig::memory()).await.expect("memory");
    let library = Library(storage);
    let printed = run(&library).await;
    library.0.close().await.expect("closed");
    printed
}

#[tokio::test]
async fn a_file_prints_what_memory_does() {
    let printed = run(&Processes::new("storage: {document: {backend: sqlite, sqlite: {}}}")).await;
    let expected = in_memory().await;
    // What is compared says something: every event, the documents before and after, and pages.
    assert_eq!(expected.matches(r#""type":"#).count(), WRITES.len(), "{expected}");
    assert!(expected.contains(r#""before":{"#) && expected.contains(r#"{"next":"#), "{expected}");
    assert!(expected.contains(r#""max":9223372036854775807,"min":-9223372036854775808"#));
    assert_eq!(printed, expected);
}

/// Runs the script where nothing else is, and removes it.
async fn on_a_server(variable: &str, block: impl Fn(&str, &str) -> String) -> String {
    let url = std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} names no server; `cargo xtask servers up` starts one and prints it")
    });
    let namespace = format!("same_{}", std::process::id());
    let printed = run(&Processes::new(&block(&url, &format!("cli_{namespace}")))).await;
    let config = StorageConfig::from_yaml(block(&url, "cli"), "same.yaml");
    config.with_namespace(namespace).remove_namespace().await.expect("removed");
    printed
}

#[tokio::test]
async fn on_a_server_pg_prints_what_memory_does() {
    let block = |url: &str, schema: &str| {
        format!("storage: {{document: {{backend: pg, pg: {{dsn: \"{url}\", schema: {schema}}}}}}}")
    };
    assert_eq!(on_a_server("SYNTRIX_STORAGE_TEST_PG", block).await, in_memory().await);
}

#[tokio::test]
async fn on_a_server_mongo_prints_what_memory_does() {
    let block = |url: &str, db: &str| {
        format!("storage: {{document: {{backend: mongo, mongo: {{uri: \"{url}\", db: {db}}}}}}}")
    };
    assert_eq!(on_a_server("SYNTRIX_STORAGE_TEST_MONGO", block).await, in_memory().await);
}
