//! Redis with Sentinel: a primary, two replicas and three sentinels.
//!
//! Replication is asynchronous, so the backend waits for replicas before it acknowledges; as `docs/backends/redis.md` says,
//! nothing that was acknowledged may be forgotten.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use syntrix_storage_fault_proxy::{Proxy, Schedule};

use super::cluster::{Cluster, Kind, Strike};
use super::network::{Network, misbehave};
use super::node::Node;
use super::timing::now;
use crate::failure::{Context, Failure, Result};
use crate::servers::{self, redis};

const NAME: &str = "main";

/// Longest until there is another primary, and all replicas follow it.
const FAILOVER_MAX: Duration = Duration::from_secs(60);

/// Silence after which a sentinel takes a primary for dead. Longer than any drawn fault.
const DOWN_AFTER_MS: u32 = 2500;

/// A server that keeps data, behind a proxy under whose address the others know it.
struct Member {
    node: Node,
    proxy: Proxy,
}

/// The primary, its replicas and the sentinels.
pub(super) struct Watched {
    members: Vec<Member>,
    sentinels: Vec<Node>,
    password: String,
    schedule: Schedule,
    strikes: usize,
}

impl Watched {
    /// Starts all of them and waits until everybody knows everybody.
    pub(super) fn start(network: &Network, folder: &Path, seed: u64) -> Result<Self> {
        let program = servers::program(servers::Kind::Redis)?;
        let password = servers::password();
        let mut watched = Self {
            members: Vec::new(),
            sentinels: Vec::new(),
            password,
            schedule: Schedule::new(seed),
            strikes: 0,
        };
        for name in ["a", "b", "c"] {
            watched.add_member(network, folder.join(name), &program)?;
        }
        for name in ["s1", "s2", "s3"] {
            watched.add_sentinel(folder.join(name), &program)?;
        }
        watched.mend()?;
        Ok(watched)
    }

    fn add_member(&mut self, network: &Network, folder: PathBuf, program: &Path) -> Result<()> {
        let known = self.password.clone();
        let serves = move |port| servers::redis_serves(port, &known);
        let mut node = Node::new(folder, Box::new(start(program, &[])), Box::new(serves))?;
        let proxy = network.proxy(node.port())?;
        let settings = redis::settings(node.folder(), &self.password)
            + &format!(
                "masterauth {}\n\
                 replica-announce-ip 127.0.0.1\n\
                 replica-announce-port {}\n\
                 min-replicas-to-write 1\n\
                 min-replicas-max-lag 1\n\
                 repl-diskless-sync-delay 0\n",
                self.password,
                proxy.address().port()
            );
        write(&node, &settings)?;
        if let Some(first) = self.members.first() {
            follow(&node, first.proxy.address().port())?;
        }
        node.start()?;
        self.members.push(Member { node, proxy });
        Ok(())
    }

    fn add_sentinel(&mut self, folder: PathBuf, program: &Path) -> Result<()> {
        let serves =
            |port| servers::redis_answers(port, &["PING"]).is_ok_and(|it| it == "+PONG\r\n");
        let start = start(program, &["--sentinel"]);
        let mut node = Node::new(folder, Box::new(start), Box::new(serves))?;
        let settings = format!(
            "bind 127.0.0.1\n\
             dir \"{}\"\n\
             sentinel monitor {NAME} 127.0.0.1 {} 2\n\
             sentinel auth-pass {NAME} {}\n\
             sentinel down-after-milliseconds {NAME} {DOWN_AFTER_MS}\n\
             sentinel failover-timeout {NAME} 6000\n\
             sentinel parallel-syncs {NAME} 2\n",
            node.folder().display(),
            self.members[0].proxy.address().port(),
            self.password
        );
        write(&node, &settings)?;
        node.start()?;
        self.sentinels.push(node);
        Ok(())
    }

    /// What a member answers past its proxy.
    fn ask(&self, member: usize, words: &str) -> String {
        let login = format!("AUTH {}", self.password);
        let port = self.members[member].node.port();
        servers::redis_answers(port, &[&login, words]).unwrap_or_default()
    }

    fn is_primary(&self, member: usize) -> bool {
        self.ask(member, "INFO replication").contains("role:master")
    }

    fn follows(&self, member: usize, primary: usize) -> bool {
        let port = self.members[primary].proxy.address().port();
        let answer = self.ask(member, "INFO replication");
        answer.contains("master_link_status:up")
            && answer.contains(&format!("master_port:{port}\r"))
    }

    /// The member that this sentinel names.
    fn named_by(&self, sentinel: &Node) -> Option<usize> {
        let question = format!("SENTINEL get-master-addr-by-name {NAME}");
        let answer = servers::redis_answers(sentinel.port(), &[&question]).ok()?;
        let port = |member: &Member| format!("\r\n{}\r\n", member.proxy.address().port());
        self.members.iter().position(|member| answer.contains(&port(member)))
    }

