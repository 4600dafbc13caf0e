//! After the run: the last change, and then everything held against everything.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use serde::Serialize;
use syntrix_storage::routing::{Depth, DocumentReplication, Finding, VerifyOptions};
use syntrix_storage::{
    DocumentPath, DocumentStore, LIMIT_MAX, Query, QueryOptions, ReadOptions, TokenId,
    TokenRevocationStore, WatchOptions, WatchStart, WriteOptions,
};

use crate::data;
use crate::failure::{Context, Failure, Result};
use crate::findings::{Findings, Told};
use crate::fingerprint::Fingerprint;
use crate::history::History;
use crate::journal::{self, Line, Sight};
use crate::ledger::{Ledger, Settled, Stored};
use crate::store::{self, Stores};
use crate::watcher::sight;

/// Longest silence of the feed while events are still owed.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Longest a shadow takes to catch up.
const SHADOW_MAX: Duration = Duration::from_secs(150);

/// Tokens that are asked about at once.
const TOKENS_AT_ONCE: usize = 500;

/// What to hold against what.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    store: store::Config,
    /// A writer's journal
    #[arg(long)]
    writer: Vec<PathBuf>,
    /// The shadow alone, if there is one: a configuration in the same folder
    #[arg(long)]
    shadow: Option<PathBuf>,
    /// A watcher's journal
    #[arg(long)]
    watcher: Vec<PathBuf>,
}

/// What is printed.
#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    settled: Settled,
    events: usize,
    documents: usize,
    /// Acknowledged revocations.
    revoked: usize,
    /// Answers during the run that the store lost its state.
    state_lost: usize,
    /// How often watchers had to open their stream again.
    reopened: usize,
    findings: Told,
}

/// Writes the document whose only event is the last.
///
/// # Errors
///
/// As writing.
pub(crate) async fn finish(options: &store::Config) -> Result<()> {
    let stores = Stores::open(options).await?;
    if let Some(documents) = &stores.documents {
        let path = DocumentPath::parse(store::END).context(|| "naming a document".into())?;
        let data = data::whole(store::END, &mut fastrand::Rng::new());
        let written = documents.create(&path, data, WriteOptions::default()).await;
        written.map_err(|error| store::told(&error)).context(|| "the last write".into())?;
    }
    stores.close().await;
    Ok(())
}

/// Prints the report.
///
/// # Errors
///
/// When something cannot be read. What was found is no error here.
pub(crate) async fn run(options: &Options) -> Result<()> {
    let mut ledger = Ledger::default();
    for file in &options.writer {
        ledger.take(journal::read::<Line>(file)?);
    }
    let stores = Stores::open(&options.store).await?;
    let mut findings = Findings::default();
    let mut history = History::default();
    if let Some(documents) = &stores.documents {
        history = read_feed(documents.as_ref(), &mut findings).await?;
        let stored = stored(documents.as_ref()).await?;
        compare_stored("the primary", &history, &stored, &mut findings);
    }
    if let Ok(route) = stores.storage.document_route() {
        compare_shadow(&route, &mut findings).await?;
    }
    if let Some(shadow) = &options.shadow {
        // The primary is held to what was acknowledged by its history.
        let stored = stored_on_shadow(shadow).await?;
        compare_stored("the shadow", &history, &stored, &mut findings);
        ledger.hold("the shadow", &stored, &mut findings);
    }
    let settled = ledger.settle(&history, &mut findings);
    let reopened = watchers(&options.watcher, &history, &mut findings)?;
    if let Some(revocations) = &stores.revocations {
        ask(revocations.as_ref(), &ledger, &mut findings).await?;
    }
    stores.close().await;
    let report = Report {
        settled,
        events: history.events(),
        documents: history.documents().count(),
        revoked: ledger.revoked.len(),
        state_lost: ledger.state_lost,
        reopened,
        findings: findings.told(),
    };
    println!("{}", serde_json::to_string(&report).context(|| "writing the report".into())?);
    Ok(())
}

/// The shadow has what the primary has, everything of it.
async fn compare_shadow(route: &Arc<DocumentReplication>, findings: &mut Findings) -> Result<()> {
    let options = VerifyOptions::default().with_depth(Depth::Deep);
    let mut tell = |finding: Finding| {
        findings.wrong.push(format!("the shadow: {:?} {}", finding.verdict, finding.path));
        Ok(())
    };
    let verified = route.verify(options, SHADOW_MAX, &mut tell).await;
    let summary = verified.map_err(|error| store::told(&error)).context(|| "the shadow".into())?;
    if !summary.equal && findings.wrong.is_empty() {
        findings.wrong.push(format!("the shadow is not the same: {:?}", summary.counts));
    }
    eprintln!("  the shadow: {} documents compared", summary.shadow.documents);
    Ok(())
}

