//! Concurrency and cancellation.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use syntrix_storage_core::{
    BulkItem, DocumentPath, DocumentStore, ErrorKind, Filter, Patch, ReadOptions, Reason, Version,
    WriteOptions,
};

use super::steps::{
    create, expect_not_found, expect_unchanged, get, get_latest, in_tasks, only_if, stores, strong,
};
use crate::case::case;
use crate::{Case, CaseResult, Context, Failure, expect, expect_equal, expect_kind, within_limit};

const WRITERS: usize = 64;
/// Enough for the writes of a case on a slow machine; beyond it somebody waits for ever.
const LIMIT: Duration = Duration::from_secs(300);
/// Longest pause after the first race that was lost, and how often it doubles.
const LOST_PAUSE_MS: u64 = 4;
const LOST_PAUSE_DOUBLINGS_MAX: u32 = 6;

pub(super) static CASES: &[Case] = &[
    case!(
        "CON-01",
        Con,
        "Of 64 creates of one path at the same time exactly one succeeds.",
        "A check for existence that is not part of the write.",
        [],
        async |context| {
            let path = context.unique_path()?;
            let outcomes = race(&context, |store, number| {
                let path = path.clone();
                async move { store.create(&path, json!({"writer": number}), Default::default()).await }
            });
            let won = exactly_one(outcomes.await?, ErrorKind::AlreadyExists)?;
            let stored = get_latest(&context, &path).await?;
            expect_equal(stored.value()?["writer"].clone(), json!(won), "the winner's data")?;
            expect_equal(stored.version(), Version::FIRST, "the version")
        }
    ),
    case!(
        "CON-02",
        Con,
        "Of 64 updates that expect one version exactly one succeeds.",
        "Two writers that both pass the check of a version.",
        [],
        async |context| {
            let path = context.unique_path()?;
            let seen = create(&context, &path, json!({})).await?.version();
            let outcomes = race(&context, |store, number| {
                let path = path.clone();
                async move {
                    let options = only_if([Filter::version_is(seen)]);
                    store.update(&path, json!({"writer": number}), options).await
                }
            });
            let won = exactly_one(outcomes.await?, ErrorKind::PreconditionFailed)?;
            let stored = get_latest(&context, &path).await?;
            expect_equal(stored.value()?["writer"].clone(), json!(won), "the winner's data")?;
            expect_equal(stored.version(), seen.next(), "the version")
        }
    ),
    case!(
        "CON-03",
        Con,
        "64 writers that count up 20 times each under a version check reach 1280.",
        "Lost updates, and internal retries that surface as conflicts.",
        [],
        async |context| { within_limit(LIMIT, count_up(&context, 20)).await? }
    ),
    case!(
        "CON-04",
        Con,
        "Unconditional updates at the same time leave one of them whole, one version each.",
        "Mixed bodies, and versions that two writes share.",
        [],
        async |context| {
            let path = context.unique_path()?;
            create(&context, &path, whole(0)).await?;
            let outcomes = race(&context, |store, number| {
                let path = path.clone();
                async move { store.update(&path, whole(number), Default::default()).await }
            });
            let mut versions = Vec::new();
            for (number, outcome) in outcomes.await? {
                let document = outcome?.document;
                expect_equal(document.value()?, whole(number), "what an update returned")?;
                versions.push(document.version().get());
            }
            versions.sort_unstable();
            let expected: Vec<_> = (2..=WRITERS as i64 + 1).collect();
            expect_equal(versions, expected, "the versions of all updates")?;
            expect_whole(&get_latest(&context, &path).await?.value()?)
        }
    ),
    case!(
        "CON-05",
        Con,
        "A delete and an update at the same time end in one order or the other.",
        "An update that brings a deleted document back.",
        [],
        async |context| {
            for _ in 0..20 {
                delete_against_update(&context).await?;
            }
            Ok(())
        }
    ),
    case!(
        "CON-06",
        Con,
        "Readers beside writers never see half of a write, nor a version that goes back.",
        "Reads of several steps, and caches that answer with older versions.",
        [],
        async |context| { within_limit(LIMIT, read_beside_writers(&context)).await? }
    ),
    case!(
        "CON-08",
        Con,
        "What 8 clients saw of 5 documents fits one order of the writes of each.",
        "Stale reads after an acknowledged write, and writes that take effect late.",
        [],
        async |context| { within_limit(LIMIT, recorded_history(&context)).await? }
    ),
    case!(
        "CON-11",
        Con,
        "A write whose caller goes away is applied as a whole or not at all.",
        "Steps of a write in the caller's own task, so that half of them may be missing.",
        [],
        async |context| { within_limit(LIMIT, drop_writes(&context)).await? }
    ),
    case!(
        "CON-12",
        Con,
        "A deadline that is over is told as timeout, and the store goes on.",
        "Deadlines that are ignored, and handles that are stuck after one.",
        [],
        async |context| {
            let path = context.unique_path()?;
            let mut options = WriteOptions::default();
            options.timeout = Some(Duration::ZERO);
            let late = context.store().create(&path, json!({}), options).await;
            expect_kind(late, ErrorKind::Timeout, "a write that has no time")?;
            // Nothing was done, so the path is free.
            create(&context, &path, json!({})).await?;
            expect_equal(
                get_latest(&context, &path).await?.version(),
                Version::FIRST,
                "written once",
            )
        }
    ),
    case!(
        "CON-18",
        Con,
        "A bulk that names one path several times applies its items in order.",
        "Items that are sorted, merged or run side by side.",
        [],
        async |context| {
            let path = context.unique_path()?;
            let set = |n: i64| Patch::new().set("n", n);
            let update = BulkItem::Patch {
                path: path.clone(),
                patch: set(2),
                preconditions: vec![Filter::version_is(Version::FIRST)],
            };
            let items = vec![
                BulkItem::Create { path: path.clone(), data: json!({"n": 1}) },
                update,
                BulkItem::Delete { path: path.clone(), preconditions: Vec::new() },
                BulkItem::Create { path: path.clone(), data: json!({"n": 4}) },
            ];
            let results = context.store().bulk(items, Default::default()).await?;
            let versions: Vec<_> = results
                .into_iter()
                .map(|one| Ok(one?.version().get()))
                .collect::<CaseResult<_>>()?;
            expect_equal(versions, vec![1, 2, 3, 4], "the versions of the items")?;
            expect_equal(
                get_latest(&context, &path).await?.value()?,
                json!({"n": 4}),
                "what is left",
            )
        }
    ),
    case!(
        "CON-19",
        Con,
        "Each item of a bulk has its own result at its own place.",
        "Results that are shifted or cut off by a failed item.",
        [],
        async |context| {
            let (there, missing) = (context.unique_path()?, context.unique_path()?);
            let before = create(&context, &there, json!({"n": 1})).await?;
            let new = context.unique_path()?;
            let items = vec![
                BulkItem::Create { path: there.clone(), data: json!({}) },
                BulkItem::Create { path: new.clone(), data: json!({}) },
                BulkItem::Delete { path: missing.clone(), preconditions: Vec::new() },
                BulkItem::Create { path: missing.clone(), data: json!([]) },
            ];
            let mut results = context.store().bulk(items, Default::default()).await?.into_iter();
            let mut next = || results.next().ok_or_else(|| Failure::new("a result is missing"));
            expect_kind(next()?, ErrorKind::AlreadyExists, "the first item")?;
            expect_equal(next()??.version(), Version::FIRST, "the second item")?;
            expect_kind(next()?, ErrorKind::NotFound, "the third item")?;
            let wrong = expect_kind(next()?, ErrorKind::InvalidArgument, "the fourth item")?;
            expect_equal(wrong.reason(), Some(Reason::DataNotObject), "its reason")?;
            expect_unchanged(&context, &before).await?;
            expect_not_found(&context, &missing).await
        }
    ),
    case!(
        "CON-23",
        Con,
        "A task that panics between two calls leaves the store to the others.",
        "Locks that stay poisoned.",
        [],
        async |context| {
            let path = context.unique_path()?;
            create(&context, &path, json!({})).await?;
            let (store, read) = (context.store(), path.clone());
            let died = tokio::spawn(async move {
                let _held = store.get(&read, ReadOptions::default()).await;
                // Ends as a panic does, without a message in the output of every run.
                std::panic::resume_unwind(Box::new("on purpose"));
            });
            expect(died.await.is_err(), "the task ended well")?;
            get_latest(&context, &path).await?;
            context.store().update(&path, json!({"n": 1}), Default::default()).await?;
            Ok(())
        }
    ),
];

