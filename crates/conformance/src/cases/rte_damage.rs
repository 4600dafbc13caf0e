//! Routes whose shadow says something else than the primary: nobody is told, a verify tells it, a repair ends it.

use serde_json::json;
use syntrix_storage_core::{
    Consistency, DocumentPath, ErrorKind, Filter, Operator, Patch, QueryOptions, Version,
};

use super::rte_steps::{
    FAR_AHEAD, at, buried, changed, copied, expect_same_sides, lose, plant, there,
};
use super::steps::{create, everything, get_latest, only_if, patch, strong};
use crate::case::case;
use crate::harness::{Difference, Route};
use crate::{Case, CaseResult, Context, expect_equal, expect_kind, expect_same_documents};

pub(super) static CASES: &[Case] = &[
    case!(
        "RTE-03",
        Rte,
        "What must see the last commit is the primary's, whatever the shadow says.",
        "A shadow that answers for the primary.",
        [],
        async |context| {
            let (route, path) = (context.route()?, context.unique_path()?);
            let written = create(&context, &path, json!({"n": 1})).await?;
            contradict(&*route, &path).await?;
            let written = std::slice::from_ref(&written);
            let store = context.store();
            expect_same_documents(&[get_latest(&context, &path).await?], written, "get")?;
            let many = store.get_many(std::slice::from_ref(&path), strong()).await?;
            let many: Vec<_> = many.into_iter().flatten().collect();
            expect_same_documents(&many, written, "get_many")?;
            let options = QueryOptions::default().with_consistency(Consistency::Strong);
            let page = store.query(everything(&context)?, options).await?;
            expect_same_documents(&page.documents, written, "query")
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
            contradict(&*route, &path).await?;
            let store = context.store();
            for wrong in [Filter::version_is(FAR_AHEAD), is_damaged()?] {
                let refused = store.update(&path, json!({}), only_if([wrong])).await;
                expect_kind(refused, ErrorKind::PreconditionFailed, "as the shadow has it")?;
            }
            let right = only_if([Filter::version_is(Version::FIRST)]);
            let updated = store.update(&path, json!({"n": 2}), right).await?;
            expect_equal(updated.version(), Version::FIRST.next(), "the version")?;
            expect_same_sides(&*route, &[path]).await
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
                let path = DocumentPath::parse(path)?;
                expect_equal(route.repair(&path).await?, true, format_args!("repair of {path}"))?;
                expect_equal(route.repair(&path).await?, false, format_args!("again, {path}"))?;
            }
            expect_equal(route.verify().await?, [], "what is left")?;
            let phantom = at(&route.shadow(), &context.path("phantom")?).await?;
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
            expect_same_sides(&*route, &[path]).await
        }
    ),
];

/// Lets the shadow say something else about a document, with a version far ahead.
async fn contradict(route: &dyn Route, path: &DocumentPath) -> CaseResult {
    route.drain().await?;
    let shadow = route.shadow();
    let other = changed(&there(&shadow, path).await?, FAR_AHEAD, r#"{"damaged":true}"#);
    plant(&shadow, other).await
}

fn is_damaged() -> CaseResult<Filter> {
    Ok(Filter::new("damaged", Operator::Equal, true)?)
}

async fn refused_writes_leave_no_trace(context: &Context) -> CaseResult {
    let (route, store) = (context.route()?, context.store());
    let (path, nobody) = (context.unique_path()?, context.unique_path()?);
    create(context, &path, json!({"n": 1})).await?;
    route.drain().await?;
    let before = there(&route.shadow(), &path).await?;
    let created = store.create(&path, json!({}), Default::default()).await;
    expect_kind(created, ErrorKind::AlreadyExists, "create")?;
    let stale = only_if([Filter::version_is(FAR_AHEAD)]);
    let deleted = store.delete(&path, stale).await;
    expect_kind(deleted, ErrorKind::PreconditionFailed, "delete")?;
    let updated = store.update(&nobody, json!({}), Default::default()).await;
    expect_kind(updated, ErrorKind::NotFound, "update")?;
    let invalid = store.create(&nobody, json!([]), Default::default()).await;
    expect_kind(invalid, ErrorKind::InvalidArgument, "create of no object")?;
    route.drain().await?;
    let after = there(&route.shadow(), &path).await?;
    expect_same_documents(&[after], &[before], "the shadow's document")?;
    expect_equal(at(&route.shadow(), &nobody).await?, None, "what was never created")
}

/// Damages the shadow in each way there is; returns what that makes of it, sorted. The documents come from somebody who knows no
/// shadow: no mirrored write, which may be late, can mend what is damaged here.
async fn damage(context: &Context, route: &dyn Route) -> CaseResult<Vec<Difference>> {
    let (primary, shadow) = (route.primary(), route.shadow());
    let whole = create(context, &context.path("whole")?, json!({"n": 1})).await?;
    let (first, second) = (whole.version(), whole.version().next());
    for name in ["ahead", "buried", "changed", "lost", "older"] {
        let document = copied(&whole, context.path(name)?);
        plant(&primary, document.clone()).await?;
        plant(&primary, changed(&document, second, r#"{"n":2}"#)).await?;
    }
    route.drain().await?;
    let on_shadow = async |name| there(&shadow, &context.path(name)?).await;
    plant(&shadow, changed(&on_shadow("ahead").await?, FAR_AHEAD, r#"{"n":2}"#)).await?;
    plant(&shadow, buried(&on_shadow("buried").await?)).await?;
    plant(&shadow, changed(&on_shadow("changed").await?, second, r#"{"n":3}"#)).await?;
    lose(&shadow, &context.path("lost")?).await?;
    plant(&shadow, changed(&on_shadow("older").await?, first, r#"{"n":1}"#)).await?;
    plant(&shadow, copied(&whole, context.path("phantom")?)).await?;
    let told = |path: &str, verdict: &str| Difference {
        path: format!("case/{path}"),
        verdict: verdict.to_owned(),
    };
    Ok(vec![
        told("ahead", "extra"),
        told("buried", "different"),
        told("changed", "different"),
        told("lost", "missing"),
        told("older", "stale"),
        told("phantom", "extra"),
    ])
}
