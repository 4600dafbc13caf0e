//! Test vectors: one JSON object per line says what is stored, what is asked, and what must come out.
//!
//! ```json
//! {"name": "…", "setup": [{"path": "c/x", "data": {}}], "op": {"kind": "get", "path": "c/x"}, "expect": {"doc": {"version": 1}}}
//! ```

mod format;
mod macros;

use std::sync::Arc;
use std::time::Instant;

use futures_util::StreamExt;
use serde_json::{Value, json};
use syntrix_storage_core::backend::StoreKind;
use syntrix_storage_core::{
    DocumentPath, Error, ErrorKind, IndexDefinition, Page, Patch, Query, Result, WriteOptions,
};

use crate::case::Group;
use crate::check::{CaseResult, Failure, expect, expect_equal};
use crate::context::Context;
use crate::harness::{Harness, Setup};
use crate::report::{CaseReport, Report, Verdict};
use crate::runner::{Selection, in_context};
use format::{Call, ExpectedError, SetupDocument, Step, Vector};

/// The clock while the setup runs, unless it says otherwise, and afterwards.
const SETUP_MS: i64 = 1000;
const CALL_MS: i64 = 5000;

/// Runs every vector of `text`, each on a store of its own. They are the cases `VEC-001`, `VEC-002`, … of the report.
///
/// A line that is no vector is a failed case.
pub async fn run(harness: Arc<dyn Harness>, text: &str) -> Report {
    run_selected(harness, text, &Selection::all(), |_| {}).await
}

/// As [`run`], for those whose id or name the selection's filter finds; calls `progress` after each.
pub async fn run_selected(
    harness: Arc<dyn Harness>,
    text: &str,
    selection: &Selection,
    mut progress: impl FnMut(&CaseReport) + Send,
) -> Report {
    let lines = text.lines().filter(|line| !line.trim().is_empty()).enumerate();
    let vectors = lines.map(|(index, line)| (format!("VEC-{:03}", index + 1), Vector::parse(line)));
    let runs: Vec<_> = vectors
        .filter(|(id, vector)| selection.contains(Group::Vec, id, name_of(vector)))
        .map(|(id, vector)| run_one(Arc::clone(&harness), id, vector))
        .collect();
    let mut running = futures_util::stream::iter(runs).buffered(selection.jobs.max(1));
    let mut cases = Vec::new();
    while let Some(case) = running.next().await {
        progress(&case);
        cases.push(case);
    }
    Report::new(&*harness, cases)
}

fn name_of(vector: &CaseResult<Vector>) -> &str {
    vector.as_ref().map_or("a line that is no vector", |vector| &vector.name)
}

async fn run_one(harness: Arc<dyn Harness>, id: String, vector: CaseResult<Vector>) -> CaseReport {
    let (started, name) = (Instant::now(), name_of(&vector).to_owned());
    let outcome = match vector {
        Ok(vector) => {
            in_context(harness, &id, Setup::new(StoreKind::Documents), |context| {
                check(context, vector)
            })
            .await
        }
        Err(failure) => Err(failure),
    };
    let (verdict, reason) = match outcome {
        Ok(()) => (Verdict::Passed, None),
        Err(failure) => (Verdict::Failed, Some(failure.to_string())),
    };
    CaseReport { id, group: Group::Vec, name, verdict, reason, duration: started.elapsed() }
}

/// What a call gave.
#[derive(Debug, Default)]
struct Outcome {
    pages: Vec<Vec<String>>,
}

async fn check(context: Context, vector: Vector) -> CaseResult {
    for document in &vector.setup {
        set_up(&context, document).await?;
    }
    let steps = match vector.op {
        Call::Sequence { steps } => steps,
        call => vec![Step::only(call)],
    };
    let last_path = steps.last().and_then(|step| step.call.path()).map(str::to_owned);
    let count = steps.len();
    for (number, step) in steps.into_iter().enumerate() {
        context.clock().set(step.call.at().unwrap_or(CALL_MS));
        let outcome = call(&context, step.call).await;
        match step.expect_error {
            Some(kind) => check_error(outcome, &ExpectedError::of_kind(kind))?,
            None if number + 1 == count => check_outcome(outcome, &vector.expect)?,
            None => drop(outcome?),
        }
    }
    match vector.expect.doc {
        Some(expected) => check_document(&context, expected, last_path).await,
        None => Ok(()),
    }
}

async fn set_up(context: &Context, document: &SetupDocument) -> CaseResult {
    context.clock().set(document.at.unwrap_or(SETUP_MS));
    let (store, path) = (context.store(), DocumentPath::parse(&document.path)?);
    store.create(&path, document.data.clone(), WriteOptions::default()).await?;
    for _ in 0..document.updates {
        store.update(&path, document.data.clone(), WriteOptions::default()).await?;
    }
    if document.deleted {
        store.delete(&path, WriteOptions::default()).await?;
    }
    Ok(())
}

