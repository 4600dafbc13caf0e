//! Watching changes: order, completeness and speed.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use syntrix_storage_core::EventType::{Create, Delete};
use syntrix_storage_core::{
    CollectionPath, Event, Patch, Version, WatchItem, WatchOptions, WatchStart,
};

use super::steps::{create, fill, in_tasks, patch};
use super::wat::event_paths;
use crate::case::case;
use crate::{
    Case, CaseResult, Context, Failure, Setup, Watcher, document_events, expect, expect_equal,
    within_limit,
};

/// For cases whose work is thousands of writes.
const LONG: Duration = Duration::from_secs(120);

pub(super) static CASES: &[Case] = &[
    case!(
        "WAT-06",
        Wat,
        "What is written right after `watch` returned is delivered.",
        "A gap between the answer and the moment the subscription really starts.",
        [Watch],
        async |context| {
            let work = async {
                for round in 0..300 {
                    let path = context.unique_path()?;
                    let mut watcher = context.watch_all().await?;
                    create(&context, &path, json!({"round": round})).await?;
                    let event = watcher.event().await?;
                    expect_equal(event.document.path(), &path, format!("round {round}"))?;
                }
                Ok(())
            };
            within_limit(LONG, work).await?
        }
    ),
    case!(
        "WAT-10",
        Wat,
        "Events of one document come in version order without gaps, whoever writes.",
        "Order by anything but the commit: start of a transaction, clock, number drawn too early.",
        [Watch],
        async |context| {
            let mut watcher = context.watch_all().await?;
            within_limit(LONG, write_from_many(&context, 50, 8)).await??;
            let events = watcher.events(10 + 50 * 8).await?;
            for number in 0..10 {
                expect_contiguous(&events, &format!("d{number}"))?;
            }
            watcher.no_event().await
        }
    ),
    case!(
        "WAT-11",
        Wat,
        "All watchers see the events of a store in the same order.",
        "Watchers that disagree about what happened.",
        [Watch],
        async |context| {
            let mut watchers = Vec::new();
            for _ in 0..3 {
                watchers.push(context.watch_all().await?);
            }
            within_limit(LONG, write_from_many(&context, 20, 8)).await??;
            let mut seen = Vec::new();
            for watcher in &mut watchers {
                seen.push(keys(&watcher.events(10 + 20 * 8).await?));
            }
            expect(seen.windows(2).all(|pair| pair[0] == pair[1]), "the orders differ")
        }
    ),
    case!(
        "WAT-14",
        Wat,
        "A reader that does not read for thousands of events then gets them all.",
        "Dropping events or the reader when a buffer is full.",
        [Watch],
        async |context| {
            const COUNT: usize = 5000;
            let mut watcher = context.watch_all().await?;
            create(&context, &context.path("first")?, json!({})).await?;
            watcher.event().await?;
            fill(&context, (0..COUNT).map(|n| (format!("d{n}"), json!({"n": n})))).await?;
            for number in 0..COUNT {
                let event = watcher.event().await?;
                expect_equal(event.document.id(), format!("d{number}"), "next document")?;
            }
            watcher.no_event().await
        }
    ),
    case!(
        "WAT-15",
        Wat,
        "A reader that never reads holds up neither writers nor other readers.",
        "Waiting for the slowest.",
        [Watch],
        async |context| {
            let mut never_read = context.watch_all().await?;
            never_read.bookmark().await?;
            let mut reader = context.watch_all().await?;
            let documents = (0..3000).map(|n| (format!("d{n}"), json!({"n": n})));
            within_limit(LONG, fill(&context, documents)).await??;
            let last = reader.events(3000).await?.pop();
            let last = last.map(|event| event.document.id().to_owned());
            expect_equal(last.as_deref(), Some("d2999"), "the reader's last document")
        }
    ),
    case!(
        "WAT-17",
        Wat,
        "A bookmark is never ahead of an event that is still to come.",
        "Bookmarks made of numbers that writers under way have drawn but not committed.",
        [Watch],
        async |context| {
            let options = WatchOptions::default().with_heartbeat(Duration::from_millis(10));
            let mut watcher = context.watch(None, WatchStart::Now, options).await?;
            let writers = {
                let context = context.clone();
                tokio::spawn(async move { write_from_many(&context, 10, 20).await })
            };
            let (mut events, mut bookmarks) = (Vec::new(), Vec::new());
            while events.len() < 10 + 10 * 20 {
                match watcher.item().await? {
                    WatchItem::Event(event) => events.push(event),
                    WatchItem::Bookmark { token } => bookmarks.push((events.len(), token)),
                }
            }
            let written = writers.await;
            written.map_err(|error| crate::Failure::new(format_args!("died: {error}")))??;
            bookmarks.push((events.len(), watcher.bookmark().await?));
            for (seen, token) in bookmarks.into_iter().rev().take(20) {
                let mut resumed = context.watch_from(WatchStart::Token(token)).await?;
                let rest = resumed.events(events.len() - seen).await?;
                let (rest, seen) = (by_document(&rest), by_document(&events[seen..]));
                expect_equal(rest, seen, "events behind a bookmark")?;
                resumed.no_event().await?;
            }
            Ok(())
        }
    ),
    case!(
        "WAT-18",
        Wat,
        "A write that began after another was acknowledged comes after it, across collections.",
        "Order by a number that is drawn before the write is visible.",
        [Watch],
        async |context| {
            const WRITERS: usize = 8;
            const WRITES: usize = 40;
            let mut watcher = context.watch_all().await?;
            let writing = in_tasks(WRITERS, |writer| {
                let context = context.clone();
                async move {
                    for number in 0..WRITES {
                        let path = format!("c{}/w{writer}-{number}", number % 5).parse()?;
                        create(&context, &path, json!({"writer": writer, "n": number})).await?;
                    }
                    Ok(())
                }
            });
            within_limit(LONG, writing).await??;
            let mut next = [0; WRITERS];
            for event in watcher.events(WRITERS * WRITES).await? {
                let data = event.document.value()?;
                let writer = data["writer"].as_u64().unwrap_or_default() as usize;
                expect_equal(&data["n"], &json!(next[writer]), format!("next of writer {writer}"))?;
                next[writer] += 1;
            }
            watcher.no_event().await
        }
    ),
    case!(
        "WAT-21",
        Wat,
        "Deleting and re-creating is a delete and a create, however often.",
        "Events that are merged, or a re-creation that looks like an update.",
        [Watch],
        async |context| {
            const ROUNDS: i64 = 100;
            let path = context.unique_path()?;
            let mut watcher = context.watch_all().await?;
            for round in 0..ROUNDS {
                create(&context, &path, json!({"round": round})).await?;
                context.store().delete(&path, Default::default()).await?;
                context.clock().advance(Duration::from_millis(1));
            }
            for round in 0..ROUNDS {
                let (born, died) = (watcher.event().await?, watcher.event().await?);
                expect_equal((born.event_type, died.event_type), (Create, Delete), "types")?;
                expect_equal(born.document.version(), Version::new(2 * round + 1), "create")?;
                expect_equal(died.document.version(), Version::new(2 * round + 2), "delete")?;
                let created_at = born.document.created_at().as_milliseconds();
                expect_equal(created_at, Setup::START_MS + round, "createdAt of the new life")?;
            }
            watcher.no_event().await
        }
    ),
    case!(
        "WAT-23",
        Wat,
        "Giving up the wait for an event loses no event.",
        "Events that are lost with the future that was about to deliver them.",
        [Watch],
        async |context| {
            let mut watcher = context.watch_all().await?;
            let mut seen = Vec::new();
            for number in 0..50 {
                let path = context.path(&format!("d{number}"))?;
                seen.extend(watcher.cancelled_event().await?);
                create(&context, &path, json!({})).await?;
                seen.extend(watcher.cancelled_event().await?);
                tokio::task::yield_now().await;
            }
            let rest = watcher.events(50 - seen.len()).await?;
            seen.extend(rest);
            let expected: Vec<_> = (0..50).map(|number| format!("case/d{number}")).collect();
            expect_equal(event_paths(&seen), expected, "events")
        }
    ),
    case!(
        "WAT-27",
        Wat,
        "Times of events never go back, even if the clock does, and the order does not mind.",
        "Ordering, resuming or trimming by a clock.",
        [Watch],
        async |context| {
            let path = context.unique_path()?;
            let mut watcher = context.watch_all().await?;
            create(&context, &path, json!({})).await?;
            for offset in [3_600_000, -3_600_000, 10, 0, 7_200_000, 1] {
                context.clock().set(Setup::START_MS + offset);
                patch(&context, &path, Patch::new().set("offset", offset)).await?;
            }
            let events = watcher.events(7).await?;
            expect_contiguous(&events, path.id())?;
            for pair in events.windows(2) {
                expect(pair[0].commit_time <= pair[1].commit_time, "a commit time goes back")?;
                let times = (pair[0].document.updated_at(), pair[1].document.updated_at());
                expect(times.0 <= times.1, "updatedAt goes back")?;
            }
            Ok(())
        }
    ),
    case!(
        "WAT-30",
        Wat,
        "A replay of fifty thousand events is complete and in order.",
        "Reading a history as a whole, or in pages with seams.",
        [Watch],
        async |context| {
            const COUNT: usize = 50_000;
            let documents = (0..COUNT).map(|n| (format!("d{n}"), json!({"n": n})));
            within_limit(LONG, fill(&context, documents)).await??;
            let replay = async {
                let mut watcher = context.watch_from(WatchStart::Oldest).await?;
                for number in 0..COUNT {
                    let event = watcher.event().await?;
                    expect_equal(event.document.id(), format!("d{number}"), "next document")?;
                }
                Ok(())
            };
            within_limit(LONG, replay).await?
        }
    ),
    case!(
        "WAT-31",
        Wat,
        "One script gives the same events everywhere, word for word but for tokens and times.",
        "Events that are right by themselves and another shape on each backend.",
        [Watch, Before],
        async |context| {
            let mut watcher =
                context.watch(None, WatchStart::Now, Watcher::options().with_before()).await?;
            let path = "rooms/a/seats/1".parse()?;
            create(&context, &path, json!({"n": 1, "\u{e9}": [null, 0.5, {"": "x"}]})).await?;
            patch(&context, &path, Patch::new().set("n", json!(i64::MAX)).remove("\u{e9}")).await?;
            context.store().delete(&path, Default::default()).await?;
            create(&context, &path, json!({})).await?;
            let mut lines = Vec::new();
            for event in watcher.events(4).await? {
                lines.push(golden(WatchItem::Event(event))?);
            }
            expect_equal(lines.join("\n"), GOLDEN.join("\n"), "the events")
        }
    ),
    case!(
        "WAT-32",
        Wat,
        "A watch of all is the watches of its collections taken together, each in its order.",
        "Events that one kind of reader gets and the other does not.",
        [Watch],
        async |context| {
            let collections = ["a", "b", "a/x/c"];
            let mut all = context.watch_all().await?;
            let mut single = Vec::new();
            for collection in collections {
                let collection = CollectionPath::parse(collection)?;
                let start = WatchStart::Now;
                single.push(context.watch(Some(&collection), start, Watcher::options()).await?);
            }
            let writers = in_tasks(collections.len(), |number| {
                let (context, collection) = (context.clone(), collections[number]);
                async move {
                    for document in 0..50 {
                        let path = format!("{collection}/d{document}").parse()?;
                        create(&context, &path, json!({})).await?;
                    }
                    Ok::<_, Failure>(())
                }
            });
            within_limit(LONG, writers).await??;
            let union = all.events(50 * collections.len()).await?;
            for (watcher, collection) in single.iter_mut().zip(collections) {
                let own: Vec<_> = union
                    .iter()
                    .filter(|event| event.document.path().collection_text() == collection)
                    .cloned()
                    .collect();
                expect_equal(keys(&watcher.events(50).await?), keys(&own), collection)?;
                watcher.no_event().await?;
            }
            Ok(())
        }
    ),
    case!(
        "WAT-33",
        Wat,
        "Two handles write and one watches: every event comes, each document's in its order.",
        "Changes of others that are only seen when somebody here writes, too.",
        [Watch, Shared],
        async |context| {
            let mut watcher = context.watch_all().await?;
            let other = context.second_handle().await?.documents()?;
            let stores = [context.store(), other];
            let path = context.path("shared")?;
            create(&context, &path, json!({"n": 0})).await?;
            let writers = in_tasks(2, |number| {
                let (store, path) = (Arc::clone(&stores[number]), path.clone());
                async move {
                    for n in 0..100 {
                        store.update(&path, json!({"n": n}), Default::default()).await?;
                    }
                    Ok::<_, Failure>(())
                }
            });
            within_limit(LONG, writers).await??;
            let events = within_limit(LONG, watcher.events(201)).await??;
            let versions: Vec<_> =
                events.iter().map(|event| event.document.version().get()).collect();
            expect_equal(versions, (1..=201).collect::<Vec<_>>(), "the versions")?;
            watcher.no_event().await
        }
    ),
];

