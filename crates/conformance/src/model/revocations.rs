//! What a side does with revoked tokens.

use std::sync::Arc;
use std::time::Duration;

use syntrix_storage_core::backend::StoreKind;
use syntrix_storage_core::{Result, RevocationOptions, TokenId, TokenRevocationStore};

use super::answer::{self, Times};
use super::script::Step;
use super::side::Side;
use crate::check::{CaseResult, Failure};

pub(super) async fn run(side: &mut Side, step: &Step) -> CaseResult<String> {
    let handle = side.handle(StoreKind::Revocations).await?;
    let (store, times) = (handle.revocations()?, side.times(StoreKind::Revocations));
    match step {
        Step::Revoke { token, expires_s, immediate, reason } => {
            let (token, expires_at) = (id(token)?, side.at(StoreKind::Revocations, *expires_s));
            let mut options = RevocationOptions::default();
            options.reason.clone_from(reason);
            let revoked = match immediate {
                true => store.revoke_token_immediate(&token, expires_at, options).await,
                false => store.revoke_token(&token, expires_at, options).await,
            };
            answer::of(revoked, |outcome| Ok(format!("{outcome:?}")))
        }
        Step::Rotate { token, expires_s, grace_ms, successor } => {
            let (token, expires_at) = (id(token)?, side.at(StoreKind::Revocations, *expires_s));
            let (grace, successor) = (Duration::from_millis(*grace_ms), id(successor)?);
            let (next, options) = (Some(successor), Default::default());
            let rotated = store.revoke_if_not_revoked(&token, expires_at, grace, next, options);
            answer::of(rotated.await, |outcome| Ok(answer::rotation(outcome, times)))
        }
        Step::Check { tokens, grace_ms } => {
            check(&store, tokens, Duration::from_millis(*grace_ms), times).await
        }
        Step::PurgeTokens { limit } => {
            let admin = handle.store_admin(StoreKind::Revocations)?;
            Ok(answer::batches(|| admin.purge_expired(*limit)).await)
        }
        other => Err(Failure::new(format_args!("`{other}` is not about tokens"))),
    }
}

/// Of a name in a script: ids begin with what can be looked for where no id belongs. Scripts and answers show the name alone.
fn id(name: &str) -> Result<TokenId> {
    TokenId::parse(&format!("{} {name}", crate::canary::TOKEN_ID))
}

async fn check(
    store: &Arc<dyn TokenRevocationStore>,
    names: &[String],
    grace: Duration,
    times: Times,
) -> CaseResult<String> {
    let tokens = names.iter().map(|name| id(name)).collect::<Result<Vec<_>>>()?;
    let mut lines = Vec::new();
    for token in &tokens {
        let status = store.revocation_status(token, grace, Default::default()).await;
        let revoked = store.is_revoked(token, grace, Default::default()).await;
        let status = answer::of(status, |status| Ok(answer::status(status, times)))?;
        lines.push(answer::of(revoked, |revoked| Ok(format!("{revoked} {status}")))?);
    }
    let all = store.is_revoked_many(&tokens, grace, Default::default()).await;
    lines.push(answer::of(all, |all| Ok(format!("{all:?}")))?);
    Ok(lines.join("\n  "))
}
