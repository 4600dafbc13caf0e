//! `doc query`: one page of a collection.

use serde_json::{Map, Value, json};
use syntrix_storage::{Cursor, LIMIT_DEFAULT, Page, QueryOptions};

use crate::args::Format;
use crate::condition::QueryArgs;
use crate::failure::Failure;
use crate::output::Output;
use crate::session::Session;

#[derive(Debug, clap::Args)]
pub(crate) struct PageArgs {
    #[command(flatten)]
    query: QueryArgs,

    /// Most documents to print, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = LIMIT_DEFAULT)]
    limit: u32,

    /// Continue behind the page that printed this cursor as "next"
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,

    /// Include tombstones of deleted documents
    #[arg(long)]
    show_deleted: bool,
}

pub(crate) async fn run(args: &PageArgs, session: &mut Session) -> Result<(), Failure> {
    let mut query = args.query.query()?.limit(args.limit).show_deleted(args.show_deleted);
    if let Some(cursor) = &args.after {
        query = query.after(Cursor::from_text(cursor));
    }
    session
        .with_storage(async |storage, output| {
            let page = storage.documents()?.query(query, QueryOptions::default()).await?;
            print(&page, output)
        })
        .await
}

fn print(page: &Page, output: &mut Output) -> Result<(), Failure> {
    let flat = |document: &syntrix_storage::Document| document.flat();
    let rows: Vec<Map<String, Value>> =
        page.documents.iter().map(flat).collect::<Result<_, _>>()?;
    output.objects(&rows)?;
    match (&page.next, output.format()) {
        (None, _) => Ok(()),
        (Some(next), Format::Json) => output.json(&json!({ "next": next.as_str() })),
        (Some(next), Format::Table) => output.line(format_args!("there are more: --after {next}")),
    }
}
