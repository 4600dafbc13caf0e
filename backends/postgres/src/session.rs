//! One connection for one caller, and what happens to a statement that nobody waits for any more.

use std::time::Duration;

use deadpool_postgres::{ClientWrapper, Object};
use syntrix_storage_core::{Error, ErrorKind, Result, Retry};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use crate::connect::Connector;
use crate::error::{closed, from_postgres};
use crate::standby::Need;

/// A value with its type, so that no round trip asks for it.
pub(crate) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// A connection that is given back when it is dropped.
///
/// Dropped in the middle of a statement or transaction, it is closed instead, and the server is asked to stop.
#[derive(Debug)]
pub(crate) struct Session {
    client: Option<Object>,
    connector: Connector,
    answer_max: Duration,
    /// A statement was sent and its answer is not complete.
    busy: bool,
    in_transaction: bool,
    /// Not fit for another caller.
    spoilt: bool,
    /// What each statement needs of the standby that runs it.
    need: Option<Need>,
}

impl Session {
    pub(crate) fn new(client: Object, connector: Connector, answer_max: Duration) -> Self {
        let (busy, in_transaction, spoilt) = (false, false, false);
        let (client, need) = (Some(client), None);
        Self { client, connector, answer_max, busy, in_transaction, spoilt, need }
    }

    pub(crate) fn with_need(mut self, need: Option<Need>) -> Self {
        self.need = need;
        self
    }

    /// Runs a statement of a few fixed texts: prepared once per connection where that is possible.
    pub(crate) async fn query(&mut self, sql: &str, values: &[Parameter<'_>]) -> Result<Vec<Row>> {
        let prepared = self.connector.has_sessions();
        let (answer_max, need) = (self.answer_max, self.need);
        let client = self.begin()?;
        let answer = answered(answer_max, client, need, run(client, prepared, sql, values)).await;
        self.end(answer)
    }

    /// Runs a statement whose text is one of very many: parsed and planned with its values.
    pub(crate) async fn query_once(
        &mut self,
        sql: &str,
        values: &[Parameter<'_>],
    ) -> Result<Vec<Row>> {
        let (answer_max, need) = (self.answer_max, self.need);
        let client = self.begin()?;
        let answer = answered(answer_max, client, need, client.query_typed(sql, values)).await;
        self.end(answer)
    }

    /// Runs statements without values, for as long as they take.
    pub(crate) async fn execute(&mut self, sql: &str) -> Result<()> {
        let client = self.begin()?;
        let answer = client.batch_execute(sql).await.map_err(|error| from_postgres(&error));
        self.end(answer)
    }

    /// Opens a transaction; without [`Session::commit`] it is undone.
    pub(crate) async fn transaction(&mut self, mode: &'static str) -> Result<()> {
        self.execute(mode).await?;
        self.in_transaction = true;
        Ok(())
    }

    pub(crate) async fn commit(&mut self) -> Result<()> {
        self.execute("COMMIT").await?;
        self.in_transaction = false;
        Ok(())
    }

    pub(crate) async fn rollback(&mut self) -> Result<()> {
        self.execute("ROLLBACK").await?;
        self.in_transaction = false;
        Ok(())
    }

    /// The connection is closed when it is dropped: its settings are not everybody's.
    pub(crate) fn keep_to_itself(&mut self) {
        self.spoilt = true;
    }

    fn begin(&mut self) -> Result<&ClientWrapper> {
        self.busy = true;
        self.client.as_deref().ok_or_else(closed)
    }

    fn end<T>(&mut self, answer: Result<T>) -> Result<T> {
        let on_standby = self.need.is_some();
        let lost = |error: &Error| {
            let is_behind = error.kind() == ErrorKind::PreconditionFailed;
            error.retry() == Retry::IfIdempotent || is_outdated(error) || on_standby && !is_behind
        };
        self.busy = false;
        self.spoilt |= answer.as_ref().is_err_and(lost);
        answer
    }
}

/// A plan or statement that the server no longer takes from this connection.
fn is_outdated(error: &Error) -> bool {
    matches!(error.fact("sqlstate"), Some("0A000" | "26000" | "42P05" | "25006"))
}

pub(crate) async fn run(
    client: &ClientWrapper,
    prepared: bool,
    sql: &str,
    values: &[Parameter<'_>],
) -> Result<Vec<Row>, tokio_postgres::Error> {
    if !prepared {
        return client.query_typed(sql, values).await;
    }
    let types: Vec<Type> = values.iter().map(|(_, of_type)| of_type.clone()).collect();
    let statement = client.prepare_typed_cached(sql, &types).await?;
    let values: Vec<_> = values.iter().map(|(value, _)| *value).collect();
    client.query(&statement, &values).await
}

/// The answer to a read, if the server has what the read needs.
pub(crate) async fn answered<T>(
    limit: Duration,
    client: &ClientWrapper,
    need: Option<Need>,
    read: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T> {
    let Some(need) = need else { return within(limit, read).await };
    tokio::time::timeout(limit, need.before(client, read)).await.unwrap_or_else(|_| Err(silent()))
}

/// A server that is silent for longer than it lets any statement run is not there.
pub(crate) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T> {
    match tokio::time::timeout(limit, work).await {
        Ok(answer) => answer.map_err(|error| from_postgres(&error)),
        Err(_) => Err(silent()),
    }
}

fn silent() -> Error {
    Error::new(ErrorKind::Unavailable, "")
        .with_retry(Retry::IfIdempotent)
        .with_message("the server does not answer")
}

impl Drop for Session {
    fn drop(&mut self) {
        let Some(client) = self.client.take() else { return };
        if !self.busy && !self.in_transaction && !self.spoilt {
            return;
        }
        let token = self.busy.then(|| client.cancel_token());
        drop(Object::take(client));
        let Some(token) = token else { return };
        let connector = self.connector.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { connector.cancel(token).await });
        }
    }
}
