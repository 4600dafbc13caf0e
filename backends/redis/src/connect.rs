//! The connection that all calls share, and what becomes of it when it is lost.
//!
//! Every new connection is checked before it serves: a server that came back as a replica, without its append-only file
//! or with an evicting policy must not answer. A lost one is replaced by the next call; while the server cannot be reached,
//! attempts are spaced out and calls in between fail at once. A watcher asks the server the same once a second, so
//! that one that was made a replica or unsafe under an open connection, or a network that swallows everything, is noticed
//! without traffic. It asks the sentinels, too: a primary that they have replaced is left, and so is one that may be cut off,
//! with neither a sentinel nor enough replicas to be seen.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use std::time::{Duration, Instant};

use redis::{Cmd, FromRedisValue, RedisError, RedisResult, Value};
use syntrix_storage_core::backend::Backoff;
use syntrix_storage_core::{Error, Result};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::address::Node;
use crate::error::{closed, from_redis, is_lost, silent, timeout as out_of_time};
use crate::facts::{Declared, Facts};
use crate::outlook::{Outlook, name};
use crate::route::{Connection, Request, Route, parse_facts};
use crate::settings::Settings;

/// What the answer that too few replicas confirmed needs to reach its caller in time: an idle server looks only ten times a
/// second whether a `WAIT` is over.
const ANSWER_MARGIN: Duration = Duration::from_millis(200);

/// How often the watcher looks.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// The shared connection.
pub(crate) struct Link {
    route: Route,
    declared: Declared,
    timeout: Duration,
    connect_timeout: Duration,
    /// How many replicas must confirm at least, and how long they may take.
    replicas_min: usize,
    replica_wait: Duration,
    state: RwLock<State>,
    backoff: Backoff,
    /// Held by whoever connects, so that one does.
    connecting: tokio::sync::Mutex<()>,
    /// The last connection that was thrown away.
    discarded: watch::Sender<u64>,
}

struct State {
    current: Option<Connection>,
    /// What the sentinels said last.
    outlook: Option<Outlook>,
    /// The primary before the one that they name.
    left: Option<Node>,
    /// Most replicas that the server had since the sentinels were asked last, and between that and the time before.
    online: [usize; 2],
    /// Counts connections: whoever finds one lost must not throw away the next.
    generation: u64,
    closed: bool,
}

impl Link {
    /// A link that connects when it is first used.
    pub(crate) fn new(route: Route, settings: &Settings) -> Arc<Self> {
        let state = State {
            current: None,
            outlook: None,
            left: None,
            online: [0; 2],
            generation: 0,
            closed: false,
        };
        let link = Arc::new(Self {
            route,
            declared: Declared::of(settings),
            timeout: settings.operation_timeout.0,
            connect_timeout: settings.connect_timeout.0,
            replicas_min: settings.replicas_min(),
            replica_wait: settings.replica_wait(),
            state: RwLock::new(state),
            backoff: Backoff::default(),
            connecting: tokio::sync::Mutex::default(),
            discarded: watch::Sender::new(0),
        });
        tokio::spawn(look_after(Arc::downgrade(&link)));
        link
    }

    /// Sends one command.
    pub(crate) async fn command<T: FromRedisValue>(
        &self,
        command: &Cmd,
        deadline: Option<Instant>,
    ) -> Result<T> {
        self.ask(Request::Command(command), deadline).await
    }

    /// Sends one request and reads the answer.
    pub(crate) async fn ask<T: FromRedisValue>(
        &self,
        request: Request<'_>,
        deadline: Option<Instant>,
    ) -> Result<T> {
        let answer = self.answer(request, deadline).await?;
        answer.and_then(read).map_err(|error| from_redis(&error))
    }

    /// Asks every primary for its facts.
    pub(crate) async fn facts(&self) -> Result<Vec<(Node, Facts)>> {
        let answer = self.answer(Request::Facts, None).await?;
        answer.and_then(parse_facts).map_err(|error| from_redis(&error))
    }

    /// Sends `request`, twice at most: what was sent over a connection that is lost is sent again over a new one. What the
    /// server says against it is told as it is.
    pub(crate) async fn answer(
        &self,
        request: Request<'_>,
        deadline: Option<Instant>,
    ) -> Result<RedisResult<Value>> {
        let deadline = self.deadline(deadline);
        let (generation, mut connection) = self.connection(deadline).await?;
        let first = within(deadline, connection.send(request)).await?;
        match &first {
            // Boxed, so that the future of the usual way is small.
            Err(error) if is_lost(error) => {
                Box::pin(self.answer_again(request, deadline, generation, error)).await
            }
            _ => Ok(first),
        }
    }

