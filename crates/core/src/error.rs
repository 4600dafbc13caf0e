//! The one error type: kind, retry advice, operation, facts, source.

use std::borrow::Cow;
use std::fmt;

use crate::index::IndexSuggestion;
use crate::time::Timestamp;

/// Result of every fallible call of this library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Box<dyn std::error::Error + Send + Sync + 'static>;

/// What went wrong, in the terms a caller acts on. The same list serves every store and backend.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The input breaks a documented rule; [`Error::reason`] names the rule.
    InvalidArgument,
    /// No live record has this key.
    NotFound,
    /// A live record has this key already.
    AlreadyExists,
    /// The record exists but a precondition does not hold. Nothing was written.
    PreconditionFailed,
    /// A patch leads through something that is not an object. Nothing was written.
    PathConflict,
    /// The query needs a composite index; [`Error::suggestion`] is the one to create.
    IndexRequired,
    /// Our own bounded retries against concurrent writers ran out. Nothing was written.
    Conflict,
    /// The account is locked.
    Locked,
    /// The resume token is damaged or forged.
    TokenMalformed,
    /// The resume token belongs to another store.
    TokenForeign,
    /// The history behind the resume token is gone; [`Error::expired_reason`] says why.
    TokenExpired,
    /// The store lost data it had acknowledged.
    StateLost,
    /// This backend, build or configuration does not offer the operation.
    Unsupported,
    /// The backend cannot be reached or refuses work for now.
    Unavailable,
    /// The deadline passed first.
    Timeout,
    /// The store was closed.
    Closed,
    /// The configuration is wrong.
    ConfigInvalid,
    /// A defect here or in the stored data.
    Internal,
}

impl ErrorKind {
    /// The name used in logs, JSON and the command line, `snake_case`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidArgument => "invalid_argument",
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::PreconditionFailed => "precondition_failed",
            Self::PathConflict => "path_conflict",
            Self::IndexRequired => "index_required",
            Self::Conflict => "conflict",
            Self::Locked => "locked",
            Self::TokenMalformed => "token_malformed",
            Self::TokenForeign => "token_foreign",
            Self::TokenExpired => "token_expired",
            Self::StateLost => "state_lost",
            Self::Unsupported => "unsupported",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::ConfigInvalid => "config_invalid",
            Self::Internal => "internal",
        }
    }

    const fn default_retry(self) -> Retry {
        match self {
            Self::Conflict => Retry::Safe,
            Self::Unavailable | Self::Timeout => Retry::IfIdempotent,
            _ => Retry::Never,
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Whether the same call may be made again as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retry {
    /// The same call fails again.
    Never,
    /// Nothing was applied: repeating is harmless.
    Safe,
    /// The write may have been applied: repeat only what is idempotent or guarded by a precondition.
    IfIdempotent,
}

/// The rule an invalid argument breaks.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The document's data is not a JSON object.
    DataNotObject,
    /// A system name where only data names may stand.
    ReservedField,
    /// An integer outside i64, or a number that is not finite.
    NumberOutOfRange,
    /// A key contains U+0000.
    KeyNul,
    /// A key is longer than 512 bytes.
    KeyTooLong,
    /// A string contains U+0000.
    StringNul,
    /// More than 64 levels.
    TooDeep,
    /// More than 1 MiB of canonical JSON.
    TooLarge,
    /// A document or collection path breaks a rule.
    Path,
    /// A field path breaks a rule.
    FieldPath,
    /// The operand's type does not fit the operator.
    OperandType,
    /// A string operand is longer than 512 bytes.
    OperandTooLong,
    /// No such filter operator.
    OpUnknown,
    /// More than 100 values in `in`.
    InTooMany,
    /// More than 20 filters.
    TooManyFilters,
    /// More than 4 order fields, or one named twice.
    OrderBy,
    /// A limit outside its range.
    Limit,
    /// A cursor that is damaged or belongs to another query.
    Cursor,
    /// Two paths of a patch are equal or one leads through the other.
    PatchOverlap,
    /// An object with the one key `$delete` and something else than `true`.
    DeleteSentinel,
    /// A precondition where none is possible.
    Precondition,
    /// An index of no field, too many fields or too many bytes of field paths.
    IndexTooWide,
    /// An index declaration that breaks another rule.
    Index,
    /// More than 32 indexes in one store.
    TooManyIndexes,
    /// More than 1000 items in one call.
    TooManyItems,
    /// An account id breaks a rule.
    UserId,
    /// An account name breaks a rule.
    Username,
    /// A role, profile, hash or other field of an account breaks a rule.
    UserField,
    /// A token id breaks a rule.
    TokenId,
    /// An option outside its range.
    Option,
}

impl Reason {
    /// The name used in errors and test vectors, `snake_case`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DataNotObject => "data_not_object",
            Self::ReservedField => "reserved_field",
            Self::NumberOutOfRange => "number_out_of_range",
            Self::KeyNul => "key_nul",
            Self::KeyTooLong => "key_too_long",
            Self::StringNul => "string_nul",
            Self::TooDeep => "too_deep",
            Self::TooLarge => "too_large",
            Self::Path => "path",
            Self::FieldPath => "field_path",
            Self::OperandType => "operand_type",
            Self::OperandTooLong => "operand_too_long",
            Self::OpUnknown => "op_unknown",
            Self::InTooMany => "in_too_many",
            Self::TooManyFilters => "too_many_filters",
            Self::OrderBy => "order_by",
            Self::Limit => "limit",
            Self::Cursor => "cursor",
            Self::PatchOverlap => "patch_overlap",
            Self::DeleteSentinel => "delete_sentinel",
            Self::Precondition => "precondition",
            Self::IndexTooWide => "index_too_wide",
            Self::Index => "index",
            Self::TooManyIndexes => "too_many_indexes",
            Self::TooManyItems => "too_many_items",
            Self::UserId => "user_id",
            Self::Username => "username",
            Self::UserField => "user_field",
            Self::TokenId => "token_id",
            Self::Option => "option",
        }
    }
}

