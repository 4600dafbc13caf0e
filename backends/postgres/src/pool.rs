//! The connections that calls have to themselves.

use std::time::Duration;

use deadpool_postgres::{
    Connect, Hook, HookError, Manager, ManagerConfig, Pool as Deadpool, PoolError, RecyclingMethod,
    Runtime, TimeoutType,
};
use syntrix_storage_core::{Error, ErrorKind, Result};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_postgres::{Client, Config};

use crate::connect::{Connector, Fault};
use crate::error::{from_pool, late, standby};
use crate::session::Session;
use crate::settings::Settings;
use crate::standby::Need;

const STANDBY: &str = "standby";
const LATE: &str = "late";
/// Looking at a connection before it is used again is local.
const RECYCLE_MAX: Duration = Duration::from_secs(1);

const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// A pool of connections to one server.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    pool: Deadpool,
    connector: Connector,
    answer_max: Duration,
    acquire_max: Duration,
}

impl Pool {
    /// Opens nothing yet.
    pub(crate) fn new(connector: &Connector, settings: &Settings) -> Result<Self> {
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let config = connector.config().clone();
        let manager = Manager::from_connect(config, Plug(connector.clone()), recycling);
        let setting_up = connector.clone();
        let pool = Deadpool::builder(manager)
            .max_size(settings.pool_connections_max as usize)
            .wait_timeout(Some(settings.acquire_timeout.0))
            .create_timeout(Some(connector.connect_max() + RECYCLE_MAX))
            .recycle_timeout(Some(RECYCLE_MAX))
            .runtime(Runtime::Tokio1)
            .post_create(Hook::async_fn(move |client: &mut deadpool_postgres::ClientWrapper, _| {
                let connector = setting_up.clone();
                Box::pin(async move { connector.set_up(client).await.map_err(hook_error) })
            }))
            .build()
            .map_err(|_| Error::new(ErrorKind::Internal, "open").with_message("no pool"))?;
        let (answer_max, acquire_max) = (answer_max(settings), settings.acquire_timeout.0);
        Ok(Self { pool, connector: connector.clone(), answer_max, acquire_max })
    }

    /// A connection for as long as the caller keeps it.
    ///
    /// # Errors
    ///
    /// What the last attempt said, where there is none and the pause after it lasts.
    pub(crate) async fn session(&self) -> Result<Session> {
        // The pool is asked in a pause alone: that locks it.
        if let Err(error) = self.connector.check_backoff()
            && self.size() == 0
            && !self.pool.is_closed()
        {
            return Err(error);
        }
        let begun = std::time::Instant::now();
        let connect = || async {
            self.pool.get().await.map_err(|error| match error {
                PoolError::Timeout(TimeoutType::Create) => self.connector.silent(begun),
                error => pool_error(&error),
            })
        };
        let client = patiently(self.acquire_max, connect).await?;
        Ok(Session::new(client, self.connector.clone(), self.answer_max))
    }

    /// As [`Pool::session`], for reads that need something of the standby.
    pub(crate) async fn session_with(&self, need: Option<Need>) -> Result<Session> {
        Ok(self.session().await?.with_need(need))
    }

    /// Closes what is idle now, and what is in use when it comes back.
    pub(crate) fn close(&self) {
        self.pool.close();
    }

    /// Most connections at once.
    pub(crate) fn size_max(&self) -> usize {
        self.pool.status().max_size
    }

    /// Connections that are open.
    pub(crate) fn size(&self) -> usize {
        self.pool.status().size
    }
}

/// Connects, and while the server has no connection left for us, tries again until `limit`: others give theirs back.
pub(crate) async fn patiently<T, Connecting>(
    limit: Duration,
    connect: impl Fn() -> Connecting,
) -> Result<T>
where
    Connecting: Future<Output = Result<T>>,
{
    let (end, mut pause) = (Instant::now() + limit, PAUSE_MIN);
    loop {
        match connect().await {
            Err(error) if error.fact("sqlstate") == Some("53300") && Instant::now() < end => {
                tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
            done => return done,
        }
    }
}

/// How long the answer to a statement may take before the connection counts as lost: the server ends it before.
pub(crate) fn answer_max(settings: &Settings) -> Duration {
    settings.operation_timeout.0 + Duration::from_secs(5)
}

fn hook_error(fault: Fault) -> HookError {
    match fault {
        Fault::Standby => HookError::message(STANDBY),
        Fault::Late => HookError::message(LATE),
        Fault::Setting(remedy) => HookError::message(remedy),
        Fault::Driver(error) => HookError::Backend(error),
    }
}

fn pool_error(error: &PoolError) -> Error {
    match error {
        PoolError::PostCreateHook(HookError::Message(text)) => match text.as_ref() {
            STANDBY => standby(),
            LATE => late(),
            remedy => Error::new(ErrorKind::ConfigInvalid, "").with_message(remedy.to_owned()),
        },
        other => from_pool(other),
    }
}

/// Lets the pool connect the way everything else here does.
struct Plug(Connector);

impl Connect for Plug {
    fn connect(
        &self,
        _: &Config,
    ) -> std::pin::Pin<
        Box<
            dyn Future<Output = Result<(Client, JoinHandle<()>), tokio_postgres::Error>>
                + Send
                + '_,
        >,
    > {
        Box::pin(self.0.connect_raw())
    }
}
