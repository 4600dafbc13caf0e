//! Where the server is and who we are there, from `addr` and what stands beside it.

use redis::{ConnectionAddr, IntoConnectionInfo};
use syntrix_storage_core::{AddressTls, Result, Secret, SettingsNode, Transport};

use crate::settings::Settings;

/// The port when an address names none.
const DEFAULT_PORT: u16 = 6379;

/// A fault in the settings: the key, and what is wrong, without the value.
type Fault = (&'static str, &'static str);

/// What to connect to.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The server, some nodes of the cluster, or the sentinels.
    pub(crate) nodes: Vec<Node>,
    /// How connections are made.
    pub(crate) transport: Transport,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) db: u16,
}

/// One address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// One part of `addr`.
#[derive(Debug)]
struct Part {
    node: Node,
    tls: AddressTls,
    username: Option<String>,
    password: Option<Secret>,
    db: Option<u16>,
}

impl Target {
    /// Reads `addr`. What the block says beside it wins over what a URL says.
    pub(crate) fn of(settings: &Settings, block: &SettingsNode) -> Result<Self> {
        let invalid = |(key, fault): Fault| block.invalid(key, fault);
        let parts = Part::all(settings).map_err(|fault| invalid(("addr", fault)))?;
        let hosts = parts.iter().map(|part| part.node.host.as_str());
        let said = encryption_said(&parts);
        let transport = settings.tls.transport(block, said, hosts, settings.allow_plaintext)?;
        Self::join(settings, parts, transport).map_err(invalid)
    }

    fn join(settings: &Settings, parts: Vec<Part>, transport: Transport) -> Result<Self, Fault> {
        let said = parts.iter().find_map(|part| part.db);
        if settings.db.is_some() && said.is_some() && settings.db != said {
            return Err(("db", "db and the URL in addr name different databases"));
        }
        let db = settings.db.or(said).unwrap_or(0);
        if settings.cluster && db != 0 {
            return Err(("db", "a cluster has the database 0 alone"));
        }
        let username = parts.iter().find_map(|part| part.username.clone());
        let password = parts.iter().find_map(|part| part.password.clone());
        Ok(Self {
            nodes: parts.into_iter().map(|part| part.node).collect(),
            transport,
            username: settings.username.clone().or(username),
            password: settings.password.clone().or(password),
            db,
        })
    }

    /// Host and port of all nodes, for people.
    pub(crate) fn in_words(&self) -> String {
        let words = self.nodes.iter().map(|node| format!("{}:{}", node.host, node.port));
        words.collect::<Vec<_>>().join(",")
    }
}

impl Node {
    /// The driver's form.
    pub(crate) fn address(&self, tls: bool) -> ConnectionAddr {
        let (host, port) = (self.host.clone(), self.port);
        match tls {
            true => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
            false => ConnectionAddr::Tcp(host, port),
        }
    }
}

/// One `rediss://` is enough for all; `redis://` asks for none.
fn encryption_said(parts: &[Part]) -> AddressTls {
    let said = |wanted| parts.iter().any(|part| part.tls == wanted);
    if said(AddressTls::Required) {
        AddressTls::Required
    } else if said(AddressTls::Disabled) {
        AddressTls::Disabled
    } else {
        AddressTls::Unsaid
    }
}

impl Part {
    fn all(settings: &Settings) -> Result<Vec<Self>, &'static str> {
        let text = settings.addr.expose();
        let several = settings.cluster || settings.sentinel.is_some();
        // A password may have a comma in it; where there may be several addresses it is written %2C.
        let parts = if several { text.split(',').collect() } else { vec![text] };
        parts.into_iter().map(|part| Self::parse(part.trim())).collect()
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        match text.split_once("://") {
            Some((scheme, _)) => Self::from_url(scheme, text),
            None => Self::from_host(text),
        }
    }

    fn from_url(scheme: &str, text: &str) -> Result<Self, &'static str> {
        if !["redis", "rediss"].contains(&scheme) {
            return Err("addr is host:port, redis://… or rediss://…");
        }
        // The only fragment the driver knows turns the check of the certificate off.
        if text.contains('#') {
            return Err("addr must not have a fragment (#…)");
        }
        let info = text.into_connection_info().map_err(|_| "addr is no valid URL")?;
        let settings = info.redis_settings();
        let (host, port) = match info.addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                (host.clone(), *port)
            }
            _ => return Err("addr names a host"),
        };
        let db = u16::try_from(settings.db()).map_err(|_| "addr names no valid database")?;
        Ok(Self {
            node: Node { host, port },
            tls: if scheme == "rediss" { AddressTls::Required } else { AddressTls::Disabled },
            username: settings.username().map(str::to_owned),
            password: settings.password().map(Secret::new),
            // The driver does not tell `/0` from nothing; both are 0.
            db: (db != 0).then_some(db),
        })
    }

    fn from_host(text: &str) -> Result<Self, &'static str> {
        let (host, port) = split_port(text)?;
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
        if host.is_empty() || !host.bytes().all(is_name) {
            return Err("addr is host:port, redis://… or rediss://…");
        }
        let node = Node { host: host.to_owned(), port };
        Ok(Self { node, tls: AddressTls::Unsaid, username: None, password: None, db: None })
    }
}

