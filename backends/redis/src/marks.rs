//! The marks that tell lost data from data that were never there.
//!
//! A store is made once: its entry says `creating` with a random id, every bucket gets the id as its mark, and the entry
//! says `complete`. Only then is anything stored. From then on a mark that is gone or another tells that its bucket lost
//! its data, and is never made again.

use std::cmp::Ordering;

use futures_util::future::try_join_all;
use redis::{Cmd, cmd};
use syntrix_storage_core::backend::Canary;
use syntrix_storage_core::{Error, ErrorKind, Result};

use crate::confirm::Answer;
use crate::connect::Link;
use crate::error::{damaged, from_redis, state_lost};
use crate::keys::Keys;

/// The format of everything under the prefix.
const FORMAT: &str = "2";

/// What the store's entry says.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    complete: bool,
    id: Canary,
}

/// The mark of the store, which is made if there is none yet and none is `wanted`.
///
/// # Errors
///
/// [`ErrorKind::StateLost`] if a mark is gone or another one's.
pub(crate) async fn open(link: &Link, keys: &Keys, wanted: Option<Canary>) -> Result<Canary> {
    let entry = match read_entry(link, keys).await? {
        Some(entry) => entry,
        None if wanted.is_some() => return Err(state_lost()),
        None => propose(link, keys).await?,
    };
    if wanted.is_some_and(|wanted| wanted != entry.id) {
        return Err(state_lost());
    }
    if !entry.complete {
        let marks = keys.canaries();
        let marked = marks.iter().map(|key| set_if_absent(key, &hexadecimal(entry.id)));
        set_all(link, marked.collect()).await?;
    }
    verify(link, keys, entry.id).await?;
    if !entry.complete {
        set_all(link, vec![set_always(&keys.store(), &text("complete", entry.id))]).await?;
    }
    Ok(entry.id)
}

/// Compares the marks of all buckets with `id`.
pub(crate) async fn verify(link: &Link, keys: &Keys, id: Canary) -> Result<()> {
    let mut read = cmd("MGET");
    read.arg(keys.canaries());
    let marks: Vec<Option<Vec<u8>>> = link.command(&read, None).await?;
    let all = marks.iter().all(|mark| parse_canary(mark.as_deref()) == Some(id));
    if all { Ok(()) } else { Err(state_lost()) }
}

/// One of those who try becomes the first; everybody goes on with its id.
async fn propose(link: &Link, keys: &Keys) -> Result<Entry> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|error| {
        Error::new(ErrorKind::Unavailable, "open")
            .with_message("the operating system gave no random number")
            .with_source(error)
    })?;
    set(link, set_if_absent(&keys.store(), &text("creating", Canary(id)))).await?;
    read_entry(link, keys).await?.ok_or_else(state_lost)
}

async fn read_entry(link: &Link, keys: &Keys) -> Result<Option<Entry>> {
    let entry: Option<Vec<u8>> = link.command(cmd("GET").arg(keys.store()), None).await?;
    entry.map(|entry| parse_entry(&entry)).transpose()
}

/// Replicas are to have the marks, too: without them nothing that a promoted one says is believed.
async fn set_all(link: &Link, commands: Vec<Cmd>) -> Result<()> {
    let size = if link.is_cluster() { 1 } else { commands.len() };
    let set =
        try_join_all(commands.chunks(size).map(|some| link.confirm(some, link.deadline(None))))
            .await?;
    let each = |answer: Answer| answer?.map(drop).map_err(|error| from_redis(&error));
    set.into_iter().flatten().try_for_each(each)
}

async fn set(link: &Link, command: Cmd) -> Result<()> {
    link.command::<Option<String>>(&command, None).await.map(drop)
}

fn set_if_absent(key: &str, value: &str) -> Cmd {
    let mut command = set_always(key, value);
    command.arg("NX");
    command
}

fn set_always(key: &str, value: &str) -> Cmd {
    let mut command = cmd("SET");
    command.arg(key).arg(value);
    command
}

fn text(state: &str, id: Canary) -> String {
    format!("{FORMAT} {state} {}", hexadecimal(id))
}

pub(crate) fn hexadecimal(id: Canary) -> String {
    format!("{:032x}", u128::from_be_bytes(id.0))
}

/// The mark in a value; one that nobody of us wrote counts as none.
pub(crate) fn parse_canary(value: Option<&[u8]>) -> Option<Canary> {
    let text = std::str::from_utf8(value?).ok().filter(|text| text.len() == 32)?;
    u128::from_str_radix(text, 16).ok().map(|number| Canary(number.to_be_bytes()))
}

fn parse_entry(value: &[u8]) -> Result<Entry> {
    let words: Vec<_> = value.split(|byte| *byte == b' ').collect();
    let [format, state, id] = words[..] else { return Err(damaged()) };
    if format != FORMAT.as_bytes() {
        return Err(Error::new(ErrorKind::Unsupported, "open").with_message(foreign(format)?));
    }
    let complete = match state {
        b"creating" => false,
        b"complete" => true,
        _ => return Err(damaged()),
    };
    let id = parse_canary(Some(id)).ok_or_else(damaged)?;
    Ok(Entry { complete, id })
}

/// Why a store of another format is refused.
fn foreign(format: &[u8]) -> Result<&'static str> {
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<u32>().ok();
    match number(format).ok_or_else(damaged)?.cmp(&number(FORMAT.as_bytes()).unwrap_or(0)) {
        Ordering::Less => Ok(
            "an earlier release wrote this store, whose records this one cannot read: use that release \
             until the tokens revoked there have expired, then this one with another `prefix`; with another prefix at once, \
             they would count as valid until they are revoked again",
        ),
        _ => Ok("a later release wrote this store; use that release"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Canary = Canary([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255]);

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        for complete in [false, true] {
            let text = text(if complete { "complete" } else { "creating" }, ID);
            assert_eq!(parse_entry(text.as_bytes()).unwrap(), Entry { complete, id: ID });
        }
    }

    #[test]
    fn the_entry_of_another_release_is_refused_and_a_damaged_one_no_new_store() {
        for (entry, told) in
            [("1 complete x", "another `prefix`"), ("3 complete x", "use that release")]
        {
            let error = parse_entry(entry.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains(told), "{error}");
        }
        for entry in [
            "",
            "2",
            "2 complete",
            "2 complete 00",
            "x complete 00000000000000000000000000000000",
            "2 done 00000000000000000000000000000000",
        ] {
            assert_eq!(parse_entry(entry.as_bytes()).unwrap_err().kind(), ErrorKind::Internal);
        }
    }

    #[test]
    fn a_mark_that_is_none_of_ours_is_none() {
        assert_eq!(parse_canary(Some(hexadecimal(ID).as_bytes())), Some(ID));
        for value in [None, Some(&b""[..]), Some(b"\xff"), Some(b"0001"), Some(&[b'x'; 32])] {
            assert_eq!(parse_canary(value), None);
        }
    }
}
