//! Resuming a watch: how far history reaches.

use std::time::Duration;

use serde_json::json;
use syntrix_storage_core::{
    CollectionPath, ErrorKind, Event, ExpiredReason, Retention, WatchStart,
};

use super::res::{expect_refused, resume};
use super::steps::{create, fill};
use super::wat_order::keys;
use crate::case::case;
use crate::{
    Case, CaseResult, Context, Setup, Watcher, expect, expect_equal, expect_kind, within_limit,
};

const LONG: Duration = Duration::from_secs(120);

pub(super) static CASES: &[Case] = &[
    case!(
        "RES-04",
        Res,
        "What is written while nobody watches is delivered after resuming.",
        "History that is kept only while somebody listens.",
        [Watch],
        async |context| {
            let token = {
                let mut watcher = context.watch_all().await?;
                create(&context, &context.path("seen")?, json!({})).await?;
                watcher.event().await?.token
            };
            fill(&context, (0..500).map(|n| (format!("d{n}"), json!({"n": n})))).await?;
            let mut resumed = context.watch_from(WatchStart::Token(token)).await?;
            for number in 0..500 {
                let event = resumed.event().await?;
                expect_equal(event.document.id(), format!("d{number}"), "next document")?;
            }
            resumed.no_event().await
        }
    ),
    case!(
        "RES-06",
        Res,
        "A token outlives the process where history does, and is expired where it does not.",
        "Silence instead of either.",
        [Watch],
        async |context| {
            let mut watcher = context.watch_all().await?;
            create(&context, &context.path("seen")?, json!({})).await?;
            let token = watcher.event().await?.token;
            create(&context, &context.path("unseen")?, json!({})).await?;
            drop(watcher);
            context.reopen().await?;
            if !context.capabilities().durable_watch {
                let error = expect_refused(&context, token, ErrorKind::TokenExpired).await?;
                return expect_equal(error.expired_reason(), Some(ExpiredReason::Restarted), "why");
            }
            let mut resumed = context.watch_from(WatchStart::Token(token)).await?;
            expect_equal(resumed.event().await?.document.id(), "unseen", "next document")?;
            create(&context, &context.path("new")?, json!({})).await?;
            expect_equal(resumed.event().await?.document.id(), "new", "and the one after it")
        }
    ),
    case!(
        "RES-07",
        Res,
        "A token whose history was trimmed is refused at once, with the oldest time there is.",
        "Continuing behind the gap as if it were not there.",
        [Watch],
        async |context| {
            let events = ten_seconds_of_events(&context).await?;
            trim_before_second(&context, 5).await?;
            let error =
                expect_refused(&context, events[2].token.clone(), ErrorKind::TokenExpired).await?;
            expect_equal(error.expired_reason(), Some(ExpiredReason::Trimmed), "why")?;
            let oldest = error.oldest_time().map(|time| time.as_milliseconds());
            expect_equal(oldest, Some(Setup::START_MS + 5000), "oldest time")
        }
    ),
    case!(
        "RES-08",
        Res,
        "At the edge of the history a token is either complete or expired.",
        "A comparison that is off by one, in either direction.",
        [Watch],
        async |context| {
            let events = ten_seconds_of_events(&context).await?;
            trim_before_second(&context, 5).await?;
            let mut resumed = resume(&context, &events[4]).await?;
            let rest = resumed.events(5).await?;
            expect_equal(keys(&rest), keys(&events[5..]), "behind the last trimmed event")?;
            resumed.no_event().await?;
            expect_refused(&context, events[3].token.clone(), ErrorKind::TokenExpired).await?;
            let mut oldest = context.watch_from(WatchStart::Oldest).await?;
            expect_equal(keys(&oldest.events(5).await?), keys(&events[5..]), "from the oldest")
        }
    ),
    case!(
        "RES-12",
        Res,
        "From the oldest comes all that is kept, from now only what is new.",
        "A start that is taken for the other one when the history is short.",
        [Watch],
        async |context| {
            let mut empty = context.watch_from(WatchStart::Oldest).await?;
            empty.bookmark().await?;
            create(&context, &context.path("a")?, json!({})).await?;
            create(&context, &context.path("b")?, json!({})).await?;
            let mut oldest = context.watch_from(WatchStart::Oldest).await?;
            let mut now = context.watch_from(WatchStart::Now).await?;
            create(&context, &context.path("c")?, json!({})).await?;
            let ids = |events: &[Event]| -> Vec<String> {
                events.iter().map(|event| event.document.id().to_owned()).collect()
            };
            expect_equal(ids(&oldest.events(3).await?), ["a", "b", "c"].to_vec(), "oldest")?;
            expect_equal(
                ids(&empty.events(3).await?),
                ["a", "b", "c"].to_vec(),
                "of an empty one",
            )?;
            expect_equal(ids(&now.events(1).await?), ["c"].to_vec(), "now")?;
            now.no_event().await
        }
    ),
    case!(
        "RES-16",
        Res,
        "A reader whose history is trimmed before it reads gets all of it or an error.",
        "A gap that nobody mentions, or a retry that never ends.",
        [Watch],
        async |context| {
            for read_first in [false, true] {
                trimmed_under_a_reader(&context, read_first).await?;
            }
            Ok(())
        }
    ),
    case!(
        "RES-19",
        Res,
        "A token outlives a history that was trimmed to nothing behind it: what comes next is seen.",
        "Places that are given out a second time when the history is empty.",
        [Watch],
        async |context| {
            let token = {
                let mut watcher = context.watch_all().await?;
                fill(&context, (0..5).map(|n| (format!("old{n}"), json!({})))).await?;
                watcher.events(5).await?.remove(4).token
            };
            context.clock().advance(Retention::default().watch() + Duration::from_millis(1));
            context.admin().purge_expired(1000).await?;
            fill(&context, (0..5).map(|n| (format!("new{n}"), json!({})))).await?;
            let mut resumed = context.watch_from(WatchStart::Token(token)).await?;
            for number in 0..5 {
                let event = resumed.event().await?;
                expect_equal(event.document.id(), format!("new{number}"), "next document")?;
            }
            resumed.no_event().await
        }
    ),
    case!(
        "RES-20",
        Res,
        "A thousand readers come back at once, each from a place of its own, and each goes on there.",
        "A store that is overrun by those who reconnect, or mixes up their places.",
        [Watch],
        async |context| {
            const READERS: usize = 1000;
            let mut watcher = context.watch_all().await?;
            fill(&context, (0..READERS).map(|n| (format!("d{n:04}"), json!({})))).await?;
            let events = within_limit(LONG, watcher.events(READERS)).await??;
            create(&context, &context.path("last")?, json!({})).await?;
            let ids: Vec<_> = events.iter().map(|event| event.document.id()).collect();
            let mut readers = Vec::new();
            for event in &events {
                readers.push(resume(&context, event).await?);
            }
            for (reader, next) in readers.iter_mut().zip(ids[1..].iter().chain(&["last"])) {
                expect_equal(reader.event().await?.document.id(), *next, "behind its place")?;
            }
            Ok(())
        }
    ),
    case!(
        "RES-21",
        Res,
        "The bookmarks of a quiet reader keep its place while history goes on without it.",
        "A place that is left behind where nothing of interest happens, and expires there.",
        [Watch],
        async |context| {
            let quiet = CollectionPath::parse("quiet")?;
            let mut watcher =
                context.watch(Some(&quiet), WatchStart::Now, Watcher::options()).await?;
            for round in 0..3 {
                fill(&context, (0..50).map(|n| (format!("r{round}n{n}"), json!({})))).await?;
                context.clock().advance(Retention::default().watch() / 2);
                context.admin().purge_expired(1000).await?;
                watcher.no_event().await?;
                context.clock().advance(Retention::default().watch() / 2);
                context.admin().purge_expired(1000).await?;
            }
            let bookmark = watcher.bookmark().await?;
            drop(watcher);
            let start = WatchStart::Token(bookmark);
            let mut resumed = context.watch(Some(&quiet), start, Watcher::options()).await?;
            create(&context, &quiet.document("new")?, json!({})).await?;
            expect_equal(resumed.event().await?.document.id(), "new", "next document")
        }
    ),
];

