//! Small named records of a route's own, kept beside the data of a store: leases, checkpoints, pins, dead letters.

use std::fmt;

use async_trait::async_trait;

use crate::error::{Error, ErrorKind, Result};

/// Longest key of a ledger record, in bytes.
const KEY_MAX: usize = 128;
/// Longest body of a ledger record, in bytes.
const BODY_MAX: usize = 64 * 1024;

/// Which data a database holds: made with it, at random. A copy or a native replica of it has the same one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoreId(pub [u8; 8]);

impl fmt::Display for StoreId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for StoreId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// The name of a ledger record: 1 to 128 characters of `a-z 0-9 / . _ -`.
///
/// # Examples
///
/// ```
/// use syntrix_storage_core::backend::LedgerKey;
///
/// assert_eq!(LedgerKey::parse("documents/lease")?.as_str(), "documents/lease");
/// assert!(LedgerKey::parse("Documents lease").is_err());
/// # Ok::<(), syntrix_storage_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LedgerKey(String);

impl LedgerKey {
    /// Checks a name.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`] if it is not of the form above.
    pub fn parse(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        let allowed =
            |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-');
        if text.is_empty() || text.len() > KEY_MAX || !text.bytes().all(allowed) {
            return Err(Error::new(ErrorKind::InvalidArgument, "ledger")
                .with_message("a ledger key has 1 to 128 characters of a-z, 0-9 and / . _ -")
                .with_fact("bytes", text.len()));
        }
        Ok(Self(text))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first text behind every key that starts with this one, in byte order.
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage_core::backend::LedgerKey;
    ///
    /// let prefix = LedgerKey::parse("documents/dead/")?;
    /// assert_eq!(prefix.prefix_end(), "documents/dead0");
    /// # Ok::<(), syntrix_storage_core::Error>(())
    /// ```
    pub fn prefix_end(&self) -> String {
        let mut characters = self.0.chars();
        // All characters of a key are ASCII and none is the last one.
        let behind = characters.next_back().and_then(|last| char::from_u32(last as u32 + 1));
        characters.chain(behind).collect()
    }
}

/// One record of a ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerRecord {
    /// 1 when it is first written, one more with each write.
    pub revision: u64,
    /// What was written. Holds no credentials: it is shown to operators.
    pub body: Vec<u8>,
}

/// The size rule of a record's body.
///
/// # Errors
///
/// [`ErrorKind::InvalidArgument`] above 64 KiB.
pub fn check_ledger_body(body: &[u8]) -> Result<()> {
    match body.len() <= BODY_MAX {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::InvalidArgument, "ledger")
            .with_message("the body of a ledger record is too large")
            .with_fact("bytes", body.len())
            .with_fact("bytes_max", BODY_MAX)),
    }
}

/// A place for a few small records beside a database's data. They live and die with it, are as durable as a document,
/// and are changed by compare-and-set alone. What one call wrote, every later call of any process sees.
#[async_trait]
pub trait Ledger: Send + Sync + fmt::Debug {
    /// Which data it lies beside.
    fn store_id(&self) -> StoreId;

    /// Reads one record.
    async fn read(&self, key: &LedgerKey) -> Result<Option<LedgerRecord>>;

    /// Stores `body` if the record has the revision `expected`, or, with `None`, if there is no such record. Answers the new
    /// revision; `None` if the condition did not hold.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`] as [`check_ledger_body`].
    async fn write(
        &self,
        key: &LedgerKey,
        expected: Option<u64>,
        body: Vec<u8>,
    ) -> Result<Option<u64>>;

    /// Removes a record if it has the revision `expected`. A later one of the same name starts at 1 again, so what guards
    /// something by its revision is overwritten, never removed.
    async fn remove(&self, key: &LedgerKey, expected: u64) -> Result<bool>;

    /// Records whose key starts with `prefix`, behind `after`, in byte order of their keys, at most `limit`.
    async fn list(
        &self,
        prefix: &LedgerKey,
        after: Option<&LedgerKey>,
        limit: usize,
    ) -> Result<Vec<(LedgerKey, LedgerRecord)>>;
}
