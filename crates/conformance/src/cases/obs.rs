//! Health, leftovers and honest capabilities.

use serde_json::json;
use syntrix_storage_core::backend::StoreKind;
use syntrix_storage_core::{ErrorKind, ScanRequest, WatchOptions, WatchStart};

use super::steps::create;
use crate::case::case;
use crate::{Case, CaseResult, Context, expect, expect_equal, expect_kind};

pub(super) static CASES: &[Case] = &[
    case!(
        "OBS-04",
        Obs,
        "A store that works says so, and a closed one refuses to answer.",
        "A probe that looks at nothing.",
        [],
        async |context| {
            let report = context.admin().health().await?;
            expect(report.ready, "an open store is not ready")?;
            expect(!report.backend.is_empty(), "the report names no backend")?;
            context.store().close().await?;
            expect_kind(context.admin().health().await, ErrorKind::Closed, "health after close")?;
            Ok(())
        }
    ),
    case!(
        "OBS-05",
        Obs,
        "A probe leaves no document, tombstone or event behind.",
        "Probes that write into the users' data.",
        [],
        async |context| {
            let path = context.unique_path()?;
            create(&context, &path, json!({})).await?;
            for _ in 0..3 {
                context.admin().health().await?;
            }
            let mut request = ScanRequest::default();
            request.show_deleted = true;
            let page = context.admin().scan(request).await?;
            let paths: Vec<_> =
                page.documents.iter().map(|document| document.path().clone()).collect();
            expect_equal(paths, vec![path.clone()], "all there is")?;
            if context.capabilities().watch {
                let mut watcher = context.watch_from(WatchStart::Oldest).await?;
                let event = watcher.event().await?;
                expect_equal(event.document.path(), &path, "the only event")?;
                watcher.no_event().await?;
            }
            Ok(())
        }
    ),
    case!(
        "OBS-07",
        Obs,
        "What is declared works, and what is not declared is refused as unsupported.",
        "Capabilities that are claimed and missing, or there and denied.",
        [],
        async |context| { capabilities_are_honest(&context).await }
    ),
    case!(
        "OBS-12",
        Obs,
        "Removing a namespace takes everything in it along.",
        "Data that outlives its namespace and shows up in the next one of that name.",
        [],
        async |context| {
            let other = context.other_store().await?;
            let path = context.unique_path()?;
            other.documents()?.create(&path, json!({}), Default::default()).await?;
            other.close().await?;
            let missing = context.store().get(&path, Default::default()).await;
            expect_kind(missing, ErrorKind::NotFound, "a document of another namespace")?;
            let left = context.harness().leftovers().await?;
            expect(!left.is_empty(), "open namespaces are not listed")
        }
    ),
];

async fn capabilities_are_honest(context: &Context) -> CaseResult {
    let claimed = context.capabilities();
    let harness = context.harness().capabilities(StoreKind::Documents);
    expect_equal(Some(claimed), harness, "what the harness and the open store say")?;
    expect_equal(context.admin().capabilities(), claimed, "what the operator's view says")?;

    let watch = |options: WatchOptions| async move {
        context.store().watch(None, WatchStart::Now, options).await.map(drop)
    };
    told(watch(WatchOptions::default()).await, claimed.watch, "watch")?;
    if claimed.watch {
        told(watch(WatchOptions::default().with_before()).await, claimed.before, "before")?;
    }
    Ok(())
}

/// Works exactly if it is claimed.
fn told(result: syntrix_storage_core::Result<()>, claimed: bool, what: &str) -> CaseResult {
    if claimed {
        return Ok(result?);
    }
    expect_kind(result, ErrorKind::Unsupported, what)?;
    Ok(())
}
