//! Where `${NAME}` and `{file: …}` are looked up.

use std::fmt;
use std::path::{Path, PathBuf};

/// Gives the values that a configuration refers to. Injected, so that a test needs no process environment.
pub trait Environment: fmt::Debug + Send + Sync {
    /// The variable's value; `None` if it is unset or not Unicode.
    fn variable(&self, name: &str) -> Option<String>;

    /// Where the relative paths of `{file: …}` start.
    fn directory(&self) -> &Path;
}

/// The environment of this process.
///
/// # Examples
///
/// ```
/// use syntrix_storage_registry::{Environment, ProcessEnvironment};
///
/// let environment = ProcessEnvironment::new("/etc/app");
/// assert!(environment.variable("NO_SUCH_VARIABLE").is_none());
/// ```
#[derive(Clone, Debug)]
pub struct ProcessEnvironment {
    directory: PathBuf,
}

impl ProcessEnvironment {
    /// Relative secret files start at `directory`, usually that of the configuration file.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }
}

impl Environment for ProcessEnvironment {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn directory(&self) -> &Path {
        &self.directory
    }
}