type Outcomes<T> = Vec<(usize, syntrix_storage_core::Result<T>)>;

/// One call per writer, all at the same time, on as many handles as there are.
async fn race<T, F>(
    context: &Context,
    call: impl Fn(std::sync::Arc<dyn DocumentStore>, usize) -> F,
) -> CaseResult<Outcomes<T>>
where
    T: Send + 'static,
    F: Future<Output = syntrix_storage_core::Result<T>> + Send + 'static,
{
    let stores = stores(context).await?;
    in_tasks(WRITERS, |number| {
        let work = call(stores[number % stores.len()].clone(), number);
        async move { Ok((number, work.await)) }
    })
    .await
}

/// The one that succeeded; all others must have failed with `kind`.
fn exactly_one<T: std::fmt::Debug>(outcomes: Outcomes<T>, kind: ErrorKind) -> CaseResult<usize> {
    let mut won = Vec::new();
    for (number, outcome) in outcomes {
        match outcome {
            Ok(_) => won.push(number),
            Err(error) => expect_equal(error.kind(), kind, "a loser's error")?,
        }
    }
    expect_equal(won.len(), 1, "the number of winners")?;
    Ok(won[0])
}

async fn count_up(context: &Context, steps: usize) -> CaseResult {
    let path = context.unique_path()?;
    create(context, &path, json!({"n": 0})).await?;
    let stores = stores(context).await?;
    in_tasks(WRITERS, |number| {
        let (store, path) = (stores[number % stores.len()].clone(), path.clone());
        async move {
            for _ in 0..steps {
                count_one(&*store, &path).await?;
            }
            Ok(())
        }
    })
    .await?;
    let expected = (WRITERS * steps) as i64;
    let counted = get_latest(context, &path).await?;
    expect_equal(counted.value()?, json!({"n": expected}), "the counter")?;
    expect_equal(counted.version().get(), expected + 1, "the version")
}