/// Why the history behind a resume token is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExpiredReason {
    /// Older than the watch retention.
    Trimmed,
    /// The store's history is not the one the token saw: restored from a backup, or writes were lost.
    Diverged,
    /// The store keeps its history in memory and was restarted.
    Restarted,
}

impl ExpiredReason {
    /// The name used in errors, `snake_case`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trimmed => "trimmed",
            Self::Diverged => "diverged",
            Self::Restarted => "restarted",
        }
    }
}

#[derive(Debug)]
enum Detail {
    None,
    Invalid(Reason),
    Index(Box<IndexSuggestion>),
    Expired(ExpiredReason, Option<Timestamp>),
}

/// A failed call: what kind, whether to retry, which operation, and the facts around it.
///
/// `Display` is one line without the [source](std::error::Error::source), so that a printer of the whole chain
/// does not repeat it. Facts hold names, paths, kinds and limits; never a credential, never document content.
///
/// # Examples
///
/// ```
/// use syntrix_storage_core::{Error, ErrorKind, Retry};
///
/// let error = Error::new(ErrorKind::NotFound, "get").with_fact("path", "rooms/lobby");
/// assert_eq!(error.kind(), ErrorKind::NotFound);
/// assert_eq!(error.retry(), Retry::Never);
/// assert_eq!(error.to_string(), "get: not_found (path=rooms/lobby)");
/// ```
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    retry: Retry,
    operation: &'static str,
    message: Option<Cow<'static, str>>,
    facts: Vec<(&'static str, String)>,
    detail: Detail,
    source: Option<Source>,
}

impl Error {
    /// An error of `kind` in `operation`, with the retry advice usual for the kind.
    pub fn new(kind: ErrorKind, operation: &'static str) -> Self {
        Self(Box::new(Inner {
            kind,
            retry: kind.default_retry(),
            operation,
            message: None,
            facts: Vec::new(),
            detail: Detail::None,
            source: None,
        }))
    }

    /// An invalid argument: which argument, the rule it breaks, and what to do about it.
    pub fn invalid(
        field: impl Into<String>,
        reason: Reason,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        let mut error = Self::new(ErrorKind::InvalidArgument, "").with_message(message);
        error.0.facts.push(("field", field.into()));
        error.0.detail = Detail::Invalid(reason);
        error
    }

