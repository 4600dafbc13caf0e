//! Documents: values come back as they went in.

use serde_json::{Value, json};
use syntrix_storage_core::{Document, Query, Reason};

use super::steps::{create, expect_unchanged, get, refuse_data};
use crate::case::case;
use crate::{Case, CaseResult, Context, expect, expect_equal};

pub(super) static CASES: &[Case] = &[
    case!(
        "DOC-15",
        Doc,
        "An empty document is there, as an empty object.",
        "Taking empty data for no document.",
        [],
        async |context| {
            let path = context.unique_path()?;
            let created = create(&context, &path, json!({})).await?;
            expect_equal(get(&context, &path).await?.value()?, json!({}), "data")?;
            expect_unchanged(&context, &created).await
        }
    ),
    case!(
        "DOC-16",
        Doc,
        "A null field is there and null; an absent field is absent.",
        "Null and missing becoming one.",
        [],
        async |context| {
            let value = keep(&context, json!({"a": null, "b": {"c": null}, "d": [null]})).await?;
            expect_equal(value.get("a"), Some(&Value::Null), "the null field")?;
            expect_equal(value.get("z"), None, "the absent field")
        }
    ),
    case!(
        "DOC-17",
        Doc,
        "Empty array, empty object and empty string keep their kinds.",
        "Codecs that turn one empty thing into another, or into null.",
        [],
        async |context| {
            let data = json!({"array": [], "object": {}, "string": "", "in": [[], {}, ""]});
            keep(&context, data).await?;
            Ok(())
        }
    ),
    case!(
        "DOC-18",
        Doc,
        "The ends of the 64-bit integers, 0 and -1 come back exact and as integers.",
        "Integers stored as doubles, or cut to 32 bits.",
        [],
        async |context| {
            let numbers = [i64::MIN, i64::MIN + 1, i64::MAX, i64::MAX - 1, 0, -1, 1];
            let wide = [i64::from(i32::MAX) + 1, i64::from(i32::MIN) - 1, i64::from(u32::MAX) + 1];
            let value = keep(&context, json!({"numbers": numbers, "wide": wide})).await?;
            let all = value["numbers"].as_array().into_iter().flatten();
            expect(all.count() == numbers.len(), "all numbers are there")?;
            expect_equal(value["numbers"][0].as_i64(), Some(i64::MIN), "the smallest integer")
        }
    ),
    case!(
        "DOC-19",
        Doc,
        "Integers above 2^53 come back exact.",
        "A way through doubles, which silently rounds.",
        [],
        async |context| {
            const EDGE: i64 = 1 << 53;
            let numbers: Vec<_> = (-3..=3).flat_map(|step| [EDGE + step, -EDGE + step]).collect();
            keep(&context, json!({"numbers": numbers})).await?;
            Ok(())
        }
    ),
    case!(
        "DOC-20",
        Doc,
        "An integer above the 64-bit signed range is refused.",
        "Wrapping, rounding or a driver error instead of an answer the caller understands.",
        [],
        async |context| {
            for number in [1_u64 << 63, u64::MAX] {
                refuse_data(&context, json!({"n": number}), Reason::NumberOutOfRange).await?;
                let nested = json!({"a": [{"b": number}]});
                refuse_data(&context, nested, Reason::NumberOutOfRange).await?;
            }
            Ok(())
        }
    ),
    case!(
        "DOC-21",
        Doc,
        "Doubles come back bit for bit; integral ones become integers, -0.0 becomes 0.",
        "Decimal detours, single precision, and 1 and 1.0 that are equal here and differ there.",
        [],
        async |context| {
            let exact = [0.1, 1e308, -1e308, 5e-324, f64::MIN_POSITIVE, 2.5, -0.3, 1e-7, f64::MAX];
            keep(&context, json!({"numbers": exact})).await?;
            let third = [1.0 / 3.0, 1e16 / 7.0, 123_456_789.123_456_78, 9.3e18, -9.3e18, 1e22];
            keep(&context, json!({"numbers": third})).await?;

            let integral = json!({"n": [1.0, -0.0, 0.0, 1e17, -2.0, 9_007_199_254_740_992.0]});
            let normal = json!({"n": [1, 0, 0, 100_000_000_000_000_000_i64, -2, 1_i64 << 53]});
            keep_as(&context, integral, normal).await?;
            Ok(())
        }
    ),
    case!(
        "DOC-23",
        Doc,
        "Booleans come back as booleans.",
        "Backends that keep them as 0 and 1.",
        [],
        async |context| {
            keep(&context, json!({"yes": true, "no": false, "in": [true, 1, false, 0]})).await?;
            Ok(())
        }
    ),
    case!(
        "DOC-24",
        Doc,
        "Quotes, backslashes, line ends and control characters come back in strings.",
        "Text that is pasted into a statement, and escapes that are undone twice.",
        [],
        async |context| {
            let controls: String = (1..0x20_u8).chain([0x7f]).map(char::from).collect();
            let texts = json!([
                controls,
                "\"quoted\"",
                "it's",
                "back\\slash",
                "\\n",
                "\\u0041",
                "tab\there",
                "a\r\nb",
                "'; drop table documents; --",
                "%s %d ? $1 :name @p",
                "${HOME}",
                "{{x}}",
                "`",
                " x ",
            ]);
            keep(&context, json!({"texts": texts})).await?;
            Ok(())
        }
    ),
    case!(
        "DOC-25",
        Doc,
        "A string with U+0000 is refused.",
        "Cutting the string off there, or storing it on some backends only.",
        [],
        async |context| {
            for text in ["\0", "a\0b", "a\0"] {
                refuse_data(&context, json!({"s": text}), Reason::StringNul).await?;
                refuse_data(&context, json!({"a": [{"b": text}]}), Reason::StringNul).await?;
            }
            Ok(())
        }
    ),
    case!(
        "DOC-26",
        Doc,
        "Every Unicode text comes back byte for byte, without normalisation.",
        "Three-byte UTF-8, composed accents, lost byte order marks and direction marks.",
        [],
        async |context| {
            let texts = json!([
                "😀𝕊\u{10ffff}",
                "e\u{301}",
                "\u{e9}",
                "\u{fb01}",
                "שלום",
                "\u{202e}abc",
                "\u{feff}x",
                "\u{fffd}\u{ffff}\u{fffe}",
                "\u{2028}\u{2029}",
                "\u{200d}\u{200b}",
                "İıßẞ",
                "한\u{1112}\u{1161}\u{11ab}",
            ]);
            let value = keep(&context, json!({"texts": texts})).await?;
            expect(
                value["texts"][1] != value["texts"][2],
                "both forms of one letter are kept apart",
            )
        }
    ),
];