    async fn answer_again(
        &self,
        request: Request<'_>,
        deadline: Instant,
        generation: u64,
        lost: &RedisError,
    ) -> Result<RedisResult<Value>> {
        self.discard(generation);
        let (generation, mut connection) = self.connection(deadline).await.map_err(|again| {
            // What was sent may have been applied, whatever the second attempt says.
            again.with_retry(from_redis(lost).retry())
        })?;
        let second = within(deadline, connection.send(request)).await?;
        if second.as_ref().is_err_and(is_lost) {
            self.discard(generation);
        }
        Ok(second)
    }

    /// The caller's deadline, or our own.
    pub(crate) fn deadline(&self, callers: Option<Instant>) -> Instant {
        callers.unwrap_or_else(|| Instant::now() + self.timeout)
    }

    /// The connection there is, or a new one.
    pub(crate) async fn connection(&self, deadline: Instant) -> Result<(u64, Connection)> {
        if let Some(there) = self.current()? {
            return Ok(there);
        }
        Box::pin(within(deadline, self.connect())).await?
    }

    fn current(&self) -> Result<Option<(u64, Connection)>> {
        let state = self.read();
        if state.closed {
            return Err(closed());
        }
        Ok(state.current.clone().map(|connection| (state.generation, connection)))
    }

    async fn connect(&self) -> Result<(u64, Connection)> {
        let _only_one = self.connecting.lock().await;
        if let Some(there) = self.current()? {
            return Ok(there);
        }
        self.backoff.check()?;
        let begun = Instant::now();
        let connected = timeout(self.connect_timeout, self.open()).await;
        match connected.unwrap_or_else(|_| Err(silent())) {
            Ok((connection, outlook)) => self.keep(connection, outlook),
            Err(error) => Err(self.failed(begun, error)),
        }
    }

    /// A connection to a server that may be believed.
    async fn open(&self) -> Result<(Connection, Option<Outlook>)> {
        let failed = |error: RedisError| from_redis(&error);
        let (mut connection, outlook) = self.route.connect().await.map_err(failed)?;
        for (_, facts) in connection.facts().await.map_err(failed)? {
            facts.check(self.declared)?;
        }
        Ok((connection, outlook))
    }

    fn keep(&self, connection: Connection, outlook: Option<Outlook>) -> Result<(u64, Connection)> {
        let mut state = self.write();
        if state.closed {
            return Err(closed());
        }
        state.generation += 1;
        self.backoff.succeeded();
        state.note_left(outlook.as_ref());
        state.current = Some(connection.clone());
        state.outlook = outlook;
        state.online = [0; 2];
        Ok((state.generation, connection))
    }

    fn failed(&self, begun: Instant, error: Error) -> Error {
        let (kind, message) = (error.kind().as_str(), error.message().unwrap_or_default());
        tracing::warn!(kind, message, "cannot connect to Redis");
        self.backoff.failed(begun, &error);
        error
    }

    /// Forgets the connection, if it is still that one. Who waits on it for replicas waits no longer.
    pub(crate) fn discard(&self, generation: u64) {
        let mut state = self.write();
        if state.generation == generation && state.current.take().is_some() {
            tracing::warn!("the connection to Redis was lost");
            self.discarded.send_replace(generation);
        }
    }

    /// What comes of `work`, or nothing if its connection is thrown away first.
    pub(crate) async fn while_used<T>(
        &self,
        generation: u64,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let mut discarded = self.discarded.subscribe();
        tokio::select! {
            biased;
            done = work => Some(done),
            _ = discarded.wait_for(|last| *last >= generation) => None,
        }
    }

