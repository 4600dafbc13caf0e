//! The three ways to a server: its address, the sentinels that know it, or the nodes of a cluster.

use std::path::Path;
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo, SingleNodeRoutingInfo};
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, Cmd, ConnectionInfo, IntoConnectionInfo,
    Pipeline, RedisConnectionInfo, RedisFuture, RedisResult, TlsCertificates, TlsMode, Value,
};
use syntrix_storage_core::{Error, ErrorKind, Result, Secret};

use crate::address::{Node, Target};
use crate::error::from_redis;
use crate::facts::Facts;
use crate::settings::{SentinelSettings, Settings, TlsSettings};

/// How a cluster's client, which looks for the right node itself, tries again; a change that is sent twice is applied once.
const CLUSTER_RETRIES: u32 = 3;

/// How to connect. Has passwords in it and therefore prints nothing.
pub(crate) enum Route {
    /// To this server.
    Single(Box<Client>),
    /// To the primary that the sentinels name, asked anew each time.
    Sentinel(Box<Sentinels>),
    /// To the primaries of a cluster.
    Cluster(Box<ClusterClient>),
}

/// Everything it takes to ask the sentinels.
pub(crate) struct Sentinels {
    target: Target,
    settings: SentinelSettings,
    certificates: Option<TlsCertificates>,
}

/// The address of a primary as sentinels name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named(String);

impl Named {
    fn of(client: &Client) -> Self {
        Self(client.get_connection_info().addr().to_string())
    }
}

/// An open connection; clones share it.
#[derive(Clone)]
pub(crate) enum Connection {
    Plain(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Route {
    /// Reads the certificates; connects to nothing.
    pub(crate) fn new(settings: &Settings, target: &Target, data_dir: &Path) -> Result<Self> {
        if target.tls {
            // Named here, so that a dependency which brings another provider cannot make the choice ambiguous. An error
            // says that the process has one already.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let certificates = settings.tls.as_ref().map(|tls| read(tls, data_dir)).transpose()?;
        let built = match (&settings.sentinel, settings.cluster) {
            (Some(sentinel), _) => {
                let (target, settings) = (target.clone(), sentinel.clone());
                Ok(Self::Sentinel(Box::new(Sentinels { target, settings, certificates })))
            }
            (None, true) => {
                cluster(settings, target, certificates).map(Box::new).map(Self::Cluster)
            }
            (None, false) => single(target, certificates).map(Box::new).map(Self::Single),
        };
        built.map_err(|error| from_redis(&error).in_operation("open"))
    }

    /// Opens a connection, and says which server the sentinels named for it. The caller bounds the time.
    pub(crate) async fn connect(&self) -> RedisResult<(Connection, Option<Named>)> {
        match self {
            Self::Single(client) => Ok((plain(client).await?, None)),
            Self::Sentinel(sentinels) => {
                let client = sentinels.primary().await?;
                Ok((plain(&client).await?, Some(Named::of(&client))))
            }
            Self::Cluster(client) => {
                Ok((Connection::Cluster(client.get_async_connection().await?), None))
            }
        }
    }

    /// Whether the sentinels name another server by now. One that was replaced does not know it before they tell it, which
    /// takes them ten seconds, and answers meanwhile from what it has. Where no sentinel answers, nobody does.
    pub(crate) async fn names_another(&self, than: &Named) -> bool {
        let Self::Sentinel(sentinels) = self else { return false };
        sentinels.primary().await.is_ok_and(|client| Named::of(&client) != *than)
    }
}

async fn plain(client: &Client) -> RedisResult<Connection> {
    // Every call has a deadline of its own.
    let config =
        AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
    let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    Ok(Connection::Plain(connection))
}

fn single(target: &Target, certificates: Option<TlsCertificates>) -> RedisResult<Client> {
    let info = info(target, &target.nodes[0])?;
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
        .response_timeout(settings.timeout.0);
    if target.tls {
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
    let info = node.address(target.tls).into_connection_info()?;
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

impl Sentinels {
    /// The server that they name. The connections to them end with the call.
    async fn primary(&self) -> RedisResult<Client> {
        self.client()?.async_get_client().await
    }

    fn client(&self) -> RedisResult<SentinelClient> {
        let Self { target, settings, certificates } = self;
        let sentinels = target.nodes.iter().map(|node| node.address(target.tls));
        let kind = SentinelServerType::Master;
        let mut builder = SentinelClientBuilder::new(sentinels, &settings.master, kind)?
            .set_client_to_redis_db(target.db.into());
        if target.tls {
            builder = builder
                .set_client_to_redis_tls_mode(TlsMode::Secure)
                .set_client_to_sentinel_tls_mode(TlsMode::Secure);
        }
        if let Some(certificates) = certificates {
            builder = builder
                .set_client_to_redis_certificates(certificates.clone())
                .set_client_to_sentinel_certificates(certificates.clone());
        }
        if let Some(username) = &target.username {
            builder = builder.set_client_to_redis_username(username);
        }
        if let Some(password) = &target.password {
            builder = builder.set_client_to_redis_password(password.expose());
        }
        if let Some(username) = &settings.username {
            builder = builder.set_client_to_sentinel_username(username);
        }
        if let Some(password) = settings.password.as_ref().map(Secret::expose) {
            builder = builder.set_client_to_sentinel_password(password);
        }
        builder.build()
    }
}

/// The files that `tls` names. Their paths are told, never what is in them.
fn read(tls: &TlsSettings, data_dir: &Path) -> Result<TlsCertificates> {
    let read = |path: &Path| {
        std::fs::read(data_dir.join(path)).map_err(|error| {
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
    Ok(TlsCertificates { client_tls, root_cert })
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
        let value = match (request, self) {
            (Request::Command(command), connection) => {
                connection.req_packed_command(command).await?
            }
            (Request::Pipeline(pipeline), connection) => pipeline.query_async(connection).await?,
            (Request::Facts, Self::Plain(connection)) => {
                connection.req_packed_command(&redis::cmd("INFO")).await?
            }
            (Request::Facts, Self::Cluster(connection)) => {
                let everywhere =
                    RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
                connection.route_command(redis::cmd("INFO"), everywhere).await?
            }
            (Request::To(_, command), Self::Plain(connection)) => {
                connection.req_packed_command(command).await?
            }
            (Request::To(node, command), Self::Cluster(connection)) => {
                let (host, port) = (node.host.clone(), node.port);
                let there = SingleNodeRoutingInfo::ByAddress { host, port };
                connection.route_command(command.clone(), RoutingInfo::SingleNode(there)).await?
            }
        };
        value.extract_error()
    }

    /// What each primary says of itself.
    pub(crate) async fn facts(&mut self) -> RedisResult<Vec<(Node, Facts)>> {
        self.send(Request::Facts).await.and_then(parse_facts)
    }

    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
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

impl ConnectionLike for Connection {
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
