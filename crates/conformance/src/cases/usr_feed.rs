//! The private feed of accounts: what was written behind a place, by whom and how ever.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use syntrix_storage_core::backend::{CallContext, UserApplied, UserBackend, UserRecord, UserWrite};
use syntrix_storage_core::{
    Operation, Position, Result, Timestamp, User, UserId, UsernameKey, Version,
};

use crate::case::case;
use crate::{Case, CaseResult, Context, Failure, expect, expect_equal};

const CALL: CallContext = CallContext::new(Operation::Migrate);
/// Much longer than a write of another handle needs to be heard of.
const PATIENCE: Duration = Duration::from_secs(10);
const WRITERS: usize = 6;
const WRITES: usize = 40;

pub(super) static CASES: &[Case] = &[
    case!(
        "USR-72",
        Usr,
        "Every kind of write puts its account into the feed, and a write that was refused does not.",
        "A shadow that never hears of logins, or of accounts that were brought whole.",
        [],
        async |context| { kinds(&*users(&context).await?).await }
    ),
    case!(
        "USR-73",
        Usr,
        "The feed is read in pages of any size, each account at its last write, to the end and from there on.",
        "A page that begins one account too late.",
        [],
        async |context| { pages(&*users(&context).await?).await }
    ),
    case!(
        "USR-74",
        Usr,
        "Of accounts that many write side by side, a reader of the feed loses none, and sees none go back.",
        "A number that is drawn before its transaction commits, behind one that a reader has passed.",
        [],
        async |context| {
            let users = users(&context).await?;
            side_by_side([Arc::clone(&users), users]).await
        }
    ),
    case!(
        "USR-75",
        Usr,
        "The feed has what other handles write, and who waits for it is woken.",
        "A feed of what one's own process wrote.",
        [Shared],
        async |context| {
            let (ours, other) = (users(&context).await?, context.second_handle().await?);
            let theirs = other.backend()?.users()?;
            woken(&*ours, Arc::clone(&theirs)).await?;
            side_by_side([ours, theirs]).await
        }
    ),
    case!(
        "USR-76",
        Usr,
        "A place goes on after the store was opened again.",
        "A replicator that begins all over with every restart.",
        [Durable],
        async |context| { reopened(&context).await }
    ),
];

async fn users(context: &Context) -> CaseResult<Arc<dyn UserBackend>> {
    let users = context.backend(|backend| backend.users())?;
    users.changes_end().await.map_err(Failure::unless_unsupported)?;
    Ok(users)
}

fn record(id: &str, version: i64, sequence: u64) -> Result<UserRecord> {
    let mut user = User::first(UserId::parse(id)?, id, Timestamp::from_milliseconds(1));
    user.version = Version::new(version);
    user.login.failed_attempts = sequence as u32;
    Ok(UserRecord {
        user,
        key: UsernameKey::fold(id)?,
        key_rule_version: UsernameKey::RULE_VERSION,
        login_window: sequence,
        login_sequence: sequence,
    })
}

fn replace(id: &str, expected: i64, to: i64) -> Result<UserWrite> {
    let record = Box::new(record(id, to, 0)?);
    Ok(UserWrite::Replace { expected: Version::new(expected), record })
}

fn login(id: &str, expected: u64) -> Result<UserWrite> {
    let state = record(id, 1, expected + 1)?.login_state();
    Ok(UserWrite::Login { id: UserId::parse(id)?, expected, state })
}

async fn write(users: &dyn UserBackend, write: UserWrite, wanted: UserApplied) -> CaseResult {
    expect_equal(users.write(write, &CALL).await?, wanted, "the write")
}

async fn insert(users: &dyn UserBackend, id: &str) -> CaseResult {
    write(users, UserWrite::Insert(Box::new(record(id, 1, 0)?)), UserApplied::Yes).await
}

