//! The revoked tokens of a server in order, though it has none.
//!
//! `SCAN` hands keys out as they lie in its table, some of them twice, and a key does not name its token: the record does.
//! So one walk over all keys collects the first tokens behind a place, and the pages up to the last of them come from there.
//! A page beyond needs another walk; memory is bounded by what one walk may collect.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use redis::Pipeline;
use syntrix_storage_core::backend::CallContext;
use syntrix_storage_core::{Error, ErrorKind, Result, Retry, Revocation, TokenId};

use crate::address::Node;
use crate::connect::{Link, within};
use crate::error::{damaged, state_lost};
use crate::marks;
use crate::record;
use crate::route::Request;
use crate::store::Store;

/// Keys of one step: few enough that checks between two steps wait no longer than a moment.
const STEP_KEYS: usize = 500;
/// Tokens that one walk collects at most: some 25 MB if ids have 36 bytes, 70 MB if they have the 256 that they may have.
const WINDOW_TOKENS_MAX: usize = 200_000;
/// So long after its walk has ended what it found is forgotten: whoever goes on later sees what came meanwhile. The time of the
/// walk itself does not count, or one that takes longer would never give a second page.
const WINDOW_AGE_MAX: Duration = Duration::from_secs(60);

/// What the last walk found.
#[derive(Debug, Default)]
pub(crate) struct Listing(tokio::sync::Mutex<Option<Window>>);

/// Some of the tokens, in order.
#[derive(Debug)]
struct Window {
    ended: Instant,
    after: Option<TokenId>,
    tokens: Vec<TokenId>,
    /// There are none behind the last.
    is_whole: bool,
}

/// The first tokens of those that come along in any order.
#[derive(Debug)]
struct First {
    tokens: BTreeSet<TokenId>,
    tokens_max: usize,
    is_whole: bool,
}

impl First {
    fn new(tokens_max: usize) -> Self {
        Self { tokens: BTreeSet::new(), tokens_max, is_whole: true }
    }

    fn add(&mut self, token: TokenId) {
        self.tokens.insert(token);
        if self.tokens.len() > self.tokens_max {
            self.tokens.pop_last();
            self.is_whole = false;
        }
    }
}

impl Window {
    /// The tokens behind `after`, if they can be told from here. Who begins a listing gets what is there by then.
    fn behind(&self, after: Option<&TokenId>) -> Option<&[TokenId]> {
        let after = after.filter(|_| self.ended.elapsed() < WINDOW_AGE_MAX)?;
        let begins = self.after.as_ref().is_none_or(|begin| begin <= after);
        let ends = self.is_whole || self.tokens.last().is_some_and(|last| after < last);
        (begins && ends).then(|| self.tokens_behind(Some(after)))
    }

    fn tokens_behind(&self, after: Option<&TokenId>) -> &[TokenId] {
        let begin = self.tokens.partition_point(|token| after.is_some_and(|after| token <= after));
        &self.tokens[begin..]
    }
}

/// One step of a walk over the keys of `node` that match: where the next one begins (0: nowhere), and keys, some of which
/// may have come before.
pub(crate) async fn step(
    link: &Link,
    node: &Node,
    cursor: u64,
    pattern: &str,
) -> Result<(u64, Vec<Vec<u8>>)> {
    let mut scan = redis::cmd("SCAN");
    scan.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(STEP_KEYS);
    link.ask(Request::To(node, &scan), None).await
}

impl Store {
    /// Records behind `after` in the order of their tokens, `limit` unless there are fewer.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Timeout`] at the caller's deadline; without one each step may take as long as an operation.
    pub(crate) async fn list(
        &self,
        after: Option<&TokenId>,
        limit: usize,
        context: &CallContext,
    ) -> Result<Vec<Revocation>> {
        let listing = self.listed(after, limit, context);
        match context.deadline {
            Some(deadline) => within(deadline, listing).await?,
            None => listing.await,
        }
    }

    async fn listed(
        &self,
        after: Option<&TokenId>,
        limit: usize,
        context: &CallContext,
    ) -> Result<Vec<Revocation>> {
        let (mut found, mut after) = (Vec::new(), after.cloned());
        while found.len() < limit {
            let tokens = self.tokens_behind(after.as_ref(), limit - found.len()).await?;
            let Some(last) = tokens.last() else { break };
            let read = self.get_many(&tokens, context).await?;
            if read.canary != Some(self.canary) {
                return Err(state_lost());
            }
            after = Some(last.clone());
            // One whose time was over in between is not there any more.
            found.extend(read.value.into_iter().flatten());
        }
        Ok(found)
    }

    /// One walk at a time: whoever waited for it may have what it found.
    async fn tokens_behind(&self, after: Option<&TokenId>, limit: usize) -> Result<Vec<TokenId>> {
        let mut window = self.listing.0.lock().await;
        if let Some(tokens) = window.as_ref().and_then(|window| window.behind(after)) {
            return Ok(tokens.iter().take(limit).cloned().collect());
        }
        // Or two would be held while it goes on.
        *window = None;
        let walked = self.walk(after).await?;
        let tokens = walked.tokens_behind(after).iter().take(limit).cloned().collect();
        *window = Some(walked);
        Ok(tokens)
    }

