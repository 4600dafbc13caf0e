//! What a server says of itself, and whether revoked tokens are safe with it.

use std::collections::HashMap;

use syntrix_storage_core::{Error, ErrorKind, Result, Retry};

use crate::settings::Settings;

/// Since when a replica may have been silent that counts as there; the server's own default (`min-replicas-max-lag`).
const REPLICA_LAG_MAX_SECONDS: u32 = 10;

/// The answer to `INFO`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts(HashMap<String, String>);

/// What the operator said is meant, and what kind of server was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Declared {
    pub(crate) eviction: bool,
    pub(crate) volatile: bool,
    pub(crate) cluster: bool,
}

impl Declared {
    pub(crate) fn of(settings: &Settings) -> Self {
        Self {
            eviction: settings.accept_eviction,
            volatile: settings.accept_volatile,
            cluster: settings.cluster,
        }
    }
}

impl Facts {
    pub(crate) fn parse(text: &str) -> Self {
        let pairs = text.lines().filter_map(|line| line.trim_end().split_once(':'));
        Self(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    pub(crate) fn is(&self, key: &str, value: &str) -> bool {
        self.get(key) == Some(value)
    }

    /// Whether every write goes to an append-only file. Snapshots do not count: an old one would bring the marks back
    /// without the newest revocations.
    pub(crate) fn has_append_only_file(&self) -> bool {
        self.is("aof_enabled", "1")
    }

    pub(crate) fn evicts(&self) -> bool {
        !self.is("maxmemory_policy", "noeviction")
    }

    /// Whether the server takes writes and can be believed about reads.
    pub(crate) fn is_primary(&self) -> bool {
        self.is("role", "master")
    }

    /// How many keys it threw away since it started.
    pub(crate) fn evicted_keys(&self) -> u64 {
        self.get("evicted_keys").and_then(|number| number.parse().ok()).unwrap_or(0)
    }

    /// How many replicas have been heard of lately.
    pub(crate) fn replicas_in_touch(&self) -> usize {
        let replicas = self.0.iter().filter(|(key, _)| is_replica(key));
        replicas.filter(|(_, text)| is_in_touch(text)).count()
    }

    /// Whether it refuses writes while too few replicas are in touch.
    pub(crate) fn has_replicas_min(&self) -> bool {
        self.get("min_slaves_good_slaves").is_some()
    }

    /// Refuses a server with which revoked tokens would become valid again.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] for one that is not ready or no primary, which may change; [`ErrorKind::ConfigInvalid`]
    /// for the rest.
    pub(crate) fn check(&self, declared: Declared) -> Result<()> {
        if self.is("loading", "1") {
            return Err(unready("the server is loading its data"));
        }
        if self.release() < Some((7, 0)) {
            return Err(refused("this backend needs Redis 7.0 or later"));
        }
        if !self.is_primary() {
            return Err(unready(
                "the server is a replica, which may not know the newest revocations",
            ));
        }
        if self.is("cluster_enabled", "1") != declared.cluster {
            return Err(refused(match declared.cluster {
                true => "the server is no cluster: leave out `cluster`",
                false => "the server is a node of a cluster: set `cluster: true`",
            }));
        }
        if self.evicts() && !declared.eviction {
            return Err(refused(
                "the server evicts keys when its memory is full, which makes revoked tokens valid again: \
                 set maxmemory-policy noeviction, or acceptEviction here",
            ));
        }
        if !self.has_append_only_file() && !declared.volatile {
            return Err(refused(
                "the server keeps no append-only file, so a restart makes revoked tokens valid again \
                 (snapshots lose the newest): set appendonly yes, or acceptVolatile here",
            ));
        }
        Ok(())
    }

    fn release(&self) -> Option<(u32, u32)> {
        let mut numbers = self.get("redis_version")?.split('.').map_while(|part| part.parse().ok());
        Some((numbers.next()?, numbers.next().unwrap_or(0)))
    }
}

/// `slave0`, `slave1` and so on.
fn is_replica(key: &str) -> bool {
    let number = key.strip_prefix("slave").unwrap_or_default();
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// `ip=…,port=…,state=online,offset=…,lag=0`
fn is_in_touch(replica: &str) -> bool {
    let mut fields = replica.split(',').filter_map(|field| field.split_once('='));
    let online = fields.clone().any(|field| field == ("state", "online"));
    let lag = fields.find(|(key, _)| *key == "lag").and_then(|(_, seconds)| seconds.parse().ok());
    online && lag.is_some_and(|seconds: u32| seconds <= REPLICA_LAG_MAX_SECONDS)
}

fn unready(message: &'static str) -> Error {
    Error::new(ErrorKind::Unavailable, "").with_retry(Retry::Safe).with_message(message)
}

fn refused(message: &'static str) -> Error {
    Error::new(ErrorKind::ConfigInvalid, "").with_message(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAFE: &str = "# Server\r\nredis_version:7.0.15\r\nloading:0\r\naof_enabled:1\r\n\
        maxmemory_policy:noeviction\r\nrole:master\r\ncluster_enabled:0\r\nevicted_keys:3\r\n";
    const STRICT: Declared = Declared { eviction: false, volatile: false, cluster: false };

    fn check(from: &str, to: &str, declared: Declared) -> Option<String> {
        let facts = Facts::parse(&SAFE.replace(from, to));
        facts.check(declared).err().map(|error| format!("{}: {error}", error.kind().as_str()))
    }

    #[test]
    fn a_safe_server_is_taken() {
        assert_eq!(check("", "", STRICT), None);
        assert_eq!(Facts::parse(SAFE).evicted_keys(), 3);
    }

    #[test]
    fn a_replica_counts_while_it_is_heard_of() {
        let text = "connected_slaves:4\r\nslave0:ip=::1,port=1,state=online,offset=9,lag=0\r\n\
            slave1:ip=::1,port=2,state=online,offset=9,lag=60\r\n\
            slave2:ip=::1,port=3,state=wait_bgsave,offset=0,lag=0\r\n\
            slave10:ip=::1,port=4,state=online,offset=9,lag=10\r\nslaves:state=online,lag=0\r\n";
        assert_eq!(Facts::parse(text).replicas_in_touch(), 2);
        assert!(!Facts::parse(text).has_replicas_min());
        assert!(Facts::parse("min_slaves_good_slaves:0").has_replicas_min());
    }

    #[test]
    fn every_policy_that_evicts_is_refused_unless_declared() {
        for policy in ["allkeys-lru", "volatile-ttl", "volatile-lru", "allkeys-random"] {
            let text = check("noeviction", policy, STRICT).expect("refused");
            assert!(text.contains("acceptEviction"), "{text}");
            assert_eq!(check("noeviction", policy, Declared { eviction: true, ..STRICT }), None);
        }
        // A server that does not say is not believed to be safe.
        assert!(check("maxmemory_policy:noeviction\r\n", "", STRICT).is_some());
    }

    #[test]
    fn no_append_only_file_is_refused_unless_declared() {
        let text = check("aof_enabled:1", "aof_enabled:0", STRICT).expect("refused");
        assert!(text.starts_with("config_invalid") && text.contains("acceptVolatile"), "{text}");
        let declared = Declared { volatile: true, ..STRICT };
        assert_eq!(check("aof_enabled:1", "aof_enabled:0", declared), None);
    }

    #[test]
    fn a_replica_and_one_that_loads_are_not_believed_for_now() {
        for (from, to) in [("role:master", "role:slave"), ("loading:0", "loading:1")] {
            let text = check(from, to, STRICT).expect("refused");
            assert!(text.starts_with("unavailable"), "{text}");
        }
    }

    #[test]
    fn an_old_release_and_the_wrong_kind_of_server_are_refused() {
        assert!(check("7.0.15", "6.2.14", STRICT).unwrap().contains("7.0"));
        assert!(
            check("cluster_enabled:0", "cluster_enabled:1", STRICT)
                .unwrap()
                .contains("cluster: true")
        );
        assert!(
            check("", "", Declared { cluster: true, ..STRICT }).unwrap().contains("no cluster")
        );
    }
}
