//! Routes whose shadow says something else than the primary: nobody is told, a verify tells it, a repair ends it.

use std::time::Duration;

use serde_json::json;
use syntrix_storage_core::{
    Consistency, Document, DocumentPath, ErrorKind, Filter, Metadata, Operator, Patch,
    QueryOptions, ReadOptions, Version,
};

use super::rte_steps::{
    FAR_AHEAD, at_path, expect_equal_sides, expect_there, find, lose, plant, read, shadow,
    tombstone_of, with_data,
};
use super::steps::{create, everything, only_if, patch};
use crate::case::case;
use crate::harness::{Difference, DifferenceKind, Route};
use crate::{Case, CaseResult, Context, expect_equal, expect_kind, expect_same_documents};

pub(super) static CASES: &[Case] = &[
    case!(
        "RTE-03",
        Rte,
        "The primary answers what must see the last commit, and everything that is its to answer.",
        "A shadow that answers for the primary.",
        [],
        async |context| {
            let (route, path) = (context.route()?, context.unique_path()?);
            let written = create(&context, &path, json!({"n": 1})).await?;
            contradict(&*route, &path).await?;
            expect_read(&context, &written, Consistency::Strong).await?;
            if !route.reads_shadow() {
                expect_read(&context, &written, Consistency::Session).await?;
                expect_read(&context, &written, Consistency::Any).await?;
            }
            Ok(())
        }
    ),
    case!(
        "RTE-05",
        Rte,
        "A write that is refused leaves the shadow as it was.",
        "A shadow with what was never acknowledged.",
        [],
        async |context| { refused_writes_leave_no_trace(&context).await }
    ),
    case!(
        "RTE-08",
        Rte,
        "Conditions are held against the primary: the shadow's version counts for nothing.",
        "A condition that is evaluated again on the shadow.",
        [],
        async |context| {
            let (route, path) = (context.route()?, context.unique_path()?);
            create(&context, &path, json!({"n": 1})).await?;
            let planted = contradict(&*route, &path).await?;
            let store = context.store();
            for wrong in [Filter::version_is(FAR_AHEAD), is_damaged()?] {
                let refused = store.update(&path, json!({}), only_if([wrong])).await;
                expect_kind(refused, ErrorKind::PreconditionFailed, "as the shadow has it")?;
            }
            expect_there(&shadow(&*route)?, &planted, "the shadow's document").await?;
            let right = only_if([Filter::version_is(Version::FIRST)]);
            let updated = store.update(&path, json!({"n": 2}), right).await?;
            expect_equal(updated.version(), Version::FIRST.next(), "the version")?;
            expect_equal_sides(&*route, &[path]).await
        }
    ),
    case!(
        "RTE-09",
        Rte,
        "A repair makes both sides the same, and made twice it changes nothing.",
        "A repair that writes anew what is right, or brings back what the primary removed.",
        [],
        async |context| {
            let route = context.route()?;
            let damaged = damage(&context, &*route).await?;
            for Difference { path, .. } in &damaged {
                expect_equal(route.repair(path).await?, true, format_args!("repair of {path}"))?;
                expect_equal(route.repair(path).await?, false, format_args!("again, {path}"))?;
            }
            expect_equal(route.verify().await?, [], "what is left")?;
            let phantom = find(&shadow(&*route)?, &context.path("phantom")?).await?;
            expect_equal(phantom, None, "a mark that stays would hide a later document")
        }
    ),
    case!(
        "RTE-16",
        Rte,
        "A verify tells each difference by its kind, and nothing else.",
        "A lost, older, foreign or changed record that nobody notices.",
        [],
        async |context| {
            let route = context.route()?;
            let damaged = damage(&context, &*route).await?;
            let mut found = route.verify().await?;
            found.sort_unstable();
            expect_equal(found, damaged, "what the verify tells")
        }
    ),
    case!(
        "RTE-24",
        Rte,
        "A patch builds upon what the primary has, and its event tells that.",
        "A write that begins with a read of the shadow.",
        [Watch],
        async |context| {
            let (route, path) = (context.route()?, context.unique_path()?);
            let mut watcher = context.watch_all().await?;
            create(&context, &path, json!({"n": 1})).await?;
            contradict(&*route, &path).await?;
            let patched = patch(&context, &path, Patch::new().set("m", 2)).await?;
            expect_equal(patched.value()?, json!({"m": 2, "n": 1}), "what the patch made")?;
            let events = watcher.events(2).await?;
            let told = events[1].document.value()?;
            expect_equal(told, json!({"m": 2, "n": 1}), "what the event tells")?;
            expect_equal_sides(&*route, &[path]).await
        }
    ),
];

