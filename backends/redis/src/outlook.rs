//! What the sentinels know together: which server is the primary, and which replicas they might put in its place.

use std::collections::BTreeSet;

use redis::{ErrorKind as Kind, RedisError, RedisResult};

use crate::address::Node;
use crate::promotion::{
    Fields, is_before, is_candidate, is_promotable, is_up, link_down_max, number,
};

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
pub(crate) struct View {
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

impl View {
    /// From what it says of the primary, and of each replica.
    pub(crate) fn new(primary: Node, master: &Fields, replicas: &[Fields]) -> Self {
        let link_down_max = link_down_max(master);
        let named = |is: &dyn Fn(&Fields) -> bool| {
            let names = replicas.iter().filter(|replica| is(replica));
            names.map(|replica| replica.get("name").cloned().unwrap_or_default()).collect()
        };
        Self {
            primary,
            epoch: number(master, "config-epoch").unwrap_or(0),
            others: number(master, "num-other-sentinels").unwrap_or(0),
            promotable: named(&|replica| is_promotable(replica, link_down_max)),
            up: named(&is_up),
            known: named(&is_candidate),
            passed_over: named(&|replica| {
                replicas.iter().any(|other| is_before(other, replica, link_down_max))
            }),
        }
    }
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
pub(crate) fn join(views: Vec<RedisResult<View>>, configured: usize) -> RedisResult<Outlook> {
    let answers = views.iter().flatten();
    let all = answers.clone().map(|view| view.others + 1).fold(configured, usize::max);
    let of_most = answers.clone().count() > all / 2;
    if let Some(View { primary, epoch, .. }) = answers.clone().max_by_key(|view| view.epoch) {
        // Who has not heard of the last decision takes it for a replica.
        let name = name(primary);
        let of_any = |names: fn(&View) -> &Names| {
            let named = answers.clone().flat_map(names).filter(|replica| **replica != name);
            named.collect::<BTreeSet<_>>()
        };
        let promotable = of_any(|view| &view.promotable);
        let is_passed_over = |replica: &&String| {
            let mut asked = answers.clone().filter(|view| view.promotable.contains(*replica));
            asked.all(|view| view.passed_over.contains(*replica))
        };
        let mut outlook = Outlook {
            primary: primary.clone(),
            epoch: *epoch,
            of_most,
            promotable: promotable.len(),
            up: of_any(|view| &view.up).len(),
            known: of_any(|view| &view.known).len(),
            passed_over: promotable.into_iter().filter(is_passed_over).cloned().collect(),
        };
        if !of_most {
            outlook.doubt();
        }
        return Ok(outlook);
    }
    let mut errors = views.into_iter().filter_map(Result::err);
    Err(errors.next().unwrap_or_else(silent))
}

/// As they name a server.
pub(crate) fn name(node: &Node) -> String {
    format!("{}:{}", node.host, node.port)
}

fn silent() -> RedisError {
    (Kind::EmptySentinelList, "no sentinel answers").into()
}

pub(crate) fn nameless() -> RedisError {
    (Kind::MasterNameNotFoundBySentinel, "no sentinel knows this name").into()
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
}
