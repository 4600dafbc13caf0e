//! The sentinels: connections to them, and what they are asked.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use redis::aio::MultiplexedConnection;
use redis::{
    Client, ErrorKind as Kind, IntoConnectionInfo, RedisConnectionInfo, RedisError, RedisResult,
    TlsCertificates,
};
use tokio::time::{Instant, timeout_at};

use crate::address::{Node, Target};
use crate::error::is_lost;
use crate::outlook::{Outlook, View, join, nameless};
use crate::promotion::Fields;
use crate::route::server;
use crate::settings::SentinelSettings;

/// Longest wait for any of them.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// Longest wait for the rest, once most have answered.
const LATE_MAX: Duration = Duration::from_millis(200);

/// Everything it takes to ask them. Has passwords in it and therefore prints nothing.
pub(crate) struct Sentinels {
    all: Vec<Sentinel>,
    master: String,
    target: Target,
    certificates: Option<TlsCertificates>,
}

/// One of them.
struct Sentinel {
    client: Client,
    /// The connection on which it answered last, while nobody asks over it.
    kept: Mutex<Kept>,
}

enum Kept {
    Nothing,
    Connection(MultiplexedConnection),
    /// There shall be none any more.
    Closed,
}

impl Sentinels {
    pub(crate) fn new(
        target: &Target,
        settings: &SentinelSettings,
        certificates: Option<TlsCertificates>,
    ) -> RedisResult<Self> {
        let sentinel = |node| sentinel(target, node, settings, certificates.clone());
        Ok(Self {
            all: target.nodes.iter().map(sentinel).collect::<RedisResult<_>>()?,
            master: settings.master.clone(),
            target: target.clone(),
            certificates,
        })
    }

    /// How to connect to a server that they name.
    pub(crate) fn server(&self, node: &Node) -> RedisResult<Client> {
        server(&self.target, node, self.certificates.clone())
    }

    /// Asks all of them at the same time. Once most have answered, those that have not are hardly waited for: one may have died
    /// with the primary.
    pub(crate) async fn outlook(&self) -> RedisResult<Outlook> {
        let mut asked: FuturesUnordered<_> =
            self.all.iter().map(|sentinel| sentinel.ask(&self.master)).collect();
        let (mut views, mut end) = (Vec::new(), Instant::now() + ANSWER_MAX);
        while let Ok(Some(view)) = timeout_at(end, asked.next()).await {
            views.push(view);
            if views.iter().flatten().count() > self.all.len() / 2 {
                end = end.min(Instant::now() + LATE_MAX);
            }
        }
        join(views, self.all.len())
    }

    /// Ends the connections to them.
    pub(crate) fn close(&self) {
        self.all.iter().for_each(|sentinel| *sentinel.kept() = Kept::Closed);
    }
}

impl Sentinel {
    /// Over the connection on which it answered before, or a new one where there is none or it has ended.
    async fn ask(&self, master: &str) -> RedisResult<View> {
        if let Some(connection) = self.take() {
            match self.ask_over(connection, master).await {
                Err(error) if is_lost(&error) => {}
                answer => return answer,
            }
        }
        self.ask_over(self.client.get_multiplexed_async_connection().await?, master).await
    }

    /// Keeps the connection if it answered. One that is waited for no longer is not kept: it may lead nowhere.
    async fn ask_over(
        &self,
        mut connection: MultiplexedConnection,
        master: &str,
    ) -> RedisResult<View> {
        let answer = ask(&mut connection, master).await;
        if !answer.as_ref().is_err_and(is_lost) {
            self.keep(connection);
        }
        answer
    }

    fn take(&self) -> Option<MultiplexedConnection> {
        let mut kept = self.kept();
        match std::mem::replace(&mut *kept, Kept::Nothing) {
            Kept::Connection(connection) => Some(connection),
            other => {
                *kept = other;
                None
            }
        }
    }

    fn keep(&self, connection: MultiplexedConnection) {
        let mut kept = self.kept();
        if !matches!(*kept, Kept::Closed) {
            *kept = Kept::Connection(connection);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn ask(connection: &mut MultiplexedConnection, master: &str) -> RedisResult<View> {
    let mut questions = redis::pipe();
    for question in ["GET-MASTER-ADDR-BY-NAME", "MASTER", "REPLICAS"] {
        questions.cmd("SENTINEL").arg(question).arg(master);
    }
    let answers = questions.query_async(connection).await;
    let (primary, master, replicas): (Option<(String, u16)>, Fields, Vec<Fields>) = answers
        .map_err(|error: RedisError| match error.kind() {
            // It answers that it knows no such name.
            Kind::Server(_) => nameless(),
            _ => error,
        })?;
    let (host, port) = primary.ok_or_else(nameless)?;
    Ok(View::new(Node { host, port }, &master, &replicas))
}

/// How to connect to a sentinel, which has users of its own.
fn sentinel(
    target: &Target,
    node: &Node,
    settings: &SentinelSettings,
    certificates: Option<TlsCertificates>,
) -> RedisResult<Sentinel> {
    let mut login = RedisConnectionInfo::default().set_skip_set_lib_name();
    if let Some(username) = &settings.username {
        login = login.set_username(username);
    }
    if let Some(password) = &settings.password {
        login = login.set_password(password.expose());
    }
    let info = node.address(target.transport.is_encrypted()).into_connection_info()?;
    let info = info.set_redis_settings(login);
    let client = match certificates {
        Some(certificates) => Client::build_with_tls(info, certificates),
        None => Client::open(info),
    };
    Ok(Sentinel { client: client?, kept: Mutex::new(Kept::Nothing) })
}
