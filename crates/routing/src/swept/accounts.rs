//! Accounts: account and login part are each judged by its own count, and names are unique on the shadow, too.
//!
//! A record may want a name that another account of the shadow still has, since it was brought before that one's change. Then
//! the other one is brought first, as the primary has it now. Where two or more exchanged their names, nobody can be first:
//! one gets a stand-in for a name, until it is brought itself.
//!
//! Where the shadow is ahead, the primary is asked again, **after** the shadow: what the shadow has was on the primary before. If
//! the primary has less even so, it went back, and is right.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use syntrix_storage_core::backend::{
    Backend, CallContext, StoreKind, UserApplied, UserBackend, UserRecord, UserWrite,
};
use syntrix_storage_core::{
    Error, ErrorKind, Operation, Position, Result, Retry, Timestamp, UserId, UsernameKey, Version,
};

use crate::content::{same_account, same_login};
use crate::replicator::apply::strong;
use crate::swept::{Brought, LetterNames, Swept, WriteFeed, Written};

const CALL: CallContext = CallContext::new(Operation::Migrate);
/// Each attempt that fails means that somebody else's write succeeded.
const ATTEMPTS_MAX: usize = 100;
/// Names that were passed on in a row; beyond, it is tried again later.
const CLASHES_MAX: usize = 64;

/// Accounts.
#[derive(Debug)]
pub struct Accounts;

/// What became of a record that was to be stored.
#[derive(Debug)]
enum Step {
    Done(Brought),
    /// This account has the name that was wanted.
    NameTaken(UserId, UsernameKey),
}

#[async_trait]
impl Swept for Accounts {
    type Store = dyn UserBackend;
    type Key = UserId;
    type Record = UserRecord;
    const STORE: StoreKind = StoreKind::Users;
    const LEASE: &'static str = "users/lease";
    const PASSES: &'static str = "users/checkpoint";
    const ASKED: &'static str = "users/asked";
    const MARKS: &'static str = "users/mark/";
    const LETTERS: Option<LetterNames<UserId>> =
        Some(LetterNames { prefix: "users/dead/", shown: UserId::as_str, parse: UserId::parse });

    fn take(backend: &dyn Backend) -> Result<Arc<dyn UserBackend>> {
        backend.users()
    }

    async fn ensure(store: &dyn UserBackend) -> Result<()> {
        store.ensure_indexes().await
    }

    async fn close(store: &dyn UserBackend) -> Result<()> {
        store.close().await
    }

    fn key(record: &UserRecord) -> UserId {
        record.user.id.clone()
    }

    fn version(record: &UserRecord) -> Option<i64> {
        Some(record.user.version.get())
    }

    async fn page(
        store: &dyn UserBackend,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<UserRecord>> {
        store.scan(after, limit, &CALL).await
    }

    async fn fetch(store: &dyn UserBackend, key: &UserId) -> Result<Option<UserRecord>> {
        on_primary(store, key).await
    }

    fn feed(store: &Arc<dyn UserBackend>) -> Option<Box<dyn WriteFeed<UserRecord>>> {
        Some(Box::new(AccountFeed(Arc::clone(store))))
    }

    async fn bring(
        primary: &dyn UserBackend,
        shadow: &dyn UserBackend,
        record: UserRecord,
    ) -> Result<Brought> {
        bring(primary, shadow, record).await
    }
}

#[derive(Debug)]
struct AccountFeed(Arc<dyn UserBackend>);

#[async_trait]
impl WriteFeed<UserRecord> for AccountFeed {
    async fn end(&self) -> Result<Option<Position>> {
        match self.0.changes_end().await {
            Err(error) if error.kind() == ErrorKind::Unsupported => Ok(None),
            end => end.map(Some),
        }
    }

    async fn since(&self, place: &Position, limit: usize) -> Result<Written<UserRecord>> {
        let changes = self.0.changes_since(place, limit).await?;
        Ok(Written { records: changes.records, end: changes.end, more: changes.more })
    }

