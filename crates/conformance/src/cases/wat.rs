//! Watching changes.

use std::time::Duration;

use serde_json::{Value, json};
use syntrix_storage_core::EventType::{Create, Delete, Update};
use syntrix_storage_core::{
    BulkItem, CollectionPath, Document, ErrorKind, Event, Filter, Patch, Retention, Version,
    WatchOptions, WatchStart,
};

use super::steps::{create, fill, only_if, patch};
use crate::case::case;
use crate::{
    Case, CaseResult, Context, Watcher, document_events, expect, expect_equal, expect_kind,
    expect_same_documents, within_limit,
};

/// For cases whose work is thousands of writes.
const LONG: Duration = Duration::from_secs(120);

pub(super) static CASES: &[Case] = &[
    case!(
        "WAT-01",
        Wat,
        "Create, update, patch and delete are four events in this order.",
        "Events that are missing, doubled, out of order or of the wrong type.",
        [Watch],
        async |context| {
            let (store, path) = (context.store(), context.unique_path()?);
            let mut watcher = context.watch_all().await?;
            create(&context, &path, json!({"n": 1})).await?;
            store.update(&path, json!({"n": 2}), Default::default()).await?;
            patch(&context, &path, Patch::new().set("n", 3)).await?;
            store.delete(&path, Default::default()).await?;

            let expected = [(Create, 1), (Update, 2), (Update, 3), (Delete, 4)];
            let expected = expected.map(|(kind, number)| (kind, Version::new(number)));
            let events = watcher.events(4).await?;
            expect_equal(document_events(&events, path.id()), expected.to_vec(), "events")?;
            watcher.no_event().await
        }
    ),
    case!(
        "WAT-02",
        Wat,
        "An event has the document as of its own version, never a later one.",
        "Looking the document up when the event is read.",
        [Watch],
        async |context| {
            let path = context.unique_path()?;
            let mut watcher = context.watch_all().await?;
            let mut written = vec![create(&context, &path, json!({"n": 1})).await?];
            for number in 2..=5 {
                context.clock().advance(Duration::from_secs(1));
                written.push(patch(&context, &path, Patch::new().set("n", number)).await?);
            }
            written.push(context.store().delete(&path, Default::default()).await?.document);
            let seen = documents(&watcher.events(6).await?);
            expect_same_documents(&seen, &written, "documents of the events")
        }
    ),
    case!(
        "WAT-03",
        Wat,
        "With `before` an update and a delete bring exactly what was there.",
        "A before image that is read later, or is that of another write.",
        [Watch, Before],
        async |context| {
            let path = context.unique_path()?;
            let options = Watcher::options().with_before();
            let mut watcher = context.watch(None, WatchStart::Now, options).await?;
            in_life_and_death(&context, &path).await?;
            let events = watcher.events(6).await?;
            for pair in events.windows(2) {
                let expected = Some(&pair[0].document).filter(|document| !document.is_deleted());
                let before = pair[1].before.as_ref();
                expect_equal(
                    before.map(Document::metadata),
                    expected.map(Document::metadata),
                    "before",
                )?;
                let data = |document: Option<&Document>| document.map(Document::value).transpose();
                expect_equal(data(before)?, data(expected)?, "data before")?;
            }
            expect(events[0].before.is_none(), "a create has no before image")
        }
    ),
    case!(
        "WAT-04",
        Wat,
        "Without `before` no event brings the document as it was.",
        "Paying for, and leaking, what nobody asked for.",
        [Watch],
        async |context| {
            let path = context.unique_path()?;
            let mut watcher = context.watch_all().await?;
            in_life_and_death(&context, &path).await?;
            let events = watcher.events(6).await?;
            expect(events.iter().all(|event| event.before.is_none()), "an event has a before image")
        }
    ),
    case!(
        "WAT-05",
        Wat,
        "Asking for `before` where it is not offered is refused at once, and works where it is.",
        "Before images that are silently absent.",
        [Watch],
        async |context| {
            let options = WatchOptions::default().with_before();
            let watched = context.store().watch(None, WatchStart::Now, options).await.map(|_| ());
            match context.capabilities().before {
                true => Ok(watched?),
                false => expect_kind(watched, ErrorKind::Unsupported, "watch").map(|_| ()),
            }
        }
    ),
    case!(
        "WAT-07",
        Wat,
        "A failed write is no event.",
        "Events that announce what never happened.",
        [Watch],
        async |context| {
            let (store, path) = (context.store(), context.unique_path()?);
            let missing = context.unique_path()?;
            create(&context, &path, json!({"n": 1})).await?;
            let mut watcher = context.watch_all().await?;

            let stale = only_if([Filter::version_is(Version::new(9))]);
            let write = store.update(&path, json!({"n": 2}), stale.clone()).await;
            expect_kind(write, ErrorKind::PreconditionFailed, "update")?;
            let write = store.delete(&path, stale).await;
            expect_kind(write, ErrorKind::PreconditionFailed, "delete")?;
            let write = store.patch(&path, Patch::new().set("n.x", 1), Default::default()).await;
            expect_kind(write, ErrorKind::PathConflict, "patch")?;
            let write = store.create(&path, json!({}), Default::default()).await;
            expect_kind(write, ErrorKind::AlreadyExists, "create")?;
            let write = store.update(&missing, json!({}), Default::default()).await;
            expect_kind(write, ErrorKind::NotFound, "update of nothing")?;
            let write = store.update(&path, json!([]), Default::default()).await;
            expect_kind(write, ErrorKind::InvalidArgument, "update with a list")?;
            watcher.no_event().await
        }
    ),
    case!(
        "WAT-08",
        Wat,
        "A watch of a collection gets its own documents and nothing else; one of all gets all.",
        "Matching by prefix, and events of another store.",
        [Watch],
        async |context| {
            let a = CollectionPath::parse("a")?;
            let deep = CollectionPath::parse("a/b/c")?;
            let mut only_a = context.watch(Some(&a), WatchStart::Now, Watcher::options()).await?;
            let mut only_deep =
                context.watch(Some(&deep), WatchStart::Now, Watcher::options()).await?;
            let mut all = context.watch_all().await?;
            let other = context.other_store().await?.documents()?;
            let path = a.document("x")?;
            other.create(&path, json!({"other": true}), Default::default()).await?;
            let paths = ["a/1", "ab/1", "a/b/c/1", "A/1", "a/b/c/d/e/1", "a/2"];
            for path in paths {
                create(&context, &path.parse()?, json!({})).await?;
            }
            expect_equal(event_paths(&only_a.events(2).await?), ["a/1", "a/2"].to_vec(), "a")?;
            only_a.no_event().await?;
            expect_equal(event_paths(&only_deep.events(1).await?), ["a/b/c/1"].to_vec(), "a/b/c")?;
            only_deep.no_event().await?;
            expect_equal(event_paths(&all.events(6).await?), paths.to_vec(), "all")?;
            all.no_event().await
        }
    ),
    case!(
        "WAT-09",
        Wat,
        "Event types that were not asked for are not delivered.",
        "Conditions that let everything through when two of them meet.",
        [Watch],
        async |context| {
            let options = Watcher::options().with_types([Create]);
            let mut creates = context.watch(None, WatchStart::Now, options).await?;
            let options = Watcher::options().with_types([Update, Delete]);
            let mut rest = context.watch(None, WatchStart::Now, options).await?;
            in_life_and_death(&context, &context.unique_path()?).await?;
            expect_equal(types(&creates.events(2).await?), [Create, Create].to_vec(), "creates")?;
            creates.no_event().await?;
            let expected = [Update, Update, Delete, Update];
            expect_equal(types(&rest.events(4).await?), expected.to_vec(), "the rest")?;
            rest.no_event().await
        }
    ),
    case!(
        "WAT-12",
        Wat,
        "Two watchers each get every event, and one that leaves takes nothing with it.",
        "Sharing events between watchers, or tearing down what the other one uses.",
        [Watch],
        async |context| {
            let (mut first, mut second) = (context.watch_all().await?, context.watch_all().await?);
            fill(&context, (0..10).map(|n| (format!("a{n}"), json!({})))).await?;
            expect_equal(first.events(10).await?.len(), 10, "events of the first")?;
            second.events(5).await?;
            drop(first);
            fill(&context, (0..10).map(|n| (format!("b{n}"), json!({})))).await?;
            let rest = second.events(15).await?;
            let expected: Vec<_> = (5..10)
                .map(|n| format!("case/a{n}"))
                .chain((0..10).map(|n| format!("case/b{n}")))
                .collect();
            expect_equal(event_paths(&rest), expected, "the second, afterwards")
        }
    ),
    case!(
        "WAT-13",
        Wat,
        "Thousands of dropped streams leave the store as able as before.",
        "Subscriptions, cursors or connections that a dropped stream leaves behind.",
        [Watch],
        async |context| {
            let work = async {
                for round in 0..2000 {
                    let mut watcher = context.watch_all().await?;
                    if round % 100 == 0 {
                        watcher.bookmark().await?;
                    }
                }
                Ok::<_, crate::Failure>(())
            };
            within_limit(LONG, work).await??;
            let mut watcher = context.watch_all().await?;
            create(&context, &context.unique_path()?, json!({})).await?;
            watcher.event().await?;
            within_limit(Duration::from_secs(10), context.handle().close()).await??;
            Ok(())
        }
    ),
    case!(
        "WAT-16",
        Wat,
        "An idle store gives signs of life.",
        "A silence that could as well be a lost connection.",
        [Watch],
        async |context| {
            let mut watcher = context.watch_all().await?;
            for _ in 0..5 {
                watcher.bookmark().await?;
            }
            let none = WatchOptions::default().with_heartbeat(Duration::ZERO);
            let watched = context.store().watch(None, WatchStart::Now, none).await.map(|_| ());
            expect_kind(watched, ErrorKind::InvalidArgument, "a heartbeat of zero")?;
            Ok(())
        }
    ),
    case!(
        "WAT-20",
        Wat,
        "A delete is one event with a tombstone, and its purge is none.",
        "A second delete event weeks later, or user data in the first.",
        [Watch],
        async |context| {
            let path = context.unique_path()?;
            let created = create(&context, &path, json!({"secret": "text"})).await?;
            let mut watcher = context.watch_all().await?;
            context.store().delete(&path, Default::default()).await?;
            let event = watcher.event().await?;
            expect_equal(event.event_type, Delete, "type")?;
            expect_equal(event.document.path(), &path, "path")?;
            expect_equal(event.document.version(), created.version().next(), "version")?;
            expect_equal(event.document.value()?, json!({}), "data")?;

            context.clock().advance(Retention::default().soft_delete() * 2);
            expect_equal(context.admin().purge_expired(10).await?.purged, 1, "purged")?;
            watcher.no_event().await
        }
    ),
    case!(
        "WAT-24",
        Wat,
        "Closing the store ends its streams with closed, behind what they had delivered.",
        "Streams that end as if there were nothing more to come.",
        [Watch],
        async |context| {
            let mut watcher = context.watch_all().await?;
            create(&context, &context.unique_path()?, json!({})).await?;
            watcher.event().await?;
            within_limit(Duration::from_secs(10), context.store().close()).await??;
            watcher.end(ErrorKind::Closed).await?;
            Ok(())
        }
    ),
    case!(
        "WAT-26",
        Wat,
        "A write that changes no data is an event, since the version moved.",
        "Backends that swallow what they take for no change.",
        [Watch],
        async |context| {
            let (store, path) = (context.store(), context.unique_path()?);
            create(&context, &path, json!({"n": 1})).await?;
            let mut watcher = context.watch_all().await?;
            store.update(&path, json!({"n": 1}), Default::default()).await?;
            patch(&context, &path, Patch::new()).await?;
            patch(&context, &path, Patch::new().remove("missing")).await?;
            let expected = [2, 3, 4].map(|number| (Update, Version::new(number)));
            let events = watcher.events(3).await?;
            expect_equal(document_events(&events, path.id()), expected.to_vec(), "events")?;
            watcher.no_event().await
        }
    ),
    case!(
        "WAT-28",
        Wat,
        "A backend without watch says so at once, and one that claims it watches.",
        "A stream that never delivers anything.",
        [],
        async |context| {
            let watched = context.store().watch(None, WatchStart::Now, Watcher::options()).await;
            if !context.capabilities().watch {
                expect_kind(watched.map(|_| ()), ErrorKind::Unsupported, "watch")?;
                return Ok(());
            }
            let mut watcher = Watcher::new(watched?);
            create(&context, &context.unique_path()?, json!({})).await?;
            watcher.event().await?;
            Ok(())
        }
    ),
    case!(
        "WAT-29",
        Wat,
        "A document of any legal size and content comes whole.",
        "Limits of a notification's payload, and values that change on their way through a log.",
        [Watch],
        async |context| {
            let mut watcher = context.watch_all().await?;
            let mut written = Vec::new();
            for bytes in [0, 7_900, 8_100, 100_000, (1 << 20) - 20] {
                let path = context.path(&format!("b{bytes}"))?;
                written.push(create(&context, &path, json!({"text": "x".repeat(bytes)})).await?);
            }
            let path = context.path("values")?;
            written.push(create(&context, &path, odd_values()).await?);
            let seen = documents(&watcher.events(6).await?);
            expect_same_documents(&seen, &written, "documents of the events")
        }
    ),
];

