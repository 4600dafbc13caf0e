//! From a dsn to open connections: which hosts, how encrypted, with which session settings.

use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use deadpool_postgres::ClientWrapper;
use syntrix_storage_core::backend::Backoff;
use syntrix_storage_core::{AddressTls, Error, ErrorKind, Result, SettingsNode, Transport};
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls};

use crate::error::{damaged, from_postgres, late, not_started, standby};
use crate::row::value;
use crate::settings::{Pooler, Settings};
use crate::standby::{IS_STANDBY, Standby};
use crate::tls::Tls;

/// How long a peer may be silent before its connection counts as lost.
const SILENCE_MAX: Duration = Duration::from_secs(15);
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// Longest time a transaction of ours may stand still, should this program be stopped in the middle of one.
const IDLE_IN_TRANSACTION_MAX_MS: u64 = 60_000;

/// Asked once per connection: a pool may reach another server after a failover.
const STATE: &str = "SELECT pg_is_in_recovery(), current_setting('synchronous_commit') = 'off', \
    current_setting('standard_conforming_strings') = 'off'";
/// In a session of our own it is also set, at the server's value or better, so that no later change of the server's
/// configuration reaches it.
const STATE_SET: &str = "SELECT pg_is_in_recovery(), set_config('synchronous_commit', \
    CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, FALSE) = 'off', \
    current_setting('standard_conforming_strings') = 'off'";

/// With a key of this process: what comes out says nothing of what went in.
static PASSWORD_DIGEST: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// A server and how to reach it. Opens nothing by itself.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    config: Config,
    transport: Transport,
}

impl Target {
    /// Reads the dsn. No I/O.
    pub(crate) fn parse(settings: &Settings, block: &SettingsNode) -> Result<Self> {
        // The parser's own text may quote the dsn.
        let parsed = settings.dsn.expose().parse::<Config>();
        let mut config = parsed.map_err(|_| {
            block.invalid(
                "dsn",
                "the dsn is not understood; write postgres://user:password@host:5432/database",
            )
        })?;
        check(&config).map_err(|message| block.invalid("dsn", message))?;
        let transport = transport(&config, settings, block)?;
        config.ssl_mode(if transport.is_encrypted() { SslMode::Require } else { SslMode::Disable });
        config.connect_timeout(settings.connect_timeout.0);
        config.tcp_user_timeout(SILENCE_MAX);
        config.keepalives_idle(KEEPALIVE_IDLE).keepalives_interval(KEEPALIVE_INTERVAL);
        config.application_name("syntrix-storage");
        if config.get_hosts().len() > 1 {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        if settings.pooler == Pooler::None {
            config.options(session_options(settings));
        }
        Ok(Self { config, transport })
    }

    /// Equal for blocks that name the same server and role with the same password; holds no secret.
    pub(crate) fn key(&self) -> String {
        let (user, database) = (self.config.get_user(), self.config.get_dbname());
        let (hosts, ports) = (self.config.get_hosts(), self.config.get_ports());
        // Where there are addresses, the driver connects to them and the hosts are names only.
        let addresses = self.config.get_hostaddrs();
        let password = PASSWORD_DIGEST.hash_one(self.config.get_password());
        format!(
            "{hosts:?}:{addresses:?}:{ports:?}:{user:?}:{password:x}:{database:?}:{}",
            self.transport.is_encrypted()
        )
    }
}

/// What the application may not set, because this crate does, or because it reads files of the machine.
fn check(config: &Config) -> Result<(), &'static str> {
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err("the dsn names no host");
    }
    if config.get_options().is_some() {
        return Err("the dsn must not set options; this program sets the session itself");
    }
    Ok(())
}

/// Plans of ours are by index, also while the planner has not seen how large a table has become.
fn session_options(settings: &Settings) -> String {
    format!(
        "-c statement_timeout={} -c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_MAX_MS} \
         -c search_path=pg_catalog -c standard_conforming_strings=on -c enable_seqscan=off -c jit=off -c max_parallel_workers_per_gather=0",
        settings.operation_timeout.0.as_millis()
    )
}

/// How connections are made; refuses plaintext to another machine that nobody asked for.
fn transport(config: &Config, settings: &Settings, block: &SettingsNode) -> Result<Transport> {
    let said = match config.get_ssl_mode() {
        SslMode::Disable => AddressTls::Disabled,
        SslMode::Require => AddressTls::Required,
        _ => AddressTls::Unsaid,
    };
    let addresses: Vec<_> = config.get_hostaddrs().iter().map(ToString::to_string).collect();
    let hosts = config.get_hosts().iter().map(|host| match host {
        Host::Unix(_) => "",
        Host::Tcp(name) => name,
    });
    let hosts = hosts.chain(addresses.iter().map(String::as_str));
    settings.tls.transport(block, said, hosts, settings.allow_plaintext)
}

