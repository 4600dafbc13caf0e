//! The ledger: small records of the routes beside a backend's data, changed by compare-and-set alone.

use std::sync::Arc;

use syntrix_storage_core::ErrorKind;
use syntrix_storage_core::backend::{Ledger, LedgerKey, LedgerRecord};

use crate::case::case;
use crate::{Case, CaseResult, Context, expect, expect_equal, expect_kind};

pub(super) static CASES: &[Case] = &[
    case!(
        "LED-01",
        Led,
        "A record is written and removed by who knows its revision, and by nobody else.",
        "Two processes that both believe they hold a lease.",
        [],
        async |context| { compare_and_set(&*context.ledger()?).await }
    ),
    case!(
        "LED-02",
        Led,
        "Of writers that race for one revision, in one handle, exactly one wins.",
        "A compare and a set in two steps.",
        [],
        async |context| {
            let ledger = context.ledger()?;
            race(&ledger, &ledger, 8).await
        }
    ),
    case!(
        "LED-03",
        Led,
        "Of two handles that race for one revision, exactly one wins, round after round.",
        "A compare-and-set that holds within one process only.",
        [Shared],
        async |context| {
            let other = ledger_of_second_handle(&context).await?;
            race(&context.ledger()?, &other, 20).await
        }
    ),
    case!(
        "LED-04",
        Led,
        "What one handle wrote or removed, the next call of another one sees.",
        "Reads from a cache or from a server that lags behind.",
        [Shared],
        async |context| {
            let other = ledger_of_second_handle(&context).await?;
            seen_at_once(&*context.ledger()?, &*other).await
        }
    ),
    case!(
        "LED-05",
        Led,
        "Records are listed by prefix, in byte order of their keys, page by page.",
        "Prefixes that are taken for patterns, and orders of some language.",
        [],
        async |context| { pages(&*context.ledger()?).await }
    ),
    case!(
        "LED-06",
        Led,
        "A body of 64 KiB of any bytes is stored as it is, a larger one is refused.",
        "Bodies that are cut, or taken for text.",
        [],
        async |context| { bodies(&*context.ledger()?).await }
    ),
    case!(
        "LED-07",
        Led,
        "A key of 128 characters works, and is told from one that differs in the last.",
        "Keys that are cut or folded.",
        [],
        async |context| { long_keys(&*context.ledger()?).await }
    ),
    case!(
        "LED-08",
        Led,
        "Records and the store's id are there again after reopening.",
        "A checkpoint that is lost with the process, which begins all over.",
        [Durable],
        async |context| {
            let before = context.ledger()?;
            expect_equal(before.write(&key("case/kept")?, None, vec![1]).await?, Some(1), "first")?;
            let id = before.store_id();
            context.reopen().await?;
            let after = context.ledger()?;
            expect_equal(after.store_id(), id, "the store's id")?;
            let found = after.read(&key("case/kept")?).await?;
            expect_equal(found, Some(LedgerRecord { revision: 1, body: vec![1] }), "the record")
        }
    ),
    case!(
        "LED-09",
        Led,
        "Another store has another id, and none of this one's records.",
        "A shadow that is taken for its own primary.",
        [],
        async |context| {
            let ours = context.ledger()?;
            ours.write(&key("documents/lease")?, None, vec![1]).await?;
            let other = context.other_store().await?;
            let theirs = other.backend()?.ledger()?;
            expect(ours.store_id() != theirs.store_id(), "two stores have one id")?;
            expect_equal(theirs.read(&key("documents/lease")?).await?, None, "the other store")
        }
    ),
    case!(
        "LED-10",
        Led,
        "A ledger whose backend was closed refuses every call as closed.",
        "A process that goes on with a lease it can no longer renew.",
        [],
        async |context| {
            let (ledger, lease) = (context.ledger()?, key("documents/lease")?);
            context.handle().close().await?;
            expect_kind(ledger.read(&lease).await, ErrorKind::Closed, "read")?;
            expect_kind(ledger.write(&lease, None, Vec::new()).await, ErrorKind::Closed, "write")?;
            expect_kind(ledger.remove(&lease, 1).await, ErrorKind::Closed, "remove")?;
            expect_kind(ledger.list(&lease, None, 1).await, ErrorKind::Closed, "list")?;
            Ok(())
        }
    ),
];

fn key(text: &str) -> CaseResult<LedgerKey> {
    Ok(LedgerKey::parse(text)?)
}

async fn ledger_of_second_handle(context: &Context) -> CaseResult<Arc<dyn Ledger>> {
    context.ledger()?;
    Ok(context.second_handle().await?.backend()?.ledger()?)
}

async fn compare_and_set(ledger: &dyn Ledger) -> CaseResult {
    let lease = key("documents/lease")?;
    expect_equal(ledger.read(&lease).await?, None, "before the first write")?;
    expect_equal(ledger.write(&lease, Some(1), vec![0]).await?, None, "no such record")?;
    expect_equal(ledger.write(&lease, None, b"one".to_vec()).await?, Some(1), "the first write")?;
    expect_equal(ledger.write(&lease, None, vec![0]).await?, None, "there is one already")?;
    expect_equal(ledger.write(&lease, Some(2), vec![0]).await?, None, "not yet the second")?;
    expect_equal(ledger.write(&lease, Some(1), b"two".to_vec()).await?, Some(2), "the second")?;
    expect_equal(ledger.write(&lease, Some(1), vec![0]).await?, None, "no longer the first")?;
    let two = LedgerRecord { revision: 2, body: b"two".to_vec() };
    expect_equal(ledger.read(&lease).await?, Some(two), "what was refused left no trace")?;
    expect_equal(ledger.remove(&lease, 1).await?, false, "removal of an older revision")?;
    expect_equal(ledger.remove(&lease, 2).await?, true, "removal")?;
    expect_equal(ledger.remove(&lease, 2).await?, false, "removal of what is gone")?;
    expect_equal(ledger.read(&lease).await?, None, "after the removal")?;
    expect_equal(ledger.write(&lease, None, Vec::new()).await?, Some(1), "an empty body, anew")
}