/// Create, update, patch, delete, create, update: six events.
async fn in_life_and_death(
    context: &Context,
    path: &syntrix_storage_core::DocumentPath,
) -> CaseResult {
    let store = context.store();
    create(context, path, json!({"n": 1})).await?;
    store.update(path, json!({"n": 2, "more": [1, {"deep": null}]}), Default::default()).await?;
    patch(context, path, Patch::new().set("n", 3)).await?;
    store.delete(path, Default::default()).await?;
    let items = vec![
        BulkItem::Create { path: path.clone(), data: json!({"n": 4}) },
        BulkItem::Update { path: path.clone(), data: json!({"n": 5}), preconditions: vec![] },
    ];
    for result in store.bulk(items, Default::default()).await? {
        result?;
    }
    Ok(())
}

fn odd_values() -> Value {
    json!({
        "null": null, "empty": {}, "list": [], "": "empty key", "a.b": {"$x": "é e\u{301} 𝄞"},
        "integers": [i64::MIN, i64::MAX, 9_007_199_254_740_993_i64], "doubles": [0.1, 5e-324, 1e308],
        "bools": [true, false], "quotes": "'\"\\`\n\t\u{1}\u{7f}",
    })
}

fn documents(events: &[Event]) -> Vec<Document> {
    events.iter().map(|event| event.document.clone()).collect()
}

fn types(events: &[Event]) -> Vec<syntrix_storage_core::EventType> {
    events.iter().map(|event| event.event_type).collect()
}

pub(super) fn event_paths(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.document.path().as_str()).collect()
}
