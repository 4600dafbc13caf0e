//! Documents: ids and field names are data, never patterns or syntax.

use serde_json::{Map, Value, json};
use syntrix_storage_core::{DocumentPath, Operator, Patch, Reason};

use super::steps::{
    create, everything, expect_found, expect_unchanged, get, patch, quoted, refuse_data,
};
use crate::case::case;
use crate::{Case, CaseResult, Context, expect_equal};

/// Names of fields that are syntax somewhere.
const ODD_NAMES: [&str; 30] = [
    "a.b",
    ".",
    "..",
    "$set",
    "$",
    "a$b",
    "a/b",
    "\"",
    "q\"r",
    "'",
    "o'clock",
    "\\",
    "b\\s",
    "`",
    "``x`",
    " ",
    " x ",
    "line\nfeed",
    "\u{1}\u{1f}",
    "tab\t",
    "",
    "__proto__",
    "%",
    "%2E",
    "%_",
    "a[0]",
    "*",
    "0",
    "é\u{301}",
    "😀",
];

/// The top-level names that belong to the store.
const SYSTEM_NAMES: [&str; 8] =
    ["_id", "fullpath", "collection", "parent", "createdAt", "updatedAt", "version", "deleted"];

pub(super) static CASES: &[Case] = &[
    case!(
        "DOC-27",
        Doc,
        "The composed and the decomposed form of a word are two document ids.",
        "Unicode normalisation of ids on the way or in the database.",
        [],
        async |context| {
            let ids = ["caf\u{e9}", "cafe\u{301}"];
            each_is_its_own(&context, &ids).await
        }
    ),
    case!(
        "DOC-28",
        Doc,
        "Ids that differ only in case are different documents.",
        "A collation that ignores case.",
        [],
        async |context| {
            each_is_its_own(&context, &["Room", "room", "ROOM"]).await?;
            each_is_its_own(&context, &["Straße", "STRASSE", "strasse", "i", "I", "ı", "İ"]).await
        }
    ),
    case!(
        "DOC-29",
        Doc,
        "Ids that differ only in blanks around them are different documents.",
        "Fixed-width and padding collations, and trimming.",
        [],
        async |context| {
            let ids = ["a", "a ", " a", " a ", "a\u{a0}"];
            each_is_its_own(&context, &ids).await
        }
    ),
    case!(
        "DOC-30",
        Doc,
        "Any field name is stored, returned and addressed exactly.",
        "Names with dots, dollars or quotes that are split, escaped visibly or never found again.",
        [],
        async |context| {
            let path = context.unique_path()?;
            for name in ODD_NAMES {
                for data in [object(name, json!(1)), json!({"in": [object(name, json!([null]))]})] {
                    let path = context.unique_path()?;
                    let created = create(&context, &path, data.clone()).await?;
                    expect_equal(created.value()?, data, format_args!("{name:?} in the result"))?;
                    expect_unchanged(&context, &created).await?;
                }
            }
            let all = ODD_NAMES.iter().zip(100..).map(|(name, n)| ((*name).to_owned(), json!(n)));
            let inner = Value::Object(all.collect());
            create(&context, &path, json!({"all": inner, "flag": 1})).await?;
            expect_equal(
                &get(&context, &path).await?.value()?["all"],
                &inner,
                "all names at once",
            )?;
            address_each(&context, &path, inner).await?;

            let longest = "k".repeat(512);
            create(&context, &context.unique_path()?, object(&longest, json!(1))).await?;
            refuse_data(&context, object(&"k".repeat(513), json!(1)), Reason::KeyTooLong).await?;
            refuse_data(&context, object(&"é".repeat(257), json!(1)), Reason::KeyTooLong).await?;
            refuse_data(&context, object("a\0b", json!(1)), Reason::KeyNul).await?;
            refuse_data(&context, json!({"a": [object("\0", json!(1))]}), Reason::KeyNul).await
        }
    ),
    case!(
        "DOC-31",
        Doc,
        "System names are refused at the top of the data and are plain names below.",
        "Data that shadows version or deleted; an id that disagrees with the path.",
        [],
        async |context| {
            for name in SYSTEM_NAMES {
                refuse_data(&context, object(name, json!(1)), Reason::ReservedField).await?;
            }
            let names =
                SYSTEM_NAMES.iter().chain(&["id"]).map(|name| ((*name).to_owned(), json!(7)));
            let below = Value::Object(names.collect());
            let data = json!({"below": below, "list": [below]});
            let created = create(&context, &context.unique_path()?, data.clone()).await?;
            expect_equal(created.value()?, data, "system names below the top")?;
            expect_unchanged(&context, &created).await?;

            let path = context.path("own")?;
            let created = create(&context, &path, json!({"id": "own", "n": 1})).await?;
            expect_equal(created.value()?, json!({"n": 1}), "data without the document's own id")?;
            for id in [json!("other"), json!(null), json!(1), json!(["own"])] {
                refuse_data(&context, json!({"id": id}), Reason::ReservedField).await?;
            }
            Ok(())
        }
    ),
];

/// The names make as many documents, each with its own data.
async fn each_is_its_own(context: &Context, ids: &[&str]) -> CaseResult {
    for id in ids {
        create(context, &context.path(id)?, json!({"of": id})).await?;
    }
    for id in ids {
        let found = get(context, &context.path(id)?).await?;
        expect_equal(found.id(), *id, "id")?;
        expect_equal(found.value()?, json!({"of": id}), format_args!("data of {id:?}"))?;
        let query = everything(context)?.filter("of", Operator::Equal, *id)?;
        expect_found(context, query, &[id], "found by a filter").await?;
    }
    for id in ids {
        context.store().delete(&context.path(id)?, Default::default()).await?;
    }
    Ok(())
}

/// Each member of `all` is found by a filter on its quoted name, and changed alone by a patch.
async fn address_each(context: &Context, path: &DocumentPath, mut expected: Value) -> CaseResult {
    for (name, number) in ODD_NAMES.iter().zip(100..) {
        let field = format!("all.{}", quoted(name));
        let equal = everything(context)?.filter(&field, Operator::Equal, number)?;
        expect_found(context, equal, &[path.id()], &format!("{name:?} by its value")).await?;
        let other = everything(context)?.filter(&field, Operator::Greater, number)?;
        expect_found(context, other, &[], &format!("{name:?} by another value")).await?;

        expected[*name] = json!({"was": number});
        let changes = Patch::new().set(&field, json!({"was": number}));
        let all = patch(context, path, changes).await?.value()?["all"].take();
        expect_equal(&all, &expected, format_args!("after a patch of {name:?}"))?;
    }
    Ok(())
}

fn object(name: &str, value: Value) -> Value {
    Value::Object(Map::from_iter([(name.to_owned(), value)]))
}
