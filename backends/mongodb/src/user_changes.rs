//! The feed of accounts: the change stream tells whose, and the accounts are read as they are.

use std::collections::HashMap;

use futures_util::TryStreamExt as _;
use mongodb::bson::{Document, doc};
use syntrix_storage_core::backend::{Feed, UserChanges, UserRecord};
use syntrix_storage_core::{Position, Result, UserId};

use crate::calls::Limit;
use crate::error::from_driver;
use crate::store::Store;
use crate::users::accounts;
use crate::{account, event};

/// About `limit` accounts that were written behind `place`: what one transaction of somebody else's wrote stays together.
pub(crate) async fn since(store: &Store, place: &Position, limit: usize) -> Result<UserChanges> {
    let feed = store.account_changes()?;
    let page = feed.feed(&Feed::After(place.clone()), None, limit).await?;
    let written = page.changes.iter().map(event::account_of).collect::<Result<Vec<_>>>()?;
    let limit = Limit::within(store.operation_timeout);
    let records = limit.wait(read(store, written, limit)).await?;
    Ok(UserChanges { records, end: page.end, more: page.more })
}

/// The accounts, each once, in the order of their last writes. What is read is at least as new as what the stream told of: both
/// are what a majority has, from the primary.
async fn read(store: &Store, written: Vec<UserId>, limit: Limit) -> Result<Vec<UserRecord>> {
    if written.is_empty() {
        return Ok(Vec::new());
    }
    let places: HashMap<&UserId, usize> = written.iter().zip(0..).collect();
    let ids: Vec<&str> = places.keys().map(|id| id.as_str()).collect();
    let failed = |error: mongodb::error::Error| from_driver(&error);
    let collection = accounts(store);
    let find = collection.find(doc! { "_id": { "$in": ids } }).max_time(limit.left());
    let found: Vec<Document> = find.await.map_err(failed)?.try_collect().await.map_err(failed)?;
    let mut records = found.iter().map(account::decode).collect::<Result<Vec<_>>>()?;
    records.sort_by_key(|record| places.get(&record.user.id));
    Ok(records)
}
