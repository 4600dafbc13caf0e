//! The process that gets killed.

use std::path::PathBuf;
use std::sync::Arc;

use syntrix_storage::{
    Document, DocumentPath, DocumentStore, Error, ErrorKind, Patch, WriteOptions, WriteResult,
};
use tokio::task::JoinSet;

use super::fingerprint::Fingerprint;
use super::journal::{Entry, Journal};
use super::{data, store};
use crate::failure::{Context, Failure, Result};

/// Writers at work at once.
const TASKS: u64 = 6;

/// Few documents, so that tasks meet over them and their histories grow long.
const DOCUMENTS: u32 = 24;

/// Where to write and what to draw.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The store's folder
    #[arg(long)]
    data_dir: PathBuf,
    /// The file for what was acknowledged
    #[arg(long)]
    journal: PathBuf,
    /// Seed of the random choices
    #[arg(long)]
    seed: u64,
}

/// Writes until it is killed.
///
/// # Errors
///
/// Whatever the store answers that the other tasks do not explain.
pub(crate) fn run(options: &Options) -> Result<()> {
    store::runtime()?.block_on(async {
        let (_storage, documents) = store::open(&options.data_dir).await?;
        let journal = Arc::new(Journal::create(&options.journal)?);
        let mut tasks = JoinSet::new();
        for number in 0..TASKS {
            let random = fastrand::Rng::with_seed(options.seed.wrapping_add(number));
            tasks.spawn(write_for_ever(documents.clone(), journal.clone(), random));
        }
        match tasks.join_next().await {
            Some(ended) => ended.context(|| "a task of the writer died".into())?,
            None => Err(Failure::new("the writer had nothing to do")),
        }
    })
}

async fn write_for_ever(
    documents: Arc<dyn DocumentStore>,
    journal: Arc<Journal>,
    mut random: fastrand::Rng,
) -> Result<()> {
    loop {
        match write_once(documents.as_ref(), &mut random).await {
            Ok(written) => journal.append(&entry(&written.document)?)?,
            Err(error) if is_explained_by_others(&error) => {}
            Err(error) => return Err(error).context(|| "the writer".into()),
        }
    }
}

/// Another task created, deleted or changed the document first.
fn is_explained_by_others(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::NotFound | ErrorKind::Conflict)
}

async fn write_once(
    documents: &dyn DocumentStore,
    random: &mut fastrand::Rng,
) -> syntrix_storage::Result<WriteResult> {
    let path = DocumentPath::parse(&format!("{}/d{}", store::COLLECTION, random.u32(..DOCUMENTS)))?;
    let options = WriteOptions::default();
    match random.u8(..10) {
        0..=2 => documents.create(&path, data::whole(random), options).await,
        3..=5 => documents.update(&path, data::whole(random), options).await,
        6..=8 => documents.patch(&path, half_patch(random), options).await,
        _ => documents.delete(&path, options).await,
    }
}

/// Replaces the three fields of one half, each by a path of its own.
fn half_patch(random: &mut fastrand::Rng) -> Patch {
    let name = data::HALVES[random.usize(..data::HALVES.len())];
    let half = data::half(random);
    ["n", "fill", "sum"].iter().fold(Patch::new(), |patch, field| {
        patch.set(format!("{name}.{field}"), half[field].clone())
    })
}

/// What the store says it stored.
fn entry(document: &Document) -> Result<Entry> {
    Ok(Entry {
        path: document.path().to_string(),
        version: document.version().get(),
        left: Fingerprint::of_document(document)?,
    })
}
