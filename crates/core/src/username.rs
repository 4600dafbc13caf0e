//! The form in which account names are compared, the same on every backend.

use std::fmt;

use crate::error::{Error, Reason, Result};

/// Most characters of an account name.
pub const USERNAME_CHARACTERS_MAX: usize = 128;

/// An account name in the form that is compared and unique: ASCII letters in lower case.
///
/// Names begin with a letter or digit and go on with up to 127 of `a-z 0-9 . _ @ + -`. Anything else is refused, never
/// changed: folding beyond ASCII sends U+212A to `k` and `İ` to different texts in different databases, so that one name
/// could be two accounts on one backend and one on another. `Debug` shows a digest only.
///
/// # Examples
///
/// ```
/// use syntrix_storage_core::UsernameKey;
///
/// assert_eq!(UsernameKey::fold("Ada.Lovelace")?, UsernameKey::fold("ada.lovelace")?);
/// assert!(UsernameKey::fold(" ada").is_err());
/// assert!(UsernameKey::fold("\u{212A}ate").is_err());
/// # Ok::<(), syntrix_storage_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsernameKey(String);

impl UsernameKey {
    /// The version of the folding rule. Stored with each account: another rule needs a migration that reports collisions.
    pub const RULE_VERSION: u16 = 1;

    /// Folds and checks a name.
    ///
    /// # Errors
    ///
    /// [`Reason::Username`]; the name itself is not in the error.
    pub fn fold(username: &str) -> Result<Self> {
        let folded = username.to_ascii_lowercase();
        let begins_well = folded.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if !begins_well || folded.len() > USERNAME_CHARACTERS_MAX || !folded.bytes().all(allowed) {
            let message = "a username begins with a letter or digit and goes on with up to 127 of a-z, 0-9 and . _ @ + -";
            return Err(Error::invalid("username", Reason::Username, message)
                .with_fact("characters", username.chars().count())
                .with_fact("limit", USERNAME_CHARACTERS_MAX));
        }
        Ok(Self(folded))
    }

    /// A key that no account has. A name that breaks the rules is looked up under it, so that such a look-up costs and
    /// answers what any other unknown name does.
    pub const fn nobody() -> Self {
        Self(String::new())
    }

    /// A stored key.
    pub fn from_stored(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for UsernameKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "UsernameKey({})", &blake3::hash(self.0.as_bytes()).to_hex()[..12])
    }
}

/// Folds the beginning of a name, for a list of the names that begin so.
pub(crate) fn fold_prefix(prefix: &str) -> Result<String> {
    let folded = prefix.to_ascii_lowercase();
    if folded.len() > USERNAME_CHARACTERS_MAX || !folded.bytes().all(allowed) {
        let message = "a name prefix has up to 128 of a-z, 0-9 and . _ @ + -";
        return Err(Error::invalid("namePrefix", Reason::Username, message));
    }
    Ok(folded)
}

fn allowed(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._@+-".contains(&byte)
}
