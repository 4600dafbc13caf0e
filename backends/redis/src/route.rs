//! The three ways to a server: its address, the sentinels that know it, or the nodes of a cluster.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo, SingleNodeRoutingInfo};
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, Cmd, ConnectionInfo, ErrorKind as Kind,
    IntoConnectionInfo, Pipeline, RedisConnectionInfo, RedisFuture, RedisResult, TlsCertificates,
    TlsMode, Value,
};
use syntrix_storage_core::{Error, ErrorKind, Result, TlsSettings};

use crate::address::{Node, Target};
use crate::error::from_redis;
use crate::facts::Facts;
use crate::outlook::Outlook;
use crate::sentinels::Sentinels;
use crate::settings::Settings;

/// How a cluster's client, which looks for the right node itself, tries again; a change that is sent twice is applied once.
const CLUSTER_RETRIES: u32 = 3;

/// How to connect. Has passwords in it and therefore prints nothing.
pub(crate) struct Route {
    way: Way,
    /// Whether changes have a connection of their own, on which they can wait for replicas.
    apart: bool,
}

enum Way {
    /// To this server.
    Single(Box<Client>),
    /// To the primary that the sentinels name, asked anew each time.
    Sentinel(Box<Sentinels>),
    /// To the primaries of a cluster.
    Cluster(Box<ClusterClient>),
}

/// Open connections to one server, or to one cluster; clones share them.
#[derive(Clone)]
pub(crate) struct Connection {
    calls: Wire,
    /// Where whoever waits for replicas holds nobody else up. Behind one pointer: every check clones the connection.
    changes: Option<Arc<Wire>>,
}

