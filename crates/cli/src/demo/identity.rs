//! Chapter: wrong passwords lock an account however fast they come, and a revoked token stays revoked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use syntrix_storage::{
    Clock, ErrorKind, LoginAttempt, LoginPolicy, LoginSuccess, NewUser, RevocationOptions, Secret,
    Timestamp, TokenId, TokenRevocationStore, User, UserOptions, UserStore,
};

use super::Stage;
use super::story::Story;
use crate::failure::Failure;

const NAME: &str = "Sigrid";
/// Of no password at all.
const HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$ZGVtbw$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const GUESSES: usize = 60;
const TOKEN: &str = "demo-session";
const CLIENTS: usize = 8;
const GRACE: Duration = Duration::from_secs(30);

pub(super) async fn play(stage: &Stage, story: &mut Story<'_>) -> Result<(), Failure> {
    story.chapter("Accounts and revoked tokens")?;
    let users = stage.storage.users()?;
    let user = account(&*users, story).await?;
    let until = guess(&users, &user, story).await?;
    unlock(stage, &*users, &user, until, story).await?;
    let revocations = stage.storage.revocations()?;
    revoke(stage, &*revocations, story).await?;
    rotate(stage, &revocations, story).await
}

async fn account(users: &dyn UserStore, story: &mut Story<'_>) -> Result<User, Failure> {
    let started = Instant::now();
    let new = |name: &str| NewUser::new(name, Secret::new(HASH), "argon2id");
    let user = users.create_user(new(NAME), UserOptions::default()).await?;
    let taken = users.create_user(new(NAME), UserOptions::default()).await;
    let refused = taken.err().map(|error| error.kind());
    story.claim(refused == Some(ErrorKind::AlreadyExists), "a name is taken once")?;
    let shown = format!("{user:?}");
    story.claim(!shown.contains("$argon2id"), "a hash is never printed")?;
    let text = format!("account {} has the id {}", user.username, user.id);
    story.show("account", text, started.elapsed())?;
    Ok(user)
}

/// All at the same time: each guess asks before it may test a password.
async fn guess(
    users: &Arc<dyn UserStore>,
    user: &User,
    story: &mut Story<'_>,
) -> Result<Timestamp, Failure> {
    let started = Instant::now();
    let policy = LoginPolicy::default();
    let guesses = (0..GUESSES).map(|_| {
        let (users, id) = (Arc::clone(users), user.id.clone());
        tokio::spawn(
            async move { users.begin_login_attempt(&id, policy, UserOptions::default()).await },
        )
    });
    let guesses = try_join_all(guesses).await;
    let guesses = guesses.map_err(|error| Failure::negative("demo", error.to_string()))?;
    let guesses: Vec<_> = guesses.into_iter().collect::<Result<_, _>>()?;
    let tested = guesses.iter().filter(|guess| matches!(guess, LoginAttempt::Allowed(_))).count();
    let allowed = tested == policy.threshold as usize;
    story.claim(allowed, "parallel guesses test no more passwords than the policy allows")?;
    let user = users.get_user_by_id(&user.id, UserOptions::default()).await?;
    let Some(until) = user.login.lockout_until else {
        return Err(Failure::negative("demo", "this does not hold: the account is locked"));
    };
    let text = format!("{GUESSES} parallel guesses: {tested} tested a password, then locked");
    story.show("lockout", text, started.elapsed())?;
    Ok(until)
}

async fn unlock(
    stage: &Stage,
    users: &dyn UserStore,
    user: &User,
    until: Timestamp,
    story: &mut Story<'_>,
) -> Result<(), Failure> {
    let started = Instant::now();
    let late = users.record_login_success(&user.id, None, UserOptions::default()).await?;
    let denied = matches!(late, LoginSuccess::Locked { .. });
    story.claim(denied, "a right password does not lift the lock")?;
    let seconds = until.since(stage.clock.now()).as_secs() + 1;
    stage.clock.set_seconds_ahead(i64::try_from(seconds).unwrap_or(i64::MAX));
    let attempt =
        users.begin_login_attempt(&user.id, LoginPolicy::default(), UserOptions::default()).await?;
    let LoginAttempt::Allowed(ticket) = attempt else {
        return Err(Failure::negative("demo", "this does not hold: a lock ends"));
    };
    let success =
        users.record_login_success(&user.id, Some(ticket), UserOptions::default()).await?;
    story.claim(success == LoginSuccess::Recorded, "after the lock a right password counts")?;
    stage.clock.set_seconds_ahead(0);
    story.show("unlock", format!("logged in {seconds} s later"), started.elapsed())
}

async fn revoke(
    stage: &Stage,
    revocations: &dyn TokenRevocationStore,
    story: &mut Story<'_>,
) -> Result<(), Failure> {
    let started = Instant::now();
    let token = TokenId::parse(TOKEN)?;
    let expires_at = stage.clock.now().saturating_add(Duration::from_secs(24 * 3600));
    let is_revoked = || revocations.is_revoked(&token, GRACE, RevocationOptions::default());
    let options = || RevocationOptions::default().with_reason("logged out in the demo");

    revocations.revoke_token(&token, expires_at, options()).await?;
    story.claim(!is_revoked().await?, "a token revoked gracefully works for the grace")?;
    stage.clock.set_seconds_ahead(31);
    story.claim(is_revoked().await?, "and then no more")?;
    stage.clock.set_seconds_ahead(0);
    story.claim(!is_revoked().await?, "the grace counts from the first revocation")?;
    revocations.revoke_token_immediate(&token, expires_at, options()).await?;
    story.claim(is_revoked().await?, "an immediate revocation ends the grace")?;
    revocations.revoke_token(&token, expires_at, options()).await?;
    story.claim(is_revoked().await?, "and nothing loosens it again")?;
    let text = format!("{TOKEN}: 30 s of grace, then revoked at once");
    story.show("revoke", text, started.elapsed())
}

/// Clients that were handed the same refresh token: one wins, the others get its successor.
async fn rotate(
    stage: &Stage,
    revocations: &Arc<dyn TokenRevocationStore>,
    story: &mut Story<'_>,
) -> Result<(), Failure> {
    use syntrix_storage::RotationOutcome::{InGrace, Won};

    let started = Instant::now();
    let expires_at = stage.clock.now().saturating_add(Duration::from_secs(24 * 3600));
    let clients = (0..CLIENTS).map(|client| {
        let revocations = Arc::clone(revocations);
        tokio::spawn(async move {
            let token = TokenId::parse("demo-refresh")?;
            let successor = Some(TokenId::parse(&format!("demo-refresh-{client}"))?);
            let options = RevocationOptions::default();
            revocations.revoke_if_not_revoked(&token, expires_at, GRACE, successor, options).await
        })
    });
    let outcomes = try_join_all(clients).await;
    let outcomes = outcomes.map_err(|error| Failure::negative("demo", error.to_string()))?;
    let outcomes: Vec<_> = outcomes.into_iter().collect::<Result<_, _>>()?;
    let won = outcomes.iter().filter(|outcome| **outcome == Won).count();
    story.claim(won == 1, "one of many clients rotates a refresh token")?;
    let mut successors: Vec<_> = outcomes
        .iter()
        .filter_map(|outcome| match outcome {
            InGrace { successor: Some(successor), .. } => Some(successor.as_str()),
            _ => None,
        })
        .collect();
    let handed_back = successors.len() == CLIENTS - 1;
    successors.dedup();
    story.claim(handed_back && successors.len() == 1, "all others get the same successor")?;
    let text = format!("{CLIENTS} clients raced for one refresh token: {won} won");
    story.show("rotation", text, started.elapsed())
}
