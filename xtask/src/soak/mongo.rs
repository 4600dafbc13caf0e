//! MongoDB: a replica set of three that loses its primary by death, by resignation, and by being cut off.
//!
//! Drivers find members under the addresses of the set itself. So each member is known, to the others too, by its proxy.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use syntrix_storage_fault_proxy::{Fault, Proxy, Schedule};

use super::cluster::{Cluster, Kind, Strike};
use super::network::{Network, misbehave};
use super::node::Node;
use super::timing::now;
use crate::failure::{Failure, Result};
use crate::servers::mongo::{self, SET};
use crate::servers::wire::{Client, Document, Reply};
use crate::servers::{self};

/// Longest until there is a primary, or a member follows again.
const ELECTION_MAX: Duration = Duration::from_secs(60);

/// Without a word of the primary for so long, the others choose another one. Longer than any drawn fault.
const ELECTION_TIMEOUT_MS: i32 = 2500;
const HEARTBEAT_MS: i32 = 500;

/// A call that is under way to a primary nobody hears of any more ends by its own deadline, five seconds.
const AFTER_ISOLATION: Duration = Duration::from_secs(8);

/// A member that has resigned does not stand again for so long.
const RESIGNED_SECONDS: i32 = 5;

/// What happens, in this order, again and again.
const ORDER: [Action; 7] = [
    Action::Kill,
    Action::Misbehave,
    Action::StepDown,
    Action::Isolate,
    Action::Both,
    Action::Misbehave,
    Action::Misbehave,
];

#[derive(Debug, Clone, Copy)]
enum Action {
    Kill,
    StepDown,
    Both,
    Isolate,
    Misbehave,
}

struct Member {
    node: Node,
    proxy: Proxy,
}

/// Three members.
pub(super) struct Set {
    members: Vec<Member>,
    schedule: Schedule,
    strikes: usize,
}

impl Set {
    /// Starts the members and makes them a set.
    pub(super) fn start(network: &Network, folder: &Path, seed: u64) -> Result<Self> {
        let program = servers::program(servers::Kind::Mongo)?;
        let members = ["a", "b", "c"].map(|name| member(network, folder.join(name), &program));
        let members = members.into_iter().collect::<Result<Vec<_>>>()?;
        let mut set = Self { members, schedule: Schedule::new(seed), strikes: 0 };
        for member in &mut set.members {
            member.node.start()?;
        }
        set.initiate()?;
        set.mend()?;
        Ok(set)
    }

    /// How it is reached, through the proxies.
    pub(super) fn url(&self) -> String {
        let hosts: Vec<_> = self.proxies().iter().map(|it| it.address().to_string()).collect();
        format!("mongodb://{}/?replicaSet={SET}", hosts.join(","))
    }

    fn initiate(&self) -> Result<()> {
        let member = |(number, member): (i32, &Member)| {
            let host = member.proxy.address().to_string();
            Document::new().int("_id", number).text("host", &host)
        };
        let members = (0..).zip(&self.members).map(member).collect();
        let settings = Document::new()
            .int("electionTimeoutMillis", ELECTION_TIMEOUT_MS)
            .int("heartbeatIntervalMillis", HEARTBEAT_MS)
            .int("heartbeatTimeoutSecs", 2);
        let config = Document::new().text("_id", SET).array("members", members);
        let config = config.document("settings", settings);
        let command = Document::new().document("replSetInitiate", config).text("$db", "admin");
        let reply = Client::connect(self.members[0].node.port())?.run(&command)?;
        if reply.is_ok() {
            return Ok(());
        }
        Err(Failure::new(format!("replSetInitiate: {}", reply.message())))
    }

    /// Past the proxy.
    fn hello(&self, member: usize) -> Option<Reply> {
        mongo::hello(self.members[member].node.port()).ok()
    }

    fn is(&self, member: usize, what: &str) -> bool {
        self.hello(member).is_some_and(|reply| reply.boolean(what) == Some(true))
    }

