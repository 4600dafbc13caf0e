//! Lists of accounts: what to list, in pages, and the plan a backend answers.

use crate::backend::UserRecord;
use crate::cursor::{self, Cursor, Fingerprint};
use crate::error::{Error, Reason, Result};
use crate::user::{User, UserId};
use crate::username::fold_prefix;

/// Most accounts in a page.
pub const USER_LIMIT_MAX: u32 = 200;
/// Accounts in a page that names no limit.
pub const USER_LIMIT_DEFAULT: u32 = 50;

/// Which accounts to list; all conditions must hold.
#[non_exhaustive]
#[derive(Clone, Debug, Default)]
pub struct UserFilter {
    /// Folded names that begin so.
    pub name_prefix: Option<String>,
    /// Accounts with this role.
    pub role: Option<String>,
    /// Disabled or enabled ones.
    pub disabled: Option<bool>,
}

/// Which page to list.
#[non_exhaustive]
#[derive(Clone, Debug, Default)]
pub struct UserPageRequest {
    /// 1 to 200; 50 if `None`.
    pub limit: Option<u32>,
    /// Continue behind this page.
    pub after: Option<Cursor>,
}

/// A page of accounts, without hashes.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct UserPage {
    /// The accounts, by id.
    pub users: Vec<User>,
    /// Where the next page starts; `None` on the last one.
    pub next: Option<Cursor>,
}

impl UserPage {
    /// For stores, which answer lists.
    pub const fn new(users: Vec<User>, next: Option<Cursor>) -> Self {
        Self { users, next }
    }
}

/// A checked list: what a backend has to answer, by id, without tombstones.
#[derive(Clone, Debug)]
pub struct UserListPlan {
    name_prefix: String,
    role: Option<String>,
    disabled: Option<bool>,
    after: Option<UserId>,
    limit: u32,
    fingerprint: Fingerprint,
}

impl UserListPlan {
    /// Checks what is asked for.
    ///
    /// # Errors
    ///
    /// [`Reason::Limit`], [`Reason::Username`] for a prefix that no name begins with, [`Reason::Cursor`] for a cursor that is
    /// damaged or belongs to another list.
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage_core::{UserFilter, UserListPlan, UserPageRequest};
    ///
    /// let plan = UserListPlan::check(UserFilter::default(), UserPageRequest::default())?;
    /// assert_eq!((plan.limit(), plan.rows_max()), (50, 51));
    /// # Ok::<(), syntrix_storage_core::Error>(())
    /// ```
    pub fn check(filter: UserFilter, page: UserPageRequest) -> Result<Self> {
        let limit = page.limit.unwrap_or(USER_LIMIT_DEFAULT);
        if !(1..=USER_LIMIT_MAX).contains(&limit) {
            return Err(Error::invalid("limit", Reason::Limit, "a page has 1 to 200 accounts")
                .with_fact("value", limit)
                .with_fact("limit", USER_LIMIT_MAX));
        }
        let name_prefix = fold_prefix(filter.name_prefix.as_deref().unwrap_or_default())?;
        let fingerprint = fingerprint(&name_prefix, filter.role.as_deref(), filter.disabled);
        let after = page.after.map(|cursor| decode(&cursor, &fingerprint)).transpose()?;
        let UserFilter { role, disabled, .. } = filter;
        Ok(Self { name_prefix, role, disabled, after, limit, fingerprint })
    }

    /// Folded names that begin so; empty for all.
    pub fn name_prefix(&self) -> &str {
        &self.name_prefix
    }

    /// Only accounts with this role.
    pub fn role(&self) -> Option<&str> {
        self.role.as_deref()
    }

    /// Only disabled or enabled accounts.
    pub fn disabled(&self) -> Option<bool> {
        self.disabled
    }

    /// Only ids behind this one, compared byte by byte.
    pub fn after(&self) -> Option<&UserId> {
        self.after.as_ref()
    }

    /// Most accounts in the page.
    pub fn limit(&self) -> usize {
        self.limit as usize
    }

    /// One more than the limit: whether it is there tells whether there is a next page.
    pub fn rows_max(&self) -> usize {
        self.limit() + 1
    }

    /// Whether the list contains `record`: the reference for backends that translate the plan.
    pub fn selects(&self, record: &UserRecord) -> bool {
        let user = &record.user;
        user.deleted_at.is_none()
            && record.key.as_str().starts_with(&self.name_prefix)
            && self.role.as_ref().is_none_or(|role| user.roles.contains(role))
            && self.disabled.is_none_or(|disabled| disabled == user.disabled)
            && self.after.as_ref().is_none_or(|after| user.id > *after)
    }

    /// Where the page behind `last` starts.
    pub fn cursor_after(&self, last: &UserId) -> Cursor {
        let mut payload = vec![LIST_VERSION];
        payload.extend_from_slice(last.as_str().as_bytes());
        Cursor::seal(&self.fingerprint, payload)
    }
}

/// Differs from the version byte of a query's cursor.
const LIST_VERSION: u8 = 0x81;

fn decode(cursor: &Cursor, fingerprint: &Fingerprint) -> Result<UserId> {
    let payload = cursor.unseal(fingerprint)?;
    let id = payload.strip_prefix(&[LIST_VERSION]).ok_or_else(cursor::invalid)?;
    let id = std::str::from_utf8(id).map_err(|_| cursor::invalid())?;
    UserId::parse(id).map_err(|_| cursor::invalid())
}

fn fingerprint(name_prefix: &str, role: Option<&str>, disabled: Option<bool>) -> Fingerprint {
    let mut hasher = blake3::Hasher::new_derive_key("syntrix-storage user list 1");
    // Each part with its length, so that no two lists run together.
    let mut part = |text: Option<&str>| {
        let length = text.map_or(u64::MAX, |text| text.len() as u64);
        hasher.update(&length.to_be_bytes());
        hasher.update(text.unwrap_or_default().as_bytes());
    };
    part(Some(name_prefix));
    part(role);
    part(disabled.map(|disabled| if disabled { "disabled" } else { "enabled" }));
    Fingerprint(*hasher.finalize().as_bytes())
}
