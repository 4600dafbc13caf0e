//! Redis with an append-only file that is on the disk before anything is acknowledged: one server, killed and started again.

use std::path::Path;
use std::process::Command;

use syntrix_storage_fault_proxy::{Proxy, Schedule};

use super::cluster::{Cluster, Kind, Strike};
use super::network::{Network, misbehave};
use super::node::Node;
use super::timing::now;
use crate::failure::Result;
use crate::servers::{self, redis};

/// One server behind a proxy.
pub(super) struct Server {
    node: Node,
    proxy: Proxy,
    password: String,
    schedule: Schedule,
    strikes: usize,
}

impl Server {
    /// Starts it.
    pub(super) fn start(network: &Network, folder: &Path, seed: u64) -> Result<Self> {
        let program = servers::program(servers::Kind::Redis)?;
        let password = servers::password();
        let known = password.clone();
        let serves = move |port| servers::redis_serves(port, &known);
        let start = move |port: u16, folder: &Path| {
            let mut command = Command::new(&program);
            command.arg(folder.join("redis.conf")).args(["--port", &port.to_string()]);
            Ok(command)
        };
        let mut node = Node::new(folder.join("a"), Box::new(start), Box::new(serves))?;
        let settings = redis::settings(node.folder(), &password);
        redis::write_private(&node.folder().join("redis.conf"), &settings)?;
        node.start()?;
        let proxy = network.proxy(node.port())?;
        Ok(Self { node, proxy, password, schedule: Schedule::new(seed), strikes: 0 })
    }
}

impl Cluster for Server {
    fn configuration(&self) -> String {
        let url = format!("redis://:{}@{}", self.password, self.proxy.address());
        servers::configuration(servers::Kind::Redis, &url)
    }

    fn strike(&mut self, _random: &mut fastrand::Rng) -> Result<Strike> {
        self.strikes += 1;
        if self.strikes.is_multiple_of(2) {
            return Ok(misbehave(&self.proxy, &mut self.schedule, Strike::AFTER_RESTART));
        }
        let began = now();
        self.node.kill()?;
        self.node.start()?;
        let (what, kind) = ("kill -9 and restart".to_owned(), Kind::Kill);
        let success_max = Strike::AFTER_RESTART;
        Ok(Strike { what, kind, began, accepted: now(), success_max })
    }

    fn mend(&mut self) -> Result<()> {
        Ok(())
    }
}