    /// Collects the first tokens behind `after`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] if another server answered in between: its table is another one, and keys would be missing.
    async fn walk(&self, after: Option<&TokenId>) -> Result<Window> {
        let nodes = self.nodes().await?;
        let generation = self.link.generation();
        let mut first = First::new(WINDOW_TOKENS_MAX);
        for node in &nodes {
            self.walk_over(node, after, &mut first).await?;
        }
        // What was lost is not listed, and that is not told from what never was.
        marks::verify(&self.link, &self.keys, self.canary).await?;
        if nodes != self.nodes().await? || generation != self.link.generation() {
            return Err(interrupted());
        }
        let First { tokens, is_whole, .. } = first;
        let (after, tokens) = (after.cloned(), tokens.into_iter().collect());
        Ok(Window { ended: Instant::now(), after, tokens, is_whole })
    }

    /// Every primary.
    async fn nodes(&self) -> Result<Vec<Node>> {
        let found = self.link.facts().await?;
        if !found.iter().all(|(_, facts)| facts.is_primary()) {
            return Err(interrupted());
        }
        let mut nodes: Vec<_> = found.into_iter().map(|(node, _)| node).collect();
        nodes.sort_unstable_by(|left, right| {
            (&left.host, left.port).cmp(&(&right.host, right.port))
        });
        Ok(nodes)
    }

    async fn walk_over(
        &self,
        node: &Node,
        after: Option<&TokenId>,
        first: &mut First,
    ) -> Result<()> {
        let pattern = self.keys.pattern();
        let mut cursor = 0;
        loop {
            let (next, keys) = step(&self.link, node, cursor, &pattern).await?;
            let texts = keys.into_iter().map(|key| String::from_utf8(key).map_err(|_| damaged()));
            let keys = texts.collect::<Result<Vec<_>>>()?;
            let records = keys.into_iter().filter(|key| self.keys.is_record(key)).collect();
            for token in self.tokens_under(records).await? {
                if after.is_none_or(|after| token > *after) {
                    first.add(token);
                }
            }
            cursor = next;
            if cursor == 0 {
                return Ok(());
            }
        }
    }

    /// The tokens of the records under these keys, as far as they are still there.
    async fn tokens_under(&self, keys: Vec<String>) -> Result<Vec<TokenId>> {
        let stored = self.stored_under(&keys).await?;
        let there = keys.iter().zip(stored).filter_map(|(key, stored)| Some((key, stored?)));
        let token = |(key, stored): (&String, Vec<u8>)| {
            let token = record::decode_any(&stored).map(|record| record.token);
            let token = token.filter(|token| self.keys.token(token).record == *key);
            token.ok_or_else(|| damaged().with_fact("key", key))
        };
        there.map(token).collect()
    }

    async fn stored_under(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        if self.cluster {
            let read = keys.iter().map(|key| async move {
                self.link.command::<Option<Vec<u8>>>(redis::cmd("GET").arg(key), None).await
            });
            return try_join_all(read).await;
        }
        let mut pipeline = Pipeline::with_capacity(keys.len());
        keys.iter().for_each(|key| _ = pipeline.get(key));
        self.link.ask(Request::Pipeline(&pipeline), None).await
    }
}

fn interrupted() -> Error {
    Error::new(ErrorKind::Unavailable, "").with_retry(Retry::Safe).with_message(
        "the connection was lost while keys were listed; list them again from the beginning",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str) -> TokenId {
        TokenId::parse(text).unwrap()
    }

    fn window(after: Option<&str>, tokens: &[&str], is_whole: bool) -> Window {
        let tokens = tokens.iter().map(|text| token(text)).collect();
        Window { ended: Instant::now(), after: after.map(token), tokens, is_whole }
    }

    #[test]
    fn the_first_of_many_are_kept_in_order_once_each() {
        let mut first = First::new(3);
        for text in ["d", "b", "b", "e", "a", "c", "a"] {
            first.add(token(text));
        }
        assert_eq!(first.tokens.into_iter().collect::<Vec<_>>(), ["a", "b", "c"].map(token));
        assert!(!first.is_whole);
        let mut few = First::new(3);
        ["a", "a", "b", "c"].iter().for_each(|text| few.add(token(text)));
        assert!(few.is_whole);
    }

    #[test]
    fn a_page_comes_from_a_walk_that_covers_it_and_from_no_other() {
        let behind = |window: &Window, after: &str| {
            window.behind(Some(&token(after))).map(|tokens| tokens.to_vec())
        };
        let part = window(Some("b"), &["d", "f"], false);
        assert_eq!(behind(&part, "b"), Some(vec![token("d"), token("f")]));
        assert_eq!(behind(&part, "e"), Some(vec![token("f")]));
        assert_eq!(behind(&part, "a"), None, "what is between a and b is not known");
        assert_eq!(behind(&part, "f"), None, "what is behind f is not known");
        assert!(part.behind(None).is_none() && window(None, &[], true).behind(None).is_none());
        assert_eq!(behind(&window(None, &["d"], true), "d"), Some(vec![]));
        let mut old = window(None, &["d"], true);
        let Some(ended) = Instant::now().checked_sub(WINDOW_AGE_MAX) else { return };
        old.ended = ended;
        assert_eq!(behind(&old, "a"), None);
    }
}
