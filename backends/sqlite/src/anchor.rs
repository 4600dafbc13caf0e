//! Holds a view of the data open while many reads come, so that they need nothing of the kernel.
//!
//! A read in WAL mode locks a read mark and gives it back: two calls of the kernel, which are a quarter of a point read, and
//! which two threads can only do in turn. SQLite counts the holders of a mark within a process and asks the kernel for the first
//! and the last of them alone (`unixShmLock` in its `os_unix.c`). The anchor is a holder that stays.
//!
//! What every read sees is its own view, as ever. A view held open keeps the log from starting over, so the anchor lets go
//! after each [`HOLD`], and for as long as the log is longer than checkpoints leave it.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::Connection;
use syntrix_storage_core::Result;

use crate::readers::Snapshot;

/// How long one view is held.
const HOLD: Duration = Duration::from_millis(9);
/// Between two views, in which a checkpoint finds the log free and reads are looked for.
const REST: Duration = Duration::from_millis(1);
/// Twice the pages at which SQLite begins a checkpoint by itself.
const LOG_PAGES_MAX: i64 = 2000;

const LOG: &str = "PRAGMA wal_checkpoint(NOOP)";
const LOOK: &str = "SELECT 1 FROM metadata";

type Open = Box<dyn Fn() -> rusqlite::Result<Connection> + Send + Sync>;

/// The thread that holds views. It starts with the first burst of reads, and sleeps when there are none.
pub(crate) struct Anchor {
    shared: Arc<Shared>,
    running: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    open: Open,
    /// Goes on with every few reads, and wraps around.
    bursts: AtomicU32,
    asleep: AtomicBool,
    aside: AtomicBool,
    closed: AtomicBool,
}

impl Anchor {
    /// Opens nothing and starts nothing yet.
    pub(crate) fn new(
        open: impl Fn() -> rusqlite::Result<Connection> + Send + Sync + 'static,
    ) -> Self {
        let shared = Shared {
            open: Box::new(open),
            bursts: AtomicU32::new(0),
            asleep: AtomicBool::new(true),
            aside: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        };
        Self { shared: Arc::new(shared), running: Mutex::new(None) }
    }

    /// Tells of a few reads.
    pub(crate) fn note_burst(&self) {
        self.shared.bursts.fetch_add(1, Ordering::Relaxed);
        if self.shared.asleep.load(Ordering::Relaxed) {
            self.rouse();
        }
    }

    /// As long as the guard lives, no new view is held.
    ///
    /// For who waits for the right to write: a checkpoint that has it, and waits for readers, could wait for view after view.
    pub(crate) fn step_aside(&self) -> Aside<'_> {
        self.shared.aside.store(true, Ordering::Relaxed);
        Aside(&self.shared)
    }

    /// Closes the connection. Blocks for a moment.
    pub(crate) fn close(&self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        let Some(running) = self.running().take() else { return };
        running.thread().unpark();
        if running.join().is_err() {
            tracing::warn!("the thread that holds views panicked");
        }
    }

    fn rouse(&self) {
        let mut running = self.running();
        if self.shared.closed.load(Ordering::SeqCst) {
            return;
        }
        match &*running {
            Some(running) => running.thread().unpark(),
            None => *running = start(&self.shared),
        }
    }

    fn running(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Anchor {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        if let Some(running) = &*self.running() {
            running.thread().unpark();
        }
    }
}

impl fmt::Debug for Anchor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asleep = self.shared.asleep.load(Ordering::Relaxed);
        formatter.debug_struct("Anchor").field("asleep", &asleep).finish_non_exhaustive()
    }
}

/// While it lives, no new view is held.
pub(crate) struct Aside<'anchor>(&'anchor Shared);

impl Drop for Aside<'_> {
    fn drop(&mut self) {
        self.0.aside.store(false, Ordering::Relaxed);
    }
}

/// Without a thread there is no anchor, and reads only cost a little more: no failure in here is worth an error.
fn start(shared: &Arc<Shared>) -> Option<JoinHandle<()>> {
    shared.asleep.store(false, Ordering::SeqCst);
    let seen = Arc::clone(shared);
    let started = thread::Builder::new().name("sqlite-anchor".to_owned()).spawn(move || {
        let opened = (seen.open)();
        match opened.and_then(|opened| opened.busy_timeout(Duration::ZERO).map(|()| opened)) {
            Ok(connection) => run(&seen, &connection),
            Err(error) => tracing::debug!(%error, "no views are held for reads"),
        }
    });
    started.inspect_err(|error| tracing::debug!(%error, "no views are held for reads")).ok()
}

