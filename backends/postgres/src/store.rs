//! An open schema: its connections, and how they are opened and let go.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use syntrix_storage_core::backend::{
    Access, CallContext, Canary, LeaseCount, Leased, OpenContext, StoreId,
};
use syntrix_storage_core::{Clock, Result, Retention, TokenSeal};

use crate::connect::{Connector, Target};
use crate::pool::Pool;
use crate::readers::Readers;
use crate::settings::Settings;
use crate::sql::in_schema;
use crate::standby::{Need, Standby, no_standby, read_only};
use crate::wake::Wake;
use crate::writer::{Writer, Writers};
use crate::{apply, insert, ledger, maintenance, reads, revocations, schema, users, watch};

/// How long `close` waits for connections that are still in use.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// Statements with the schema's name in them, made once.
#[derive(Debug)]
pub(crate) struct Texts {
    pub(crate) get: String,
    pub(crate) get_many: String,
    pub(crate) write: String,
    pub(crate) insert: String,
    pub(crate) first_page: String,
    pub(crate) next_page: String,
    pub(crate) end: String,
    pub(crate) oldest: String,
    pub(crate) trim: String,
    pub(crate) purge: String,
    pub(crate) user_by_id: String,
    pub(crate) user_by_name: String,
    pub(crate) user_insert: String,
    pub(crate) user_replace: String,
    pub(crate) user_login: String,
    pub(crate) user_swap: String,
    pub(crate) user_scan: String,
    pub(crate) user_changes: String,
    pub(crate) user_changes_end: String,
    pub(crate) revocation_get: String,
    pub(crate) revocation_get_many: String,
    pub(crate) revocation_write: String,
    pub(crate) revocation_purge: String,
    pub(crate) revocation_scan: String,
    pub(crate) ledger_read: String,
    pub(crate) ledger_list: String,
    pub(crate) ledger_insert: String,
    pub(crate) ledger_replace: String,
    pub(crate) ledger_remove: String,
}

impl Texts {
    fn of(schema: &str) -> Self {
        let text = |template| in_schema(template, schema);
        Self {
            get: text(reads::GET),
            get_many: text(reads::GET_MANY),
            write: text(apply::WRITE),
            insert: text(insert::INSERT),
            first_page: text(watch::FIRST_PAGE),
            next_page: text(watch::NEXT_PAGE),
            end: text(watch::END),
            oldest: text(watch::OLDEST),
            trim: text(watch::TRIM),
            purge: text(maintenance::PURGE),
            user_by_id: text(users::GET),
            user_by_name: text(users::GET_BY_NAME),
            user_insert: text(users::INSERT),
            user_replace: text(users::REPLACE),
            user_login: text(users::SET_LOGIN),
            user_swap: text(users::SWAP),
            user_scan: text(users::SCAN),
            user_changes: text(users::CHANGES),
            user_changes_end: text(users::CHANGES_END),
            revocation_get: text(revocations::GET),
            revocation_get_many: text(revocations::GET_MANY),
            revocation_write: text(revocations::WRITE),
            revocation_purge: text(revocations::PURGE),
            revocation_scan: text(revocations::SCAN),
            ledger_read: text(ledger::READ),
            ledger_list: text(ledger::LIST),
            ledger_insert: text(ledger::INSERT),
            ledger_replace: text(ledger::REPLACE),
            ledger_remove: text(ledger::REMOVE),
        }
    }
}

/// One open schema.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) pool: Pool,
    pub(crate) readers: Readers,
    pub(crate) writer: Writer,
    pub(crate) wake: Arc<Wake>,
    pub(crate) texts: Arc<Texts>,
    pub(crate) schema: String,
    pub(crate) seal: TokenSeal,
    pub(crate) store_id: StoreId,
    pub(crate) canary: Option<Canary>,
    pub(crate) server_version: String,
    pub(crate) retention: Retention,
    has_sessions: bool,
    /// Set if its servers are standbys.
    standby: Option<Standby>,
    /// Stores that were handed out and not closed.
    leases: LeaseCount,
}

