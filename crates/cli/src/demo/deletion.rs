//! Chapter: deleted documents stay for a while as tombstones, then they are purged.

use std::time::Instant;

use serde_json::Value;
use syntrix_storage::{
    Document, DocumentPath, DocumentStoreExt, Query, QueryOptions, Result, Version, WriteOptions,
};

use super::cities::City;
use super::story::Story;
use super::{Stage, watching};
use crate::failure::Failure;

const COUNTRY: &str = "AD";
const COLLECTION: &str = "countries/AD/cities";
/// One day more than tombstones stay by default.
const DAYS: i64 = 31;

pub(super) async fn play(stage: &Stage, story: &mut Story<'_>) -> Result<(), Failure> {
    story.chapter("Soft delete and purge")?;
    let cities: Vec<_> =
        stage.cities.iter().filter(|city| city.text("country") == COUNTRY).take(3).collect();
    let [first, others @ ..] = &cities[..] else {
        return Err(Failure::negative("demo", "the city data has lost Andorra"));
    };
    delete(stage, &cities, story).await?;
    revive(stage, first, story).await?;
    purge(stage, others, story).await
}

async fn delete(stage: &Stage, cities: &[&City], story: &mut Story<'_>) -> Result<(), Failure> {
    let started = Instant::now();
    for city in cities {
        stage.documents.delete(&city.path, WriteOptions::default()).await?;
        let found = stage.documents.find(&city.path).await?;
        story.claim(found.is_none(), "a deleted document is not found")?;
    }
    let tombstones = tombstones(stage).await?;
    story.claim(tombstones.len() == cities.len(), "tombstones show when asked for")?;
    let empty = tombstones.iter().all(|tombstone| tombstone.raw() == "{}");
    story.claim(empty, "a tombstone has no data")?;
    let text = format!("{} cities of {COLLECTION} became tombstones", cities.len());
    story.show("delete", text, started.elapsed())
}

/// The version goes on, so nobody's old precondition can hold by accident.
async fn revive(stage: &Stage, city: &City, story: &mut Story<'_>) -> Result<(), Failure> {
    let started = Instant::now();
    let version = create(stage, &city.path, &city.data).await?;
    story.claim(version.get() == 3, "a revived document continues its version")?;
    let text = format!("{} created again goes on at version {version}", city.path);
    story.show("revive", text, started.elapsed())
}

async fn purge(stage: &Stage, cities: &[&City], story: &mut Story<'_>) -> Result<(), Failure> {
    let early = stage.storage.purge_expired(1000).await?;
    story.claim(early.purged == 0, "nothing is purged before its retention is over")?;
    let started = Instant::now();
    stage.clock.set_days_ahead(DAYS);
    let late = stage.storage.purge_expired(1000).await?;
    stage.clock.set_days_ahead(0);
    let took = started.elapsed();
    let expected = cities.len() + watching::tombstones();
    story.claim(late.purged == expected && !late.more, "every tombstone is purged in time")?;
    story.claim(tombstones(stage).await?.is_empty(), "a purged tombstone is gone")?;
    let text = format!("0 tombstones today, {} with the clock {DAYS} days on", late.purged);
    story.show("purge", text, took)?;
    for city in cities {
        let version = create(stage, &city.path, &city.data).await?;
        story.claim(version == Version::FIRST, "after the purge a path starts anew")?;
    }
    Ok(())
}

async fn create(stage: &Stage, path: &DocumentPath, data: &Value) -> Result<Version> {
    let created = stage.documents.create(path, data.clone(), WriteOptions::default()).await?;
    Ok(created.version())
}

async fn tombstones(stage: &Stage) -> Result<Vec<Document>> {
    let query = Query::new(COLLECTION)?.show_deleted(true);
    let page = stage.documents.query(query, QueryOptions::default()).await?;
    Ok(page.documents.into_iter().filter(Document::is_deleted).collect())
}
