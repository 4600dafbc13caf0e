//! The accounts of one file.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, ErrorCode, Row, params};
use syntrix_storage_core::backend::{
    CallContext, Dated, LoginState, UserApplied, UserBackend, UserChanges, UserRecord, UserWrite,
};
use syntrix_storage_core::{
    Capabilities, Clock, HealthReport, Position, Result, Secret, Timestamp, User, UserId,
    UserListPlan, UsernameKey, Version,
};

use crate::error::{damaged, from_sqlite};
use crate::group::{Change, Group, Outcome};
use crate::store::Lease;
use crate::wake::Log;
use crate::{KIND, catalogue, maintenance, user_changes};

/// What [`record`] reads, in its order. A macro, so that statements are made by the compiler.
macro_rules! columns {
    () => {
        columns!("password_hash")
    };
    ($hash:literal) => {
        concat!(
            "id,username,username_key,key_rule_version,",
            $hash,
            ",password_algorithm,password_changed_at,roles,db_admin,disabled,disabled_at,disabled_reason,\
             profile,token_epoch,tokens_valid_after,version,created_at,updated_at,deleted_at,last_login_at,\
             last_failed_at,failed_attempts,lockout_until,lockout_count,login_window,login_sequence"
        )
    };
}
/// The number of a write: one more than any account has.
macro_rules! next_number {
    () => {
        "(SELECT coalesce(max(change_seq), 0) + 1 FROM users)"
    };
}
const GET: &str = concat!("SELECT ", columns!(), " FROM users WHERE id = ?1");
const GET_BY_NAME: &str =
    concat!("SELECT ", columns!(), " FROM users WHERE username_key = ?1 AND deleted_at IS NULL");
/// A list never shows hashes, so they are not read.
const LIST: &str = concat!("SELECT ", columns!("NULL"), " FROM users WHERE deleted_at IS NULL");
const INSERT: &str = concat!(
    "INSERT INTO users (",
    columns!(),
    ",change_seq) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,?21,?22,?23,\
     ?24,?25,?26,",
    next_number!(),
    ")"
);
const REPLACE: &str = concat!(
    "UPDATE users SET username=?2,username_key=?3,key_rule_version=?4,password_hash=?5,\
    password_algorithm=?6,password_changed_at=?7,roles=?8,db_admin=?9,disabled=?10,disabled_at=?11,\
    disabled_reason=?12,profile=?13,token_epoch=?14,tokens_valid_after=?15,version=?16,created_at=?17,\
    updated_at=?18,deleted_at=?19,change_seq=",
    next_number!(),
    " WHERE id=?1 AND version=?20"
);
const SET_LOGIN: &str = concat!(
    "UPDATE users SET last_login_at=?2,last_failed_at=?3,failed_attempts=?4,\
    lockout_until=?5,lockout_count=?6,login_window=?7,login_sequence=?8,change_seq=",
    next_number!(),
    " WHERE id=?1 AND login_sequence=?9"
);
const SWAP: &str = concat!(
    "UPDATE users SET username=?2,username_key=?3,key_rule_version=?4,password_hash=?5,\
    password_algorithm=?6,password_changed_at=?7,roles=?8,db_admin=?9,disabled=?10,disabled_at=?11,\
    disabled_reason=?12,profile=?13,token_epoch=?14,tokens_valid_after=?15,version=?16,created_at=?17,\
    updated_at=?18,deleted_at=?19,last_login_at=?20,last_failed_at=?21,failed_attempts=?22,lockout_until=?23,\
    lockout_count=?24,login_window=?25,login_sequence=?26,change_seq=",
    next_number!(),
    " WHERE id=?1 AND version=?27 AND login_sequence=?28"
);
const SCAN: &str = concat!("SELECT ", columns!(), " FROM users WHERE id > ?1 ORDER BY id LIMIT ?2");
/// As [`SCAN`], by the number of the last write, which stands behind the record.
pub(crate) const CHANGES: &str = concat!(
    "SELECT ",
    columns!(),
    ",change_seq FROM users WHERE change_seq > ?1 ORDER BY change_seq LIMIT ?2"
);
/// Where the number stands in [`CHANGES`].
pub(crate) const CHANGE_NUMBER: usize = 26;
const ID_IS_KNOWN: &str = "SELECT EXISTS (SELECT 1 FROM users WHERE id = ?1)";

