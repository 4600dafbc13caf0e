//! What routes do with accounts and revoked tokens of a backend: whole records that are brought from another store.

use std::sync::Arc;

use syntrix_storage_core::backend::{
    CallContext, RevocationBackend, UserApplied, UserBackend, UserRecord, UserWrite,
    merge_revocation,
};
use syntrix_storage_core::{
    Operation, Result, Revocation, Secret, Timestamp, TokenId, User, UserId, UsernameKey, Version,
};

use crate::case::case;
use crate::{Case, CaseResult, Context, Failure, expect, expect_equal};

const CALL: CallContext = CallContext::new(Operation::Migrate);
/// Beyond the clock of any server that the suite runs on.
const FAR: i64 = 20_000_000_000_000;

pub(super) static CASES: &[Case] = &[
    case!(
        "USR-69",
        Usr,
        "A whole account is swapped where version and login sequence are the expected ones.",
        "A replicator that overwrites what was written a moment ago.",
        [],
        async |context| { swaps(&*users(&context).await?).await }
    ),
    case!(
        "USR-70",
        Usr,
        "A swap that wants a taken name changes nothing, and a displaced account frees its name.",
        "Two accounts of one name, and logins that are half written.",
        [],
        async |context| { taken_names(&*users(&context).await?).await }
    ),
    case!(
        "USR-71",
        Usr,
        "A scan hands out every account with hash and login part, tombstones too, by id.",
        "Accounts that no shadow ever gets, or gets without their password.",
        [],
        async |context| { scan_accounts(&*users(&context).await?).await }
    ),
    case!(
        "REV-50",
        Rev,
        "Records of another store are merged as the rule says, in random histories.",
        "A backend whose own notion of stricter is another one.",
        [],
        async |context| { merges(&*revocations(&context).await?).await }
    ),
    case!(
        "REV-51",
        Rev,
        "Records that are merged side by side come to the same as one after the other.",
        "Merges that overwrite each other.",
        [],
        async |context| { merges_side_by_side(revocations(&context).await?).await }
    ),
    case!(
        "REV-52",
        Rev,
        "A scan hands out every record by token, page by page.",
        "Revoked tokens that a shadow takes for good ones.",
        [],
        async |context| { scan_tokens(&*revocations(&context).await?).await }
    ),
    case!(
        "REV-53",
        Rev,
        "A scan has every record that was there when it began, once and in order, while others come.",
        "A listing that is moved on by new records, or made of what an earlier one found.",
        [],
        async |context| { scan_while_others_come(revocations(&context).await?).await }
    ),
];

/// A backend that takes no whole accounts takes no part in routes with a shadow.
async fn users(context: &Context) -> CaseResult<Arc<dyn UserBackend>> {
    let users = context.backend(|backend| backend.users())?;
    let probe = UserWrite::Swap {
        expected: (Version::FIRST, 0),
        record: Box::new(record("nobody", "nobody", 1, 0)?),
    };
    let applied = users.write(probe, &CALL).await.map_err(Failure::unless_unsupported)?;
    expect_equal(applied, UserApplied::Stale, "a swap of an account that is not there")?;
    Ok(users)
}

async fn revocations(context: &Context) -> CaseResult<Arc<dyn RevocationBackend>> {
    let revocations = context.backend(|backend| backend.revocations())?;
    let over = revocation("over", 1, 1, None)?;
    revocations.merge(over, &CALL).await.map_err(Failure::unless_unsupported)?;
    Ok(revocations)
}

fn record(id: &str, name: &str, version: i64, sequence: u64) -> Result<UserRecord> {
    let mut user = User::first(UserId::parse(id)?, name, Timestamp::from_milliseconds(1));
    user.version = Version::new(version);
    user.password_hash = Some(Secret::new(format!("$hash-{id}-{version}")));
    user.login.failed_attempts = sequence as u32;
    let key = UsernameKey::fold(name)?;
    Ok(UserRecord {
        user,
        key,
        key_rule_version: UsernameKey::RULE_VERSION,
        login_window: sequence,
        login_sequence: sequence,
    })
}

fn expect_record(found: Option<&UserRecord>, wanted: &UserRecord) -> CaseResult {
    let all = |record: &UserRecord| {
        let hash = record.user.password_hash.as_ref().map(|hash| hash.expose().to_owned());
        (format!("{record:?}"), hash)
    };
    expect_equal(found.map(all), Some(all(wanted)), "the account")
}

async fn swap(
    users: &dyn UserBackend,
    expected: (i64, u64),
    record: &UserRecord,
) -> CaseResult<UserApplied> {
    let expected = (Version::new(expected.0), expected.1);
    let write = UserWrite::Swap { expected, record: Box::new(record.clone()) };
    Ok(users.write(write, &CALL).await?)
}

