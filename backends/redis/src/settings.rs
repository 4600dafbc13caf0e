//! What one `redis` block may say.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use syntrix_storage_core::backend::Canary;
use syntrix_storage_core::{HumanDuration, Result, Secret, SettingsNode, TlsSettings};

use crate::address::Target;
use crate::marks::parse_canary;

/// Longest prefix: it stands in every key.
const PREFIX_BYTES_MAX: usize = 64;

/// Longest wait for replicas unless the block says otherwise.
const REPLICA_TIMEOUT: Duration = Duration::from_secs(1);

/// Settings of one `redis` block. Unknown keys are rejected.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Settings {
    /// The server: `host:port`, or a URL `redis://user:password@host:port/db`, `rediss://…` for TLS. For a cluster some of
    /// its nodes, for Sentinel the sentinels, separated by commas.
    pub(crate) addr: Secret,
    /// User of the server's access control list. Default: the one in the URL, or the server's default user.
    #[serde(default)]
    pub(crate) username: Option<String>,
    /// Password. Default: the one in the URL, or none.
    #[serde(default)]
    pub(crate) password: Option<Secret>,
    /// Database number; a cluster has 0 alone. Default: the one in the URL, or 0.
    #[serde(default)]
    pub(crate) db: Option<u16>,
    /// Prefix of all keys, 1 to 64 of `A-Z a-z 0-9 : . _ -`. Default: `syntrix:rev`.
    #[serde(default = "default_prefix")]
    pub(crate) prefix: String,
    /// Id of the store that must be there, as `health` tells it: then nothing else is opened and no new store is made, so
    /// that a server that lost everything is noticed even if no process was running. Default: whatever is there.
    #[serde(default)]
    pub(crate) store_id: Option<String>,
    /// Whether the server is a Redis Cluster. Default: false.
    #[serde(default)]
    pub(crate) cluster: bool,
    /// Finds the server through Redis Sentinel. Default: `addr` is the server itself.
    #[serde(default)]
    pub(crate) sentinel: Option<SentinelSettings>,
    /// How connections are encrypted.
    #[serde(default)]
    pub(crate) tls: TlsSettings,
    /// Longest wait for an answer when the caller sets no deadline. Default: `2s`.
    #[serde(default = "default_timeout")]
    pub(crate) operation_timeout: HumanDuration,
    /// Longest wait for a new connection, its checks included. Default: `2s`.
    #[serde(default = "default_timeout")]
    pub(crate) connect_timeout: HumanDuration,
    /// How many replicas must confirm a revocation (`WAIT`) before it is acknowledged; with Sentinel all those that it might
    /// promote must, and at least so many. Default: 1 with `sentinel` or `cluster`, else 0.
    #[serde(default)]
    pub(crate) min_replicas: Option<u16>,
    /// Longest wait for replicas to confirm; after it the revocation is `unavailable`, and to be repeated. At most
    /// half of `operationTimeout`: who comes while others wait waits behind them. Default: `1s`, or that half if it is less.
    #[serde(default)]
    pub(crate) replica_timeout: Option<HumanDuration>,
    /// Whether a server that is not on this machine may be spoken to without TLS. Default: false.
    #[serde(default)]
    pub(crate) allow_plaintext: bool,
    /// Whether a server may be used that evicts keys when memory is full, so that revoked tokens become valid again.
    /// Default: false.
    #[serde(default)]
    pub(crate) accept_eviction: bool,
    /// Whether a server may be used that keeps no append-only file, so that revoked tokens become valid again when it
    /// restarts; snapshots alone lose the newest ones. Default: false.
    #[serde(default)]
    pub(crate) accept_volatile: bool,
}

/// How to find the primary through Redis Sentinel.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SentinelSettings {
    /// The name under which the sentinels know the primary.
    pub(crate) master: String,
    /// User for the sentinels themselves. Default: none.
    #[serde(default)]
    pub(crate) username: Option<String>,
    /// Password for the sentinels themselves. Default: none.
    #[serde(default)]
    pub(crate) password: Option<Secret>,
}

fn default_prefix() -> String {
    "syntrix:rev".to_owned()
}

fn default_timeout() -> HumanDuration {
    HumanDuration(Duration::from_secs(2))
}

impl Settings {
    /// Reads and checks a block.
    pub(crate) fn parse(block: &SettingsNode) -> Result<(Self, Target)> {
        let settings: Self = block.decode()?;
        settings.check(block)?;
        let target = Target::of(&settings, block)?;
        Ok((settings, target))
    }

    /// The id that is asked for; the inner `None` is one that cannot be.
    #[expect(clippy::option_option, reason = "not asked for, and asked for wrongly")]
    pub(crate) fn store_id(&self) -> Option<Option<Canary>> {
        self.store_id.as_ref().map(|id| parse_canary(Some(id.as_bytes())))
    }

    /// How many replicas must confirm. Where another server may take over, at least one, unless the operator says otherwise.
    pub(crate) fn replicas_min(&self) -> usize {
        let safe = u16::from(self.sentinel.is_some() || self.cluster);
        self.min_replicas.unwrap_or(safe).into()
    }

