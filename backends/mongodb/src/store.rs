//! An open database: its connections, its collections, and how they are opened and let go.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mongodb::bson::RawDocumentBuf;
use mongodb::{Client, Collection, Database};
use syntrix_storage_core::backend::{LeaseCount, Leased, OpenContext, StoreId};
use syntrix_storage_core::{
    Clock, CollectionPattern, PatternSegment, Result, Retention, TokenSeal,
};

use crate::connect::Connections;
use crate::creates::Creates;
use crate::error::{closed, from_driver};
use crate::marks::Marks;
use crate::schema::Metadata;
use crate::server::{self, Topology};
use crate::settings::{Settings, USERS};
use crate::stream::{self, Content, Source, Start, Stream};
use crate::watch::Changes;
use crate::{catalogue, membership, schema, secondaries};

/// The top-level collection whose documents lie apart.
const RESERVED: &str = "sys";

/// Where a document lies on the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    /// Documents of the application.
    Data,
    /// Documents under `sys`.
    Sys,
}

impl Table {
    pub(crate) const ALL: [Self; 2] = [Self::Data, Self::Sys];

    /// By the first segment of the collection's path.
    pub(crate) fn of(collection: &str) -> Self {
        match collection.split('/').next() {
            Some(RESERVED) => Self::Sys,
            _ => Self::Data,
        }
    }

    /// Where the collections of an index lie; a collection segment is literal in a pattern.
    pub(crate) fn of_pattern(pattern: &CollectionPattern) -> Self {
        match pattern.segments().next() {
            Some(PatternSegment::Collection(RESERVED)) => Self::Sys,
            _ => Self::Data,
        }
    }
}

/// One open database.
#[derive(Debug)]
pub(crate) struct Store {
    connections: Connections,
    pub(crate) database: Database,
    /// Data, then sys.
    names: [String; 2],
    records: [Collection<RawDocumentBuf>; 2],
    creates: [Creates; 2],
    /// Which replica set, as a number of its own.
    pub(crate) cluster: u64,
    /// The feed; `None` on a server that has none, and where secondaries are read.
    changes: Option<Arc<Changes>>,
    /// The feed of accounts.
    account_changes: Option<Arc<Changes>>,
    pub(crate) topology: Topology,
    pub(crate) before: bool,
    pub(crate) seal: TokenSeal,
    pub(crate) store_id: StoreId,
    pub(crate) marks: Marks,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) retention: Retention,
    pub(crate) operation_timeout: Duration,
    /// Stores that were handed out and not closed.
    leases: LeaseCount,
}

impl Store {
    /// Connects, checks the server, and makes sure that everything is there.
    pub(crate) async fn open(settings: &Settings, context: &OpenContext) -> Result<Self> {
        let connections = Connections::open(settings, &context.data_dir, context.access).await?;
        let opened = match connections.is_replica {
            false => Self::open_on(&connections, settings, context).await,
            true => Self::open_replica(&connections, settings, context).await,
        };
        match opened {
            Ok(parts) => Ok(parts.into_store(connections, settings, context)?),
            Err(error) => {
                connections.close().await;
                Err(error.in_operation("open"))
            }
        }
    }

    async fn open_on(
        connections: &Connections,
        settings: &Settings,
        context: &OpenContext,
    ) -> Result<Parts> {
        let client = connections.client().ok_or_else(closed)?;
        let database = client.database(&database_name(settings, context));
        let (topology, members) = server::inspect(&client.database("admin")).await?;
        let metadata = Metadata::new(&database, &settings.data_collection);
        let record = metadata.ensure().await?;
        let cluster = membership::ensure_cluster(&metadata, &record, &members).await?;
        let names = [settings.data_collection.clone(), settings.sys_collection.clone()];
        for name in &names {
            catalogue::ensure_documents(&database, name, settings.before_images).await?;
        }
        if topology == Topology::Sharded {
            shard(&client, &database, &names).await?;
        }
        let source = Source {
            content: Content::Documents,
            before: has_before_images(&database, &names).await?,
            batch: stream::BATCH,
            collections: Arc::new(names.clone()),
            router: router(topology, settings)?,
            database: database.clone(),
        };
        if topology != Topology::Standalone && record.get_str("floor").is_err() {
            begin_history(&source, &metadata).await?;
        }
        let seal = schema::token_seal(&record)?;
        let store_id = schema::store_id(&record)?;
        let marks = Marks::ensure(&database).await?;
        let history = Some((source, metadata));
        Ok(Parts { database, names, topology, cluster, history, seal, store_id, marks })
    }

    /// As [`Store::open_on`], where nothing is created or watched.
    async fn open_replica(
        connections: &Connections,
        settings: &Settings,
        context: &OpenContext,
    ) -> Result<Parts> {
        let client = connections.client().ok_or_else(closed)?;
        let database = client.database(&database_name(settings, context));
        let (topology, members) = server::inspect(&client.database("admin")).await?;
        secondaries::check(topology)?;
        let record = Metadata::new(&database, &settings.data_collection).existing().await?;
        let cluster = membership::cluster_of(&record, &members)?;
        let names = [settings.data_collection.clone(), settings.sys_collection.clone()];
        let (seal, store_id) = (schema::token_seal(&record)?, schema::store_id(&record)?);
        let (history, marks) = (None, Marks::NONE);
        Ok(Parts { database, names, topology, cluster, history, seal, store_id, marks })
    }

    /// The driver's client; `None` once closed.
    pub(crate) fn client(&self) -> Option<Client> {
        self.connections.client()
    }

    /// Secondaries are read alone.
    pub(crate) fn is_native_replica(&self) -> bool {
        self.connections.is_replica
    }

