//! Reads the backend's feed into the ring, for as long as somebody watches.

use std::sync::Arc;
use std::time::Duration;

use syntrix_storage_core::backend::{Feed, FeedPage};
use syntrix_storage_core::{Error, ErrorKind, Position, Result};
use tokio::time::Instant;

use super::ring::Entry;
use super::sync::sleep;
use super::{Hub, is_passing};

/// Changes read at once; few in the model test, so that it sees the borders of pages.
const PAGE: usize = if cfg!(test) { 3 } else { 1000 };
/// Longest time between two looks at the feed: a wake-up may be lost, this look is not.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// After this the dispatcher looks by itself.
const WAIT_LIMIT: Duration = Duration::from_secs(1);
/// How long the dispatcher outlives the last subscriber, for those who reconnect.
const LINGER: Duration = Duration::from_secs(30);
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

pub(super) async fn run(hub: Arc<Hub>) {
    let mut closing = hub.closing.clone();
    tokio::select! {
        biased;
        () = closing.wait() => hub.state().running = false,
        () = dispatch(&hub) => {}
    }
    hub.running.send_modify(|running| *running -= 1);
}

async fn dispatch(hub: &Arc<Hub>) {
    let mut position: Option<Position> = None;
    let (mut backoff, mut alone_since) = (BACKOFF_MIN, None);
    loop {
        match step(hub, &mut position).await {
            Ok(()) => backoff = BACKOFF_MIN,
            Err(error) if error.kind() == ErrorKind::TokenExpired => position = None,
            Err(error) if !is_passing(&error) => return hub.fail(&error),
            Err(error) => {
                tracing::warn!(%error, "the feed cannot be read; watchers wait");
                sleep(backoff.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
                backoff = (backoff * 2).min(BACKOFF_MAX);
            }
        }
        if stop_when_alone(hub, &mut alone_since) {
            return;
        }
    }
}

/// Reads everything there is, then waits for more.
///
/// Without a place it begins at the end of the feed; subscribers then fetch what lies between from the backend, which tells
/// each of them if its own history is gone.
async fn step(hub: &Arc<Hub>, position: &mut Option<Position>) -> Result<()> {
    let poll = begin_poll(hub);
    let mut place = match position.take() {
        Some(place) => place,
        None => restart(hub).await?,
    };
    loop {
        let page = match hub.backend.feed(&Feed::After(place.clone()), None, PAGE).await {
            Ok(page) => page,
            Err(error) => return Err(keep_place(error, position, place)),
        };
        let more = page.more;
        place = publish(hub, page);
        if !more {
            break;
        }
    }
    hub.polled.send_replace(poll);
    *position = Some(place.clone());
    tokio::select! {
        biased;
        waited = hub.backend.wait_for_change(&place, POLL_INTERVAL) => waited,
        () = hub.refresh.notified() => Ok(()),
        // The backend should have come back long ago: its wake-ups are lost, the changes are not.
        () = sleep(WAIT_LIMIT) => Ok(()),
    }
}

fn begin_poll(hub: &Hub) -> u64 {
    let mut state = hub.state();
    state.poll += 1;
    state.poll
}

/// Whoever waits in the ring is told, because what came between the two runs will never be in it.
async fn restart(hub: &Hub) -> Result<Position> {
    let (place, commit_time) = hub.backend.feed_end().await?;
    let waiting = {
        let mut state = hub.state();
        state.ring.restart(place.clone(), commit_time);
        state.ring.waiting()
    };
    waiting.iter().for_each(|news| news.notify_waiters());
    Ok(place)
}

fn keep_place(error: Error, position: &mut Option<Position>, place: Position) -> Error {
    if error.kind() != ErrorKind::TokenExpired {
        *position = Some(place);
    }
    error
}

/// Puts a page into the ring and wakes whoever waits for it.
fn publish(hub: &Hub, page: FeedPage) -> Position {
    let entries = page.changes.into_iter().map(|change| Arc::new(Entry::new(change))).collect();
    let wake = {
        let mut state = hub.state();
        state.answered_at = Some(Instant::now());
        let wake = state.ring.publish(entries, page.end.clone());
        if !page.more {
            state.ring.settle();
        }
        wake
    };
    wake.iter().for_each(|news| news.notify_waiters());
    page.end
}

fn stop_when_alone(hub: &Hub, alone_since: &mut Option<Instant>) -> bool {
    let mut state = hub.state();
    if state.subscribers > 0 {
        *alone_since = None;
        return false;
    }
    let since = *alone_since.get_or_insert_with(Instant::now);
    let stop = since.elapsed() >= LINGER;
    if stop {
        state.running = false;
        let (position, commit_time) = (state.ring.position.clone(), state.ring.commit_time);
        // Nobody is left to read what the ring holds.
        state.ring.restart(position, commit_time);
    }
    stop
}
