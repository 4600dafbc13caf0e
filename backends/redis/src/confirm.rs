//! Changes that replicas must have before anybody is told that they were made.
//!
//! Replication is asynchronous: a primary that dies before a replica has a change takes it along. So `WAIT` follows the
//! changes over the same connection, in the same round trip, and speaks of everything that was written before it. What too few
//! replicas have was written nevertheless, and may stay or be lost: the caller is told that, never that it was made.

use std::time::{Duration, Instant};

use redis::{Cmd, RedisError, RedisResult, Value};
use syntrix_storage_core::{Error, ErrorKind, Result, Retry};

use crate::connect::{Link, within};
use crate::error::{from_redis, is_lost, left};
use crate::route::Connection;

/// To one change: what the server says for or against it.
///
/// # Errors
///
/// [`ErrorKind::Unavailable`] if it was made and too few replicas have it.
pub(crate) type Answer = Result<RedisResult<Value>>;

type Answers = RedisResult<Vec<RedisResult<Value>>>;

/// How long an attempt may take.
#[derive(Clone, Copy)]
struct Limits {
    /// Until when replicas may confirm.
    replicas: Instant,
    /// Until when the server may answer.
    answer: Instant,
}

/// What came back.
struct Sent {
    generation: u64,
    /// The answers to the changes, then how many replicas have them, and last what the server says of its replicas.
    answers: Answers,
    needed: usize,
}

impl Link {
    /// Sends changes and waits until enough replicas have all of them; in a cluster they have the same place. Twice at most, as
    /// [`Link::answer`]. By `earliest` the first of the callers has gone.
    pub(crate) async fn confirm(&self, changes: &[Cmd], earliest: Instant) -> Result<Vec<Answer>> {
        let first = self.send_confirmed(changes, earliest).await?;
        if !first.is_lost() {
            return self.judge(first);
        }
        self.discard(first.generation);
        let second = self.send_confirmed(changes, earliest).await.map_err(|again| {
            // What was sent may have been applied, whatever the second attempt says.
            again.with_retry(Retry::IfIdempotent)
        })?;
        if second.is_lost() {
            self.discard(second.generation);
        }
        self.judge(second)
    }

    async fn send_confirmed(&self, changes: &[Cmd], earliest: Instant) -> Result<Sent> {
        let deadline = self.deadline(None);
        let (generation, connection) = self.connection(deadline).await?;
        let needed = self.replicas_needed();
        let limits = Limits { replicas: self.replicas_until(earliest), answer: deadline };
        let over = (generation, &connection);
        let answers = self.send_over(over, changes, needed, limits).await?;
        let mut sent = Sent { generation, answers, needed };
        self.note(&sent);
        let more = self.replicas_needed();
        if let Ok(answers) = &mut sent.answers
            && more > needed
        {
            // The server has replicas that the sentinels did not tell of: they are waited for as well, in what is left.
            let waited = self.send_over(over, &[], more, limits).await?;
            answers.truncate(changes.len());
            sent.answers = waited.map(|waited| answers.drain(..).chain(waited).collect());
        }
        self.note(&sent);
        Ok(sent)
    }

    /// Ends when the connection is thrown away, too: replicas that have been given another primary would be waited for in vain.
    async fn send_over(
        &self,
        (generation, connection): (u64, &Connection),
        changes: &[Cmd],
        needed: usize,
        limits: Limits,
    ) -> Result<Answers> {
        let asked = needed > 0 && self.has_sentinels();
        // Nothing would mean forever to the server.
        let wait = limits.replicas.saturating_duration_since(Instant::now());
        let wait = wait.max(Duration::from_millis(1));
        let sent = connection.send_confirmed(changes, needed, wait, asked);
        let answers = within(limits.answer, self.while_used(generation, sent)).await?;
        let answers = answers.unwrap_or_else(|| Err(left()));
        let each = |answers: Vec<Value>| answers.into_iter().map(Value::extract_error).collect();
        Ok(answers.map(each))
    }

    /// Notes what the server says of its replicas.
    fn note(&self, sent: &Sent) {
        if let Ok(answers) = &sent.answers
            && let Some(Ok(Value::Array(role))) = answers.last()
        {
            self.note_online(sent.generation, &followers(role));
        }
    }

    /// Whether enough replicas have it: as many as were needed then, and are by now.
    fn judge(&self, sent: Sent) -> Result<Vec<Answer>> {
        let mut answers = sent.answers.map_err(|error| from_redis(&error))?;
        // What the server says of its replicas was noted.
        answers.pop();
        let needed = sent.needed.max(self.replicas_needed());
        let waited = answers.pop();
        let having = match &waited {
            Some(Ok(Value::Int(having))) => usize::try_from(*having).unwrap_or(0),
            _ => 0,
        };
        let current = self.is_current(sent.generation);
        let told = |answer: RedisResult<Value>| match &waited {
            // What the server refused there is nothing to confirm of.
            _ if answer.is_err() => Ok(answer),
            Some(Err(error)) => Err(refused(error)),
            _ if having < needed || !current => Err(unconfirmed(having, needed)),
            _ => Ok(answer),
        };
        Ok(answers.into_iter().map(told).collect())
    }
}

impl Sent {
    fn is_lost(&self) -> bool {
        match &self.answers {
            Ok(answers) => answers.iter().any(|answer| answer.as_ref().is_err_and(is_lost)),
            Err(error) => is_lost(error),
        }
    }
}

/// What `ROLE` answers: `master`, an offset, and the replicas that follow, each with host, port and its place. A replica has none.
fn followers(role: &[Value]) -> Vec<String> {
    let [_, _, Value::Array(replicas)] = role else { return Vec::new() };
    let name = |replica: &Value| match redis::from_redis_value_ref(replica) {
        Ok::<(String, String, String), _>((host, port, _)) => format!("{host}:{port}"),
        Err(_) => String::new(),
    };
    replicas.iter().map(name).collect()
}

fn unconfirmed(having: usize, needed: usize) -> Error {
    Error::new(ErrorKind::Unavailable, "")
        .with_retry(Retry::IfIdempotent)
        .with_message(
            "too few replicas confirmed the change in time (replicaTimeout): it was written, but a failover might lose it, so \
             repeat it; if this lasts, bring the replicas back or set minReplicas to what there is; with Sentinel, most of \
             the sentinels must answer (addr), and who may be promoted counts (replica-priority)",
        )
        .with_fact("replicas_confirmed", having)
        .with_fact("replicas_needed", needed)
}

/// The changes were made before.
fn refused(error: &RedisError) -> Error {
    let error = from_redis(error);
    match error.kind() {
        ErrorKind::ConfigInvalid => error,
        _ => Error::new(ErrorKind::Unavailable, "")
            .with_retry(Retry::IfIdempotent)
            .with_message(
                "the server stopped waiting for its replicas: it may be no primary any more",
            )
            .with_source(error),
    }
}
