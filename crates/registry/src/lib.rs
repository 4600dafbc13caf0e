//! Configuration of syntrix-storage: from YAML to a checked plan.
//!
//! [`check`] parses a file, puts in what `${NAME}` and `{file: …}` refer to, hands every backend block to its [factory](Factories)
//! and applies the rules of routing. It opens nothing. What it returns is either a [`StoragePlan`] or everything that is wrong,
//! each fault with line, column, key and remedy.
//!
//! No output of this crate shows a value of the file, of the environment or of a secret file, except the words of our own keys
//! (`backend`, `kind`, `strategy` and so on) that stand in the file itself: faults are put in words of our own, excerpts start
//! out hidden, and trees print without values.
//!
//! [`schema`] describes the same language for editors, made from the types that parse it.

mod check;
#[cfg(test)]
mod corpus;
mod diagnostic;
mod effective;
mod environment;
mod example;
mod factories;
mod finding;
mod interpolate;
mod left_open;
mod plan;
mod report;
mod routing;
mod schema;
mod secret_file;
mod section;
#[cfg(test)]
mod testing;
mod yaml;

pub use check::check;
pub use diagnostic::{ConfigErrors, Diagnostic, Severity};
pub use environment::{Environment, ProcessEnvironment};
pub use example::EXAMPLE;
pub use factories::Factories;
pub use plan::{ConfiguredBlock, Mirror, Reads, Route, StoragePlan, StorePlan, Strategy, Writes};
pub use schema::schema;
pub use yaml::FILE_BYTES_MAX;
