//! The one thread that writes, and how it shares commits.
//!
//! A commit waits for the disk, so all writes that queued up meanwhile go into the next one. Nothing ever waits for the queue
//! to fill: a lone write is committed at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use rusqlite::Connection;
use syntrix_storage_core::{Clock, Error, ErrorKind, Result, Retry};
use tokio::sync::{mpsc, oneshot, watch};

use crate::anchor::Anchor;
use crate::committer::{Job, Task, Worker};
use crate::error::{closed, lost};
use crate::group::{Change, Changes};
use crate::wake::Wake;

/// Most jobs that wait; a caller beyond waits for room.
const QUEUE_MAX: usize = 1024;

/// The handle of the thread that writes. It ends when it is closed or dropped, after what is queued.
#[derive(Debug)]
pub(crate) struct Writer {
    jobs: mpsc::Sender<Job>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Closed when the thread has let go of the file.
    ended: watch::Receiver<()>,
}

impl Writer {
    pub(crate) fn start(
        connection: Connection,
        clock: Arc<dyn Clock>,
        wake: Arc<Wake>,
        anchor: Arc<Anchor>,
    ) -> Result<Self> {
        let (jobs, queue) = mpsc::channel(QUEUE_MAX);
        let worker = Worker { connection, clock, wake, anchor };
        let (ending, ended) = watch::channel(());
        let run = move || {
            worker.run(queue);
            drop(ending);
        };
        let thread =
            std::thread::Builder::new().name("sqlite-writer".into()).spawn(run).map_err(|_| {
                Error::new(ErrorKind::Unavailable, "open")
                    .with_message("no thread could be started")
            })?;
        Ok(Self { jobs, thread: Mutex::new(Some(thread)), ended })
    }

    /// Makes at most [`GROUP_MAX`](crate::committer::GROUP_MAX) changes in order. A caller that gives up does not stop them.
    pub(crate) async fn write<C: Change>(
        &self,
        changes: Vec<C>,
        deadline: Option<Instant>,
    ) -> Vec<Result<C::Answer>> {
        let count = changes.len();
        let (reply, answer) = oneshot::channel();
        let job = Job::Changes(Box::new(Changes::new(changes, deadline, reply)));
        if self.jobs.send(job).await.is_err() {
            return (0..count).map(|_| Err(closed())).collect();
        }
        // The thread answers all it took; without an answer nobody knows what became of the changes.
        answer.await.unwrap_or_else(|_| (0..count).map(|_| Err(unknown())).collect())
    }

    /// Makes one change, as [`write`](Self::write) does.
    pub(crate) async fn write_one<C: Change>(
        &self,
        change: C,
        deadline: Option<Instant>,
    ) -> Result<C::Answer> {
        self.write(vec![change], deadline).await.pop().unwrap_or_else(|| Err(unknown()))
    }

    /// Runs `task` between two commits.
    pub(crate) async fn run<T, Run>(&self, task: Run) -> Result<T>
    where
        T: Send + 'static,
        Run: FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let task: Task = Box::new(move |connection| {
            // Nobody may be waiting any more.
            let _ = reply.send(task(connection));
        });
        self.jobs.send(Job::Task(task)).await.map_err(|_| closed())?;
        answer.await.map_err(|_| lost())?
    }

    /// Finishes what is queued, folds the log into the file and closes the connection.
    pub(crate) async fn close(&self) -> Result<()> {
        // It fails if the thread has ended already.
        let _ = self.jobs.send(Job::Stop).await;
        // Everybody waits, not only who joins: the first to close may have given up half way.
        let mut ended = self.ended.clone();
        while ended.changed().await.is_ok() {}
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return Ok(()) };
        let joined = tokio::task::spawn_blocking(move || thread.join()).await;
        joined.map_err(|_| lost())?.map_err(|_| lost())
    }
}

fn unknown() -> Error {
    lost().with_retry(Retry::IfIdempotent)
}

