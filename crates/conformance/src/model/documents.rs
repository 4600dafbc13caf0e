//! What a side does with documents.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use syntrix_storage_core::backend::StoreKind;
use syntrix_storage_core::{
    BulkItem, CollectionPath, Direction, DocumentAdmin, DocumentPath, DocumentStore, Error,
    ErrorKind, Event, Filter, Page, Patch, Query, QueryOptions, Result, Version, WatchOptions,
    WatchStart, WriteOptions, WriteResult,
};

use super::answer::{self, Times};
use super::script::{Condition, Expected, Step};
use super::side::Side;
use crate::check::{CaseResult, Failure};
use crate::watching::Watcher;

/// Short, so that the end of a script is soon known to be its end.
const HEARTBEAT: Duration = Duration::from_millis(10);
/// No query of a script has more pages.
const PAGES_MAX: usize = 100;

pub(super) fn is_about(step: &Step) -> bool {
    use Step::*;
    matches!(
        step,
        Create { .. }
            | Update { .. }
            | Patch { .. }
            | Delete { .. }
            | Get { .. }
            | GetMany { .. }
            | Bulk { .. }
            | Query { .. }
            | Purge { .. }
            | Drain
            | Resume
    )
}

pub(super) async fn run(side: &mut Side, step: &Step) -> CaseResult<String> {
    let handle = side.handle(StoreKind::Documents).await?;
    let documents = handle.documents()?;
    let times = side.times(StoreKind::Documents);
    // From before the first write on, so that no event is missed.
    let watching = watch(side, &documents).await?;
    let answer = match step {
        Step::Get { path } => {
            let path = DocumentPath::parse(path)?;
            let found = documents.get(&path, Default::default()).await;
            answer::of(found, |document| answer::document(&document, times))
        }
        Step::GetMany { paths } => get_many(&documents, paths, times).await,
        Step::Bulk { items } => bulk(side, &documents, items, times).await,
        Step::Query { .. } => query(&documents, handle.admin()?, step, times).await,
        Step::Purge { limit } => {
            // History goes, too: who has not read it by then may find it gone.
            let (events, admin) = (drain(side).await?, handle.admin()?);
            let batches = answer::batches(|| admin.purge_expired(*limit)).await;
            Ok(format!("{batches} {events}"))
        }
        Step::Drain => drain(side).await,
        Step::Resume => resume(side, &documents).await,
        write => write_one(side, &documents, write, times).await,
    }?;
    Ok(watching + &answer)
}

async fn write_one(
    side: &mut Side,
    documents: &Arc<dyn DocumentStore>,
    step: &Step,
    times: Times,
) -> CaseResult<String> {
    let item = match item(documents, step).await? {
        Ok(item) => item,
        Err(refused) => return Ok(answer::error_text(&refused)),
    };
    let result = match item {
        BulkItem::Create { path, data } => documents.create(&path, data, Default::default()).await,
        BulkItem::Update { path, data, preconditions } => {
            documents.update(&path, data, options(preconditions)).await
        }
        BulkItem::Patch { path, patch, preconditions } => {
            documents.patch(&path, patch, options(preconditions)).await
        }
        BulkItem::Delete { path, preconditions } => {
            documents.delete(&path, options(preconditions)).await
        }
    };
    written(side, result, times)
}

fn options(preconditions: Vec<Filter>) -> WriteOptions {
    let mut options = WriteOptions::default();
    options.preconditions = preconditions;
    options
}

fn written(side: &mut Side, result: Result<WriteResult>, times: Times) -> CaseResult<String> {
    side.owed += usize::from(result.is_ok());
    answer::of(result, |written| answer::document(&written.document, times))
}

async fn bulk(
    side: &mut Side,
    documents: &Arc<dyn DocumentStore>,
    steps: &[Step],
    times: Times,
) -> CaseResult<String> {
    let mut items = Vec::new();
    for step in steps {
        match item(documents, step).await? {
            Ok(item) => items.push(item),
            Err(refused) => return Ok(answer::error_text(&refused)),
        }
    }
    let results = match documents.bulk(items, Default::default()).await {
        Ok(results) => results,
        Err(error) => return Ok(answer::error_text(&error)),
    };
    let lines = results.into_iter().map(|result| written(side, result, times));
    Ok(lines.collect::<CaseResult<Vec<_>>>()?.join("\n  "))
}

