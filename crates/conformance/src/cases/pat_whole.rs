//! Patches: as a whole, side by side, and against a model.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use syntrix_storage_core::{
    BulkItem, DocumentPath, DocumentStore, ErrorKind, Filter, Patch, Reason, Version, WriteResult,
};

use super::pat::{becomes, refused};
use super::random::{Random, field_of};
use super::steps::{
    create, expect_never_written, expect_unchanged, get_latest, in_tasks, only_if, patch, stores,
};
use crate::case::case;
use crate::{Case, CaseResult, Context, Failure, expect, expect_equal, expect_kind};

/// Tasks that write one document at once.
const TASKS: usize = 64;

pub(super) static CASES: &[Case] = &[
    case!(
        "PAT-26",
        Pat,
        "Patching a missing or deleted document is not_found and creates nothing.",
        "A patch that is an upsert.",
        [],
        async |context| {
            let (store, path) = (context.store(), context.unique_path()?);
            for changes in [Patch::new().set("a", 1), Patch::new().remove("a"), Patch::new()] {
                let patched = store.patch(&path, changes, Default::default()).await;
                expect_kind(patched, ErrorKind::NotFound, "patch of nothing")?;
                expect_never_written(&context, &path).await?;
            }
            create(&context, &path, json!({"a": 1})).await?;
            let tombstone = store.delete(&path, Default::default()).await?.document;
            let patched = store.patch(&path, Patch::new().set("a", 1), Default::default()).await;
            expect_kind(patched, ErrorKind::NotFound, "patch of a tombstone")?;
            let now = context.tombstone(&path).await?;
            expect_equal(now.metadata(), tombstone.metadata(), "tombstone")
        }
    ),
    case!(
        "PAT-27",
        Pat,
        "If one change of a patch is invalid, none is applied.",
        "Applying the changes one by one until one fails.",
        [],
        async |context| {
            let good = || Patch::new().set("a.b", 9).set("new.deep", 1).remove("x");
            refused(&context, good().set("z..", 1), Reason::FieldPath).await?;
            refused(&context, good().set("z", "\0"), Reason::StringNul).await?;
            refused(&context, good().set("z", u64::MAX), Reason::NumberOutOfRange).await?;
            refused(&context, good().set("z", json!({"\0": 1})), Reason::KeyNul).await?;
            refused(&context, good().set("z", json!({"$delete": false})), Reason::DeleteSentinel)
                .await?;
            refused(&context, good().set("version", 1), Reason::ReservedField).await?;

            let path = context.unique_path()?;
            let created = create(&context, &path, json!({"a": {"b": 1}, "x": 2, "z": 3})).await?;
            let changes = good().set("z.y", 1);
            let patched = context.store().patch(&path, changes, Default::default()).await;
            expect_kind(patched, ErrorKind::PathConflict, "a conflict in the last change")?;
            expect_unchanged(&context, &created).await
        }
    ),
    case!(
        "PAT-28",
        Pat,
        "A patch counts the version up by one and moves updatedAt, not createdAt.",
        "Counting each change, and metadata that a patch forgets.",
        [],
        async |context| {
            let path = context.unique_path()?;
            let created = create(&context, &path, json!({"n": 1})).await?;
            context.clock().advance(Duration::from_millis(250));
            let changes = Patch::new().set("n", 2).set("m", 3).remove("k");
            let patched = patch(&context, &path, changes).await?;
            expect_equal(patched.version(), created.version().next(), "version")?;
            expect_equal(patched.created_at(), created.created_at(), "createdAt")?;
            expect(patched.updated_at() > created.updated_at(), "updatedAt moved")?;
            expect_unchanged(&context, &patched).await
        }
    ),
    case!(
        "PAT-29",
        Pat,
        "Patches of 64 tasks at once, half of them in bulk, all survive.",
        "Reading, changing and writing the whole document without a check.",
        [],
        async |context| {
            const ROUNDS: usize = 4;
            let path = context.unique_path()?;
            create(&context, &path, json!({"in": {}})).await?;
            let handles = stores(&context).await?;
            let task = |number: usize| {
                let store = Arc::clone(&handles[number % handles.len()]);
                let path = path.clone();
                async move {
                    let mut versions = Vec::new();
                    for round in 0..ROUNDS {
                        let patch = Patch::new().set(format!("in.f{number}.r{round}"), number);
                        let written = match (number + round) % 4 < 2 {
                            true => store.patch(&path, patch, Default::default()).await?,
                            false => patch_in_bulk(&*store, &path, patch).await?,
                        };
                        versions.push(written.version());
                    }
                    Ok(versions)
                }
            };
            let mut versions = in_tasks(TASKS, task).await?.concat();
            versions.sort_unstable();
            let expected: Vec<_> = (2..).map(Version::new).take(TASKS * ROUNDS).collect();
            expect(versions == expected, "the versions are each there once and without a gap")?;
            let rounds = |number: usize| {
                (0..ROUNDS).map(|round| (format!("r{round}"), json!(number))).collect::<Map<_, _>>()
            };
            let fields = (0..TASKS).map(|number| (format!("f{number}"), rounds(number).into()));
            let expected = json!({"in": fields.collect::<Map<_, _>>()});
            expect_equal(get_latest(&context, &path).await?.value()?, expected, "data")
        }
    ),
    case!(
        "PAT-30",
        Pat,
        "64 tasks count one field up under a version check, and no step is lost.",
        "Two writers that both pass the check of one version.",
        [],
        async |context| {
            const STEPS: usize = 2;
            let path = context.unique_path()?;
            create(&context, &path, json!({"count": 0})).await?;
            let handles = stores(&context).await?;
            let task = |number: usize| {
                let store = Arc::clone(&handles[number % handles.len()]);
                let path = path.clone();
                async move {
                    for _ in 0..STEPS {
                        count_up(&*store, &path).await?;
                    }
                    Ok(())
                }
            };
            in_tasks(TASKS, task).await?;
            let counted = get_latest(&context, &path).await?;
            expect_equal(counted.value()?, json!({"count": TASKS * STEPS}), "data")?;
            let version = Version::new((1 + TASKS * STEPS) as i64);
            expect_equal(counted.version(), version, "version")
        }
    ),
    case!(
        "PAT-32",
        Pat,
        "A patch whose result is above 1 MiB or too deep is refused and changes nothing.",
        "Limits that are checked for whole documents only.",
        [],
        async |context| {
            let (store, path) = (context.store(), context.unique_path()?);
            let half = "x".repeat(600_000);
            let created = create(&context, &path, json!({"a": half})).await?;
            let patched = store.patch(&path, Patch::new().set("b", half), Default::default()).await;
            let error = expect_kind(patched, ErrorKind::InvalidArgument, "a second half")?;
            expect_equal(error.reason(), Some(Reason::TooLarge), "reason")?;
            expect_unchanged(&context, &created).await?;

            let deep = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
            refused(&context, Patch::new().set("p.q.r", deep(62)), Reason::TooDeep).await?;
            let after = json!({"p": {"q": {"r": deep(61)}}});
            becomes(&context, json!({}), Patch::new().set("p.q.r", deep(61)), after).await
        }
    ),
    case!(
        "PAT-33",
        Pat,
        "Setting an object replaces the one that was there.",
        "Deep merges, and removal marks that are taken seriously inside a value.",
        [],
        async |context| {
            let before = || json!({"a": {"b": 1, "c": {"d": 2}}, "x": 1});
            let set = Patch::new().set("a", json!({"c": {"e": 3}}));
            becomes(&context, before(), set, json!({"a": {"c": {"e": 3}}, "x": 1})).await?;
            let empty = Patch::new().set("a", json!({}));
            becomes(&context, before(), empty, json!({"a": {}, "x": 1})).await?;
            let plain = json!({"b": {"$delete": true}, "$delete": true});
            let set = Patch::new().set("a", plain.clone());
            becomes(&context, before(), set, json!({"a": plain, "x": 1})).await
        }
    ),
    case!(
        "PAT-34",
        Pat,
        "Random patches do what a model of them does, and what a full update would.",
        "Combinations that nobody thought of.",
        [],
        async |context| {
            let mut random = Random::new();
            for round in 0..200 {
                let tried = try_random_patch(&context, &mut random).await;
                random.explain(round, tried)?;
            }
            Ok(())
        }
    ),
];

