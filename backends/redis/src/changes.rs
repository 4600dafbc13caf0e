//! Changes of many callers that wait for replicas together.
//!
//! `WAIT` holds a connection up, and one `WAIT` serves all changes before it. So what is asked for while one batch is on its
//! way is the next batch.

use std::sync::Arc;
use std::time::Instant;

use redis::Cmd;
use syntrix_storage_core::{Error, Result};
use tokio::sync::{mpsc, oneshot};

use crate::confirm::Answer;
use crate::connect::{Link, within};
use crate::error::closed;

/// Most changes of one batch.
const BATCH_MAX: usize = 128;
/// Most changes that wait to be sent; more callers wait for their turn.
const WAITING_MAX: usize = 1024;

/// The way to the batches. Dropped, the last one ends.
#[derive(Debug)]
pub(crate) struct Changes {
    link: Arc<Link>,
    jobs: mpsc::Sender<Job>,
}

/// Has a token's id in it and therefore prints nothing.
struct Job {
    change: Cmd,
    deadline: Instant,
    caller: oneshot::Sender<Answer>,
}

impl Changes {
    /// Must be called within a runtime.
    pub(crate) fn start(link: &Arc<Link>) -> Self {
        let (jobs, waiting) = mpsc::channel(WAITING_MAX);
        tokio::spawn(serve(Arc::clone(link), waiting));
        Self { link: Arc::clone(link), jobs }
    }

    /// The answer to a change that enough replicas have.
    pub(crate) async fn make(&self, change: Cmd, deadline: Option<Instant>) -> Answer {
        let deadline = self.link.deadline(deadline);
        if self.link.is_cluster() {
            // Places differ, and the driver sends to each what is its own; all at the same time.
            return within(deadline, self.alone(change, deadline)).await?;
        }
        let (caller, told) = oneshot::channel();
        let made = async {
            self.jobs.send(Job { change, deadline, caller }).await.map_err(|_| closed())?;
            told.await.map_err(|_| closed())?
        };
        within(deadline, made).await?
    }

    async fn alone(&self, change: Cmd, deadline: Instant) -> Answer {
        let mut answers = self.link.confirm(&[change], deadline).await?;
        answers.pop().ok_or_else(closed)?
    }
}

async fn serve(link: Arc<Link>, mut waiting: mpsc::Receiver<Job>) {
    let mut batch = Vec::new();
    while waiting.recv_many(&mut batch, BATCH_MAX).await > 0 {
        batch.retain(|job: &Job| !job.caller.is_closed());
        let Some(earliest) = batch.iter().map(|job| job.deadline).min() else { continue };
        let (changes, callers): (Vec<_>, Vec<_>) =
            batch.drain(..).map(|job| (job.change, job.caller)).unzip();
        tell(callers, link.confirm(&changes, earliest).await);
    }
}

/// A caller that has gone needs no answer.
fn tell(callers: Vec<oneshot::Sender<Answer>>, answers: Result<Vec<Answer>>) {
    match answers {
        Ok(answers) => {
            callers.into_iter().zip(answers).for_each(|(caller, answer)| _ = caller.send(answer));
        }
        Err(error) => {
            callers.into_iter().for_each(|caller| _ = caller.send(Err(again(&error))));
        }
    }
}

/// The same for one more caller.
fn again(error: &Error) -> Error {
    let mut copy = Error::new(error.kind(), "").with_retry(error.retry());
    if let Some(message) = error.message() {
        copy = copy.with_message(message.to_owned());
    }
    match error.fact("redis_code") {
        Some(code) => copy.with_fact("redis_code", code.to_owned()),
        None => copy,
    }
}
