//! Chapter: every city becomes a document.

use std::collections::HashMap;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use syntrix_storage::{BulkItem, BulkOptions, ITEMS_MAX, ScanRequest, Storage};

use super::Stage;
use super::cities::City;
use super::story::Story;
use crate::failure::Failure;

pub(super) async fn play(stage: &Stage, story: &mut Story<'_>) -> Result<(), Failure> {
    story.chapter("Import")?;
    let started = Instant::now();
    let bar = progress(stage.cities.len());
    for batch in stage.cities.chunks(ITEMS_MAX) {
        write(stage, batch).await?;
        bar.inc(batch.len() as u64);
    }
    bar.finish_and_clear();
    let took = started.elapsed();

    let (count, rate) = (stage.cities.len(), stage.cities.len() as f64 / took.as_secs_f64());
    story.show("import", format!("{count} documents, {rate:.0} per second, durable"), took)?;
    check(stage, story).await
}

async fn write(stage: &Stage, cities: &[City]) -> Result<(), Failure> {
    let create =
        |city: &City| BulkItem::Create { path: city.path.clone(), data: city.data.clone() };
    let items = cities.iter().map(create).collect();
    for written in stage.documents.bulk(items, BulkOptions::default()).await? {
        written?;
    }
    Ok(())
}

/// Drawn on a terminal only.
fn progress(count: usize) -> ProgressBar {
    let bar = ProgressBar::new(count as u64);
    match ProgressStyle::with_template("   {bar:40} {pos}/{len} {per_sec} {eta} left") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Reads everything back and compares it with the file.
async fn check(stage: &Stage, story: &mut Story<'_>) -> Result<(), Failure> {
    let started = Instant::now();
    let expected: HashMap<_, _> =
        stage.cities.iter().map(|city| (city.path.as_str(), &city.data)).collect();
    let mut equal = 0;
    each_page(&stage.storage, async |documents| {
        for document in documents {
            equal +=
                usize::from(expected.get(document.path().as_str()) == Some(&&document.value()?));
        }
        Ok(())
    })
    .await?;
    story.claim(equal == stage.cities.len(), "every imported city reads back equal")?;
    story.show("read back", format!("{equal} documents scanned, all equal"), started.elapsed())
}

/// How many live cities there are.
pub(super) async fn count(storage: &Storage) -> Result<usize, Failure> {
    let mut count = 0;
    each_page(storage, async |documents| {
        let is_city = |document: &&syntrix_storage::Document| {
            document.path().collection_text().ends_with("/cities")
        };
        count += documents.iter().filter(is_city).count();
        Ok(())
    })
    .await?;
    Ok(count)
}

async fn each_page(
    storage: &Storage,
    mut work: impl AsyncFnMut(&[syntrix_storage::Document]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let admin = storage.document_admin()?;
    let mut request = ScanRequest::default();
    loop {
        let page = admin.scan(request.clone()).await?;
        work(&page.documents).await?;
        match page.next {
            Some(next) => request.after = Some(next),
            None => return Ok(()),
        }
    }
}
