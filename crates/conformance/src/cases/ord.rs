//! Ordering.

use serde_json::json;
use syntrix_storage_core::{Direction, Operator, Query, Reason};

use super::steps::{by_key, everything, expect_order, fill, pages};
use crate::case::case;
use crate::{Case, CaseResult, expect, expect_equal, expect_reason};

use Direction::{Ascending, Descending};

pub(super) static CASES: &[Case] = &[
    case!(
        "ORD-01",
        Ord,
        "An order sorts ascending or descending; one is the exact reverse of the other.",
        "Ties that fall alike in both directions.",
        [],
        async |context| {
            let document = |n: i64| (format!("{n:02}"), json!({"n": n * 7 % 10}));
            fill(&context, (0..40).map(document)).await?;
            let sorted = |direction| -> CaseResult<Query> {
                Ok(everything(&context)?.order_by("n", direction)?.limit(1000))
            };
            let page = context.query(sorted(Ascending)?).await?;
            let values = page.documents.iter().map(|document| Ok(document.value()?["n"].as_i64()));
            let values = values.collect::<CaseResult<Vec<_>>>()?;
            expect(values.is_sorted(), "ascending values")?;
            expect_equal(values.len(), 40, "documents")?;
            let mut reversed = context.ids(sorted(Descending)?).await?;
            reversed.reverse();
            expect_equal(
                context.ids(sorted(Ascending)?).await?,
                reversed,
                "the reverse of descending",
            )
        }
    ),
    case!(
        "ORD-02",
        Ord,
        "Without an order documents come by key, the same at every call.",
        "Insertion order, physical order, or whatever an index gives.",
        [],
        async |context| {
            let ids = ["b", "a", "D", "c", "e", "0", "é", "zz"];
            fill(&context, ids.iter().map(|id| (*id, json!({"n": 1})))).await?;
            let expected = by_key(&context, &ids)?;
            for _ in 0..3 {
                let data = json!({"n": 1, "longer": "x".repeat(2000)});
                context.store().update(&context.path("c")?, data, Default::default()).await?;
                expect_equal(
                    context.ids(everything(&context)?).await?,
                    expected.as_slice(),
                    "everything",
                )?;
                let filtered = everything(&context)?.filter("n", Operator::Equal, 1)?;
                expect_equal(context.ids(filtered).await?, expected.as_slice(), "with a filter")?;
                let listed = everything(&context)?.filter("n", Operator::In, json!([2, 1]))?;
                expect_equal(context.ids(listed).await?, expected.as_slice(), "with a list")?;
            }
            Ok(())
        }
    ),
    case!(
        "ORD-03",
        Ord,
        "Ties are broken by key, in the direction of the last order field.",
        "Rows with equal values that change places between pages.",
        [],
        async |context| {
            let ids = ["a", "b", "c", "d", "e", "f"];
            fill(&context, ids.iter().map(|id| (*id, json!({"same": 1, "too": "x"})))).await?;
            let up = by_key(&context, &ids)?;
            let down: Vec<_> = up.iter().rev().cloned().collect();
            for (first, last) in [(Ascending, Ascending), (Descending, Ascending)] {
                let query = everything(&context)?.order_by("same", first)?.order_by("too", last)?;
                expect_equal(context.ids(query).await?, up.as_slice(), "the last field ascending")?;
            }
            for (first, last) in [(Ascending, Descending), (Descending, Descending)] {
                let query = everything(&context)?.order_by("same", first)?.order_by("too", last)?;
                expect_equal(
                    context.ids(query).await?,
                    down.as_slice(),
                    "the last field descending",
                )?;
            }
            Ok(())
        }
    ),
    case!(
        "ORD-04",
        Ord,
        "The first order field decides, the next one among equals, each in its direction.",
        "One direction for all fields, and fields applied in the wrong order.",
        [],
        async |context| {
            let rows = [("a", 1, "x"), ("b", 1, "y"), ("c", 2, "x"), ("d", 2, "y"), ("e", 0, "z")];
            fill(&context, rows.map(|(id, n, s)| (id, json!({"n": n, "s": s})))).await?;
            for (n, s, expected) in [
                (Ascending, Ascending, ["e", "a", "b", "c", "d"]),
                (Ascending, Descending, ["e", "b", "a", "d", "c"]),
                (Descending, Ascending, ["c", "d", "a", "b", "e"]),
                (Descending, Descending, ["d", "c", "b", "a", "e"]),
            ] {
                let query = everything(&context)?.order_by("n", n)?.order_by("s", s)?;
                expect_order(&context, query, &expected, &format!("n {n:?}, s {s:?}")).await?;
            }
            let query =
                everything(&context)?.order_by("s", Descending)?.order_by("n", Ascending)?;
            expect_order(&context, query, &["e", "b", "d", "a", "c"], "s first").await?;
            let four = ["n", "s", "t", "u"]
                .iter()
                .try_fold(everything(&context)?, |query, field| query.order_by(field, Ascending))?;
            expect_order(&context, four.clone(), &[], "four fields, two of them missing").await?;
            let refused = context.query(four.order_by("v", Ascending)?).await;
            expect_reason(refused, Reason::OrderBy, "five fields")?;
            let twice =
                everything(&context)?.order_by("n", Ascending)?.order_by("`n`", Descending)?;
            expect_reason(context.query(twice).await, Reason::OrderBy, "one field twice")?;
            Ok(())
        }
    ),
    case!(
        "ORD-05",
        Ord,
        "Nested and quoted paths can be ordered by.",
        "Order fields that are only looked for at the top, or split at dots.",
        [],
        async |context| {
            let rows = [("a", 2, 1), ("b", 1, 3), ("c", 3, 2)];
            let data =
                |deep: i64, dotted: i64| json!({"x": {"y": {"z": deep}}, "x.y": {"": dotted}});
            fill(&context, rows.map(|(id, deep, dotted)| (id, data(deep, dotted)))).await?;
            let deep = everything(&context)?.order_by("x.y.z", Ascending)?;
            expect_order(&context, deep, &["b", "a", "c"], "a nested path").await?;
            let dotted = everything(&context)?.order_by("`x.y`.``", Descending)?;
            expect_order(&context, dotted, &["b", "c", "a"], "a quoted path").await
        }
    ),
    case!(
        "ORD-06",
        Ord,
        "The order field need not be in a filter, and a range need not be on the order field.",
        "Restrictions that some databases put on a query.",
        [],
        async |context| {
            let rows = [("a", 3, "x"), ("b", 1, "x"), ("c", 2, "y"), ("d", 0, "x"), ("e", 9, "x")];
            fill(&context, rows.map(|(id, n, s)| (id, json!({"n": n, "s": s, "k": 10 - n}))))
                .await?;
            let equal = everything(&context)?.filter("s", Operator::Equal, "x")?;
            let equal = equal.order_by("n", Ascending)?;
            expect_order(&context, equal, &["d", "b", "a", "e"], "an equality elsewhere").await?;
            let range = everything(&context)?.filter("n", Operator::Less, 9)?;
            let range = range.order_by("k", Ascending)?;
            expect_order(&context, range, &["a", "c", "b", "d"], "a range elsewhere").await?;
            let implicit = everything(&context)?.filter("n", Operator::Greater, 0)?;
            expect_order(&context, implicit, &["b", "c", "a", "e"], "a range and no order").await?;
            let fixed = everything(&context)?.filter("s", Operator::Equal, "x")?;
            let fixed = fixed.order_by("s", Descending)?;
            let mut expected = by_key(&context, &["a", "b", "d", "e"])?;
            expected.reverse();
            expect_equal(context.ids(fixed).await?, expected, "the equality's own field")
        }
    ),
    case!(
        "ORD-07",
        Ord,
        "Documents without the order field are not in the result.",
        "Missing fields that sort first here and last there.",
        [],
        async |context| {
            fill(
                &context,
                [
                    ("null", json!({"n": null})),
                    ("one", json!({"n": 1, "m": 1})),
                    ("two", json!({"n": 2, "m": 0})),
                    ("missing", json!({"m": 2})),
                    ("below", json!({"n": 3, "o": {}})),
                ],
            )
            .await?;
            let n = everything(&context)?.order_by("n", Ascending)?;
            expect_order(&context, n, &["null", "one", "two", "below"], "by n").await?;
            let m = everything(&context)?.order_by("m", Descending)?;
            expect_order(&context, m, &["missing", "one", "two"], "by m").await?;
            let both = everything(&context)?.order_by("n", Descending)?.order_by("m", Ascending)?;
            expect_order(&context, both, &["two", "one"], "by both").await?;
            let path = everything(&context)?.order_by("m.x", Ascending)?;
            expect_order(&context, path, &[], "below a number").await
        }
    ),
    case!(
        "ORD-14",
        Ord,
        "10 000 documents of half a kilobyte are sorted, page by page.",
        "Sort buffers that overflow, and pages that are each sorted by themselves.",
        [],
        async |context| {
            const COUNT: usize = 10_000;
            let place = |n: usize| n * 7919 % COUNT;
            let data =
                |n: usize| json!({"n": place(n), "g": place(n) / 100, "pad": "x".repeat(500)});
            fill(&context, (0..COUNT).map(|n| (format!("{:05}", place(n)), data(n)))).await?;
            let by_number = everything(&context)?.order_by("n", Descending)?;
            let found = pages(&context, by_number, 1000).await?.concat();
            let expected: Vec<_> = (0..COUNT).rev().map(|n| format!("{n:05}")).collect();
            expect(found == expected, "all of them, largest first")?;

            let mixed =
                everything(&context)?.order_by("g", Ascending)?.order_by("n", Descending)?;
            let found = pages(&context, mixed, 1000).await?.concat();
            let group = |g: usize| (g * 100..g * 100 + 100).rev().map(|n| format!("{n:05}"));
            let expected: Vec<_> = (0..COUNT / 100).flat_map(group).collect();
            expect(found == expected, "by group, each with the largest first")
        }
    ),
];
