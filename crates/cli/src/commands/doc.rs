//! `doc`: one document at a time; queries, import and export have files of their own.

use clap::Subcommand;
use syntrix_storage::{
    DocumentPath, DocumentStore, Filter, Patch, ReadOptions, Result, WriteOptions, WriteResult,
};

use crate::commands::export::{self, ExportArgs};
use crate::commands::import::{self, ImportArgs};
use crate::commands::query::{self, PageArgs};
use crate::condition;
use crate::failure::Failure;
use crate::json;
use crate::output::Output;
use crate::session::Session;

#[derive(Debug, Subcommand)]
pub(crate) enum DocCommand {
    /// Print a document
    Get {
        /// Document path, for example countries/JP/cities/29128
        path: String,
    },
    /// Store a new document
    Create {
        #[command(flatten)]
        target: Target,
    },
    /// Replace a document's data as a whole
    Update {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        conditions: Conditions,
    },
    /// Change single fields: an object of field paths and values, {"$delete": true} removes
    Patch {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        conditions: Conditions,
    },
    /// Delete a document; a tombstone stays for the configured retention
    Delete {
        /// Document path
        path: String,
        #[command(flatten)]
        conditions: Conditions,
    },
    /// Print one page of a collection
    Query(PageArgs),
    /// Store documents from JSON lines
    Import(ImportArgs),
    /// Print documents as JSON lines that `import` reads
    Export(ExportArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Target {
    /// Document path
    path: String,
    /// JSON object, or - to read it from stdin
    json: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Conditions {
    /// Write only if this holds, for example 'version == 3'; may be repeated
    #[arg(long = "if", value_name = "FIELD OP JSON")]
    conditions: Vec<String>,
}

impl Conditions {
    fn parse(&self, operation: &'static str) -> Result<Vec<Filter>, Failure> {
        condition::preconditions(&self.conditions, operation)
    }
}

pub(crate) async fn run(command: DocCommand, session: &mut Session) -> Result<(), Failure> {
    match command {
        DocCommand::Get { path } => get(&path, session).await,
        DocCommand::Create { target } => write(Change::create(&target)?, session).await,
        DocCommand::Update { target, conditions } => {
            write(Change::update(&target, &conditions)?, session).await
        }
        DocCommand::Patch { target, conditions } => {
            write(Change::patch(&target, &conditions)?, session).await
        }
        DocCommand::Delete { path, conditions } => {
            write(Change::delete(&path, &conditions)?, session).await
        }
        DocCommand::Query(args) => query::run(&args, session).await,
        DocCommand::Import(args) => import::run(&args, session).await,
        DocCommand::Export(args) => export::run(&args, session).await,
    }
}

async fn get(path: &str, session: &mut Session) -> Result<(), Failure> {
    let path = parse_path(path, "get")?;
    session
        .with_storage(async |storage, output| {
            let document = storage.documents()?.get(&path, ReadOptions::default()).await?;
            output.object(&document.flat()?)
        })
        .await
}

/// A write that was parsed as a whole before anything is opened.
struct Change {
    path: DocumentPath,
    task: Task,
    preconditions: Vec<Filter>,
}

enum Task {
    Create(serde_json::Value),
    Update(serde_json::Value),
    Patch(Patch),
    Delete,
}

impl Change {
    fn create(target: &Target) -> Result<Self, Failure> {
        let path = parse_path(&target.path, "create")?;
        let task = Task::Create(json::argument(&target.json, "create")?);
        Ok(Self { path, task, preconditions: Vec::new() })
    }

    fn update(target: &Target, conditions: &Conditions) -> Result<Self, Failure> {
        let (path, preconditions) =
            (parse_path(&target.path, "update")?, conditions.parse("update")?);
        let task = Task::Update(json::argument(&target.json, "update")?);
        Ok(Self { path, task, preconditions })
    }

    fn patch(target: &Target, conditions: &Conditions) -> Result<Self, Failure> {
        let (path, preconditions) =
            (parse_path(&target.path, "patch")?, conditions.parse("patch")?);
        let patch = Patch::from_value(json::argument(&target.json, "patch")?);
        let task = Task::Patch(patch.map_err(|error| error.in_operation("patch"))?);
        Ok(Self { path, task, preconditions })
    }

    fn delete(path: &str, conditions: &Conditions) -> Result<Self, Failure> {
        let (path, preconditions) = (parse_path(path, "delete")?, conditions.parse("delete")?);
        Ok(Self { path, task: Task::Delete, preconditions })
    }

    async fn apply(self, documents: &dyn DocumentStore) -> Result<WriteResult> {
        let mut options = WriteOptions::default();
        options.preconditions = self.preconditions;
        match self.task {
            Task::Create(data) => documents.create(&self.path, data, options).await,
            Task::Update(data) => documents.update(&self.path, data, options).await,
            Task::Patch(patch) => documents.patch(&self.path, patch, options).await,
            Task::Delete => documents.delete(&self.path, options).await,
        }
    }
}

async fn write(change: Change, session: &mut Session) -> Result<(), Failure> {
    session
        .with_storage(async |storage, output: &mut Output| {
            let written = change.apply(&*storage.documents()?).await?;
            output.object(&written.document.flat()?)
        })
        .await
}

fn parse_path(text: &str, operation: &'static str) -> Result<DocumentPath, Failure> {
    Ok(DocumentPath::parse(text).map_err(|error| error.in_operation(operation))?)
}
