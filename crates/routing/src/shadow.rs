//! The way to the shadow: opened in the background, and never waited for by a caller.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use syntrix_storage_core::backend::{Backend, Ledger, StoreId};
use syntrix_storage_core::{Clock, Error, ErrorKind, Result, SystemClock};
use tokio::sync::watch;

/// First pause between two attempts to open the shadow.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);

const OTHER_REPLICA: &str = "the shadow is a replica of another database than the primary, and cannot be written to; \
     name a replica of the primary, or a database of the shadow's own";

/// Opens the shadow's backend; called again while it fails.
#[async_trait]
pub trait ShadowOpener: Send + Sync + fmt::Debug {
    /// Opens it, or hands out the one that is open.
    async fn open(&self) -> Result<Arc<dyn Backend>>;
}

/// How a route's shadow is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "state", content = "reason")]
pub enum ShadowState {
    /// It was not reached yet.
    Connecting,
    /// It answers.
    Up,
    /// It does not answer; it is tried again.
    Down(String),
    /// It must not be written to; an operator has to look.
    Refused(String),
    /// The route was given up by an operator. Opening the storage anew takes it up again.
    Dropped,
    /// The route was closed.
    Closed,
}

/// The last call to the shadow that failed, while it was opened, filled or followed.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LastFailure {
    /// When, by this process's clock, in milliseconds since 1970.
    pub at_ms: i64,
    /// The error.
    pub reason: String,
}

/// What becomes of a shadow that the primary's own database feeds: a standby, a secondary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NativeReplica {
    /// It is refused, as it cannot be written to.
    Refused,
    /// It is read and never written.
    Read,
}

/// Takes one store out of an open backend.
type Take<S> = fn(&dyn Backend) -> Result<Arc<S>>;

/// A shadow's store and the ledger beside it.
#[derive(Debug)]
pub struct OpenShadow<S: ?Sized> {
    /// The store.
    pub store: Arc<S>,
    /// The route's records on the shadow's side.
    pub ledger: Arc<dyn Ledger>,
}

impl<S: ?Sized> Clone for OpenShadow<S> {
    fn clone(&self) -> Self {
        Self { store: Arc::clone(&self.store), ledger: Arc::clone(&self.ledger) }
    }
}

/// The way to a shadow. `S` is the store: `dyn DocumentBackend` and its kin.
pub struct ShadowLink<S: ?Sized> {
    state: watch::Sender<ShadowState>,
    last_failure: Mutex<Option<LastFailure>>,
    open: OnceLock<OpenShadow<S>>,
    /// The shadow's checkpoint names our primary, so it may be written to.
    mirrored: AtomicBool,
    /// Everything that was on the primary when the route began is on the shadow, too.
    filled: AtomicBool,
    /// Whether the shadow may be a replica that the primary's own database feeds.
    may_be_native: bool,
    /// Whether it is one: it is read and never written.
    native: AtomicBool,
}