    /// Ends the connection. Every later call is `Closed`.
    pub(crate) fn close(&self) {
        let mut state = self.write();
        state.closed = true;
        state.current = None;
        self.route.close();
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the connection there is, and throws away one whose server is silent or no longer to be believed.
    async fn look(&self) {
        let Ok(Some((generation, mut connection))) = self.current() else { return };
        let asked = self.while_used(generation, timeout(self.timeout, connection.facts()));
        let (facts, of_most) = tokio::join!(asked, self.hear(generation));
        let Some(facts) = facts else { return };
        let believed = match facts {
            Ok(Ok(nodes)) => nodes.iter().all(|(_, facts)| {
                facts.check(self.declared).is_ok() && (of_most || self.is_in_touch(facts))
            }),
            // A cluster's client finds by itself what is left of the cluster.
            _ => connection.is_cluster(),
        };
        if !believed {
            self.discard(generation);
        }
    }

    /// Asks the sentinels, and throws away the connection to a primary that they have replaced, also while it is silent. Tells
    /// whether most of them answered.
    async fn hear(&self, generation: u64) -> bool {
        let outlook = self.route.outlook().await;
        let of_most = outlook.as_ref().is_some_and(|outlook| outlook.of_most);
        if self.is_replaced(generation, outlook) {
            self.discard(generation);
        }
        of_most
    }

    /// Whether a server that too few sentinels speak of cannot have been replaced: one whose replicas are there, or for which
    /// nobody would be chosen.
    fn is_in_touch(&self, facts: &Facts) -> bool {
        !self.route.has_sentinels() || facts.replicas_in_touch() >= self.replicas_min
    }

    /// Whether the sentinels have chosen another primary. If not, how many replicas there are is noted.
    fn is_replaced(&self, generation: u64, heard: Option<Outlook>) -> bool {
        let mut state = self.write();
        if state.generation != generation {
            return false;
        }
        let Some(outlook) = &mut state.outlook else { return false };
        let replaced = outlook.renew(heard);
        if outlook.of_most {
            state.online = [0, state.online[0]];
        }
        replaced
    }

    /// How many replicas must have a change before it is acknowledged: those that the operator wants, and all that the
    /// sentinels might promote.
    pub(crate) fn replicas_needed(&self) -> usize {
        if self.replicas_min == 0 {
            return 0;
        }
        let state = self.read();
        let Some(outlook) = &state.outlook else { return self.replicas_min };
        // One that has only just come the sentinels may promote before they are asked again; it leaves the server then.
        let seen = state.online[0].max(state.online[1]).min(outlook.up);
        self.replicas_min.max(outlook.promotable(state.left.as_ref())).max(seen)
    }

    /// Notes which replicas the server has. A primary that was left and follows by now confirms as they do, so it counts as they do,
    /// or it could stand for one that would be promoted instead of it.
    pub(crate) fn note_online(&self, generation: u64, followers: &[String]) {
        let mut state = self.write();
        if state.generation != generation {
            return;
        }
        state.online[0] = state.online[0].max(followers.len());
        if state.left.as_ref().is_some_and(|left| followers.contains(&name(left))) {
            state.left = None;
        }
    }

    /// Whether the sentinels decide who is promoted.
    pub(crate) fn has_sentinels(&self) -> bool {
        self.route.has_sentinels()
    }

    /// Until when they are waited for: in time for whoever must have the answer first, and for that one's sake half as long as
    /// the others may wait at least.
    pub(crate) fn replicas_until(&self, earliest: Instant) -> Instant {
        let now = Instant::now();
        let left = earliest.saturating_duration_since(now).saturating_sub(ANSWER_MARGIN);
        now + left.clamp(self.replica_wait / 2, self.replica_wait)
    }

    /// Which connection it is by now.
    pub(crate) fn generation(&self) -> u64 {
        self.read().generation
    }

    /// Whether this is still the connection that is used.
    pub(crate) fn is_current(&self, generation: u64) -> bool {
        let state = self.read();
        state.generation == generation && state.current.is_some()
    }

    pub(crate) fn is_cluster(&self) -> bool {
        self.declared.cluster
    }
}

impl State {
    /// Notes which primary the one that the sentinels name by now has replaced.
    fn note_left(&mut self, heard: Option<&Outlook>) {
        if let (Some(before), Some(heard)) = (&self.outlook, heard)
            && before.primary != heard.primary
        {
            self.left = Some(before.primary.clone());
        }
    }
}

/// Ends when nobody else holds the link, or it was closed.
async fn look_after(link: Weak<Link>) {
    loop {
        tokio::time::sleep(WATCH_INTERVAL).await;
        match link.upgrade() {
            Some(link) if !link.read().closed => link.look().await,
            _ => return,
        }
    }
}

fn read<T: FromRedisValue>(answer: Value) -> RedisResult<T> {
    Ok(redis::from_redis_value(answer)?)
}

/// Waits for `work` until the deadline.
pub(crate) async fn within<T>(deadline: Instant, work: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout_at(deadline.into(), work).await.map_err(|_| out_of_time())
}

impl fmt::Debug for Link {
    /// The rest has passwords in it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.read();
        let mut debug = formatter.debug_struct("Link");
        debug.field("connected", &state.current.is_some()).field("closed", &state.closed);
        debug.finish_non_exhaustive()
    }
}
