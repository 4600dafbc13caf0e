//! `watch`: changes as they are committed, one JSON line each.

use std::path::PathBuf;

use clap::ValueEnum;
use futures_util::StreamExt;
use syntrix_storage::{
    CollectionPath, DocumentStore, ResumeToken, WatchItem, WatchOptions, WatchStart, WatchStream,
};

use crate::failure::Failure;
use crate::output::Output;
use crate::resume_file::ResumeFile;
use crate::session::Session;

#[derive(Debug, clap::Args)]
pub(crate) struct WatchArgs {
    /// Collection path; all collections without one
    collection: Option<String>,

    /// Where to start when there is no token
    #[arg(long, value_name = "WHERE", default_value = "now")]
    from: From,

    /// Continue behind the line that carried this token
    #[arg(long, value_name = "TOKEN", conflicts_with_all = ["resume_file", "from"])]
    resume: Option<String>,

    /// Continue behind the token in this file, and keep it up to date; without a file yet, start at --from
    #[arg(long, value_name = "FILE")]
    resume_file: Option<PathBuf>,

    /// Add the document as it was before each update and delete
    #[arg(long)]
    before: bool,

    /// End after this many events, bookmarks not counted
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum From {
    /// With the first change after the start
    Now,
    /// With the oldest change still kept
    Oldest,
}

impl WatchArgs {
    fn start(&self, file: Option<&ResumeFile>) -> Result<WatchStart, Failure> {
        if let Some(token) = &self.resume {
            return Ok(WatchStart::Token(ResumeToken::from_text(token)));
        }
        Ok(match (file.map(ResumeFile::load).transpose()?.flatten(), self.from) {
            (Some(token), _) => WatchStart::Token(token),
            (None, From::Now) => WatchStart::Now,
            (None, From::Oldest) => WatchStart::Oldest,
        })
    }

    fn options(&self) -> WatchOptions {
        let options = WatchOptions::default();
        if self.before { options.with_before() } else { options }
    }
}

/// Ends after `--limit` events, on Ctrl-C, or with the stream.
pub(crate) async fn run(args: WatchArgs, session: &mut Session) -> Result<(), Failure> {
    let collection = args.collection.as_deref().map(CollectionPath::parse).transpose();
    let collection = collection.map_err(|error| error.in_operation("watch"))?;
    let file = args.resume_file.clone().map(ResumeFile::new);
    let start = args.start(file.as_ref())?;
    session
        .with_storage(async |storage, output| {
            let documents: std::sync::Arc<dyn DocumentStore> = storage.documents()?;
            let stream = documents.watch(collection.as_ref(), start, args.options()).await?;
            tokio::select! {
                // Polled first, so that the signal is caught from before the first line on.
                biased;
                // What was printed was saved: there is nothing left to do.
                interrupted = tokio::signal::ctrl_c() => interrupted.map_err(Failure::io("Ctrl-C")),
                ended = follow(stream, &args, file.as_ref(), output) => ended,
            }
        })
        .await
}

async fn follow(
    mut stream: WatchStream,
    args: &WatchArgs,
    file: Option<&ResumeFile>,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut events = 0;
    while let Some(item) = stream.next().await {
        let item = item?;
        print(&item, output)?;
        if let Some(file) = file {
            file.save(item.token())?;
        }
        events += u64::from(matches!(item, WatchItem::Event(_)));
        if args.limit == Some(events) {
            return Ok(());
        }
    }
    Ok(())
}

/// The line is out before its token is saved, so a crash in between repeats an event and loses none.
fn print(item: &WatchItem, output: &mut Output) -> Result<(), Failure> {
    let line = serde_json::to_value(item);
    let failed =
        |error: serde_json::Error| Failure::Io { what: "watch".into(), source: error.into() };
    output.json(&line.map_err(failed)?)?;
    output.flush()
}
