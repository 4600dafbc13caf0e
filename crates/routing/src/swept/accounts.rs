//! Accounts: account and login part are each judged by its own count, and names are unique on the shadow, too.
//!
//! A record may want a name that another account of the shadow still has, since it was brought before that one's change. Then
//! the other one is brought first, as the primary has it now. Where two or more exchanged their names, nobody can be first:
//! one gets a stand-in for a name, until it is brought itself.

use std::sync::Arc;

use async_trait::async_trait;
use syntrix_storage_core::backend::{
    Backend, CallContext, StoreKind, UserApplied, UserBackend, UserRecord, UserWrite,
};
use syntrix_storage_core::{Error, ErrorKind, Operation, Result, Retry, UserId};

use crate::swept::Swept;

const CALL: CallContext = CallContext::new(Operation::Migrate);
/// Each attempt that fails means that somebody else's write succeeded.
const ATTEMPTS_MAX: usize = 100;
/// Names that were passed on in a row; beyond, the next pass goes on.
const CLASHES_MAX: usize = 64;

/// Accounts.
#[derive(Debug)]
pub struct Accounts;

/// What became of a record that was to be stored.
#[derive(Debug)]
enum Brought {
    New,
    Known,
    /// This account has the name.
    NameTaken(UserId),
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

    async fn page(
        store: &dyn UserBackend,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<UserRecord>> {
        store.scan(after, limit, &CALL).await
    }

    async fn fetch(store: &dyn UserBackend, key: &UserId) -> Result<Option<UserRecord>> {
        Ok(store.get(key, &CALL).await?.value)
    }

    async fn bring(
        primary: &dyn UserBackend,
        shadow: &dyn UserBackend,
        record: UserRecord,
    ) -> Result<bool> {
        bring(primary, shadow, record).await
    }
}

async fn bring(
    primary: &dyn UserBackend,
    shadow: &dyn UserBackend,
    record: UserRecord,
) -> Result<bool> {
    let mut waiting = vec![record];
    let mut is_new = false;
    for _ in 0..CLASHES_MAX {
        let Some(record) = waiting.last() else { return Ok(is_new) };
        match apply(shadow, record).await? {
            Brought::New => {
                is_new = true;
                waiting.pop();
            }
            Brought::Known => _ = waiting.pop(),
            Brought::NameTaken(holder) => {
                make_room(primary, shadow, &holder, &mut waiting).await?;
            }
        }
    }
    Err(Error::new(ErrorKind::Unavailable, "replicate")
        .with_retry(Retry::Safe)
        .with_message("names change hands faster than they can be brought to the shadow"))
}

/// `holder` has the name on the shadow that the last of `waiting` wants.
async fn make_room(
    primary: &dyn UserBackend,
    shadow: &dyn UserBackend,
    holder: &UserId,
    waiting: &mut Vec<UserRecord>,
) -> Result<()> {
    let Some(wanted) = waiting.last().map(|record| record.key.clone()) else { return Ok(()) };
    let fresh = primary.get(holder, &CALL).await?.value.ok_or_else(unknown_holder)?;
    if fresh.user.deleted_at.is_none() && fresh.key == wanted {
        // It is the holder's by right, so our record is an old one.
        return refresh_last(primary, waiting).await;
    }
    let waits_for_us = waiting.iter().any(|record| record.user.id == *holder);
    if waits_for_us {
        return displace(shadow, holder).await;
    }
    waiting.push(fresh);
    Ok(())
}

async fn refresh_last(primary: &dyn UserBackend, waiting: &mut Vec<UserRecord>) -> Result<()> {
    let Some(old) = waiting.pop() else { return Ok(()) };
    let fresh = primary.get(&old.user.id, &CALL).await?.value;
    waiting.extend(fresh);
    Ok(())
}

/// Stores what [`UserRecord::merged`] says, under the condition that nothing was written meanwhile.
async fn apply(shadow: &dyn UserBackend, record: &UserRecord) -> Result<Brought> {
    for _ in 0..ATTEMPTS_MAX {
        let stored = shadow.get(&record.user.id, &CALL).await?.value;
        let Some(write) = write_for(record, stored.as_ref()) else { return Ok(Brought::Known) };
        match shadow.write(write, &CALL).await? {
            UserApplied::Yes => return Ok(Brought::New),
            UserApplied::IdTaken | UserApplied::Stale => {}
            UserApplied::NameTaken => {
                // Free again by now: try again.
                if let Some(holder) = shadow.get_by_name(&record.key, &CALL).await?.value {
                    return Ok(Brought::NameTaken(holder.user.id));
                }
            }
        }
    }
    Err(changed_too_often())
}

fn write_for(record: &UserRecord, stored: Option<&UserRecord>) -> Option<UserWrite> {
    let Some(stored) = stored else { return Some(UserWrite::Insert(Box::new(record.clone()))) };
    let expected = (stored.user.version, stored.login_sequence);
    let next = record.merged(stored)?;
    Some(UserWrite::Swap { expected, record: Box::new(next) })
}

/// Frees the name of an account of the shadow. Whoever brings it gives it the one it has by right.
async fn displace(shadow: &dyn UserBackend, id: &UserId) -> Result<()> {
    for _ in 0..ATTEMPTS_MAX {
        let Some(stored) = shadow.get(id, &CALL).await?.value else { return Ok(()) };
        if stored.is_displaced() || stored.user.deleted_at.is_some() {
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

fn unknown_holder() -> Error {
    Error::new(ErrorKind::AlreadyExists, "replicate")
        .with_message("an account of the shadow that the primary does not know has the name")
}
