//! Documents on [redb](https://docs.rs/redb), an embedded key-value store, as a backend of syntrix-storage.
//!
//! It shows what a third party writes: one factory, and one implementation of the thin backend trait. It declares what it
//! cannot do (watch), and the conformance suite holds it to both: what it declares, and what it does not.

mod documents;
mod factory;
mod table;

pub use factory::factory;
