//! Holds a view of the data open while many reads come, so that they need nothing of the kernel.
//!
//! A read in WAL mode locks a read mark and gives it back: two calls of the kernel, which are a quarter of a point read, and
//! which two threads can only do in turn. SQLite counts the holders of a mark within a process and asks the kernel for the first
//! and the last of them alone (`unixShmLock` in its `os_unix.c`). The anchor is a holder that stays.
//!
//! What every read sees is its own view, as ever. A view held open keeps the log from starting over, so the anchor lets go
//! after each [`HOLD`], and for as long as the log is longer than checkpoints leave it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use rusqlite::Connection;
use syntrix_storage_core::Result;

use crate::readers::Snapshot;

/// How long one view is held.
const HOLD: Duration = Duration::from_millis(9);
/// Between two views, in which a checkpoint finds the log free and the reads are counted.
const REST: Duration = Duration::from_millis(1);
/// Reads in a rest that are worth a view: ten thousand a second.
const READS_IN_REST_MIN: u32 = 10;
/// Twice the pages at which SQLite begins a checkpoint by itself.
const LOG_PAGES_MAX: i64 = 2000;

const LOG_PAGES: &str = "PRAGMA wal_checkpoint(NOOP)";
const LOOK: &str = "SELECT 1 FROM metadata";

/// The thread that holds views.
#[derive(Debug)]
pub(crate) struct Anchor {
    shared: Arc<Shared>,
    thread: Thread,
    running: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    asleep: AtomicBool,
    closed: AtomicBool,
}

