//! The accounts of one file.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, params};
use syntrix_storage_core::backend::{
    CallContext, Dated, UserApplied, UserBackend, UserChanges, UserRecord, UserWrite,
};
use syntrix_storage_core::{
    Capabilities, Clock, HealthReport, Position, Result, UserId, UserListPlan, UsernameKey,
};

use crate::error::from_sqlite;
use crate::store::Lease;
use crate::user_row::{columns, record};
use crate::wake::Log;
use crate::{KIND, catalogue, maintenance, user_changes};

const GET: &str = concat!("SELECT ", columns!(), " FROM users WHERE id = ?1");
const GET_BY_NAME: &str =
    concat!("SELECT ", columns!(), " FROM users WHERE username_key = ?1 AND deleted_at IS NULL");
/// A list never shows hashes, so they are not read.
const LIST: &str = concat!("SELECT ", columns!("NULL"), " FROM users WHERE deleted_at IS NULL");
const SCAN: &str = concat!("SELECT ", columns!(), " FROM users WHERE id > ?1 ORDER BY id LIMIT ?2");
/// One handle on the accounts.
#[derive(Debug)]
pub(crate) struct Users {
    lease: Lease,
    clock: Arc<dyn Clock>,
}

impl Users {
    pub(crate) fn new(lease: Lease, clock: Arc<dyn Clock>) -> Self {
        Self { lease, clock }
    }

    async fn read_one(&self, sql: &'static str, key: String) -> Result<Dated<Option<UserRecord>>> {
        let store = self.lease.store()?;
        let value = store.readers.read(move |connection| find(connection, sql, &key)).await?;
        Ok(Dated { value, now: self.clock.now() })
    }
}

#[async_trait]
impl UserBackend for Users {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn capabilities(&self) -> Capabilities {
        crate::identity_capabilities()
    }

    async fn get(&self, id: &UserId, _: &CallContext) -> Result<Dated<Option<UserRecord>>> {
        self.read_one(GET, id.as_str().to_owned()).await
    }

    async fn get_by_name(
        &self,
        key: &UsernameKey,
        _: &CallContext,
    ) -> Result<Dated<Option<UserRecord>>> {
        self.read_one(GET_BY_NAME, key.as_str().to_owned()).await
    }

    async fn write(&self, write: UserWrite, context: &CallContext) -> Result<UserApplied> {
        self.lease.store()?.writer.write_one(write, context.deadline).await
    }

    async fn list(&self, plan: &UserListPlan, context: &CallContext) -> Result<Vec<UserRecord>> {
        let (store, plan) = (self.lease.store()?, plan.clone());
        store.readers.long(context.deadline, move |connection| list(connection, &plan)).await
    }

    async fn scan(
        &self,
        after: Option<&UserId>,
        limit: usize,
        context: &CallContext,
    ) -> Result<Vec<UserRecord>> {
        let store = self.lease.store()?;
        let after = after.map_or_else(String::new, |after| after.as_str().to_owned());
        let read =
            move |connection: &Connection| select(connection, SCAN, params![after, limit as i64]);
        store.readers.long(context.deadline, read).await
    }

    async fn changes_since(&self, place: &Position, limit: usize) -> Result<UserChanges> {
        let (store, place) = (self.lease.store()?, place.clone());
        let read = move |connection: &Connection| user_changes::since(connection, &place, limit);
        store.readers.long(None, read).await
    }

    async fn changes_end(&self) -> Result<Position> {
        self.lease.store()?.readers.read(user_changes::end).await
    }

    async fn wait_for_change(&self, place: &Position, timeout: Duration) -> Result<()> {
        self.lease.store()?.wake.wait(Log::Accounts, place.sequence, timeout).await
    }

    async fn ensure_indexes(&self) -> Result<()> {
        self.lease.store()?.writer.run(catalogue::ensure_users).await
    }

    async fn health(&self) -> Result<HealthReport> {
        let store = self.lease.store()?;
        let synchronous = store.synchronous;
        let facts = "SELECT count(*), coalesce(sum(disabled), 0) FROM users";
        let names = ["users", "disabled"];
        let read =
            move |connection: &_| maintenance::counted(connection, synchronous, facts, names);
        store.readers.long(None, read).await
    }

