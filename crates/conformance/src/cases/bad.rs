//! Bad input and hostile data.

use fastrand::Rng;
use serde_json::{Value, json};
use syntrix_storage_core::{
    CollectionPath, DocumentPath, ErrorKind, FILTERS_MAX, Filter, IN_VALUES_MAX, LIMIT_MAX,
    Operator, PATH_BYTES_MAX, Patch, Query, Reason, Result,
};

use super::steps::{create, expect_never_written, expect_unchanged, get, id_set, only_if, quoted};
use crate::case::case;
use crate::{Case, CaseResult, Context, expect, expect_equal, expect_kind, expect_reason, within};

pub(super) static CASES: &[Case] = &[
    case!(
        "BAD-01",
        Bad,
        "An empty collection or id is refused wherever it can stand.",
        "Documents nobody can name.",
        [],
        async |context| {
            for text in ["", "/", "case/", "/x", "case//m/x", "case/x/m/", "//"] {
                expect_reason(DocumentPath::parse(text), Reason::Path, format!("path {text:?}"))?;
            }
            for text in ["", "/", "case//m", "/x/y", "case/x/"] {
                let parsed = CollectionPath::parse(text);
                expect_reason(parsed, Reason::Path, format!("collection {text:?}"))?;
                expect_reason(Query::new(text), Reason::Path, format!("query of {text:?}"))?;
            }
            let document = context.collection()?.document("");
            expect_reason(document, Reason::Path, "an empty id")?;
            Ok(())
        }
    ),
    case!(
        "BAD-02",
        Bad,
        "Paths with the wrong number of segments, with dots or with stray slashes are refused.",
        "Paths that a file system, a URL or a joined string reads in another way.",
        [],
        async |context| {
            let wrong = ["case", "a/b/c", "a/.", "a/..", "./a", "../a", "a/b/../c", "a/b/./c"];
            for text in wrong {
                expect_reason(DocumentPath::parse(text), Reason::Path, format!("path {text:?}"))?;
            }
            for text in ["a/b", "a/b/c/d", ".", "..", "a/./c", "a/../c"] {
                let parsed = CollectionPath::parse(text);
                expect_reason(parsed, Reason::Path, format!("collection {text:?}"))?;
            }
            expect_reason(
                context.collection()?.document("a/b"),
                Reason::Path,
                "an id with a slash",
            )?;
            for text in ["a/...", "a/.b", "a/b.", "..a/b", "~/x", "a/-"] {
                let path = DocumentPath::parse(text)?;
                create(&context, &path, json!({"at": text})).await?;
                let read = get(&context, &path).await?;
                expect_equal(read.value()?, json!({"at": text}), format!("data of {text}"))?;
            }
            Ok(())
        }
    ),
    case!(
        "BAD-03",
        Bad,
        "A path of 512 bytes works everywhere; one byte more is refused.",
        "Key columns that are too narrow, and paths that are cut.",
        [],
        async |context| {
            let id = "x".repeat(PATH_BYTES_MAX - "case/".len());
            for id in [id.clone(), format!("{}é", &id[2..]), format!("{}y", &id[1..])] {
                let path = context.path(&id)?;
                let created = create(&context, &path, json!({"n": 1})).await?;
                expect_unchanged(&context, &created).await?;
            }
            let longest = id_set(&context, Query::of(context.collection()?)).await?;
            expect_equal(longest.len(), 3, "documents with the longest path")?;
            expect_reason(
                context.collection()?.document(&format!("{id}x")),
                Reason::Path,
                "513 bytes",
            )?;
            let wide = "é".repeat(PATH_BYTES_MAX / 2);
            expect_reason(DocumentPath::parse(&format!("c/{wide}")), Reason::Path, "bytes count")?;

            let collection = CollectionPath::parse(&"c".repeat(PATH_BYTES_MAX - 2))?;
            let path = collection.document("x")?;
            create(&context, &path, json!({})).await?;
            expect_equal(
                id_set(&context, Query::of(collection)).await?,
                vec!["x"],
                "a long collection",
            )
        }
    ),
    case!(
        "BAD-04",
        Bad,
        "Control characters have no place in a path.",
        "Log lines, headers and terminals that a path can write to.",
        [],
        async |context| {
            for code in (0..0x20).chain([0x7f]) {
                let character = char::from(code);
                let id = format!("a{character}b");
                let document = context.collection()?.document(&id);
                expect_reason(document, Reason::Path, format!("U+{code:04X} in an id"))?;
                let collection = CollectionPath::parse(&id);
                expect_reason(collection, Reason::Path, format!("U+{code:04X} in a collection"))?;
            }
            for id in ["a\u{80}b", "a\u{2028}b", "a\u{feff}b", "a\u{fffd}b", " ", "\u{a0}"] {
                let path = context.path(id)?;
                let created = create(&context, &path, json!({})).await?;
                expect_unchanged(&context, &created).await?;
            }
            Ok(())
        }
    ),
    case!(
        "BAD-05",
        Bad,
        "Text that is a command, an operator or a pattern elsewhere is plain data here.",
        "Injection through ids, collections, keys, values and operands.",
        [],
        async |context| {
            for (number, text) in HOSTILE.into_iter().enumerate() {
                let path = DocumentPath::parse(&format!("{text}/{text}"))?;
                let data = json!({text: text, "n": number, "nested": {text: [text]}});
                let created = create(&context, &path, data).await?;
                expect_unchanged(&context, &created).await?;
                finds_only_itself(&context, &path, text).await?;
            }
            let patch =
                HOSTILE.into_iter().fold(Patch::new(), |patch, text| patch.set(quoted(text), text));
            let path = context.unique_path()?;
            create(&context, &path, json!({"kept": true})).await?;
            let patched = context.store().patch(&path, patch, Default::default()).await?.document;
            expect_equal(
                patched.value()?.as_object().map(serde_json::Map::len),
                Some(HOSTILE.len() + 1),
                "members after the patch",
            )
        }
    ),
    case!(
        "BAD-06",
        Bad,
        "Collections and ids that read the same when joined are different documents.",
        "Keys that are joined without a separator.",
        [],
        async |context| {
            let texts = ["a/bc", "ab/c", "a/b/c/d", "a/b/cd/e", "abc/d", "a/b", "a-b/c", "a/b-c"];
            for text in texts {
                create(&context, &text.parse()?, json!({"at": text})).await?;
            }
            for text in texts {
                let read = get(&context, &text.parse()?).await?;
                expect_equal(read.value()?, json!({"at": text}), format!("data of {text}"))?;
            }
            let ids = id_set(&context, Query::new("a")?).await?;
            expect_equal(ids, ["b", "b-c", "bc"].to_vec(), "documents of a")
        }
    ),
    case!(
        "BAD-07",
        Bad,
        "Data that is no object is refused and changes nothing.",
        "Bodies that are wrapped, or stored as null.",
        [],
        async |context| {
            let (store, path) = (context.store(), context.unique_path()?);
            let missing = context.unique_path()?;
            let stored = create(&context, &path, json!({"n": 1})).await?;
            for data in
                [json!([]), json!([{"a": 1}]), json!(1), json!("{}"), json!(true), json!(null)]
            {
                let written = store.create(&missing, data.clone(), Default::default()).await;
                expect_reason(written, Reason::DataNotObject, format!("create {data}"))?;
                let written = store.update(&path, data.clone(), Default::default()).await;
                expect_reason(written, Reason::DataNotObject, format!("update {data}"))?;
                let patch = Patch::from_value(data.clone());
                expect_reason(patch, Reason::DataNotObject, format!("patch {data}"))?;
            }
            expect_never_written(&context, &missing).await?;
            expect_unchanged(&context, &stored).await
        }
    ),
    case!(
        "BAD-09",
        Bad,
        "Unknown operators and operands of the wrong type are refused before anything is read.",
        "Operands that a backend interprets in its own way.",
        [],
        async |_context| {
            for name in ["", "=", "===", "$eq", "not-in", "like", "IN", "contains-any", "<>"] {
                let parsed = name.parse::<Operator>();
                expect_reason(parsed, Reason::OpUnknown, format!("operator {name:?}"))?;
            }
            use Operator::{Contains, Equal, Greater, In, Less, NotEqual};
            let wrong = [
                (Equal, json!([1])),
                (Equal, json!({"$ne": 1})),
                (NotEqual, json!({})),
                (Less, json!(null)),
                (Greater, json!(true)),
                (Less, json!([])),
                (In, json!(1)),
                (In, json!("abc")),
                (In, json!({"0": 1})),
                (In, json!([[1]])),
                (Contains, json!([1])),
                (Contains, json!({"a": 1})),
            ];
            for (operator, operand) in wrong {
                let what = format!("{operator} {operand}");
                expect_reason(Filter::new("n", operator, operand), Reason::OperandType, what)?;
            }
            let long = "x".repeat(513);
            expect_reason(
                Filter::new("n", Equal, long.clone()),
                Reason::OperandTooLong,
                "513 bytes",
            )?;
            let list = Filter::new("n", In, json!([long]));
            expect_reason(list, Reason::OperandTooLong, "513 bytes in a list")?;
            let huge = Filter::new("n", Equal, u64::MAX);
            expect_reason(huge, Reason::NumberOutOfRange, "an integer beyond 64 bits signed")?;
            Ok(())
        }
    ),
    case!(
        "BAD-10",
        Bad,
        "Filters beyond their limits are refused; at the limits they work.",
        "Statements that grow with the input until the server refuses them.",
        [],
        async |context| {
            create(&context, &context.path("x")?, json!({"n": 1})).await?;
            let filters = |count: usize| {
                (0..count).try_fold(Query::of(context.collection()?), |query, _| {
                    Ok::<_, crate::Failure>(query.filter("n", Operator::NotEqual, 2)?)
                })
            };
            expect_equal(id_set(&context, filters(FILTERS_MAX)?).await?, vec!["x"], "20 filters")?;
            let asked = context.store().query(filters(FILTERS_MAX + 1)?, Default::default()).await;
            expect_reason(asked, Reason::TooManyFilters, "21 filters")?;

            let condition = Filter::new("n", Operator::Equal, 1)?;
            let conditions = only_if(vec![condition; FILTERS_MAX + 1]);
            let path = context.path("x")?;
            let written = context.store().update(&path, json!({}), conditions).await;
            expect_reason(written, Reason::TooManyFilters, "21 preconditions")?;

            let values = |count: usize| (1..=count).map(Value::from).collect::<Value>();
            let query = Query::of(context.collection()?);
            let most = query.filter("n", Operator::In, values(IN_VALUES_MAX))?;
            expect_equal(id_set(&context, most).await?, vec!["x"], "100 values")?;
            let more = Filter::new("n", Operator::In, values(IN_VALUES_MAX + 1));
            expect_reason(more, Reason::InTooMany, "101 values")?;
            Ok(())
        }
    ),
    case!(
        "BAD-13",
        Bad,
        "An error names operation and path, and never shows what is in a document.",
        "User data in logs.",
        [],
        async |context| {
            const SECRET: &str = "hunter2-in-the-body";
            let (store, path) = (context.store(), context.unique_path()?);
            let data = json!({"secret": SECRET, "list": [SECRET]});
            create(&context, &path, data.clone()).await?;
            let missing = context.unique_path()?;

            discreet("create", &path, store.create(&path, data.clone(), Default::default()).await)?;
            discreet("get", &missing, store.get(&missing, Default::default()).await)?;
            let written = store.update(&missing, data.clone(), Default::default()).await;
            discreet("update", &missing, written)?;
            let other = only_if([Filter::new("secret", Operator::NotEqual, SECRET)?]);
            discreet("delete", &path, store.delete(&path, other.clone()).await)?;
            discreet("update", &path, store.update(&path, data, other).await)?;
            let patch = Patch::new().set("secret.x", SECRET);
            discreet("patch", &path, store.patch(&path, patch, Default::default()).await)?;

            let large = json!({"text": SECRET.repeat(100_000)});
            let refused = store.update(&path, large, Default::default()).await;
            let error = expect_reason(refused, Reason::TooLarge, "update")?;
            expect_equal(error.operation(), "update", "operation")?;
            silent(&error)?;
            let error = expect_reason(
                Filter::new("n", Operator::Equal, json!([SECRET])),
                Reason::OperandType,
                "a list as operand",
            )?;
            silent(&error)
        }
    ),
    case!(
        "BAD-16",
        Bad,
        "Two hundred generated bad inputs are refused for the reason they should be.",
        "Validation that differs from backend to backend, or depends on luck.",
        [],
        async |context| {
            let (store, path) = (context.store(), context.unique_path()?);
            let stored = create(&context, &path, json!({"n": 1})).await?;
            // A fixed seed: the same inputs on every backend and in every run.
            let mut random = Rng::with_seed(16);
            for round in 0..200 {
                let (data, reason) = bad_data(&mut random);
                let what = format!("round {round}, {}", reason.as_str());
                let written = match round % 3 {
                    0 => store.update(&path, data, Default::default()).await,
                    1 => {
                        let missing = context.unique_path()?;
                        store.create(&missing, data, Default::default()).await
                    }
                    _ => {
                        let patch = Patch::from_value(data)?;
                        store.patch(&path, patch, Default::default()).await
                    }
                };
                expect_reason(written, reason, what)?;
            }
            expect_unchanged(&context, &stored).await?;
            expect_equal(
                id_set(&context, Query::of(context.collection()?)).await?.len(),
                1,
                "documents",
            )
        }
    ),
    case!(
        "BAD-17",
        Bad,
        "Input is checked before existence, and existence before preconditions.",
        "Answers that depend on which check a backend happens to make first.",
        [],
        async |context| {
            let (store, missing) = (context.store(), context.unique_path()?);
            let never = || Filter::new("n", Operator::Equal, 99);
            let written = store.update(&missing, json!([]), only_if([never()?])).await;
            expect_reason(written, Reason::DataNotObject, "bad data for a missing document")?;
            let overlap = Patch::new().set("a", 1).set("a.b", 1);
            let written = store.patch(&missing, overlap.clone(), only_if([never()?])).await;
            expect_reason(written, Reason::PatchOverlap, "a bad patch of a missing document")?;
            let written = store.update(&missing, json!({}), only_if([never()?])).await;
            expect_kind(written, ErrorKind::NotFound, "a condition on a missing document")?;

            let path = context.unique_path()?;
            let stored = create(&context, &path, json!({"n": 1})).await?;
            let written = store.create(&path, json!({"version": 1}), Default::default()).await;
            expect_reason(written, Reason::ReservedField, "bad data for a live document")?;
            let written = store.patch(&path, overlap, only_if([never()?])).await;
            expect_reason(written, Reason::PatchOverlap, "a bad patch under a false condition")?;
            let conflict = Patch::new().set("n.x", 1);
            let written = store.patch(&path, conflict, only_if([never()?])).await;
            expect_kind(written, ErrorKind::PreconditionFailed, "a conflict under a false one")?;
            expect_unchanged(&context, &stored).await
        }
    ),
    case!(
        "BAD-18",
        Bad,
        "A refused call leaves no trace: no document, no tombstone, no version, no event.",
        "Checks that come after the first write.",
        [Watch],
        async |context| {
            let (store, path) = (context.store(), context.unique_path()?);
            let missing = context.unique_path()?;
            let stored = create(&context, &path, json!({"n": 1})).await?;
            let mut watcher = context.watch_all().await?;
            let bad = json!({"deleted": true});
            for path in [&path, &missing] {
                let written = store.create(path, bad.clone(), Default::default()).await;
                expect_reason(written, Reason::ReservedField, "create")?;
                let written = store.update(path, bad.clone(), Default::default()).await;
                expect_reason(written, Reason::ReservedField, "update")?;
                let patch = Patch::new().set("a", 1).set("version", 7);
                let written = store.patch(path, patch, Default::default()).await;
                expect_reason(written, Reason::ReservedField, "patch")?;
            }
            expect_unchanged(&context, &stored).await?;
            expect_never_written(&context, &missing).await?;
            watcher.no_event().await
        }
    ),
    case!(
        "BAD-19",
        Bad,
        "The largest legal limit on an empty collection costs nothing.",
        "Memory reserved for what was asked instead of what is there.",
        [],
        async |context| {
            let query = Query::of(context.collection()?).limit(LIMIT_MAX);
            for _ in 0..100 {
                let page =
                    within(context.store().query(query.clone(), Default::default())).await??;
                expect(page.documents.is_empty() && page.next.is_none(), "an empty last page")?;
            }
            let beyond = query.limit(u32::MAX);
            let asked = context.store().query(beyond, Default::default()).await;
            expect_reason(asked, Reason::Limit, "a limit beyond the largest")?;
            Ok(())
        }
    ),
];

