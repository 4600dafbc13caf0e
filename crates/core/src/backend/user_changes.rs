//! The private feed of accounts: which of them were written behind a place.

use crate::backend::UserRecord;
use crate::error::{Error, ErrorKind};
use crate::time::Timestamp;
use crate::token::Position;

/// Accounts that were written behind a place, in the order of their writes.
///
/// Each is the account as it is when the page is read, and comes at the place of its last write, perhaps at those of earlier
/// ones too. So a backend needs to keep no more than the last place of each account: there is no history to trim, and nothing
/// of an account is kept outside of it.
#[derive(Clone, Debug)]
pub struct UserChanges {
    /// The accounts, with hashes and tombstones.
    pub records: Vec<UserRecord>,
    /// The place behind them, or the asked one, or a later one with nothing in between.
    pub end: Position,
    /// Whether there is more already. If not, everything that was committed before the call was handed out.
    pub more: bool,
}

impl UserRecord {
    /// When it was last written, as far as its own times tell.
    pub fn written_at(&self) -> Timestamp {
        let login = &self.user.login;
        let times = [login.last_login_at, login.last_failed_at, self.user.deleted_at];
        times.into_iter().flatten().fold(self.user.updated_at, Timestamp::max)
    }
}

/// What a backend without such a feed answers.
pub(super) fn no_feed() -> Error {
    Error::new(ErrorKind::Unsupported, "changes_since").with_message(
        "this backend does not tell which accounts were written; a route with a shadow reads them all, again and again",
    )
}
