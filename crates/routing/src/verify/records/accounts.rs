//! Accounts: the account and its login part are judged each by its own count, then by what they hold.

use std::cmp::Ordering;

use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Map, Value, json};
use syntrix_storage_core::backend::{UserApplied, UserBackend, UserRecord, UserWrite};
use syntrix_storage_core::{
    Error, ErrorKind, LoginStats, Result, Secret, Timestamp, User, UserId, Version,
};

use super::{CALL, Compared, FieldDifference, Judgement, PAGE, RecordKey};
use crate::replicator::apply::strong;
use crate::swept::accounts::Accounts;
use crate::verify::entry::first_in_maps;
use crate::verify::{Depth, Repaired, Verdict};

/// Accounts asked for at once.
const SIDE_BY_SIDE: usize = 16;
/// An account that changes on the shadow that often is brought by the route anyway.
const ATTEMPTS_MAX: usize = 5;
/// Accounts whose name was another's, in a row.
const HOLDERS_MAX: usize = 64;
/// Below every version that was ever given out, so whatever the primary has is newer than what repair removed.
const REMOVED: Version = Version::new(0);

#[async_trait]
impl Compared for Accounts {
    fn record_key(key: &UserId) -> RecordKey {
        RecordKey::User(key.clone())
    }

    fn key_of(record: &RecordKey) -> Option<&UserId> {
        match record {
            RecordKey::User(id) => Some(id),
            RecordKey::Token(_) => None,
        }
    }

    /// Both sides are in the order of their ids, so a page of one lies beside a page or two of the other.
    async fn beside(
        store: &dyn UserBackend,
        after: Option<&UserId>,
        keys: &[UserId],
    ) -> Result<Vec<Option<UserRecord>>> {
        let mut found = Vec::with_capacity(keys.len());
        let (mut page, mut after) = (Vec::new().into_iter().peekable(), after.cloned());
        let mut is_last = false;
        for key in keys {
            loop {
                let stands = match page.peek() {
                    Some(record) => id_of(record).cmp(key),
                    None if is_last => Ordering::Greater,
                    None => {
                        let next = store.scan(after.as_ref(), PAGE, &CALL).await?;
                        is_last = next.is_empty();
                        after = next.last().map(|last| id_of(last).clone()).or(after);
                        page = next.into_iter().peekable();
                        continue;
                    }
                };
                match stands {
                    Ordering::Less => _ = page.next(),
                    Ordering::Equal => found.push(page.next()),
                    Ordering::Greater => found.push(None),
                }
                if stands.is_ge() {
                    break;
                }
            }
        }
        Ok(found)
    }

    async fn fetch_many(
        store: &dyn UserBackend,
        keys: &[UserId],
    ) -> Result<Vec<Option<UserRecord>>> {
        let keys = keys.iter().cloned();
        let asked = keys.map(|id| async move { Ok(store.get(&id, &CALL).await?.value) });
        stream::iter(asked).buffered(SIDE_BY_SIDE).try_collect().await
    }

    async fn horizon(_: &dyn UserBackend, _: &dyn UserBackend) -> Result<Timestamp> {
        Ok(Timestamp::default())
    }

    fn judge(
        primary: Option<&UserRecord>,
        shadow: Option<&UserRecord>,
        depth: Depth,
        _: Timestamp,
    ) -> Judgement {
        match (primary, shadow) {
            (None, None) => Judgement::Equal,
            (None, Some(shadow)) if is_removed(shadow) => Judgement::Equal,
            (None, Some(_)) => Judgement::Differs(Verdict::Extra),
            (Some(_), None) => Judgement::Differs(Verdict::Missing),
            (Some(primary), Some(shadow)) => compare(primary, shadow, depth),
        }
    }

    fn difference(primary: &UserRecord, shadow: &UserRecord) -> Option<FieldDifference> {
        if hash(primary) != hash(shadow) {
            return Some(FieldDifference::of("passwordHash"));
        }
        let mut difference = first_in_maps("", &fields(primary), &fields(shadow))?;
        for value in [&mut difference.primary_value, &mut difference.shadow_value] {
            // A field that is not there is told as one without a value.
            value.get_or_insert_default();
        }
        Some(difference)
    }