/// What is special to some database, shell, template or path language.
const HOSTILE: [&str; 18] = [
    "'; DROP TABLE documents; --",
    "\" OR \"\"=\"",
    "' OR '1'='1",
    "$where",
    "$ne",
    "%",
    "_",
    "*",
    "?1",
    ":name",
    "@p",
    "[a-z]",
    "\\",
    "{\"$gt\": \"\"}",
    "${HOME}",
    "%s%n",
    "__proto__",
    "#{1}",
];

/// Looks for the document by collection, by key and by value.
async fn finds_only_itself(context: &Context, path: &DocumentPath, text: &str) -> CaseResult {
    let all = Query::of(path.collection());
    expect_equal(id_set(context, all.clone()).await?, vec![text], format!("collection {text}"))?;
    for field in [quoted(text), format!("nested.{}", quoted(text))] {
        let operator =
            if field.starts_with("nested") { Operator::Contains } else { Operator::Equal };
        let query = all.clone().filter(&field, operator, text)?;
        let what = format!("{field} {operator} {text}");
        expect_equal(id_set(context, query).await?, vec![text], what)?;
    }
    let other = all.filter(&quoted(text), Operator::Equal, format!("{text}{text}"))?;
    expect_equal(id_set(context, other).await?, Vec::<String>::new(), "another value")
}