impl Store {
    /// Connects, makes the schema if it is not there, and brings it to the current version.
    pub(crate) async fn open(
        target: Target,
        settings: &Settings,
        context: &OpenContext,
    ) -> Result<Self> {
        Self::open_schema(target, settings, context)
            .await
            .map_err(|error| error.in_operation("open"))
    }

    async fn open_schema(
        target: Target,
        settings: &Settings,
        context: &OpenContext,
    ) -> Result<Self> {
        let connector = connector(target, settings, context).await?;
        let standby = connector.standby().cloned();
        let schema = schema_name(settings, context);
        let pool = Pool::new(&connector, settings)?;
        let identity = {
            let mut session = pool.session().await?;
            match standby {
                None => schema::open(&mut session, &schema).await?,
                Some(_) => schema::open_standby(&mut session, &schema).await?,
            }
        };
        let texts = Arc::new(Texts::of(&schema));
        // A standby takes no LISTEN, and nobody watches there.
        let has_side = connector.has_sessions() && standby.is_none();
        let side = has_side.then(|| connector.clone());
        let wake = Wake::start(side, identity.channel);
        let writers = Writers {
            pool: pool.clone(),
            texts: Arc::clone(&texts),
            clock: Arc::clone(&context.clock) as Arc<dyn Clock>,
            wake: Arc::clone(&wake),
        };
        Ok(Self {
            has_sessions: connector.has_sessions(),
            standby,
            readers: Readers::new(connector, settings),
            pool,
            writer: Writer::start(writers),
            wake,
            texts,
            schema,
            seal: identity.seal,
            store_id: identity.store_id,
            canary: identity.canary,
            server_version: identity.server_version,
            retention: settings.retention()?,
            leases: LeaseCount::default(),
        })
    }

    /// What a read needs of a standby; `None` if it asks for none and there is none.
    pub(crate) fn need(&self, context: &CallContext) -> Result<Option<Need>> {
        match (&self.standby, context.not_before) {
            (Some(standby), not_before) => standby.need(not_before).map(Some),
            (None, Some(_)) => Err(no_standby()),
            (None, None) => Ok(None),
        }
    }

    /// A standby is read alone.
    pub(crate) fn is_native_replica(&self) -> bool {
        self.standby.is_some()
    }

    /// This one, for what only a primary can do. A snapshot of a standby lacks what is in progress on its primary, so the
    /// change log must not be read there.
    pub(crate) fn primary(&self) -> Result<&Self> {
        match self.standby {
            None => Ok(self),
            Some(_) => Err(read_only()),
        }
    }

    /// Whether a connection is a session of our own.
    pub(crate) fn has_sessions(&self) -> bool {
        self.has_sessions
    }

    /// Lets go of every connection, and waits for those in use.
    pub(crate) async fn close(&self) -> Result<()> {
        self.let_go();
        let end = tokio::time::Instant::now() + CLOSE_MAX;
        while self.pool.size() > 0 && tokio::time::Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    fn let_go(&self) {
        self.writer.close();
        self.wake.close();
        self.readers.close();
        self.pool.close();
    }
}

/// A store that was dropped without close leaves no task and no connection behind.
impl Drop for Store {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// The configured schema, or the one of the namespace beside it.
pub(crate) fn schema_name(settings: &Settings, context: &OpenContext) -> String {
    match &context.namespace {
        None => settings.schema.clone(),
        Some(namespace) => format!("{}_{namespace}", settings.schema),
    }
}

/// What leads to the server, or to standbys if they are allowed and no host takes writes.
pub(crate) async fn connector(
    target: Target,
    settings: &Settings,
    context: &OpenContext,
) -> Result<Connector> {
    let connector = Connector::new(target, settings, &context.data_dir)?;
    match context.access {
        Access::Write => Ok(connector),
        Access::Replica => connector.into_replica().await,
    }
}

/// One store's hold.
pub(crate) type Lease = syntrix_storage_core::backend::Lease<Store>;

#[async_trait]
impl Leased for Store {
    fn leases(&self) -> &LeaseCount {
        &self.leases
    }

    async fn close(&self) -> Result<()> {
        Store::close(self).await
    }
}
