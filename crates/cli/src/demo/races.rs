//! Chapter: preconditions, a lost race, and patches that do not get in each other's way.

use std::time::Instant;

use syntrix_storage::{
    Document, DocumentPath, ErrorKind, Filter, Patch, ReadOptions, Result, WriteOptions,
    WriteResult,
};

use super::Stage;
use super::story::Story;
use crate::failure::Failure;

/// Kópavogur.
const CITY: &str = "countries/IS/cities/28185";
const PATCHES: usize = 16;

pub(super) async fn play(stage: &Stage, story: &mut Story<'_>) -> Result<(), Failure> {
    story.chapter("Preconditions and a lost race")?;
    let path = DocumentPath::parse(CITY)?;
    race(stage, &path, story).await?;
    side_by_side(stage, &path, story).await
}

/// Two writers saw the same version; one wins, the other one is told and tries again.
async fn race(stage: &Stage, path: &DocumentPath, story: &mut Story<'_>) -> Result<(), Failure> {
    let started = Instant::now();
    let seen = read(stage, path).await?;
    let (anna, birgir) =
        futures_util::future::join(elect(stage, &seen, "Anna"), elect(stage, &seen, "Birgir"))
            .await;
    let (winner, loser, refused) = match (anna, birgir) {
        (Ok(_), Err(refused)) => ("Anna", "Birgir", refused),
        (Err(refused), Ok(_)) => ("Birgir", "Anna", refused),
        _ => return Err(Failure::negative("demo", "this does not hold: one of two writers wins")),
    };
    let lost = refused.kind() == ErrorKind::PreconditionFailed;
    story.claim(lost, "the loser is told by precondition_failed")?;
    let after = read(stage, path).await?;
    story.claim(after.value()?["mayor"] == winner, "the winner's write is there")?;
    story.claim(after.version() == seen.version().next(), "the loser's is not")?;
    story.say(format_args!("   {winner} wins; {loser} gets: {refused}"))?;

    let repeated = elect(stage, &after, loser).await?;
    let won = repeated.version() == after.version().next();
    story.claim(won, "the loser reads again and repeats with success")?;
    let text = format!("1 of 2 writers won version {}, the other repeated", after.version());
    story.show("lost race", text, started.elapsed())
}

async fn elect(stage: &Stage, seen: &Document, mayor: &str) -> Result<WriteResult> {
    let options = WriteOptions::default().with_precondition(Filter::version_is(seen.version()));
    stage.documents.patch(seen.path(), Patch::new().set("mayor", mayor), options).await
}

/// Patches of different fields all survive, whoever reads first.
async fn side_by_side(
    stage: &Stage,
    path: &DocumentPath,
    story: &mut Story<'_>,
) -> Result<(), Failure> {
    let started = Instant::now();
    let before = read(stage, path).await?;
    let patch = |number: usize| {
        let patch = Patch::new().set(format!("districts.d{number}"), number);
        stage.documents.patch(path, patch, WriteOptions::default())
    };
    for patched in futures_util::future::join_all((0..PATCHES).map(patch)).await {
        patched?;
    }
    let after = read(stage, path).await?;
    let districts = after.value()?["districts"].as_object().map_or(0, |members| members.len());
    story.claim(districts == PATCHES, "no patch undoes another one")?;
    let versions = after.version().get() - before.version().get();
    story.claim(versions == PATCHES as i64, "each patch is one version")?;
    let text = format!("{PATCHES} patches of one document at once, all there");
    story.show("patches", text, started.elapsed())
}

async fn read(stage: &Stage, path: &DocumentPath) -> Result<Document> {
    stage.documents.get(path, ReadOptions::default()).await
}
