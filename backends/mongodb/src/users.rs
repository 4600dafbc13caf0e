//! The accounts of one database.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use mongodb::Collection;
use mongodb::bson::{Document, doc};
use syntrix_storage_core::backend::{
    CallContext, Canary, Dated, LoginState, UserApplied, UserBackend, UserChanges, UserRecord,
    UserWrite,
};
use syntrix_storage_core::{
    Capabilities, HealthReport, Position, Result, UserId, UserListPlan, UsernameKey, Version,
};

use crate::calls::Limit;
use crate::error::{from_driver, is_duplicate};
use crate::schema::WITNESS;
use crate::settings::USERS;
use crate::store::{Lease, Store};
use crate::{KIND, account, catalogue, maintenance, user_changes, witness};

/// One handle on the accounts.
#[derive(Debug)]
pub(crate) struct Users {
    lease: Lease,
    mark: Canary,
}

impl Users {
    pub(crate) fn new(lease: Lease, mark: Canary) -> Self {
        Self { lease, mark }
    }

    fn store(&self) -> Result<Arc<Store>> {
        self.lease.store().cloned()
    }

    fn limit(&self, context: &CallContext) -> Limit {
        Limit::new(context, self.lease.known().operation_timeout)
    }

    async fn find(
        &self,
        filter: Document,
        context: &CallContext,
    ) -> Result<Dated<Option<UserRecord>>> {
        let (store, limit) = (self.lease.store()?, self.limit(context));
        let accounts = accounts(store);
        let read = witness::read(&accounts, filter, context.consistency, limit);
        let read = limit.wait(read).await?;
        let value = read.records.first().map(account::decode).transpose()?;
        Ok(Dated { value, now: read.required_now(self.mark)? })
    }
}

pub(crate) fn accounts(store: &Store) -> Collection<Document> {
    store.database.collection(USERS)
}

#[async_trait]
impl UserBackend for Users {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn capabilities(&self) -> Capabilities {
        crate::identity_capabilities()
    }

    async fn get(&self, id: &UserId, context: &CallContext) -> Result<Dated<Option<UserRecord>>> {
        self.find(doc! { "_id": { "$eq": id.as_str() } }, context).await
    }

    async fn get_by_name(
        &self,
        key: &UsernameKey,
        context: &CallContext,
    ) -> Result<Dated<Option<UserRecord>>> {
        self.find(doc! { "usernameKey": { "$eq": key.as_str() }, "deleted": false }, context).await
    }

    async fn write(&self, write: UserWrite, context: &CallContext) -> Result<UserApplied> {
        let store = self.store()?;
        self.limit(context).run(async move { apply(&accounts(&store), write).await }).await
    }

    async fn list(&self, plan: &UserListPlan, context: &CallContext) -> Result<Vec<UserRecord>> {
        let (store, limit) = (self.lease.store()?, self.limit(context));
        limit.wait(list(&accounts(store), plan, limit)).await
    }

    async fn scan(
        &self,
        after: Option<&UserId>,
        limit: usize,
        context: &CallContext,
    ) -> Result<Vec<UserRecord>> {
        let (store, time) = (self.lease.store()?, self.limit(context));
        // Every account stands behind the record with the mark: no id has a control character.
        let behind = doc! { "_id": { "$gt": after.map_or(WITNESS, UserId::as_str) } };
        let records = accounts(store);
        let find = records.find(behind).sort(doc! { "_id": 1 }).limit(limit as i64);
        let find = find.max_time(time.left());
        let read = async { find.await?.try_collect::<Vec<Document>>().await };
        let found = time.wait(async { read.await.map_err(|error| from_driver(&error)) }).await?;
        found.iter().map(account::decode).collect()
    }

    async fn changes_since(&self, place: &Position, limit: usize) -> Result<UserChanges> {
        user_changes::since(self.lease.store()?, place, limit).await
    }

    async fn changes_end(&self) -> Result<Position> {
        self.lease.store()?.account_changes()?.end().await.map(|(place, _)| place)
    }

    async fn wait_for_change(&self, place: &Position, timeout: Duration) -> Result<()> {
        self.lease.store()?.account_changes()?.wait(place, timeout).await
    }

    async fn ensure_indexes(&self) -> Result<()> {
        catalogue::ensure_users(&self.lease.store()?.database).await
    }

    async fn health(&self) -> Result<HealthReport> {
        let store = self.lease.store()?;
        let limit = Limit::within(store.operation_timeout);
        limit.wait(maintenance::with_count(store, USERS, "users")).await
    }

    async fn close(&self) -> Result<()> {
        self.lease.release().await
    }
}