async fn insert(users: &dyn UserBackend, record: &UserRecord) -> CaseResult {
    let applied = users.write(UserWrite::Insert(Box::new(record.clone())), &CALL).await?;
    expect_equal(applied, UserApplied::Yes, "an insert")
}

async fn swaps(users: &dyn UserBackend) -> CaseResult {
    let id = UserId::parse("u1")?;
    insert(users, &record("u1", "ada", 3, 5)?).await?;
    let next = record("u1", "ada.lovelace", 7, 9)?;
    for stale in [(2, 5), (3, 4), (7, 9)] {
        expect_equal(swap(users, stale, &next).await?, UserApplied::Stale, "a stale swap")?;
    }
    let before = users.get(&id, &CALL).await?.value;
    expect_record(before.as_ref(), &record("u1", "ada", 3, 5)?)?;
    expect_equal(swap(users, (3, 5), &next).await?, UserApplied::Yes, "the swap")?;
    expect_record(users.get(&id, &CALL).await?.value.as_ref(), &next)?;
    let by_name = users.get_by_name(&next.key, &CALL).await?.value;
    expect_record(by_name.as_ref(), &next)?;
    let old = users.get_by_name(&UsernameKey::fold("ada")?, &CALL).await?.value;
    expect(old.is_none(), "the old name still finds the account")?;
    let mut tombstone = record("u1", "ada.lovelace", 8, 9)?;
    tombstone.user.deleted_at = Some(Timestamp::from_milliseconds(5));
    expect_equal(swap(users, (7, 9), &tombstone).await?, UserApplied::Yes, "a tombstone")?;
    insert(users, &record("u2", "ada.lovelace", 1, 0)?).await
}

async fn taken_names(users: &dyn UserBackend) -> CaseResult {
    let (ada, bob) = (record("a", "ada", 1, 0)?, record("b", "bob", 1, 0)?);
    insert(users, &ada).await?;
    insert(users, &bob).await?;
    let (ada_next, bob_next) = (record("a", "bob", 2, 4)?, record("b", "ada", 2, 6)?);
    expect_equal(swap(users, (1, 0), &ada_next).await?, UserApplied::NameTaken, "a taken name")?;
    expect_record(users.get(&ada.user.id, &CALL).await?.value.as_ref(), &ada)?;
    let displaced = bob.displaced();
    expect_equal(swap(users, (1, 0), &displaced).await?, UserApplied::Yes, "a stand-in")?;
    expect_record(users.get(&bob.user.id, &CALL).await?.value.as_ref(), &displaced)?;
    expect_equal(swap(users, (1, 0), &ada_next).await?, UserApplied::Yes, "the freed name")?;
    expect_equal(swap(users, (1, 0), &bob_next).await?, UserApplied::Yes, "the other name")?;
    let names =
        [users.get_by_name(&bob.key, &CALL).await?, users.get_by_name(&ada.key, &CALL).await?];
    expect_record(names[0].value.as_ref(), &ada_next)?;
    expect_record(names[1].value.as_ref(), &bob_next)
}

async fn scan_accounts(users: &dyn UserBackend) -> CaseResult {
    let mut wanted = Vec::new();
    for number in 0..23 {
        let name = format!("name{}", 99 - number);
        let mut account = record(&format!("id{number:02}"), &name, number + 1, number as u64)?;
        if number % 5 == 0 {
            account.user.deleted_at = Some(Timestamp::from_milliseconds(7));
        }
        insert(users, &account).await?;
        wanted.push(account);
    }
    for limit in [1, 7, 100] {
        let (mut found, mut after): (Vec<UserRecord>, Option<UserId>) = (Vec::new(), None);
        loop {
            let page = users.scan(after.as_ref(), limit, &CALL).await?;
            expect(page.len() <= limit, "a page is longer than its limit")?;
            let Some(last) = page.last() else { break };
            after = Some(last.user.id.clone());
            found.extend(page);
        }
        expect_equal(found.len(), wanted.len(), format_args!("accounts in pages of {limit}"))?;
        for (found, wanted) in found.iter().zip(&wanted) {
            expect_record(Some(found), wanted)?;
        }
    }
    Ok(())
}

fn revocation(token: &str, revoked_at: i64, end: i64, text: Option<&str>) -> Result<Revocation> {
    Ok(Revocation {
        token: TokenId::parse(token)?,
        revoked_at: Timestamp::from_milliseconds(revoked_at),
        immediate: revoked_at % 2 == 0,
        expires_at: Timestamp::from_milliseconds(end - end % 10),
        keep_until: Timestamp::from_milliseconds(end),
        reason: text.map(str::to_owned),
        subject: text.map(|text| format!("subject {text}")),
        family: None,
        successor: text.map(TokenId::parse).transpose()?,
    })
}

