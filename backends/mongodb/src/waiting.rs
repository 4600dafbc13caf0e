//! Waits on the server for a feed's next entry.
//!
//! Such a wait ends with its time, or with the next entry of the server's log whoever writes it, and with nothing else: on 6.0.5 the
//! killing of its cursor and the end of its connection are noticed only then. So a close does not wait for the answer, and no
//! wait asks for more than a second: what it leaves behind on the server is gone by then.

use std::time::{Duration, Instant};

use crate::error::timed_out;
use crate::failure::Failure;
use crate::parking::Parking;
use crate::stream::Stream;

/// Longest wait on the server in one go.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// What a server may need beyond the time that it was allowed to wait.
pub(crate) const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// Asks for the next batch; without one the server waits up to `wait` for it.
pub(crate) async fn fetch(stream: &mut Stream, wait: Duration) -> Result<(), Failure> {
    let fetching = stream.fetch(wait);
    Ok(tokio::time::timeout(wait + ANSWER_TIME_MAX, fetching).await.map_err(|_| timed_out())??)
}

/// Somebody waits, or is about to: a close lasts until they are gone.
#[derive(Debug)]
pub(crate) struct Waiting<'parking>(&'parking Parking);

impl<'parking> Waiting<'parking> {
    pub(crate) fn begin(parking: &'parking Parking) -> Self {
        parking.count_waiting(|waiting| *waiting += 1);
        Self(parking)
    }

    /// Returns with the stream's next entry, at the latest after `timeout`; at once when the feed is closed.
    pub(crate) async fn until_entry(
        &self,
        stream: &mut Stream,
        timeout: Duration,
    ) -> Result<(), Failure> {
        let cursor = stream.cursor();
        if !self.0.wait_with(cursor) {
            return Ok(());
        }
        let waited = tokio::select! {
            waited = poll(stream, timeout) => waited,
            // The driver closes a connection whose call is dropped.
            () = self.0.closed() => Ok(()),
        };
        self.0.waited_with(cursor);
        waited
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.count_waiting(|waiting| *waiting -= 1);
    }
}

async fn poll(stream: &mut Stream, timeout: Duration) -> Result<(), Failure> {
    let end = Instant::now() + timeout;
    while stream.peek().is_none() && stream.cursor() != 0 {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        fetch(stream, left.min(WAIT_MAX)).await?;
    }
    Ok(())
}
