//! What the sentinels know: which server is the primary, and which replicas they might put in its place.

use std::collections::{BTreeSet, HashMap};
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use redis::aio::MultiplexedConnection;
use redis::{
    Client, ErrorKind as Kind, IntoConnectionInfo, RedisConnectionInfo, RedisError, RedisResult,
    TlsCertificates,
};
use tokio::time::{Instant, timeout_at};

use crate::address::{Node, Target};
use crate::error::is_lost;
use crate::route::server;
use crate::settings::SentinelSettings;

/// Longest wait for any of them.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// Longest wait for the rest, once most have answered.
const LATE_MAX: Duration = Duration::from_millis(200);

/// Everything it takes to ask them. Has passwords in it and therefore prints nothing.
pub(crate) struct Sentinels {
    all: Vec<Sentinel>,
    master: String,
    target: Target,
    certificates: Option<TlsCertificates>,
}

/// One of them.
struct Sentinel {
    client: Client,
    /// The connection on which it answered last, while nobody asks over it.
    kept: Mutex<Kept>,
}

enum Kept {
    Nothing,
    Connection(MultiplexedConnection),
    /// There shall be none any more.
    Closed,
}

/// What they say together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outlook {
    /// The primary, by the newest of their decisions.
    pub(crate) primary: Node,
    /// Counts the decisions.
    epoch: u64,
    /// Whether it is what most of them say. The others may have chosen another primary meanwhile.
    pub(crate) of_most: bool,
    /// How many replicas they might promote.
    promotable: usize,
    /// How many they might promote soon, if the primary has them: all but those that they take for dead.
    pub(crate) up: usize,
    /// How many replicas there are that may be promoted at all.
    known: usize,
    /// Those of the promotable ones that are primaries still, and before which another would be promoted.
    passed_over: Names,
}

/// Names of replicas.
type Names = BTreeSet<String>;

/// What one says.
#[derive(Debug)]
struct View {
    primary: Node,
    /// Counts the decisions; who has not heard of the last one has a smaller number.
    epoch: u64,
    /// How many other sentinels it knows.
    others: usize,
    promotable: Names,
    up: Names,
    known: Names,
    passed_over: Names,
}

/// A sentinel's answer about one server.
type Fields = HashMap<String, String>;

impl Sentinels {
    pub(crate) fn new(
        target: &Target,
        settings: &SentinelSettings,
        certificates: Option<TlsCertificates>,
    ) -> RedisResult<Self> {
        let sentinel = |node| sentinel(target, node, settings, certificates.clone());
        Ok(Self {
            all: target.nodes.iter().map(sentinel).collect::<RedisResult<_>>()?,
            master: settings.master.clone(),
            target: target.clone(),
            certificates,
        })
    }

    /// How to connect to a server that they name.
    pub(crate) fn server(&self, node: &Node) -> RedisResult<Client> {
        server(&self.target, node, self.certificates.clone())
    }

    /// Asks all of them at the same time. Once most have answered, those that have not are hardly waited for: one may have died
    /// with the primary.
    pub(crate) async fn outlook(&self) -> RedisResult<Outlook> {
        let mut asked: FuturesUnordered<_> =
            self.all.iter().map(|sentinel| sentinel.ask(&self.master)).collect();
        let (mut views, mut end) = (Vec::new(), Instant::now() + ANSWER_MAX);
        while let Ok(Some(view)) = timeout_at(end, asked.next()).await {
            views.push(view);
            if views.iter().flatten().count() > self.all.len() / 2 {
                end = end.min(Instant::now() + LATE_MAX);
            }
        }
        join(views, self.all.len())
    }

    /// Ends the connections to them.
    pub(crate) fn close(&self) {
        self.all.iter().for_each(|sentinel| *sentinel.kept() = Kept::Closed);
    }
}

