//! The one implementation of the public traits, over any thin backend.
//!
//! Everything a caller can observe is decided here: validation, error kinds, the write protocol, the index rule, cursors,
//! resume tokens, closed state. Backends only store and find.

mod admin;
mod bulk;
mod calls;
mod documents;
mod gate;
mod index_cache;
mod maintenance;
mod meter;
mod options;
mod retry;
mod revocations;
mod turns;
mod users;
mod watch;
mod write;

pub use documents::DocumentEngine;
pub use options::EngineOptions;
pub use revocations::RevocationEngine;
pub use users::UserEngine;
pub use watch::WatchCounts;