    /// The primary that most sentinels name, other than `not`, once it is one.
    fn primary(&self, not: Option<usize>) -> Result<usize> {
        let deadline = Instant::now() + FAILOVER_MAX;
        while Instant::now() < deadline {
            let named: Vec<_> = self.sentinels.iter().map(|it| self.named_by(it)).collect();
            let most = |member| named.iter().filter(|it| **it == Some(member)).count() >= 2;
            let mut others = (0..self.members.len()).filter(|member| Some(*member) != not);
            if let Some(primary) = others.find(|it| most(*it) && self.is_primary(*it)) {
                return Ok(primary);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(Failure::new("the sentinels chose no primary"))
    }

    fn kill(&mut self) -> Result<Strike> {
        let primary = self.primary(None)?;
        let began = now();
        self.members[primary].node.kill()?;
        let next = self.primary(Some(primary))?;
        // A primary takes no write before a replica follows it.
        self.until(|it| (0..3).any(|member| member != primary && it.follows(member, next)))?;
        let strike = struck("kill -9 of the primary", began);
        follow(&self.members[primary].node, self.members[next].proxy.address().port())?;
        self.members[primary].node.start()?;
        Ok(strike)
    }

    /// As an operator asks for it; nothing died.
    fn fail_over(&mut self) -> Result<Strike> {
        let primary = self.primary(None)?;
        let began = now();
        let question = format!("SENTINEL failover {NAME}");
        let answer = servers::redis_answers(self.sentinels[0].port(), &[&question])?;
        if !answer.starts_with("+OK") {
            return Err(Failure::new(format!("`{question}`: {}", answer.trim())));
        }
        let next = self.primary(Some(primary))?;
        self.until(|it| (0..3).any(|member| member != next && it.follows(member, next)))?;
        Ok(struck("failover on request", began))
    }

    fn until(&self, is: impl Fn(&Self) -> bool) -> Result<()> {
        let deadline = Instant::now() + FAILOVER_MAX;
        while !is(self) {
            if Instant::now() > deadline {
                return Err(Failure::new("the replicas do not follow their primary"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Every sentinel knows the two others and both replicas.
    fn all_known(&self) -> bool {
        let question = format!("SENTINEL master {NAME}");
        self.sentinels.iter().all(|sentinel| {
            let answer = servers::redis_answers(sentinel.port(), &[&question]).unwrap_or_default();
            let says = |name: &str, value: &str| {
                let mut lines = answer.lines().skip_while(|line| *line != name);
                lines.nth(2).is_some_and(|line| line == value)
            };
            says("num-other-sentinels", "2") && says("num-slaves", "2") && says("flags", "master")
        })
    }
}

fn struck(what: &str, began: u64) -> Strike {
    let success_max = Strike::AFTER_ELECTION;
    Strike { what: what.into(), kind: Kind::Kill, began, accepted: now(), success_max }
}

/// The command of a server or a sentinel.
fn start(
    program: &Path,
    more: &'static [&'static str],
) -> impl Fn(u16, &Path) -> Result<Command> + use<> {
    let program = program.to_owned();
    move |port, folder| {
        let mut command = Command::new(&program);
        command.arg(folder.join("redis.conf")).args(["--port", &port.to_string()]).args(more);
        Ok(command)
    }
}

fn write(node: &Node, settings: &str) -> Result<()> {
    redis::write_private(&node.folder().join("redis.conf"), settings)
}

/// The next start is as a replica of whoever listens there. Sentinels write into the file too; the last line counts.
fn follow(node: &Node, port: u16) -> Result<()> {
    let file = node.folder().join("redis.conf");
    let settings = std::fs::read_to_string(&file).context(|| "reading the settings".into())?;
    write(node, &(settings + &format!("\nreplicaof 127.0.0.1 {port}\n")))
}

impl Cluster for Watched {
    fn configuration(&self) -> String {
        let sentinels: Vec<_> =
            self.sentinels.iter().map(|it| format!("127.0.0.1:{}", it.port())).collect();
        servers::configuration(servers::Kind::Redis, &sentinels.join(","))
            + &format!(
                "      password: \"{}\"\n      sentinel: {{master: {NAME}}}\n",
                self.password
            )
    }

    fn strike(&mut self, _random: &mut fastrand::Rng) -> Result<Strike> {
        self.mend()?;
        self.strikes += 1;
        match self.strikes % 4 {
            1 => self.kill(),
            3 => self.fail_over(),
            _ => {
                let primary = self.primary(None)?;
                let proxy = &self.members[primary].proxy;
                Ok(misbehave(proxy, &mut self.schedule, Strike::AFTER_ELECTION))
            }
        }
    }

    fn mend(&mut self) -> Result<()> {
        let primary = self.primary(None)?;
        self.until(|it| {
            let mut others = (0..3).filter(|member| *member != primary);
            others.all(|member| it.follows(member, primary)) && it.all_known()
        })
    }
}
