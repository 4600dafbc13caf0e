//! A replica set of a test's own, whose members apply nothing for a while, or die. No driver is needed, so that tests of other
//! crates share it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use self::mongod::Mongod;
use self::mongod::wire::{Document, Reply};

#[path = "mongod.rs"]
pub mod mongod;

const NAME: &str = "own";
const OPTIONS: [&str; 4] = ["--replSet", NAME, "--setParameter", "enableTestCommands=1"];
/// Longest until a member is what it is to be.
const PATIENCE: Duration = Duration::from_secs(120);
/// The first primary is there when so much time has passed without one; no busy machine takes it away afterwards.
const FIRST_ELECTION_MS: i32 = 1000;
const LATER_ELECTION_MS: i32 = 60_000;

/// Members, the first of which is the primary.
pub struct Set {
    members: Vec<Mongod>,
}

impl Set {
    pub async fn start(members: usize) -> Self {
        let start = move || {
            let members: Vec<_> = (0..members).map(|_| Mongod::launch(&OPTIONS)).collect();
            let set = Self { members };
            set.initiate();
            set
        };
        tokio::task::spawn_blocking(start).await.expect("a set")
    }

    /// Another set of one member, with this one's data and name: what the restoration of a backup makes.
    pub async fn restored(mut self) -> (Self, Self) {
        let restore = move || {
            self.members[0].command(|| Document::new().int("fsync", 1));
            self.members[0].kill();
            let mut copy = Mongod::launch_copy(&self.members[0], &[]);
            self.members[0].restart();
            let dropped = copy.ask_in("local", || Document::new().int("dropDatabase", 1));
            assert!(dropped.is_ok(), "{}", dropped.message());
            copy.command(|| Document::new().int("fsync", 1));
            copy.kill();
            copy.restart_with(&OPTIONS);
            let restored = Self { members: vec![copy] };
            restored.initiate();
            self.until(0, "isWritablePrimary");
            (self, restored)
        };
        tokio::task::spawn_blocking(restore).await.expect("a copy")
    }

    fn initiate(&self) {
        for member in &self.members {
            member.command(|| Document::new().int("ping", 1));
        }
        let first = || self.configuration(1, FIRST_ELECTION_MS);
        self.members[0].command(|| Document::new().document("replSetInitiate", first()));
        self.until(0, "isWritablePrimary");
        (1..self.members.len()).for_each(|member| self.until(member, "secondary"));
        let later = || self.configuration(2, LATER_ELECTION_MS);
        self.members[0].command(|| Document::new().document("replSetReconfig", later()));
    }

    fn configuration(&self, version: i32, election_ms: i32) -> Document {
        let members = (0..).zip(&self.members).map(|(id, member)| {
            // Only the first one may become the primary.
            let host = member.address();
            Document::new().int("_id", id).text("host", &host).int("priority", i32::from(id == 0))
        });
        let settings = Document::new()
            // One that followed another secondary would stand still with it, and nobody would confirm a write.
            .int("chainingAllowed", 0)
            .int("electionTimeoutMillis", election_ms)
            .int("heartbeatIntervalMillis", 500);
        Document::new()
            .text("_id", NAME)
            .int("version", version)
            .array("members", members.collect())
            .document("settings", settings)
    }

    fn hello(&self, member: usize) -> Reply {
        self.members[member].ask(|| Document::new().int("hello", 1))
    }

    fn until(&self, member: usize, what: &str) {
        let start = Instant::now();
        while self.hello(member).boolean(what) != Some(true) {
            assert!(start.elapsed() < PATIENCE, "member {member} is not {what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn uri(&self, more: &str) -> String {
        let hosts: Vec<_> = self.members.iter().map(Mongod::address).collect();
        format!("mongodb://{}/?replicaSet={NAME}{more}", hosts.join(","))
    }

    /// One secondary alone, whatever becomes of the set.
    pub fn uri_of(&self, member: usize) -> String {
        let host = self.members[member].address();
        format!("mongodb://{host}/?directConnection=true&readPreference=secondary")
    }

    /// Waits until every member has applied what was written so far. A majority, which confirms a write, may be without one of them.
    pub fn until_all_applied(&self) {
        let members = i32::try_from(self.members.len()).expect("a few members");
        let note = || Document::new().text("note", "applied");
        let patience_ms = i32::try_from(PATIENCE.as_millis()).expect("minutes");
        let every = || Document::new().int("w", members).int("wtimeout", patience_ms);
        let reply = self.members[0].command(|| {
            let append = Document::new().int("appendOplogNote", 1);
            append.document("data", note()).document("writeConcern", every())
        });
        assert_eq!(reply.number("writeConcernError.code"), None, "a member has not applied it");
    }

    /// A member applies nothing, or goes on.
    pub fn stop_applying(&self, member: usize, stop: bool) {
        let mode = if stop { "alwaysOn" } else { "off" };
        let fail_point = || Document::new().text("configureFailPoint", "rsSyncApplyStop");
        self.members[member].command(|| fail_point().text("mode", mode));
    }

    /// Reads that a member has answered since it began.
    pub fn queries(&self, member: usize) -> i64 {
        let status = self.members[member].command(|| Document::new().int("serverStatus", 1));
        status.number("opcounters.query").expect("count")
    }

    /// Ends a member as a power cut would.
    pub fn kill(&mut self, member: usize) {
        self.members[member].kill();
    }

    /// Starts a member that was ended; it follows again.
    pub fn restart(&mut self, member: usize) {
        self.members[member].restart();
        self.until(member, "secondary");
    }

    /// Secondaries stop applying and go on, one at a time, as a majority must go on to confirm, until told to stop.
    pub fn torment(self: &Arc<Self>, stop: &Arc<AtomicBool>) -> JoinHandle<()> {
        let (set, stop) = (Arc::clone(self), Arc::clone(stop));
        tokio::task::spawn_blocking(move || {
            let mut random = fastrand::Rng::with_seed(7);
            while !stop.load(Ordering::Relaxed) {
                let member = random.usize(1..set.members.len());
                set.stop_applying(member, true);
                std::thread::sleep(Duration::from_millis(random.u64(20..200)));
                set.stop_applying(member, false);
                std::thread::sleep(Duration::from_millis(random.u64(20..400)));
            }
        })
    }
}