#[cfg(test)]
mod tests {
    use syntrix_storage_core::backend::{Applied, UserApplied, UserRecord, UserWrite, Write};
    use syntrix_storage_core::{
        Body, Document, DocumentPath, SystemClock, Timestamp, User, UserId, UsernameKey,
    };

    use super::*;
    use crate::settings::Settings;
    use crate::{connect, reads, schema};

    struct Fixture {
        folder: tempfile::TempDir,
        writer: Writer,
    }

    /// A store whose file may grow by `pages` only: a full disk that does not need one.
    fn limited(pages: i64) -> Fixture {
        let folder = tempfile::tempdir().expect("folder");
        let file = connect::prepare_file(&folder.path().join("storage.db")).expect("file");
        let settings = Settings::default();
        let mut connection = connect::open_writer(&file, &settings).expect("open");
        schema::migrate(&mut connection).expect("schema");
        let used: i64 =
            connection.pragma_query_value(None, "page_count", |row| row.get(0)).expect("pages");
        connection
            .pragma_update_and_check(None, "max_page_count", used + pages, |_| Ok(()))
            .expect("limit");
        let wake = connect::open_reader(&file, &settings).and_then(Wake::new).expect("wake");
        let anchor = Arc::new(Anchor::new(Connection::open_in_memory));
        let writer = Writer::start(connection, Arc::new(SystemClock), Arc::new(wake), anchor);
        Fixture { folder, writer: writer.expect("writer") }
    }