async fn apply(accounts: &Collection<Document>, write: UserWrite) -> Result<UserApplied> {
    match write {
        UserWrite::Insert(record) => insert(accounts, &record).await,
        UserWrite::Replace { expected, record } => replace(accounts, expected, &record).await,
        UserWrite::Swap { expected, record } => swap(accounts, expected, &record).await,
        UserWrite::Login { id, expected, state } => {
            set_login(accounts, &id, expected, &state).await
        }
    }
}

async fn insert(accounts: &Collection<Document>, record: &UserRecord) -> Result<UserApplied> {
    let id = record.user.id.as_str();
    let mut stored = doc! { "_id": id };
    stored.extend(account::account(record)?);
    stored.extend(account::login(&record.login_state()));
    match accounts.insert_one(stored).await {
        Ok(_) => Ok(UserApplied::Yes),
        Err(error) if is_duplicate(&error) => {
            // Ids are never removed, so what is not the id is the name.
            let known = accounts.find_one(doc! { "_id": { "$eq": id } }).await;
            let known = known.map_err(|error| from_driver(&error))?.is_some();
            Ok(if known { UserApplied::IdTaken } else { UserApplied::NameTaken })
        }
        Err(error) => Err(from_driver(&error)),
    }
}

/// Sets every field of the account and none of the login part, which its own writes change at the same time.
async fn replace(
    accounts: &Collection<Document>,
    expected: Version,
    record: &UserRecord,
) -> Result<UserApplied> {
    let filter = doc! {
        "_id": { "$eq": record.user.id.as_str() },
        "version": { "$eq": expected.get() },
    };
    set(accounts, filter, account::account(record)?).await
}

async fn swap(
    accounts: &Collection<Document>,
    expected: (Version, u64),
    record: &UserRecord,
) -> Result<UserApplied> {
    let filter = doc! {
        "_id": { "$eq": record.user.id.as_str() },
        "version": { "$eq": expected.0.get() },
        "loginSequence": { "$eq": expected.1 as i64 },
    };
    let mut fields = account::account(record)?;
    fields.extend(account::login(&record.login_state()));
    set(accounts, filter, fields).await
}

async fn set_login(
    accounts: &Collection<Document>,
    id: &UserId,
    expected: u64,
    state: &LoginState,
) -> Result<UserApplied> {
    let filter = doc! {
        "_id": { "$eq": id.as_str() },
        "loginSequence": { "$eq": expected as i64 },
    };
    set(accounts, filter, account::login(state)).await
}

async fn set(
    accounts: &Collection<Document>,
    filter: Document,
    fields: Document,
) -> Result<UserApplied> {
    match accounts.update_one(filter, doc! { "$set": fields }).await {
        Ok(updated) if updated.matched_count == 1 => Ok(UserApplied::Yes),
        Ok(_) => Ok(UserApplied::Stale),
        Err(error) if is_duplicate(&error) => Ok(UserApplied::NameTaken),
        Err(error) => Err(from_driver(&error)),
    }
}

async fn list(
    accounts: &Collection<Document>,
    plan: &UserListPlan,
    limit: Limit,
) -> Result<Vec<UserRecord>> {
    let failed = |error: mongodb::error::Error| from_driver(&error);
    let rows = plan.rows_max();
    let found = accounts
        .find(list_filter(plan))
        .sort(doc! { "_id": 1 })
        // A list never shows hashes, so they are not read.
        .projection(doc! { "passwordHash": 0 })
        .limit(rows as i64)
        .batch_size(rows as u32 + 1)
        .max_time(limit.left());
    let found: Vec<Document> = found.await.map_err(failed)?.try_collect().await.map_err(failed)?;
    found.iter().map(account::decode).collect()
}

fn list_filter(plan: &UserListPlan) -> Document {
    let mut filter = doc! { "deleted": false };
    if let Some(after) = plan.after() {
        filter.insert("_id", doc! { "$gt": after.as_str() });
    }
    if !plan.name_prefix().is_empty() {
        // A prefix is a range of names, no pattern.
        let range = doc! { "$gte": plan.name_prefix(), "$lt": behind(plan.name_prefix()) };
        filter.insert("usernameKey", range);
    }
    if let Some(role) = plan.role() {
        // Compared with whole elements.
        filter.insert("roles", doc! { "$eq": role });
    }
    if let Some(disabled) = plan.disabled() {
        filter.insert("disabled", doc! { "$eq": disabled });
    }
    filter
}

/// The first text behind all that begin with `prefix`, which is ASCII.
fn behind(prefix: &str) -> String {
    let mut characters = prefix.chars();
    let last = characters.next_back().and_then(|last| char::from_u32(last as u32 + 1));
    characters.chain(last).collect()
}
