//! Whom a sentinel would promote, as it reckons itself.

use std::collections::HashMap;
use std::str::FromStr;

/// A sentinel's answer about one server.
pub(crate) type Fields = HashMap<String, String>;

/// Whether a failover might choose this replica over one that has more of the data: one that is down or out of touch, that
/// has lost its primary for too long or is to stay a replica might not. One that reports to be a primary counts: it may have
/// been promoted just now, and what it lacks is lost.
pub(crate) fn is_promotable(replica: &Fields, link_down_max: i64) -> bool {
    is_up(replica)
        && !has_flag(replica, "disconnected")
        && !(has(replica, "master-link-status", "err")
            && number(replica, "master-link-down-time").unwrap_or(0) > link_down_max)
}

/// How many milliseconds a replica may have lost its primary that is still promoted, as the sentinel reckons
/// (`sentinelSelectSlave` in Redis' `sentinel.c`): one with a better priority even before one that has more of the data. From
/// when the primary dies, both sides of the comparison grow alike. A replica that never had it says -1000.
pub(crate) fn link_down_max(master: &Fields) -> i64 {
    let primary_down = number(master, "s-down-time").unwrap_or(0_i64);
    number(master, "down-after-milliseconds")
        .map_or(i64::MAX, |after: i64| after.saturating_mul(10).saturating_add(primary_down))
}

/// Whether a failover would choose this one before a `primary` that should be a replica, as the sentinel reckons: by priority,
/// then by how much of the data they have. Of that a primary which has not been a replica since has told nothing; one that has
/// may have been promoted just now. A replica that was asked while it changed over to its new primary passes for one without
/// a link for ten seconds, which keeps no sentinel from choosing it.
pub(crate) fn is_before(replica: &Fields, primary: &Fields, link_down_max: i64) -> bool {
    let priority = |fields| number(fields, "slave-priority").unwrap_or(0_i64);
    let offset = |fields| number(fields, "slave-repl-offset").unwrap_or(0_i64);
    has(primary, "role-reported", "master")
        && has(replica, "role-reported", "slave")
        && is_promotable(replica, link_down_max)
        && priority(replica) <= priority(primary)
        && offset(primary) == 0
        && offset(replica) > 0
}

pub(crate) fn is_up(replica: &Fields) -> bool {
    is_candidate(replica) && !has_flag(replica, "s_down") && !has_flag(replica, "o_down")
}

pub(crate) fn is_candidate(replica: &Fields) -> bool {
    !has(replica, "slave-priority", "0")
}

fn has_flag(replica: &Fields, flag: &str) -> bool {
    let flags = replica.get("flags").map(String::as_str).unwrap_or_default();
    flags.split(',').any(|found| found == flag)
}

fn has(fields: &Fields, key: &str, value: &str) -> bool {
    fields.get(key).is_some_and(|found| found == value)
}

pub(crate) fn number<T: FromStr>(fields: &Fields, key: &str) -> Option<T> {
    fields.get(key)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let linked = |down_for: &str| {
            let mut changing = fields("slave", "100", "7");
            changing.insert("master-link-status".into(), "err".into());
            changing.insert("master-link-down-time".into(), down_for.into());
            changing
        };
        assert!(is_before(&linked("0"), &old), "asked while it changed over");
        assert!(!is_before(&linked("6000"), &old), "out of touch for too long");
        assert!(!is_before(&fields("slave", "101", "7"), &old));
        assert!(!is_before(&fields("slave", "0", "7"), &old), "never promoted");
        assert!(!is_before(&fields("slave", "100", "0"), &old), "not heard of yet");
        assert!(!is_before(&old, &old));
        let promoted = fields("master", "100", "6");
        assert!(!is_before(&fields("slave", "100", "7"), &promoted), "promoted just now");
        assert!(!is_before(&fields("slave", "100", "7"), &fields("slave", "100", "6")));
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
