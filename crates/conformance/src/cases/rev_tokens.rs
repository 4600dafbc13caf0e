//! The revoked tokens of a case, and what many cases about them do.

use std::sync::Arc;
use std::time::Duration;

use syntrix_storage_core::{
    Clock, GRACE_MAX, RevocationStatus, RevokeOutcome, RotationOutcome, Timestamp, TokenId,
    TokenRevocationStore,
};

use crate::canary::TOKEN_ID;
use crate::{CaseResult, Context, Failure, expect_equal};

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MILLISECOND: Duration = Duration::from_millis(1);
pub(super) const HOUR: Duration = Duration::from_secs(3600);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
/// The grace of most cases.
pub(super) const GRACE: Duration = Duration::from_secs(30);
/// How long a record is kept behind its token's expiry.
pub(super) const MARGIN: Duration = Duration::from_secs(5 * 60);
/// The year 2100: ahead of every clock, for cases that do not move it.
pub(super) const FAR: Timestamp = Timestamp::from_milliseconds(4_102_444_800_000);

/// The revoked tokens of a case, with calls that must succeed.
#[derive(Clone)]
pub(super) struct Tokens(pub(super) Arc<dyn TokenRevocationStore>);

impl Tokens {
    pub(super) fn of(context: &Context) -> Self {
        Self(context.revocations())
    }

    pub(super) async fn revoke(
        &self,
        token: &TokenId,
        expires_at: Timestamp,
    ) -> CaseResult<RevokeOutcome> {
        Ok(self.0.revoke_token(token, expires_at, Default::default()).await?)
    }

    pub(super) async fn revoke_at_once(
        &self,
        token: &TokenId,
        expires_at: Timestamp,
    ) -> CaseResult<RevokeOutcome> {
        Ok(self.0.revoke_token_immediate(token, expires_at, Default::default()).await?)
    }

    pub(super) async fn rotate(
        &self,
        token: &TokenId,
        expires_at: Timestamp,
        grace: Duration,
        successor: &TokenId,
    ) -> CaseResult<RotationOutcome> {
        let (successor, options) = (Some(successor.clone()), Default::default());
        Ok(self.0.revoke_if_not_revoked(token, expires_at, grace, successor, options).await?)
    }

    pub(super) async fn status(
        &self,
        token: &TokenId,
        grace: Duration,
    ) -> CaseResult<RevocationStatus> {
        Ok(self.0.revocation_status(token, grace, Default::default()).await?)
    }

    pub(super) async fn many(&self, tokens: &[TokenId], grace: Duration) -> CaseResult<Vec<bool>> {
        Ok(self.0.is_revoked_many(tokens, grace, Default::default()).await?)
    }

    /// Fails unless all three ways to ask give the answer `revoked`.
    pub(super) async fn expect(
        &self,
        token: &TokenId,
        grace: Duration,
        revoked: bool,
        when: &str,
    ) -> CaseResult {
        let single = self.0.is_revoked(token, grace, Default::default()).await?;
        expect_equal(single, revoked, format_args!("is_revoked with {grace:?}, {when}"))?;
        let many = self.many(std::slice::from_ref(token), grace).await?;
        expect_equal(many, vec![revoked], format_args!("is_revoked_many with {grace:?}, {when}"))?;
        let status = self.status(token, grace).await?;
        let said = matches!(status, RevocationStatus::Revoked { .. });
        expect_equal(said, revoked, format_args!("{status:?} with {grace:?}, {when}"))
    }

    /// Fails unless the token is revoked without any grace.
    pub(super) async fn expect_at_once(&self, token: &TokenId, when: &str) -> CaseResult {
        for grace in graces() {
            self.expect(token, grace, true, when).await?;
        }
        Ok(())
    }

    /// Fails unless nothing is known of the token.
    pub(super) async fn expect_valid(&self, token: &TokenId, when: &str) -> CaseResult {
        for grace in graces() {
            self.expect(token, grace, false, when).await?;
        }
        let status = self.status(token, GRACE).await?;
        expect_equal(status, RevocationStatus::NotRevoked, format_args!("status, {when}"))
    }
}

pub(super) fn id(text: &str) -> CaseResult<TokenId> {
    Ok(TokenId::parse(text)?)
}

/// Ids that end in `<name>-0`, `<name>-1` and so on, and begin with what whoever runs the suite can look for where no id
/// belongs.
pub(super) fn ids(name: &str, count: usize) -> CaseResult<Vec<TokenId>> {
    (0..count).map(|number| id(&format!("{TOKEN_ID}-{name}-{number}"))).collect()
}

/// The time `duration` from now, by the clock of the case.
pub(super) fn after(context: &Context, duration: Duration) -> Timestamp {
    context.clock().now().saturating_add(duration)
}

/// From none to one that no arithmetic may overflow at, each longer than the one before.
pub(super) fn graces() -> [Duration; 8] {
    let beyond = GRACE_MAX + MILLISECOND;
    [Duration::ZERO, MILLISECOND, GRACE, GRACE_MAX, beyond, 48 * HOUR, 10 * YEAR, Duration::MAX]
}

/// Removes everything whose time is over; how many records that were.
pub(super) async fn purge_all(context: &Context) -> CaseResult<usize> {
    let (admin, mut purged) = (context.store_admin(), 0);
    loop {
        let report = admin.purge_expired(1000).await?;
        purged += report.purged;
        match (report.more, report.purged) {
            (false, _) => return Ok(purged),
            (true, 0) => {
                return Err(Failure::new("a purge has more to remove and removes nothing"));
            }
            (true, _) => {}
        }
    }
}