/// The values of ?1 to ?19 in [`INSERT`] and [`REPLACE`], in the order of [`columns!`], then those of the statement itself.
macro_rules! account_values {
    ($record:ident, $($own:expr),+) => {
        params![
            $record.user.id.as_str(),
            $record.user.username,
            $record.key.as_str(),
            $record.key_rule_version,
            $record.user.password_hash.as_ref().map(Secret::expose),
            $record.user.password_algorithm,
            milliseconds($record.user.password_changed_at),
            names_to_json(&$record.user.roles),
            names_to_json(&$record.user.db_admin),
            $record.user.disabled,
            milliseconds($record.user.disabled_at),
            $record.user.disabled_reason,
            profile_to_json(&$record.user),
            $record.user.token_epoch as i64,
            milliseconds($record.user.tokens_valid_after),
            $record.user.version.get(),
            $record.user.created_at.as_milliseconds(),
            $record.user.updated_at.as_milliseconds(),
            milliseconds($record.user.deleted_at),
            $($own),+
        ]
    };
}

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

impl Change for UserWrite {
    type Answer = UserApplied;

    fn apply(&self, group: &mut Group<'_>) -> Outcome<UserApplied> {
        let connection = group.connection();
        let applied = match self {
            Self::Insert(record) => insert(connection, record),
            Self::Replace { expected, record } => replace(connection, *expected, record),
            Self::Login { id, expected, state } => set_login(connection, id, *expected, state),
            Self::Swap { expected, record } => swap(connection, *expected, record),
        }?;
        if applied == UserApplied::Yes {
            group.account_written();
        }
        Ok(Ok(applied))
    }
}

fn insert(connection: &Connection, record: &UserRecord) -> rusqlite::Result<UserApplied> {
    let login = &record.user.login;
    let known = connection
        .prepare_cached(ID_IS_KNOWN)?
        .query_row([record.user.id.as_str()], |row| row.get::<_, bool>(0))?;
    if known {
        return Ok(UserApplied::IdTaken);
    }
    let inserted = connection.prepare_cached(INSERT)?.execute(account_values!(
        record,
        milliseconds(login.last_login_at),
        milliseconds(login.last_failed_at),
        login.failed_attempts,
        milliseconds(login.lockout_until),
        login.lockout_count,
        record.login_window as i64,
        record.login_sequence as i64
    ));
    name_taken_or(inserted, |_| UserApplied::Yes)
}

fn replace(
    connection: &Connection,
    expected: Version,
    record: &UserRecord,
) -> rusqlite::Result<UserApplied> {
    let replaced =
        connection.prepare_cached(REPLACE)?.execute(account_values!(record, expected.get()));
    name_taken_or(replaced, changed_or_stale)
}

/// All columns in one statement: a name that is taken leaves the login part alone, too.
fn swap(
    connection: &Connection,
    expected: (Version, u64),
    record: &UserRecord,
) -> rusqlite::Result<UserApplied> {
    let login = &record.user.login;
    let swapped = connection.prepare_cached(SWAP)?.execute(account_values!(
        record,
        milliseconds(login.last_login_at),
        milliseconds(login.last_failed_at),
        login.failed_attempts,
        milliseconds(login.lockout_until),
        login.lockout_count,
        record.login_window as i64,
        record.login_sequence as i64,
        expected.0.get(),
        expected.1 as i64
    ));
    name_taken_or(swapped, changed_or_stale)
}

fn set_login(
    connection: &Connection,
    id: &UserId,
    expected: u64,
    state: &LoginState,
) -> rusqlite::Result<UserApplied> {
    let stats = &state.stats;
    let changed = connection.prepare_cached(SET_LOGIN)?.execute(params![
        id.as_str(),
        milliseconds(stats.last_login_at),
        milliseconds(stats.last_failed_at),
        stats.failed_attempts,
        milliseconds(stats.lockout_until),
        stats.lockout_count,
        state.window as i64,
        state.sequence as i64,
        expected as i64,
    ])?;
    Ok(changed_or_stale(changed))
}