/// What the shadow has, asked itself.
async fn stored_on_shadow(file: &Path) -> Result<Stored> {
    let stores = Stores::open_with(file, None).await?;
    let documents = stores.documents.as_ref();
    let documents = documents.ok_or_else(|| Failure::new("the shadow has no documents"))?;
    let stored = stored(documents.as_ref()).await;
    stores.close().await;
    stored
}

/// Reads the whole feed up to the last change, as a consumer that starts today.
async fn read_feed(documents: &dyn DocumentStore, findings: &mut Findings) -> Result<History> {
    let doing = || "reading the feed".to_owned();
    let watch = documents.watch(None, WatchStart::Oldest, WatchOptions::default()).await;
    let mut feed = watch.map_err(|error| store::told(&error)).context(doing)?;
    let mut sights = Vec::new();
    loop {
        let next = tokio::time::timeout(SILENCE_MAX, feed.next()).await;
        let item = next.context(|| "the feed fell silent before its end".into())?;
        let item = item.ok_or_else(|| Failure::new("the feed ended"))?;
        let item = item.map_err(|error| store::told(&error)).context(doing)?;
        let Some(event) = item.into_event() else { continue };
        if event.document.path().as_str() == store::END {
            return Ok(History::of("the feed", &sights, findings));
        }
        sights.push(sight(&event, String::new())?);
    }
}

/// Every document of the collection with its version, tombstones too; a query and `get_many` must agree on it.
async fn stored(documents: &dyn DocumentStore) -> Result<Stored> {
    let doing = || "reading the documents".to_owned();
    let query = Query::new(store::COLLECTION).context(doing)?.show_deleted(true).limit(LIMIT_MAX);
    let page = documents.query(query, QueryOptions::default()).await.context(doing)?;
    let paths: Vec<_> = page.documents.iter().map(|document| document.path().clone()).collect();
    let read = documents.get_many(&paths, ReadOptions::default()).await.context(doing)?;

    let mut found = BTreeMap::new();
    for (queried, read) in page.documents.iter().zip(read) {
        let live = (!queried.is_deleted()).then_some(queried);
        let path = queried.path();
        if read.as_ref() != live {
            return Err(Failure::new(format!("a query and a read disagree about {path}")));
        }
        let version = queried.version().get();
        found.insert(path.to_string(), (version, Fingerprint::of_whole(queried)?));
    }
    found.remove(store::END);
    Ok(found)
}

/// Each stored document is what its last event said.
fn compare_stored(side: &str, history: &History, stored: &Stored, findings: &mut Findings) {
    for (path, changes) in history.documents() {
        let last = changes.last().map(|change| (changes.len() as i64, change.left.clone()));
        let found = stored.get(path);
        if found != last.as_ref() {
            let (found, last) = (found.map(|it| it.0), changes.len());
            let text = format!("{side}: {path} has version {found:?}, its last event has {last}");
            findings.wrong.push(text);
        }
    }
    let unknown = stored.iter().filter(|(path, (version, _))| history.at(path, *version).is_none());
    for (path, _) in unknown {
        findings.wrong.push(format!("{side}: {path} is as the feed never brought it"));
    }
}

/// Each watcher saw the history; how often they had to open their streams again.
fn watchers(files: &[PathBuf], history: &History, findings: &mut Findings) -> Result<usize> {
    let mut reopened = 0;
    for file in files {
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        let mut sights = journal::read::<Sight>(file)?;
        reopened += sights.iter().filter(|it| matches!(it, Sight::Reopened { .. })).count();
        sights.retain(|it| !matches!(it, Sight::Change { path, .. } if path == store::END));
        let seen = History::of(&name, &sights, findings);
        history.compare(&name, &seen, findings);
    }
    Ok(reopened)
}

/// Every token whose revocation was acknowledged is answered to be revoked.
async fn ask(
    revocations: &dyn TokenRevocationStore,
    ledger: &Ledger,
    findings: &mut Findings,
) -> Result<()> {
    let doing = || "asking about tokens".to_owned();
    let names: Vec<_> = ledger.revoked.iter().collect();
    for some in names.chunks(TOKENS_AT_ONCE) {
        let tokens = some.iter().map(|name| TokenId::parse(name));
        let tokens = tokens.collect::<syntrix_storage::Result<Vec<_>>>().context(doing)?;
        let answers =
            revocations.is_revoked_many(&tokens, Duration::ZERO, Default::default()).await;
        let answers = answers.map_err(|error| store::told(&error)).context(doing)?;
        let valid = some.iter().zip(answers).filter(|(_, revoked)| !revoked);
        findings.forgotten.extend(valid.map(|(name, _)| (*name).clone()));
    }
    // Those that came back later were wrong answers all the same.
    if ledger.forgotten > findings.forgotten.len() {
        let more = ledger.forgotten - findings.forgotten.len();
        findings.forgotten.extend(std::iter::repeat_n("in an answer during the run".into(), more));
    }
    Ok(())
}
