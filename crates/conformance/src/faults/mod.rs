//! Backends that fail on purpose: wrap a backend, say by rules what goes wrong, and see what becomes of the calls.
//!
//! [`FaultyFactory`] wraps the factory of any backend, so that a whole storage runs on it; [`FaultyDocuments`],
//! [`FaultyUsers`] and [`FaultyRevocations`] wrap single stores. All of them ask one set of [`Faults`], whose rules are
//! tried in order; the first that fits a call decides it. Chances come from a seed, so a run can be repeated.
//!
//! # Examples
//!
//! The second write to one document happens, but its answer is lost:
//!
//! ```
//! use syntrix_storage_conformance::faults::{Fault, FaultRule, Faults, Method};
//!
//! let faults = Faults::seeded(1);
//! faults.add(FaultRule::new(Fault::FailAfter).at(Method::Write).about("rooms/lobby").nth(2));
//! assert_eq!(faults.injected(), 0);
//! ```

mod backend;
mod documents;
mod plan;
mod revocations;
mod rule;
mod users;

pub use backend::FaultyFactory;
pub use documents::FaultyDocuments;
pub use plan::Faults;
pub use revocations::FaultyRevocations;
pub use rule::{Fault, FaultRule, Method};
pub use users::FaultyUsers;
