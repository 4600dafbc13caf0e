//! What can go wrong between two machines.

use std::time::Duration;

/// What the proxy does to every connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Carries everything at once.
    None,
    /// Carries each piece so much later, in both directions.
    Delay(Duration),
    /// Resets open connections, and each new one at once.
    Cut,
    /// Carries nothing and closes nothing, as when a cable is pulled. What was held back is carried when it is over.
    BlackHole,
    /// Carries questions and ends the direction of answers: what was asked is done, and nobody hears of it.
    HalfClose,
}

impl Fault {
    /// For tables and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Delay(_) => "delay",
            Self::Cut => "cut",
            Self::BlackHole => "black hole",
            Self::HalfClose => "half close",
        }
    }
}