/// The write that a step describes, or why it cannot be one.
async fn item(
    documents: &Arc<dyn DocumentStore>,
    step: &Step,
) -> CaseResult<std::result::Result<BulkItem, Error>> {
    let (path, version, conditions) = match step {
        Step::Create { path, .. } => (path, Expected::Any, &[][..]),
        Step::Update { path, version, conditions, .. }
        | Step::Patch { path, version, conditions, .. }
        | Step::Delete { path, version, conditions } => (path, *version, &conditions[..]),
        other => return Err(Failure::new(format_args!("`{other}` is no write"))),
    };
    let path = DocumentPath::parse(path)?;
    let preconditions = match preconditions(documents, &path, version, conditions).await {
        Ok(preconditions) => preconditions,
        Err(error) => return Ok(Err(error)),
    };
    Ok(Ok(match step.clone() {
        Step::Create { data, .. } => BulkItem::Create { path, data },
        Step::Update { data, .. } => BulkItem::Update { path, data, preconditions },
        Step::Patch { changes, .. } => {
            let patch = Patch::from_value(Value::Object(changes))?;
            BulkItem::Patch { path, patch, preconditions }
        }
        _ => BulkItem::Delete { path, preconditions },
    }))
}

async fn preconditions(
    documents: &Arc<dyn DocumentStore>,
    path: &DocumentPath,
    version: Expected,
    conditions: &[Condition],
) -> Result<Vec<Filter>> {
    let mut filters = conditions.iter().map(filter).collect::<Result<Vec<_>>>()?;
    if version != Expected::Any {
        let current = match documents.get(path, Default::default()).await {
            Ok(document) => document.version().get(),
            Err(error) if error.kind() == ErrorKind::NotFound => 1,
            Err(error) => return Err(error),
        };
        let behind = i64::from(version == Expected::Previous);
        filters.insert(0, Filter::version_is(Version::new(current - behind)));
    }
    Ok(filters)
}

fn filter((field, operator, operand): &Condition) -> Result<Filter> {
    Filter::new(field, operator.parse()?, operand.clone())
}

async fn get_many(
    documents: &Arc<dyn DocumentStore>,
    paths: &[String],
    times: Times,
) -> CaseResult<String> {
    let paths = paths.iter().map(|path| DocumentPath::parse(path)).collect::<Result<Vec<_>>>()?;
    answer::of(documents.get_many(&paths, Default::default()).await, |found| {
        let show = |document: &Option<_>| match document {
            Some(document) => answer::document(document, times),
            None => Ok("none".to_owned()),
        };
        Ok(found.iter().map(show).collect::<CaseResult<Vec<_>>>()?.join("\n  "))
    })
}

async fn query(
    documents: &Arc<dyn DocumentStore>,
    admin: Arc<dyn DocumentAdmin>,
    step: &Step,
    times: Times,
) -> CaseResult<String> {
    let mut query = match to_query(step) {
        Ok(query) => query,
        Err(error) => return Ok(answer::error_text(&error)),
    };
    let mut lines = Vec::new();
    for _ in 0..PAGES_MAX {
        let page = match page(documents, &admin, &query, &mut lines).await {
            Ok(page) => page,
            Err(error) => {
                lines.push(answer::error_text(&error));
                break;
            }
        };
        for document in &page.documents {
            lines.push(answer::document(document, times)?);
        }
        let Some(next) = page.next else { return Ok(lines.join("\n  ")) };
        // A cursor names no backend, so it is part of the answer.
        lines.push(format!("next {}", next.as_str()));
        query = query.after(next);
    }
    lines.push("no last page".to_owned());
    Ok(lines.join("\n  "))
}

