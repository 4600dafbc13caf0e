//! The connections that point reads share: each statement is sent without waiting for the answers before it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use syntrix_storage_core::{ErrorKind, Result};
use tokio::sync::Mutex;
use tokio_postgres::Row;

use crate::connect::Connector;
use crate::error::closed;
use crate::pool::{answer_max, patiently};
use crate::session::{Parameter, answered, run};
use crate::settings::Settings;
use crate::standby::Need;

/// As many statements in flight are worth another connection.
const IN_FLIGHT: usize = 4;

/// A few connections, each opened when it is first needed.
#[derive(Debug)]
pub(crate) struct Readers {
    connector: Connector,
    answer_max: Duration,
    acquire_max: Duration,
    lanes: Vec<Lane>,
    closed: AtomicBool,
}

#[derive(Debug, Default)]
struct Lane {
    client: RwLock<Option<Arc<ClientWrapper>>>,
    /// Held by whoever opens the connection.
    opening: Mutex<()>,
    in_flight: AtomicUsize,
}

/// Counts a statement for as long as it runs, also one that is given up.
struct Flight<'lane>(&'lane AtomicUsize);

impl<'lane> Flight<'lane> {
    fn begin(lane: &'lane Lane) -> Self {
        lane.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(&lane.in_flight)
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Readers {
    pub(crate) fn new(connector: Connector, settings: &Settings) -> Self {
        Self {
            connector,
            answer_max: answer_max(settings),
            acquire_max: settings.acquire_timeout.0,
            lanes: (0..settings.read_connections).map(|_| Lane::default()).collect(),
            closed: AtomicBool::new(false),
        }
    }

    /// Runs a short statement that changes nothing.
    pub(crate) async fn query(&self, sql: &str, values: &[Parameter<'_>]) -> Result<Vec<Row>> {
        self.query_with(sql, values, None).await
    }

    /// As [`Readers::query`], for a read that needs something of the standby.
    pub(crate) async fn query_with(
        &self,
        sql: &str,
        values: &[Parameter<'_>],
        need: Option<Need>,
    ) -> Result<Vec<Row>> {
        let lane = self.lane();
        let _flight = Flight::begin(lane);
        let client = match lane.open_client() {
            Some(client) => client,
            None => self.connect(lane).await?,
        };
        let prepared = self.connector.has_sessions();
        let read = run(&client, prepared, sql, values);
        let answer = answered(self.answer_max, &client, need, read).await;
        if answer.as_ref().is_err_and(|error| error.kind() != ErrorKind::PreconditionFailed) {
            lane.look_at(&client);
        }
        answer
    }

    /// The first lane that has little to do, or the one with the least.
    fn lane(&self) -> &Lane {
        let load = |lane: &&Lane| lane.in_flight.load(Ordering::Relaxed);
        let idle = self.lanes.iter().find(|lane| load(lane) < IN_FLIGHT);
        let least = || self.lanes.iter().min_by_key(load);
        idle.or_else(least).unwrap_or(&self.lanes[0])
    }

    async fn connect(&self, lane: &Lane) -> Result<Arc<ClientWrapper>> {
        let _turn = lane.opening.lock().await;
        if let Some(client) = lane.open_client() {
            return Ok(client);
        }
        if self.closed.load(Ordering::SeqCst) {
            return Err(closed());
        }
        let connect = || self.connector.connect();
        let client = Arc::new(patiently(self.acquire_max, connect).await?);
        lane.set(Some(Arc::clone(&client)));
        // Closed meanwhile: nobody else would let go of it.
        if self.closed.load(Ordering::SeqCst) {
            lane.set(None);
        }
        Ok(client)
    }

    /// Lets go of the connections; each closes with the last statement on it.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.lanes.iter().for_each(|lane| lane.set(None));
    }
}

impl Lane {
    fn open_client(&self) -> Option<Arc<ClientWrapper>> {
        let client = self.client.read().unwrap_or_else(PoisonError::into_inner);
        client.as_ref().filter(|client| !client.is_closed()).cloned()
    }

    fn set(&self, client: Option<Arc<ClientWrapper>>) {
        *self.client.write().unwrap_or_else(PoisonError::into_inner) = client;
    }

    /// After a failure the connection is left for a new one: a server that was promoted, restored or migrated answers others
    /// as before, and a plan may have become void.
    fn look_at(&self, failed: &Arc<ClientWrapper>) {
        let mut client = self.client.write().unwrap_or_else(PoisonError::into_inner);
        if client.as_ref().is_some_and(|client| Arc::ptr_eq(client, failed)) {
            *client = None;
        }
    }
}
