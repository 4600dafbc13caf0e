//! Reading from secondaries: in a causal session, so the member that answers waits until it has what the read must see.

use std::sync::Arc;
use std::time::Duration;

use mongodb::action::Find;
use mongodb::bson::{RawDocumentBuf, Timestamp as ClusterTime, doc};
use mongodb::error::Error as DriverError;
use mongodb::options::{SelectionCriteria, ServerAddress};
use mongodb::{ClientSession, Database};
use syntrix_storage_core::backend::{CallContext, Watermark};
use syntrix_storage_core::{Document, Error, ErrorKind, Result};

use crate::calls::Limit;
use crate::error::{closed, code_of, damaged, from_driver};
use crate::record;
use crate::schema::Metadata;
use crate::server::{Topology, is_same_set};
use crate::store::{Store, Table};

/// `MaxTimeMSExpired`: the member waited in vain.
const TIME_OVER: i32 = 50;
/// `InvalidOptions`: the member has not even heard of the time yet.
const UNHEARD: i32 = 72;
/// Longest wait of a member for what a read must see.
const WAIT_MAX: Duration = Duration::from_millis(50);

/// What one read needs of the member that answers it.
pub(crate) struct Need(Option<Causal>);

struct Causal {
    session: ClientSession,
    /// The cluster time that the read must see.
    reached: u64,
    /// The member that has it.
    member: Option<SelectionCriteria>,
    /// Whether what must be seen was waited for already, so that a read which takes too long is only that.
    is_there: bool,
}

impl Need {
    /// `None` inside if it needs nothing.
    pub(crate) async fn of(store: &Store, context: &CallContext) -> Result<Self> {
        let Some(mark) = context.not_before else { return Ok(Self(None)) };
        if !is_same_set(mark.cluster, store.cluster) {
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
        let reached = mark.reached;
        Ok(Self(Some(Causal { session, reached, member: None, is_there: false })))
    }

    /// Waits a moment until a member has what the read must see, and stays with that member: then the read itself may take all
    /// its time. One that waited inside the read would have all that time to wait as well.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::PreconditionFailed`] if the member does not have it then.
    pub(crate) async fn met(mut self, store: &Store, limit: Limit) -> Result<Self> {
        if let Some(causal) = &mut self.0 {
            let heard = Heard::of(&store.database).await?;
            // Under this name the driver knows it, unless it was told of another one.
            causal.member = heard.member.filter(|_| !store.is_direct()).map(only);
            if heard.reached < causal.reached {
                causal.wait(store, limit).await?;
            }
            causal.is_there = true;
        }
        Ok(self)
    }

    /// Whether a member answers, and has what a read must see.
    pub(crate) async fn check(mut self, store: &Store, limit: Limit) -> Result<()> {
        match &mut self.0 {
            Some(causal) => causal.wait(store, limit).await,
            None => Ok(()),
        }
    }

    /// How long a read of few documents may take, the wait included.
    pub(crate) fn short(&self, limit: Limit) -> Duration {
        match self.0 {
            None => limit.left(),
            Some(Causal { is_there: true, .. }) => limit.left(),
            Some(_) => limit.left().min(WAIT_MAX),
        }
    }

    /// What `find` finds.
    pub(crate) async fn rows(mut self, find: Find<'_, RawDocumentBuf>) -> Result<Vec<Document>> {
        let mut documents = Vec::new();
        let Some(Causal { session, member, is_there, .. }) = &mut self.0 else {
            let mut cursor = find.await.map_err(|error| from_driver(&error))?;
            while cursor.advance().await.map_err(|error| from_driver(&error))? {
                documents.push(record::decode(cursor.current())?);
            }
            return Ok(documents);
        };
        let find = match member.take() {
            Some(member) => find.selection_criteria(member),
            None => find,
        };
        let failed = |error: DriverError| match is_there {
            true => from_driver(&error),
            false => from_member(&error),
        };
        let mut cursor = find.session(&mut *session).await.map_err(failed)?;
        while cursor.advance(session).await.map_err(failed)? {
            documents.push(record::decode(cursor.current())?);
        }
        Ok(documents)
    }
}

impl Causal {
    /// Reads what every member has, as a read must see it.
    async fn wait(&mut self, store: &Store, limit: Limit) -> Result<()> {
        let metadata = Metadata::new(&store.database, store.name(Table::Data));
        let mut find = metadata.find().max_time(limit.left().min(WAIT_MAX));
        if let Some(member) = &self.member {
            find = find.selection_criteria(member.clone());
        }
        let found = find.session(&mut self.session).await;
        found.map(drop).map_err(|error| from_member(&error))
    }
}

/// What a member says of itself.
struct Heard {
    member: Option<ServerAddress>,
    /// The cluster time up to which it knows that a majority has everything.
    reached: u64,
}

impl Heard {
    /// Asks one that reads may go to.
    async fn of(database: &Database) -> Result<Self> {
        let mut ask = database.run_command(doc! { "hello": 1 });
        if let Some(criteria) = database.selection_criteria() {
            ask = ask.selection_criteria(criteria.clone());
        }
        let hello = ask.await.map_err(|error| from_driver(&error))?;
        let member = hello.get_str("me").ok().and_then(|name| ServerAddress::parse(name).ok());
        let written = hello.get_document("lastWrite").ok();
        let confirmed = written.and_then(|written| written.get_document("majorityOpTime").ok());
        let time = confirmed.and_then(|confirmed| confirmed.get_timestamp("ts").ok());
        Ok(Self { member, reached: time.map_or(0, reached_of) })
    }
}

fn only(member: ServerAddress) -> SelectionCriteria {
    SelectionCriteria::Predicate(Arc::new(move |server| *server.address() == member))
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
    Ok(Some(Watermark { cluster: store.cluster, timeline: 0, reached: reached_of(time) }))
}

fn reached_of(time: ClusterTime) -> u64 {
    u64::from(time.time) << 32 | u64::from(time.increment)
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
