//! The accounts of one schema.

use std::time::Duration;

use async_trait::async_trait;
use syntrix_storage_core::backend::{
    CallContext, Dated, LoginState, UserApplied, UserBackend, UserChanges, UserRecord, UserWrite,
};
use syntrix_storage_core::{
    Capabilities, Error, HealthReport, Position, Result, UserId, UserListPlan, UsernameKey, Version,
};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::account::{Account, Login, profile_text, record};
use crate::error::damaged;
use crate::row::{timestamp, value};
use crate::session::{Parameter, Session};
use crate::sql::in_schema;
use crate::store::{Lease, Texts};
use crate::wake::{Log, Wake, Woken};
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
/// The server's own time beside the account; an account that is not there is a row of NULLs.
macro_rules! dated {
    ($condition:literal) => {
        concat!(
            "SELECT ",
            columns!(),
            ",(extract(epoch FROM clock_timestamp()) * 1000)::bigint ",
            "FROM (SELECT) AS one LEFT JOIN {schema}.users ON ",
            $condition
        )
    };
}
pub(crate) const GET: &str = dated!("id = $1");
pub(crate) const GET_BY_NAME: &str = dated!("username_key = $1 AND deleted_at IS NULL");
/// The highest transaction of which a write is seen: whatever is up to it is on the disk for good.
macro_rules! highest {
    () => {
        "coalesce((SELECT h.change_xid::text::bigint FROM {schema}.users AS h \
         WHERE h.change_xid < pg_snapshot_xmax(pg_current_snapshot()) ORDER BY h.change_xid DESC LIMIT 1), 0)"
    };
}
/// The timeline that is written now; 0 on a server that writes none. Every role may ask.
macro_rules! timeline {
    () => {
        "CASE WHEN pg_is_in_recovery() THEN 0 \
         ELSE ('x' || substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8))::bit(32)::int END"
    };
}
/// One half of a page: either can be read from the index in its order.
macro_rules! changes {
    ($which:literal) => {
        concat!(
            "SELECT ",
            columns!(),
            ",change_seq,change_xid FROM {schema}.users AS c \
             WHERE (c.change_xid, c.change_seq) > ($3::xid8, $4)",
            $which,
            " AND ($5::pg_snapshot IS NULL OR pg_visible_in_snapshot(c.change_xid, $5::pg_snapshot)) \
             ORDER BY c.change_xid, c.change_seq LIMIT $6"
        )
    };
}
/// Puts the account behind all places of the feed that were given out.
macro_rules! changed {
    () => {
        ",change_seq=nextval('{schema}.users_change_seq'),change_xid=pg_current_xact_id() "
    };
}
/// Where the time stands.
const NOW: usize = 26;
/// A list never shows hashes, so they are not read.
const LIST: &str =
    concat!("SELECT ", columns!("NULL::text"), " FROM {schema}.users WHERE deleted_at IS NULL");
pub(crate) const INSERT: &str = concat!(
    "INSERT INTO {schema}.users (",
    columns!(),
    ") VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17,$18,$19,$20,$21,$22,$23,\
     $24,$25,$26) ON CONFLICT (id) DO NOTHING RETURNING 1"
);
pub(crate) const REPLACE: &str = concat!(
    "UPDATE {schema}.users SET username=$2,username_key=$3,key_rule_version=$4,password_hash=$5,\
    password_algorithm=$6,password_changed_at=$7,roles=$8,db_admin=$9,disabled=$10,disabled_at=$11,\
    disabled_reason=$12,profile=$13,token_epoch=$14,tokens_valid_after=$15,version=$16,created_at=$17,\
    updated_at=$18,deleted_at=$19",
    changed!(),
    "WHERE id=$1 AND version=$20 RETURNING 1"
);
pub(crate) const SET_LOGIN: &str = concat!(
    "UPDATE {schema}.users SET last_login_at=$2,last_failed_at=$3,failed_attempts=$4,\
    lockout_until=$5,lockout_count=$6,login_window=$7,login_sequence=$8",
    changed!(),
    "WHERE id=$1 AND login_sequence=$9 RETURNING 1"
);
pub(crate) const SWAP: &str = concat!(
    "UPDATE {schema}.users SET username=$2,username_key=$3,key_rule_version=$4,password_hash=$5,\
    password_algorithm=$6,password_changed_at=$7,roles=$8,db_admin=$9,disabled=$10,disabled_at=$11,\
    disabled_reason=$12,profile=$13,token_epoch=$14,tokens_valid_after=$15,version=$16,created_at=$17,\
    updated_at=$18,deleted_at=$19,last_login_at=$20,last_failed_at=$21,failed_attempts=$22,lockout_until=$23,\
    lockout_count=$24,login_window=$25,login_sequence=$26",
    changed!(),
    "WHERE id=$1 AND version=$27 AND login_sequence=$28 RETURNING 1"
);
pub(crate) const SCAN: &str =
    concat!("SELECT ", columns!(), " FROM {schema}.users WHERE id > $1 ORDER BY id LIMIT $2");