impl<S: ?Sized + Send + Sync + 'static> ShadowLink<S> {
    /// Starts to open the shadow. `primary` is whose data it is compared with.
    pub fn connect(
        opener: Arc<dyn ShadowOpener>,
        primary: StoreId,
        take: Take<S>,
        native: NativeReplica,
    ) -> Arc<Self> {
        let link = Arc::new(Self {
            state: watch::Sender::new(ShadowState::Connecting),
            last_failure: Mutex::new(None),
            open: OnceLock::new(),
            mirrored: AtomicBool::new(false),
            filled: AtomicBool::new(false),
            may_be_native: native == NativeReplica::Read,
            native: AtomicBool::new(false),
        });
        let connecting = Arc::clone(&link);
        tokio::spawn(async move {
            tokio::select! {
                () = connecting.closed() => {}
                () = connecting.keep_trying(&*opener, primary, take) => {}
            }
        });
        link
    }

    async fn keep_trying(&self, opener: &dyn ShadowOpener, primary: StoreId, take: Take<S>) {
        let mut pause = PAUSE_MIN;
        loop {
            match self.try_open(opener, primary, take).await {
                Ok(true) => return,
                // Refused for now.
                Ok(false) => {}
                Err(error) => self.failed(&error),
            }
            tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Whether that was all there is to do.
    async fn try_open(
        &self,
        opener: &dyn ShadowOpener,
        primary: StoreId,
        take: Take<S>,
    ) -> Result<bool> {
        let backend = opener.open().await?;
        let ledger = match backend.ledger() {
            Ok(ledger) => ledger,
            Err(error) => {
                self.refuse(&error.to_string());
                return Ok(true);
            }
        };
        let is_native = ledger.store_id() == primary;
        if is_native && !self.may_be_native {
            self.refuse(
                "the shadow is the primary itself or a native replica of it, which is read and never written; \
                 name another database, or use `strategy: read-replica`",
            );
            return Ok(true);
        }
        if !is_native && backend.is_native_replica() {
            self.refuse(OTHER_REPLICA);
            backend.close().await?;
            // Of several hosts one may be promoted, and takes writes then.
            return Ok(false);
        }
        let shadow = OpenShadow { store: take(&*backend)?, ledger };
        self.native.store(is_native, Ordering::Release);
        self.filled.fetch_or(is_native, Ordering::AcqRel);
        let _ = self.open.set(shadow);
        self.set(ShadowState::Up);
        Ok(true)
    }

    /// The shadow, once it was opened.
    pub async fn opened(&self) -> &OpenShadow<S> {
        let mut state = self.state.subscribe();
        loop {
            if let Some(open) = self.open.get() {
                return open;
            }
            // The sender is in `self`, so this cannot fail while we are here.
            let _ = state.changed().await;
        }
    }
}

impl<S: ?Sized> ShadowLink<S> {
    /// The shadow, if it was opened.
    pub fn get(&self) -> Option<&OpenShadow<S>> {
        self.open.get()
    }

    /// How the shadow is.
    pub fn state(&self) -> ShadowState {
        self.state.borrow().clone()
    }

    /// Whether writes may go to the shadow: its checkpoint names our primary.
    pub fn is_mirrored(&self) -> bool {
        self.mirrored.load(Ordering::Acquire)
    }

    /// Whether the shadow is a replica that the primary's own database feeds.
    pub fn is_native(&self) -> bool {
        self.native.load(Ordering::Acquire)
    }

    /// Whether the shadow has all that was there before the route.
    pub fn is_filled(&self) -> bool {
        self.filled.load(Ordering::Acquire)
    }

    /// The shadow's checkpoint was seen.
    pub fn accept(&self, filled: bool) {
        if matches!(&*self.state.borrow(), ShadowState::Closed | ShadowState::Dropped) {
            return;
        }
        self.filled.store(filled, Ordering::Release);
        self.mirrored.store(true, Ordering::Release);
        self.set(ShadowState::Up);
    }

    /// A call to the shadow failed.
    pub fn failed(&self, error: &Error) {
        let reason = error.to_string();
        if error.kind() != ErrorKind::Closed {
            let at_ms = SystemClock.now().as_milliseconds();
            let failure = LastFailure { at_ms, reason: reason.clone() };
            *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
        }
        self.set(ShadowState::Down(reason));
    }

    /// What failed last, if anything did; it may be over. A shadow that answers some calls and fails others is up in between.
    pub fn last_failure(&self) -> Option<LastFailure> {
        self.last_failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A call to the shadow succeeded.
    pub fn succeeded(&self) {
        if matches!(&*self.state.borrow(), ShadowState::Down(_)) {
            self.set(ShadowState::Up);
        }
    }

    /// The shadow must not be written to.
    pub fn refuse(&self, reason: &str) {
        self.stop_mirroring();
        if self.set(ShadowState::Refused(reason.to_owned())) {
            tracing::error!(reason, "the shadow is refused; nothing is written to it");
        }
    }

    /// A native replica is one of the primary (again): it may be read.
    pub(crate) fn accept_native(&self) {
        self.filled.store(true, Ordering::Release);
        self.set(ShadowState::Up);
    }

    /// The route was given up.
    pub fn drop_route(&self) {
        self.stop_mirroring();
        self.set(ShadowState::Dropped);
    }

    /// The shadow is no longer filled: its history was lost.
    pub fn forget_filled(&self) {
        self.filled.store(false, Ordering::Release);
    }

    /// Ends the attempts to open it, and everybody who waits for [`ShadowLink::closed`].
    pub fn close(&self) {
        self.stop_mirroring();
        self.state.send_replace(ShadowState::Closed);
    }

    /// Returns when the route is closed.
    pub async fn closed(&self) {
        let mut state = self.state.subscribe();
        // The sender is in `self`, so this cannot fail while we are here.
        let _ = state.wait_for(|state| *state == ShadowState::Closed).await;
    }

    /// Returns when the route is closed or given up.
    pub async fn ended(&self) {
        let mut state = self.state.subscribe();
        let ended =
            |state: &ShadowState| matches!(state, ShadowState::Closed | ShadowState::Dropped);
        let _ = state.wait_for(ended).await;
    }

    fn stop_mirroring(&self) {
        self.mirrored.store(false, Ordering::Release);
        self.filled.store(false, Ordering::Release);
    }

    /// `true` if it was in another state. Closed and dropped are the last ones.
    fn set(&self, next: ShadowState) -> bool {
        self.state.send_if_modified(|state| {
            let is_over = matches!(state, ShadowState::Closed | ShadowState::Dropped);
            let changes = !is_over && *state != next;
            if changes {
                *state = next;
            }
            changes
        })
    }
}

impl<S: ?Sized> fmt::Debug for ShadowLink<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ShadowLink")
            .field("state", &*self.state.borrow())
            .finish_non_exhaustive()
    }
}
