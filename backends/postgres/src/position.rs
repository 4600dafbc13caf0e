//! Snapshots, and places in the change log made of them.
//!
//! A place is a set of changes: all that a snapshot sees (a boundary), or all that one snapshot sees and, of those that a
//! later one sees in addition, the ones up to a number (the middle of a window).

use std::fmt::Write as _;

use syntrix_storage_core::{Error, ErrorKind, Position, Result};

/// Which transactions had ended: everything below `xmax` but those in `open`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    xmin: u64,
    pub(crate) xmax: u64,
    /// Ascending.
    pub(crate) open: Vec<u64>,
}

impl Snapshot {
    /// Reads the text form of `pg_snapshot`: `xmin:xmax:open,open`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let (xmin, xmax) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let open = parts.next()?.split(',').filter(|xid| !xid.is_empty());
        let open = open.map(str::parse).collect::<Result<_, _>>().ok()?;
        parts.next().is_none().then_some(Self { xmin, xmax, open })
    }

    /// The text form of `pg_snapshot`.
    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("{}:{}:", self.xmin, self.xmax);
        for (position, xid) in self.open.iter().enumerate() {
            let separator = if position > 0 { "," } else { "" };
            // Writing to a string cannot fail.
            let _ = write!(text, "{separator}{xid}");
        }
        text
    }

    /// The part that is on the disk for good, where `highest` is the highest transaction that the log has a change of.
    ///
    /// Later numbers may be of transactions that a crash forgets, and are given out again then. Whoever has one of them and
    /// writes to the log is not seen yet, so for the log both snapshots are the same.
    pub(crate) fn up_to(mut self, highest: u64) -> Self {
        let xmax = self.xmax.min(highest.saturating_add(1));
        self.open.retain(|xid| *xid < xmax);
        self.xmin = self.open.first().copied().unwrap_or(xmax);
        self.xmax = xmax;
        self
    }

    pub(crate) fn xmax_text(&self) -> String {
        self.xmax.to_string()
    }

    pub(crate) fn open_texts(&self) -> Vec<String> {
        self.open.iter().map(u64::to_string).collect()
    }

    fn push(&self, bytes: &mut Vec<u8>) {
        push_number(bytes, self.xmin);
        push_number(bytes, self.xmax.saturating_sub(self.xmin));
        push_number(bytes, self.open.len() as u64);
        let mut previous = self.xmin;
        for xid in &self.open {
            push_number(bytes, xid.saturating_sub(previous));
            previous = *xid;
        }
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        let xmin = take_number(bytes)?;
        let xmax = xmin.checked_add(take_number(bytes)?)?;
        let count = usize::try_from(take_number(bytes)?).ok()?;
        if count > bytes.len() {
            return None;
        }
        let mut previous = xmin;
        let mut open = Vec::with_capacity(count);
        for _ in 0..count {
            previous = previous.checked_add(take_number(bytes)?)?;
            open.push(previous);
        }
        Some(Self { xmin, xmax, open })
    }
}

/// The last change of a place by number, with what tells it from another history's change of that number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Anchor {
    pub(crate) sequence: i64,
    pub(crate) nonce: i64,
}

impl Anchor {
    /// The same kind of place as `position`, up to this change.
    pub(crate) fn at(self, position: &Position) -> Position {
        let Self { sequence, nonce } = self;
        Position { sequence: sequence as u64, nonce: nonce as u64, state: position.state.clone() }
    }
}

/// Stands where a window would, before a timeline. No window sees nothing.
const NO_WINDOW: Snapshot = Snapshot { xmin: 0, xmax: 0, open: Vec::new() };

/// A place in the change log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogPlace {
    /// All that it sees belongs to the place.
    pub(crate) seen: Snapshot,
    /// In the middle of a window: what sees the rest of it, in the order of numbers.
    pub(crate) window: Option<Snapshot>,
    pub(crate) anchor: Anchor,
    /// The server's timeline; 0 where nobody noted it.
    pub(crate) timeline: u32,
}