    /// A query that needs the index `suggestion`.
    pub fn index_required(suggestion: IndexSuggestion) -> Self {
        let mut error = Self::new(ErrorKind::IndexRequired, "query")
            .with_message("this query needs a composite index; create the suggested one");
        error.0.detail = Detail::Index(Box::new(suggestion));
        error
    }

    /// A resume token whose history is gone.
    pub fn token_expired(reason: ExpiredReason, oldest_time: Option<Timestamp>) -> Self {
        let mut error = Self::new(ErrorKind::TokenExpired, "watch")
            .with_message("read the collection again, then watch from the token of that read");
        error.0.detail = Detail::Expired(reason, oldest_time);
        error
    }

    /// Sets the operation's name, unless an inner layer knew it.
    #[must_use]
    pub fn in_operation(mut self, operation: &'static str) -> Self {
        if self.0.operation.is_empty() {
            self.0.operation = operation;
        }
        self
    }

    /// Replaces the retry advice.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.0.retry = retry;
        self
    }

    /// Sets the sentence for people. It must not contain values from documents or configuration.
    #[must_use]
    pub fn with_message(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        self.0.message = Some(message.into());
        self
    }

    /// Adds a fact: a name, path, kind or limit. Never a credential, never document content.
    #[must_use]
    pub fn with_fact(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.0.facts.push((key, value.to_string()));
        self
    }

    /// Keeps the lower layer's error for logs.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same call may be made again.
    pub fn retry(&self) -> Retry {
        self.0.retry
    }

    /// The operation that failed, for example `create`.
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// The sentence for people, if there is one.
    pub fn message(&self) -> Option<&str> {
        self.0.message.as_deref()
    }

    /// All facts in the order they were added.
    pub fn facts(&self) -> &[(&'static str, String)] {
        &self.0.facts
    }

    /// The first fact under `key`.
    pub fn fact(&self, key: &str) -> Option<&str> {
        self.0.facts.iter().find(|(name, _)| *name == key).map(|(_, value)| value.as_str())
    }

    /// The broken rule of an [`ErrorKind::InvalidArgument`].
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage_core::{DocumentPath, Reason};
    ///
    /// let error = DocumentPath::parse("rooms//lobby").unwrap_err();
    /// assert_eq!(error.reason(), Some(Reason::Path));
    /// ```
    pub fn reason(&self) -> Option<Reason> {
        match self.0.detail {
            Detail::Invalid(reason) => Some(reason),
            _ => None,
        }
    }

    /// The index to create after an [`ErrorKind::IndexRequired`].
    pub fn suggestion(&self) -> Option<&IndexSuggestion> {
        match &self.0.detail {
            Detail::Index(suggestion) => Some(suggestion),
            _ => None,
        }
    }

    /// Why a token expired.
    pub fn expired_reason(&self) -> Option<ExpiredReason> {
        match self.0.detail {
            Detail::Expired(reason, _) => Some(reason),
            _ => None,
        }
    }

    /// Commit time of the oldest change still there, of an [`ErrorKind::TokenExpired`].
    pub fn oldest_time(&self) -> Option<Timestamp> {
        match self.0.detail {
            Detail::Expired(_, time) => time,
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.operation.is_empty() {
            write!(formatter, "{}: ", self.0.operation)?;
        }
        formatter.write_str(self.0.kind.as_str())?;
        match &self.0.detail {
            Detail::None => {}
            Detail::Invalid(reason) => write!(formatter, ": {}", reason.as_str())?,
            Detail::Index(suggestion) => write!(formatter, ": {}", suggestion.to_json())?,
            Detail::Expired(reason, _) => write!(formatter, ": {}", reason.as_str())?,
        }
        if let Some(message) = &self.0.message {
            write!(formatter, ": {message}")?;
        }
        let mut separator = " (";
        for (key, value) in &self.0.facts {
            write!(formatter, "{separator}{key}={value}")?;
            separator = ", ";
        }
        if self.0.facts.is_empty() { Ok(()) } else { formatter.write_str(")") }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
