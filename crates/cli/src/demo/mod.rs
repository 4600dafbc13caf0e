//! `demo`: the store's whole job on real data, with every claim checked.

mod cities;
mod clock;
mod deletion;
mod folder;
mod identity;
mod import;
mod queries;
mod races;
mod story;
mod watching;

use std::sync::Arc;
use std::time::Instant;

use syntrix_storage::{DocumentStore, Storage, StorageConfig};

use crate::failure::{Failure, store_options};
use crate::session::Session;
use cities::City;
use clock::DemoClock;
use story::Story;

/// What every chapter needs.
struct Stage {
    storage: Storage,
    documents: Arc<dyn DocumentStore>,
    clock: DemoClock,
    cities: Vec<City>,
}

pub(crate) async fn run(session: &mut Session) -> Result<(), Failure> {
    if session.global.config.is_some() {
        return Err(Failure::Usage(
            "demo runs on an embedded store of its own and takes no --config; use --data-dir"
                .into(),
        ));
    }
    let started = Instant::now();
    let data_dir = session.global.data_dir().to_owned();
    folder::prepare(&data_dir)?;
    let options = store_options(&session.global);
    let mut story = Story::new(session);
    story.say(format_args!(
        "syntrix-storage demo: an SQLite store in {}\n{}",
        data_dir.display(),
        cities::CREDIT
    ))?;

    let stage = Stage::open(StorageConfig::embedded(&data_dir)).await?;
    let played = play(&stage, &mut story).await;
    let closed = stage.storage.close().await;
    played?;
    closed?;
    check_reopened(&data_dir, &stage.cities, &mut story).await?;
    story.end(started.elapsed())?;
    story.say(next_commands(&options))
}

impl Stage {
    async fn open(config: StorageConfig) -> Result<Self, Failure> {
        let clock = DemoClock::default();
        // Purging is a chapter of its own: nothing may do it in the background.
        let config = config.with_clock(Arc::new(clock.clone())).with_maintenance(false);
        let storage = Storage::from_config(config).await?;
        let documents = storage.documents()?;
        Ok(Self { storage, documents, clock, cities: cities::all()? })
    }
}

async fn play(stage: &Stage, story: &mut Story<'_>) -> Result<(), Failure> {
    import::play(stage, story).await?;
    queries::play(stage, story).await?;
    watching::play(stage, story).await?;
    races::play(stage, story).await?;
    deletion::play(stage, story).await?;
    identity::play(stage, story).await
}

/// What was acknowledged is there for the next process.
async fn check_reopened(
    data_dir: &std::path::Path,
    cities: &[City],
    story: &mut Story<'_>,
) -> Result<(), Failure> {
    story.chapter("Close and open again")?;
    let started = Instant::now();
    let storage = Storage::open_embedded(data_dir).await?;
    let counted = import::count(&storage).await;
    let closed = storage.close().await;
    let counted = counted?;
    closed?;
    story.claim(counted == cities.len(), "every city is there after closing and opening")?;
    story.show("reopen", format!("{counted} cities counted"), started.elapsed())
}

fn next_commands(options: &str) -> String {
    let program = std::env::args().next().unwrap_or_else(|| "syntrix-storage".into());
    let commands: [(&str, &str); 8] = [
        ("get one document", "doc get countries/IS/cities/28185"),
        (
            "query it as the demo did",
            r#"doc query countries/JP/cities --where 'admin1 == "40"' --order-by name --limit 5"#,
        ),
        (
            "refused, with the command that creates the index",
            r#"doc query countries/US/cities --where 'admin1 == "CA"' --order-by name:desc --order-by lat"#,
        ),
        ("see the changes again", "watch countries/IS/visitors --from oldest --limit 3"),
        ("take data out", "doc export countries/AD/cities"),
        ("the account the demo locked", "user get Sigrid"),
        ("a revoked token", "token check demo-session --grace 30s"),
        ("how are the stores", "doctor"),
    ];
    let lines =
        commands.map(|(purpose, command)| format!("  # {purpose}\n  {program} {command}{options}"));
    format!("\nTry next, on the same data:\n{}", lines.join("\n"))
}
