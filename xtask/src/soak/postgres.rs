//! PostgreSQL: one server that is killed and started again, and a failover to a standby that has everything.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use syntrix_storage_fault_proxy::{Proxy, Schedule};

use super::cluster::{Cluster, Kind, Strike};
use super::network::{Network, misbehave};
use super::node::Node;
use super::timing::now;
use crate::failure::{Context, Failure, Result};
use crate::servers::{self, postgres};

/// Longest until a standby has everything, or has become the primary.
const STANDBY_MAX: Duration = Duration::from_secs(60);

/// How long both write before the primary dies.
const SIDE_BY_SIDE: Duration = Duration::from_millis(1200);

/// What happens, in this order, again and again.
const ORDER: [Action; 8] = [
    Action::Kill,
    Action::Misbehave,
    Action::Terminate,
    Action::Misbehave,
    Action::FailOver,
    Action::Misbehave,
    Action::Terminate,
    Action::Misbehave,
];

#[derive(Debug, Clone, Copy)]
enum Action {
    Kill,
    Terminate,
    Misbehave,
    FailOver,
}

/// A place for a server, with the proxy before it.
struct Place {
    node: Node,
    proxy: Proxy,
}

/// The primary and the place of its standby, which is made anew for each failover.
pub(super) struct Pair {
    program: PathBuf,
    password: String,
    places: [Place; 2],
    primary: usize,
    schedule: Schedule,
    strikes: usize,
}

impl Pair {
    /// Starts the primary.
    pub(super) fn start(network: &Network, folder: &Path, seed: u64) -> Result<Self> {
        let program = servers::program(servers::Kind::Pg)?;
        let password = servers::password();
        let place = |name: &str| -> Result<Place> {
            let command = program.clone();
            let start = move |port: u16, folder: &Path| start(&command, port, folder);
            let node =
                Node::new(folder.join(name), Box::new(start), Box::new(servers::postgres_serves))?;
            // An immediate shutdown, which ends its children, too.
            let node = node.stopped_by("QUIT");
            let proxy = network.proxy(node.port())?;
            Ok(Place { node, proxy })
        };
        let places = [place("a")?, place("b")?];
        let mut pair = Self {
            program,
            password,
            places,
            primary: 0,
            schedule: Schedule::new(seed),
            strikes: 0,
        };
        let first = pair.places[0].node.folder();
        postgres::own(first)?;
        postgres::initialise(&pair.program, first, &pair.password)?;
        pair.places[0].node.start()?;
        Ok(pair)
    }

    /// How it is reached, through the proxies.
    pub(super) fn url(&self) -> String {
        let [a, b] = [0, 1].map(|place| self.places[place].proxy.address());
        format!("postgres://postgres:{}@{a},{b}/postgres", self.password)
    }

    fn tool(&self, name: &str) -> Command {
        let mut command = Command::new(postgres::tool(&self.program, name));
        command.env("PGPASSWORD", &self.password).env("PGCONNECT_TIMEOUT", "5");
        command
    }