/// A connection and the task that drives it.
type Raw = Result<(Client, JoinHandle<()>), tokio_postgres::Error>;

/// Makes connections.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    target: Target,
    tls: Tls,
    pooler: Pooler,
    /// Longest time until a server has taken a connection, and as long again for its first answer.
    connect_max: Duration,
    /// Set if it leads to standbys.
    standby: Option<Standby>,
    backoff: Arc<Backoff>,
}

impl Connector {
    /// Reads certificate files, relative ones in `data_dir`; connects nowhere.
    pub(crate) fn new(target: Target, settings: &Settings, data_dir: &Path) -> Result<Self> {
        if target.transport == Transport::Exposed {
            tracing::warn!("no TLS to PostgreSQL on another machine, as allowPlaintext says");
        }
        let tls = match target.transport.is_encrypted() {
            true => Tls::verified(&settings.tls.within(data_dir))?,
            false => Tls::Off,
        };
        let (hosts, addresses) = (target.config.get_hosts(), target.config.get_hostaddrs());
        // Each host has the time for itself, and there is some for another address of a name.
        let hosts = u32::try_from(hosts.len().max(addresses.len())).unwrap_or(u32::MAX);
        let connect_max = settings.connect_timeout.0.saturating_mul(hosts.saturating_add(1));
        Ok(Self {
            target,
            tls,
            pooler: settings.pooler,
            connect_max,
            standby: None,
            backoff: Arc::default(),
        })
    }

    /// As it is, or to standbys if no host takes writes and there is one that reads.
    pub(crate) async fn into_replica(mut self) -> Result<Self> {
        let configured = self.target.config.get_target_session_attrs();
        let mut probed = self.leads_to_standby().await;
        if probed.is_err() && configured != TargetSessionAttrs::Any {
            self.target.config.target_session_attrs(TargetSessionAttrs::Any);
            probed = self.leads_to_standby().await;
        }
        let is_standby = probed?;
        if !is_standby {
            self.target.config.target_session_attrs(configured);
        }
        if is_standby && !self.has_sessions() {
            return Err(Error::new(ErrorKind::ConfigInvalid, "").with_message(
                "a standby is read through connections of its own; set `pooler: none` and name the standby's own address",
            ));
        }
        self.standby = is_standby.then(Standby::default);
        Ok(self)
    }

    async fn leads_to_standby(&self) -> Result<bool> {
        let client = self.connect_any().await?;
        let asked = client.query_typed(IS_STANDBY, &[]);
        let rows = tokio::time::timeout(self.connect_max, asked).await.map_err(|_| late())?;
        let rows = rows.map_err(|error| not_started(from_postgres(&error)))?;
        value(rows.first().ok_or_else(damaged)?, 0)
    }

    /// The standbys that it leads to, if any.
    pub(crate) fn standby(&self) -> Option<&Standby> {
        self.standby.as_ref()
    }

    pub(crate) fn config(&self) -> &Config {
        &self.target.config
    }

    /// Longest time until a server has taken a connection.
    pub(crate) fn connect_max(&self) -> Duration {
        self.connect_max
    }

    /// Whether a connection is a session of our own, with prepared statements and settings.
    pub(crate) fn has_sessions(&self) -> bool {
        self.pooler == Pooler::None
    }

    /// What the last attempt said, while the pause after it lasts.
    pub(crate) fn check_backoff(&self) -> Result<()> {
        self.backoff.check()
    }

    /// The server took a connection at `begun` and said nothing.
    pub(crate) fn silent(&self, begun: Instant) -> Error {
        self.backoff.failed(begun, &late());
        late()
    }

    /// A connection, driven by a task of its own. Not set up yet.
    pub(crate) async fn connect_raw(&self) -> Raw {
        let begun = Instant::now();
        let connected = self.connect_once().await;
        match &connected {
            Ok(_) => self.backoff.succeeded(),
            Err(error) if is_unreached(error) => {
                self.backoff.failed(begun, &not_started(from_postgres(error)));
            }
            // It is there and says why not.
            Err(_) => {}
        }
        connected
    }

    async fn connect_once(&self) -> Raw {
        match &self.tls {
            Tls::Off => {
                let (client, connection) = self.target.config.connect(NoTls).await?;
                Ok((client, tokio::spawn(drive(connection))))
            }
            Tls::On(tls) => {
                let (client, connection) = self.target.config.connect(tls.clone()).await?;
                Ok((client, tokio::spawn(drive(connection))))
            }
        }
    }

    /// A connection, ready for statements.
    ///
    /// # Errors
    ///
    /// What the last attempt said, while the pause after it lasts.
    pub(crate) async fn connect(&self) -> Result<ClientWrapper> {
        self.check_backoff()?;
        let client = self.connect_any().await?;
        self.set_up(&client).await.map_err(|fault| fault.error())?;
        Ok(client)
    }

    /// A connection to whatever server it is. Its driver ends with it.
    async fn connect_any(&self) -> Result<ClientWrapper> {
        self.in_time(self.connect_raw()).await
    }