fn changed_or_stale(rows: usize) -> UserApplied {
    if rows == 1 { UserApplied::Yes } else { UserApplied::Stale }
}

/// The id was looked at before, so the one constraint that is left is the name's.
fn name_taken_or(
    written: rusqlite::Result<usize>,
    otherwise: impl FnOnce(usize) -> UserApplied,
) -> rusqlite::Result<UserApplied> {
    match written {
        Ok(rows) => Ok(otherwise(rows)),
        Err(rusqlite::Error::SqliteFailure(failure, _))
            if failure.code == ErrorCode::ConstraintViolation
                && failure.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE =>
        {
            Ok(UserApplied::NameTaken)
        }
        Err(error) => Err(error),
    }
}

/// The record in a row of `columns!`.
pub(crate) fn record(row: &Row<'_>) -> Result<UserRecord> {
    let failed = |error: rusqlite::Error| from_sqlite(&error);
    let id = UserId::parse(&row.get::<_, String>(0).map_err(failed)?).map_err(|_| damaged())?;
    let created_at = Timestamp::from_milliseconds(row.get(16).map_err(failed)?);
    let mut user = User::first(id, row.get::<_, String>(1).map_err(failed)?, created_at);
    let key = UsernameKey::from_stored(row.get::<_, String>(2).map_err(failed)?);
    let key_rule_version = row.get(3).map_err(failed)?;
    account(row, &mut user).map_err(failed)?;
    login(row, &mut user).map_err(failed)?;
    let names = |column| -> Result<BTreeSet<String>> {
        serde_json::from_str(&row.get::<_, String>(column).map_err(failed)?).map_err(|_| damaged())
    };
    (user.roles, user.db_admin) = (names(7)?, names(8)?);
    let profile: String = row.get(12).map_err(failed)?;
    user.profile = serde_json::from_str(&profile).map_err(|_| damaged())?;
    let counter = |column| row.get::<_, i64>(column).map(|number| number as u64).map_err(failed);
    let (login_window, login_sequence) = (counter(24)?, counter(25)?);
    Ok(UserRecord { user, key, key_rule_version, login_window, login_sequence })
}

fn account(row: &Row<'_>, user: &mut User) -> rusqlite::Result<()> {
    user.password_hash = row.get::<_, Option<String>>(4)?.map(Secret::new);
    user.password_algorithm = row.get(5)?;
    user.password_changed_at = timestamp(row, 6)?;
    user.disabled = row.get(9)?;
    user.disabled_at = timestamp(row, 10)?;
    user.disabled_reason = row.get(11)?;
    user.token_epoch = row.get::<_, i64>(13)? as u64;
    user.tokens_valid_after = timestamp(row, 14)?;
    user.version = Version::new(row.get(15)?);
    user.updated_at = Timestamp::from_milliseconds(row.get(17)?);
    user.deleted_at = timestamp(row, 18)?;
    Ok(())
}

fn login(row: &Row<'_>, user: &mut User) -> rusqlite::Result<()> {
    user.login.last_login_at = timestamp(row, 19)?;
    user.login.last_failed_at = timestamp(row, 20)?;
    user.login.failed_attempts = row.get(21)?;
    user.login.lockout_until = timestamp(row, 22)?;
    user.login.lockout_count = row.get(23)?;
    Ok(())
}

fn timestamp(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_milliseconds))
}

fn milliseconds(time: Option<Timestamp>) -> Option<i64> {
    time.map(Timestamp::as_milliseconds)
}

fn names_to_json(names: &BTreeSet<String>) -> String {
    serde_json::Value::from_iter(names.iter().map(String::as_str)).to_string()
}

fn profile_to_json(user: &User) -> String {
    serde_json::Value::Object(user.profile.clone()).to_string()
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
