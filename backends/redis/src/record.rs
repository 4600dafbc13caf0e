//! A record as it lies in the server; the script in `script.rs` writes it.
//!
//! `2 REVOKED IMMEDIATE EXPIRES KEEP NONCE L L L L L` and a line feed, then the texts: reason, subject, family, successor,
//! token. Times are milliseconds, an `L` is the length of a text in bytes, -1 of one that is not there.

use syntrix_storage_core::{Revocation, Timestamp, TokenId};

/// The record of `token` in `text`, or `None` if it is another one's or no release of this crate wrote it.
pub(crate) fn decode(token: &TokenId, text: &[u8]) -> Option<Revocation> {
    decode_any(text).filter(|record| record.token == *token)
}

/// The record in `text`, which names its token itself, or `None` if no release of this crate wrote it.
pub(crate) fn decode_any(text: &[u8]) -> Option<Revocation> {
    let (head, mut rest) = std::str::from_utf8(text).ok()?.split_once('\n')?;
    let mut words = head.split(' ');
    if words.next()? != "2" {
        return None;
    }
    let revoked_at = time(words.next()?)?;
    let immediate = match words.next()? {
        "0" => false,
        "1" => true,
        _ => return None,
    };
    let (expires_at, keep_until) = (time(words.next()?)?, time(words.next()?)?);
    u64::from_str_radix(words.next()?, 16).ok()?;
    let mut text = || text_of(words.next()?, &mut rest);
    let (reason, subject, family, successor) = (text()?, text()?, text()?, text()?);
    let token = TokenId::parse(text()??).ok()?;
    if words.next().is_some() || !rest.is_empty() {
        return None;
    }
    let owned = |text: Option<&str>| text.map(str::to_owned);
    Some(Revocation {
        token,
        revoked_at,
        immediate,
        expires_at,
        keep_until,
        reason: owned(reason),
        subject: owned(subject),
        family: owned(family),
        successor: successor.map(TokenId::parse).transpose().ok()?,
    })
}

fn time(word: &str) -> Option<Timestamp> {
    let milliseconds = word.parse().ok().filter(|milliseconds| *milliseconds >= 0)?;
    Some(Timestamp::from_milliseconds(milliseconds))
}

/// The next text in `rest`, which may be none; the outer `None` is damage.
#[expect(clippy::option_option, reason = "the outer one is damage, the inner one absence")]
fn text_of<'text>(length: &str, rest: &mut &'text str) -> Option<Option<&'text str>> {
    if length == "-1" {
        return Some(None);
    }
    let (text, after) = rest.split_at_checked(length.parse().ok()?)?;
    *rest = after;
    Some(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "2 1000 0 2000 3000 00000000000000ab 3 -1 0 4 3\nwhynextjti";

    fn token() -> TokenId {
        TokenId::parse("jti").unwrap()
    }

    #[test]
    fn a_record_is_read_with_what_is_there_and_what_is_not() {
        let record = decode(&token(), WHOLE.as_bytes()).unwrap();
        assert_eq!(record.revoked_at, Timestamp::from_milliseconds(1000));
        assert_eq!(record.keep_until, Timestamp::from_milliseconds(3000));
        assert_eq!((record.reason.as_deref(), record.subject), (Some("why"), None));
        assert_eq!(record.family.as_deref(), Some(""));
        assert_eq!(record.successor.unwrap().as_str(), "next");
        assert!(!record.immediate);
    }

    #[test]
    fn texts_may_hold_anything_that_is_text() {
        let reason = "a\nb 1 {ü} ☃";
        let text = format!("2 1 1 2 3 0 {} -1 -1 -1 3\n{reason}jti", reason.len());
        assert_eq!(decode(&token(), text.as_bytes()).unwrap().reason.as_deref(), Some(reason));
    }

    #[test]
    fn whatever_no_release_wrote_is_damage_and_never_a_record() {
        for cut in 0..WHOLE.len() {
            assert!(decode(&token(), &WHOLE.as_bytes()[..cut]).is_none(), "{cut}");
        }
        for (from, to) in [
            ("2 1000", "1 1000"),
            ("1000 0", "1000 2"),
            ("1000", "-5"),
            ("ab 3", "ab 99"),
            ("ab 3", "xy 3"),
            ("4 3\n", "4 3 5\n"),
            ("4 3\n", "4 -1\n"),
            ("nextjti", "nextjtix"),
            ("nextjti", "nextjtx"),
            ("next", "\u{1}\u{1}\u{1}\u{1}"),
        ] {
            assert!(decode(&token(), WHOLE.replacen(from, to, 1).as_bytes()).is_none(), "{to}");
        }
        assert!(decode(&token(), b"2 1 1 2 3 0 1 -1 -1 -1 3\n\xffjti").is_none());
        let inside_a_character = "2 1 1 2 3 0 1 1 -1 -1 3\nüjti";
        assert!(decode(&token(), inside_a_character.as_bytes()).is_none());
        assert!(decode(&token(), b"").is_none());
    }
}
