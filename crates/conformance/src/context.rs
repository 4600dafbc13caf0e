//! What a case works with: a namespace of its own, its clock, and bounded time.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use syntrix_storage_core::backend::{Backend, Ledger};
use syntrix_storage_core::{
    Capabilities, CollectionPath, Direction, Document, DocumentAdmin, DocumentPath, DocumentStore,
    ErrorKind, IndexDefinition, ManualClock, Operator, OrderBy, Page, Query, Result, Retention,
    StoreAdmin, TokenRevocationStore, UserStore, WatchOptions, WatchStart,
};

use crate::check::{CaseResult, Failure};
use crate::harness::{Handle, Harness, Route, Setup};
use crate::watching::Watcher;

/// How long [`within`] waits: far beyond what a healthy store needs, so only a hang meets it.
const TIME_LIMIT: Duration = Duration::from_secs(15);

/// One case's world. Cheap to clone, so that tasks of a case can have their own.
#[derive(Clone)]
pub struct Context(Arc<Inner>);

struct Inner {
    harness: Arc<dyn Harness>,
    namespace: String,
    clock: ManualClock,
    state: Mutex<State>,
    counter: AtomicU64,
}

struct State {
    setup: Setup,
    current: Arc<dyn Handle>,
    /// Every handle ever opened; closing one twice does no harm.
    opened: Vec<Arc<dyn Handle>>,
    namespaces: Vec<String>,
}

impl Context {
    /// Opens the fresh namespace of the case `id`.
    pub(crate) async fn open(harness: Arc<dyn Harness>, id: &str, setup: Setup) -> Result<Self> {
        let namespace = fresh_namespace(id);
        let clock = setup.clock.clone();
        let current = harness.open(&namespace, &setup).await?;
        let opened = vec![Arc::clone(&current)];
        let namespaces = vec![namespace.clone()];
        let state = Mutex::new(State { setup, current, opened, namespaces });
        Ok(Self(Arc::new(Inner { harness, namespace, clock, state, counter: AtomicU64::new(0) })))
    }

    /// The store of this case; after [`Context::reopen`] the new one.
    pub fn store(&self) -> Arc<dyn DocumentStore> {
        opened(self.state().current.documents())
    }

    /// The operator's side of the same store.
    pub fn admin(&self) -> Arc<dyn DocumentAdmin> {
        opened(self.state().current.admin())
    }

    /// The accounts of this case, of a group about them.
    pub fn users(&self) -> Arc<dyn UserStore> {
        opened(self.state().current.users())
    }

    /// The revoked tokens of this case, of a group about them.
    pub fn revocations(&self) -> Arc<dyn TokenRevocationStore> {
        opened(self.state().current.revocations())
    }

    /// The operator's side of the accounts or revoked tokens of this case.
    pub fn store_admin(&self) -> Arc<dyn StoreAdmin> {
        let state = self.state();
        opened(state.current.store_admin(state.setup.store))
    }

    /// What routes use of the backend under the store of this case. A case does not apply where there is none of it.
    pub fn backend<T>(&self, part: impl FnOnce(&dyn Backend) -> Result<T>) -> CaseResult<T> {
        let part = self.handle().backend().and_then(|backend| part(&*backend));
        part.map_err(Failure::unless_unsupported)
    }

    /// The ledger beside the data of this case.
    pub fn ledger(&self) -> CaseResult<Arc<dyn Ledger>> {
        self.backend(|backend| backend.ledger())
    }

    /// The route of this case's documents. A case does not apply where they lie on one database alone.
    pub fn route(&self) -> CaseResult<Arc<dyn Route>> {
        self.handle().route().map_err(Failure::unless_unsupported)
    }

    /// The handle both come from.
    pub fn handle(&self) -> Arc<dyn Handle> {
        Arc::clone(&self.state().current)
    }

    /// The clock of every store of this case; it stands still at [`Setup::START_MS`] until it is moved.
    pub fn clock(&self) -> &ManualClock {
        &self.0.clock
    }

    /// What the backend claims to offer for the store of this case.
    pub fn capabilities(&self) -> Capabilities {
        self.0.harness.capabilities(self.state().setup.store).unwrap_or(Capabilities::NONE)
    }