/// Accounts behind `place` in the order of their last appearances, with both counts, and the place behind them.
async fn rest(
    users: &dyn UserBackend,
    mut place: Position,
    limit: usize,
) -> CaseResult<(Vec<(String, i64, u64)>, Position)> {
    let mut found: Vec<(String, i64, u64)> = Vec::new();
    loop {
        let page = users.changes_since(&place, limit).await?;
        expect(page.records.len() <= limit, "a page is longer than its limit")?;
        expect(!page.more || page.end != place, "a page with more behind it gets nowhere")?;
        for record in page.records {
            let id = record.user.id.as_str().to_owned();
            found.retain(|(known, ..)| *known != id);
            found.push((id, record.user.version.get(), record.login_sequence));
        }
        place = page.end;
        if !page.more {
            return Ok((found, place));
        }
    }
}

fn seen(id: &str, version: i64, sequence: u64) -> (String, i64, u64) {
    (id.to_owned(), version, sequence)
}

async fn kinds(users: &dyn UserBackend) -> CaseResult {
    let mut place = users.changes_end().await?;
    insert(users, "ada").await?;
    insert(users, "bob").await?;
    let (found, next) = rest(users, place, 100).await?;
    expect_equal(found, vec![seen("ada", 1, 0), seen("bob", 1, 0)], "after two inserts")?;
    place = next;

    let mut tombstone = record("ada", 5, 7)?;
    tombstone.user.deleted_at = Some(Timestamp::from_milliseconds(3));
    let swap =
        |record| UserWrite::Swap { expected: (Version::new(2), 1), record: Box::new(record) };
    let steps = [
        (replace("ada", 1, 2)?, seen("ada", 2, 0)),
        (login("ada", 0)?, seen("ada", 2, 1)),
        (swap(tombstone), seen("ada", 5, 7)),
    ];
    for (step, wanted) in steps {
        write(users, step, UserApplied::Yes).await?;
        let (found, next) = rest(users, place, 100).await?;
        expect_equal(found, vec![wanted], "after one write")?;
        place = next;
    }

    let mut taken = record("carl", 1, 0)?;
    taken.key = UsernameKey::fold("bob")?;
    write(users, UserWrite::Insert(Box::new(record("bob", 1, 0)?)), UserApplied::IdTaken).await?;
    write(users, UserWrite::Insert(Box::new(taken)), UserApplied::NameTaken).await?;
    write(users, replace("bob", 9, 10)?, UserApplied::Stale).await?;
    write(users, login("bob", 9)?, UserApplied::Stale).await?;
    let (found, place) = rest(users, place, 100).await?;
    expect_equal(found, Vec::new(), "after writes that were refused")?;
    let page = users.changes_since(&users.changes_end().await?, 100).await?;
    expect(page.records.is_empty() && !page.more, "there is something behind the end")?;
    users.wait_for_change(&place, Duration::from_millis(20)).await?;
    Ok(())
}

async fn pages(users: &dyn UserBackend) -> CaseResult {
    let place = users.changes_end().await?;
    let mut wanted = Vec::new();
    for number in 0..23 {
        insert(users, &format!("id{}", 99 - number)).await?;
    }
    for number in (0..23).filter(|number| number % 4 != 1) {
        wanted.push(seen(&format!("id{}", 99 - number), 1, 0));
    }
    for number in (0..23).filter(|number| number % 4 == 1).rev() {
        let id = format!("id{}", 99 - number);
        write(users, login(&id, 0)?, UserApplied::Yes).await?;
        wanted.push(seen(&id, 1, 1));
    }
    let mut end = place.clone();
    for limit in [1, 2, 7, 22, 23, 100] {
        let (found, behind) = rest(users, place.clone(), limit).await?;
        expect_equal(&found, &wanted, format_args!("accounts in pages of {limit}"))?;
        end = behind;
    }
    write(users, replace("id99", 1, 2)?, UserApplied::Yes).await?;
    for from in [end.clone(), end] {
        let (found, _) = rest(users, from, 1).await?;
        expect_equal(found, vec![seen("id99", 2, 0)], "what was written behind the end")?;
    }
    Ok(())
}