    async fn repair(
        primary: &dyn UserBackend,
        shadow: &dyn UserBackend,
        key: &UserId,
        execute: bool,
    ) -> Result<Repaired> {
        let mut waiting = vec![key.clone()];
        let mut first = None;
        for _ in 0..HOLDERS_MAX {
            let Some(id) = waiting.pop() else { break };
            let (repaired, holders) = repair_one(primary, shadow, &id, execute).await?;
            first.get_or_insert(repaired);
            waiting.extend(holders);
        }
        match waiting.last() {
            None => Ok(first.unwrap_or(Repaired::Equal)),
            Some(id) => Err(Error::new(ErrorKind::Conflict, "repair")
                .with_message(
                    "names pass through too many accounts; the rest still differ, repair again",
                )
                .with_fact("id", id.as_str())
                .with_fact("accounts", HOLDERS_MAX)),
        }
    }
}

fn id_of(record: &UserRecord) -> &UserId {
    &record.user.id
}

fn compare(primary: &UserRecord, shadow: &UserRecord, depth: Depth) -> Judgement {
    let account = primary.user.version.cmp(&shadow.user.version);
    let login = primary.login_sequence.cmp(&shadow.login_sequence);
    if account.is_lt() || login.is_lt() {
        return Judgement::Differs(Verdict::Extra);
    }
    if account.is_gt() || login.is_gt() {
        return Judgement::Differs(Verdict::Stale);
    }
    let differs = match depth {
        Depth::Quick => outline(primary) != outline(shadow),
        Depth::Deep => Accounts::difference(primary, shadow).is_some(),
    };
    if differs { Judgement::Differs(Verdict::Different) } else { Judgement::Equal }
}

fn outline(record: &UserRecord) -> (&str, Timestamp, Option<Timestamp>) {
    (record.key.as_str(), record.user.created_at, record.user.deleted_at)
}

fn hash(record: &UserRecord) -> Option<&str> {
    record.user.password_hash.as_ref().map(Secret::expose)
}

