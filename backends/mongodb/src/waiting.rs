//! Waits on the server for a feed's next entry.
//!
//! Such a wait ends with its time, or with the next entry of the server's log whoever writes it, and with nothing else: on 6.0.5 the
//! killing of its cursor and the end of its connection are noticed only then. So a close does not wait for the answer, and no
//! wait asks for more than a second: what it leaves behind on the server is gone by then.

use std::time::Duration;

use crate::failure::Failure;
use crate::parking::Parking;
use crate::stream::{Stream, fetch};

/// Longest wait on the server in one go.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// Somebody waits, or is about to: a close lasts until they have brought their cursor back.
#[derive(Debug)]
pub(crate) struct Waiting<'parking>(&'parking Parking);

impl<'parking> Waiting<'parking> {
    pub(crate) fn begin(parking: &'parking Parking) -> Self {
        parking.begin_waiting();
        Self(parking)
    }

    /// Returns with the stream's next entry, at the latest after `timeout`; at once when the feed is closed.
    pub(crate) async fn until_entry(
        &self,
        stream: &mut Stream,
        timeout: Duration,
    ) -> Result<(), Failure> {
        tokio::select! {
            biased;
            // The driver closes a connection whose call is dropped.
            () = self.0.closed() => Ok(()),
            waited = poll(stream, timeout) => waited,
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.end_waiting();
    }
}

async fn poll(stream: &mut Stream, timeout: Duration) -> Result<(), Failure> {
    let mut left = timeout;
    while stream.peek().is_none() && stream.cursor() != 0 && !left.is_zero() {
        let wait = left.min(WAIT_MAX);
        fetch(stream, wait).await?;
        left -= wait;
    }
    Ok(())
}
