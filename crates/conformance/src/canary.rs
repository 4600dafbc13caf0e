//! Credentials that belong to nobody. Tests that pass a credential pass one of these, and whoever runs them searches all that
//! the run wrote for them: a single hit is a leak into a log, an error, a metric or a report.

/// A password, in clear text; the stores never see one.
pub const PASSWORD: &str = concat!("canary-pass", "word-7f3a91c2");
/// What is between the parts of [`PASSWORD_HASH`] that every hash of its scheme has.
pub const HASH_SECRET: &str = concat!("Y2FuYXJ5", "c2VjcmV0aGFzaA5d41");
/// A stored hash.
pub const PASSWORD_HASH: &str =
    concat!("$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$", "Y2FuYXJ5", "c2VjcmV0aGFzaA5d41");
/// A token's id.
pub const TOKEN_ID: &str = concat!("canary-to", "ken-e81b55d0");

/// The value that tests of configurations write where a secret belongs.
pub const SETTING: &str = concat!("hun", "ter2");

/// What must be in no output.
pub const ALL: [&str; 4] = [PASSWORD, HASH_SECRET, TOKEN_ID, SETTING];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_holds_what_is_searched_for() {
        assert!(PASSWORD_HASH.ends_with(HASH_SECRET));
    }
}
