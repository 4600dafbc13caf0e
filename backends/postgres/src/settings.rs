//! What one `pg` block may say.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use syntrix_storage_core::{
    Error, HumanDuration, Result, Retention, Secret, SettingsNode, TlsSettings,
};

/// Longest schema name, so that a namespace fits behind it in PostgreSQL's 63 bytes.
const SCHEMA_BYTES_MAX: usize = 30;
const CONNECTIONS_LIMIT: u32 = 1000;
const READ_CONNECTIONS_LIMIT: u32 = 16;

/// Settings of one `pg` block. Unknown keys are rejected.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Settings {
    /// Connection URL or `key=value` text. May carry a password, hence never printed.
    pub(crate) dsn: Secret,
    /// The schema that holds the tables: 1 to 30 of `a-z 0-9 _`. Default: `syntrix_storage`.
    #[serde(default = "schema_default")]
    pub(crate) schema: String,
    /// How the connection is encrypted.
    #[serde(default)]
    pub(crate) tls: TlsSettings,
    /// Whether a host that is not this machine may be reached without TLS. Default: false.
    #[serde(default)]
    pub(crate) allow_plaintext: bool,
    /// Most connections of the pool, 2 to 1000; beside them stand `readConnections` and one that wakes watchers. Default: 10.
    #[serde(default = "pool_connections_max")]
    #[schemars(range(min = 2, max = 1000))]
    pub(crate) pool_connections_max: u32,
    /// Connections that point reads share, 1 to 16. Default: 4.
    #[serde(default = "read_connections")]
    #[schemars(range(min = 1, max = 16))]
    pub(crate) read_connections: u32,
    /// Longest wait for a free connection. Default: `5s`.
    #[serde(default = "acquire_timeout")]
    pub(crate) acquire_timeout: HumanDuration,
    /// Longest time to open a connection. Default: `5s`.
    #[serde(default = "connect_timeout")]
    pub(crate) connect_timeout: HumanDuration,
    /// Longest time of one statement if the caller sets no shorter one; the server itself ends it then. Index builds have no limit. Default: `30s`.
    #[serde(default = "operation_timeout")]
    pub(crate) operation_timeout: HumanDuration,
    /// What stands between this program and the server. Default: `none`.
    #[serde(default)]
    pub(crate) pooler: Pooler,
    /// How long tombstones stay. Default: `30d`.
    #[serde(default = "soft_delete_retention")]
    pub(crate) soft_delete_retention: HumanDuration,
    /// How long the change history stays; at most `softDeleteRetention`. Default: `72h`.
    #[serde(default = "watch_retention")]
    pub(crate) watch_retention: HumanDuration,
}

/// What stands between this program and the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Pooler {
    /// Nothing, or a pooler that gives each client a session of its own.
    #[default]
    None,
    /// A pooler that gives a server connection for one transaction only: no prepared statements, no session settings, and
    /// watchers poll.
    Transaction,
}

fn schema_default() -> String {
    "syntrix_storage".into()
}

fn pool_connections_max() -> u32 {
    10
}

fn read_connections() -> u32 {
    4
}

fn acquire_timeout() -> HumanDuration {
    HumanDuration(Duration::from_secs(5))
}

fn connect_timeout() -> HumanDuration {
    HumanDuration(Duration::from_secs(5))
}

fn operation_timeout() -> HumanDuration {
    HumanDuration(Duration::from_secs(30))
}

fn soft_delete_retention() -> HumanDuration {
    HumanDuration(Retention::default().soft_delete())
}

fn watch_retention() -> HumanDuration {
    HumanDuration(Retention::default().watch())
}

impl Settings {
    /// Reads and checks a block.
    pub(crate) fn parse(block: &SettingsNode) -> Result<Self> {
        let settings: Self = block.decode()?;
        settings.retention()?;
        settings.check_names(block)?;
        settings.check_numbers(block)?;
        Ok(settings)
    }

    pub(crate) fn retention(&self) -> Result<Retention> {
        Retention::new(self.soft_delete_retention.0, self.watch_retention.0)
    }

    /// Identifiers are never taken from data, and those from the configuration have one narrow form.
    fn check_names(&self, block: &SettingsNode) -> Result<()> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let fits = (1..=SCHEMA_BYTES_MAX).contains(&self.schema.len());
        let begins = self.schema.starts_with(|first: char| !first.is_ascii_digit());
        let reserved = self.schema.starts_with("pg_") || self.schema == "information_schema";
        if !fits || !begins || reserved || !self.schema.bytes().all(allowed) {
            let message = "a schema has 1 to 30 characters of a-z, 0-9 and _, begins with no digit and not with pg_";
            return Err(block.invalid("schema", message));
        }
        Ok(())
    }

    fn check_numbers(&self, block: &SettingsNode) -> Result<()> {
        let out_of_range = |key, message| -> Result<(), Error> { Err(block.invalid(key, message)) };
        if !(2..=CONNECTIONS_LIMIT).contains(&self.pool_connections_max) {
            return out_of_range("poolConnectionsMax", "poolConnectionsMax is 2 to 1000");
        }
        if !(1..=READ_CONNECTIONS_LIMIT).contains(&self.read_connections) {
            return out_of_range("readConnections", "readConnections is 1 to 16");
        }
        let longest = Duration::from_secs(24 * 3600);
        for (key, duration) in [
            ("acquireTimeout", self.acquire_timeout.0),
            ("connectTimeout", self.connect_timeout.0),
            ("operationTimeout", self.operation_timeout.0),
        ] {
            if duration.is_zero() || duration > longest {
                return out_of_range(key, "a timeout is longer than nothing and at most a day");
            }
        }
        Ok(())
    }
}
