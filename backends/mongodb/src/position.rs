//! Places in the change stream as positions of the feed.
//!
//! The server's token is hexadecimal text that sorts in the order of the stream: first the cluster time, then what happened
//! at it. A time alone is the beginning of such a text and sorts before everything that happened at it.

use mongodb::bson::Timestamp as ClusterTime;
use syntrix_storage_core::{Error, ExpiredReason, Position, Result, Timestamp};

/// Names the fixed pipeline. The server ties a token to the pipeline that made it, so a later one needs another number.
const PIPELINE: u8 = 1;
/// The server's mark of a timestamp before the cluster time.
const TIME_MARK: &str = "82";
/// Mark, seconds and counter in hexadecimal digits.
const TIME_DIGITS: usize = 18;
/// The server's high-water marks, which name a time and no event, are at most so long; tokens of events are longer.
const MARK_DIGITS_MAX: usize = 32;

/// A place in the change stream, with the commit time that no later change goes below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) token: String,
    pub(crate) commit_time: Timestamp,
}

impl Place {
    pub(crate) fn new(token: impl Into<String>, commit_time: Timestamp) -> Self {
        Self { token: token.into(), commit_time }
    }

    /// The place before everything that happens at `time`.
    pub(crate) fn before(time: ClusterTime, commit_time: Timestamp) -> Self {
        let token = format!("{TIME_MARK}{:08X}{:08X}", time.time, time.increment);
        Self { token, commit_time }
    }

    /// When it lies, by the clock of the cluster.
    pub(crate) fn cluster_time(&self) -> ClusterTime {
        time_of(&self.token).unwrap_or(ClusterTime { time: 0, increment: 0 })
    }

    /// Whether it names a time and no token of the server.
    pub(crate) fn is_time(&self) -> bool {
        self.token.len() == TIME_DIGITS
    }

    /// Whether this is a high-water mark with nothing between `time` and it. A stream that is opened on an idle server begins one tick
    /// after the last entry of its log; an older one gets no token behind that entry until something happens, so waiting for one at
    /// the mark would take until the server's next no-op.
    pub(crate) fn is_next_to(&self, time: ClusterTime) -> bool {
        let next = ClusterTime { time: time.time, increment: time.increment.saturating_add(1) };
        self.token.len() <= MARK_DIGITS_MAX && next >= self.cluster_time()
    }

    pub(crate) fn to_position(&self) -> Position {
        let time = self.cluster_time();
        let mut state = vec![PIPELINE];
        state.extend_from_slice(&self.commit_time.as_milliseconds().to_be_bytes());
        state.extend(self.token.as_bytes().chunks(2).map(byte));
        let sequence = u64::from(time.time) << 32 | u64::from(time.increment);
        Position { sequence, nonce: 0, state }
    }

    /// A sealed token is no forgery, so what does not fit comes from another release.
    pub(crate) fn of(position: &Position) -> Result<Self> {
        Self::parse(&position.state)
            .ok_or_else(|| Error::token_expired(ExpiredReason::Diverged, None))
    }

    fn parse(state: &[u8]) -> Option<Self> {
        let (&[PIPELINE], rest) = state.split_at_checked(1)? else { return None };
        let (commit_time, token) = rest.split_at_checked(8)?;
        let commit_time =
            Timestamp::from_milliseconds(i64::from_be_bytes(commit_time.try_into().ok()?));
        let token: String = token.iter().map(|byte| format!("{byte:02X}")).collect();
        time_of(&token).map(|_| Self { token, commit_time })
    }
}

fn time_of(token: &str) -> Option<ClusterTime> {
    let digits = token.strip_prefix(TIME_MARK)?;
    let time = u32::from_str_radix(digits.get(..8)?, 16).ok()?;
    let increment = u32::from_str_radix(digits.get(8..16)?, 16).ok()?;
    Some(ClusterTime { time, increment })
}

fn byte(digits: &[u8]) -> u8 {
    digits.iter().fold(0, |value, digit| {
        let digit = (*digit as char).to_digit(16).unwrap_or_default() as u8;
        value << 4 | digit
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "826565A0B3000000072B022C0100296E5A1004";

    /// Marks of the server 6.0, of 7 and later, and of this layer.
    #[test]
    fn a_mark_is_next_to_the_time_before_it_and_an_event_to_none() {
        let at = |digits: &str| Place::new(format!("826565A0B3{digits}"), Timestamp::default());
        let time = |increment| ClusterTime { time: 0x6565_A0B3, increment };
        for mark in ["000000082B0229296E04", "000000082B0429296E1404", "00000008"].map(at) {
            assert!(mark.is_next_to(time(7)) && mark.is_next_to(time(8)), "{mark:?}");
            assert!(!mark.is_next_to(time(6)), "something may be missing before {mark:?}");
        }
        for event in [TOKEN[10..].to_owned(), "000000082B042C0100296E1404FE04".into()] {
            assert!(!at(&event).is_next_to(time(6)), "{event}");
        }
    }

    #[test]
    fn a_place_comes_back_from_its_position() {
        let place = Place::new(TOKEN, Timestamp::from_milliseconds(-5));
        assert_eq!(Place::of(&place.to_position()).unwrap(), place);
        assert_eq!(place.cluster_time(), ClusterTime { time: 0x6565_A0B3, increment: 7 });
        assert!(!place.is_time());
    }

    #[test]
    fn a_time_sorts_before_all_that_happened_at_it_and_behind_all_before() {
        let at = |time, increment| {
            Place::before(ClusterTime { time, increment }, Timestamp::default()).token
        };
        assert!(at(0x6565_A0B3, 7).as_str() < TOKEN);
        assert!(TOKEN < at(0x6565_A0B3, 8).as_str());
        assert!(Place::new(at(1, 2), Timestamp::default()).is_time());
    }

    #[test]
    fn a_position_of_another_form_is_expired_and_not_guessed_at() {
        for state in [vec![], vec![2, 0], vec![1; 8], vec![1; 12]] {
            let position = Position { state, ..Position::default() };
            let error = Place::of(&position).unwrap_err();
            assert_eq!(error.expired_reason(), Some(ExpiredReason::Diverged));
        }
    }
}
