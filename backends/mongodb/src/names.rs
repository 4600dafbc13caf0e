//! Names as the server may see them: no empty one, no dot, no leading `$`.
//!
//! Every key of a document, at any depth, is escaped when it is written and read back when it is read. A `%` that
//! [`push_escaped`] does not write is no data but damage.

use std::borrow::Cow;

use syntrix_storage_core::Result;

use crate::error::damaged;

/// Appends the stored name of `key`: `""` is `%_`; else `%` is `%25`, `.` is `%2E`, a leading `$` is `%24`.
pub(crate) fn push_escaped(name: &mut Vec<u8>, key: &str) {
    if key.is_empty() {
        name.extend_from_slice(b"%_");
        return;
    }
    let rest = key.strip_prefix('$').inspect(|_| name.extend_from_slice(b"%24")).unwrap_or(key);
    for byte in rest.bytes() {
        match byte {
            b'%' => name.extend_from_slice(b"%25"),
            b'.' => name.extend_from_slice(b"%2E"),
            byte => name.push(byte),
        }
    }
}

/// The path of `keys` below `root`, as filters, sorts and indexes name it.
pub(crate) fn path(root: &str, keys: &[String]) -> String {
    let mut name = root.as_bytes().to_vec();
    for key in keys {
        name.push(b'.');
        push_escaped(&mut name, key);
    }
    // Escaping replaces ASCII by ASCII.
    String::from_utf8(name).unwrap_or_default()
}

/// The key behind a stored name.
pub(crate) fn unescape(name: &str) -> Result<Cow<'_, str>> {
    if !name.contains('%') {
        return Ok(Cow::Borrowed(name));
    }
    if name == "%_" {
        return Ok(Cow::Borrowed(""));
    }
    let mut key = String::with_capacity(name.len());
    let mut rest = name;
    if let Some(behind) = rest.strip_prefix("%24") {
        key.push('$');
        rest = behind;
    }
    while let Some(at) = rest.find('%') {
        key.push_str(&rest[..at]);
        key.push(match rest.get(at..at + 3) {
            Some("%25") => '%',
            Some("%2E") => '.',
            _ => return Err(damaged()),
        });
        rest = &rest[at + 3..];
    }
    key.push_str(rest);
    Ok(Cow::Owned(key))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped(key: &str) -> String {
        let mut name = Vec::new();
        push_escaped(&mut name, key);
        String::from_utf8(name).unwrap()
    }

    #[test]
    fn ordinary_keys_stay_as_they_are() {
        for key in ["room", "a$b", "q\"r\\s", "é", "_", " ", "a b", "__proto__"] {
            assert_eq!(escaped(key), key);
        }
    }

    #[test]
    fn what_the_server_would_misread_is_escaped() {
        let names =
            [("", "%_"), ("1.0.1", "1%2E0%2E1"), ("$ref", "%24ref"), ("$", "%24"), ("%", "%25")];
        for (key, name) in names {
            assert_eq!(escaped(key), name);
            assert_eq!(unescape(name).unwrap(), key);
        }
        assert_eq!(escaped("%_"), "%25_");
        assert_eq!(escaped("$$.%"), "%24$%2E%25");
    }

    #[test]
    fn a_name_that_nobody_wrote_is_damage() {
        for name in ["%", "a%", "%2", "%2e", "%24%24", "a%24", "%_%_", "%é"] {
            assert!(unescape(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_path_is_the_escaped_keys_joined() {
        let keys = ["releases", "1.0.1", ""].map(str::to_owned);
        assert_eq!(path("s", &keys), "s.releases.1%2E0%2E1.%_");
    }

    /// All keys of up to five characters of an alphabet that provokes every rule: no two share a name.
    #[test]
    fn no_two_keys_share_a_name() {
        let mut keys = vec![String::new()];
        let mut names = std::collections::HashSet::new();
        for _ in 0..=5 {
            let mut longer = Vec::new();
            for key in keys {
                let name = escaped(&key);
                assert_eq!(unescape(&name).unwrap(), key);
                assert!(!name.is_empty() && !name.contains('.') && !name.starts_with('$'));
                longer.extend("%._$2E5a".chars().map(|character| format!("{key}{character}")));
                assert!(names.insert(name), "{key:?} shares its name");
            }
            keys = longer;
        }
    }

    proptest! {
        #[test]
        fn every_key_comes_back(key in "[^\0]{0,40}|[%.$_2E45]{0,12}") {
            let name = escaped(&key);
            prop_assert_eq!(unescape(&name).unwrap(), key);
        }
    }
}