/// Data that breaks one rule, and which.
fn bad_data(random: &mut Rng) -> (Value, Reason) {
    let (mut data, reason) = match random.u8(0..7) {
        0 => (json!({"key\0": 1}), Reason::KeyNul),
        1 => (json!({"k".repeat(random.usize(513..900)): 1}), Reason::KeyTooLong),
        2 => (json!({"text": "a\0b"}), Reason::StringNul),
        3 => (json!({"n": random.u64(1 << 63..=u64::MAX)}), Reason::NumberOutOfRange),
        4 => (json!({"text": "x".repeat((1 << 20) + random.usize(0..9))}), Reason::TooLarge),
        5 => (nested(random.usize(65..90)), Reason::TooDeep),
        _ => {
            let names = ["_id", "fullpath", "version", "deleted", "createdAt", "parent"];
            return (json!({names[random.usize(0..names.len())]: 1}), Reason::ReservedField);
        }
    };
    if reason == Reason::KeyNul || reason == Reason::KeyTooLong {
        // At the top a patch reads a key as a field path; below it, it is a key.
        data = json!({"outer": data});
    }
    (data, reason)
}

/// An object with `levels` levels below it, lists and objects in turn.
fn nested(levels: usize) -> Value {
    let wrap = |inner: Value, level: usize| match level % 2 {
        0 => json!([inner]),
        _ => json!({"a": inner}),
    };
    json!({"a": (0..levels).fold(json!(1), wrap)})
}

/// The error has operation and path and keeps the body to itself.
fn discreet<T: std::fmt::Debug>(
    operation: &str,
    path: &DocumentPath,
    result: Result<T>,
) -> CaseResult {
    let Err(error) = result else {
        return Err(crate::Failure::new(format_args!("{operation} {path} succeeded")));
    };
    expect_equal(error.operation(), operation, "operation")?;
    expect_equal(error.fact("path"), Some(path.as_str()), format!("path in {error}"))?;
    silent(&error)
}

fn silent(error: &syntrix_storage_core::Error) -> CaseResult {
    let shown = format!("{error} {error:?}");
    expect(!shown.contains("hunter2"), "an error shows what is in a document")
}