/// What was written behind a place, in the order of transactions: what a snapshot sees and an earlier one did not.
///
/// $1 xmax and $2 open transactions of the place, $3 transaction and $4 number behind which the window's rest begins, $5 the
/// window's end or NULL for now, $6 the limit. A transaction that is still to come is one of another server that the tables were
/// copied from.
pub(crate) const CHANGES: &str = concat!(
    "SELECT ",
    columns!(),
    ",change_seq,change_xid::text::bigint,pg_current_snapshot()::text,",
    highest!(),
    ",",
    timeline!(),
    " FROM (SELECT) AS one LEFT JOIN LATERAL (SELECT * FROM ((",
    changes!(
        " AND c.change_xid >= $1::xid8 AND c.change_xid < pg_snapshot_xmax(pg_current_snapshot())"
    ),
    ") UNION ALL (",
    changes!(" AND c.change_xid = ANY ($2::xid8[])"),
    ")) AS page ORDER BY change_xid, change_seq LIMIT $6) AS u ON TRUE"
);
pub(crate) const CHANGES_END: &str =
    concat!("SELECT pg_current_snapshot()::text, ", highest!(), ", ", timeline!());
/// Where what stands behind the columns of an account begins in [`CHANGES`].
pub(crate) const CHANGE: usize = 26;
const FACTS: &str = "SELECT \
    (SELECT count(*) FROM (SELECT FROM {schema}.users LIMIT 100000) AS counted), \
    (SELECT count(*) FROM (SELECT FROM {schema}.users WHERE disabled LIMIT 100000) AS counted), \
    pg_is_in_recovery(), current_setting('synchronous_commit'), m.schema_version FROM {schema}.metadata AS m";

/// One handle on the accounts.
#[derive(Debug)]
pub(crate) struct Users {
    lease: Lease,
}

impl Users {
    pub(crate) fn new(lease: Lease) -> Self {
        Self { lease }
    }

    async fn read_one(&self, by_name: bool, key: &str) -> Result<Dated<Option<UserRecord>>> {
        let store = self.lease.store()?;
        let text = if by_name { &store.texts.user_by_name } else { &store.texts.user_by_id };
        let rows = store.readers.query(text, &[(&key, Type::TEXT)]).await?;
        let row = rows.first().ok_or_else(damaged)?;
        let found: Option<&str> = value(row, 0)?;
        let value = found.map(|_| record(row)).transpose()?;
        Ok(Dated { value, now: timestamp(row, NOW)? })
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
        self.read_one(false, id.as_str()).await
    }

    async fn get_by_name(
        &self,
        key: &UsernameKey,
        _: &CallContext,
    ) -> Result<Dated<Option<UserRecord>>> {
        self.read_one(true, key.as_str()).await
    }