/// Stores `data` and expects it back as it is.
async fn keep(context: &Context, data: Value) -> CaseResult<Value> {
    keep_as(context, data.clone(), data).await
}

/// Stores `data` by create and by update, and expects `expected` from every way to read.
async fn keep_as(context: &Context, data: Value, expected: Value) -> CaseResult<Value> {
    let (store, path) = (context.store(), context.unique_path()?);
    let created = create(context, &path, data.clone()).await?;
    expect_equal(&created.value()?, &expected, "what create returned")?;
    expect_reads(context, &created, &expected).await?;

    store.update(&path, json!({}), Default::default()).await?;
    let updated = store.update(&path, data, Default::default()).await?.document;
    expect_equal(&updated.value()?, &expected, "what update returned")?;
    expect_reads(context, &updated, &expected).await?;
    Ok(expected)
}

async fn expect_reads(context: &Context, written: &Document, expected: &Value) -> CaseResult {
    let (store, path) = (context.store(), written.path());
    expect_equal(&get(context, path).await?.value()?, expected, "what get returns")?;
    let many = store.get_many(std::slice::from_ref(path), Default::default()).await?;
    let many = many.into_iter().flatten().map(|document| document.value());
    expect_equal(
        many.collect::<Result<Vec<_>, _>>()?,
        [expected.clone()],
        "what get_many returns",
    )?;
    let page = store.query(Query::of(path.collection()).limit(1000), Default::default()).await?;
    let found = page.documents.iter().find(|document| document.path() == path);
    let found = found.map(|document| document.value()).transpose()?;
    expect_equal(found.as_ref(), Some(expected), "what query returns")
}
