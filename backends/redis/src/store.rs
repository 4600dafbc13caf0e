//! What the handles on one store share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use redis::{Value, cmd};
use syntrix_storage_core::backend::{Canary, OpenContext};
use syntrix_storage_core::{Result, Transport};

use crate::address::{Node, Target};
use crate::changes::Changes;
use crate::connect::Link;
use crate::error::closed;
use crate::facts::Facts;
use crate::gather::Gather;
use crate::keys::Keys;
use crate::listing::Listing;
use crate::marks;
use crate::route::Route;
use crate::script::Scripts;
use crate::settings::Settings;

/// An open store.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) link: Arc<Link>,
    pub(crate) gather: Gather,
    pub(crate) keys: Keys,
    pub(crate) scripts: Scripts,
    pub(crate) canary: Canary,
    /// Whether what is acknowledged outlives the server.
    pub(crate) durable: bool,
    pub(crate) cluster: bool,
    /// Where changes wait for replicas, if they are to.
    pub(crate) changes: Option<Changes>,
    pub(crate) listing: Listing,
    leases: AtomicUsize,
}

impl Store {
    /// Connects, checks the server and finds or makes the marks.
    pub(crate) async fn open(
        settings: &Settings,
        target: &Target,
        context: &OpenContext,
    ) -> Result<Self> {
        if target.transport == Transport::Exposed {
            tracing::warn!(addr = target.in_words(), "no TLS to Redis, as allowPlaintext says");
        }
        let link = Link::new(Route::new(settings, target, &context.data_dir)?, settings);
        let keys = Keys::new(&settings.prefix, context.namespace.as_deref());
        let opened = Self::with(&link, keys, settings).await;
        opened.map_err(|error| {
            link.close();
            error.in_operation("open").with_fact("addr", target.in_words())
        })
    }

    async fn with(link: &Arc<Link>, keys: Keys, settings: &Settings) -> Result<Self> {
        let nodes = link.facts().await?;
        tell_of_replicas(&nodes, link.replicas_needed(), settings);
        if settings.replicas_min() > 0 {
            // Told now rather than by the first revocation, if the user may not.
            link.command::<Value>(cmd("WAIT").arg(0).arg(1), None).await?;
        }
        let canary = marks::open(link, &keys, settings.store_id().flatten()).await?;
        Ok(Self {
            link: Arc::clone(link),
            gather: Gather::new(Arc::clone(link)),
            keys,
            scripts: Scripts::new(),
            canary,
            durable: is_durable(&nodes),
            cluster: settings.cluster,
            changes: (settings.replicas_min() > 0).then(|| Changes::start(link)),
            listing: Listing::default(),
            leases: AtomicUsize::new(0),
        })
    }
}

/// Whether an acknowledged revocation outlives the server. If not, the operator said that this is meant, and is reminded.
fn is_durable(nodes: &[(Node, Facts)]) -> bool {
    let durable = nodes.iter().all(|(_, facts)| facts.has_append_only_file() && !facts.evicts());
    let evicted: u64 = nodes.iter().map(|(_, facts)| facts.evicted_keys()).sum();
    if !durable {
        tracing::warn!("Redis may lose revoked tokens, as acceptEviction or acceptVolatile says");
    }
    if evicted > 0 {
        tracing::warn!(evicted, "Redis has evicted keys: revoked tokens may have become valid");
    }
    durable
}

/// What an operator should change, though the server is taken: it may be in the middle of a failover.
fn tell_of_replicas(nodes: &[(Node, Facts)], needed: usize, settings: &Settings) {
    let least = nodes.iter().map(|(_, facts)| facts.replicas_in_touch()).min().unwrap_or(0);
    if least < needed {
        tracing::warn!(
            replicas = least,
            needed,
            "too few replicas follow Redis's primary: nothing can be revoked until they do, or minReplicas says otherwise"
        );
    }
    if needed > 0 && !nodes.iter().all(|(_, facts)| facts.has_replicas_min()) {
        tracing::warn!(
            "Redis does not refuse writes that no replica will get: set min-replicas-to-write and min-replicas-max-lag"
        );
    }
    if settings.replicas_min() == 0 && (settings.sentinel.is_some() || least > 0) {
        tracing::warn!(
            "a failover of Redis may lose revocations that were acknowledged: set minReplicas"
        );
    }
}

/// One handle's share; the connection ends with the last.
#[derive(Debug)]
pub(crate) struct Lease {
    store: Arc<Store>,
    released: AtomicBool,
}

impl Lease {
    pub(crate) fn new(store: &Arc<Store>) -> Self {
        store.leases.fetch_add(1, Ordering::SeqCst);
        Self { store: Arc::clone(store), released: AtomicBool::new(false) }
    }

    /// The store, while the lease is held.
    pub(crate) fn store(&self) -> Result<&Store> {
        if self.released.load(Ordering::Acquire) { Err(closed()) } else { Ok(&self.store) }
    }

    pub(crate) fn release(&self) {
        let first = !self.released.swap(true, Ordering::SeqCst);
        if first && self.store.leases.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.store.link.close();
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.release();
    }
}
