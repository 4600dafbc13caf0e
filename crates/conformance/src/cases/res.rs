//! Resuming a watch.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::json;
use syntrix_storage_core::{
    Document, ErrorKind, Event, ExpiredReason, Patch, Query, QueryOptions, Result, ResumeToken,
    Retention, WatchStart,
};

use super::steps::{create, fill, patch};
use super::wat::{keys, write_from_many};
use crate::case::case;
use crate::{
    Case, CaseResult, Context, Failure, Setup, Watcher, expect, expect_equal, expect_kind,
    within_limit,
};

const LONG: Duration = Duration::from_secs(120);

pub(super) static CASES: &[Case] = &[
    case!(
        "RES-01",
        Res,
        "Behind the token of any event comes exactly the next one.",
        "A token that is off by one, or good only at the edges of a page.",
        [Watch],
        async |context| {
            let mut watcher = context.watch_all().await?;
            write_from_many(&context, 5, 18).await?;
            let events = watcher.events(100).await?;
            for (number, event) in events.iter().enumerate() {
                let mut resumed = resume(&context, event).await?;
                let rest = resumed.events(events.len() - number - 1).await?;
                expect_equal(keys(&rest), keys(&events[number + 1..]), format!("behind {number}"))?;
            }
            resume(&context, &events[99]).await?.no_event().await
        }
    ),
    case!(
        "RES-02",
        Res,
        "Behind a bookmark nothing comes again and nothing is missing.",
        "Bookmarks that are less exact than the tokens of events.",
        [Watch],
        async |context| {
            let mut watcher = context.watch_all().await?;
            let (mut bookmarks, mut events) = (Vec::new(), Vec::new());
            for number in 0..5 {
                bookmarks.push(watcher.bookmark().await?);
                create(&context, &context.path(&format!("d{number}"))?, json!({})).await?;
                events.push(watcher.event().await?);
            }
            for (number, token) in bookmarks.into_iter().enumerate() {
                let mut resumed = context.watch_from(WatchStart::Token(token)).await?;
                let rest = resumed.events(events.len() - number).await?;
                expect_equal(keys(&rest), keys(&events[number..]), format!("bookmark {number}"))?;
                resumed.no_event().await?;
            }
            Ok(())
        }
    ),
    case!(
        "RES-03",
        Res,
        "A page and a watch from the page's token together have every change exactly once.",
        "A gap or an overlap between reading a collection and following it.",
        [Watch],
        async |context| {
            fill(&context, (0..10).map(|number| (format!("d{number}"), json!({})))).await?;
            let writers = {
                let context = context.clone();
                tokio::spawn(async move { patch_each(&context, 60).await })
            };
            let options = QueryOptions::default().with_resume_token();
            let mut lists = Vec::new();
            for _ in 0..5 {
                let query = Query::of(context.collection()?);
                let page = context.store().query(query, options.clone()).await?;
                let token =
                    page.resume_token.ok_or_else(|| Failure::new("no token was brought"))?;
                lists.push((page.documents, token));
            }
            let written = writers.await;
            written.map_err(|error| Failure::new(format_args!("the writers died: {error}")))??;
            let page = context.store().query(Query::of(context.collection()?), options).await?;
            for (documents, token) in lists {
                replays_to(&context, documents, token, &page.documents).await?;
            }
            Ok(())
        }
    ),
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
        "RES-05",
        Res,
        "A reader that dies and resumes from its last saved token repeats only what it had not saved.",
        "Tokens that depend on the stream which gave them.",
        [Watch],
        async |context| {
            let mut watcher = context.watch_all().await?;
            fill(&context, (0..40).map(|n| (format!("d{n}"), json!({"n": n})))).await?;
            let events = watcher.events(30).await?;
            drop(watcher);
            let mut resumed = resume(&context, &events[19]).await?;
            let again = resumed.events(20).await?;
            expect_equal(keys(&again[..10]), keys(&events[20..]), "what was not saved")?;
            expect_equal(again[19].document.id(), "d39", "the last event")?;
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
        "RES-09",
        Res,
        "A damaged token is malformed, another store's is foreign, and any filter takes it.",
        "Starting somewhere with a token that means something else, or a panic.",
        [Watch],
        async |context| {
            let mut watcher = context.watch_all().await?;
            fill(&context, (0..3).map(|n| (format!("d{n}"), json!({"n": n})))).await?;
            let token = watcher.event().await?.token;
            for damaged in damaged_tokens(&token)? {
                let token = ResumeToken::from_text(damaged);
                expect_refused(&context, token, ErrorKind::TokenMalformed).await?;
            }
            let other = context.other_store().await?.documents();
            let start = WatchStart::Token(token.clone());
            let watched = other.watch(None, start, Watcher::options()).await.map(|_| ());
            expect_kind(watched, ErrorKind::TokenForeign, "another store's token")?;

            let (start, collection) = (WatchStart::Token(token), context.collection()?);
            let mut filtered = context.watch(Some(&collection), start, Watcher::options()).await?;
            expect_equal(filtered.event().await?.document.id(), "d1", "with another filter")
        }
    ),
    case!(
        "RES-11",
        Res,
        "Two readers that resume from one token get the same.",
        "Tokens that are used up.",
        [Watch],
        async |context| {
            let mut watcher = context.watch_all().await?;
            write_from_many(&context, 5, 10).await?;
            let events = watcher.events(60).await?;
            let mut first = resume(&context, &events[9]).await?;
            let mut second = resume(&context, &events[9]).await?;
            let (first, second) = (first.events(50).await?, second.events(50).await?);
            expect_equal(keys(&first), keys(&events[10..]), "the first")?;
            expect_equal(keys(&second), keys(&events[10..]), "the second")
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
        "RES-13",
        Res,
        "A token is URL-safe text of bounded length and works after a way through text.",
        "Tokens that a URL, a header or a column changes.",
        [Watch],
        async |context| {
            let mut watcher = context.watch_all().await?;
            create(&context, &context.path("a")?, json!({"secret": "hunter2"})).await?;
            create(&context, &context.path("b")?, json!({})).await?;
            let text = watcher.event().await?.token.as_str().to_owned();
            let safe = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            expect(text.bytes().all(safe), format!("{text} is not URL-safe"))?;
            let longest = syntrix_storage_core::TOKEN_BYTES_MAX;
            expect(text.len() <= longest, format!("a token has {} bytes", text.len()))?;
            let token = ResumeToken::from_text(String::from_utf8_lossy(text.as_bytes()));
            let mut resumed = context.watch_from(WatchStart::Token(token)).await?;
            expect_equal(resumed.event().await?.document.id(), "b", "next document")
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
        "RES-17",
        Res,
        "A reader may ask for `before` when it resumes, whatever it asked for earlier.",
        "Before images that depend on who was watching when the write was made.",
        [Watch, Before],
        async |context| {
            let mut watcher = context.watch_all().await?;
            let path = context.unique_path()?;
            let created = create(&context, &path, json!({"n": 1})).await?;
            patch(&context, &path, Patch::new().set("n", 2)).await?;
            let events = watcher.events(2).await?;
            let start = WatchStart::Token(events[0].token.clone());
            let options = Watcher::options().with_before();
            let mut resumed = context.watch(None, start, options).await?;
            let before = resumed.event().await?.before;
            let before = before.ok_or_else(|| Failure::new("there is no before image"))?;
            expect_equal(before.metadata(), created.metadata(), "before")?;
            let start = WatchStart::Token(events[0].token.clone());
            let mut plain = context.watch_from(start).await?;
            expect(plain.event().await?.before.is_none(), "a before image nobody asked for")
        }
    ),
];

async fn resume(context: &Context, event: &Event) -> CaseResult<Watcher> {
    context.watch_from(WatchStart::Token(event.token.clone())).await
}

async fn expect_refused(
    context: &Context,
    token: ResumeToken,
    kind: ErrorKind,
) -> CaseResult<syntrix_storage_core::Error> {
    let what = format!("watch from {token}");
    let start = WatchStart::Token(token);
    let watched: Result<()> =
        context.store().watch(None, start, Watcher::options()).await.map(|_| ());
    expect_kind(watched, kind, what)
}

/// Three tasks patch the documents d0 to d9, each `writes` times.
async fn patch_each(context: &Context, writes: usize) -> CaseResult {
    super::steps::in_tasks(3, |writer| {
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

/// Applies the events behind `token` to `documents`: each version follows the one before, and the end is `expected`.
async fn replays_to(
    context: &Context,
    documents: Vec<Document>,
    token: ResumeToken,
    expected: &[Document],
) -> CaseResult {
    let by_id = |documents: &[Document]| -> BTreeMap<String, Document> {
        documents.iter().map(|document| (document.id().to_owned(), document.clone())).collect()
    };
    let (mut state, expected) = (by_id(&documents), by_id(expected));
    let mut watcher = context.watch_from(WatchStart::Token(token)).await?;
    while state.values().map(Document::metadata).ne(expected.values().map(Document::metadata)) {
        let document = watcher.event().await?.document;
        let known = state.insert(document.id().to_owned(), document.clone());
        let next = known.map(|known| known.version().next());
        expect_equal(Some(document.version()), next, format!("version of {}", document.id()))?;
    }
    watcher.no_event().await
}

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

/// The text cut at each place, with one bit of each byte flipped, and some that never were tokens.
fn damaged_tokens(token: &ResumeToken) -> CaseResult<Vec<String>> {
    let text = token.as_str();
    let bytes = BASE64_URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|error| Failure::new(format_args!("a token is not base64: {error}")))?;
    let mut damaged: Vec<_> = (0..text.len()).map(|end| text[..end].to_owned()).collect();
    for position in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[position] ^= 1 << (position % 8);
        damaged.push(BASE64_URL_SAFE_NO_PAD.encode(flipped));
    }
    damaged.extend(["!".into(), "é".into(), format!("{text}A"), "A".repeat(5000)]);
    Ok(damaged)
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
