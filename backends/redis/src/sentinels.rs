//! What the sentinels know: which server is the primary, and which replicas they might put in its place.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use redis::{
    Client, ErrorKind as Kind, IntoConnectionInfo, RedisConnectionInfo, RedisError, RedisResult,
    TlsCertificates,
};
use tokio::time::{Instant, timeout_at};

use crate::address::{Node, Target};
use crate::route::server;
use crate::settings::SentinelSettings;

/// Longest wait for any of them.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// Longest wait for the rest, once most have answered.
const LATE_MAX: Duration = Duration::from_millis(200);

/// Everything it takes to ask them. Has passwords in it and therefore prints nothing.
pub(crate) struct Sentinels {
    clients: Vec<Client>,
    master: String,
    target: Target,
    certificates: Option<TlsCertificates>,
}

/// What they say together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outlook {
    /// The primary, by the newest of their decisions.
    pub(crate) primary: Node,
    /// How many replicas they might promote.
    pub(crate) promotable: usize,
}

/// What one says.
#[derive(Debug)]
struct View {
    primary: Node,
    /// Counts the decisions; who has not heard of the last one has a smaller number.
    epoch: u64,
    promotable: usize,
}

/// A sentinel's answer about one server.
type Fields = HashMap<String, String>;

impl Sentinels {
    pub(crate) fn new(
        target: &Target,
        settings: &SentinelSettings,
        certificates: Option<TlsCertificates>,
    ) -> RedisResult<Self> {
        let client = |node| sentinel(target, node, settings, certificates.clone());
        Ok(Self {
            clients: target.nodes.iter().map(client).collect::<RedisResult<_>>()?,
            master: settings.master.clone(),
            target: target.clone(),
            certificates,
        })
    }

    /// How to connect to a server that they name.
    pub(crate) fn server(&self, node: &Node) -> RedisResult<Client> {
        server(&self.target, node, self.certificates.clone())
    }

    /// Asks all of them at the same time. The connections to them end with the call. Once most have answered, those that have
    /// not are hardly waited for: one may have died with the primary.
    pub(crate) async fn outlook(&self) -> RedisResult<Outlook> {
        let mut asked: FuturesUnordered<_> =
            self.clients.iter().map(|client| self.ask(client)).collect();
        let (mut views, mut end) = (Vec::new(), Instant::now() + ANSWER_MAX);
        while let Ok(Some(view)) = timeout_at(end, asked.next()).await {
            views.push(view);
            if views.iter().flatten().count() > self.clients.len() / 2 {
                end = end.min(Instant::now() + LATE_MAX);
            }
        }
        join(views)
    }

    async fn ask(&self, client: &Client) -> RedisResult<View> {
        let mut connection = client.get_multiplexed_async_connection().await?;
        let mut questions = redis::pipe();
        for question in ["GET-MASTER-ADDR-BY-NAME", "MASTER", "REPLICAS"] {
            questions.cmd("SENTINEL").arg(question).arg(&self.master);
        }
        let answers = questions.query_async(&mut connection).await;
        let (primary, master, replicas): (Option<(String, u16)>, Fields, Vec<Fields>) = answers
            .map_err(|error: RedisError| match error.kind() {
                // It answers that it knows no such name.
                Kind::Server(_) => nameless(),
                _ => error,
            })?;
        let (host, port) = primary.ok_or_else(nameless)?;
        Ok(View {
            primary: Node { host, port },
            epoch: number(&master, "config-epoch"),
            promotable: replicas.iter().filter(|replica| is_promotable(replica)).count(),
        })
    }
}

/// The primary of the newest decision. The most that any of them would promote: one may have lost sight of a replica that
/// another one has in view.
fn join(views: Vec<RedisResult<View>>) -> RedisResult<Outlook> {
    let promotable = views.iter().flatten().map(|view| view.promotable).max().unwrap_or(0);
    let (seen, failed): (Vec<_>, Vec<_>) = views.into_iter().partition(Result::is_ok);
    if let Some(newest) = seen.into_iter().flatten().max_by_key(|view| view.epoch) {
        return Ok(Outlook { primary: newest.primary, promotable });
    }
    let mut errors = failed.into_iter().filter_map(Result::err);
    Err(errors.next().unwrap_or_else(silent))
}

/// Whether a failover might choose this replica over one that has more of the data: one that is down or out of touch, that
/// has lost its primary or is to stay a replica might not. One that was made a primary is no replica.
fn is_promotable(replica: &Fields) -> bool {
    let has = |key: &str, value: &str| replica.get(key).is_some_and(|found| found == value);
    let flags = replica.get("flags").map(String::as_str).unwrap_or_default();
    let away = ["s_down", "o_down", "disconnected"];
    !flags.split(',').any(|flag| away.contains(&flag))
        && !has("slave-priority", "0")
        && !has("role-reported", "master")
        && !has("master-link-status", "err")
}

fn number(fields: &Fields, key: &str) -> u64 {
    fields.get(key).and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn silent() -> RedisError {
    (Kind::EmptySentinelList, "no sentinel answers").into()
}

fn nameless() -> RedisError {
    (Kind::MasterNameNotFoundBySentinel, "no sentinel knows this name").into()
}

/// How to connect to a sentinel, which has users of its own.
fn sentinel(
    target: &Target,
    node: &Node,
    settings: &SentinelSettings,
    certificates: Option<TlsCertificates>,
) -> RedisResult<Client> {
    let mut login = RedisConnectionInfo::default().set_skip_set_lib_name();
    if let Some(username) = &settings.username {
        login = login.set_username(username);
    }
    if let Some(password) = &settings.password {
        login = login.set_password(password.expose());
    }
    let info = node.address(target.transport.is_encrypted()).into_connection_info()?;
    let info = info.set_redis_settings(login);
    match certificates {
        Some(certificates) => Client::build_with_tls(info, certificates),
        None => Client::open(info),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(port: u16, epoch: u64, promotable: usize) -> RedisResult<View> {
        Ok(View { primary: Node { host: "h".into(), port }, epoch, promotable })
    }

    #[test]
    fn the_newest_decision_names_the_primary_and_the_widest_view_counts_the_replicas() {
        let silent = || Err((Kind::Io, "silent").into());
        let outlook = join(vec![view(1, 4, 2), silent(), view(2, 5, 1)]).unwrap();
        assert_eq!((outlook.primary.port, outlook.promotable), (2, 2));
        let kind = |views| join(views).unwrap_err().kind();
        assert_eq!(kind(vec![Err(nameless())]), Kind::MasterNameNotFoundBySentinel);
        assert_eq!(kind(vec![silent(), silent()]), Kind::Io);
        assert_eq!(kind(vec![]), Kind::EmptySentinelList);
    }

    #[test]
    fn a_replica_that_no_failover_would_choose_is_not_waited_for() {
        let replica = |change: (&str, &str)| {
            let mut fields: Fields = [
                ("flags", "slave"),
                ("slave-priority", "100"),
                ("role-reported", "slave"),
                ("master-link-status", "ok"),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
            fields.insert(change.0.to_owned(), change.1.to_owned());
            is_promotable(&fields)
        };
        assert!(replica(("flags", "slave")));
        for change in [
            ("flags", "s_down,slave"),
            ("flags", "slave,disconnected"),
            ("slave-priority", "0"),
            ("role-reported", "master"),
            ("master-link-status", "err"),
        ] {
            assert!(!replica(change), "{change:?}");
        }
    }
}