    async fn wait(&self, place: &Position, limit: Duration) -> Result<()> {
        self.0.wait_for_change(place, limit).await
    }

    fn written_at(&self, record: &UserRecord) -> Timestamp {
        record.written_at()
    }
}

async fn bring(
    primary: &dyn UserBackend,
    shadow: &dyn UserBackend,
    record: UserRecord,
) -> Result<Brought> {
    let (mut waiting, mut outcome) = (vec![record], Brought::Known);
    for _ in 0..CLASHES_MAX {
        let Some(record) = waiting.last() else { return Ok(outcome) };
        match apply(primary, shadow, record).await? {
            Step::Done(brought) => {
                // The record that was asked for comes last.
                outcome = if outcome == Brought::Replaced { outcome } else { brought };
                waiting.pop();
            }
            Step::NameTaken(holder, wanted) => {
                make_room(primary, shadow, &holder, &wanted, &mut waiting).await?;
            }
        }
    }
    Err(Error::new(ErrorKind::Conflict, "replicate")
        .with_retry(Retry::Safe)
        .with_message("names change hands faster than they can be brought to the shadow"))
}

/// `holder` has the name on the shadow that the last of `waiting` wants.
async fn make_room(
    primary: &dyn UserBackend,
    shadow: &dyn UserBackend,
    holder: &UserId,
    wanted: &UsernameKey,
    waiting: &mut Vec<UserRecord>,
) -> Result<()> {
    let fresh = on_primary(primary, holder).await?;
    let fresh = fresh.ok_or_else(|| unknown_holder(holder))?;
    if fresh.user.deleted_at.is_none() && fresh.key == *wanted {
        // It is the holder's by right, so our record is an old one.
        return refresh_last(primary, waiting).await;
    }
    let waits_for_us = waiting.iter().any(|record| record.user.id == *holder);
    if waits_for_us {
        return displace(shadow, holder, wanted).await;
    }
    waiting.push(fresh);
    Ok(())
}

async fn refresh_last(primary: &dyn UserBackend, waiting: &mut Vec<UserRecord>) -> Result<()> {
    let Some(old) = waiting.pop() else { return Ok(()) };
    waiting.extend(on_primary(primary, &old.user.id).await?);
    Ok(())
}

/// The account as it is by now.
async fn on_primary(primary: &dyn UserBackend, id: &UserId) -> Result<Option<UserRecord>> {
    Ok(primary.get(id, &strong()).await?.value)
}

/// Stores what follows, under the condition that nothing was written meanwhile.
async fn apply(
    primary: &dyn UserBackend,
    shadow: &dyn UserBackend,
    record: &UserRecord,
) -> Result<Step> {
    for _ in 0..ATTEMPTS_MAX {
        let stored = shadow.get(&record.user.id, &CALL).await?.value;
        let Some((next, brought)) = successor(primary, record, stored.as_ref()).await? else {
            return Ok(Step::Done(Brought::Known));
        };
        let wanted = next.key.clone();
        match shadow.write(write_for(next, stored.as_ref()), &CALL).await? {
            UserApplied::Yes => return Ok(Step::Done(brought)),
            UserApplied::IdTaken | UserApplied::Stale => {}
            UserApplied::NameTaken => {
                // Free again by now: try again.
                if let Some(holder) = shadow.get_by_name(&wanted, &CALL).await?.value {
                    return Ok(Step::NameTaken(holder.user.id, wanted));
                }
            }
        }
    }
    Err(changed_too_often())
}

fn write_for(next: UserRecord, stored: Option<&UserRecord>) -> UserWrite {
    let record = Box::new(next);
    match stored {
        None => UserWrite::Insert(record),
        Some(stored) => UserWrite::Swap { expected: counts(stored), record },
    }
}

fn counts(record: &UserRecord) -> (Version, u64) {
    (record.user.version, record.login_sequence)
}

/// What is to follow the `stored` account where `record` meets it; `None` if that is as it should be.
async fn successor(
    primary: &dyn UserBackend,
    record: &UserRecord,
    stored: Option<&UserRecord>,
) -> Result<Option<(UserRecord, Brought)>> {
    let Some(stored) = stored else { return Ok(Some((record.clone(), Brought::New))) };
    if !is_beyond(stored, record) {
        return Ok(record.merged(stored).map(|next| (next, Brought::New)));
    }
    let Some(right) = on_primary(primary, &record.user.id).await? else { return Ok(None) };
    if is_beyond(stored, &right) {
        tracing::warn!(
            id = %right.user.id, shadow_version = %stored.user.version, primary_version = %right.user.version,
            "lineage: the shadow's account is of another history; the primary's replaces it"
        );
        return Ok(Some((right, Brought::Replaced)));
    }
    Ok(right.merged(stored).map(|next| (next, Brought::New)))
}

/// Whether `stored` has what `record` lacks: more changes or logins, or other ones of the same number.
fn is_beyond(stored: &UserRecord, record: &UserRecord) -> bool {
    let (there, ours) = (counts(stored), counts(record));
    let is_ahead = there.0 > ours.0 || there.1 > ours.1;
    let is_other_account =
        there.0 == ours.0 && !stored.is_displaced() && !same_account(stored, record);
    is_ahead || is_other_account || (there.1 == ours.1 && !same_login(stored, record))
}

/// Frees `wanted`, the name of an account of the shadow. Whoever brings it gives it the one it has by right; if somebody did
/// meanwhile, nothing is done: nobody would bring it again.
async fn displace(shadow: &dyn UserBackend, id: &UserId, wanted: &UsernameKey) -> Result<()> {
    for _ in 0..ATTEMPTS_MAX {
        let Some(stored) = shadow.get(id, &CALL).await?.value else { return Ok(()) };
        if stored.key != *wanted || stored.user.deleted_at.is_some() {
            return Ok(());
        }
        let expected = (stored.user.version, stored.login_sequence);
        let write = UserWrite::Swap { expected, record: Box::new(stored.displaced()) };
        if shadow.write(write, &CALL).await? == UserApplied::Yes {
            return Ok(());
        }
    }
    Err(changed_too_often())
}

fn changed_too_often() -> Error {
    Error::new(ErrorKind::Conflict, "replicate")
        .with_retry(Retry::Safe)
        .with_message("the account changed under every attempt")
}

fn unknown_holder(holder: &UserId) -> Error {
    let message =
        format!("account {holder} of the shadow, which the primary does not know, has the name");
    Error::new(ErrorKind::AlreadyExists, "replicate").with_message(message)
}

#[cfg(test)]
mod tests {
    use syntrix_storage_core::backend::OpenContext;
    use syntrix_storage_core::{Location, SettingsNode, SettingsValue, User};

