//! What a configuration says, checked: which blocks each store has and how its operations are routed.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use syntrix_storage_core::SettingsNode;
use syntrix_storage_core::backend::{BackendProvider, StoreKind};

use crate::diagnostic::Diagnostic;

/// A checked configuration. Nothing was opened yet.
#[derive(Debug, Default)]
pub struct StoragePlan {
    /// The documents; `None` if the file has no such section.
    pub documents: Option<StorePlan>,
    /// The users; `None` if the file has no such section.
    pub users: Option<StorePlan>,
    /// The revocations; `None` if the file has no such section.
    pub revocations: Option<StorePlan>,
    /// The configuration written out as YAML: kinds and defaults of routing filled in, secrets replaced by `[redacted]`, and
    /// references (`${NAME}`, `{file: …}`) left as they are. It passes the check, and says the same.
    pub effective: String,
    /// What is allowed but probably not meant.
    pub warnings: Vec<Diagnostic>,
}

impl StoragePlan {
    /// The plan of one store.
    pub fn store(&self, store: StoreKind) -> Option<&StorePlan> {
        match store {
            StoreKind::Documents => self.documents.as_ref(),
            StoreKind::Users => self.users.as_ref(),
            StoreKind::Revocations => self.revocations.as_ref(),
        }
    }

    pub(crate) fn set(&mut self, store: StoreKind, plan: Option<StorePlan>) {
        match store {
            StoreKind::Documents => self.documents = plan,
            StoreKind::Users => self.users = plan,
            StoreKind::Revocations => self.revocations = plan,
        }
    }
}

/// One store: its route, and every block of its section.
#[derive(Debug)]
pub struct StorePlan {
    /// Which block answers what.
    pub route: Route,
    /// All blocks of the section in the order of the file, also those the route does not use.
    pub blocks: Vec<ConfiguredBlock>,
}

impl StorePlan {
    /// The block of this name.
    pub fn block(&self, name: &str) -> Option<&ConfiguredBlock> {
        self.blocks.iter().find(|block| block.name == name)
    }

    /// The block that the route calls primary.
    pub fn primary(&self) -> Option<&ConfiguredBlock> {
        self.block(&self.route.primary)
    }

    /// The block that the route calls shadow.
    pub fn shadow(&self) -> Option<&ConfiguredBlock> {
        self.route.shadow.as_deref().and_then(|name| self.block(name))
    }
}

/// A backend block that its factory accepted.
#[derive(Debug)]
pub struct ConfiguredBlock {
    /// Its key in the section.
    pub name: String,
    /// The kind of backend.
    pub kind: &'static str,
    /// Its settings as they stand in the file, values from the environment filled in. They may hold secrets.
    pub settings: SettingsNode,
    /// Opens it.
    pub provider: Box<dyn BackendProvider>,
}

/// Which block answers what, with every default filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The pattern.
    pub strategy: Strategy,
    /// Name of the block with the authority.
    pub primary: String,
    /// Name of the other block; always `None` with [`Strategy::Single`].
    pub shadow: Option<String>,
    /// Who is read.
    pub reads: Reads,
    /// Who is written.
    pub writes: Writes,
    /// Whether a write waits for the shadow; only [`Strategy::DualWrite`] asks.
    pub mirror: Mirror,
}

impl Route {
    /// Everything goes to the block `primary`.
    pub fn single(primary: impl Into<String>) -> Self {
        Self {
            strategy: Strategy::Single,
            primary: primary.into(),
            shadow: None,
            reads: Reads::Primary,
            writes: Writes::Primary,
            mirror: Mirror::Background,
        }
    }
}

/// The pattern of a route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Strategy {
    /// One database.
    #[default]
    Single,
    /// Writes reach a second database too.
    DualWrite,
    /// A second database answers reads.
    ReadReplica,
}

/// Who is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Reads {
    /// The primary.
    Primary,
    /// The shadow; under `dual-write` only once it is filled.
    Shadow,
    /// Both, compared; the primary's answer counts.
    Both,
}

/// Who is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Writes {
    /// The primary.
    Primary,
    /// The primary, whose result then goes to the shadow.
    Both,
}

/// Whether a write waits until the shadow has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Mirror {
    /// No.
    #[default]
    Background,
    /// Yes, as long as the shadow is well.
    Wait,
}

macro_rules! words {
    ($($type:ident { $($variant:ident => $word:literal),+ })+) => {$(
        impl $type {
            /// The word in the configuration.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(self.as_str())
            }
        }
    )+};
}

words! {
    Strategy { Single => "single", DualWrite => "dual-write", ReadReplica => "read-replica" }
    Reads { Primary => "primary", Shadow => "shadow", Both => "both" }
    Writes { Primary => "primary", Both => "both" }
    Mirror { Background => "background", Wait => "wait" }
}