/// Who loses a race waits a random moment, longer each time, as callers do: else nearly all the work is in vain.
async fn count_one(store: &dyn DocumentStore, path: &DocumentPath) -> CaseResult {
    let mut doublings = 0;
    loop {
        // What a replica has would only lose the race.
        let seen = store.get(path, strong()).await?;
        let next = seen.value()?["n"].as_i64().unwrap_or_default() + 1;
        let options = only_if([Filter::version_is(seen.version())]);
        match store.update(path, json!({"n": next}), options).await {
            Ok(_) => return Ok(()),
            Err(error) => expect_equal(error.kind(), ErrorKind::PreconditionFailed, "a lost race")?,
        }
        let pause_ms = fastrand::u64(..LOST_PAUSE_MS << doublings);
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        doublings = (doublings + 1).min(LOST_PAUSE_DOUBLINGS_MAX);
    }
}

/// A body whose fields all say the same.
fn whole(number: usize) -> Value {
    let fields = (0..20).map(|field| (format!("f{field}"), json!(number)));
    Value::Object(fields.collect())
}

fn expect_whole(data: &Value) -> CaseResult {
    let mut fields = data.as_object().into_iter().flat_map(|fields| fields.values());
    let first = fields.next();
    expect(
        first.is_some() && fields.all(|value| Some(value) == first),
        format_args!("mixed: {data}"),
    )
}

