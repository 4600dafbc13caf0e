//! Bad input and hostile data.

use serde_json::json;
use syntrix_storage_core::{
    CollectionPath, DocumentPath, Filter, Operator, PATH_BYTES_MAX, Patch, Query, Reason, Result,
};

use super::steps::{create, expect_unchanged, get, id_set, only_if, quoted};
use crate::case::case;
use crate::{Case, CaseResult, Context, expect, expect_equal, expect_reason};

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
