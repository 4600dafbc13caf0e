//! What every test needs: a store on a server, and short ways to revoke and ask.

use std::sync::Arc;
use std::time::Duration;

use syntrix_storage_core::backend::{
    Backend, BackendProvider, CallContext, Insertion, OpenContext, RevocationBackend,
    RevocationRequest,
};
use syntrix_storage_core::{
    Operation, Result, Revocation, RevocationOptions, RevokeOutcome, SettingsNode, SettingsValue,
    Timestamp, TokenId, TokenRevocationStore,
};
use syntrix_storage_engine::{EngineOptions, RevocationEngine};

use crate::server::Server;

/// A time that no test lives to see.
pub const LATER: Timestamp = Timestamp::from_milliseconds(32_503_680_000_000);

/// An open store.
pub struct Fixture {
    pub backend: Arc<dyn Backend>,
    pub revocations: Arc<dyn RevocationBackend>,
}

impl Fixture {
    /// On a server of the test's own.
    pub async fn on(server: &Server) -> Self {
        Self::open(&[("addr", &server.addr())]).await.expect("open")
    }

    pub async fn open(settings: &[(&str, &str)]) -> Result<Self> {
        Self::in_namespace(settings, None).await
    }

    pub async fn in_namespace(settings: &[(&str, &str)], name: Option<&str>) -> Result<Self> {
        let backend = provider(settings)?.open(&context(name)).await?;
        let revocations = backend.revocations()?;
        Ok(Self { backend, revocations })
    }

    /// The store as an application sees it.
    pub fn engine(&self) -> RevocationEngine {
        RevocationEngine::start(Arc::clone(&self.revocations), &EngineOptions::default())
    }

    pub async fn revoke(&self, name: &str) -> Result<RevokeOutcome> {
        let joined = self.revocations.join(request(name), &write()).await?;
        assert_eq!(joined.canary, Some(self.revocations.canary()));
        Ok(joined.value)
    }

    pub async fn insert(&self, name: &str) -> Result<Insertion> {
        Ok(self.revocations.insert(request(name), &write()).await?.value)
    }

    /// The record, if the mark beside it is the right one.
    pub async fn find(&self, name: &str) -> Result<Option<Revocation>> {
        let found = self.revocations.get(&token(name), &read()).await?;
        assert_eq!(found.canary, Some(self.revocations.canary()), "the mark");
        Ok(found.value.map(|record| *record))
    }

    pub async fn close(self) {
        self.revocations.close().await.expect("close store");
        self.backend.close().await.expect("close backend");
    }
}

pub async fn is_revoked(store: &RevocationEngine, name: &str) -> Result<bool> {
    store.is_revoked(&token(name), Duration::ZERO, RevocationOptions::default()).await
}

pub fn provider(settings: &[(&str, &str)]) -> Result<Box<dyn BackendProvider>> {
    syntrix_storage_redis::factory().configure(&block(settings))
}

/// A block of settings; `a.b` is the key `b` of the mapping `a`.
pub fn block(settings: &[(&str, &str)]) -> SettingsNode {
    let mut entries: Vec<(String, _, SettingsNode)> = Vec::new();
    for (key, text) in settings {
        let Some((outer, inner)) = key.split_once('.') else {
            entries.push(((*key).to_owned(), Default::default(), value(text)));
            continue;
        };
        let entry = (inner.to_owned(), Default::default(), value(text));
        match entries.iter_mut().find(|(name, _, _)| name == outer) {
            Some((_, _, node)) => {
                if let SettingsValue::Map(entries) = &mut node.value {
                    entries.push(entry);
                }
            }
            None => {
                let map = SettingsNode::new(SettingsValue::Map(vec![entry]), Default::default());
                entries.push((outer.to_owned(), Default::default(), map));
            }
        }
    }
    SettingsNode::new(SettingsValue::Map(entries), Default::default())
}

fn value(text: &str) -> SettingsNode {
    let value = match (text.parse(), text.parse()) {
        (Ok(truth), _) => SettingsValue::Bool(truth),
        (_, Ok(number)) => SettingsValue::Integer(number),
        _ => SettingsValue::Text(text.to_owned()),
    };
    SettingsNode::new(value, Default::default())
}

pub fn context(namespace: Option<&str>) -> OpenContext {
    let context = OpenContext::new(env!("CARGO_MANIFEST_DIR"));
    match namespace {
        Some(name) => context.with_namespace(name).expect("namespace"),
        None => context,
    }
}

pub fn token(name: &str) -> TokenId {
    TokenId::parse(name).expect("token id")
}

pub fn request(name: &str) -> RevocationRequest {
    RevocationRequest {
        token: token(name),
        immediate: false,
        expires_at: LATER,
        keep_until: LATER,
        reason: None,
        subject: None,
        family: None,
        successor: None,
    }
}

pub fn read() -> CallContext {
    CallContext::new(Operation::ReadStrong)
}

pub fn write() -> CallContext {
    CallContext::new(Operation::Write)
}

/// The server that the tests share, as `cargo xtask test` and `cargo xtask servers up` name it.
pub fn shared_server() -> String {
    std::env::var("SYNTRIX_STORAGE_TEST_REDIS").expect(
        "this test needs a Redis: SYNTRIX_STORAGE_TEST_REDIS must have its URL. \
         `cargo xtask servers up redis` starts one and prints the variable",
    )
}
