//! Resume tokens: what opens, and that nothing else does.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use syntrix_storage_core::{
    ErrorKind, Position, ResumeToken, TOKEN_BYTES_MAX, Timestamp, TokenSeal,
};

fn seal() -> TokenSeal {
    TokenSeal::new(2, *b"store-id", 7, [9; 32])
}

fn alphabet() -> &'static [u8] {
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
}

fn position() -> impl Strategy<Value = Position> {
    (any::<u64>(), any::<u64>(), prop::collection::vec(any::<u8>(), 0..300))
        .prop_map(|(sequence, nonce, state)| Position { sequence, nonce, state })
}

#[test]
fn another_kind_of_backend_with_the_same_id_and_key_is_foreign() {
    let other = TokenSeal::new(3, *b"store-id", 7, [9; 32]);
    let token = other.seal(&Position::default(), Timestamp::default());
    assert_eq!(seal().open(&token).unwrap_err().kind(), ErrorKind::TokenForeign);
}

#[test]
fn another_epoch_of_the_same_store_opens_and_shows_it() {
    let earlier = TokenSeal::new(2, *b"store-id", 6, [9; 32]);
    let token = earlier.seal(&Position::default(), Timestamp::default());
    assert_eq!(seal().open(&token).unwrap().epoch, 6);
}

#[test]
fn debug_output_of_a_seal_has_no_key() {
    let seal = TokenSeal::new(1, [0; 8], 0, [0xab; 32]);
    assert!(!format!("{seal:?}").contains("171"));
}

#[test]
fn text_above_the_limit_is_malformed_without_being_decoded() {
    let token = ResumeToken::from_text("A".repeat(TOKEN_BYTES_MAX + 4));
    assert_eq!(seal().open(&token).unwrap_err().kind(), ErrorKind::TokenMalformed);
}

proptest! {
    #[test]
    fn what_is_sealed_opens_again(position in position(), time in 0..i64::MAX, epoch: u64) {
        let seal = TokenSeal::new(1, [3; 8], epoch, [5; 32]);
        let token = seal.seal(&position, Timestamp::from_milliseconds(time));
        let opened = seal.open(&ResumeToken::from_text(token.as_str())).unwrap();
        prop_assert_eq!(opened.position, position);
        prop_assert_eq!((opened.epoch, opened.commit_time.as_milliseconds()), (epoch, time));
        prop_assert!(token.as_str().bytes().all(|byte| alphabet().contains(&byte)));
    }

    #[test]
    fn any_text_is_malformed_and_never_panics(text in any::<String>()) {
        let error = seal().open(&ResumeToken::from_text(text)).unwrap_err();
        prop_assert_eq!(error.kind(), ErrorKind::TokenMalformed);
    }

    #[test]
    fn any_url_safe_text_is_malformed(letters in prop::collection::vec(prop::sample::select(alphabet()), 0..400)) {
        let text = String::from_utf8(letters).unwrap();
        let error = seal().open(&ResumeToken::from_text(text)).unwrap_err();
        prop_assert_eq!(error.kind(), ErrorKind::TokenMalformed);
    }

    #[test]
    fn a_token_with_letters_changed_inserted_or_cut_is_malformed(
        position in position(), at in any::<prop::sample::Index>(), letter in prop::sample::select(alphabet()), how in 0..3
    ) {
        let token = seal().seal(&position, Timestamp::from_milliseconds(1));
        let mut bytes = token.as_str().as_bytes().to_vec();
        let at = at.index(bytes.len());
        match how {
            0 => bytes[at] = letter,
            1 => bytes.insert(at, letter),
            _ => { bytes.remove(at); }
        }
        let text = String::from_utf8(bytes).unwrap();
        prop_assume!(text != token.as_str());
        let error = seal().open(&ResumeToken::from_text(text)).unwrap_err();
        prop_assert_eq!(error.kind(), ErrorKind::TokenMalformed);
    }
}