    async fn write(&self, write: UserWrite, _: &CallContext) -> Result<UserApplied> {
        let store = self.lease.store()?;
        let mut session = store.pool.session().await?;
        let applied = match &write {
            UserWrite::Insert(record) => insert(&mut session, &store.texts, record).await,
            UserWrite::Replace { expected, record } => {
                replace(&mut session, &store.texts, *expected, record).await
            }
            UserWrite::Swap { expected, record } => {
                swap(&mut session, &store.texts, *expected, record).await
            }
            UserWrite::Login { id, expected, state } => {
                set_login(&mut session, &store.texts, id, *expected, state).await
            }
        }?;
        if applied == UserApplied::Yes {
            store.wake.committed(Log::Accounts);
        }
        Ok(applied)
    }

    async fn list(&self, plan: &UserListPlan, _: &CallContext) -> Result<Vec<UserRecord>> {
        let store = self.lease.store()?;
        // PostgreSQL's text has no U+0000, so no stored role has one either.
        if plan.role().is_some_and(|role| role.contains('\0')) {
            return Ok(Vec::new());
        }
        let after = plan.after().map(UserId::as_str);
        let (first, end) = (plan.name_prefix(), behind(plan.name_prefix()));
        let (disabled, role, limit) = (plan.disabled(), plan.role(), plan.rows_max() as i64);
        let values: [Parameter<'_>; 6] = [
            (&after, Type::TEXT),
            (&first, Type::TEXT),
            (&end, Type::TEXT),
            (&disabled, Type::BOOL),
            (&role, Type::TEXT),
            (&limit, Type::INT8),
        ];
        let mut session = store.pool.session().await?;
        let text = in_schema(&list_sql(plan), &store.schema);
        session.query_once(&text, &values).await?.iter().map(record).collect()
    }

