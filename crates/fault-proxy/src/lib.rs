//! A TCP proxy on loopback that can be told to misbehave.
//!
//! Tests put a [`Proxy`] between a client and a real server and switch its [`Fault`] while
//! both are at work. It knows no protocol: it carries bytes, late, or not, or one way only.
//! A [`Schedule`] draws faults from a seed, so that a run can be made again.
//!
//! It listens on loopback and talks to loopback only.

mod carry;
mod fault;
mod schedule;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use fault::Fault;
pub use schedule::{Schedule, Step};

/// A listening proxy; dropped, it is gone with all its connections.
///
/// # Examples
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// use syntrix_storage_fault_proxy::{Fault, Proxy};
///
/// let proxy = Proxy::start(([127, 0, 0, 1], 5432).into()).await?;
/// println!("connect to {}", proxy.address());
/// proxy.set(Fault::BlackHole);
/// proxy.set(Fault::None);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    fault: watch::Sender<Fault>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port and carries what comes to `target`, which need not be there yet.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if `target` is another machine; else what listening says.
    pub async fn start(target: SocketAddr) -> io::Result<Self> {
        Self::balance(vec![target]).await
    }

    /// As [`Proxy::start`], as a balancer does it: each new connection goes to the next one of `targets`.
    ///
    /// # Errors
    ///
    /// As [`Proxy::start`], and `InvalidInput` if there is no target.
    pub async fn balance(targets: Vec<SocketAddr>) -> io::Result<Self> {
        let refused = |text| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        if targets.is_empty() {
            return refused("a proxy needs a target".to_owned());
        }
        if let Some(far) = targets.iter().find(|target| !target.ip().is_loopback()) {
            return refused(format!(
                "{far} is not on loopback, and a fault proxy goes nowhere else"
            ));
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (fault, faults) = watch::channel(Fault::None);
        let accepting = tokio::spawn(carry::accept(listener, targets, faults));
        Ok(Self { address, fault, accepting })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on, for open connections and new ones.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Connections end because the sender of faults is gone.
        self.accepting.abort();
    }
}
