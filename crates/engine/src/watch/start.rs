//! From where a caller wants to start to a place in the backend's feed.

use syntrix_storage_core::backend::{DocumentBackend, Feed};
use syntrix_storage_core::{Error, ExpiredReason, Result, ResumeToken, WatchStart};

pub(super) async fn place(backend: &dyn DocumentBackend, start: WatchStart) -> Result<Feed> {
    match start {
        WatchStart::Now => Ok(Feed::After(backend.feed_end().await?.0)),
        WatchStart::Oldest => Ok(Feed::Oldest),
        WatchStart::Token(token) => resume(backend, &token).await,
    }
}

/// Opens the token and lets the backend look for its change, so that an expired one fails here and not later.
async fn resume(backend: &dyn DocumentBackend, token: &ResumeToken) -> Result<Feed> {
    let seal = backend.token_seal();
    let opened = seal.open(token)?;
    if opened.epoch != seal.epoch() {
        let reason = match backend.capabilities().durable_watch {
            true => ExpiredReason::Diverged,
            false => ExpiredReason::Restarted,
        };
        return Err(Error::token_expired(reason, None));
    }
    let from = Feed::After(opened.position);
    backend.feed(&from, None, 1).await?;
    Ok(from)
}
