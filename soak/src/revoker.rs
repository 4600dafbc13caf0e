//! Revokes tokens and asks again and again about those whose revocation was acknowledged.

use std::sync::Arc;
use std::time::Duration;

use syntrix_storage::{
    Clock, Error, ErrorKind, RevocationOptions, SystemClock, TokenId, TokenRevocationStore,
};

use crate::failure::{Context, Result};
use crate::journal::Line;
use crate::store::{self, CALL_MAX};
use crate::writer::Shared;

/// Longer than any run: nothing expires under our hands.
const LIVES: Duration = Duration::from_secs(7 * 24 * 3600);

/// Revokes and asks until the writer is told to end.
///
/// # Errors
///
/// Whatever a server that is away does not explain, apart from what is noted.
pub(crate) async fn run(
    revocations: Arc<dyn TokenRevocationStore>,
    shared: Arc<Shared>,
    mut random: fastrand::Rng,
) -> Result<()> {
    let mut acknowledged = Vec::new();
    while !shared.is_over() {
        let mark = shared.mark();
        shared.journal.note(&Line::Revoking { token: mark.clone(), at: store::now() })?;
        match revoke(revocations.as_ref(), &mark).await {
            Ok(()) => {
                shared.journal.record(&Line::Revoked { token: mark.clone(), at: store::now() })?;
                acknowledged.push(mark);
            }
            Err(error) => explain(&shared, &error)?,
        }
        if let Some(token) = random.choice(&acknowledged) {
            match is_revoked(revocations.as_ref(), token).await {
                Ok(true) => {}
                Ok(false) => {
                    let line = Line::Forgotten { token: token.clone(), at: store::now() };
                    shared.journal.record(&line)?;
                }
                Err(error) => explain(&shared, &error)?,
            }
        }
        shared.pause(&mut random).await;
    }
    Ok(())
}

fn explain(shared: &Shared, error: &Error) -> Result<()> {
    match error.kind() {
        _ if store::is_outage(error) => Ok(()),
        ErrorKind::StateLost => shared.journal.record(&Line::StateLost { at: store::now() }),
        _ => Err(store::told(error)).context(|| "revoking".into()),
    }
}

fn options() -> RevocationOptions {
    RevocationOptions::default().with_timeout(CALL_MAX)
}

async fn revoke(
    revocations: &dyn TokenRevocationStore,
    token: &str,
) -> syntrix_storage::Result<()> {
    let expires_at = SystemClock.now().saturating_add(LIVES);
    let token = TokenId::parse(token)?;
    revocations.revoke_token_immediate(&token, expires_at, options()).await.map(drop)
}

/// Without any grace.
pub(crate) async fn is_revoked(
    revocations: &dyn TokenRevocationStore,
    token: &str,
) -> syntrix_storage::Result<bool> {
    revocations.is_revoked(&TokenId::parse(token)?, Duration::ZERO, options()).await
}