    /// Runs a statement past the proxy.
    fn ask(&self, place: usize, statement: &str) -> Result<String> {
        let mut command = self.tool("psql");
        let port = self.places[place].node.port().to_string();
        command.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1"]);
        command.args(["-p", &port, "-U", "postgres", "-d", "postgres", "-c", statement]);
        let output = command.output().context(|| "starting psql".into())?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            return Err(Failure::new(format!("`{statement}`: {}", text.trim())));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    fn until(&self, place: usize, statement: &str, answer: &str) -> Result<()> {
        let deadline = Instant::now() + STANDBY_MAX;
        while self.ask(place, statement).ok().as_deref() != Some(answer) {
            if Instant::now() > deadline {
                return Err(Failure::new(format!("`{statement}` is not {answer}")));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn kill(&mut self) -> Result<Strike> {
        let began = now();
        let node = &mut self.places[self.primary].node;
        node.kill()?;
        node.start()?;
        Ok(self.struck("kill -9 and restart", Kind::Kill, began, Strike::AFTER_RESTART))
    }

    fn terminate(&mut self) -> Result<Strike> {
        let began = now();
        self.ask(
            self.primary,
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
             WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
        )?;
        Ok(self.struck("pg_terminate_backend of all", Kind::Fault, began, Strike::AFTER_RESTART))
    }

    fn struck(&self, what: &str, kind: Kind, began: u64, success_max: Duration) -> Strike {
        Strike { what: what.into(), kind, began, accepted: now(), success_max }
    }

    /// Makes a standby that confirms every commit, kills the primary and promotes the standby.
    fn fail_over(&mut self) -> Result<Strike> {
        let standby = 1 - self.primary;
        self.make_standby(standby)?;
        std::thread::sleep(SIDE_BY_SIDE);
        let began = now();
        self.places[self.primary].node.kill_with_children()?;
        self.ask(standby, "SELECT pg_promote(true, 30)")?;
        self.until(standby, "SELECT pg_is_in_recovery()", "f")?;
        self.primary = standby;
        Ok(self.struck("failover to the standby", Kind::Kill, began, Strike::AFTER_ELECTION))
    }

    fn make_standby(&mut self, standby: usize) -> Result<()> {
        let data = self.places[standby].node.folder().join("data");
        if data.exists() {
            std::fs::remove_dir_all(&data).context(|| "removing an old standby".into())?;
        }
        let folder = self.places[standby].node.folder().to_owned();
        postgres::own(&folder)?;
        let mut command = self.tool("pg_basebackup");
        postgres::run_as_owner(&mut command)?;
        let port = self.places[self.primary].node.port().to_string();
        let connection = format!("host=127.0.0.1 port={port} user=postgres application_name=b");
        command.arg("-D").arg(&data).args(["-d", &connection, "-R", "-X", "stream"]);
        command.args(["--checkpoint=fast", "--no-sync"]).current_dir(&folder);
        let output = command.output().context(|| "starting pg_basebackup".into())?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(Failure::new(format!("pg_basebackup: {text}")));
        }
        self.places[standby].node.start()?;
        self.ask(self.primary, "ALTER SYSTEM SET synchronous_standby_names = 'b'")?;
        self.ask(self.primary, "SELECT pg_reload_conf()")?;
        let confirms = "SELECT count(*) FROM pg_stat_replication \
                        WHERE sync_state = 'sync' AND state = 'streaming'";
        self.until(self.primary, confirms, "1")?;
        // What was acknowledged before that has to get there as well.
        let end = self.ask(self.primary, "SELECT pg_current_wal_insert_lsn()")?;
        let has = format!("SELECT bool_and(flush_lsn >= '{end}') FROM pg_stat_replication");
        self.until(self.primary, &has, "t")
    }
}

/// The command of a server; a standby is one by what lies in its folder.
fn start(program: &Path, port: u16, folder: &Path) -> Result<Command> {
    let mut command = postgres::command(program, port, folder)?;
    command.args(["-c", "wal_retrieve_retry_interval=100ms", "-c", "hot_standby=on"]);
    // In the data folder: a killed server leaves its shared memory behind, and that goes with the folder.
    command.args(["-c", "dynamic_shared_memory_type=mmap"]);
    Ok(command)
}

impl Cluster for Pair {
    fn configuration(&self) -> String {
        servers::configuration(servers::Kind::Pg, &self.url())
    }

    fn proxies(&self) -> Vec<&Proxy> {
        self.places.iter().map(|place| &place.proxy).collect()
    }

    fn strike(&mut self, _random: &mut fastrand::Rng) -> Result<Strike> {
        let action = ORDER[self.strikes % ORDER.len()];
        self.strikes += 1;
        match action {
            Action::Kill => self.kill(),
            Action::Terminate => self.terminate(),
            Action::FailOver => self.fail_over(),
            Action::Misbehave => {
                let proxy = &self.places[self.primary].proxy;
                Ok(misbehave(proxy, &mut self.schedule, Strike::AFTER_RESTART))
            }
        }
    }

    fn mend(&mut self) -> Result<()> {
        Ok(())
    }
}
