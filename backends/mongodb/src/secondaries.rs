//! Reading from secondaries: in a causal session, so the member that answers waits until it has what the read must see.

use mongodb::ClientSession;
use mongodb::action::Find;
use mongodb::bson::{RawDocumentBuf, Timestamp as ClusterTime, doc};
use mongodb::error::Error as DriverError;
use syntrix_storage_core::backend::{CallContext, Watermark};
use syntrix_storage_core::{Document, Error, ErrorKind, Result};

use crate::calls::Limit;
use crate::error::{closed, code_of, damaged, from_driver};
use crate::record;
use crate::server::Topology;
use crate::store::Store;

/// `MaxTimeMSExpired`: the member waited in vain.
const TIME_OVER: i32 = 50;
/// `InvalidOptions`: the member has not even heard of the time yet.
const UNHEARD: i32 = 72;
/// Longest wait of a member for what a read of few documents must see. Others may need all their time for the reading itself.
const WAIT_MAX: std::time::Duration = std::time::Duration::from_millis(50);

/// What one read needs of the member that answers it.
pub(crate) struct Need(Option<ClientSession>);

impl Need {
    /// `None` inside if it needs nothing.
    pub(crate) async fn of(store: &Store, context: &CallContext) -> Result<Self> {
        let Some(mark) = context.not_before else { return Ok(Self(None)) };
        if mark.cluster != store.cluster {
            return Err(Error::new(ErrorKind::ConfigInvalid, "").with_message(
                "the secondaries belong to another replica set than the primary; name the primary's set as the shadow",
            ));
        }
        let client = store.client().ok_or_else(closed)?;
        let started = client.start_session().causal_consistency(true).await;
        let mut session = started.map_err(|error| from_driver(&error))?;
        if mark.reached > 0 {
            session.advance_operation_time(time_of(mark.reached));
        }
        Ok(Self(Some(session)))
    }

    /// How long a read of few documents may take.
    pub(crate) fn short(&self, limit: Limit) -> std::time::Duration {
        match self.0 {
            None => limit.left(),
            Some(_) => limit.left().min(WAIT_MAX),
        }
    }

    /// What `find` finds.
    pub(crate) async fn rows(mut self, find: Find<'_, RawDocumentBuf>) -> Result<Vec<Document>> {
        let mut documents = Vec::new();
        let Some(session) = &mut self.0 else {
            let mut cursor = find.await.map_err(|error| from_driver(&error))?;
            while cursor.advance().await.map_err(|error| from_driver(&error))? {
                documents.push(record::decode(cursor.current())?);
            }
            return Ok(documents);
        };
        let mut cursor = find.session(&mut *session).await.map_err(|error| from_member(&error))?;
        while cursor.advance(session).await.map_err(|error| from_member(&error))? {
            documents.push(record::decode(cursor.current())?);
        }
        Ok(documents)
    }
}

fn from_member(error: &DriverError) -> Error {
    match code_of(error) {
        Some(TIME_OVER | UNHEARD) => Error::new(ErrorKind::PreconditionFailed, "")
            .with_message("the secondary does not have what the read must see"),
        _ => from_driver(error),
    }
}

/// The newest time that the primary knows of, which all that was acknowledged to this process lies before.
pub(crate) async fn watermark(store: &Store) -> Result<Option<Watermark>> {
    let ping = store.database.run_command(doc! { "ping": 1 }).await;
    let reply = ping.map_err(|error| from_driver(&error))?;
    let Ok(heard) = reply.get_document("$clusterTime") else { return Ok(None) };
    let time = heard.get_timestamp("clusterTime").map_err(|_| damaged())?;
    let reached = u64::from(time.time) << 32 | u64::from(time.increment);
    Ok(Some(Watermark { cluster: store.cluster, timeline: 0, reached }))
}

fn time_of(reached: u64) -> ClusterTime {
    ClusterTime { time: (reached >> 32) as u32, increment: reached as u32 }
}

/// Refuses what cannot say how far it is: a router answers from its own clock, which tells nothing of the shards' writes.
pub(crate) fn check(topology: Topology) -> Result<()> {
    match topology {
        Topology::Sharded => Err(Error::new(ErrorKind::Unsupported, "").with_message(
            "the secondaries of a sharded cluster cannot be read as a replica: its routers do not tell how far they are; \
             leave readPreference out of the shadow's uri and feed the shadow instead",
        )),
        Topology::ReplicaSet | Topology::Standalone => Ok(()),
    }
}

/// What secondaries do not do, though the collections are all there.
pub(crate) fn read_only() -> Error {
    Error::new(ErrorKind::Unsupported, "").with_message(
        "secondaries are read for documents alone; accounts, revoked tokens and the change feed are the primary's",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secondaries_of_a_sharded_cluster_are_refused() {
        let refused = check(Topology::Sharded).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported);
        check(Topology::ReplicaSet).unwrap();
    }
}