    /// Who runs the suite, for the cases about configuration.
    pub fn harness(&self) -> &dyn Harness {
        &*self.0.harness
    }

    /// Closes the store and opens it again. Without [`Capabilities::durable`] the new one is empty.
    pub async fn reopen(&self) -> CaseResult {
        self.reopen_with(|_| {}).await
    }

    /// As [`Context::reopen`], with other retentions.
    pub async fn reopen_with_retention(&self, retention: Retention) -> CaseResult {
        self.reopen_with(|setup| setup.retention = retention).await
    }

    async fn reopen_with(&self, change: impl FnOnce(&mut Setup)) -> CaseResult {
        self.handle().close().await?;
        let setup = {
            let mut state = self.state();
            change(&mut state.setup);
            state.setup.clone()
        };
        let handle = self.0.harness.open(&self.0.namespace, &setup).await?;
        self.keep(&handle);
        self.state().current = handle;
        Ok(())
    }

    /// A second handle on the same data. Needs [`Need::Shared`](crate::Need::Shared).
    pub async fn second_handle(&self) -> CaseResult<Arc<dyn Handle>> {
        let setup = self.state().setup.clone();
        let handle = self.0.harness.open(&self.0.namespace, &setup).await?;
        self.keep(&handle);
        Ok(handle)
    }

    /// As [`Context::second_handle`], with another retention. The first handle keeps its own.
    pub async fn second_handle_with_retention(
        &self,
        retention: Retention,
    ) -> CaseResult<Arc<dyn Handle>> {
        let setup = Setup { retention, ..self.state().setup.clone() };
        let handle = self.0.harness.open(&self.0.namespace, &setup).await?;
        self.keep(&handle);
        Ok(handle)
    }

    /// A second handle that is not closed when the case is over, so that the case can drop it.
    pub async fn stray_handle(&self) -> CaseResult<Arc<dyn Handle>> {
        let setup = self.state().setup.clone();
        Ok(self.0.harness.open(&self.0.namespace, &setup).await?)
    }

    /// Another store, in a namespace of its own.
    pub async fn other_store(&self) -> CaseResult<Arc<dyn Handle>> {
        let namespace = fresh_namespace("other");
        let setup = self.state().setup.clone();
        self.state().namespaces.push(namespace.clone());
        let handle = self.0.harness.open(&namespace, &setup).await?;
        self.keep(&handle);
        Ok(handle)
    }

    /// Opens a configuration; the handle is closed when the case is over.
    pub async fn open_config(&self, yaml: &str) -> Result<Arc<dyn Handle>> {
        let handle = self.0.harness.open_config(yaml).await?;
        self.keep(&handle);
        Ok(handle)
    }

    /// Remembers to close the handle when the case is over.
    fn keep(&self, handle: &Arc<dyn Handle>) {
        self.state().opened.push(Arc::clone(handle));
    }

    /// The path `case/<name>`.
    pub fn path(&self, name: &str) -> CaseResult<DocumentPath> {
        Ok(self.collection()?.document(name)?)
    }

    /// A path in the collection `case` that this case has not had before.
    pub fn unique_path(&self) -> CaseResult<DocumentPath> {
        let number = self.0.counter.fetch_add(1, Ordering::Relaxed);
        self.path(&format!("d{number:05}"))
    }

    /// The collection `case`, where [`Context::path`] and [`Context::unique_path`] lie.
    pub fn collection(&self) -> CaseResult<CollectionPath> {
        Ok(CollectionPath::parse("case")?)
    }

    /// Declares an index, fields as `("room", Ascending)`.
    pub async fn declare_index(
        &self,
        pattern: &str,
        fields: &[(&str, Direction)],
    ) -> CaseResult<IndexDefinition> {
        let fields = fields.iter().map(|(field, direction)| OrderBy::new(field, *direction));
        let index = IndexDefinition::new(pattern, fields.collect::<Result<_>>()?)?;
        self.admin().create_index(&index).await?;
        Ok(index)
    }

