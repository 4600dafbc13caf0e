//! Reading records: one or many, each with the mark beside it and the time.

use std::collections::BTreeMap;
use std::time::Instant;

use futures_util::future::try_join_all;
use redis::{Cmd, FromRedisValue, Pipeline, Value, from_redis_value};
use syntrix_storage_core::backend::{CallContext, Canary, Witnessed};
use syntrix_storage_core::{Result, Revocation, Timestamp, TokenId};

use crate::connect::Link;
use crate::error::{damaged, from_redis};
use crate::keys::TokenKeys;
use crate::marks::parse_canary;
use crate::revocations::decode;
use crate::route::Request;
use crate::store::Store;

/// What is stored under a key.
pub(crate) type Stored = Option<Vec<u8>>;

/// A record, the mark beside it and the time.
pub(crate) type Check = (Stored, Stored, Timestamp);

impl Store {
    /// Reads one record with the mark beside it and the time.
    pub(crate) async fn get(
        &self,
        token: &TokenId,
        context: &CallContext,
    ) -> Result<Witnessed<Option<Box<Revocation>>>> {
        let (record, canary, now) = match self.cluster {
            true => Box::pin(self.check_by_script(token, context)).await?,
            false => self.gather.check(|| self.keys.token(token), context.deadline).await?,
        };
        let value = decode(token, record.as_deref())?.map(Box::new);
        Ok(Witnessed { value, now, canary: parse_canary(canary.as_deref()) })
    }

    async fn check_by_script(&self, token: &TokenId, context: &CallContext) -> Result<Check> {
        let keys = self.keys.token(token);
        let read = self.scripts.read(vec![&keys.canary, &keys.record]);
        let (now, canary, [record]): (i64, Stored, [Stored; 1]) =
            self.invoke(&read, context).await?;
        Ok((record, canary, Timestamp::from_milliseconds(now)))
    }

    /// Reads many in one round trip: one command, or in a cluster one script for each bucket, all at the same time.
    pub(crate) async fn get_many(
        &self,
        tokens: &[TokenId],
        context: &CallContext,
    ) -> Result<Witnessed<Vec<Option<Revocation>>>> {
        let keys: Vec<_> = tokens.iter().map(|token| self.keys.token(token)).collect();
        let buckets = buckets(&keys);
        let read = match self.cluster {
            true => self.read_buckets(&keys, &buckets, context).await?,
            false => self.link.read_all(&keys, &buckets, context.deadline).await?,
        };
        let records = tokens.iter().zip(&read.records);
        let value = records.map(|(token, stored)| decode(token, stored.as_deref()));
        Ok(Witnessed {
            value: value.collect::<Result<_>>()?,
            now: read.now,
            canary: self.common(&read.canaries),
        })
    }

    /// Each node has a clock of its own; the latest is the strictest about a grace.
    async fn read_buckets(
        &self,
        keys: &[TokenKeys],
        buckets: &Buckets,
        context: &CallContext,
    ) -> Result<Many> {
        let read = |places: &Vec<usize>| {
            let records = places.iter().map(|place| keys[*place].record.as_str());
            let all = std::iter::once(keys[places[0]].canary.as_str()).chain(records);
            let invocation = self.scripts.read(all.collect());
            async move { self.invoke::<(i64, Stored, Vec<Stored>)>(&invocation, context).await }
        };
        let answers = try_join_all(buckets.values().map(read)).await?;
        let mut many = Many {
            canaries: Vec::new(),
            records: vec![None; keys.len()],
            now: Timestamp::default(),
        };
        for (places, (now, canary, values)) in buckets.values().zip(answers) {
            let mut values = values.into_iter();
            many.canaries.push(canary);
            for place in places {
                many.records[*place] = values.next().ok_or_else(damaged)?;
            }
            many.now = many.now.max(Timestamp::from_milliseconds(now));
        }
        Ok(many)
    }

    /// The mark that all buckets have, or that of one which has another.
    fn common(&self, canaries: &[Stored]) -> Option<Canary> {
        let mut marks = canaries.iter().map(|canary| parse_canary(canary.as_deref()));
        marks.find(|mark| *mark != Some(self.canary)).unwrap_or(Some(self.canary))
    }
}

impl Link {
    /// Reads a record, then the mark, then the time: if data are lost in between, the mark is not there any more, and a
    /// grace that ends in between has ended.
    pub(crate) async fn read_one(
        &self,
        keys: &TokenKeys,
        deadline: Option<Instant>,
    ) -> Result<Check> {
        let mut pipeline = Pipeline::with_capacity(3);
        // Not `MGET`: to that a key of a wrong type is one that is not there.
        pipeline.add_command(get_command(&keys.record)).add_command(get_command(&keys.canary));
        pipeline.cmd("TIME");
        let (record, canary, time) = self.ask(Request::Pipeline(&pipeline), deadline).await?;
        Ok((record, canary, milliseconds(time)))
    }

    /// Reads many records, then the marks, then the time.
    pub(crate) async fn read_all(
        &self,
        keys: &[TokenKeys],
        buckets: &Buckets,
        deadline: Option<Instant>,
    ) -> Result<Many> {
        let mut pipeline = Pipeline::with_capacity(keys.len() + 2);
        for keys in keys {
            pipeline.add_command(get_command(&keys.record));
        }
        let marks = buckets.values().map(|places| &keys[places[0]].canary[..]);
        pipeline.cmd("MGET").arg(marks.collect::<Vec<_>>()).cmd("TIME");
        let mut answers: Vec<Value> = self.ask(Request::Pipeline(&pipeline), deadline).await?;
        let (Some(time), Some(marks)) = (answers.pop(), answers.pop()) else {
            return Err(damaged());
        };
        let canaries: Vec<Stored> = value(marks)?;
        let records = answers.into_iter().map(value).collect::<Result<Vec<Stored>>>()?;
        if (canaries.len(), records.len()) != (buckets.len(), keys.len()) {
            return Err(damaged());
        }
        Ok(Many { canaries, records, now: milliseconds(value(time)?) })
    }
}

/// Its room is measured beforehand: the driver's own `get` lets two buffers grow while it writes.
fn get_command(key: &str) -> Cmd {
    let mut command = Cmd::with_capacity(2, "GET".len() + key.len());
    command.arg("GET").arg(key);
    command
}

/// Where the tokens of each bucket stand in the list; never an empty list.
pub(crate) type Buckets = BTreeMap<u8, Vec<usize>>;

pub(crate) fn buckets(keys: &[TokenKeys]) -> Buckets {
    let mut buckets = Buckets::new();
    for (place, keys) in keys.iter().enumerate() {
        buckets.entry(keys.bucket).or_default().push(place);
    }
    buckets
}

/// What was read of many tokens.
pub(crate) struct Many {
    /// Of the buckets, in their order.
    pub(crate) canaries: Vec<Stored>,
    pub(crate) records: Vec<Stored>,
    pub(crate) now: Timestamp,
}

/// What `TIME` answers: seconds and microseconds.
fn milliseconds((seconds, micros): (i64, i64)) -> Timestamp {
    Timestamp::from_milliseconds(seconds * 1000 + micros / 1000)
}

fn value<T: FromRedisValue>(answer: Value) -> Result<T> {
    from_redis_value(answer).map_err(|error| from_redis(&error.into()))
}