/// Makes the call; what the library refuses while it is being put together is the call's error too.
async fn call(context: &Context, call: Call) -> Result<Outcome> {
    let store = context.store();
    match call {
        Call::Query(question) => {
            let page = ask(context, &question, question.to_query()?).await?;
            return Ok(Outcome { pages: vec![ids(&page)] });
        }
        Call::Pages(question) => return pages(context, &question).await,
        Call::Create { path, data, .. } => {
            let path = DocumentPath::parse(&path)?;
            store.create(&path, data, WriteOptions::default()).await?;
        }
        Call::Update { path, data, precondition, .. } => {
            let options = format::write_options(&precondition)?;
            store.update(&DocumentPath::parse(&path)?, data, options).await?;
        }
        Call::Patch { path, patch, precondition, .. } => {
            let options = format::write_options(&precondition)?;
            store.patch(&DocumentPath::parse(&path)?, Patch::from_value(patch)?, options).await?;
        }
        Call::Delete { path, precondition, .. } => {
            let options = format::write_options(&precondition)?;
            store.delete(&DocumentPath::parse(&path)?, options).await?;
        }
        Call::Get { path, .. } => {
            store.get(&DocumentPath::parse(&path)?, Default::default()).await?;
        }
        Call::Sequence { .. } => {
            return Err(Error::new(ErrorKind::Unsupported, "conformance")
                .with_message("a sequence inside a sequence"));
        }
    }
    Ok(Outcome::default())
}

/// With `indexes` exactly these exist; without, whatever the query needs is declared first.
async fn ask(context: &Context, question: &format::Question, query: Query) -> Result<Page> {
    let Some(indexes) = &question.indexes else { return context.query(query).await };
    for index in indexes {
        let index = IndexDefinition::new(&index.collection, format::order(&index.fields)?)?;
        context.admin().create_index(&index).await?;
    }
    context.store().query(query, Default::default()).await
}

async fn pages(context: &Context, question: &format::Question) -> Result<Outcome> {
    let mut pages = Vec::new();
    let mut query = question.to_query()?;
    loop {
        let page = ask(context, question, query).await?;
        if !page.documents.is_empty() {
            pages.push(ids(&page));
        }
        match page.next {
            Some(cursor) => query = question.to_query()?.after(cursor),
            None => return Ok(Outcome { pages }),
        }
    }
}

fn ids(page: &Page) -> Vec<String> {
    page.documents.iter().map(|document| document.id().to_owned()).collect()
}

fn check_outcome(outcome: Result<Outcome>, expected: &format::Expected) -> CaseResult {
    if let Some(error) = &expected.error {
        return check_error(outcome, error);
    }
    let outcome = outcome?;
    if let Some(ids) = &expected.ids {
        expect_equal(outcome.pages.concat(), ids.clone(), "ids")?;
    }
    if let Some(pages) = &expected.pages {
        expect_equal(&outcome.pages, pages, "pages")?;
    }
    Ok(())
}

fn check_error(outcome: Result<Outcome>, expected: &ExpectedError) -> CaseResult {
    let Err(error) = outcome else {
        return Err(Failure::new(format_args!("expected {}, got success", expected.kind)));
    };
    expect(
        error.kind().as_str() == expected.kind,
        format_args!("expected {}, got {error}", expected.kind),
    )?;
    if let Some(reason) = &expected.reason {
        let actual = error.reason().map(|reason| reason.as_str());
        expect_equal(actual, Some(reason.as_str()), "reason")?;
    }
    if let Some(suggestion) = &expected.suggestion {
        let actual = error.suggestion().map_or(Value::Null, |suggestion| json!(suggestion));
        expect_equal(&actual, suggestion, "suggestion")?;
    }
    Ok(())
}

/// Compares the named members with what is stored, live or tombstone.
async fn check_document(
    context: &Context,
    mut expected: serde_json::Map<String, Value>,
    last_path: Option<String>,
) -> CaseResult {
    let path = match expected.remove("path") {
        Some(path) => path.as_str().map(str::to_owned),
        None => last_path,
    };
    let path = path.ok_or_else(|| Failure::new("the vector names no document"))?;
    let path = DocumentPath::parse(&path)?;
    let stored = context.stored(&path).await?;
    let stored = stored.ok_or_else(|| Failure::new(format_args!("nothing is stored at {path}")))?;
    for (member, expected) in expected {
        let actual = match member.as_str() {
            "data" => stored.value()?,
            "version" => json!(stored.version()),
            "createdAt" => json!(stored.created_at()),
            "updatedAt" => json!(stored.updated_at()),
            "deleted" => json!(stored.is_deleted()),
            "collection" => json!(stored.path().collection_text()),
            "parent" => json!(stored.path().parent()),
            _ => return Err(Failure::new(format_args!("a vector cannot ask for {member}"))),
        };
        expect_equal(actual, expected, format_args!("{member} of {path}"))?;
    }
    Ok(())
}