/// What WAT-31 gets.
const GOLDEN: [&str; 4] = [
    r#"{"collection":"rooms/a/seats","document":{"collection":"rooms/a/seats","id":"1","n":1,"version":1,"é":[null,0.5,{"":"x"}]},"id":"1","path":"rooms/a/seats/1","type":"create","version":1}"#,
    r#"{"before":{"collection":"rooms/a/seats","id":"1","n":1,"version":1,"é":[null,0.5,{"":"x"}]},"collection":"rooms/a/seats","document":{"collection":"rooms/a/seats","id":"1","n":9223372036854775807,"version":2},"id":"1","path":"rooms/a/seats/1","type":"update","version":2}"#,
    r#"{"before":{"collection":"rooms/a/seats","id":"1","n":9223372036854775807,"version":2},"collection":"rooms/a/seats","document":{"collection":"rooms/a/seats","deleted":true,"id":"1","version":3},"id":"1","path":"rooms/a/seats/1","type":"delete","version":3}"#,
    r#"{"collection":"rooms/a/seats","document":{"collection":"rooms/a/seats","id":"1","version":4},"id":"1","path":"rooms/a/seats/1","type":"create","version":4}"#,
];

/// An event as JSON with sorted keys, without its token and all times.
fn golden(item: WatchItem) -> CaseResult<String> {
    let mut value = serde_json::to_value(item).map_err(Failure::new)?;
    without_times(&mut value);
    Ok(value.to_string())
}

