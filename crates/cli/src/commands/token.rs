//! `token`: revoke and check. A check that cannot be answered fails, it never says "not revoked".

use std::time::Duration;

use clap::Subcommand;
use serde_json::{Map, Value, json};
use syntrix_storage::{
    Clock, HumanDuration, RevocationOptions, RevocationStatus, RevokeOutcome, SystemClock,
    Timestamp, TokenId,
};

use crate::failure::Failure;
use crate::session::Session;

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Revoke a token; repeating it never loosens anything
    // No -h and no -V: a token id may begin so.
    #[command(disable_help_flag = true, disable_version_flag = true)]
    Revoke {
        /// Id of the token (jti)
        #[arg(allow_hyphen_values = true)]
        jti: String,
        /// Print help
        #[arg(long, action = clap::ArgAction::Help)]
        help: Option<bool>,
        /// When the token itself expires, from now, for example 15m
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        expires_in: Duration,
        /// Also for those who would grant a grace
        #[arg(long)]
        immediate: bool,
        /// Stored with the first revocation
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Tell whether a token is revoked; exit code 1 if the store cannot tell, 2 if it cannot be opened as configured
    #[command(disable_help_flag = true, disable_version_flag = true)]
    Check {
        /// Id of the token (jti)
        #[arg(allow_hyphen_values = true)]
        jti: String,
        /// Print help
        #[arg(long, action = clap::ArgAction::Help)]
        help: Option<bool>,
        /// How long a token revoked gracefully may still be used, for example 30s
        #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "0s")]
        grace: Duration,
    },
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<HumanDuration>();
    parsed.map(|duration| duration.0).map_err(|_| "for example 30s, 15m or 24h".into())
}

pub(crate) async fn run(command: TokenCommand, session: &mut Session) -> Result<(), Failure> {
    match command {
        TokenCommand::Revoke { jti, expires_in, immediate, reason, .. } => {
            let mut options = RevocationOptions::default();
            options.reason = reason;
            revoke(&token_id(&jti, "revoke_token")?, expires_in, immediate, options, session).await
        }
        TokenCommand::Check { jti, grace, .. } => {
            check(&token_id(&jti, "revocation_status")?, grace, session).await
        }
    }
}

async fn revoke(
    token: &TokenId,
    expires_in: Duration,
    immediate: bool,
    options: RevocationOptions,
    session: &mut Session,
) -> Result<(), Failure> {
    let expires_at = SystemClock.now().saturating_add(expires_in);
    session
        .with_storage(async |storage, output| {
            let store = storage.revocations()?;
            let outcome = match immediate {
                false => store.revoke_token(token, expires_at, options).await?,
                true => store.revoke_token_immediate(token, expires_at, options).await?,
            };
            output.object(&revoked(token, expires_at, outcome))
        })
        .await
}

fn revoked(token: &TokenId, expires_at: Timestamp, outcome: RevokeOutcome) -> Map<String, Value> {
    let outcome = match outcome {
        RevokeOutcome::Inserted => "inserted",
        RevokeOutcome::Tightened => "tightened",
        RevokeOutcome::Unchanged => "unchanged",
        RevokeOutcome::AlreadyExpired => "already_expired",
        _ => "other",
    };
    members(json!({
        "jti": token.as_str(), "outcome": outcome, "expiresAt": expires_at.as_milliseconds(),
    }))
}

async fn check(token: &TokenId, grace: Duration, session: &mut Session) -> Result<(), Failure> {
    session
        .with_storage(async |storage, output| {
            let store = storage.revocations()?;
            let status =
                store.revocation_status(token, grace, RevocationOptions::default()).await?;
            output.object(&checked(token, &status))
        })
        .await
}

fn checked(token: &TokenId, status: &RevocationStatus) -> Map<String, Value> {
    let jti = token.as_str();
    let mut row = members(match status {
        RevocationStatus::NotRevoked => {
            json!({"jti": jti, "revoked": false, "status": "not_revoked"})
        }
        RevocationStatus::Grace { until, successor } => json!({
            "jti": jti, "revoked": false, "status": "grace",
            "until": until.as_milliseconds(),
            "successor": successor.as_ref().map(TokenId::as_str),
        }),
        RevocationStatus::Revoked { since, immediate, reason } => json!({
            "jti": jti, "revoked": true, "status": "revoked",
            "since": since.as_milliseconds(), "immediate": immediate, "reason": reason,
        }),
        // Whatever it is, it is not "not revoked".
        _ => json!({"jti": jti, "revoked": true, "status": "revoked"}),
    });
    row.retain(|_, value| !value.is_null());
    row
}

fn members(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

fn token_id(text: &str, operation: &'static str) -> Result<TokenId, Failure> {
    Ok(TokenId::parse(text).map_err(|error| error.in_operation(operation))?)
}