    async fn close(&self) -> Result<()> {
        self.lease.release().await
    }
}

fn find(connection: &Connection, sql: &str, key: &str) -> Result<Option<UserRecord>> {
    let failed = |error: rusqlite::Error| from_sqlite(&error);
    let mut statement = connection.prepare_cached(sql).map_err(failed)?;
    let mut rows = statement.query([key]).map_err(failed)?;
    rows.next().map_err(failed)?.map(record).transpose()
}

fn list(connection: &Connection, plan: &UserListPlan) -> Result<Vec<UserRecord>> {
    let after = plan.after().map(UserId::as_str);
    let (first, end) = (plan.name_prefix(), behind(plan.name_prefix()));
    let limit = plan.rows_max() as i64;
    let parameters = params![after, first, end, plan.disabled(), plan.role(), limit];
    select(connection, &list_sql(plan), parameters)
}

fn select(
    connection: &Connection,
    sql: &str,
    parameters: &[&dyn rusqlite::ToSql],
) -> Result<Vec<UserRecord>> {
    let failed = |error: rusqlite::Error| from_sqlite(&error);
    let mut statement = connection.prepare_cached(sql).map_err(failed)?;
    let mut rows = statement.query(parameters).map_err(failed)?;
    let mut records = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        records.push(record(row)?);
    }
    Ok(records)
}

/// Each combination of conditions is a statement of its own, so that SQLite sees which index serves it.
fn list_sql(plan: &UserListPlan) -> String {
    // A role is compared with whole elements, a prefix is a range of names: neither is a pattern.
    let role = " AND EXISTS (SELECT 1 FROM json_each(users.roles) AS role WHERE role.value = ?5)";
    let conditions = [
        (plan.after().is_some(), " AND id > ?1"),
        (!plan.name_prefix().is_empty(), " AND username_key >= ?2 AND username_key < ?3"),
        (plan.disabled().is_some(), " AND disabled = ?4"),
        (plan.role().is_some(), role),
    ];
    let conditions = conditions.into_iter().filter_map(|(asked, sql)| asked.then_some(sql));
    [LIST].into_iter().chain(conditions).chain([" ORDER BY id LIMIT ?6"]).collect()
}

/// The first text behind all that begin with `prefix`, which is ASCII.
fn behind(prefix: &str) -> String {
    let mut characters = prefix.chars();
    let last = characters.next_back().and_then(|last| char::from_u32(last as u32 + 1));
    characters.chain(last).collect()
}

#[cfg(test)]
mod tests {
    use syntrix_storage_core::{UserFilter, UserPageRequest};

    use super::*;
    use crate::schema;

    fn query_plan(filter: UserFilter) -> String {
        let mut connection = Connection::open_in_memory().expect("open");
        schema::migrate(&mut connection).expect("schema");
        let plan = UserListPlan::check(filter, UserPageRequest::default()).expect("plan");
        let sql = format!("EXPLAIN QUERY PLAN {}", list_sql(&plan));
        let mut statement = connection.prepare(&sql).expect("prepare");
        let steps = statement.query_map([None::<i64>; 6], |row| row.get::<_, String>(3));
        steps.expect("explain").map(|step| step.expect("step")).collect()
    }

    #[test]
    fn a_list_walks_ids_in_order_and_a_prefix_is_a_range_of_names() {
        let all = query_plan(UserFilter::default());
        assert!(all.contains("sqlite_autoindex_users_1") && !all.contains("TEMP"), "{all}");
        let mut filter = UserFilter::default();
        filter.name_prefix = Some("ad".into());
        let some = query_plan(filter);
        assert!(some.contains("users_username_key (username_key>? AND username_key<?)"), "{some}");
    }

    #[test]
    fn the_text_behind_a_prefix_is_behind_every_name_that_begins_so() {
        assert_eq!((behind(""), behind("a"), behind("az")), ("".into(), "b".into(), "a{".into()));
        assert!("azzzz" < behind("az").as_str());
    }
}
