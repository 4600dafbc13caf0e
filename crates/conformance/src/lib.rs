//! The public conformance suite: what every store behind the public traits must do, case by case.
//!
//! Whoever writes a backend implements [`Harness`] (the facade crate has one for every configuration) and either lets
//! [`conformance_suite!`] make one test per case or calls [`run`] and keeps the [`Report`]:
//!
//! ```text
//! syntrix_storage_conformance::conformance_suite!(MyHarness::new());
//! ```
//!
//! A case speaks to a store through the public traits, those of `LED` and `RTE` also through what a route uses of its backends, and cannot know which backend is behind them. It has a namespace
//! of its own, closed and removed when the case is over, so cases run alone, in any order and side by side. What a backend
//! does not offer it declares as a missing capability; the cases that need it are then *not applicable*, with that reason in
//! the report. Cases of the catalogue that this release does not have are listed in [`NOT_BUILT`], each with the reason.
//!
//! [`vectors::run`] gives the same treatment to a file of test vectors.

pub mod canary;
mod case;
mod cases;
mod check;
mod context;
pub mod faults;
mod harness;
pub mod model;
mod not_built;
mod report;
mod runner;
mod suite;
pub mod vectors;
mod watching;

pub use case::{Case, Group, Need};
pub use cases::cases;
pub use check::{
    CaseResult, Failure, expect, expect_equal, expect_kind, expect_reason, expect_same_documents,
};
pub use context::{Context, within, within_limit};
pub use harness::{Difference, DifferenceKind, Handle, Harness, Route, Setup};
pub use not_built::{NOT_BUILT, NotBuilt};
pub use report::{CaseReport, Report, Verdict};
pub use runner::{Selection, run};
#[doc(hidden)]
pub use suite::run_as_test;
pub use watching::{Watcher, document_events};
