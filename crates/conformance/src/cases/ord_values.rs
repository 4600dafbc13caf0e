//! Ordering: the one order of all values.

use serde_json::{Value, json};
use syntrix_storage_core::{Direction, Operator};

use super::steps::{by_key, create, everything, expect_order, fill};
use crate::case::case;
use crate::{Case, CaseResult, Context, expect_equal};

use Direction::{Ascending, Descending};

pub(super) static CASES: &[Case] = &[
    case!(
        "ORD-08",
        Ord,
        "Types are ordered null, numbers, strings, booleans.",
        "Each database's own order of types.",
        [],
        async |context| {
            let values = [
                ("a", json!(null)),
                ("b", json!(-1e300)),
                ("c", json!(-1)),
                ("d", json!(0)),
                ("e", json!(2.5)),
                ("f", json!(1e300)),
                ("g", json!("")),
                ("h", json!("0")),
                ("i", json!("true")),
                ("j", json!("😀")),
                ("k", json!(false)),
                ("l", json!(true)),
            ];
            sorts(&context, &values).await
        }
    ),
    case!(
        "ORD-09",
        Ord,
        "Integers and doubles are one order, exact beyond 2^53 and beyond 64 bits.",
        "Comparing through doubles, or integers and doubles apart.",
        [],
        async |context| {
            let edge = 1_i64 << 53;
            let values = [
                ("a", json!(-1e19)),
                ("b", json!(-9.3e18)),
                ("c", json!(i64::MIN)),
                ("d", json!(i64::MIN + 1)),
                ("e", json!(-edge - 1)),
                ("f", json!(-edge)),
                ("g", json!(-1.5)),
                ("h", json!(-1)),
                ("i", json!(-5e-324)),
                ("j", json!(0)),
                ("k", json!(5e-324)),
                ("l", json!(0.1)),
                ("m", json!(1)),
                ("n", json!(1.5)),
                ("o", json!(2)),
                ("p", json!(edge - 1)),
                ("q", json!(edge)),
                ("r", json!(edge + 1)),
                ("s", json!(i64::MAX - 1)),
                ("t", json!(i64::MAX)),
                ("u", json!(9.3e18)),
                ("v", json!(1e19)),
                ("w", json!(f64::MAX)),
            ];
            sorts(&context, &values).await
        }
    ),
    case!(
        "ORD-10",
        Ord,
        "0, 0.0 and -0.0 are one value, so the key decides between them.",
        "A negative zero that sorts before zero.",
        [],
        async |context| {
            let values = [
                ("a", json!(0)),
                ("b", json!(0.0)),
                ("c", json!(-0.0)),
                ("d", json!(-0.0)),
                ("e", json!(0)),
            ];
            fill(&context, values.map(|(id, value)| (id, json!({"v": value})))).await?;
            let expected = by_key(&context, &["a", "b", "c", "d", "e"])?;
            let query = everything(&context)?.order_by("v", Ascending)?;
            expect_equal(context.ids(query).await?, expected, "ascending")?;
            let below = everything(&context)?.filter("v", Operator::Less, 0)?;
            expect_order(&context, below, &[], "below zero").await
        }
    ),
    case!(
        "ORD-11",
        Ord,
        "Strings are ordered by their UTF-8 bytes.",
        "Language rules, case folding, numbers inside text, and UTF-16 order.",
        [],
        async |context| {
            let texts = [
                "",
                "\u{1}",
                " ",
                "-",
                "-a",
                "10",
                "9",
                "A",
                "B",
                "Z",
                "_",
                "_a",
                "a",
                "a ",
                "a-",
                "aB",
                "a_",
                "aa",
                "b",
                "~",
                "a\u{301}",
                "á",
                "ß",
                "я",
                "中",
                "\u{fb01}",
                "\u{fffd}",
                "𝕊",
                "😀",
                "\u{10ffff}",
            ];
            let mut sorted = texts;
            sorted.sort_unstable();
            let name = |(n, text): (usize, &&str)| (format!("{n:02}"), json!(text));
            let values: Vec<_> = sorted.iter().enumerate().map(name).collect();
            let values: Vec<_> =
                values.iter().map(|(id, value)| (id.as_str(), value.clone())).collect();
            sorts(&context, &values).await
        }
    ),
    case!(
        "ORD-12",
        Ord,
        "Strings that share 500 bytes are ordered by what follows, up to 512 bytes.",
        "Indexes that keep a prefix only.",
        [],
        async |context| {
            let prefix = "p".repeat(500);
            let tails = ["", "a", "aa", "b", "ba", "z", "zzzzzzzzzzz", "zzzzzzzzzzzz"];
            let name =
                |(n, tail): (usize, &&str)| (format!("{n}"), json!(format!("{prefix}{tail}")));
            let values: Vec<_> = tails.iter().enumerate().map(name).collect();
            let values: Vec<_> =
                values.iter().map(|(id, value)| (id.as_str(), value.clone())).collect();
            sorts(&context, &values).await
        }
    ),
    case!(
        "ORD-13",
        Ord,
        "Arrays, objects and strings over 512 bytes have no place in an order.",
        "An array sorted by its smallest element, an object as text, a long string cut off.",
        [],
        async |context| {
            fill(
                &context,
                [
                    ("one", json!({"v": 1, "w": 1})),
                    ("text", json!({"v": "a", "w": 2})),
                    ("longest", json!({"v": "x".repeat(512), "w": 3})),
                    ("long", json!({"v": "x".repeat(513), "w": 4})),
                    ("wide", json!({"v": "é".repeat(257), "w": 5})),
                    ("array", json!({"v": [0], "w": 6})),
                    ("empty", json!({"v": [], "w": 7})),
                    ("object", json!({"v": {"a": 0}, "w": 8})),
                    ("none", json!({"v": {}, "w": 9})),
                ],
            )
            .await?;
            for (direction, expected) in
                [(Ascending, ["one", "text", "longest"]), (Descending, ["longest", "text", "one"])]
            {
                let query = everything(&context)?.order_by("v", direction)?;
                expect_order(&context, query, &expected, "by v").await?;
                let query =
                    everything(&context)?.order_by("v", direction)?.order_by("w", Ascending)?;
                expect_order(&context, query, &expected, "by v and w").await?;
                let query =
                    everything(&context)?.order_by("w", Ascending)?.order_by("v", direction)?;
                expect_order(&context, query, &["one", "text", "longest"], "by w and v").await?;
            }
            Ok(())
        }
    ),
];

/// The values sort as they are given here, in both directions.
async fn sorts(context: &Context, values: &[(&str, Value)]) -> CaseResult {
    let (even, odd): (Vec<_>, Vec<_>) =
        values.iter().enumerate().partition(|(position, _)| position % 2 == 0);
    for (_, (id, value)) in odd.into_iter().chain(even).rev() {
        create(context, &context.path(id)?, json!({"v": value, "in": {"v": value}})).await?;
    }
    let mut expected: Vec<_> = values.iter().map(|(id, _)| *id).collect();
    let up = everything(context)?.order_by("v", Ascending)?;
    expect_order(context, up, &expected, "ascending").await?;
    expected.reverse();
    let down = everything(context)?.order_by("in.v", Descending)?;
    expect_order(context, down, &expected, "descending, on a nested field").await
}
