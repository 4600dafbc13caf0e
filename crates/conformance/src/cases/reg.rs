//! Configuration.

use std::time::Duration;

use serde_json::json;
use syntrix_storage_core::{DocumentAdmin, DocumentPath, ErrorKind, Retention};

use super::steps::{create, get, in_tasks, strong};
use crate::case::case;
use crate::{
    Case, CaseResult, Context, canary, expect, expect_equal, expect_kind, within, within_limit,
};

pub(super) static CASES: &[Case] = &[
    case!(
        "REG-01",
        Reg,
        "A known kind opens a store; an unknown one is refused with the kinds there are.",
        "A typing mistake that ends in a default nobody asked for.",
        [],
        async |context| {
            let handle = context.open_config(&document_config(&context, "")).await?;
            let path = DocumentPath::parse("case/x")?;
            handle.documents()?.create(&path, json!({"n": 1}), Default::default()).await?;
            handle.documents()?.get(&path, Default::default()).await?;

            let kind = handle.admin()?.health().await?.backend;
            let yaml = "storage:\n  document:\n    backend: main\n    main: {kind: oracle}\n";
            let text = refused(&context, yaml, &[]).await?;
            expect(text.contains("oracle"), format!("the unknown kind is named: {text}"))?;
            expect(text.contains(&kind), format!("the kind {kind} is offered: {text}"))?;
            let opened = context.open_config(yaml).await.map(|_| ());
            expect_kind(opened, ErrorKind::ConfigInvalid, "opening it")?;
            Ok(())
        }
    ),
    case!(
        "REG-03",
        Reg,
        "Names of blocks are compared exactly.",
        "A configuration that works on one system and not on the next.",
        [],
        async |context| {
            let yaml = document_config(&context, "").replace("backend: main", "backend: Main");
            let text = refused(&context, &yaml, &[]).await?;
            expect(text.contains("main"), format!("the block there is, is named: {text}"))
        }
    ),
    case!(
        "REG-04",
        Reg,
        "An unknown key is refused with its place, its full path and the nearest valid key.",
        "Settings that were misspelt and silently had no effect.",
        [],
        async |context| {
            let yaml = document_config(&context, "softDeleteRetenton: 30d");
            let text = refused(&context, &yaml, &[]).await?;
            for part in ["storage.document.main.softDeleteRetenton", "softDeleteRetention", ":4:"] {
                expect(text.contains(part), format!("the error says {part}: {text}"))?;
            }
            refused(&context, "storage: {documents: {}}\n", &[]).await?;
            refused(&context, "storage: {}\nstore: {}\n", &[]).await?;
            Ok(())
        }
    ),
    case!(
        "REG-05",
        Reg,
        "Wrong types and durations are refused, all faults of a file at once.",
        "Finding the faults of a configuration one start after the other.",
        [],
        async |context| {
            for wrong in ["soon", "5", "[1]", "1.5h", "-5s", "{}"] {
                let yaml = document_config(&context, &format!("softDeleteRetention: {wrong}"));
                let text = refused(&context, &yaml, &[]).await?;
                expect(
                    text.contains("storage.document.main.softDeleteRetention"),
                    format!("{wrong} is refused with its key: {text}"),
                )?;
            }
            let yaml = document_config(&context, "softDeleteRetention: soon")
                + "  routing:\n    document: {strategy: sideways}\n    user: {strategy: single}\n";
            let text = refused(&context, &yaml, &[]).await?;
            for key in ["softDeleteRetention", "strategy", "user"] {
                expect(text.contains(key), format!("the fault at {key} is reported: {text}"))?;
            }
            Ok(())
        }
    ),
    case!(
        "REG-06",
        Reg,
        "A missing key is refused before anything is opened.",
        "A service that starts and fails at its first call.",
        [],
        async |context| {
            let yaml = document_config(&context, "").replace("    backend: main\n", "");
            let text = refused(&context, &yaml, &[]).await?;
            expect(text.contains("backend"), format!("the missing key is named: {text}"))
        }
    ),
    case!(
        "REG-07",
        Reg,
        "A key that the chosen backend has no use for is refused.",
        "A replica, a password or a limit that somebody believes to be in force.",
        [],
        async |context| {
            let yaml = document_config(&context, "replicaUri: \"host:1\"");
            let text = refused(&context, &yaml, &[]).await?;
            expect(text.contains("replicaUri"), format!("the key is named: {text}"))
        }
    ),
    case!(
        "REG-11",
        Reg,
        "A reference to a block that is not there is refused.",
        "Falling back to whatever else is configured.",
        [],
        async |context| {
            let yaml = document_config(&context, "").replace("backend: main", "backend: nowhere");
            let text = refused(&context, &yaml, &[]).await?;
            expect(text.contains("nowhere"), format!("the reference is named: {text}"))?;
            let yaml = document_config(&context, "")
                + "  routing:\n    document: {strategy: single, primary: nowhere}\n";
            let text = refused(&context, &yaml, &[]).await?;
            expect(text.contains("nowhere"), format!("the route's reference is named: {text}"))
        }
    ),
    case!(
        "REG-12",
        Reg,
        "Values come from the environment, a missing one is named, and none is ever shown.",
        "Secrets in logs, and empty passwords where a variable was not set.",
        [],
        async |context| {
            let yaml = document_config(&context, "softDeleteRetention: \"${SUITE_RETENTION}\"");
            let environment = [("SUITE_RETENTION", "96h")];
            context.harness().check_config(&yaml, &environment).await?;

            let text = refused(&context, &yaml, &[]).await?;
            expect(text.contains("SUITE_RETENTION"), format!("the variable is named: {text}"))?;
            let text = refused(&context, &yaml, &[("SUITE_RETENTION", canary::PASSWORD)]).await?;
            expect(!text.contains(canary::PASSWORD), "the value of a variable is shown")
        }
    ),
    case!(
        "REG-18",
        Reg,
        "Opening one store many times at once gives one store.",
        "Racing initialisations, each with a schema and a store id of its own.",
        [Shared],
        async |context| {
            let handles = in_tasks(4, |_| {
                let context = context.clone();
                async move { context.second_handle().await }
            });
            let handles = within(handles).await??;
            let path = context.unique_path()?;
            create(&context, &path, json!({"n": 1})).await?;
            for handle in handles {
                let read = handle.documents()?.get(&path, strong()).await?;
                expect_equal(read.value()?, json!({"n": 1}), "data through every handle")?;
            }
            Ok(())
        }
    ),
    case!(
        "REG-19",
        Reg,
        "A configuration opens the same way every time.",
        "Opening that changes the options it was given.",
        [],
        async |context| {
            let yaml = document_config(&context, "softDeleteRetention: 96h");
            let path = DocumentPath::parse("case/x")?;
            for round in 0..3 {
                let handle = context.open_config(&yaml).await?;
                let created =
                    handle.documents()?.create(&path, json!({}), Default::default()).await;
                expect(created.is_ok(), format!("round {round}: {created:?}"))?;
                handle.close().await?;
            }
            Ok(())
        }
    ),
    case!(
        "REG-20",
        Reg,
        "Each of two handles on the same data keeps its own options.",
        "Options of the first opening that silently hold for the second.",
        [Shared],
        async |context| {
            let day = Duration::from_secs(24 * 3600);
            let short = context.second_handle_with_retention(Retention::new(day, day)?).await?;
            let path = context.unique_path()?;
            create(&context, &path, json!({})).await?;
            context.store().delete(&path, Default::default()).await?;
            context.clock().advance(2 * day);
            let purged = context.admin().purge_expired(10).await?.purged;
            expect_equal(purged, 0, "purged with a retention of 30 days")?;
            context.tombstone(&path).await?;
            // Of a route one handle removes tombstones, for all: here the one that remains.
            context.handle().close().await?;
            within_limit(TAKE_OVER_LIMIT, purge_at_last(&*short.admin()?)).await?
        }
    ),
    case!(
        "REG-21",
        Reg,
        "An open store claims what its backend claims, and holds what it claims.",
        "Claims that a layer in between adds or loses.",
        [],
        async |context| {
            let claimed = context.capabilities();
            expect_equal(context.admin().capabilities(), claimed, "capabilities of the store")?;
            let path = context.unique_path()?;
            create(&context, &path, json!({"n": 1})).await?;
            if claimed.shared {
                let second = context.second_handle().await?;
                second.documents()?.get(&path, Default::default()).await?;
            }
            context.reopen().await?;
            if claimed.durable {
                expect_equal(get(&context, &path).await?.value()?, json!({"n": 1}), "data")?;
            }
            Ok(())
        }
    ),
];

/// A configuration with documents in the harness's backend and `settings` added to its block.
pub(super) fn document_config(context: &Context, settings: &str) -> String {
    let block = context.harness().config_block();
    let block = block.trim();
    let block = block.strip_suffix('}').unwrap_or(block);
    let separator = if settings.is_empty() { "" } else { ", " };
    format!("storage:\n  document:\n    backend: main\n    main: {block}{separator}{settings}}}\n")
}

/// All that the error says which refuses the configuration.
async fn refused(
    context: &Context,
    yaml: &str,
    environment: &[(&str, &str)],
) -> CaseResult<String> {
    let checked = context.harness().check_config(yaml, environment).await;
    let error = expect_kind(checked, ErrorKind::ConfigInvalid, yaml)?;
    Ok(format!("{error}\n{error:?}"))
}

/// Longest until a handle does what another one did that was closed.
const TAKE_OVER_LIMIT: Duration = Duration::from_secs(30);

/// Purges until something was there to be purged.
async fn purge_at_last(admin: &dyn DocumentAdmin) -> CaseResult {
    while admin.purge_expired(10).await?.purged == 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
