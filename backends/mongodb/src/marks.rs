//! The marks that tell lost records from records that were never there.
//!
//! Beside accounts and beside revoked tokens lies a record with a random mark, and the metadata keep the mark as well. A
//! mark is made once: its entry in the metadata is written first, then the record beside the data, then the entry says
//! `complete`, and only then is anything stored. From then on a record that is gone or another one tells that its
//! collection lost its data, and is never made again.

use mongodb::bson::{Document, doc};
use mongodb::{Collection, Database};
use syntrix_storage_core::backend::Canary;
use syntrix_storage_core::{Error, ErrorKind, Result};

use crate::error::{damaged, from_driver, is_duplicate};
use crate::schema::{WITNESS, binary, bytes, random};
use crate::settings::{METADATA, REVOCATIONS, USERS};

/// What lies beside the data, or that it is lost: whoever does not ask for these data opens all the same.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marks {
    users: Option<Canary>,
    revocations: Option<Canary>,
}

impl Marks {
    /// Of who reads documents alone.
    pub(crate) const NONE: Self = Self { users: None, revocations: None };

    /// Makes the marks that were never made, and compares the others.
    pub(crate) async fn ensure(database: &Database) -> Result<Self> {
        let users = Mark::new(database, USERS).ensure().await?;
        let revocations = Mark::new(database, REVOCATIONS).ensure().await?;
        Ok(Self { users, revocations })
    }

    pub(crate) fn users(&self) -> Result<Canary> {
        self.users.ok_or_else(|| users_lost().in_operation("open"))
    }

    pub(crate) fn revocations(&self) -> Result<Canary> {
        self.revocations.ok_or_else(|| revocations_lost().in_operation("open"))
    }
}

/// The accounts are not those that were stored.
pub(crate) fn users_lost() -> Error {
    Error::new(ErrorKind::StateLost, "").with_message(
        "the collection of the accounts was dropped, emptied or replaced; restore it, or remove it and the record \
         `mark:users` of `syntrix_metadata` to start anew",
    )
}

fn revocations_lost() -> Error {
    Error::new(ErrorKind::StateLost, "").with_message(
        "the collection of the revoked tokens was dropped, emptied or replaced; treat every token as revoked until it is \
         restored, or replace the signing key and remove it and the record `mark:revocations` of `syntrix_metadata` to \
         start anew",
    )
}

/// The mark of one collection: its entry in the metadata, and the record beside the data.
struct Mark {
    entries: Collection<Document>,
    data: Collection<Document>,
    id: String,
}

impl Mark {
    fn new(database: &Database, name: &str) -> Self {
        let (entries, data) = (database.collection(METADATA), database.collection(name));
        Self { entries, data, id: format!("mark:{name}") }
    }

    /// The mark; `None` if the record that should lie beside the data is gone or another one.
    async fn ensure(&self) -> Result<Option<Canary>> {
        let entry = match find(&self.entries, &self.id).await? {
            Some(entry) => entry,
            None => self.propose().await?,
        };
        let wanted = canary(&entry)?;
        let complete = entry.get_bool("complete").map_err(|_| damaged())?;
        if !complete {
            insert(&self.data, doc! { "_id": WITNESS, "canary": binary(&wanted.0) }).await?;
        }
        if self.beside_the_data().await? != Some(wanted) {
            return Ok(None);
        }
        if !complete {
            self.complete().await?;
        }
        Ok(Some(wanted))
    }

    /// One of those who try becomes the first; everybody goes on with its mark. A record that lies there already counts:
    /// the metadata alone were lost.
    async fn propose(&self) -> Result<Document> {
        let mark = match self.beside_the_data().await? {
            Some(mark) => mark,
            None => Canary(random()?),
        };
        let entry = doc! { "_id": &self.id, "canary": binary(&mark.0), "complete": false };
        insert(&self.entries, entry).await?;
        find(&self.entries, &self.id).await?.ok_or_else(damaged)
    }

    async fn beside_the_data(&self) -> Result<Option<Canary>> {
        find(&self.data, WITNESS).await?.as_ref().map(canary).transpose()
    }

    async fn complete(&self) -> Result<()> {
        let update = doc! { "$set": { "complete": true } };
        let updated = self.entries.update_one(doc! { "_id": &self.id }, update).await;
        updated.map(|_| ()).map_err(|error| from_driver(&error))
    }
}

fn canary(record: &Document) -> Result<Canary> {
    bytes(record, "canary").map(Canary)
}

async fn find(collection: &Collection<Document>, id: &str) -> Result<Option<Document>> {
    collection.find_one(doc! { "_id": id }).await.map_err(|error| from_driver(&error))
}

/// Stores a record unless another process was first.
async fn insert(collection: &Collection<Document>, record: Document) -> Result<()> {
    match collection.insert_one(record).await {
        Err(error) if !is_duplicate(&error) => Err(from_driver(&error)),
        _ => Ok(()),
    }
}
