//! Where things lie. The layout is for ever: another one would not find what this one stored.
//!
//! `PREFIX:{BB}:DIGEST` is a record, `PREFIX:{BB}:canary` the mark of its bucket, `PREFIX:{00}:store` the store itself.
//! `BB` is the first byte of the digest in hexadecimal. A cluster places a key by what stands in the braces alone, so a
//! record and its mark are always on one node. `PREFIX:{lg}:ledger` holds the routes' own records. A namespace stands behind the prefix: `PREFIX:NAMESPACE:{BB}:…`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use syntrix_storage_core::TokenId;

/// How many buckets there are.
pub(crate) const BUCKETS: usize = 256;

/// Bytes of the digest in a key: no two tokens share one, however hard somebody tries.
const DIGEST_BYTES: usize = 24;

/// Makes the keys of one store.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    /// Ends with a colon.
    stem: String,
}

/// The keys of one token.
#[derive(Debug)]
pub(crate) struct TokenKeys {
    pub(crate) bucket: u8,
    pub(crate) record: String,
    pub(crate) canary: String,
}

impl Keys {
    pub(crate) fn new(prefix: &str, namespace: Option<&str>) -> Self {
        let stem = match namespace {
            Some(namespace) => format!("{prefix}:{namespace}:"),
            None => format!("{prefix}:"),
        };
        Self { stem }
    }

    /// Record and mark of `token`. The key does not show the token: who sees key names learns no ids.
    pub(crate) fn token(&self, token: &TokenId) -> TokenKeys {
        let digest = blake3::hash(token.as_str().as_bytes());
        let digest = &digest.as_bytes()[..DIGEST_BYTES];
        let bucket = digest[0];
        let mut record = self.in_bucket(bucket, DIGEST_BYTES * 4 / 3);
        URL_SAFE_NO_PAD.encode_string(digest, &mut record);
        TokenKeys { bucket, record, canary: self.canary(bucket) }
    }

    /// The mark of a bucket.
    pub(crate) fn canary(&self, bucket: u8) -> String {
        self.in_bucket(bucket, "canary".len()) + "canary"
    }

    /// The marks of all buckets, in order.
    pub(crate) fn canaries(&self) -> Vec<String> {
        (0..=u8::MAX).map(|bucket| self.canary(bucket)).collect()
    }

    /// The store's own entry: format and id.
    pub(crate) fn store(&self) -> String {
        self.in_bucket(0, "store".len()) + "store"
    }

    /// The routes' own records.
    pub(crate) fn ledger(&self) -> String {
        format!("{}{{lg}}:ledger", self.stem)
    }

    /// What all keys of this store match and no key of another one. No character of a prefix or namespace means
    /// anything in a pattern.
    pub(crate) fn pattern(&self) -> String {
        format!("{}{{??}}:*", self.stem)
    }

    /// Whether a key that matches the pattern is a record's: nothing else has a name so long.
    pub(crate) fn is_record(&self, key: &str) -> bool {
        let name = key.rsplit(':').next().unwrap_or_default();
        name.len() == DIGEST_BYTES * 4 / 3
    }

    fn in_bucket(&self, bucket: u8, room_for: usize) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut key = String::with_capacity(self.stem.len() + 5 + room_for);
        key.push_str(&self.stem);
        key.push('{');
        key.push(char::from(DIGITS[usize::from(bucket >> 4)]));
        key.push(char::from(DIGITS[usize::from(bucket & 15)]));
        key.push_str("}:");
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str) -> TokenId {
        TokenId::parse(text).unwrap()
    }

    /// A change here makes every stored revocation unreachable.
    #[test]
    fn the_layout_is_the_one_of_the_first_release() {
        let keys = Keys::new("syntrix:rev", None).token(&token("9b1d"));
        assert_eq!(keys.record, "syntrix:rev:{53}:U2XFyeL-l1Dod0TdaYm2DUqkPscQ2i4h");
        assert_eq!(keys.canary, "syntrix:rev:{53}:canary");
        assert_eq!(keys.bucket, 0x53);
        assert_eq!(Keys::new("p", Some("n")).store(), "p:n:{00}:store");
        assert_eq!(Keys::new("p", Some("n")).ledger(), "p:n:{lg}:ledger");
    }

    #[test]
    fn a_record_and_its_mark_share_what_a_cluster_places_them_by() {
        let keys = Keys::new("a:b", Some("x"));
        for number in 0..1000 {
            let keys = keys.token(&token(&format!("token {number}")));
            let tag = |key: &str| key[key.find('{').unwrap()..=key.find('}').unwrap()].to_owned();
            assert_eq!(tag(&keys.record), tag(&keys.canary));
            assert!(!keys.record.contains("token"));
        }
    }

    #[test]
    fn a_record_is_told_from_everything_else_under_the_prefix() {
        let keys = Keys::new("a:b", None);
        assert!(keys.is_record(&keys.token(&token("x")).record));
        for other in [keys.canary(7), keys.store(), keys.ledger()] {
            assert!(!keys.is_record(&other), "{other}");
        }
    }

    #[test]
    fn every_bucket_has_its_own_mark() {
        let mut canaries = Keys::new("p", None).canaries();
        assert_eq!(canaries[255], "p:{ff}:canary");
        canaries.sort_unstable();
        canaries.dedup();
        assert_eq!(canaries.len(), BUCKETS);
    }
}