/// A page; an index that it needs is declared first, and part of the answer.
async fn page(
    documents: &Arc<dyn DocumentStore>,
    admin: &Arc<dyn DocumentAdmin>,
    query: &Query,
    lines: &mut Vec<String>,
) -> Result<Page> {
    let needed = match documents.query(query.clone(), Default::default()).await {
        Err(error) if error.kind() == ErrorKind::IndexRequired => error,
        answer => return answer,
    };
    lines.push(answer::error_text(&needed));
    let Some(suggestion) = needed.suggestion() else { return Err(needed) };
    admin.create_index(&suggestion.to_definition()?).await?;
    documents.query(query.clone(), Default::default()).await
}

fn to_query(step: &Step) -> Result<Query> {
    let Step::Query { collection, filters, order, limit, deleted } = step else {
        return Err(Error::new(ErrorKind::InvalidArgument, "model").with_message("no query"));
    };
    let mut query = Query::new(collection)?.limit(*limit).show_deleted(*deleted);
    for condition in filters {
        query = query.with_filter(filter(condition)?);
    }
    for (field, direction) in order {
        let direction = match direction.as_str() {
            "desc" => Direction::Descending,
            _ => Direction::Ascending,
        };
        query = query.order_by(field, direction)?;
    }
    Ok(query)
}

/// Makes sure that changes are watched, from the last place on if there is one; what goes wrong is part of the answer.
async fn watch(side: &mut Side, documents: &Arc<dyn DocumentStore>) -> CaseResult<String> {
    if side.watcher.is_some() || !side.scope().watch {
        return Ok(String::new());
    }
    if let Some(token) = side.token.clone() {
        match documents.watch(None, WatchStart::Token(token), watch_options(side)).await {
            Ok(stream) => {
                side.watcher = Some(Watcher::new(stream));
                return Ok(String::new());
            }
            Err(error) => {
                side.token = None;
                let began = Box::pin(watch_anew(side, documents)).await?;
                return Ok(format!("watch: {}\n  {began}", answer::error_text(&error)));
            }
        }
    }
    watch_anew(side, documents).await
}

/// As a reader who has nothing yet: reads a collection, then watches from that very moment.
async fn watch_anew(side: &mut Side, documents: &Arc<dyn DocumentStore>) -> CaseResult<String> {
    let listed = Query::of(CollectionPath::parse("rooms")?).limit(1);
    let page = documents.query(listed, QueryOptions::default().with_resume_token()).await?;
    let token = page.resume_token.ok_or_else(|| Failure::new("a page without its token"))?;
    let start = WatchStart::Token(token.clone());
    let stream = documents.watch(None, start, watch_options(side)).await?;
    (side.watcher, side.token) = (Some(Watcher::new(stream)), Some(token));
    Ok(String::new())
}

fn watch_options(side: &Side) -> WatchOptions {
    let options = WatchOptions::default().with_heartbeat(HEARTBEAT);
    if side.scope().before { options.with_before() } else { options }
}

async fn resume(side: &mut Side, documents: &Arc<dyn DocumentStore>) -> CaseResult<String> {
    let events = drain(side).await?;
    side.watcher = None;
    Ok(events + &watch(side, documents).await?)
}

/// The events that are owed, by document: between documents no order is promised.
pub(super) async fn drain(side: &mut Side) -> CaseResult<String> {
    let times = side.times(StoreKind::Documents);
    let owed = std::mem::take(&mut side.owed);
    let Some(watcher) = &mut side.watcher else { return Ok(String::new()) };
    let mut events: Vec<Event> = Vec::new();
    while events.len() < owed {
        let received = events.len();
        let event = watcher.event().await.map_err(|failure| {
            failure.prefixed(&format!("event {} of {owed} does not come", received + 1))
        })?;
        side.token = Some(event.token.clone());
        events.push(event);
    }
    // Stable, so each document keeps the order of its events.
    events.sort_by(|left, right| left.document.path().as_str().cmp(right.document.path().as_str()));
    let lines = events.iter().map(|event| answer::event(event, times));
    Ok(lines.collect::<CaseResult<Vec<_>>>()?.join("\n  "))
}
