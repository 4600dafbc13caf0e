//! Where the history that a server still has begins.

use mongodb::bson::Timestamp as ClusterTime;
use syntrix_storage_core::Result;

use crate::error::{HISTORY_LOST, code_of};
use crate::failure::Failure;
use crate::position::Place;
use crate::stream::{Start, Stream};
use crate::watch::Changes;

impl Changes {
    /// Finds where the server's history begins by halving the time since `lost`, which it no longer has: needs no privilege and
    /// works through a router.
    pub(crate) async fn open_oldest(&self, lost: &Place) -> Result<(Stream, Place)> {
        let newest = self.open(&Start::Now).await?;
        let place = Place::new(newest.place(), lost.commit_time);
        let (mut gone, mut there) = (lost.cluster_time(), place.cluster_time());
        let mut found = (newest, place);
        while let Some(middle) = between(gone, there) {
            let place = Place::before(middle, lost.commit_time);
            match self.open_raw(&Start::At(place.clone())).await {
                Ok(stream) => {
                    there = middle;
                    std::mem::replace(&mut found, (stream, place)).0.close().await;
                }
                Err(Failure::Driver(error)) if code_of(&error) == Some(HISTORY_LOST) => {
                    gone = middle;
                }
                Err(failure) => return Err(failure.into_core()),
            }
        }
        Ok(found)
    }
}

/// A time between two, first by seconds, then by what the cluster counts within one; `None` if nothing lies between.
fn between(early: ClusterTime, late: ClusterTime) -> Option<ClusterTime> {
    /// More than a cluster does in a second.
    const COUNT_MAX: u32 = 1 << 20;
    let seconds = late.time.saturating_sub(early.time);
    if seconds > 1 {
        return Some(ClusterTime { time: early.time + seconds / 2, increment: 1 });
    }
    let end = if seconds == 0 { late.increment } else { COUNT_MAX };
    let count = end.saturating_sub(early.increment);
    if count > 1 {
        return Some(ClusterTime { time: early.time, increment: early.increment + count / 2 });
    }
    // Nothing is left of the earlier second.
    (seconds == 1 && late.increment > 1)
        .then_some(ClusterTime { time: late.time, increment: late.increment / 2 })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Halves as the search does, over a history that begins at `oldest`.
    fn search(
        oldest: ClusterTime,
        mut gone: ClusterTime,
        mut there: ClusterTime,
    ) -> (ClusterTime, usize) {
        let mut steps = 0;
        while let Some(middle) = between(gone, there) {
            steps += 1;
            if middle < oldest { gone = middle } else { there = middle }
        }
        (there, steps)
    }

    #[test]
    fn the_beginning_of_a_history_is_found_exactly_and_soon() {
        let at = |time, increment| ClusterTime { time, increment };
        let (lost, now) = (at(1_000_000, 7), at(1_500_000, 3));
        for oldest in
            [at(1_000_000, 8), at(1_000_001, 1), at(1_234_567, 890), at(1_500_000, 2), now]
        {
            let (found, steps) = search(oldest, lost, now);
            assert_eq!(found, oldest);
            assert!(steps < 64, "{steps}");
        }
        // Within one second.
        assert_eq!(search(at(5, 300), at(5, 1), at(5, 1000)).0, at(5, 300));
    }
}