async fn race(ours: &Arc<dyn Ledger>, theirs: &Arc<dyn Ledger>, rounds: u64) -> CaseResult {
    const RACERS: usize = 6;
    let name = key("documents/checkpoint")?;
    for round in 0..rounds {
        let expected = (round > 0).then_some(round);
        let racers = (0..RACERS).map(|racer| {
            let ledger = if racer % 2 == 0 { ours } else { theirs };
            let (ledger, name) = (Arc::clone(ledger), name.clone());
            tokio::spawn(async move { ledger.write(&name, expected, vec![racer as u8]).await })
        });
        let racers: Vec<_> = racers.collect();
        let mut winners = Vec::new();
        for (racer, task) in racers.into_iter().enumerate() {
            let outcome = task.await.map_err(|error| crate::Failure::new(error.to_string()))??;
            winners.extend(outcome.map(|revision| (revision, vec![racer as u8])));
        }
        expect_equal(winners.len(), 1, format_args!("winners of round {round}"))?;
        let found = ours.read(&name).await?.map(|record| (record.revision, record.body));
        expect_equal(found.as_ref(), winners.first(), "what the winner wrote")?;
        expect_equal(winners[0].0, round + 1, "the revision")?;
    }
    Ok(())
}

async fn seen_at_once(ours: &dyn Ledger, theirs: &dyn Ledger) -> CaseResult {
    let name = key("documents/fill")?;
    expect_equal(ours.store_id(), theirs.store_id(), "the store's id")?;
    for round in 1..=10 {
        let expected = (round > 1).then_some(round - 1);
        ours.write(&name, expected, vec![round as u8]).await?;
        let record = LedgerRecord { revision: round, body: vec![round as u8] };
        expect_equal(theirs.read(&name).await?, Some(record.clone()), "a read")?;
        expect_equal(theirs.list(&name, None, 2).await?, vec![(name.clone(), record)], "a list")?;
    }
    expect(theirs.remove(&name, 10).await?, "the other handle could not remove it")?;
    expect_equal(ours.read(&name).await?, None, "after the removal")
}

async fn pages(ledger: &dyn Ledger) -> CaseResult {
    let prefix = key("documents/dead/")?;
    let mut inside = Vec::new();
    for name in ["b", "a", "a.", "a-b", "a_b", "a/b", "10", "9", "z"] {
        inside.push(key(&format!("documents/dead/{name}"))?);
    }
    let outside = [
        "documents/dead",
        "documents/dead.",
        "documents/dead0",
        "documents_dead/a",
        "users/dead/a",
    ];
    for name in outside.into_iter().map(key).chain(inside.iter().cloned().map(Ok)) {
        let name = name?;
        let body = name.as_str().as_bytes().to_vec();
        expect_equal(ledger.write(&name, None, body).await?, Some(1), name.as_str())?;
    }
    inside.sort();
    for limit in [1, 2, 4, 100] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = ledger.list(&prefix, after.as_ref(), limit).await?;
            expect(page.len() <= limit, "a page is longer than its limit")?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (name, record) in page {
                expect_equal(record.body.as_slice(), name.as_str().as_bytes(), "the body")?;
                found.push(name);
            }
        }
        expect_equal(found, inside.clone(), format_args!("pages of {limit}"))?;
    }
    let none = ledger.list(&key("documents/nothing")?, None, 10).await?;
    expect(none.is_empty(), "a prefix of nothing finds something")
}

async fn bodies(ledger: &dyn Ledger) -> CaseResult {
    let name = key("documents/checkpoint")?;
    let longest: Vec<u8> = (0..64 * 1024).map(|at| (at % 251) as u8 ^ 0x80).collect();
    expect_equal(ledger.write(&name, None, longest.clone()).await?, Some(1), "the longest")?;
    let found = ledger.read(&name).await?.map(|record| record.body);
    expect(found.as_ref() == Some(&longest), "the longest body came back changed")?;
    let too_long = vec![0; 64 * 1024 + 1];
    let refused = ledger.write(&name, Some(1), too_long).await;
    expect_kind(refused, ErrorKind::InvalidArgument, "a longer one")?;
    for body in [&b""[..], b"\n", b"\0\0", b"1\n2\n", b"\xff\xfe", b"{\"format\":1}"] {
        let revision = ledger.read(&name).await?.map(|record| record.revision);
        ledger.write(&name, revision, body.to_vec()).await?;
        let found = ledger.read(&name).await?.map(|record| record.body);
        expect_equal(found.as_deref(), Some(body), "a body")?;
    }
    Ok(())
}

async fn long_keys(ledger: &dyn Ledger) -> CaseResult {
    let stem = "documents/".to_owned() + &"x".repeat(117);
    for (number, end) in ["a", "b"].into_iter().enumerate() {
        let name = key(&(stem.clone() + end))?;
        expect_equal(name.as_str().len(), 128, "the length of the key")?;
        expect_equal(ledger.write(&name, None, vec![number as u8]).await?, Some(1), "a long key")?;
    }
    let found = ledger.read(&key(&(stem.clone() + "a"))?).await?.map(|record| record.body);
    expect_equal(found, Some(vec![0]), "the first of both")?;
    expect_equal(ledger.list(&key(&stem)?, None, 10).await?.len(), 2, "both by their prefix")
}
