//! Connections: one driver client per distinct server and use, shared by every store of this process that needs it.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use mongodb::Client;
use mongodb::options::{
    Acknowledgment, ClientOptions, ConnectionString, DriverInfo, ReadConcern, ReadPreference,
    SelectionCriteria, Tls, WriteConcern,
};
use syntrix_storage_core::backend::Access;
use syntrix_storage_core::{Result, Transport};

use crate::error::from_driver;
use crate::settings::Settings;

/// A client belongs to the runtime that its background work runs on.
type PoolKey = (tokio::runtime::Id, String);

static POOLS: LazyLock<Mutex<HashMap<PoolKey, Pool>>> = LazyLock::new(Mutex::default);

struct Pool {
    client: Client,
    leases: usize,
}

/// A hold on the shared connections. They close with the last one.
pub(crate) struct Connections {
    key: PoolKey,
    client: Mutex<Option<Client>>,
    /// Whether reads go to secondaries.
    pub(crate) is_replica: bool,
    /// Whether the uri names the one member that is spoken to, under a name that the set may not know.
    pub(crate) is_direct: bool,
}

impl Connections {
    /// Shares the open connections to this server, or prepares new ones. Nothing is sent yet.
    ///
    /// Files that the URI names are read; relative ones in `data_dir`.
    pub(crate) async fn open(settings: &Settings, data_dir: &Path, access: Access) -> Result<Self> {
        let address = settings.address()?;
        if settings.transport(&address)? == Transport::Exposed {
            tracing::warn!("no TLS to MongoDB on another machine, as allowPlaintext says");
        }
        let mut server = format!("{access:?} {}", fingerprint(settings));
        if address.tls.as_ref().is_some_and(has_relative_files) {
            server += &data_dir.to_string_lossy();
        }
        let is_replica = access == Access::Replica && names_secondaries(&address);
        let is_direct = address.direct_connection == Some(true);
        let key = (tokio::runtime::Handle::current().id(), server);
        if let Some(client) = share(&key) {
            return Ok(Self { key, client: Mutex::new(Some(client)), is_replica, is_direct });
        }
        let options = options(settings, address, data_dir, is_replica).await?;
        let client = Client::with_options(options).map_err(|error| from_driver(&error))?;
        let client = keep(&key, client);
        Ok(Self { key, client: Mutex::new(Some(client)), is_replica, is_direct })
    }

    /// The driver's client; `None` once closed.
    pub(crate) fn client(&self) -> Option<Client> {
        lock(&self.client).clone()
    }

    /// Lets go; the last one closes every connection and waits for it.
    pub(crate) async fn close(&self) {
        let Some(client) = lock(&self.client).take() else { return };
        drop(client);
        if let Some(client) = leave(&self.key) {
            client.shutdown().immediate(true).await;
        }
    }
}

impl fmt::Debug for Connections {
    /// The driver's own form names hosts and options; nobody needs them here.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Connections").finish_non_exhaustive()
    }
}

/// A handle that is dropped without close keeps nobody else's connections open.
impl Drop for Connections {
    fn drop(&mut self) {
        if lock(&self.client).take().is_some() {
            drop(leave(&self.key));
        }
    }
}

fn share(key: &PoolKey) -> Option<Client> {
    let mut pools = lock(&POOLS);
    let pool = pools.get_mut(key)?;
    pool.leases += 1;
    Some(pool.client.clone())
}

/// Two that opened at once use the connections of the first.
fn keep(key: &PoolKey, client: Client) -> Client {
    let mut pools = lock(&POOLS);
    let pool = pools.entry(key.clone()).or_insert(Pool { client, leases: 0 });
    pool.leases += 1;
    pool.client.clone()
}

/// Counts one out; gives the client to whoever was the last.
fn leave(key: &PoolKey) -> Option<Client> {
    let mut pools = lock(&POOLS);
    let pool = pools.get_mut(key)?;
    pool.leases -= 1;
    if pool.leases > 0 {
        return None;
    }
    pools.remove(key).map(|pool| pool.client)
}

/// What makes two blocks use one set of connections. A digest, because a URI may carry a password.
pub(crate) fn fingerprint(settings: &Settings) -> String {
    let Settings { uri, pool_connections_max, server_selection_timeout, connect_timeout, .. } =
        settings;
    let parts = format!(
        "{} {pool_connections_max} {server_selection_timeout} {connect_timeout}",
        uri.expose()
    );
    blake3::hash(parts.as_bytes()).to_hex()[..32].to_owned()
}

/// Acknowledged means: in the journal of a majority. Read means: confirmed by a majority, from the primary.
async fn options(
    settings: &Settings,
    address: ConnectionString,
    data_dir: &Path,
    is_replica: bool,
) -> Result<ClientOptions> {
    let mut options = ClientOptions::parse(address).await.map_err(|error| from_driver(&error))?;
    options.tls = options.tls.map(|tls| within(tls, data_dir));
    options.app_name.get_or_insert_with(|| "syntrix-storage".to_owned());
    options.driver_info = Some(DriverInfo::builder().name("syntrix-storage").build());
    options.max_pool_size.get_or_insert(settings.pool_connections_max);
    options.server_selection_timeout.get_or_insert(settings.server_selection_timeout.0);
    options.connect_timeout.get_or_insert(settings.connect_timeout.0);
    options.max_connecting.get_or_insert(8);
    options.heartbeat_freq.get_or_insert(Duration::from_secs(2));
    // What the uri says of these would change answers.
    options.retry_reads = Some(true);
    options.retry_writes = Some(true);
    options.read_concern = Some(ReadConcern::majority());
    options.write_concern =
        Some(WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build());
    if !is_replica {
        options.selection_criteria =
            Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
    }
    Ok(options)
}

/// Whether the uri asks for reads by others than the primary.
fn names_secondaries(address: &ConnectionString) -> bool {
    address.read_preference.as_ref().is_some_and(|preference| {
        !matches!(preference, ReadPreference::Primary | ReadPreference::PrimaryPreferred { .. })
    })
}

fn has_relative_files(tls: &Tls) -> bool {
    let Tls::Enabled(options) = tls else { return false };
    let files = [&options.ca_file_path, &options.cert_key_file_path];
    files.into_iter().flatten().any(|file| file.is_relative())
}

/// The same files, with those that are relative inside `data_dir`.
fn within(tls: Tls, data_dir: &Path) -> Tls {
    let Tls::Enabled(mut options) = tls else { return tls };
    let placed = |file: PathBuf| data_dir.join(file);
    options.ca_file_path = options.ca_file_path.map(placed);
    options.cert_key_file_path = options.cert_key_file_path.map(placed);
    Tls::Enabled(options)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use mongodb::options::TlsOptions;

    use super::*;

    #[test]
    fn relative_files_lie_in_the_data_directory() {
        let mut files = TlsOptions::default();
        files.ca_file_path = Some("ca.pem".into());
        files.cert_key_file_path = Some("/etc/ssl/me.pem".into());
        let tls = Tls::Enabled(files);
        assert!(has_relative_files(&tls));
        let Tls::Enabled(placed) = within(tls, Path::new("/data")) else { panic!("TLS is off") };
        assert_eq!(placed.ca_file_path.as_deref(), Some(Path::new("/data/ca.pem")));
        assert_eq!(placed.cert_key_file_path.as_deref(), Some(Path::new("/etc/ssl/me.pem")));
        assert!(!has_relative_files(&Tls::Enabled(placed)));
    }
}
