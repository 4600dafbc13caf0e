//! `doc export`: documents as the lines that `doc import` reads.

use serde_json::{Value, json};
use syntrix_storage::{CollectionPath, Document, ScanRequest};

use crate::failure::Failure;
use crate::output::Output;
use crate::session::Session;

#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    /// Collection path; everything without one
    collection: Option<String>,

    /// Include the collections below the collection's documents
    #[arg(long, requires = "collection")]
    recursive: bool,

    /// Add version and times
    #[arg(long)]
    meta: bool,
}

/// Prints page by page, ordered by path. A document that is written meanwhile appears as it was or as it is.
pub(crate) async fn run(args: &ExportArgs, session: &mut Session) -> Result<(), Failure> {
    let collection = args.collection.as_deref().map(CollectionPath::parse).transpose();
    let collection = collection.map_err(|error| error.in_operation("export"))?;
    session
        .with_storage(async |storage, output| {
            let admin = storage.document_admin()?;
            let mut request = ScanRequest::of(collection, args.recursive);
            loop {
                let page = admin.scan(request.clone()).await?;
                print(&page.documents, args.meta, output)?;
                match page.next {
                    Some(next) => request.after = Some(next),
                    None => return Ok(()),
                }
            }
        })
        .await
}

fn print(documents: &[Document], meta: bool, output: &mut Output) -> Result<(), Failure> {
    documents.iter().try_for_each(|document| output.json(&line(document, meta)?))
}

fn line(document: &Document, meta: bool) -> Result<Value, Failure> {
    let mut line = json!({ "path": document.path().as_str(), "data": document.value()? });
    if meta {
        line["version"] = document.version().get().into();
        line["createdAt"] = document.created_at().as_milliseconds().into();
        line["updatedAt"] = document.updated_at().as_milliseconds().into();
    }
    Ok(line)
}