    fn insert(id: &str, bytes: usize) -> Write {
        let path = DocumentPath::parse(&format!("c/{id}")).expect("path");
        let body = Body::from_canonical(format!(r#"{{"t":"{}"}}"#, "x".repeat(bytes)));
        Write::Insert(Document::first(path, Timestamp::from_milliseconds(1), body))
    }

    fn insert_account(id: &str) -> UserWrite {
        let id = UserId::parse(id).expect("id");
        let key = UsernameKey::fold(id.as_str()).expect("name");
        let user = User::first(id, "name", Timestamp::from_milliseconds(1));
        let record =
            UserRecord { user, key, key_rule_version: 1, login_window: 0, login_sequence: 0 };
        UserWrite::Insert(Box::new(record))
    }

    fn kinds(outcomes: &[Result<Applied>]) -> Vec<Option<ErrorKind>> {
        outcomes.iter().map(|outcome| outcome.as_ref().err().map(Error::kind)).collect()
    }

    fn open(fixture: &Fixture) -> Connection {
        let file = fixture.folder.path().join("storage.db");
        connect::open_reader(&file, &Settings::default()).expect("open")
    }

    fn count(connection: &Connection, table: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        connection.query_row(&sql, [], |row| row.get(0)).expect("count")
    }

    #[tokio::test]
    async fn a_write_that_does_not_fit_fails_alone_and_its_neighbours_in_the_commit_do_not() {
        let fixture = limited(40);
        let writes = vec![insert("a", 100), insert("huge", 900_000), insert("b", 100)];
        let outcomes = fixture.writer.write(writes, None).await;
        assert_eq!(kinds(&outcomes), [None, Some(ErrorKind::Unavailable), None]);
        let retry = outcomes[1].as_ref().map_err(Error::retry).err();
        assert_eq!(retry, Some(Retry::Safe));
        let connection = open(&fixture);
        assert_eq!((count(&connection, "documents"), count(&connection, "changes")), (2, 2));
    }

    #[tokio::test]
    async fn an_account_shares_the_commit_of_documents_and_not_the_error_of_one() {
        let fixture = limited(40);
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let mut block = Box::pin(fixture.writer.run(move |_| {
            let _ = wait.recv();
            Ok(())
        }));
        let documents = vec![insert("a", 100), insert("huge", 900_000)];
        let mut documents = Box::pin(fixture.writer.write(documents, None));
        let mut account = Box::pin(fixture.writer.write_one(insert_account("u1"), None));
        let late = Some(Instant::now());
        let mut late = Box::pin(fixture.writer.write_one(insert_account("u2"), late));
        assert!(poll_once(&mut block).await.is_none());
        assert!(poll_once(&mut documents).await.is_none());
        assert!(poll_once(&mut account).await.is_none());
        assert!(poll_once(&mut late).await.is_none());
        go.send(()).expect("thread");
        block.await.expect("block");
        assert_eq!(kinds(&documents.await), [None, Some(ErrorKind::Unavailable)]);
        // It ran in the failed commit, too, and would find its id taken if that had left anything.
        assert_eq!(account.await.expect("account"), UserApplied::Yes);
        assert_eq!(late.await.expect_err("written").kind(), ErrorKind::Timeout);
        let connection = open(&fixture);
        assert_eq!((count(&connection, "documents"), count(&connection, "users")), (1, 1));
    }

    #[tokio::test]
    async fn a_full_disk_refuses_writes_and_leaves_a_sound_file() {
        let fixture = limited(20);
        let mut stored = 0;
        loop {
            let write = insert(&format!("d{stored}"), 3000);
            let outcome = fixture.writer.write(vec![write], None).await.remove(0);
            match outcome {
                Ok(_) => stored += 1,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
                    break;
                }
            }
        }
        let connection = open(&fixture);
        assert_eq!(
            (count(&connection, "documents"), count(&connection, "changes")),
            (stored, stored)
        );
        let sound: String = connection
            .pragma_query_value(None, "integrity_check", |row| row.get(0))
            .expect("check");
        assert_eq!(sound, "ok");
        let path = DocumentPath::parse("c/d0").expect("path");
        assert!(reads::get(&connection, &path).expect("read").is_some());
    }

    #[tokio::test]
    async fn writes_that_queue_up_share_commits() {
        let fixture = limited(100_000);
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let block = fixture.writer.run(move |_| {
            // The thread stands here until everything is queued.
            let _ = wait.recv();
            Ok(())
        });
        let writes: Vec<_> = (0..100)
            .map(|n| fixture.writer.write(vec![insert(&format!("d{n}"), 10)], None))
            .collect();
        let mut writes: Vec<_> = writes.into_iter().map(Box::pin).collect();
        let mut block = Box::pin(block);
        assert!(poll_once(&mut block).await.is_none());
        for write in &mut writes {
            assert!(poll_once(write).await.is_none());
        }
        let mut account = Box::pin(fixture.writer.write_one(insert_account("u1"), None));
        assert!(poll_once(&mut account).await.is_none());
        let poll = open(&fixture);
        let version = |connection: &Connection| -> i64 {
            connection.pragma_query_value(None, "data_version", |row| row.get(0)).expect("version")
        };
        let before = version(&poll);
        go.send(()).expect("thread");
        block.await.expect("block");
        for write in writes {
            assert!(write.await.iter().all(Result::is_ok));
        }
        assert_eq!(account.await.expect("account"), UserApplied::Yes);
        assert_eq!(version(&poll), before + 1, "one commit");
        assert_eq!(count(&poll, "changes"), 100);
    }

    async fn poll_once<T>(future: &mut std::pin::Pin<Box<impl Future<Output = T>>>) -> Option<T> {
        std::future::poll_fn(|context| match future.as_mut().poll(context) {
            std::task::Poll::Ready(value) => std::task::Poll::Ready(Some(value)),
            std::task::Poll::Pending => std::task::Poll::Ready(None),
        })
        .await
    }

    #[tokio::test]
    async fn a_closed_writer_refuses_writes_and_tasks() {
        let fixture = limited(100);
        fixture.writer.close().await.expect("close");
        fixture.writer.close().await.expect("close again");
        let outcomes = fixture.writer.write(vec![insert("a", 1), insert("b", 1)], None).await;
        assert_eq!(kinds(&outcomes), [Some(ErrorKind::Closed); 2]);
        let task = fixture.writer.run(|_| Ok(())).await;
        assert_eq!(task.expect_err("ran").kind(), ErrorKind::Closed);
    }
}
