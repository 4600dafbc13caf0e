//! What many cases about revoked tokens do.

use std::sync::Arc;
use std::time::Duration;

use syntrix_storage_core::{
    Clock, RevocationStatus, RevokeOutcome, Timestamp, TokenId, TokenRevocationStore,
};

use crate::{CaseResult, Context, expect_equal};

pub(super) const GRACE: Duration = Duration::from_secs(30);
pub(super) const NONE: Duration = Duration::ZERO;

pub(super) fn token(name: &str) -> CaseResult<TokenId> {
    Ok(TokenId::parse(name)?)
}

/// The store's time of the case.
pub(super) fn now(context: &Context) -> Timestamp {
    context.clock().now()
}

/// So many seconds from the case's time on. Where the store's clock is another one, the case's time is past, so an hour is
/// added to the real time instead.
pub(super) fn expires_in(context: &Context, seconds: u64) -> Timestamp {
    let now = match context.capabilities().injected_clock {
        true => now(context),
        false => syntrix_storage_core::SystemClock.now(),
    };
    now.saturating_add(Duration::from_secs(seconds))
}

pub(super) async fn revoke(
    context: &Context,
    name: &str,
    expires_at: Timestamp,
) -> CaseResult<RevokeOutcome> {
    let store = context.revocations();
    Ok(store.revoke_token(&token(name)?, expires_at, Default::default()).await?)
}

pub(super) async fn revoke_immediate(
    context: &Context,
    name: &str,
    expires_at: Timestamp,
) -> CaseResult<RevokeOutcome> {
    let store = context.revocations();
    Ok(store.revoke_token_immediate(&token(name)?, expires_at, Default::default()).await?)
}

pub(super) async fn check(context: &Context, name: &str, grace: Duration) -> CaseResult<bool> {
    Ok(context.revocations().is_revoked(&token(name)?, grace, Default::default()).await?)
}

pub(super) async fn status(
    context: &Context,
    name: &str,
    grace: Duration,
) -> CaseResult<RevocationStatus> {
    Ok(context.revocations().revocation_status(&token(name)?, grace, Default::default()).await?)
}

/// A second handle on the same tokens where the backend allows one, else the first.
pub(super) async fn second_store(context: &Context) -> CaseResult<Arc<dyn TokenRevocationStore>> {
    match context.capabilities().shared {
        true => Ok(context.second_handle().await?.revocations()?),
        false => Ok(context.revocations()),
    }
}

/// Fails unless every check answers so.
pub(super) async fn expect_all(
    context: &Context,
    names: &[&str],
    grace: Duration,
    expected: bool,
) -> CaseResult {
    for name in names {
        expect_equal(check(context, name, grace).await?, expected, *name)?;
    }
    Ok(())
}