impl Sentinel {
    /// Over the connection on which it answered before, or a new one where there is none or it has ended.
    async fn ask(&self, master: &str) -> RedisResult<View> {
        if let Some(connection) = self.take() {
            match self.ask_over(connection, master).await {
                Err(error) if is_lost(&error) => {}
                answer => return answer,
            }
        }
        self.ask_over(self.client.get_multiplexed_async_connection().await?, master).await
    }

    /// Keeps the connection if it answered. One that is waited for no longer is not kept: it may lead nowhere.
    async fn ask_over(
        &self,
        mut connection: MultiplexedConnection,
        master: &str,
    ) -> RedisResult<View> {
        let answer = ask(&mut connection, master).await;
        if !answer.as_ref().is_err_and(is_lost) {
            self.keep(connection);
        }
        answer
    }

    fn take(&self) -> Option<MultiplexedConnection> {
        let mut kept = self.kept();
        match std::mem::replace(&mut *kept, Kept::Nothing) {
            Kept::Connection(connection) => Some(connection),
            other => {
                *kept = other;
                None
            }
        }
    }

    fn keep(&self, connection: MultiplexedConnection) {
        let mut kept = self.kept();
        if !matches!(*kept, Kept::Closed) {
            *kept = Kept::Connection(connection);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn ask(connection: &mut MultiplexedConnection, master: &str) -> RedisResult<View> {
    let mut questions = redis::pipe();
    for question in ["GET-MASTER-ADDR-BY-NAME", "MASTER", "REPLICAS"] {
        questions.cmd("SENTINEL").arg(question).arg(master);
    }
    let answers = questions.query_async(connection).await;
    let (primary, master, replicas): (Option<(String, u16)>, Fields, Vec<Fields>) = answers
        .map_err(|error: RedisError| match error.kind() {
            // It answers that it knows no such name.
            Kind::Server(_) => nameless(),
            _ => error,
        })?;
    let (host, port) = primary.ok_or_else(nameless)?;
    let link_down_max = link_down_max(&master);
    let named = |is: &dyn Fn(&Fields) -> bool| {
        let names = replicas.iter().filter(|replica| is(replica));
        names.map(|replica| replica.get("name").cloned().unwrap_or_default()).collect()
    };
    Ok(View {
        primary: Node { host, port },
        epoch: number(&master, "config-epoch").unwrap_or(0),
        others: number(&master, "num-other-sentinels").unwrap_or(0),
        promotable: named(&|replica| is_promotable(replica, link_down_max)),
        up: named(&is_up),
        known: named(&is_candidate),
        passed_over: named(&|replica| {
            replicas.iter().any(|other| is_before(other, replica, link_down_max))
        }),
    })
}

impl Outlook {
    /// Takes over what was heard later, and tells whether the primary was replaced.
    ///
    /// What most of them say replaces everything. One of the others may be cut off, and take for dead what the rest promotes:
    /// by its word nothing gets less, and only a decision newer than the last that was heard of makes another the primary.
    pub(crate) fn renew(&mut self, heard: Option<Self>) -> bool {
        match heard {
            Some(heard) if heard.primary != self.primary => {
                self.doubt();
                heard.of_most || heard.epoch > self.epoch
            }
            Some(heard) if heard.of_most => {
                *self = heard;
                false
            }
            heard => {
                self.known = self.known.max(heard.map_or(0, |heard| heard.known));
                self.doubt();
                false
            }
        }
    }

    /// How many replicas they might promote, without the primary that was `left` for this one. It does not know for up to ten
    /// seconds that it was replaced, and would be promoted again if no other replica was there, and then only.
    pub(crate) fn promotable(&self, left: Option<&Node>) -> usize {
        let is_passed_over = left.is_some_and(|left| self.passed_over.contains(&name(left)));
        self.promotable - usize::from(is_passed_over)
    }

    /// From now on any replica may be promoted: those that seemed dead may be up where nobody looks.
    fn doubt(&mut self) {
        self.passed_over.clear();
        self.of_most = false;
        self.promotable = self.promotable.max(self.known);
        self.up = self.up.max(self.known);
    }
}

/// The primary of the newest decision. All that any of them would promote: one may have lost sight of a replica that
/// another one has in view. There are as many as are `configured`, or more if they say so.
fn join(views: Vec<RedisResult<View>>, configured: usize) -> RedisResult<Outlook> {
    let answers = views.iter().flatten();
    let all = answers.clone().map(|view| view.others + 1).fold(configured, usize::max);
    let of_most = answers.clone().count() > all / 2;
    if let Some(View { primary, epoch, .. }) = answers.clone().max_by_key(|view| view.epoch) {
        // Who has not heard of the last decision takes it for a replica.
        let name = name(primary);
        let all = |names: fn(&View) -> &Names| {
            let all = answers.clone().flat_map(names).filter(|replica| **replica != name);
            all.collect::<BTreeSet<_>>()
        };
        let is_passed_over = |replica: &&String| {
            let mut asked = answers.clone().filter(|view| view.promotable.contains(*replica));
            asked.all(|view| view.passed_over.contains(*replica))
        };
        let mut outlook = Outlook {
            primary: primary.clone(),
            epoch: *epoch,
            of_most,
            promotable: all(|view| &view.promotable).len(),
            up: all(|view| &view.up).len(),
            known: all(|view| &view.known).len(),
            passed_over: all(|view| &view.promotable)
                .into_iter()
                .filter(is_passed_over)
                .cloned()
                .collect(),
        };
        if !of_most {
            outlook.doubt();
        }
        return Ok(outlook);
    }
    let mut errors = views.into_iter().filter_map(Result::err);
    Err(errors.next().unwrap_or_else(silent))
}

/// Whether a failover might choose this replica over one that has more of the data: one that is down or out of touch, that
/// has lost its primary for too long or is to stay a replica might not. One that reports to be a primary counts: it may have
/// been promoted just now, and what it lacks is lost.
fn is_promotable(replica: &Fields, link_down_max: i64) -> bool {
    is_up(replica)
        && !has_flag(replica, "disconnected")
        && !(has(replica, "master-link-status", "err")
            && number(replica, "master-link-down-time").unwrap_or(0) > link_down_max)
}

/// How many milliseconds a replica may have lost its primary that is still promoted, as the sentinel reckons
/// (`sentinelSelectSlave` in Redis' `sentinel.c`): one with a better priority even before one that has more of the data. From
/// when the primary dies, both sides of the comparison grow alike. A replica that never had it says -1000.
fn link_down_max(master: &Fields) -> i64 {
    let primary_down = number(master, "s-down-time").unwrap_or(0_i64);
    number(master, "down-after-milliseconds")
        .map_or(i64::MAX, |after: i64| after.saturating_mul(10).saturating_add(primary_down))
}

/// Whether a failover would choose this one before a `primary` that should be a replica, as the sentinel reckons: by priority,
/// then by how much of the data they have. Of that a primary which has not been a replica since has told nothing; one that has
/// may have been promoted just now.
fn is_before(replica: &Fields, primary: &Fields, link_down_max: i64) -> bool {
    let priority = |fields| number(fields, "slave-priority").unwrap_or(0_i64);
    let offset = |fields| number(fields, "slave-repl-offset").unwrap_or(0_i64);
    has(primary, "role-reported", "master")
        && has(replica, "role-reported", "slave")
        && has(replica, "master-link-status", "ok")
        && is_promotable(replica, link_down_max)
        && priority(replica) <= priority(primary)
        && offset(primary) == 0
        && offset(replica) > 0
}

fn is_up(replica: &Fields) -> bool {
    is_candidate(replica) && !has_flag(replica, "s_down") && !has_flag(replica, "o_down")
}

fn is_candidate(replica: &Fields) -> bool {
    !has(replica, "slave-priority", "0")
}

/// As they name a server.
pub(crate) fn name(node: &Node) -> String {
    format!("{}:{}", node.host, node.port)
}

fn has_flag(replica: &Fields, flag: &str) -> bool {
    let flags = replica.get("flags").map(String::as_str).unwrap_or_default();
    flags.split(',').any(|found| found == flag)
}

fn has(fields: &Fields, key: &str, value: &str) -> bool {
    fields.get(key).is_some_and(|found| found == value)
}

fn number<T: FromStr>(fields: &Fields, key: &str) -> Option<T> {
    fields.get(key)?.parse().ok()
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
) -> RedisResult<Sentinel> {
    let mut login = RedisConnectionInfo::default().set_skip_set_lib_name();
    if let Some(username) = &settings.username {
        login = login.set_username(username);
    }
    if let Some(password) = &settings.password {
        login = login.set_password(password.expose());
    }
    let info = node.address(target.transport.is_encrypted()).into_connection_info()?;
    let info = info.set_redis_settings(login);
    let client = match certificates {
        Some(certificates) => Client::build_with_tls(info, certificates),
        None => Client::open(info),
    };
    Ok(Sentinel { client: client?, kept: Mutex::new(Kept::Nothing) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of three sentinels, to which these of the replicas `a`, `b` and `c` are up.
    fn view(port: u16, epoch: u64, up: &str) -> RedisResult<View> {
        let names = |text: &str| text.chars().map(String::from).collect::<Names>();
        Ok(View {
            primary: Node { host: "h".into(), port },
            epoch,
            others: 2,
            promotable: names(up),
            up: names(up),
            known: names("abc"),
            passed_over: Names::new(),
        })
    }

    #[test]
    fn the_primary_that_was_left_does_not_count_where_most_would_promote_another_before_it() {
        let left = Node { host: "h".into(), port: 1 };
        let seen = |is_passed_over: bool| {
            view(2, 5, "ab").map(|mut view| {
                view.promotable.insert("h:1".into());
                if is_passed_over {
                    view.passed_over.insert("h:1".into());
                }
                view
            })
        };
        let counted = |views| heard(views).promotable(Some(&left));
        assert_eq!(counted(vec![seen(true), seen(true), silent()]), 2);
        assert_eq!(heard(vec![seen(true), seen(true)]).promotable(None), 3, "promoted just now");
        assert_eq!(counted(vec![seen(true), seen(false), seen(true)]), 3, "one would promote it");
        assert_eq!(counted(vec![seen(true), silent(), silent()]), 3, "a minority");
        assert_eq!(counted(vec![seen(true), view(1, 4, "ab")]), 2, "it has not heard of it");
    }

    #[test]
    fn one_that_follows_is_promoted_before_a_primary_that_should_unless_its_priority_is_worse() {
        let fields = |role: &str, priority: &str, offset: &str| -> Fields {
            [
                ("flags", "slave"),
                ("master-link-status", if role == "slave" { "ok" } else { "err" }),
                ("role-reported", role),
                ("slave-priority", priority),
                ("slave-repl-offset", offset),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
        };
        let old = fields("master", "100", "0");
        let is_before = |replica: &Fields, other: &Fields| is_before(replica, other, 5000);
        assert!(is_before(&fields("slave", "100", "7"), &old));
        assert!(!is_before(&fields("slave", "101", "7"), &old));
        assert!(!is_before(&fields("slave", "0", "7"), &old), "never promoted");
        assert!(!is_before(&fields("slave", "100", "0"), &old), "not heard of yet");
        assert!(!is_before(&old, &old));
        let promoted = fields("master", "100", "6");
        assert!(!is_before(&fields("slave", "100", "7"), &promoted), "promoted just now");
        assert!(!is_before(&fields("slave", "100", "7"), &fields("slave", "100", "6")));
    }

    fn silent() -> RedisResult<View> {
        Err((Kind::Io, "silent").into())
    }

    fn heard(views: Vec<RedisResult<View>>) -> Outlook {
        join(views, 3).unwrap()
    }

    #[test]
    fn the_newest_decision_names_the_primary_and_what_any_would_promote_counts() {
        let outlook = heard(vec![view(1, 4, "a"), silent(), view(2, 5, "b")]);
        assert_eq!((outlook.primary.port, outlook.promotable(None), outlook.up), (2, 2, 2));
        assert!(outlook.of_most);
        let old = view(1, 4, "ab").map(|mut view| {
            view.up.insert("h:2".into());
            view
        });
        assert_eq!(heard(vec![old, view(2, 5, "ab")]).up, 2, "the new primary is no replica");
        let kind = |views| join(views, 3).unwrap_err().kind();
        assert_eq!(kind(vec![Err(nameless())]), Kind::MasterNameNotFoundBySentinel);
        assert_eq!(kind(vec![silent(), silent()]), Kind::Io);
        assert_eq!(kind(vec![]), Kind::EmptySentinelList);
    }

    #[test]
    fn a_minority_takes_no_replica_for_dead() {
        for (views, configured) in
            [(vec![view(1, 4, "a"), silent(), silent()], 3), (vec![view(1, 4, "a")], 1)]
        {
            let outlook = join(views, configured).unwrap();
            assert_eq!((outlook.of_most, outlook.promotable(None), outlook.up), (false, 3, 3));
        }
        let alone = view(1, 4, "a").map(|view| View { others: 0, ..view });
        let outlook = join(vec![alone], 1).unwrap();
        assert_eq!((outlook.of_most, outlook.promotable(None), outlook.up), (true, 1, 1));
    }

    #[test]
    fn what_most_of_them_said_is_made_no_less_by_the_others_and_undone_by_newer_decisions_only() {
        let most = |port, epoch, up| heard(vec![view(port, epoch, up), view(port, epoch, up)]);
        let one = |port, epoch| heard(vec![view(port, epoch, "a")]);
        for later in [None, Some(one(1, 4)), Some(one(2, 3))] {
            let mut outlook = most(1, 4, "ab");
            assert!(!outlook.renew(later.clone()), "{later:?}");
            assert_eq!((outlook.of_most, outlook.promotable(None), outlook.up), (false, 3, 3));
            assert!(!outlook.renew(Some(most(1, 4, "a"))));
            assert_eq!((outlook.of_most, outlook.promotable(None), outlook.up), (true, 1, 1));
        }
        assert!(most(1, 4, "ab").renew(Some(one(2, 5))));
        assert!(most(1, 4, "ab").renew(Some(most(2, 0, "ab"))));
    }

    #[test]
    fn a_replica_that_no_failover_would_choose_is_not_waited_for() {
        let promotable = |changes: &[(&str, &str)]| {
            let mut fields: Fields = [
                ("flags", "slave"),
                ("slave-priority", "100"),
                ("role-reported", "slave"),
                ("master-link-status", "ok"),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
            let changed = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
            fields.extend(changes.iter().map(changed));
            is_promotable(&fields, 5000)
        };
        let lost = ("master-link-status", "err");
        for changes in [
            &[][..],
            &[("role-reported", "master")],
            &[lost],
            &[lost, ("master-link-down-time", "-1000")],
            &[lost, ("master-link-down-time", "5000")],
        ] {
            assert!(promotable(changes), "{changes:?}");
        }
        for changes in [
            &[("flags", "s_down,slave")][..],
            &[("flags", "slave,disconnected")],
            &[("slave-priority", "0")],
            &[lost, ("master-link-down-time", "6000")],
        ] {
            assert!(!promotable(changes), "{changes:?}");
        }
    }

    #[test]
    fn a_link_may_be_down_ten_times_as_long_as_a_primary_and_as_long_as_the_primary_is() {
        let limit = |fields: &[(&str, &str)]| {
            let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
            link_down_max(&fields.iter().map(owned).collect())
        };
        let after = ("down-after-milliseconds", "500");
        assert_eq!(limit(&[after]), 5000);
        assert_eq!(limit(&[after, ("s-down-time", "700")]), 5700);
        assert_eq!(limit(&[]), i64::MAX);
    }
}
