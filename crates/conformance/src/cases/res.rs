//! Resuming a watch.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::json;
use syntrix_storage_core::{
    Document, ErrorKind, Event, Patch, Query, QueryOptions, Result, ResumeToken, WatchStart,
};

use super::steps::{create, fill, patch};
use super::wat_order::{keys, write_from_many};
use crate::case::case;
use crate::{Case, CaseResult, Context, Failure, Watcher, expect, expect_equal, expect_kind};

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
            let other = context.other_store().await?.documents()?;
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

pub(super) async fn resume(context: &Context, event: &Event) -> CaseResult<Watcher> {
    context.watch_from(WatchStart::Token(event.token.clone())).await
}

pub(super) async fn expect_refused(
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