impl LogPlace {
    pub(crate) fn boundary(seen: Snapshot, anchor: Anchor) -> Self {
        Self { seen, window: None, anchor, timeline: 0 }
    }

    pub(crate) fn encode(&self) -> Position {
        let mut state = Vec::with_capacity(32);
        self.seen.push(&mut state);
        match (&self.window, self.timeline) {
            (Some(window), _) => window.push(&mut state),
            (None, 0) => {}
            (None, _) => NO_WINDOW.push(&mut state),
        }
        if self.timeline != 0 {
            push_number(&mut state, self.timeline.into());
        }
        let Anchor { sequence, nonce } = self.anchor;
        Position { sequence: sequence as u64, nonce: nonce as u64, state }
    }

    /// The default position is the beginning. A position is sealed, so one that does not decode is a fault of ours.
    pub(crate) fn decode(position: &Position) -> Result<Self> {
        let anchor = Anchor { sequence: position.sequence as i64, nonce: position.nonce as i64 };
        if position.state.is_empty() {
            return Ok(Self { anchor, ..Self::default() });
        }
        let mut bytes = &position.state[..];
        let place = Snapshot::take(&mut bytes).and_then(|seen| {
            let window = match bytes.is_empty() {
                true => None,
                false => Some(Snapshot::take(&mut bytes)?).filter(|window| *window != NO_WINDOW),
            };
            let timeline = match bytes.is_empty() {
                true => 0,
                false => u32::try_from(take_number(&mut bytes)?).ok()?,
            };
            bytes.is_empty().then_some(Self { seen, window, anchor, timeline })
        });
        place.ok_or_else(|| {
            Error::new(ErrorKind::Internal, "")
                .with_message("a position of the change log is not one of this backend's")
        })
    }
}

fn push_number(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(text: &str) -> Snapshot {
        Snapshot::parse(text).expect(text)
    }

    #[test]
    fn a_snapshot_survives_both_of_its_forms() {
        for text in ["725:725:", "725:729:725,727", "1:18446744073709551615:1,300,70000"] {
            assert_eq!(snapshot(text).to_text(), text);
            for (window, timeline) in
                [(None, 0), (None, 3), (Some("730:731:"), 0), (Some("730:731:"), 300)]
            {
                let place = LogPlace {
                    seen: snapshot(text),
                    window: window.map(snapshot),
                    anchor: Anchor { sequence: 7, nonce: -1 },
                    timeline,
                };
                assert_eq!(LogPlace::decode(&place.encode()).expect(text), place);
            }
        }
    }

    #[test]
    fn what_a_crash_may_forget_is_not_kept() {
        for (text, highest, kept) in [
            ("725:729:725,727", 726, "725:727:725"),
            ("725:729:725,727", 728, "725:729:725,727"),
            ("725:729:725,727", 5000, "725:729:725,727"),
            ("725:729:725,727", 700, "701:701:"),
            ("725:729:725,727", 0, "1:1:"),
            ("729:729:", 720, "721:721:"),
        ] {
            assert_eq!(snapshot(text).up_to(highest).to_text(), kept, "{text} {highest}");
        }
    }

    #[test]
    fn what_is_no_snapshot_is_refused() {
        for text in ["", "1", "1:2", "1:2:3:4", "a:b:", "1:2:x"] {
            assert_eq!(Snapshot::parse(text), None, "{text}");
        }
        for state in [vec![0x80], vec![1, 1, 200], vec![1, 1, 0, 9], vec![1, 1, 0, 1, 1, 0, 1, 1]] {
            let position = Position { sequence: 1, nonce: 1, state };
            LogPlace::decode(&position).expect_err("decoded");
        }
    }

    #[test]
    fn the_default_position_is_the_beginning() {
        assert_eq!(LogPlace::decode(&Position::default()).expect("place"), LogPlace::default());
    }
}