    /// Whether all calls reach the same member.
    pub(crate) fn is_direct(&self) -> bool {
        self.connections.is_direct
    }

    /// For what holds no lease.
    pub(crate) fn check_open(&self) -> Result<()> {
        self.connections.client().map(drop).ok_or_else(closed)
    }

    pub(crate) fn name(&self, table: Table) -> &str {
        &self.names[table as usize]
    }

    pub(crate) fn records(&self, table: Table) -> &Collection<RawDocumentBuf> {
        &self.records[table as usize]
    }

    pub(crate) fn creates(&self, table: Table) -> &Creates {
        &self.creates[table as usize]
    }

    /// The feed, or how to get one.
    pub(crate) fn changes(&self) -> Result<&Arc<Changes>> {
        match self.is_native_replica() {
            true => Err(crate::secondaries::read_only()),
            false => self.changes.as_ref().ok_or_else(crate::watch::unsupported),
        }
    }

    /// The feed of accounts, or how to get one.
    pub(crate) fn account_changes(&self) -> Result<&Arc<Changes>> {
        self.account_changes.as_ref().ok_or_else(crate::watch::unsupported)
    }

    /// Ends the waits on the server and closes the connections, if nobody else in this process uses them.
    pub(crate) async fn close(&self) -> Result<()> {
        let close = |changes: Option<_>| async move {
            if let Some(changes) = changes {
                Changes::close(changes).await;
            }
        };
        tokio::join!(close(self.changes.as_deref()), close(self.account_changes.as_deref()));
        self.connections.close().await;
        Ok(())
    }
}

/// What is known once everything is there.
struct Parts {
    database: Database,
    names: [String; 2],
    topology: Topology,
    cluster: u64,
    /// Where changes come from, and how far back; not of secondaries.
    history: Option<(Source, Metadata)>,
    seal: TokenSeal,
    store_id: StoreId,
    marks: Marks,
}

impl Parts {
    fn into_store(
        self,
        connections: Connections,
        settings: &Settings,
        context: &OpenContext,
    ) -> Result<Store> {
        let Self { database, names, topology, cluster, history, seal, store_id, marks } = self;
        let records = [0, 1].map(|table: usize| database.collection(&names[table]));
        let creates = [0, 1].map(|table: usize| Creates::start(records[table].clone()));
        let clock = Arc::clone(&context.clock);
        let history = history.filter(|_| topology != Topology::Standalone);
        let before = history.as_ref().is_some_and(|(source, _)| source.before);
        let feed = |source, metadata| Changes::new(source, metadata, Arc::clone(&clock));
        let account_changes =
            history.as_ref().map(|(source, metadata)| feed(of_accounts(source), metadata.clone()));
        let changes = history.map(|(source, metadata)| feed(source, metadata));
        Ok(Store {
            connections,
            database,
            names,
            records,
            creates,
            changes,
            account_changes,
            topology,
            cluster,
            before,
            seal,
            store_id,
            marks,
            clock,
            retention: settings.retention()?,
            operation_timeout: settings.operation_timeout.0,
            leases: LeaseCount::default(),
        })
    }
}

/// The same for accounts.
fn of_accounts(documents: &Source) -> Source {
    Source {
        content: Content::Accounts,
        before: false,
        collections: Arc::new([USERS.to_owned()]),
        ..documents.clone()
    }
}

/// A namespace is a database of its own.
pub(crate) fn database_name(settings: &Settings, context: &OpenContext) -> String {
    match &context.namespace {
        Some(namespace) => format!("{}_{namespace}", settings.db),
        None => settings.db.clone(),
    }
}

async fn has_before_images(database: &Database, names: &[String; 2]) -> Result<bool> {
    Ok(catalogue::has_before_images(database, &names[0]).await?
        && catalogue::has_before_images(database, &names[1]).await?)
}

/// History begins where the first process that could watch it opened the store.
async fn begin_history(source: &Source, metadata: &Metadata) -> Result<()> {
    let stream = Stream::open(source, &Start::Now).await.map_err(|error| from_driver(&error))?;
    let place = stream.place().to_owned();
    stream.close().await;
    metadata.begin_history(&place).await
}

/// Spreads the documents by collection; does nothing if they are.
async fn shard(client: &Client, database: &Database, names: &[String; 2]) -> Result<()> {
    /// AlreadyInitialized: sharded by this key.
    const DONE: i32 = 23;
    let names = names.each_ref().map(String::as_str);
    for command in server::shard_commands(database.name(), &names) {
        match client.database("admin").run_command(command.clone()).await {
            Ok(_) => {}
            Err(error) if crate::error::code_of(&error) == Some(DONE) => {}
            Err(error) => return Err(catalogue::refused(&error, &command)),
        }
    }
    Ok(())
}

/// A change stream stays on the router that opened it, so one is chosen.
fn router(
    topology: Topology,
    settings: &Settings,
) -> Result<Option<mongodb::options::ServerAddress>> {
    if topology != Topology::Sharded {
        return Ok(None);
    }
    match settings.address()?.host_info {
        mongodb::options::HostInfo::HostIdentifiers(hosts) => Ok(hosts.into_iter().next()),
        // Found by the driver only; with one router nothing has to be chosen.
        _ => Ok(None),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_reserved_collection_lies_apart() {
        for (collection, table) in [
            ("sys", Table::Sys),
            ("sys/a/b", Table::Sys),
            ("system", Table::Data),
            ("a/sys/b", Table::Data),
        ] {
            assert_eq!(Table::of(collection), table, "{collection}");
            let pattern = CollectionPattern::parse(collection).unwrap();
            assert_eq!(Table::of_pattern(&pattern), table, "{collection}");
        }
    }
}