    /// The primary, other than `not`, once there is one.
    fn primary(&self, not: Option<usize>) -> Result<usize> {
        let deadline = Instant::now() + ELECTION_MAX;
        while Instant::now() < deadline {
            let mut others = (0..self.members.len()).filter(|member| Some(*member) != not);
            if let Some(primary) = others.find(|member| self.is(*member, "isWritablePrimary")) {
                return Ok(primary);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(Failure::new("no member became primary"))
    }

    fn kill(&mut self) -> Result<Strike> {
        let primary = self.primary(None)?;
        let began = now();
        self.members[primary].node.kill()?;
        self.primary(Some(primary))?;
        let strike = struck("kill -9 of the primary", Kind::Kill, began, Strike::AFTER_ELECTION);
        self.members[primary].node.start()?;
        Ok(strike)
    }

    fn step_down(&mut self) -> Result<Strike> {
        let primary = self.primary(None)?;
        let began = now();
        self.resign(primary)?;
        self.primary(Some(primary))?;
        Ok(struck("step-down", Kind::Kill, began, Strike::AFTER_ELECTION))
    }

    /// The primary resigns, and the next one dies as soon as it is.
    fn both(&mut self) -> Result<Strike> {
        let first = self.primary(None)?;
        let began = now();
        self.resign(first)?;
        let second = self.primary(Some(first))?;
        self.members[second].node.kill()?;
        self.primary(Some(second))?;
        let what = "step-down and kill -9 of the next primary";
        let strike = struck(what, Kind::Kill, began, Strike::AFTER_ELECTION);
        self.members[second].node.start()?;
        Ok(strike)
    }

    fn resign(&self, primary: usize) -> Result<()> {
        let command = Document::new()
            .int("replSetStepDown", RESIGNED_SECONDS)
            .int("secondaryCatchUpPeriodSecs", RESIGNED_SECONDS - 1)
            .text("$db", "admin");
        let reply = Client::connect(self.members[primary].node.port())?.run(&command)?;
        if reply.is_ok() {
            return Ok(());
        }
        Err(Failure::new(format!("replSetStepDown: {}", reply.message())))
    }

    /// Nobody hears of the primary any more, until there is another one.
    fn isolate(&mut self) -> Result<Strike> {
        let primary = self.primary(None)?;
        let began = now();
        self.members[primary].proxy.set(Fault::BlackHole);
        let next = self.primary(Some(primary));
        let what = "black hole around the primary";
        let strike = struck(what, Kind::Fault, began, AFTER_ISOLATION);
        std::thread::sleep(Duration::from_secs(1));
        self.members[primary].proxy.set(Fault::None);
        next.map(|_| strike)
    }
}

fn struck(what: &str, kind: Kind, began: u64, success_max: Duration) -> Strike {
    Strike { what: what.into(), kind, began, accepted: now(), success_max }
}

fn member(network: &Network, folder: PathBuf, program: &Path) -> Result<Member> {
    let program = program.to_owned();
    let start = move |port: u16, folder: &Path| Ok(mongo::command(&program, port, folder));
    let serves = |port| mongo::hello(port).is_ok();
    let node = Node::new(folder, Box::new(start), Box::new(serves))?;
    std::fs::create_dir_all(node.folder().join("data"))
        .map_err(|error| Failure::new(format!("making a folder: {error}")))?;
    let proxy = network.proxy(node.port())?;
    Ok(Member { node, proxy })
}

impl Cluster for Set {
    fn configuration(&self) -> String {
        servers::configuration(servers::Kind::Mongo, &self.url())
    }

    fn proxies(&self) -> Vec<&Proxy> {
        self.members.iter().map(|member| &member.proxy).collect()
    }

    fn strike(&mut self, _random: &mut fastrand::Rng) -> Result<Strike> {
        let action = ORDER[self.strikes % ORDER.len()];
        self.strikes += 1;
        self.mend()?;
        match action {
            Action::Kill => self.kill(),
            Action::StepDown => self.step_down(),
            Action::Both => self.both(),
            Action::Isolate => self.isolate(),
            Action::Misbehave => {
                let primary = self.primary(None)?;
                let proxy = &self.members[primary].proxy;
                Ok(misbehave(proxy, &mut self.schedule, Strike::AFTER_ELECTION))
            }
        }
    }

    /// One primary, and all others follow it.
    fn mend(&mut self) -> Result<()> {
        let deadline = Instant::now() + ELECTION_MAX;
        loop {
            let all = 0..self.members.len();
            let primaries = all.clone().filter(|it| self.is(*it, "isWritablePrimary")).count();
            if primaries == 1 && all.filter(|it| self.is(*it, "secondary")).count() == 2 {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Failure::new("the set does not become whole"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