async fn patch_in_bulk(
    store: &dyn DocumentStore,
    path: &DocumentPath,
    patch: Patch,
) -> CaseResult<WriteResult> {
    let item = BulkItem::Patch { path: path.clone(), patch, preconditions: Vec::new() };
    Ok(store.bulk(vec![item], Default::default()).await?.remove(0)?)
}

/// Adds one to `count`, again and again until no one else was faster.
async fn count_up(store: &dyn DocumentStore, path: &DocumentPath) -> CaseResult {
    loop {
        let current = store.get(path, Default::default()).await?;
        let count = current.value()?["count"].as_i64().ok_or_else(|| Failure::new("no count"))?;
        let changes = Patch::new().set("count", count + 1);
        let unchanged = only_if([Filter::version_is(current.version())]);
        match store.patch(path, changes, unchanged).await {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::PreconditionFailed => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// One change of a random patch: where, and what; `None` removes.
type Change = (Vec<&'static str>, Option<Value>);

async fn try_random_patch(context: &Context, random: &mut Random) -> CaseResult {
    let data = Value::Object(random.object(3));
    let changes = random_changes(random);
    let mut changes_json = Patch::new();
    for (keys, value) in &changes {
        changes_json = match value {
            Some(value) => changes_json.set(field_of(keys), value.clone()),
            None => changes_json.remove(field_of(keys)),
        };
    }
    let what = format!("{data} patched by {changes_json:?}");
    let (path, twin) = (context.unique_path()?, context.unique_path()?);
    let created = create(context, &path, data.clone()).await?;
    let patched = context.store().patch(&path, changes_json, Default::default()).await;

    if overlap(&changes) {
        let error = expect_kind(patched, ErrorKind::InvalidArgument, &what)?;
        expect_equal(error.reason(), Some(Reason::PatchOverlap), what)?;
        return expect_unchanged(context, &created).await;
    }
    let Some(expected) = apply(&changes, data) else {
        expect_kind(patched, ErrorKind::PathConflict, what)?;
        return expect_unchanged(context, &created).await;
    };
    let patched = patched?.document;
    create(context, &twin, json!({"old": 1})).await?;
    let updated = context.store().update(&twin, expected, Default::default()).await?.document;
    expect_equal(patched.value()?, updated.value()?, what)?;
    expect_equal(patched.version(), updated.version(), "version")?;
    expect_unchanged(context, &patched).await
}

fn random_changes(random: &mut Random) -> Vec<Change> {
    let count = random.rng.usize(..5);
    let change = |random: &mut Random| {
        let value = if random.one_in(3) { None } else { Some(random.value(2)) };
        let mut keys = random.keys();
        keys.truncate(3);
        (keys, value)
    };
    std::iter::repeat_with(|| change(random)).take(count).collect()
}

/// Whether one path is equal to another or leads through it.
fn overlap(changes: &[Change]) -> bool {
    changes.iter().enumerate().any(|(position, (keys, _))| {
        let others = changes.iter().enumerate().filter(|(other, _)| *other != position);
        others.into_iter().any(|(_, (other, _))| other.starts_with(keys))
    })
}

/// The model: `None` if a change leads through something that is no object.
fn apply(changes: &[Change], mut data: Value) -> Option<Value> {
    for (keys, value) in changes {
        data = apply_one(data, keys, value.as_ref())?;
    }
    Some(data)
}

fn apply_one(target: Value, keys: &[&str], value: Option<&Value>) -> Option<Value> {
    let Some((first, rest)) = keys.split_first() else { return value.cloned() };
    let mut object = match (target, value) {
        (Value::Object(object), _) => object,
        (other, None) => return Some(other),
        (_, Some(_)) => return None,
    };
    match (object.remove(*first), rest.is_empty(), value) {
        (_, true, Some(value)) => drop(object.insert((*first).to_owned(), value.clone())),
        (_, true, None) | (None, false, None) => {}
        (found, false, value) => {
            let inner = found.unwrap_or_else(|| json!({}));
            object.insert((*first).to_owned(), apply_one(inner, rest, value)?);
        }
    }
    Some(Value::Object(object))
}