impl Anchor {
    /// Starts the thread; it sleeps until it is woken. `reads` tells how many reads there were, and wraps around.
    pub(crate) fn start(
        connection: Connection,
        reads: impl Fn() -> u32 + Send + 'static,
    ) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let seen = Arc::clone(&shared);
        let running = thread::Builder::new()
            .name("sqlite-anchor".to_owned())
            .spawn(move || run(&seen, &connection, reads))
            .map_err(|_| crate::error::lost())?;
        let thread = running.thread().clone();
        Ok(Self { shared, thread, running: Mutex::new(Some(running)) })
    }

    /// Tells of a burst of reads.
    pub(crate) fn wake(&self) {
        if self.shared.asleep.load(Ordering::Relaxed) {
            self.thread.unpark();
        }
    }

    /// Closes the connection. Blocks for a moment.
    pub(crate) fn close(&self) {
        self.end();
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if running.is_some_and(|running| running.join().is_err()) {
            tracing::warn!("the thread that holds views panicked");
        }
    }

    fn end(&self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

impl Drop for Anchor {
    fn drop(&mut self) {
        self.end();
    }
}

fn run(shared: &Shared, connection: &Connection, reads: impl Fn() -> u32) {
    loop {
        shared.asleep.store(true, Ordering::SeqCst);
        // Looked at after that is said, else a burst in between would wake nobody.
        if !shared.closed.load(Ordering::SeqCst) {
            thread::park();
        }
        shared.asleep.store(false, Ordering::SeqCst);
        while rest(shared, &reads) {
            hold(connection);
        }
        if shared.closed.load(Ordering::SeqCst) {
            return;
        }
    }
}

/// Whether so many reads came meanwhile that a view is worth it.
fn rest(shared: &Shared, reads: &impl Fn() -> u32) -> bool {
    let before = reads();
    thread::park_timeout(REST);
    let enough = reads().wrapping_sub(before) >= READS_IN_REST_MIN;
    enough && !shared.closed.load(Ordering::SeqCst)
}

/// Holds a view, if the log can spare it. Without one, reads only cost a little more, so no failure is worth an error.
fn hold(connection: &Connection) {
    let view = log_pages(connection).ok().filter(|pages| *pages <= LOG_PAGES_MAX);
    let _view = view.and_then(|_| look(connection).ok());
    thread::park_timeout(HOLD);
}

fn log_pages(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached(LOG_PAGES)?.query_row([], |row| row.get(1))
}

/// A view begins with its first read.
fn look(connection: &Connection) -> Result<Snapshot<'_>> {
    let view = Snapshot::begin(connection)?;
    let look = connection.prepare_cached(LOOK).and_then(|mut look| look.exists([]));
    look.map_err(|error| crate::error::from_sqlite(&error))?;
    Ok(view)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;
    use std::time::Instant;

    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    /// A file with a log, an anchor on it, and a counter that says how busy it is.
    struct World {
        folder: tempfile::TempDir,
        writer: Connection,
        reads: Arc<AtomicU32>,
        anchor: Anchor,
    }

    impl World {
        fn open() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let writer = connection(&folder);
            writer.pragma_update(None, "synchronous", "OFF").expect("set");
            writer
                .execute_batch("CREATE TABLE metadata (x); INSERT INTO metadata VALUES (1)")
                .expect("made");
            let reads = Arc::new(AtomicU32::new(0));
            let anchor = start(&folder, &reads);
            Self { folder, writer, reads, anchor }
        }

        fn another_anchor(&self) -> Anchor {
            start(&self.folder, &self.reads)
        }

        /// As many reads as are worth a view.
        fn read_much(&self) {
            self.reads.fetch_add(READS_IN_REST_MIN * 100, Ordering::Relaxed);
            self.anchor.wake();
        }

        /// Whether somebody reads: the log can only be cut when nobody does.
        fn is_read(&self) -> bool {
            self.writer.execute("UPDATE metadata SET x = x + 1", []).expect("written");
            let busy =
                self.writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
            busy.expect("a checkpoint")
        }

        fn log_bytes(&self) -> u64 {
            std::fs::metadata(self.folder.path().join("file.db-wal")).expect("a log").len()
        }
    }

    fn start(folder: &tempfile::TempDir, reads: &Arc<AtomicU32>) -> Anchor {
        let reads = Arc::clone(reads);
        let reads = move || reads.load(Ordering::Relaxed);
        Anchor::start(connection(folder), reads).expect("started")
    }

    fn connection(folder: &tempfile::TempDir) -> Connection {
        let connection = Connection::open(folder.path().join("file.db")).expect("opened");
        connection.busy_timeout(Duration::ZERO).expect("set");
        connection.pragma_update(None, "journal_mode", "WAL").expect("set");
        connection
    }

    fn until(mut done: impl FnMut() -> bool) -> bool {
        let start = Instant::now();
        while start.elapsed() < SOON {
            if done() {
                return true;
            }
            thread::sleep(Duration::from_millis(1));
        }
        false
    }

    #[test]
    fn a_view_is_held_while_reads_come_and_no_longer() {
        let world = World::open();
        assert!(!world.is_read(), "without reads there is no view");
        let held = until(|| {
            world.read_much();
            world.is_read()
        });
        assert!(held, "no view was held though many reads came");
        assert!(until(|| !world.is_read()), "a view stayed without reads");
        thread::sleep(HOLD + REST);
        assert!(!world.is_read(), "a view came back without reads");
    }

    #[test]
    fn the_log_does_not_grow_for_ever_under_reads() {
        let world = World::open();
        // As many processes as there are more anchors: their rests hardly ever fall together.
        let others: Vec<_> = (0..8).map(|_| world.another_anchor()).collect();
        let text = "x".repeat(3000);
        world.writer.execute_batch("CREATE TABLE rows (text)").expect("made");
        let mut bytes_max = 0;
        for _ in 0..20_000 {
            world.read_much();
            others.iter().for_each(Anchor::wake);
            world.writer.execute("INSERT INTO rows VALUES (?1)", [&text]).expect("written");
            bytes_max = bytes_max.max(world.log_bytes());
        }
        // 20,000 commits of two pages or more are 160 MB of log; what checkpoints leave is 4 MB.
        assert!(bytes_max < 24 << 20, "the log grew to {bytes_max} bytes");
    }

    #[test]
    fn closing_lets_go_at_once() {
        let world = World::open();
        world.read_much();
        world.anchor.close();
        assert!(!world.is_read());
        world.read_much();
        thread::sleep(HOLD);
        assert!(!world.is_read(), "a closed anchor holds nothing");
    }
}
