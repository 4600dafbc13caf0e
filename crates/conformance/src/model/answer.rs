//! Answers as text: everything that is promised to be the same everywhere, and nothing else.

use syntrix_storage_core::{
    Document, Error, Event, LoginAttempt, LoginStats, LoginSuccess, PurgeReport, Result,
    RevocationStatus, RotationOutcome, Timestamp, TokenId, User,
};

use super::moments;
use super::users::HASHES;
use crate::check::CaseResult;
use crate::harness::Setup;

/// The facts of errors that callers may rely on.
const FACTS: [&str; 8] = ["path", "version", "field", "limit", "at", "found", "items", "value"];

/// How times are shown.
#[derive(Clone, Copy)]
pub(super) enum Times {
    /// Since the start of the script, by its clock.
    Promised,
    /// Clocks differ: as a mark, by which [`Moments`](super::moments::Moments) sees that they are in the same order.
    Ordered,
}

impl Times {
    fn show(self, time: Timestamp) -> String {
        match self {
            Self::Promised => format!("{:+}", time.as_milliseconds() - Setup::START_MS),
            Self::Ordered => moments::mark(time),
        }
    }

    fn show_option(self, time: Option<Timestamp>) -> String {
        time.map_or_else(|| "none".to_owned(), |time| self.show(time))
    }
}

/// An answer, or what is promised of its error.
pub(super) fn of<T>(
    result: Result<T>,
    show: impl FnOnce(T) -> CaseResult<String>,
) -> CaseResult<String> {
    match result {
        Ok(value) => show(value),
        Err(error) => Ok(error_text(&error)),
    }
}

pub(super) fn error_text(error: &Error) -> String {
    let mut text = format!("error {} {:?}", error.kind(), error.retry());
    if let Some(reason) = error.reason() {
        text += &format!(" {}", reason.as_str());
    }
    if let Some(suggestion) = error.suggestion() {
        text += &format!(" {}", suggestion.to_json());
    }
    for (name, value) in error.facts().iter().filter(|(name, _)| FACTS.contains(name)) {
        text += &format!(" {name}={value}");
    }
    text
}

/// Batches until nothing is left: which records go first is not promised, how many is.
pub(super) async fn batches<F>(purge: impl Fn() -> F) -> String
where
    F: Future<Output = Result<PurgeReport>>,
{
    /// No script has more records.
    const BATCHES_MAX: usize = 100;
    let mut counts = Vec::new();
    for _ in 0..BATCHES_MAX {
        match purge().await {
            Ok(report) if report.purged == 0 => break,
            Ok(report) => counts.push(report.purged.to_string()),
            Err(error) => return error_text(&error),
        }
    }
    format!("purged {}", counts.join(" "))
}

pub(super) fn document(document: &Document, times: Times) -> CaseResult<String> {
    let (created, updated) = (times.show(document.created_at()), times.show(document.updated_at()));
    let data = match document.is_deleted() {
        true => "deleted".to_owned(),
        false => document.value()?.to_string(),
    };
    let (path, version) = (document.path(), document.version());
    Ok(format!("{path} version {version} created {created} updated {updated} {data}"))
}

pub(super) fn event(event: &Event, times: Times) -> CaseResult<String> {
    let after = document(&event.document, times)?;
    let before = match &event.before {
        Some(before) => format!(" before: {}", document(before, times)?),
        None => String::new(),
    };
    Ok(format!("{} {after}{before}", event.event_type.as_str()))
}

/// Everything of an account. Of the hash only which one it is: answers are printed.
pub(super) fn user(user: &User, times: Times) -> String {
    let hash = user.password_hash.as_ref();
    let hash = hash.map(|hash| HASHES.iter().position(|known| *known == hash.expose()));
    let profile = serde_json::Value::from(user.profile.clone());
    let disabled = match user.disabled {
        true => format!("{} {:?}", times.show_option(user.disabled_at), user.disabled_reason),
        false => format!("no{:?}{:?}", user.disabled_at, user.disabled_reason),
    };
    format!(
        "{} {:?} version {} hash {hash:?} {:?} changed {} roles {:?} disabled {disabled} \
         profile {profile} epoch {} created {} updated {} logins {}",
        user.id,
        user.username,
        user.version,
        user.password_algorithm,
        times.show_option(user.password_changed_at),
        user.roles,
        user.token_epoch,
        times.show(user.created_at),
        times.show(user.updated_at),
        logins(&user.login, times),
    )
}

pub(super) fn logins(stats: &LoginStats, times: Times) -> String {
    format!(
        "(failed {} locked {} locks {} last {} {})",
        stats.failed_attempts,
        times.show_option(stats.lockout_until),
        stats.lockout_count,
        times.show_option(stats.last_login_at),
        times.show_option(stats.last_failed_at),
    )
}

pub(super) fn attempt(attempt: LoginAttempt, times: Times) -> String {
    match attempt {
        LoginAttempt::Allowed(ticket) => {
            format!("allowed {} in window {}", ticket.attempt, ticket.window)
        }
        LoginAttempt::Locked { until } => format!("locked until {}", times.show(until)),
        other => format!("{other:?}"),
    }
}

pub(super) fn success(success: LoginSuccess, times: Times) -> String {
    match success {
        LoginSuccess::Locked { until } => format!("locked until {}", times.show(until)),
        other => format!("{other:?}"),
    }
}

pub(super) fn rotation(outcome: RotationOutcome, times: Times) -> String {
    match outcome {
        RotationOutcome::InGrace { since, successor } => {
            format!("in grace since {} successor {}", times.show(since), token(successor))
        }
        RotationOutcome::Revoked { since } => format!("revoked since {}", times.show(since)),
        other => format!("{other:?}"),
    }
}

pub(super) fn status(status: RevocationStatus, times: Times) -> String {
    match status {
        RevocationStatus::Grace { until, successor } => {
            format!("grace until {} successor {}", times.show(until), token(successor))
        }
        RevocationStatus::Revoked { since, immediate, reason } => {
            format!("revoked since {} immediate {immediate} {reason:?}", times.show(since))
        }
        other => format!("{other:?}"),
    }
}

/// The name that the script gives it.
fn token(token: Option<TokenId>) -> String {
    let name =
        |token: TokenId| token.as_str().replace(crate::canary::TOKEN_ID, "").trim().to_owned();
    token.map_or_else(|| "none".to_owned(), name)
}
