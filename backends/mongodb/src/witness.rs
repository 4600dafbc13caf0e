//! Reads that bring the server's time along, and the mark that lies beside the data: one round trip.
//!
//! A record that is always there is read with whatever is asked for. The time comes with it, and if it is missing, so is
//! whatever else was there.

use futures_util::TryStreamExt as _;
use mongodb::Collection;
use mongodb::bson::{Document, doc};
use mongodb::options::ReadConcern;
use syntrix_storage_core::backend::Canary;
use syntrix_storage_core::{Consistency, Result, Timestamp};

use crate::calls::Limit;
use crate::error::{damaged, from_driver};
use crate::marks::users_lost;
use crate::schema::{WITNESS, bytes};

/// The field that the time is put into.
const NOW: &str = "now";

/// What a read found.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) records: Vec<Document>,
    /// The server's time and the mark; `None` if the record with them is gone.
    pub(crate) witness: Option<(Timestamp, Canary)>,
}

impl Read {
    /// The server's time, where nothing can be said unless the mark is `wanted`.
    pub(crate) fn required_now(&self, wanted: Canary) -> Result<Timestamp> {
        let witness = self.witness.filter(|(_, mark)| *mark == wanted);
        witness.map(|(now, _)| now).ok_or_else(users_lost)
    }

    /// The server's time; this machine's if nothing is left to tell it.
    pub(crate) fn now(&self, clock: &dyn syntrix_storage_core::Clock) -> Timestamp {
        self.witness.map_or_else(|| clock.now(), |(now, _)| now)
    }

    pub(crate) fn canary(&self) -> Option<Canary> {
        self.witness.map(|(_, canary)| canary)
    }
}

/// Reads what `filter` selects, and the witness.
pub(crate) async fn read(
    collection: &Collection<Document>,
    filter: Document,
    consistency: Consistency,
    limit: Limit,
) -> Result<Read> {
    let failed = |error: mongodb::error::Error| from_driver(&error);
    let pipeline = [
        doc! { "$match": { "$or": [filter, { "_id": WITNESS }] } },
        doc! { "$set": { NOW: "$$NOW" } },
    ];
    let mut find = collection.aggregate(pipeline).batch_size(2000).max_time(limit.left());
    if consistency == Consistency::Strong {
        // Asks a majority whether this is still the primary.
        find = find.read_concern(ReadConcern::linearizable());
    }
    let mut records: Vec<Document> =
        find.await.map_err(failed)?.try_collect().await.map_err(failed)?;
    let at = records.iter().position(|record| record.get_str("_id").ok() == Some(WITNESS));
    let witness =
        at.map(|at| records.swap_remove(at)).map(|record| testimony(&record)).transpose()?;
    Ok(Read { records, witness })
}

fn testimony(record: &Document) -> Result<(Timestamp, Canary)> {
    let now = record.get_datetime(NOW).map_err(|_| damaged())?.timestamp_millis();
    Ok((Timestamp::from_milliseconds(now), Canary(bytes(record, "canary")?)))
}