/// `host`, `host:port`, `[::1]:port`.
fn split_port(text: &str) -> Result<(&str, u16), &'static str> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => match text.rsplit_once(':') {
            Some((host, _)) if host.contains(':') => {
                return Err("write an IPv6 address as [::1]:6379");
            }
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    match port.map(str::parse) {
        None => Ok((host, DEFAULT_PORT)),
        Some(Ok(port)) if port > 0 => Ok((host, port)),
        Some(_) => Err("the port in addr is a number from 1 to 65535"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::tests::block;

    fn target(entries: &[(&str, &str)]) -> Result<Target, String> {
        Settings::parse(&block(entries)).map(|(_, target)| target).map_err(|e| e.to_string())
    }

    #[test]
    fn a_bare_address_and_a_url_name_the_same_server() {
        for addr in ["localhost:6380", "redis://localhost:6380", "redis://localhost:6380/0"] {
            let target = target(&[("addr", addr)]).unwrap();
            assert_eq!(target.nodes, [Node { host: "localhost".into(), port: 6380 }], "{addr}");
            assert!(
                !target.transport.is_encrypted() && target.db == 0 && target.password.is_none()
            );
        }
        assert_eq!(target(&[("addr", "127.0.0.1")]).unwrap().nodes[0].port, 6379);
        assert_eq!(target(&[("addr", "[::1]:7")]).unwrap().in_words(), "::1:7");
    }

    #[test]
    fn a_url_brings_user_password_and_database() {
        let target = target(&[("addr", "redis://me:p%2Cw@localhost/3")]).unwrap();
        assert_eq!((target.username.as_deref(), target.db), (Some("me"), 3));
        assert_eq!(target.password.unwrap().expose(), "p,w");
    }

    #[test]
    fn the_block_wins_over_the_url_but_not_over_another_database() {
        let url = ("addr", "redis://me:old@localhost/3");
        let target_ = target(&[url, ("password", "new"), ("username", "you")]).unwrap();
        assert_eq!(target_.password.unwrap().expose(), "new");
        assert_eq!(target_.username.as_deref(), Some("you"));
        assert!(target(&[url, ("db", "4")]).unwrap_err().contains("different databases"));
    }

    #[test]
    fn plaintext_leaves_this_machine_only_when_told_to() {
        let reached = |addr, more: &[(&str, &str)]| {
            target(&[&[("addr", addr)], more].concat()).map(|target| target.transport)
        };
        let allowed = [("allowPlaintext", "true")];
        let refused = reached("redis://redis.example.com:6379", &[]).unwrap_err();
        assert!(refused.contains("allowPlaintext"), "{refused}");
        assert_eq!(reached("redis://redis.example.com", &allowed), Ok(Transport::Exposed));
        for addr in ["redis.example.com:6379", "rediss://redis.example.com"] {
            assert_eq!(reached(addr, &[]), Ok(Transport::Encrypted), "{addr}");
        }
        for addr in ["127.0.0.1:1", "[::1]:1", "redis://localhost"] {
            assert_eq!(reached(addr, &[]), Ok(Transport::Local), "{addr}");
        }
    }

    #[test]
    fn a_cluster_has_several_addresses_and_one_database() {
        let nodes = ("addr", "localhost:1, localhost:2");
        assert_eq!(
            target(&[nodes, ("cluster", "true")]).unwrap().in_words(),
            "localhost:1,localhost:2"
        );
        assert!(target(&[nodes, ("cluster", "true"), ("db", "1")]).is_err());
        assert!(target(&[nodes]).is_err());
    }

    #[test]
    fn other_schemes_and_unchecked_certificates_are_refused() {
        for addr in ["unix:///tmp/x", "http://h", "rediss://localhost#insecure", "h:0", "::1:7", ""]
        {
            assert!(target(&[("addr", addr)]).is_err(), "{addr}");
        }
    }
}