    /// The driver's own limit is the socket's: a server that takes it and is silent would be waited for without end.
    async fn in_time(&self, connecting: impl Future<Output = Raw>) -> Result<ClientWrapper> {
        let begun = Instant::now();
        let connected = tokio::time::timeout(self.connect_max, connecting).await;
        let connected = connected.map_err(|_| self.silent(begun));
        let (client, driver) = connected?.map_err(|error| not_started(from_postgres(&error)))?;
        Ok(ClientWrapper::new(client, driver))
    }

    /// Makes a new connection fit for statements.
    pub(crate) async fn set_up(&self, client: &Client) -> Result<(), Fault> {
        let fit = async {
            match &self.standby {
                None => set_up(client, self.has_sessions()).await,
                Some(standby) => standby.set_up(client).await,
            }
        };
        tokio::time::timeout(self.connect_max, fit).await.unwrap_or(Err(Fault::Late))
    }

    /// A connection whose messages the caller drives; `news` gets each notification's sender and payload. Who listens has a pace of its own.
    pub(crate) async fn connect_listening(
        &self,
        news: impl FnMut(i32, &str) + Send + 'static,
    ) -> Result<ClientWrapper> {
        let config = &self.target.config;
        let connecting = async {
            Ok(match &self.tls {
                Tls::Off => {
                    let (client, connection) = config.connect(NoTls).await?;
                    (client, tokio::spawn(listen(connection, news)))
                }
                Tls::On(tls) => {
                    let (client, connection) = config.connect(tls.clone()).await?;
                    (client, tokio::spawn(listen(connection, news)))
                }
            })
        };
        let client = self.in_time(connecting).await?;
        self.set_up(&client).await.map_err(|fault| fault.error())?;
        Ok(client)
    }

    /// Asks the server to stop what `client` runs.
    pub(crate) async fn cancel(&self, token: tokio_postgres::CancelToken) {
        let cancelled = match &self.tls {
            Tls::Off => token.cancel_query(NoTls).await,
            Tls::On(tls) => token.cancel_query(tls.clone()).await,
        };
        if cancelled.is_err() {
            tracing::debug!("a statement could not be cancelled; its time limit ends it");
        }
    }
}

/// Whether no server was there, or only one that starts or stops.
fn is_unreached(error: &tokio_postgres::Error) -> bool {
    error.code().is_none_or(|code| *code == SqlState::CANNOT_CONNECT_NOW)
}

async fn drive<S, T>(connection: tokio_postgres::Connection<S, T>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    // Every statement in flight gets the error.
    let _ = connection.await;
}

async fn listen<S, T>(
    mut connection: tokio_postgres::Connection<S, T>,
    mut news: impl FnMut(i32, &str) + Send,
) where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    loop {
        let message = std::future::poll_fn(|context| connection.poll_message(context)).await;
        match message {
            Some(Ok(tokio_postgres::AsyncMessage::Notification(notification))) => {
                news(notification.process_id(), notification.payload());
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return,
        }
    }
}

/// Why a connection is not used.
#[derive(Debug)]
pub(crate) enum Fault {
    Standby,
    /// The server took the connection and was silent.
    Late,
    /// A setting of the role or server, and it is not for us to change it: what to do.
    Setting(&'static str),
    Driver(tokio_postgres::Error),
}

impl Fault {
    pub(crate) fn error(&self) -> Error {
        match self {
            Self::Standby => standby(),
            Self::Late => late(),
            Self::Setting(remedy) => Error::new(ErrorKind::ConfigInvalid, "").with_message(*remedy),
            Self::Driver(error) => not_started(from_postgres(error)),
        }
    }
}

// Behind a transaction pooler a session setting would reach somebody else's session.
const LOOSE: &str = "synchronous_commit is off, so acknowledged writes could be lost; run ALTER ROLE … SET synchronous_commit = on";
pub(crate) const OLD_STRINGS: &str = "standard_conforming_strings is off, so a backslash in a text would not mean itself; \
    run ALTER ROLE … SET standard_conforming_strings = on";

/// Refuses a standby, and makes sure that a commit is acknowledged when it is durable and that a backslash is one.
async fn set_up(client: &Client, has_session: bool) -> Result<(), Fault> {
    let state = if has_session { STATE_SET } else { STATE };
    let rows = client.query_typed(state, &[]).await.map_err(Fault::Driver)?;
    let state = rows.first().ok_or(Fault::Standby)?;
    let flag = |column: usize| state.try_get::<_, bool>(column).map_err(Fault::Driver);
    if flag(0)? {
        return Err(Fault::Standby);
    }
    match (flag(1)?, flag(2)?) {
        (true, _) => Err(Fault::Setting(LOOSE)),
        (_, true) => Err(Fault::Setting(OLD_STRINGS)),
        (false, false) => Ok(()),
    }
}
