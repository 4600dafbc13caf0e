//! Whether two databases hold the same document, however each of them writes JSON down.

use serde_json::{Map, Number, Value};
use syntrix_storage_core::backend::UserRecord;
use syntrix_storage_core::{Document, Secret};

/// Whether version, times, tombstone mark and data are equal. Order of members and form of numbers are each database's own.
///
/// # Examples
///
/// ```
/// use syntrix_storage_core::{Body, Document, DocumentPath, Timestamp};
/// use syntrix_storage_routing::same_content;
///
/// let path = DocumentPath::parse("rooms/lobby")?;
/// let with = |text| Document::first(path.clone(), Timestamp::default(), Body::from_canonical(text));
/// assert!(same_content(&with(r#"{"a":1,"b":2.0}"#), &with(r#"{"b":2,"a":1}"#)));
/// assert!(!same_content(&with(r#"{"a":1}"#), &with(r#"{"a":2}"#)));
/// # Ok::<(), syntrix_storage_core::Error>(())
/// ```
pub fn same_content(left: &Document, right: &Document) -> bool {
    if left.path() != right.path() || left.metadata() != right.metadata() {
        return false;
    }
    left.raw() == right.raw()
        || match (left.value(), right.value()) {
            (Ok(left), Ok(right)) => same_value(&left, &right),
            _ => false,
        }
}

/// Whether all but the login part of two records of one account is equal.
pub(crate) fn same_account(left: &UserRecord, right: &UserRecord) -> bool {
    let (ours, theirs) = (&left.user, &right.user);
    let hash = |hash: &Option<Secret>| hash.as_ref().map(|hash| hash.expose().to_owned());
    let is_named_alike = ours.username == theirs.username
        && left.key == right.key
        && left.key_rule_version == right.key_rule_version;
    is_named_alike
        && (ours.version, ours.created_at, ours.updated_at, ours.deleted_at)
            == (theirs.version, theirs.created_at, theirs.updated_at, theirs.deleted_at)
        && hash(&ours.password_hash) == hash(&theirs.password_hash)
        && (&ours.password_algorithm, ours.password_changed_at)
            == (&theirs.password_algorithm, theirs.password_changed_at)
        && (&ours.roles, &ours.db_admin) == (&theirs.roles, &theirs.db_admin)
        && (ours.disabled, ours.disabled_at, &ours.disabled_reason)
            == (theirs.disabled, theirs.disabled_at, &theirs.disabled_reason)
        && (ours.token_epoch, ours.tokens_valid_after)
            == (theirs.token_epoch, theirs.tokens_valid_after)
        && same_members(&ours.profile, &theirs.profile)
}

/// Whether the login parts of two records of one account are equal.
pub(crate) fn same_login(left: &UserRecord, right: &UserRecord) -> bool {
    left.login_state() == right.login_state()
}

fn same_value(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => same_number(left, right),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len()
                && left.iter().zip(right).all(|(left, right)| same_value(left, right))
        }
        (Value::Object(left), Value::Object(right)) => same_members(left, right),
        _ => left == right,
    }
}

fn same_members(left: &Map<String, Value>, right: &Map<String, Value>) -> bool {
    left.len() == right.len()
        && left
            .iter()
            .all(|(key, value)| right.get(key).is_some_and(|other| same_value(value, other)))
}

/// Integers are compared as such: beyond 2^53 two of them may have one float.
fn same_number(left: &Number, right: &Number) -> bool {
    match (left.as_i64(), right.as_i64()) {
        (Some(left), Some(right)) => left == right,
        _ => left.as_f64() == right.as_f64(),
    }
}