/// Everything but the hash.
fn fields(record: &UserRecord) -> Map<String, Value> {
    let UserRecord { user, key, key_rule_version, login_window, .. } = record;
    let fields = json!({
        "createdAt": at(Some(user.created_at)),
        "dbAdmin": user.db_admin,
        "deletedAt": at(user.deleted_at),
        "disabled": user.disabled,
        "disabledAt": at(user.disabled_at),
        "disabledReason": user.disabled_reason,
        "login": login_fields(&user.login),
        "loginWindow": login_window,
        "passwordAlgorithm": user.password_algorithm,
        "passwordChangedAt": at(user.password_changed_at),
        "profile": user.profile,
        "roles": user.roles,
        "tokenEpoch": user.token_epoch,
        "tokensValidAfter": at(user.tokens_valid_after),
        "updatedAt": at(Some(user.updated_at)),
        "username": user.username,
        "usernameKey": key.as_str(),
        "usernameRule": key_rule_version,
    });
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn login_fields(login: &LoginStats) -> Value {
    json!({
        "failedAttempts": login.failed_attempts,
        "lastFailedAt": at(login.last_failed_at),
        "lastLoginAt": at(login.last_login_at),
        "lockoutCount": login.lockout_count,
        "lockoutUntil": at(login.lockout_until),
    })
}

fn at(time: Option<Timestamp>) -> Option<i64> {
    time.map(Timestamp::as_milliseconds)
}

/// One account, and those whose name it took on the shadow.
async fn repair_one(
    primary: &dyn UserBackend,
    shadow: &dyn UserBackend,
    id: &UserId,
    execute: bool,
) -> Result<(Repaired, Vec<UserId>)> {
    let mut holders = Vec::new();
    for _ in 0..ATTEMPTS_MAX {
        // The shadow first: what the primary has behind that is at least as new, so the shadow never goes back.
        let stored = shadow.get(id, &CALL).await?.value;
        let wanted = primary.get(id, &strong()).await?.value;
        let Some((repaired, write)) = step(wanted.as_ref(), stored) else {
            return Ok((Repaired::Equal, holders));
        };
        if !execute {
            return Ok((repaired, holders));
        }
        match shadow.write(write, &CALL).await? {
            UserApplied::Yes => return Ok((repaired, holders)),
            UserApplied::IdTaken | UserApplied::Stale => {}
            UserApplied::NameTaken => holders.extend(free_name(shadow, wanted.as_ref()).await?),
        }
    }
    Err(Error::new(ErrorKind::Conflict, "repair")
        .with_message("the shadow's account changed each time; verify again")
        .with_fact("id", id.as_str())
        .with_fact("attempts", ATTEMPTS_MAX))
}

/// What makes the shadow equal to the primary; `None` if it is.
fn step(primary: Option<&UserRecord>, shadow: Option<UserRecord>) -> Option<(Repaired, UserWrite)> {
    if Accounts::judge(primary, shadow.as_ref(), Depth::Deep, Timestamp::default())
        == Judgement::Equal
    {
        return None;
    }
    let record = |record: &UserRecord| Box::new(record.clone());
    match (primary, shadow) {
        (None, None) => None,
        (Some(primary), None) => Some((Repaired::Inserted, UserWrite::Insert(record(primary)))),
        (Some(primary), Some(shadow)) => {
            let expected = (shadow.user.version, shadow.login_sequence);
            Some((Repaired::Replaced, UserWrite::Swap { expected, record: record(primary) }))
        }
        (None, Some(shadow)) => {
            let expected = (shadow.user.version, shadow.login_sequence);
            let record = Box::new(removed(&shadow));
            Some((Repaired::Removed, UserWrite::Swap { expected, record }))
        }
    }
}

/// Nothing is left but the id, which nobody can log in with and which whatever the primary gives it to replaces.
fn removed(record: &UserRecord) -> UserRecord {
    let mut user =
        User::first(record.user.id.clone(), record.user.id.as_str(), Timestamp::default());
    user.version = REMOVED;
    user.deleted_at = Some(Timestamp::default());
    UserRecord { user, login_window: 0, login_sequence: 0, ..record.displaced() }
}

fn is_removed(record: &UserRecord) -> bool {
    record.user.version == REMOVED && record.user.deleted_at.is_some()
}

/// Gives the account of the shadow that has the name a stand-in for it, and says whose that was.
async fn free_name(
    shadow: &dyn UserBackend,
    wanted: Option<&UserRecord>,
) -> Result<Option<UserId>> {
    let Some(wanted) = wanted else { return Ok(None) };
    let Some(holder) = shadow.get_by_name(&wanted.key, &CALL).await?.value else { return Ok(None) };
    let expected = (holder.user.version, holder.login_sequence);
    let write = UserWrite::Swap { expected, record: Box::new(holder.displaced()) };
    // If it changed meanwhile, the next attempt finds who has the name then.
    shadow.write(write, &CALL).await?;
    Ok(Some(holder.user.id))
}

#[cfg(test)]
mod tests {
    use syntrix_storage_core::backend::OpenContext;
    use syntrix_storage_core::{Location, SettingsNode, SettingsValue, UsernameKey};

    use super::*;

    /// Each account has the name that the next one had before.
    fn record(number: usize, version: i64) -> UserRecord {
        let id = UserId::parse(&format!("u{number}")).unwrap();
        let name = format!("name{}", number as i64 + version);
        let mut user = User::first(id, name.as_str(), Timestamp::default());
        user.version = Version::new(version);
        let (key, key_rule_version) =
            (UsernameKey::fold(&name).unwrap(), UsernameKey::RULE_VERSION);
        UserRecord { user, key, key_rule_version, login_window: 0, login_sequence: 0 }
    }

    async fn side(version: i64) -> std::sync::Arc<dyn UserBackend> {
        let settings = SettingsNode::new(SettingsValue::Map(Vec::new()), Location::default());
        let provider = syntrix_storage_memory::factory().configure(&settings).unwrap();
        let users = provider.open(&OpenContext::new(".")).await.unwrap().users().unwrap();
        for number in 0..=HOLDERS_MAX {
            let write = UserWrite::Insert(Box::new(record(number, version)));
            assert_eq!(users.write(write, &CALL).await.unwrap(), UserApplied::Yes);
        }
        users
    }

    #[tokio::test]
    async fn a_repair_that_leaves_an_account_without_its_name_says_so() {
        let (primary, shadow) = (side(2).await, side(1).await);
        let repair = async |number: usize| {
            let key = UserId::parse(&format!("u{number}")).unwrap();
            Accounts::repair(&*primary, &*shadow, &key, true).await
        };
        assert_eq!(repair(0).await.unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(repair(HOLDERS_MAX).await.unwrap(), Repaired::Replaced);
        for number in 0..=HOLDERS_MAX {
            assert_eq!(repair(number).await.unwrap(), Repaired::Equal, "{number}");
        }
    }
}