    use super::*;

    fn record(name: &str) -> UserRecord {
        let user = User::first(UserId::parse("u").unwrap(), name, Timestamp::default());
        let (key, key_rule_version) = (UsernameKey::fold(name).unwrap(), UsernameKey::RULE_VERSION);
        UserRecord { user, key, key_rule_version, login_window: 0, login_sequence: 0 }
    }

    /// Whoever brought the account meanwhile does not bring it again, so a stand-in would stay.
    #[tokio::test]
    async fn an_account_that_has_another_name_by_now_keeps_it() {
        let id = UserId::parse("u").unwrap();
        let wanted = UsernameKey::fold("wanted").unwrap();
        for (name, is_displaced) in [("other", false), ("wanted", true)] {
            let settings = SettingsNode::new(SettingsValue::Map(Vec::new()), Location::default());
            let provider = syntrix_storage_memory::factory().configure(&settings).unwrap();
            let shadow = provider.open(&OpenContext::new(".")).await.unwrap().users().unwrap();
            shadow.write(UserWrite::Insert(Box::new(record(name))), &CALL).await.unwrap();
            displace(&*shadow, &id, &wanted).await.unwrap();
            let stored = shadow.get(&id, &CALL).await.unwrap().value.unwrap();
            assert_eq!(stored.is_displaced(), is_displaced, "{name}");
        }
    }
}