    async fn scan(
        &self,
        after: Option<&UserId>,
        limit: usize,
        _: &CallContext,
    ) -> Result<Vec<UserRecord>> {
        let store = self.lease.store()?;
        let (after, limit) = (after.map_or("", UserId::as_str), limit as i64);
        let values: [Parameter<'_>; 2] = [(&after, Type::TEXT), (&limit, Type::INT8)];
        let mut session = store.pool.session().await?;
        session.query(&store.texts.user_scan, &values).await?.iter().map(record).collect()
    }

    async fn changes_since(&self, place: &Position, limit: usize) -> Result<UserChanges> {
        let store = self.lease.store()?;
        let news = store.wake.count(Log::Accounts);
        let changes = user_changes::since(store, place, limit).await?;
        if !changes.more {
            store.wake.reached(Log::Accounts, &changes.end, news);
        }
        Ok(changes)
    }

    async fn changes_end(&self) -> Result<Position> {
        let store = self.lease.store()?;
        let news = store.wake.count(Log::Accounts);
        let end = user_changes::end(store).await?;
        store.wake.reached(Log::Accounts, &end, news);
        Ok(end)
    }

    async fn wait_for_change(&self, place: &Position, timeout: Duration) -> Result<()> {
        let store = self.lease.store()?;
        let (end, mut known) = (Wake::end_of(timeout), store.wake.count_at(Log::Accounts, place));
        loop {
            let count = match known {
                Some(count) => count,
                None => {
                    let count = store.wake.count(Log::Accounts);
                    let changes = user_changes::since(store, place, 1).await?;
                    if changes.more || !changes.records.is_empty() {
                        return Ok(());
                    }
                    count
                }
            };
            match store.wake.wait(Log::Accounts, count, end).await? {
                Woken::Over => return Ok(()),
                Woken::Look => known = None,
            }
        }
    }

    async fn ensure_indexes(&self) -> Result<()> {
        let store = self.lease.store()?;
        catalogue::ensure_users(&mut store.pool.session().await?, &store.schema).await
    }

    async fn health(&self) -> Result<HealthReport> {
        maintenance::probe(self.lease.store()?, FACTS, ["users", "disabled"]).await
    }

    async fn close(&self) -> Result<()> {
        self.lease.release().await
    }
}

/// Each combination of conditions is a statement of its own, so that the planner sees which index serves it. Values that it
/// does not use are there all the same.
fn list_sql(plan: &UserListPlan) -> String {
    // A role is compared with whole elements, a prefix is a range of names: neither is a pattern.
    let conditions = [
        (plan.after().is_some(), " AND id > $1", " AND $1::text IS NULL"),
        (
            !plan.name_prefix().is_empty(),
            " AND username_key >= $2 AND username_key < $3",
            " AND $2 = '' AND $3 = ''",
        ),
        (plan.disabled().is_some(), " AND disabled = $4", " AND $4::boolean IS NULL"),
        (plan.role().is_some(), " AND $5 = ANY (roles)", " AND $5::text IS NULL"),
    ];
    let conditions = conditions.map(|(asked, sql, otherwise)| if asked { sql } else { otherwise });
    [LIST].into_iter().chain(conditions).chain([" ORDER BY id LIMIT $6"]).collect()
}

/// The first text behind all that begin with `prefix`, which is ASCII.
fn behind(prefix: &str) -> String {
    let mut characters = prefix.chars();
    let last = characters.next_back().and_then(|last| char::from_u32(last as u32 + 1));
    characters.chain(last).collect()
}

async fn insert(session: &mut Session, texts: &Texts, record: &UserRecord) -> Result<UserApplied> {
    let (profile, login) = (profile_text(record), Login::of(&record.login_state()));
    let account = Account::of(record, &profile);
    let values: Vec<_> = account.parameters().into_iter().chain(login.parameters()).collect();
    name_taken_or(session.query(&texts.user_insert, &values).await, UserApplied::IdTaken)
}

/// All columns in one statement: a name that is taken leaves the login part alone, too.
async fn swap(
    session: &mut Session,
    texts: &Texts,
    expected: (Version, u64),
    record: &UserRecord,
) -> Result<UserApplied> {
    let (profile, login) = (profile_text(record), Login::of(&record.login_state()));
    let account = Account::of(record, &profile);
    let (version, sequence) = (expected.0.get(), expected.1 as i64);
    let conditions: [Parameter<'_>; 2] = [(&version, Type::INT8), (&sequence, Type::INT8)];
    let columns = account.parameters().into_iter().chain(login.parameters());
    let values: Vec<_> = columns.chain(conditions).collect();
    name_taken_or(session.query(&texts.user_swap, &values).await, UserApplied::Stale)
}

async fn replace(
    session: &mut Session,
    texts: &Texts,
    expected: Version,
    record: &UserRecord,
) -> Result<UserApplied> {
    let (profile, expected) = (profile_text(record), expected.get());
    let account = Account::of(record, &profile);
    let condition: [Parameter<'_>; 1] = [(&expected, Type::INT8)];
    let values: Vec<_> = account.parameters().into_iter().chain(condition).collect();
    name_taken_or(session.query(&texts.user_replace, &values).await, UserApplied::Stale)
}

async fn set_login(
    session: &mut Session,
    texts: &Texts,
    id: &UserId,
    expected: u64,
    state: &LoginState,
) -> Result<UserApplied> {
    let (id, expected, login) = (id.as_str(), expected as i64, Login::of(state));
    let ends: [Parameter<'_>; 2] = [(&id, Type::TEXT), (&expected, Type::INT8)];
    let [id, expected] = ends;
    let values: Vec<_> = [id].into_iter().chain(login.parameters()).chain([expected]).collect();
    let rows = session.query(&texts.user_login, &values).await?;
    Ok(if rows.is_empty() { UserApplied::Stale } else { UserApplied::Yes })
}

/// A taken id is told by no row; what is left is the name's index.
fn name_taken_or(written: Result<Vec<Row>>, otherwise: UserApplied) -> Result<UserApplied> {
    match written {
        Ok(rows) if rows.is_empty() => Ok(otherwise),
        Ok(_) => Ok(UserApplied::Yes),
        Err(error) if is_name_taken(&error) => Ok(UserApplied::NameTaken),
        Err(error) => Err(error),
    }
}

fn is_name_taken(error: &Error) -> bool {
    error.fact("sqlstate") == Some("23505")
        && error.fact("constraint") == Some("users_username_key")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_behind_a_prefix_is_behind_every_name_that_begins_so() {
        assert_eq!((behind(""), behind("a"), behind("az")), ("".into(), "b".into(), "a{".into()));
        assert!("azzzz" < behind("az").as_str());
    }
}
