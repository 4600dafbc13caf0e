//! The metadata of each store: what it is called, what seals its tokens, how far back its history reaches.

use mongodb::action::FindOne;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Document, doc};
use mongodb::{Collection, Database};
use syntrix_storage_core::backend::StoreId;
use syntrix_storage_core::{Error, ErrorKind, ExpiredReason, Result, Retry, Timestamp, TokenSeal};

use crate::error::{damaged, from_driver, is_duplicate};
use crate::settings::METADATA;

/// The backend's number in tokens.
const TOKEN_KIND: u8 = 4;
/// The newest form of the data this release knows.
pub(crate) const FORMAT: i32 = 1;
/// The record beside accounts and beside revoked tokens that every read brings along: no id has a control character.
pub(crate) const WITNESS: &str = "\u{1}witness";

/// How far back the history of documents reaches: behind this place nothing is missing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Floor {
    /// A place in the change stream; `None` on a server that has none.
    pub(crate) token: Option<String>,
    /// When the last forgotten change was committed.
    pub(crate) at: Timestamp,
}

/// The metadata of the documents in `data_collection`.
#[derive(Clone, Debug)]
pub(crate) struct Metadata {
    collection: Collection<Document>,
    id: String,
}

impl Metadata {
    pub(crate) fn new(database: &Database, data_collection: &str) -> Self {
        let collection = database.collection(METADATA);
        Self { collection, id: format!("documents:{data_collection}") }
    }

    /// Reads the record, makes it if there is none, and refuses one of a newer release.
    pub(crate) async fn ensure(&self) -> Result<Document> {
        if let Some(found) = self.read().await? {
            return checked(found);
        }
        let (store_id, token_key) = (random::<8>()?, random::<32>()?);
        let record = doc! {
            "_id": &self.id,
            "format": FORMAT,
            "storeId": binary(&store_id),
            "tokenKey": binary(&token_key),
            "epoch": 1_i64,
            "fence": 0_i64,
            "floorAt": 0_i64,
        };
        match self.collection.insert_one(record).await {
            Ok(_) => {}
            // Another process was first.
            Err(error) if is_duplicate(&error) => {}
            Err(error) => return Err(from_driver(&error)),
        }
        checked(self.read().await?.ok_or_else(damaged)?)
    }

    /// The record, where it cannot be made.
    pub(crate) async fn existing(&self) -> Result<Document> {
        let found = self.read().await?.ok_or_else(|| {
            Error::new(ErrorKind::Unavailable, "")
                .with_retry(Retry::Safe)
                .with_message("the secondaries do not have the store yet: the primary must have been opened once, and they must have applied it")
        });
        checked(found?)
    }

    /// Looks for the record.
    pub(crate) fn find(&self) -> FindOne<'_, Document> {
        self.collection.find_one(doc! { "_id": &self.id })
    }

    pub(crate) async fn read(&self) -> Result<Option<Document>> {
        let found = self.find().await;
        found.map_err(|error| from_driver(&error))
    }

    /// Where the history begins by now.
    pub(crate) async fn floor(&self) -> Result<Floor> {
        // Whoever drops the database drops the history with it.
        let diverged = || Error::token_expired(ExpiredReason::Diverged, None);
        let record = self.read().await?.ok_or_else(diverged)?;
        let token = record.get_str("floor").ok().map(str::to_owned);
        let at = record.get_i64("floorAt").map_err(|_| damaged())?;
        Ok(Floor { token, at: Timestamp::from_milliseconds(at) })
    }

    /// Where the history begins from the first time on that it can be watched.
    pub(crate) async fn begin_history(&self, token: &str) -> Result<()> {
        self.change_where(doc! { "floor": { "$exists": false } }, doc! { "floor": token }).await
    }

    /// Moves the beginning of the history forward, never back. Places compare as text.
    pub(crate) async fn raise_floor(&self, token: &str, at: Timestamp) -> Result<()> {
        let change = doc! { "floor": token, "floorAt": at.as_milliseconds() };
        self.change_where(doc! { "floor": { "$lt": token } }, change).await
    }

    /// Sets fields of the record if it is as `condition` says.
    pub(crate) async fn change_where(&self, condition: Document, change: Document) -> Result<()> {
        let mut filter = condition;
        filter.insert("_id", &self.id);
        let updated = self.collection.update_one(filter, doc! { "$set": change }).await;
        updated.map(|_| ()).map_err(|error| from_driver(&error))
    }
}

fn checked(record: Document) -> Result<Document> {
    let format = record.get_i32("format").map_err(|_| damaged())?;
    if format <= FORMAT {
        return Ok(record);
    }
    Err(Error::new(ErrorKind::Unsupported, "")
        .with_message("the data was made by a newer release; use that release or a newer one")
        .with_fact("format", format)
        .with_fact("format_max", FORMAT))
}

/// What seals the tokens of the documents.
pub(crate) fn token_seal(record: &Document) -> Result<TokenSeal> {
    let epoch = record.get_i64("epoch").map_err(|_| damaged())?;
    let (store_id, key) = (bytes(record, "storeId")?, bytes(record, "tokenKey")?);
    Ok(TokenSeal::new(TOKEN_KIND, store_id, epoch as u64, key))
}

/// Which data the database holds.
pub(crate) fn store_id(record: &Document) -> Result<StoreId> {
    bytes(record, "storeId").map(StoreId)
}

pub(crate) fn bytes<const COUNT: usize>(record: &Document, field: &str) -> Result<[u8; COUNT]> {
    let binary = record.get_binary_generic(field).map_err(|_| damaged())?;
    binary.as_slice().try_into().map_err(|_| damaged())
}

pub(crate) fn binary(bytes: &[u8]) -> Binary {
    Binary { subtype: BinarySubtype::Generic, bytes: bytes.to_vec() }
}

pub(crate) fn random<const COUNT: usize>() -> Result<[u8; COUNT]> {
    let mut bytes = [0; COUNT];
    getrandom::fill(&mut bytes).map_err(|_| {
        Error::new(ErrorKind::Unavailable, "")
            .with_message("the operating system gives no random numbers")
    })?;
    Ok(bytes)
}
