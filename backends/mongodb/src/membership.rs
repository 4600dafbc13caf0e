//! Whether members found somewhere belong to the replica set that the data belongs to.
//!
//! A restored copy has the store's number and often the set's name; its members differ. So the metadata keep the members' names and
//! a random number of the set. Who opens a primary and does not find most of these names has opened a copy, and writes a number of
//! its own. Two sets whose members have the same names cannot be told apart: to those who use them they are the same.

use std::collections::BTreeSet;

use mongodb::bson::{Bson, Document, doc};
use syntrix_storage_core::{Error, ErrorKind, Result, Retry};

use crate::error::damaged;
use crate::schema::{Metadata, random};

const MEMBERS: &str = "members";
const CLUSTER: &str = "cluster";

/// The members of a set that keep data and may be seen, as the set calls them; none of a server that has no set, or of a router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Members(BTreeSet<String>);

impl Members {
    /// From a member's answer to `hello`.
    pub(crate) fn of(hello: &Document) -> Self {
        Self(["hosts", "passives"].into_iter().flat_map(|kind| texts(hello, kind)).collect())
    }

    /// Those that the metadata keep.
    fn noted_in(record: &Document) -> Self {
        Self(texts(record, MEMBERS).collect())
    }

    /// Whether most of them are in `others`, too: a member that was split off as a set of its own has one name of three.
    fn are_mostly(&self, others: &Self) -> bool {
        self.0.intersection(&others.0).count() * 2 > self.0.len()
    }
}

fn texts<'a>(document: &'a Document, field: &str) -> impl Iterator<Item = String> + use<'a> {
    let found = document.get_array(field).into_iter().flatten();
    found.filter_map(Bson::as_str).map(str::to_owned)
}

/// The set's number, made if there is none or it is another set's.
pub(crate) async fn ensure_cluster(
    metadata: &Metadata,
    record: &Document,
    members: &Members,
) -> Result<u64> {
    if members.0.is_empty() {
        return Ok(0);
    }
    let known = Members::noted_in(record);
    let before = record.get_i64(CLUSTER).ok();
    if known == *members
        && let Some(cluster) = before
    {
        return Ok(cluster as u64);
    }
    let kept = before.filter(|_| known.are_mostly(members));
    let cluster = kept.map_or_else(|| random().map(i64::from_be_bytes), Ok)?;
    let written: Vec<_> = members.0.iter().collect();
    // Another process may be first; then its number counts.
    let unchanged = before.map_or(Bson::Null, Bson::Int64);
    metadata
        .change_where(doc! { CLUSTER: unchanged }, doc! { MEMBERS: written, CLUSTER: cluster })
        .await?;
    number(&metadata.read().await?.ok_or_else(damaged)?)
}

/// The set's number, if it is that of the set with these members.
///
/// # Errors
///
/// [`ErrorKind::Unavailable`] if it is not: the record may be on its way.
pub(crate) fn cluster_of(record: &Document, members: &Members) -> Result<u64> {
    if members.0.is_empty() {
        return Ok(0);
    }
    let known = Members::noted_in(record);
    if !known.are_mostly(members) {
        return Err(Error::new(ErrorKind::Unavailable, "").with_retry(Retry::Safe).with_message(
            "the data is a copy of another replica set's, or its primary was not opened yet; name the primary's set as the shadow",
        ));
    }
    number(record)
}

fn number(record: &Document) -> Result<u64> {
    record.get_i64(CLUSTER).map(|cluster| cluster as u64).map_err(|_| damaged())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(names: &[&str]) -> Members {
        Members(names.iter().map(|&name| name.to_owned()).collect())
    }

    #[test]
    fn members_are_those_that_may_be_seen() {
        let hello = doc! { "setName": "rs0", "hosts": ["a:1", "b:1"], "passives": ["c:1"], "arbiters": ["d:1"] };
        assert_eq!(Members::of(&hello), members(&["a:1", "b:1", "c:1"]));
        assert_eq!(Members::of(&doc! { "msg": "isdbgrid" }), members(&[]));
    }

    #[test]
    fn the_number_is_that_of_a_set_which_has_most_of_the_members() {
        let record = doc! { "members": ["a:1", "b:1", "c:1"], "cluster": 7_i64 };
        assert_eq!(cluster_of(&record, &members(&["a:1", "b:1", "z:1"])).unwrap(), 7);
        assert_eq!(cluster_of(&record, &members(&[])).unwrap(), 0, "no replica set");
        let refused =
            |record: &Document| cluster_of(record, &members(&["z:1"])).unwrap_err().kind();
        assert_eq!(refused(&record), ErrorKind::Unavailable, "a copy");
        let split = cluster_of(&record, &members(&["c:1"])).unwrap_err();
        assert_eq!(split.kind(), ErrorKind::Unavailable, "one that was split off");
        assert_eq!(refused(&doc! {}), ErrorKind::Unavailable, "not opened yet");
    }
}