fn without_times(value: &mut serde_json::Value) {
    if let Some(members) = value.as_object_mut() {
        for name in ["token", "commitTime", "createdAt", "updatedAt"] {
            members.remove(name);
        }
        members.values_mut().for_each(without_times);
    }
}

/// Ten documents `d0` to `d9`, and `writers` tasks that patch them `writes` times each.
pub(super) async fn write_from_many(
    context: &Context,
    writers: usize,
    writes: usize,
) -> CaseResult {
    fill(context, (0..10).map(|number| (format!("d{number}"), json!({})))).await?;
    in_tasks(writers, |writer| {
        let context = context.clone();
        async move {
            for number in 0..writes {
                let path = context.path(&format!("d{}", (writer + number) % 10))?;
                patch(&context, &path, Patch::new().set(format!("w{writer}"), number)).await?;
            }
            Ok(())
        }
    })
    .await?;
    Ok(())
}

fn expect_contiguous(events: &[Event], id: &str) -> CaseResult {
    let own = document_events(events, id);
    let expected: Vec<_> = (1..=own.len() as i64).map(Version::new).collect();
    let versions: Vec<_> = own.into_iter().map(|(_, version)| version).collect();
    expect_equal(versions, expected, format_args!("versions of {id}"))
}

/// The keys of events, the documents one after the other: between documents that different readers saw at once, order is
/// not promised.
fn by_document(events: &[Event]) -> Vec<(String, Version)> {
    let mut keys = keys(events);
    // Stable, so each document's events stay as they came.
    keys.sort_by(|(left, _), (right, _)| left.cmp(right));
    keys
}

/// What tells one event from every other: path and version.
pub(super) fn keys(events: &[Event]) -> Vec<(String, Version)> {
    let key = |event: &Event| (event.document.path().to_string(), event.document.version());
    events.iter().map(key).collect()
}
