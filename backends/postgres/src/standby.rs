//! Reading from a streaming standby: what it must have replayed is looked at in the trip of the read, as connections behind one
//! address may lead to several standbys.
//!
//! The look comes first and in a statement of its own: within one statement the snapshot would be older than the look.

use std::sync::{Arc, OnceLock};

use deadpool_postgres::ClientWrapper;
use syntrix_storage_core::backend::Watermark;
use syntrix_storage_core::{Error, ErrorKind, Result, Retry};
use tokio_postgres::types::{PgLsn, Type};
use tokio_postgres::{Client, Row};

use crate::connect::Fault;
use crate::error::{damaged, from_postgres};
use crate::row::value;

/// Whether a server is a standby, whatever else it is.
pub(crate) const IS_STANDBY: &str = "SELECT pg_is_in_recovery()";
/// Which cluster it is, and the newest timeline it has certainly begun to replay, kept in the session: it can only grow. Not every
/// role may see what the receiver says; then a new timeline is noticed at the next restart point.
const SET_UP: &str = "SELECT pg_is_in_recovery(), current_setting('standard_conforming_strings') = 'off', s.system_identifier, \
    set_config('syntrix_storage.timeline', greatest(c.timeline_id, r.min_recovery_end_timeline, w.received_tli)::text, FALSE) \
    FROM pg_control_system() AS s, pg_control_checkpoint() AS c, pg_control_recovery() AS r \
    LEFT JOIN pg_stat_wal_receiver AS w ON TRUE";
const LOOK: &str = "SELECT pg_is_in_recovery(), coalesce(pg_last_wal_replay_lsn() >= $1, FALSE), \
    current_setting('syntrix_storage.timeline')::int >= $2";
/// What an acknowledged commit has reached: it was flushed before it was acknowledged, and before anybody saw it.
pub(crate) const WATERMARK: &str = "SELECT l.lsn, s.system_identifier, \
    ('x' || substr(pg_walfile_name(l.lsn), 1, 8))::bit(32)::int \
    FROM pg_control_system() AS s, pg_current_wal_flush_lsn() AS l (lsn)";

/// The cluster of all the standbys that one block leads to; the first connection says which.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standby {
    cluster: Arc<OnceLock<i64>>,
}

impl Standby {
    /// Makes sure that a new connection leads to a standby of the cluster.
    pub(crate) async fn set_up(&self, client: &Client) -> Result<(), Fault> {
        let rows = client.query_typed(SET_UP, &[]).await.map_err(Fault::Driver)?;
        let row = rows.first().ok_or(Fault::Setting(NO_STANDBY))?;
        let flag = |column: usize| row.try_get::<_, bool>(column).map_err(Fault::Driver);
        match (flag(0)?, flag(1)?) {
            (false, _) => return Err(Fault::Setting(NO_STANDBY)),
            (_, true) => return Err(Fault::Setting(crate::connect::OLD_STRINGS)),
            (true, false) => {}
        }
        let cluster = row.try_get(2).map_err(Fault::Driver)?;
        match *self.cluster.get_or_init(|| cluster) == cluster {
            true => Ok(()),
            false => Err(Fault::Setting(OTHER_CLUSTER)),
        }
    }

    /// What a read needs of the server that answers it.
    pub(crate) fn need(&self, not_before: Option<Watermark>) -> Result<Need> {
        let Some(mark) = not_before else { return Ok(Need { reached: 0.into(), timeline: 0 }) };
        let cluster = self.cluster.get().map(|cluster| cluster.cast_unsigned());
        if cluster != Some(mark.cluster) {
            return Err(refused(OTHER_CLUSTER));
        }
        let timeline = i32::try_from(mark.timeline).map_err(|_| damaged())?;
        Ok(Need { reached: mark.reached.into(), timeline })
    }
}

/// What one read needs of a standby.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need {
    reached: PgLsn,
    timeline: i32,
}

impl Need {
    /// Runs `read` behind a look at the server. The look's statement is prepared before, so it is the first to be sent.
    pub(crate) async fn before<T>(
        &self,
        client: &ClientWrapper,
        read: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T> {
        let driver = |error: tokio_postgres::Error| from_postgres(&error);
        let types = [Type::PG_LSN, Type::INT4];
        let look = client.prepare_typed_cached(LOOK, &types).await.map_err(driver)?;
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 2] =
            [&self.reached, &self.timeline];
        let (seen, read) = tokio::join!(biased; client.query(&look, &values), read);
        let seen = seen.map_err(driver)?;
        check(seen.first().ok_or_else(damaged)?)?;
        read.map_err(driver)
    }
}

fn check(seen: &Row) -> Result<()> {
    let (is_standby, has_reached, on_timeline) =
        (value(seen, 0)?, value(seen, 1)?, value(seen, 2)?);
    match (is_standby, on_timeline, has_reached) {
        (false, ..) => Err(refused(NO_STANDBY)),
        // The connection is left for a new one, which asks again.
        (_, false, _) => Err(Error::new(ErrorKind::Unavailable, "")
            .with_retry(Retry::Safe)
            .with_message("the standby does not follow the primary's timeline (yet)")),
        (_, _, false) => Err(Error::new(ErrorKind::PreconditionFailed, "")
            .with_message("the standby has not replayed what the read must see")),
        (true, true, true) => Ok(()),
    }
}

/// The place in a row of [`WATERMARK`].
pub(crate) fn watermark(row: &Row) -> Result<Watermark> {
    let (reached, cluster, timeline): (PgLsn, i64, i32) =
        (value(row, 0)?, value(row, 1)?, value(row, 2)?);
    let timeline = timeline.cast_unsigned();
    Ok(Watermark { cluster: cluster.cast_unsigned(), timeline, reached: reached.into() })
}

const NO_STANDBY: &str = "the server is no standby: it is the primary itself, or it was promoted and has a history of its own; \
    name a standby of the primary as the shadow";
const OTHER_CLUSTER: &str = "the standby belongs to another cluster than the primary: their system identifiers differ; \
    name a standby of the primary as the shadow";

/// A replica that must not be read at all.
fn refused(reason: &'static str) -> Error {
    Error::new(ErrorKind::ConfigInvalid, "").with_message(reason)
}

/// A read that only a standby could answer as asked.
pub(crate) fn no_standby() -> Error {
    refused(NO_STANDBY)
}

/// What a standby does not do, though the tables are all there.
pub(crate) fn read_only() -> Error {
    Error::new(ErrorKind::Unsupported, "").with_message(
        "a standby is read for documents alone; accounts, revoked tokens and the change feed are the primary's",
    )
}