#[derive(Clone)]
enum Wire {
    Plain(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Route {
    /// Reads the certificates; connects to nothing.
    pub(crate) fn new(settings: &Settings, target: &Target, data_dir: &Path) -> Result<Self> {
        if target.transport.is_encrypted() {
            // Named here, so that a dependency which brings another provider cannot make the choice ambiguous. An error
            // says that the process has one already.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let certificates = match target.transport.is_encrypted() {
            true => read(&settings.tls.within(data_dir))?,
            false => None,
        };
        let way = match (&settings.sentinel, settings.cluster) {
            (Some(sentinel), _) => {
                Sentinels::new(target, sentinel, certificates).map(Box::new).map(Way::Sentinel)
            }
            (None, true) => cluster(settings, target, certificates).map(Box::new).map(Way::Cluster),
            (None, false) => {
                server(target, &target.nodes[0], certificates).map(Box::new).map(Way::Single)
            }
        };
        let way = way.map_err(|error| from_redis(&error).in_operation("open"))?;
        Ok(Self { way, apart: settings.replicas_min() > 0 })
    }

    /// Opens connections, and says what the sentinels told of the server. The caller bounds the time.
    pub(crate) async fn connect(&self) -> RedisResult<(Connection, Option<Outlook>)> {
        match &self.way {
            Way::Single(client) => Ok((self.plain(client).await?, None)),
            Way::Sentinel(sentinels) => {
                let outlook = sentinels.outlook().await?;
                let client = sentinels.server(&outlook.primary)?;
                Ok((self.plain(&client).await?, Some(outlook)))
            }
            Way::Cluster(client) => {
                let calls = Wire::Cluster(client.get_async_connection().await?);
                let changes = match self.apart {
                    true => Some(Arc::new(Wire::Cluster(client.get_async_connection().await?))),
                    false => None,
                };
                Ok((Connection { calls, changes }, None))
            }
        }
    }

    /// What the sentinels say by now, if there are any and one answers. A primary that was replaced does not know it before
    /// they tell it, which takes them ten seconds, and answers meanwhile from what it has.
    pub(crate) async fn outlook(&self) -> Option<Outlook> {
        let Way::Sentinel(sentinels) = &self.way else { return None };
        sentinels.outlook().await.ok()
    }

    /// Ends what is kept open beside the connections that were handed out.
    pub(crate) fn close(&self) {
        if let Way::Sentinel(sentinels) = &self.way {
            sentinels.close();
        }
    }

    pub(crate) fn has_sentinels(&self) -> bool {
        matches!(self.way, Way::Sentinel(_))
    }

    async fn plain(&self, client: &Client) -> RedisResult<Connection> {
        let calls = Wire::Plain(plain(client).await?);
        let changes = match self.apart {
            true => Some(Arc::new(Wire::Plain(plain(client).await?))),
            false => None,
        };
        Ok(Connection { calls, changes })
    }
}

async fn plain(client: &Client) -> RedisResult<MultiplexedConnection> {
    // Every call has a deadline of its own.
    let config =
        AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
    client.get_multiplexed_async_connection_with_config(&config).await
}

/// How to connect to one server.
pub(crate) fn server(
    target: &Target,
    node: &Node,
    certificates: Option<TlsCertificates>,
) -> RedisResult<Client> {
    let info = info(target, node)?;
    match certificates {
        Some(certificates) => Client::build_with_tls(info, certificates),
        None => Client::open(info),
    }
}

fn cluster(
    settings: &Settings,
    target: &Target,
    certificates: Option<TlsCertificates>,
) -> RedisResult<ClusterClient> {
    let nodes = target.nodes.iter().map(|node| info(target, node));
    let mut builder = ClusterClient::builder(nodes.collect::<RedisResult<Vec<_>>>()?)
        .retries(CLUSTER_RETRIES)
        .min_retry_wait(milliseconds(Duration::from_millis(20)))
        .max_retry_wait(milliseconds(Duration::from_millis(500)))
        .connection_timeout(settings.connect_timeout.0)
        .response_timeout(settings.operation_timeout.0);
    if target.transport.is_encrypted() {
        builder = builder.tls(TlsMode::Secure);
    }
    if let Some(certificates) = certificates {
        builder = builder.certs(certificates);
    }
    builder.build()
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn info(target: &Target, node: &Node) -> RedisResult<ConnectionInfo> {
    let info = node.address(target.transport.is_encrypted()).into_connection_info()?;
    Ok(info.set_redis_settings(login(target)))
}

/// Without telling the server the driver's name: an access control list of Redis 7.0 cannot even allow that.
fn login(target: &Target) -> RedisConnectionInfo {
    let mut login = RedisConnectionInfo::default().set_skip_set_lib_name().set_db(target.db.into());
    if let Some(username) = &target.username {
        login = login.set_username(username);
    }
    if let Some(password) = &target.password {
        login = login.set_password(password.expose());
    }
    login
}

/// The files that `tls` names, if any. Their paths are told, never what is in them.
fn read(tls: &TlsSettings) -> Result<Option<TlsCertificates>> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|error| {
            Error::new(ErrorKind::ConfigInvalid, "open")
                .with_message("a file that `tls` names cannot be read")
                .with_fact("path", path.display())
                .with_source(error)
        })
    };
    let root_cert = tls.ca.as_deref().map(read).transpose()?;
    let client_tls = match (&tls.certificate, &tls.key) {
        (Some(certificate), Some(key)) => {
            Some(ClientTlsConfig { client_cert: read(certificate)?, client_key: read(key)? })
        }
        _ => None,
    };
    let named = root_cert.is_some() || client_tls.is_some();
    Ok(named.then_some(TlsCertificates { client_tls, root_cert }))
}