    /// Longest wait for them.
    pub(crate) fn replica_wait(&self) -> Duration {
        let asked = self.replica_timeout.map_or(REPLICA_TIMEOUT, |asked| asked.0);
        asked.min(self.operation_timeout.0 / 2)
    }

    fn check(&self, block: &SettingsNode) -> Result<()> {
        let fault = if !is_prefix(&self.prefix) {
            Some(("prefix", "a prefix has 1 to 64 characters of A-Z a-z 0-9 : . _ -"))
        } else if self.store_id().is_some_and(|id| id.is_none()) {
            Some(("storeId", "a store id has 32 hexadecimal digits; `health` tells it"))
        } else if self.operation_timeout.0.is_zero() {
            Some(("operationTimeout", "operationTimeout is more than nothing"))
        } else if self.connect_timeout.0.is_zero() {
            Some(("connectTimeout", "connectTimeout is more than nothing"))
        } else if self.replica_timeout.is_some_and(|wait| wait.0.as_millis() == 0) {
            Some(("replicaTimeout", "replicaTimeout is at least 1ms"))
        } else if self.replica_timeout.is_some_and(|wait| wait.0 > self.operation_timeout.0 / 2) {
            let message = "replicaTimeout is at most half of operationTimeout, or a caller is told of a timeout and not \
                           that replicas are missing; make operationTimeout longer or replicaTimeout shorter";
            Some(("replicaTimeout", message))
        } else if self.cluster && self.sentinel.is_some() {
            Some((
                "sentinel",
                "a cluster finds its primaries itself; leave out sentinel or cluster",
            ))
        } else {
            None
        };
        fault.map_or(Ok(()), |(key, message)| Err(block.invalid(key, message)))
    }
}

/// No braces: what stands between them decides where a cluster puts a key.
fn is_prefix(prefix: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":._-".contains(&byte);
    (1..=PREFIX_BYTES_MAX).contains(&prefix.len()) && prefix.bytes().all(allowed)
}

#[cfg(test)]
pub(crate) mod tests {
    use syntrix_storage_core::{ErrorKind, Location, SettingsValue};

    use super::*;

    /// A block with these texts; `true` is a truth value.
    pub(crate) fn block(entries: &[(&str, &str)]) -> SettingsNode {
        let node = |text: &str| match text {
            "true" => SettingsValue::Bool(true),
            number if number.parse::<i64>().is_ok() => {
                SettingsValue::Integer(number.parse().unwrap())
            }
            text => SettingsValue::Text(text.to_owned()),
        };
        let entries = entries.iter().map(|(key, text)| {
            let value = SettingsNode::new(node(text), Location::new(2, 9));
            ((*key).to_owned(), Location::new(2, 3), value)
        });
        SettingsNode::new(SettingsValue::Map(entries.collect()), Location::new(1, 1))
    }

    fn refused(entries: &[(&str, &str)]) -> String {
        let error = Settings::parse(&block(entries)).expect_err("a bad block");
        assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
        error.fact("key").unwrap_or_default().to_owned()
    }

    #[test]
    fn the_block_of_the_requirement_is_taken_as_written() {
        let entries = [("addr", "localhost:6379"), ("db", "0"), ("prefix", "syntrix:rev")];
        let (settings, _) = Settings::parse(&block(&entries)).unwrap();
        assert_eq!((settings.prefix.as_str(), settings.db), ("syntrix:rev", Some(0)));
        assert_eq!(settings.operation_timeout.0, Duration::from_secs(2));
        assert!(!settings.accept_eviction && !settings.accept_volatile);
    }

    #[test]
    fn what_would_move_keys_or_never_end_is_refused_by_key() {
        let addr = ("addr", "localhost:6379");
        for prefix in ["", "a{b}", "a*", "ä", &"x".repeat(65)] {
            assert_eq!(refused(&[addr, ("prefix", prefix)]), "prefix");
        }
        assert_eq!(refused(&[addr, ("storeId", "abc")]), "storeId");
        assert_eq!(refused(&[addr, ("operationTimeout", "0s")]), "operationTimeout");
        assert_eq!(refused(&[addr, ("connectTimeout", "0ms")]), "connectTimeout");
        assert_eq!(refused(&[addr, ("replicaTimeout", "0s")]), "replicaTimeout");
        assert_eq!(refused(&[addr, ("replicaTimeout", "1001ms")]), "replicaTimeout");
        assert_eq!(refused(&[addr, ("minReplicas", "-1")]), "minReplicas");
        assert_eq!(refused(&[addr, ("pasword", "x")]), "pasword");
        assert_eq!(refused(&[("db", "0")]), "addr");
    }

    #[test]
    fn neither_debug_nor_an_error_shows_a_password() {
        let url = "redis://me:canary-password@localhost:6379/0";
        let parsed = Settings::parse(&block(&[("addr", url), ("password", "canary-password")]));
        assert!(!format!("{:?}", parsed.unwrap()).contains("canary-password"));
        for bad in
            ["redis://me:canary-password@", "http://me:canary-password@h", "me:canary-password@h"]
        {
            let error = Settings::parse(&block(&[("addr", bad)])).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("canary-password"), "{bad}");
        }
    }
}