/// One who reads while others write through both handles.
async fn side_by_side(handles: [Arc<dyn UserBackend>; 2]) -> CaseResult {
    let place = handles[0].changes_end().await?;
    let writers = (0..WRITERS).map(|number| {
        let users = Arc::clone(&handles[number % 2]);
        tokio::spawn(async move { write_many(&*users, number).await })
    });
    let writers: Vec<_> = writers.collect();
    let mut reader = Reader { place, found: BTreeMap::new() };
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        reader.read(&*handles[0], 3).await?;
        handles[0].wait_for_change(&reader.place, Duration::from_millis(20)).await?;
    }
    for writer in writers {
        writer.await.map_err(|error| Failure::new(error.to_string()))??;
    }
    while reader.read(&*handles[0], 3).await? {}
    for (id, counts) in &reader.found {
        let stored = handles[1].get(id, &CALL).await?.value;
        let stored = stored.map(|record| (record.user.version.get(), record.login_sequence));
        expect_equal(
            stored,
            Some(*counts),
            format_args!("what the feed has of {id} and what is stored"),
        )?;
    }
    expect_equal(reader.found.len(), 2 * WRITERS, "accounts in the feed")?;
    let page = handles[0].changes_since(&reader.place, 3).await?;
    expect(page.records.is_empty(), "an account comes once more though nobody wrote it")
}

struct Reader {
    place: Position,
    found: BTreeMap<UserId, (i64, u64)>,
}

impl Reader {
    /// Whether there is more.
    async fn read(&mut self, users: &dyn UserBackend, limit: usize) -> CaseResult<bool> {
        let page = users.changes_since(&self.place, limit).await?;
        for record in page.records {
            let counts = (record.user.version.get(), record.login_sequence);
            let before = self.found.insert(record.user.id, counts).unwrap_or_default();
            expect(before.0 <= counts.0 && before.1 <= counts.1, "an account went back")?;
        }
        self.place = page.end;
        Ok(page.more)
    }
}

/// Writes an account of its own, and one that another one writes too.
async fn write_many(users: &dyn UserBackend, number: usize) -> CaseResult {
    let ids = [
        format!("own{number}"),
        format!("shared{number}"),
        format!("shared{}", (number + 1) % WRITERS),
    ];
    for id in &ids[..2] {
        insert(users, id).await?;
    }
    let mut random = fastrand::Rng::with_seed(number as u64);
    let mut done = 0;
    while done < WRITES {
        let id = &ids[random.usize(..ids.len())];
        let Some(found) = users.get(&UserId::parse(id)?, &CALL).await?.value else {
            // The neighbour has not made it yet.
            tokio::task::yield_now().await;
            continue;
        };
        let (version, sequence) = (found.user.version.get(), found.login_sequence);
        let next = match random.bool() {
            true => replace(id, version, version + 1)?,
            false => login(id, sequence)?,
        };
        // Of two who are at the same count one is too late.
        if users.write(next, &CALL).await? == UserApplied::Yes {
            done += 1;
        }
    }
    Ok(())
}

async fn woken(ours: &dyn UserBackend, theirs: Arc<dyn UserBackend>) -> CaseResult {
    let place = ours.changes_end().await?;
    let writing = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        insert(&*theirs, "late").await
    });
    let started = Instant::now();
    loop {
        ours.wait_for_change(&place, PATIENCE).await?;
        let page = ours.changes_since(&place, 10).await?;
        if page.records.iter().any(|record| record.user.id.as_str() == "late") {
            break;
        }
        expect(started.elapsed() < PATIENCE, "the wait was not ended by the write")?;
    }
    expect(started.elapsed() < PATIENCE, "the wait was not ended by the write")?;
    writing.await.map_err(|error| Failure::new(error.to_string()))?
}

async fn reopened(context: &Context) -> CaseResult {
    let before = users(context).await?;
    insert(&*before, "ada").await?;
    let place = before.changes_end().await?;
    insert(&*before, "bob").await?;
    context.reopen().await?;
    let after = users(context).await?;
    insert(&*after, "carl").await?;
    let (found, _) = rest(&*after, place, 100).await?;
    expect_equal(found, vec![seen("bob", 1, 0), seen("carl", 1, 0)], "behind the place")
}
