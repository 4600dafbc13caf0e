//! Options of the operations: each starts from `default()`, later releases add fields.

use std::time::Duration;

use crate::filter::Filter;
use crate::revocation_store::RevocationOptions;
use crate::session::SessionToken;
use crate::user_store::UserOptions;

/// How fresh a read must be. Matters only where a route reads from a replica.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Consistency {
    /// Sees every write this application was told about.
    #[default]
    Session,
    /// Sees every acknowledged write.
    Strong,
    /// Sees every write that was acknowledged that long ago.
    Bounded(Duration),
    /// Sees whatever the replica has.
    Any,
}

/// Options of `get` and `get_many`.
#[non_exhaustive]
#[derive(Clone, Debug, Default)]
pub struct ReadOptions {
    /// Longest the call may take; no limit if `None`.
    pub timeout: Option<Duration>,
    /// How fresh the answer must be.
    pub consistency: Consistency,
    /// A write that the answer must not be older than, whoever made it.
    pub session: Option<SessionToken>,
}

/// Options of `query`.
#[non_exhaustive]
#[derive(Clone, Debug, Default)]
pub struct QueryOptions {
    /// Longest the call may take; no limit if `None`.
    pub timeout: Option<Duration>,
    /// How fresh the answer must be.
    pub consistency: Consistency,
    /// A write that the answer must not be older than, whoever made it.
    pub session: Option<SessionToken>,
    /// Whether the page brings the token to watch from, see [`Page`](crate::Page). Costs one more small read.
    pub resume_token: bool,
}

/// Options of `create`, `update`, `patch` and `delete`.
#[non_exhaustive]
#[derive(Clone, Debug, Default)]
pub struct WriteOptions {
    /// Longest the call may take; no limit if `None`. A write that times out may have been applied.
    pub timeout: Option<Duration>,
    /// Conditions that must all hold on the stored document; `create` takes none.
    pub preconditions: Vec<Filter>,
}

/// Options of `bulk`.
#[non_exhaustive]
#[derive(Clone, Debug, Default)]
pub struct BulkOptions {
    /// Longest the call may take; no limit if `None`. Items may have been applied when it passes.
    pub timeout: Option<Duration>,
}

macro_rules! with_timeout {
    ($($options:ty),*) => {$(
        impl $options {
            /// Sets the longest time the call may take.
            #[must_use]
            pub fn with_timeout(mut self, timeout: Duration) -> Self {
                self.timeout = Some(timeout);
                self
            }
        }
    )*};
}

with_timeout!(ReadOptions, QueryOptions, WriteOptions, BulkOptions, UserOptions, RevocationOptions);

impl ReadOptions {
    /// Sets how fresh the answer must be.
    #[must_use]
    pub fn with_consistency(mut self, consistency: Consistency) -> Self {
        self.consistency = consistency;
        self
    }

    /// Sets the write that the answer must not be older than: a token of its result, also from another handle or process.
    #[must_use]
    pub fn with_session(mut self, token: SessionToken) -> Self {
        self.session = Some(token);
        self
    }
}

impl QueryOptions {
    /// Asks for the page's resume token.
    #[must_use]
    pub fn with_resume_token(mut self) -> Self {
        self.resume_token = true;
        self
    }

    /// Sets how fresh the answer must be.
    #[must_use]
    pub fn with_consistency(mut self, consistency: Consistency) -> Self {
        self.consistency = consistency;
        self
    }

    /// Sets the write that the answer must not be older than: a token of its result, also from another handle or process.
    #[must_use]
    pub fn with_session(mut self, token: SessionToken) -> Self {
        self.session = Some(token);
        self
    }
}

impl WriteOptions {
    /// Adds a condition.
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage_core::{Filter, Version, WriteOptions};
    ///
    /// let options = WriteOptions::default().with_precondition(Filter::version_is(Version::FIRST));
    /// assert_eq!(options.preconditions.len(), 1);
    /// ```
    #[must_use]
    pub fn with_precondition(mut self, condition: Filter) -> Self {
        self.preconditions.push(condition);
        self
    }
}
