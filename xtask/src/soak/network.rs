//! Proxies between the processes and the servers.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use syntrix_storage_fault_proxy::{Fault, Proxy, Schedule, Step};
use tokio::runtime::Runtime;

use super::cluster::{Kind, Strike};
use super::timing::now;
use crate::failure::{Context, Result};

/// Where proxies live: a thread of its own, so that they carry on while we wait for something.
#[derive(Debug)]
pub(super) struct Network(Runtime);

impl Network {
    pub(super) fn start() -> Result<Self> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let built = builder.worker_threads(1).enable_all().build();
        built.map(Self).context(|| "starting the proxies' runtime".into())
    }

    /// A proxy before a port of this machine.
    pub(super) fn proxy(&self, port: u16) -> Result<Proxy> {
        let target = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        self.0.block_on(Proxy::start(target)).context(|| "starting a proxy".into())
    }
}

/// Draws the next fault, lets the proxy misbehave for its time and says so.
pub(super) fn misbehave(proxy: &Proxy, schedule: &mut Schedule, success_max: Duration) -> Strike {
    let began = now();
    let Step { fault, lasts } = schedule.draw();
    proxy.set(fault);
    std::thread::sleep(lasts);
    proxy.set(Fault::None);
    let what = format!("{} of {} ms", fault.name(), lasts.as_millis());
    Strike { what, kind: Kind::Fault, began, accepted: now(), success_max }
}