fn run(shared: &Shared, connection: &Connection) {
    while !shared.closed.load(Ordering::SeqCst) {
        while rest(shared) {
            hold(shared, connection);
        }
        shared.asleep.store(true, Ordering::SeqCst);
        // Looked at after that is said, else nobody would wake it to end.
        if !shared.closed.load(Ordering::SeqCst) {
            thread::park();
        }
        shared.asleep.store(false, Ordering::SeqCst);
    }
}

/// Whether enough reads come that a view is worth it: some thousands a second.
fn rest(shared: &Shared) -> bool {
    let before = shared.bursts.load(Ordering::Relaxed);
    thread::park_timeout(REST);
    let read = shared.bursts.load(Ordering::Relaxed) != before;
    read && !shared.closed.load(Ordering::SeqCst)
}

/// Holds a view, if the log can spare it.
fn hold(shared: &Shared, connection: &Connection) {
    let free = !shared.aside.load(Ordering::Relaxed) && can_spare(connection).unwrap_or(false);
    let _view = free.then(|| look(connection).ok());
    thread::park_timeout(HOLD);
}

/// Whether the log may stay as it is for a while: it is short, or all of it is in the file and the next writer starts it over.
fn can_spare(connection: &Connection) -> rusqlite::Result<bool> {
    let mut log = connection.prepare_cached(LOG)?;
    let (pages, folded): (i64, i64) = log.query_row([], |row| Ok((row.get(1)?, row.get(2)?)))?;
    Ok(pages <= LOG_PAGES_MAX || pages == folded)
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
    use std::time::Instant;

    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    /// A file with a log and an anchor on it.
    struct World {
        folder: tempfile::TempDir,
        writer: Connection,
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
            let anchor = anchor(&folder);
            Self { folder, writer, anchor }
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

    fn anchor(folder: &tempfile::TempDir) -> Anchor {
        let file = folder.path().join("file.db");
        Anchor::new(move || Connection::open(&file))
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
            world.anchor.note_burst();
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
        let others: Vec<_> = (0..8).map(|_| anchor(&world.folder)).collect();
        let text = "x".repeat(3000);
        world.writer.execute_batch("CREATE TABLE rows (text)").expect("made");
        let mut bytes_max = 0;
        for _ in 0..20_000 {
            world.anchor.note_burst();
            others.iter().for_each(Anchor::note_burst);
            world.writer.execute("INSERT INTO rows VALUES (?1)", [&text]).expect("written");
            bytes_max = bytes_max.max(world.log_bytes());
        }
        // 20,000 commits of two pages or more are 160 MB of log; what checkpoints leave is 4 MB.
        assert!(bytes_max < 24 << 20, "the log grew to {bytes_max} bytes");
    }

    #[test]
    fn closing_lets_go_at_once() {
        let world = World::open();
        world.anchor.note_burst();
        world.anchor.close();
        assert!(!world.is_read());
        world.anchor.note_burst();
        thread::sleep(HOLD);
        assert!(!world.is_read(), "a closed anchor holds nothing");
    }

    #[test]
    fn no_view_is_held_while_somebody_waits_to_write() {
        let world = World::open();
        let held = || {
            until(|| {
                world.anchor.note_burst();
                world.is_read()
            })
        };
        assert!(held(), "no view was held though many reads came");
        let aside = world.anchor.step_aside();
        thread::sleep((HOLD + REST) * 5);
        for _ in 0..50 {
            world.anchor.note_burst();
            assert!(!world.is_read(), "a view was held");
            thread::sleep(REST);
        }
        drop(aside);
        assert!(held(), "no view was held afterwards");
    }

    #[test]
    fn a_long_log_can_be_spared_once_it_is_in_the_file() {
        let world = World::open();
        let fill = |table: &str| {
            let rows = format!(
                "CREATE TABLE {table} AS WITH RECURSIVE n(n) AS \
                (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 3000) SELECT zeroblob(3000) FROM n"
            );
            world.writer.execute_batch(&rows).expect("made");
        };
        fill("a");
        assert!(can_spare(&world.writer).expect("looked"), "it is in the file");
        let reader = connection(&world.folder);
        let _view = look(&reader).expect("a view");
        fill("b");
        fill("c");
        assert!(!can_spare(&world.writer).expect("looked"), "a reader keeps it out of the file");
    }
}