/// Lets the shadow say something else about a document, with a version far ahead; returns what it says.
async fn contradict(route: &dyn Route, path: &DocumentPath) -> CaseResult<Document> {
    let shadow = shadow(route)?;
    route.drain().await?;
    let other = with_data(&read(&shadow, path).await?, FAR_AHEAD, r#"{"damaged":true}"#);
    plant(&shadow, other.clone()).await?;
    Ok(other)
}

/// Each kind of read finds `written`.
async fn expect_read(
    context: &Context,
    written: &Document,
    consistency: Consistency,
) -> CaseResult {
    let (store, path) = (context.store(), written.path());
    let written = std::slice::from_ref(written);
    let options = ReadOptions::default().with_consistency(consistency);
    let what = |call| format!("{call}, {consistency:?}");
    let got = store.get(path, options.clone()).await?;
    expect_same_documents(&[got], written, what("get"))?;
    let many = store.get_many(std::slice::from_ref(path), options).await?;
    let many: Vec<_> = many.into_iter().flatten().collect();
    expect_same_documents(&many, written, what("get_many"))?;
    let options = QueryOptions::default().with_consistency(consistency);
    let page = store.query(everything(context)?, options).await?;
    expect_same_documents(&page.documents, written, what("query"))
}

fn is_damaged() -> CaseResult<Filter> {
    Ok(Filter::new("damaged", Operator::Equal, true)?)
}

/// The shadow is made to be such that it would take what the primary refuses.
async fn refused_writes_leave_no_trace(context: &Context) -> CaseResult {
    let (route, store) = (context.route()?, context.store());
    let shadow = shadow(&*route)?;
    let (there, lost) = (context.unique_path()?, context.unique_path()?);
    let written = create(context, &there, json!({"n": 1})).await?;
    // No mirrored write, which may be late, brings back what is lost.
    plant(&route.primary(), at_path(&written, lost.clone())).await?;
    let planted = contradict(&*route, &there).await?;
    lose(&shadow, &lost).await?;

    let created = store.create(&lost, json!({}), Default::default()).await;
    expect_kind(created, ErrorKind::AlreadyExists, "create")?;
    let stale = only_if([Filter::version_is(FAR_AHEAD)]);
    let deleted = store.delete(&there, stale.clone()).await;
    expect_kind(deleted, ErrorKind::PreconditionFailed, "delete")?;
    let updated = store.update(&there, json!({}), stale).await;
    expect_kind(updated, ErrorKind::PreconditionFailed, "update")?;
    route.drain().await?;
    expect_there(&shadow, &planted, "the shadow's document").await?;
    expect_equal(find(&shadow, &lost).await?, None, "what was refused as existing")
}

/// What [`damage`] does, in the order of the paths.
const DAMAGED: [(&str, DifferenceKind); 8] = [
    ("ahead", DifferenceKind::Extra),
    ("buried", DifferenceKind::Different),
    ("changed", DifferenceKind::Different),
    ("lost", DifferenceKind::Missing),
    ("older", DifferenceKind::Stale),
    ("phantom", DifferenceKind::Extra),
    ("revived", DifferenceKind::Different),
    ("touched", DifferenceKind::Different),
];

/// Damages the shadow in each way there is, and returns what a verify must find.
async fn damage(context: &Context, route: &dyn Route) -> CaseResult<Vec<Difference>> {
    let whole = create(context, &context.path("whole")?, json!({"n": 1})).await?;
    let (first, second) = (whole.version(), whole.version().next());
    let shadow = shadow(route)?;
    write_unmirrored(context, route, &whole).await?;
    route.drain().await?;
    let stored = async |name| read(&shadow, &context.path(name)?).await;
    plant(&shadow, with_data(&stored("ahead").await?, FAR_AHEAD, r#"{"n":2}"#)).await?;
    plant(&shadow, tombstone_of(&stored("buried").await?)).await?;
    plant(&shadow, with_data(&stored("changed").await?, second, r#"{"n":3}"#)).await?;
    lose(&shadow, &context.path("lost")?).await?;
    plant(&shadow, with_data(&stored("older").await?, first, r#"{"n":1}"#)).await?;
    plant(&shadow, at_path(&whole, context.path("phantom")?)).await?;
    plant(&shadow, with_data(&stored("revived").await?, second, r#"{"n":2}"#)).await?;
    plant(&shadow, touched(&stored("touched").await?)).await?;
    let difference = |(name, kind): (&str, _)| Ok(Difference { path: context.path(name)?, kind });
    DAMAGED.into_iter().map(difference).collect()
}

/// Writes what will be damaged as somebody who knows no shadow, so that no mirrored write, which may be late, mends it.
async fn write_unmirrored(context: &Context, route: &dyn Route, like: &Document) -> CaseResult {
    let primary = route.primary();
    for (name, _) in DAMAGED.into_iter().filter(|(name, _)| *name != "phantom") {
        let document = at_path(like, context.path(name)?);
        plant(&primary, document.clone()).await?;
        let second = with_data(&document, like.version().next(), r#"{"n":2}"#);
        let second = if name == "revived" { tombstone_of(&second) } else { second };
        plant(&primary, second).await?;
    }
    Ok(())
}

/// `document`, written a millisecond later.
fn touched(document: &Document) -> Document {
    let updated_at = document.updated_at().saturating_add(Duration::from_millis(1));
    let metadata = Metadata { updated_at, ..document.metadata() };
    Document::from_parts(document.path().clone(), metadata, document.body().clone())
}
