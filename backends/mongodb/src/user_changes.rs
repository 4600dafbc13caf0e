//! The feed of accounts: the change stream tells whose, and the accounts are read as they are.

use std::collections::HashMap;

use futures_util::TryStreamExt as _;
use mongodb::bson::{Document, Timestamp as ClusterTime, doc};
use syntrix_storage_core::backend::{Feed, UserChanges, UserRecord};
use syntrix_storage_core::{Position, Result, UserId};

use crate::calls::Limit;
use crate::error::{closed, from_driver};
use crate::position::Place;
use crate::store::Store;
use crate::users::accounts;
use crate::{account, event};

/// About `limit` accounts that were written behind `place`: what one transaction of somebody else's wrote stays together.
pub(crate) async fn since(store: &Store, place: &Position, limit: usize) -> Result<UserChanges> {
    let feed = store.account_changes()?;
    let page = feed.feed(&Feed::After(place.clone()), None, limit).await?;
    let written = page.changes.iter().map(event::account_of).collect::<Result<Vec<_>>>()?;
    let Some(last) = page.changes.last() else {
        return Ok(UserChanges { records: Vec::new(), end: page.end, more: page.more });
    };
    let at = Place::of(&last.position)?.cluster_time();
    let limit = Limit::within(store.operation_timeout);
    let records = limit.wait(read(store, written, at, limit)).await?;
    Ok(UserChanges { records, end: page.end, more: page.more })
}

/// The accounts, each once, in the order of their last writes. What is read is at least as new as what the stream told of, up to
/// `at`: a new primary may not know yet what a majority has, so it is told to wait for it.
async fn read(
    store: &Store,
    written: Vec<UserId>,
    at: ClusterTime,
    limit: Limit,
) -> Result<Vec<UserRecord>> {
    let places: HashMap<&UserId, usize> = written.iter().zip(0..).collect();
    let ids: Vec<&str> = places.keys().map(|id| id.as_str()).collect();
    let failed = |error: mongodb::error::Error| from_driver(&error);
    let client = store.client().ok_or_else(closed)?;
    let mut session = client.start_session().causal_consistency(true).await.map_err(failed)?;
    session.advance_operation_time(at);
    let collection = accounts(store);
    let find = collection.find(doc! { "_id": { "$in": ids } }).max_time(limit.left());
    let mut cursor = find.session(&mut session).await.map_err(failed)?;
    let found: Vec<Document> = cursor.stream(&mut session).try_collect().await.map_err(failed)?;
    let mut records = found.iter().map(account::decode).collect::<Result<Vec<_>>>()?;
    records.sort_by_key(|record| places.get(&record.user.id));
    Ok(records)
}