async fn delete_against_update(context: &Context) -> CaseResult {
    let path = context.unique_path()?;
    create(context, &path, json!({})).await?;
    let (deleting, updating) = (context.store(), context.store());
    let (deleted, updated) = futures_util::future::join(
        deleting.delete(&path, Default::default()),
        updating.update(&path, json!({"n": 1}), Default::default()),
    )
    .await;
    let deleted = deleted?.version().get();
    match updated {
        Ok(updated) => {
            expect_equal((updated.version().get(), deleted), (2, 3), "update, then delete")?;
        }
        Err(error) => {
            expect_equal((error.kind(), deleted), (ErrorKind::NotFound, 2), "delete first")?;
        }
    }
    expect_not_found(context, &path).await
}

async fn read_beside_writers(context: &Context) -> CaseResult {
    let path = context.unique_path()?;
    create(context, &path, whole(0)).await?;
    let stores = stores(context).await?;
    in_tasks(8, |number| {
        let (store, path) = (stores[number % stores.len()].clone(), path.clone());
        async move {
            let mut last = Version::FIRST;
            for step in 0..100 {
                if number < 4 {
                    store.update(&path, whole(number * 1000 + step), Default::default()).await?;
                    continue;
                }
                let seen = store.get(&path, Default::default()).await?;
                expect_whole(&seen.value()?)?;
                expect(seen.version() >= last, "a reader saw the version go back")?;
                last = seen.version();
            }
            Ok(())
        }
    })
    .await?;
    Ok(())
}

/// What a client saw: from which call to which, and the version read or written.
#[derive(Clone, Copy, Debug)]
struct Observation {
    document: usize,
    called: tokio::time::Instant,
    answered: tokio::time::Instant,
    version: i64,
}

/// Versions are the order of the writes, so each document is a register whose order is known: an operation that began after
/// another one ended must not see less.
async fn recorded_history(context: &Context) -> CaseResult {
    let mut paths = Vec::new();
    for _ in 0..5 {
        let path = context.unique_path()?;
        create(context, &path, json!({})).await?;
        paths.push(path);
    }
    let stores = stores(context).await?;
    let seen = in_tasks(8, |client| {
        let (store, paths) = (stores[client % stores.len()].clone(), paths.clone());
        async move {
            let mut seen = Vec::new();
            for step in 0..60 {
                let document = (client * 7 + step * 3) % paths.len();
                let (path, called) = (&paths[document], tokio::time::Instant::now());
                let version = match (client + step) % 3 {
                    0 => {
                        store.update(path, json!({"n": step}), Default::default()).await?.version()
                    }
                    _ => store.get(path, strong()).await?.version(),
                };
                let answered = tokio::time::Instant::now();
                seen.push(Observation { document, called, answered, version: version.get() });
            }
            Ok(seen)
        }
    })
    .await?;
    let mut by_document: BTreeMap<usize, Vec<Observation>> = BTreeMap::new();
    for one in seen.into_iter().flatten() {
        by_document.entry(one.document).or_default().push(one);
    }
    by_document.values().try_for_each(|seen| expect_real_time_order(seen))
}

fn expect_real_time_order(seen: &[Observation]) -> CaseResult {
    for earlier in seen {
        let behind = seen.iter().filter(|later| later.called > earlier.answered);
        for later in behind {
            let what = format_args!("version {} was read after {}", later.version, earlier.version);
            expect(later.version >= earlier.version, what)?;
        }
    }
    Ok(())
}

/// Drops writes after ever more polls; whatever became of them, the document is the old one or the new one.
async fn drop_writes(context: &Context) -> CaseResult {
    let path = context.unique_path()?;
    create(context, &path, whole(0)).await?;
    for number in 1..=200_usize {
        let (store, written) = (context.store(), path.clone());
        let task = tokio::spawn(async move {
            store.update(&written, whole(number), Default::default()).await.map(drop)
        });
        tokio::time::sleep(Duration::from_micros(number as u64 * 5)).await;
        task.abort();
        let _ = task.await;
        expect_whole(&get(context, &path).await?.value()?)?;
    }
    let last = context.store().update(&path, whole(9999), Default::default()).await?;
    let stored = get(context, &path).await?;
    expect_equal(stored.version(), last.version(), "the version after all of it")?;
    expect_equal(stored.value()?, whole(9999), "the last write")
}