/// What is sent. Everything may be sent twice.
#[derive(Clone, Copy)]
pub(crate) enum Request<'a> {
    /// One command, to where its keys are.
    Command(&'a Cmd),
    /// Several commands in one go, which reach one server only.
    Pipeline(&'a Pipeline),
    /// `INFO`, to every primary.
    Facts,
    /// One command, to this primary.
    To(&'a Node, &'a Cmd),
}

impl Connection {
    pub(crate) async fn send(&mut self, request: Request<'_>) -> RedisResult<Value> {
        self.calls.send(request).await
    }

    /// Sends changes, and waits until `replicas` have them if any are to. The last two answers are how many do, and what the
    /// server says of its replicas if it is `asked`; each other one is its command's own. In a cluster all must have the same
    /// place.
    pub(crate) async fn send_confirmed(
        &self,
        changes: &[Cmd],
        replicas: usize,
        wait: Duration,
        asked: bool,
    ) -> RedisResult<Vec<Value>> {
        let mut pipeline = Pipeline::with_capacity(changes.len() + 1);
        for change in changes {
            pipeline.add_command(change.clone());
        }
        if replicas > 0 {
            pipeline.cmd("WAIT").arg(replicas).arg(milliseconds(wait));
        }
        if asked {
            pipeline.cmd("ROLE");
        }
        let mut wire = self.changes.as_deref().unwrap_or(&self.calls).clone();
        let mut answers = wire.req_packed_commands(&pipeline, 0, pipeline.len()).await?;
        if replicas == 0 {
            answers.insert(changes.len().min(answers.len()), Value::Int(0));
        }
        if !asked {
            answers.push(Value::Nil);
        }
        Ok(answers)
    }

    /// What each primary says of itself.
    ///
    /// # Errors
    ///
    /// Also if both connections do not lead to the same server: a name may stand for several.
    pub(crate) async fn facts(&mut self) -> RedisResult<Vec<(Node, Facts)>> {
        let facts = self.calls.send(Request::Facts).await.and_then(parse_facts)?;
        let Some(changes) = self.changes.as_deref() else { return Ok(facts) };
        let others = changes.clone().send(Request::Facts).await.and_then(parse_facts)?;
        let same = |(left, right): (&(Node, Facts), &(Node, Facts))| {
            left.1.get("run_id") == right.1.get("run_id")
        };
        if !self.is_cluster() && !facts.iter().zip(&others).all(same) {
            return Err((Kind::Io, "the address leads to different servers").into());
        }
        Ok(facts)
    }

    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self.calls, Wire::Cluster(_))
    }
}

impl Wire {
    async fn send(&mut self, request: Request<'_>) -> RedisResult<Value> {
        match self {
            Self::Plain(connection) => ask_server(connection, request).await,
            // Boxed: its future is many times the size, and every check of one server would carry that room along.
            Self::Cluster(connection) => Box::pin(ask_cluster(connection, request)).await,
        }
    }
}

/// The answer to [`Request::Facts`]: a text, or a text for each address.
pub(crate) fn parse_facts(answer: Value) -> RedisResult<Vec<(Node, Facts)>> {
    if let Value::Map(_) = answer {
        let texts: Vec<(String, String)> = redis::from_redis_value(answer)?;
        let facts = texts.into_iter().map(|(node, text)| (split(&node), Facts::parse(&text)));
        return Ok(facts.collect());
    }
    let text: String = redis::from_redis_value(answer)?;
    Ok(vec![(Node { host: String::new(), port: 0 }, Facts::parse(&text))])
}

fn split(address: &str) -> Node {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    Node { host: host.to_owned(), port: port.parse().unwrap_or_default() }
}

impl ConnectionLike for Wire {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Plain(connection) => connection.req_packed_command(command),
            Self::Cluster(connection) => connection.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Plain(connection) => connection.req_packed_commands(pipeline, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Plain(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

async fn ask_server(
    connection: &mut MultiplexedConnection,
    request: Request<'_>,
) -> RedisResult<Value> {
    let answer = match request {
        Request::Pipeline(pipeline) => return pipeline.query_async(connection).await,
        Request::Command(command) | Request::To(_, command) => {
            connection.req_packed_command(command).await?
        }
        Request::Facts => connection.req_packed_command(&redis::cmd("INFO")).await?,
    };
    answer.extract_error()
}

async fn ask_cluster(
    connection: &mut ClusterConnection,
    request: Request<'_>,
) -> RedisResult<Value> {
    let answer = match request {
        Request::Pipeline(pipeline) => return pipeline.query_async(connection).await,
        Request::Command(command) => connection.req_packed_command(command).await?,
        Request::To(node, command) => {
            let (host, port) = (node.host.clone(), node.port);
            let there = SingleNodeRoutingInfo::ByAddress { host, port };
            connection.route_command(command.clone(), RoutingInfo::SingleNode(there)).await?
        }
        Request::Facts => {
            let everywhere = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
            connection.route_command(redis::cmd("INFO"), everywhere).await?
        }
    };
    answer.extract_error()
}
