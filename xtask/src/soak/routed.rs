//! Documents that go to two databases: a primary with what it goes through, and a shadow that suffers on its own meanwhile.

use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use super::cluster::{Cluster, Strike};
use super::network::Network;
use super::torment::Torment;
use super::{mongo, open_to_all, postgres};
use crate::failure::{Context, Result};
use crate::servers::{self, Kind};

/// What a shadow is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Shadow {
    /// A file beside the journals, to which nothing happens
    Sqlite,
    /// Servers of its own, as a primary has them, struck as often
    Postgres,
    /// A replica set of its own, struck as often
    Mongodb,
}

impl Shadow {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::Mongodb => "mongodb",
        }
    }

    /// Whether something can happen to it.
    pub(super) fn has_server(self) -> bool {
        self != Self::Sqlite
    }
}

/// A primary with a shadow.
pub(super) struct Routed {
    primary: Box<dyn Cluster>,
    /// The shadow in a configuration.
    block: String,
    torment: Option<Torment>,
}

impl Routed {
    /// Starts the shadow, which suffers from now on; `lasts` is for how long it will.
    pub(super) fn start(
        primary: Box<dyn Cluster>,
        shadow: Shadow,
        network: &Network,
        folder: &Path,
        (seed, lasts): (u64, Duration),
    ) -> Result<Self> {
        let folder = folder.join("shadow");
        std::fs::create_dir_all(&folder).context(|| "making the shadow's folder".into())?;
        open_to_all(&folder)?;
        // Else both sides would draw the same faults at the same time.
        let seed = !seed;
        let (block, servers): (_, Option<Box<dyn Cluster>>) = match shadow {
            Shadow::Sqlite => ("{kind: sqlite, path: shadow.db}".to_owned(), None),
            Shadow::Postgres => {
                let pair = postgres::Pair::start(network, &folder, seed)?;
                (servers::block_in_line(Kind::Pg, &pair.url()), Some(Box::new(pair)))
            }
            Shadow::Mongodb => {
                let set = mongo::Set::start(network, &folder, seed)?;
                (servers::block_in_line(Kind::Mongo, &set.url()), Some(Box::new(set)))
            }
        };
        let torment = servers.map(|servers| Torment::start(servers, seed, lasts));
        Ok(Self { primary, block, torment })
    }
}

impl Cluster for Routed {
    fn configuration(&self) -> String {
        const SECTION: &str = "  document:\n";
        let block = format!("{SECTION}    other: {}\n", self.block);
        self.primary.configuration().replacen(SECTION, &block, 1)
            + "  routing:\n    document: {strategy: dual-write, shadow: other}\n"
    }

    fn shadow_alone(&self) -> Option<String> {
        let block = &self.block;
        Some(format!("storage:\n  document:\n    backend: other\n    other: {block}\n"))
    }

    fn strike(&mut self, random: &mut fastrand::Rng) -> Result<Strike> {
        self.primary.strike(random)
    }

    fn mend(&mut self) -> Result<()> {
        self.primary.mend()
    }

    fn end_shadow_torment(&mut self) -> Result<Vec<Strike>> {
        self.torment.as_mut().map_or(Ok(Vec::new()), Torment::end)
    }

    /// A server takes longer to feel something than a process takes to die.
    fn calm_ms(&self) -> RangeInclusive<u64> {
        match self.kills_writers() && self.torment.is_some() {
            true => 300..=1500,
            false => self.primary.calm_ms(),
        }
    }

    fn kills_writers(&self) -> bool {
        self.primary.kills_writers()
    }

    /// A file outruns a server behind it by far, so that there would be nothing but a backlog.
    fn hurries_writers(&self) -> bool {
        self.primary.hurries_writers() && self.torment.is_none()
    }
}