    /// Runs a query; if it needs an index, that is declared first.
    pub async fn query(&self, query: Query) -> Result<Page> {
        match self.store().query(query.clone(), Default::default()).await {
            Err(error) if error.kind() == ErrorKind::IndexRequired => {
                let Some(suggestion) = error.suggestion() else { return Err(error) };
                self.admin().create_index(&suggestion.to_definition()?).await?;
                self.store().query(query, Default::default()).await
            }
            answer => answer,
        }
    }

    /// The ids of a query's first page in order; declares an index if it needs one.
    pub async fn ids(&self, query: Query) -> CaseResult<Vec<String>> {
        let page = self.query(query).await?;
        Ok(page.documents.iter().map(|document| document.id().to_owned()).collect())
    }

    /// What lies at `path`, live or tombstone; `None` if there is neither.
    pub async fn stored(&self, path: &DocumentPath) -> CaseResult<Option<Document>> {
        let query = Query::of(path.collection())
            .filter("fullpath", Operator::Equal, path.as_str())?
            .show_deleted(true);
        let page = self.store().query(query, Default::default()).await?;
        Ok(page.documents.into_iter().next())
    }

    /// The tombstone at `path`; fails if there is none.
    pub async fn tombstone(&self, path: &DocumentPath) -> CaseResult<Document> {
        let stored = self.stored(path).await?;
        stored
            .filter(Document::is_deleted)
            .ok_or_else(|| Failure::new(format_args!("there is no tombstone at {path}")))
    }

    /// Watches everything from now on, with a quick heartbeat.
    pub async fn watch_all(&self) -> CaseResult<Watcher> {
        self.watch(None, WatchStart::Now, Watcher::options()).await
    }

    /// Watches everything behind a token or from the oldest change.
    pub async fn watch_from(&self, start: WatchStart) -> CaseResult<Watcher> {
        self.watch(None, start, Watcher::options()).await
    }

    /// Watches as asked; a failure to start fails the case.
    pub async fn watch(
        &self,
        collection: Option<&CollectionPath>,
        start: WatchStart,
        options: WatchOptions,
    ) -> CaseResult<Watcher> {
        let stream = within(self.store().watch(collection, start, options)).await??;
        Ok(Watcher::new(stream))
    }

    /// Closes every handle and removes every namespace; what goes wrong is the case's failure.
    pub(crate) async fn clean_up(&self) -> CaseResult {
        let (opened, namespaces) = {
            let mut state = self.state();
            (std::mem::take(&mut state.opened), state.namespaces.clone())
        };
        for handle in opened {
            within_limit(CLOSE_LIMIT, handle.close()).await??;
        }
        for namespace in &namespaces {
            self.0.harness.remove(namespace).await?;
        }
        let leftovers = self.0.harness.leftovers().await?;
        match leftovers.iter().find(|leftover| namespaces.contains(leftover)) {
            Some(leftover) => {
                Err(Failure::new(format_args!("the namespace {leftover} was not removed")))
            }
            None => Ok(()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A case runs only where its store is offered; a harness that does not open it all the same fails the case here.
fn opened<T>(store: Result<T>) -> T {
    match store {
        Ok(store) => store,
        Err(error) => panic!("the harness did not open the store of the case: {error}"),
    }
}

/// `close` waits up to 5 s for calls in flight; beyond twice that it hangs.
const CLOSE_LIMIT: Duration = Duration::from_secs(10);

/// Fails if `future` takes longer than 15 s: a call that must answer hangs. Hundreds of calls over a route take some seconds on a busy
/// machine.
pub async fn within<T>(future: impl Future<Output = T>) -> CaseResult<T> {
    within_limit(TIME_LIMIT, future).await
}

/// As [`within`], for work of another size.
pub async fn within_limit<T>(limit: Duration, future: impl Future<Output = T>) -> CaseResult<T> {
    tokio::time::timeout(limit, future)
        .await
        .map_err(|_| Failure::new(format_args!("still not done after {} s", limit.as_secs())))
}

/// `doc_01_` and enough random characters that no two runs meet on one server.
fn fresh_namespace(id: &str) -> String {
    let name = id.to_ascii_lowercase().replace('-', "_");
    let random: String =
        std::iter::repeat_with(|| fastrand::alphanumeric().to_ascii_lowercase()).take(12).collect();
    format!("{name}_{random}")
}