fn random_revocation(random: &mut fastrand::Rng, token: &str) -> Result<Revocation> {
    let text = [None, Some("a"), Some("b"), Some("B"), Some("\u{fc}")][random.usize(..5)];
    revocation(token, FAR + random.i64(0..1000), FAR + random.i64(0..1000), text)
}

async fn merges(revocations: &dyn RevocationBackend) -> CaseResult {
    let mut random = fastrand::Rng::with_seed(50);
    for number in 0..20 {
        let mut model: Option<Revocation> = None;
        for _ in 0..random.usize(1..8) {
            let record = random_revocation(&mut random, &format!("token {number}"))?;
            let merged = revocations.merge(record.clone(), &CALL).await?;
            let (outcome, next) = merge_revocation(&record, model.as_ref(), merged.now);
            expect_equal(merged.value, outcome, "the outcome")?;
            model = next.or(model);
            let found = revocations.get(&record.token, &CALL).await?.value;
            expect_equal(found.as_deref(), model.as_ref(), "the record")?;
        }
    }
    Ok(())
}

async fn merges_side_by_side(revocations: Arc<dyn RevocationBackend>) -> CaseResult {
    let mut random = fastrand::Rng::with_seed(51);
    for number in 0..5 {
        let (mut model, mut tasks): (Option<Revocation>, Vec<_>) = (None, Vec::new());
        for _ in 0..12 {
            let record = random_revocation(&mut random, &format!("token {number}"))?;
            let next = merge_revocation(&record, model.as_ref(), Timestamp::default()).1;
            model = next.or(model);
            let revocations = Arc::clone(&revocations);
            tasks.push(tokio::spawn(async move { revocations.merge(record, &CALL).await }));
        }
        for task in tasks {
            task.await.map_err(|error| Failure::new(error.to_string()))??;
        }
        let token = TokenId::parse(&format!("token {number}"))?;
        expect_equal(
            revocations.get(&token, &CALL).await?.value.as_deref(),
            model.as_ref(),
            "what all came to",
        )?;
    }
    Ok(())
}

/// Records behind whichever place, page by page to the end.
async fn scan_all(
    revocations: &dyn RevocationBackend,
    limit: usize,
) -> CaseResult<Vec<Revocation>> {
    let (mut found, mut after): (Vec<Revocation>, Option<TokenId>) = (Vec::new(), None);
    loop {
        let page = revocations.scan(after.as_ref(), limit, &CALL).await?;
        expect(page.len() <= limit, "a page is longer than its limit")?;
        let Some(last) = page.last() else { return Ok(found) };
        after = Some(last.token.clone());
        found.extend(page);
    }
}

async fn scan_while_others_come(revocations: Arc<dyn RevocationBackend>) -> CaseResult {
    revocations.scan(None, 1, &CALL).await.map_err(Failure::unless_unsupported)?;
    for round in 0..8 {
        // Each round has one more that was there before it began.
        let stays = revocation(&format!("stays {round}"), FAR, FAR + 500, None)?;
        revocations.merge(stays, &CALL).await?;
        let others = Arc::clone(&revocations);
        let coming = tokio::spawn(async move {
            for number in 0..12 {
                let name = format!("{} {round}-{number}", ["a", "other", "z"][number % 3]);
                others.merge(revocation(&name, FAR, FAR + 500, None)?, &CALL).await?;
            }
            Ok::<(), Failure>(())
        });
        let found = scan_all(&*revocations, 3).await?;
        coming.await.map_err(|error| Failure::new(error.to_string()))??;
        let tokens: Vec<_> = found.iter().map(|record| record.token.as_str()).collect();
        expect(tokens.is_sorted_by(|left, right| left < right), "not in order, or not once each")?;
        let there = tokens.iter().filter(|token| token.starts_with("stays ")).count();
        expect_equal(there, round + 1, "records that were there when the scan began")?;
    }
    Ok(())
}

async fn scan_tokens(revocations: &dyn RevocationBackend) -> CaseResult {
    revocations.scan(None, 1, &CALL).await.map_err(Failure::unless_unsupported)?;
    let mut wanted = Vec::new();
    for number in [3, 1, 22, 10, 2, 9] {
        let record = revocation(&format!("t{number}"), FAR + number, FAR + 500, Some("x"))?;
        revocations.merge(record.clone(), &CALL).await?;
        wanted.push(record);
    }
    wanted.sort_by(|left, right| left.token.cmp(&right.token));
    for limit in [1, 4, 100] {
        let found = scan_all(revocations, limit).await?;
        expect_equal(&found, &wanted, format_args!("records in pages of {limit}"))?;
    }
    Ok(())
}
