//! The process that writes while servers die, or is killed itself.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use syntrix_storage::routing::MirrorFault;
use syntrix_storage::{
    DocumentPath, DocumentStore, Error, ErrorKind, Patch, Retry, WriteOptions, WriteResult,
};
use tokio::task::JoinSet;

use crate::failure::{Context, Failure, Result};
use crate::fingerprint::Fingerprint;
use crate::journal::{Journal, Line};
use crate::store::{self, CALL_MAX, Stores};
use crate::{data, revoker};

/// Few documents, so that tasks meet over them and their histories grow long.
const DOCUMENTS: u32 = 24;

/// Pause between two writes of a task, in milliseconds; none where only the writer dies.
const PAUSE_MS: std::ops::Range<u64> = 3..15;

/// Where to write and what to draw.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) store: store::Config,
    /// The file for what was acknowledged; its name, which no other writer has, begins every mark
    #[arg(long)]
    pub(crate) journal: PathBuf,
    /// Seed of the random choices
    #[arg(long)]
    pub(crate) seed: u64,
    /// Tasks that write documents
    #[arg(long, default_value_t = 6)]
    pub(crate) tasks: u64,
    /// Tasks that revoke tokens
    #[arg(long, default_value_t = 2)]
    pub(crate) revokers: u64,
    /// Die, as if killed, between the two writes of about one in so many that go to a shadow too
    #[arg(long)]
    pub(crate) dies_once_in: Option<u64>,
    /// Write without a pause
    #[arg(long)]
    pub(crate) hurried: bool,
}

/// What the tasks of a writer share.
pub(crate) struct Shared {
    pub(crate) journal: Journal,
    name: String,
    marks: AtomicU64,
    stop: AtomicBool,
    hurried: bool,
}

impl Shared {
    fn new(options: &Options) -> Result<Self> {
        let name = options.journal.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self {
            journal: Journal::open(&options.journal)?,
            name,
            marks: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            hurried: options.hurried,
        })
    }

    /// A name that nothing else has.
    pub(crate) fn mark(&self) -> String {
        format!("{}-{}", self.name, self.marks.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Lets others work.
    pub(crate) async fn pause(&self, random: &mut fastrand::Rng) {
        if !self.hurried {
            tokio::time::sleep(Duration::from_millis(random.u64(PAUSE_MS))).await;
        }
    }
}

/// Writes until it is killed or its input ends.
///
/// # Errors
///
/// Whatever the store answers that neither the other tasks nor a server that is away explain.
pub(crate) async fn run(options: &Options) -> Result<()> {
    let fault = options.dies_once_in.map(|many| MirrorFault::seeded(options.seed, many));
    let stores = Stores::open_with(&options.store.config, fault).await?;
    let shared = Arc::new(Shared::new(options)?);
    let ending = shared.clone();
    tokio::spawn(async move {
        store::asked_to_end().await;
        ending.stop.store(true, Ordering::Relaxed);
    });
    let mut tasks = JoinSet::new();
    let random = |number| fastrand::Rng::with_seed(options.seed.wrapping_add(number));
    if let Some(documents) = &stores.documents {
        for number in 0..options.tasks {
            tasks.spawn(write(documents.clone(), shared.clone(), random(number)));
        }
    }
    if let Some(revocations) = &stores.revocations {
        for number in 0..options.revokers {
            let random = random(options.tasks + number);
            tasks.spawn(revoker::run(revocations.clone(), shared.clone(), random));
        }
    }
    while let Some(ended) = tasks.join_next().await {
        ended.context(|| "a task of the writer died".into())??;
    }
    stores.close().await;
    Ok(())
}

async fn write(
    documents: Arc<dyn DocumentStore>,
    shared: Arc<Shared>,
    mut random: fastrand::Rng,
) -> Result<()> {
    while !shared.is_over() {
        let change = Change::draw(shared.mark(), &mut random)?;
        shared.journal.note(&change.begun())?;
        match change.apply(documents.as_ref(), &mut random).await {
            Ok(written) => shared.journal.record(&change.told(&written)?)?,
            Err(error) => shared.journal.note(&change.failed(&error)?)?,
        }
        shared.pause(&mut random).await;
    }
    Ok(())
}

/// What a task does to a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Create,
    Update,
    Patch,
    Delete,
}

struct Change {
    mark: String,
    path: DocumentPath,
    action: Action,
}

impl Change {
    fn draw(mark: String, random: &mut fastrand::Rng) -> Result<Self> {
        let path = format!("{}/d{}", store::COLLECTION, random.u32(..DOCUMENTS));
        let path = DocumentPath::parse(&path).context(|| "naming a document".into())?;
        let action = match random.u8(..10) {
            0..=2 => Action::Create,
            3..=5 => Action::Update,
            6..=8 => Action::Patch,
            _ => Action::Delete,
        };
        Ok(Self { mark, path, action })
    }

    async fn apply(
        &self,
        documents: &dyn DocumentStore,
        random: &mut fastrand::Rng,
    ) -> syntrix_storage::Result<WriteResult> {
        let options = WriteOptions::default().with_timeout(CALL_MAX);
        let (path, mark) = (&self.path, self.mark.as_str());
        match self.action {
            Action::Create => documents.create(path, data::whole(mark, random), options).await,
            Action::Update => documents.update(path, data::whole(mark, random), options).await,
            Action::Patch => documents.patch(path, half_patch(mark, random), options).await,
            Action::Delete => documents.delete(path, options).await,
        }
    }

    fn begun(&self) -> Line {
        Line::Begun {
            mark: self.mark.clone(),
            path: self.path.to_string(),
            delete: self.action == Action::Delete,
            at: store::now(),
        }
    }

    fn told(&self, written: &WriteResult) -> Result<Line> {
        let document = &written.document;
        Ok(Line::Told {
            mark: self.mark.clone(),
            path: document.path().to_string(),
            version: document.version().get(),
            left: Fingerprint::of_document(document)?,
            at: store::now(),
        })
    }

    /// What follows from an error, or the error itself if nothing explains it.
    fn failed(&self, error: &Error) -> Result<Line> {
        let mark = self.mark.clone();
        match error.kind() {
            // Another task created, deleted or changed the document first.
            ErrorKind::AlreadyExists | ErrorKind::NotFound | ErrorKind::Conflict => {
                Ok(Line::Refused { mark })
            }
            _ if store::is_outage(error) && error.retry() == Retry::Safe => {
                Ok(Line::Refused { mark })
            }
            _ if store::is_outage(error) => {
                Ok(Line::Unsure { mark, error: store::told(error).to_string() })
            }
            _ => {
                let text = format!("{:?} of {}: {}", self.action, self.path, store::told(error));
                Err(Failure::new(text))
            }
        }
    }
}

/// Replaces the three fields of one half, each by a path of its own, and the mark.
fn half_patch(mark: &str, random: &mut fastrand::Rng) -> Patch {
    let name = data::HALVES[random.usize(..data::HALVES.len())];
    let half = data::half(random);
    let patch = Patch::new().set(data::MARK, mark);
    ["n", "fill", "sum"]
        .iter()
        .fold(patch, |patch, field| patch.set(format!("{name}.{field}"), half[field].clone()))
}