/// Ten events, one each second, `d0` at the start.
async fn ten_seconds_of_events(context: &Context) -> CaseResult<Vec<Event>> {
    let mut watcher = context.watch_all().await?;
    for number in 0..10 {
        context.clock().set(Setup::START_MS + 1000 * number);
        create(context, &context.path(&format!("d{number}"))?, json!({})).await?;
    }
    watcher.events(10).await
}

/// Lets the history of the seconds before `second` expire.
async fn trim_before_second(context: &Context, second: i64) -> CaseResult {
    context.clock().set(Setup::START_MS + 1000 * second);
    context.clock().advance(Retention::default().watch());
    context.admin().purge_expired(1000).await?;
    Ok(())
}

/// Subscribes, writes five events and lets their history expire; only then the reader goes on.
async fn trimmed_under_a_reader(context: &Context, read_first: bool) -> CaseResult {
    let mut watcher = context.watch_all().await?;
    if read_first {
        watcher.bookmark().await?;
    }
    let mut written = Vec::new();
    for _ in 0..5 {
        written.push(create(context, &context.unique_path()?, json!({})).await?);
    }
    context.clock().advance(Retention::default().watch() + Duration::from_millis(1));
    context.admin().purge_expired(1000).await?;
    let reading = async {
        for expected in &written {
            match watcher.event_or_error().await? {
                Ok(event) => {
                    expect_equal(event.document.path(), expected.path(), "next document")?;
                }
                Err(error) => {
                    let first = expected.path() == written[0].path();
                    expect(first, "the stream broke off in the middle")?;
                    expect_kind(Err::<(), _>(error), ErrorKind::TokenExpired, "end")?;
                    return Ok(());
                }
            }
        }
        Ok(())
    };
    within_limit(LONG, reading).await?
}
