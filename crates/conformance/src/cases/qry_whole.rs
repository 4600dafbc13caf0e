//! Queries: filters together, system fields, other writers, and many documents.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use syntrix_storage_core::{Consistency, Direction, Operator, QueryOptions, Reason};

use super::steps::{
    create, everything, expect_found, fill, id_set, ids_of, in_tasks, patch, quoted, stores,
};
use crate::case::case;
use crate::{Case, Setup, expect, expect_equal, expect_reason, within};

pub(super) static CASES: &[Case] = &[
    case!(
        "QRY-18",
        Qry,
        "All filters must hold; two on one field make an interval.",
        "A map of filters by field, which keeps the last one only.",
        [],
        async |context| {
            let data = |n: i64| json!({"n": n, "even": n % 2 == 0, "third": n % 3});
            fill(&context, (0..30).map(|n| (format!("{n:02}"), data(n)))).await?;
            let interval = everything(&context)?.filter("n", Operator::GreaterOrEqual, 5)?.filter(
                "n",
                Operator::Less,
                9,
            )?;
            expect_found(&context, interval, &["05", "06", "07", "08"], "an interval").await?;
            let three = everything(&context)?
                .filter("n", Operator::Greater, 10)?
                .filter("even", Operator::Equal, true)?
                .filter("third", Operator::NotEqual, 0)?;
            let expected = ["14", "16", "20", "22", "26", "28"];
            expect_found(&context, three, &expected, "three filters").await?;
            let two_fields = everything(&context)?.filter("n", Operator::LessOrEqual, 4)?.filter(
                "third",
                Operator::Greater,
                0,
            )?;
            expect_found(&context, two_fields, &["01", "02", "04"], "ranges on two fields").await?;
            let many = (0..20).try_fold(everything(&context)?, |query, n| {
                query.filter("n", Operator::NotEqual, n)
            })?;
            expect_equal(id_set(&context, many.clone()).await?.len(), 10, "20 filters")?;
            let refused = context.query(many.filter("n", Operator::NotEqual, 20)?).await;
            expect_reason(refused, Reason::TooManyFilters, "21 filters")?;
            Ok(())
        }
    ),
    case!(
        "QRY-20",
        Qry,
        "Filters that contradict each other find nothing, without an error.",
        "Keeping one of two conditions on a field.",
        [],
        async |context| {
            fill(&context, (0..5).map(|n| (format!("{n}"), json!({"x": n})))).await?;
            let contradictions = [
                [(Operator::Equal, json!(1)), (Operator::Equal, json!(2))],
                [(Operator::Equal, json!(2)), (Operator::Equal, json!(1))],
                [(Operator::Less, json!(2)), (Operator::Greater, json!(2))],
                [(Operator::Equal, json!(1)), (Operator::NotEqual, json!(1))],
                [(Operator::Equal, json!(1)), (Operator::In, json!([2, 3]))],
                [(Operator::Greater, json!(1)), (Operator::Greater, json!("a"))],
            ];
            for [(first, left), (second, right)] in contradictions {
                let what = format!("{first} {left} and {second} {right}");
                let query =
                    everything(&context)?.filter("x", first, left)?.filter("x", second, right)?;
                expect_found(&context, query, &[], &what).await?;
            }
            Ok(())
        }
    ),
    case!(
        "QRY-21",
        Qry,
        "A quoted name with a dot is that field and not the nested one.",
        "Joining keys to text and splitting it again.",
        [],
        async |context| {
            fill(
                &context,
                [
                    ("flat", json!({"a.b": 1})),
                    ("nested", json!({"a": {"b": 1}})),
                    ("deep", json!({"x": {"a.b": {"c": 1}}})),
                    ("deeper", json!({"x": {"a": {"b": {"c": 1}}}})),
                ],
            )
            .await?;
            for (field, expected) in [
                ("`a.b`", "flat"),
                ("a.b", "nested"),
                ("`a`.`b`", "nested"),
                ("x.`a.b`.c", "deep"),
                ("x.a.b.c", "deeper"),
            ] {
                let query = everything(&context)?.filter(field, Operator::Equal, 1)?;
                expect_found(&context, query, &[expected], field).await?;
            }
            Ok(())
        }
    ),
    case!(
        "QRY-23",
        Qry,
        "Operands and names that are syntax elsewhere are data.",
        "Injection through values, names and ids.",
        [],
        async |context| {
            const HOSTILE: [&str; 14] = [
                "' OR '1'='1",
                "'; DROP TABLE documents; --",
                "\" OR \"\"=\"",
                "$ne",
                "{\"$gt\": \"\"}",
                "%",
                "_",
                "*",
                "[a-z]",
                "\\",
                "/* x */",
                "?",
                "$1",
                ":p",
            ];
            let document = |(n, text): (usize, &&str)| {
                (format!("{n:02}"), json!({"v": text, (*text): {"k": n}}))
            };
            fill(&context, HOSTILE.iter().enumerate().map(document)).await?;
            create(&context, &context.path("plain")?, json!({"v": "x", "plain": {"k": 0}})).await?;
            for (number, text) in HOSTILE.iter().enumerate() {
                let id = format!("{number:02}");
                let value = everything(&context)?.filter("v", Operator::Equal, *text)?;
                expect_found(&context, value, &[&id], &format!("the value {text}")).await?;
                let field = format!("{}.k", quoted(text));
                let name = everything(&context)?.filter(&field, Operator::GreaterOrEqual, 0)?;
                expect_found(&context, name, &[&id], &format!("the name {text}")).await?;
                let listed = everything(&context)?.filter("v", Operator::In, json!([text]))?;
                expect_found(&context, listed, &[&id], &format!("{text} in a list")).await?;
            }
            Ok(())
        }
    ),
    case!(
        "QRY-24",
        Qry,
        "A page has at most its limit, 100 if none is given, and tells of more by a cursor.",
        "Queries without a bound, and a limit of 0 that means all.",
        [],
        async |context| {
            fill(&context, (0..150).map(|n| (format!("{n:03}"), json!({"n": n})))).await?;
            let page = context.query(everything(&context)?).await?;
            expect_equal(page.documents.len(), 100, "documents without a limit")?;
            expect(page.next.is_some(), "there are more")?;
            for limit in [1, 2, 149, 150, 151, 1000] {
                let page = context.query(everything(&context)?.limit(limit)).await?;
                expect_equal(page.documents.len(), limit.min(150) as usize, "documents")?;
                expect_equal(page.next.is_some(), limit < 150, "whether there are more")?;
            }
            let refused = context.query(everything(&context)?.limit(0)).await;
            expect_reason(refused, Reason::Limit, "limit 0")?;
            Ok(())
        }
    ),
    case!(
        "QRY-26",
        Qry,
        "Deleted documents are found only if asked for, and never by a filter on data.",
        "Tombstones in ordinary results, and old data that tombstones keep.",
        [],
        async |context| {
            fill(&context, [("live", json!({"n": 1})), ("gone", json!({"n": 1}))]).await?;
            context.store().delete(&context.path("gone")?, Default::default()).await?;
            let all = everything(&context)?;
            expect_found(&context, all.clone(), &["live"], "by default").await?;
            let with_deleted = all.clone().show_deleted(true);
            expect_found(&context, with_deleted.clone(), &["live", "gone"], "with deleted ones")
                .await?;
            let by_data = with_deleted.clone().filter("n", Operator::Equal, 1)?;
            expect_found(&context, by_data, &["live"], "by data").await?;
            let ordered = with_deleted.clone().order_by("n", Direction::Ascending)?;
            expect_found(&context, ordered, &["live"], "in order of data").await?;
            let deleted = with_deleted.filter("deleted", Operator::Equal, true)?;
            expect_found(&context, deleted, &["gone"], "by the mark").await?;
            let hidden = all.filter("deleted", Operator::Equal, true)?;
            expect_found(&context, hidden, &[], "by the mark but not asked for").await?;
            let tombstone = context.tombstone(&context.path("gone")?).await?;
            expect_equal(tombstone.value()?, json!({}), "data of the tombstone")
        }
    ),
    case!(
        "QRY-27",
        Qry,
        "System fields can be filtered like data.",
        "Names that are looked for in the data, and times compared as text.",
        [],
        async |context| {
            for id in ["a", "b", "c"] {
                create(&context, &context.path(id)?, json!({"n": 1})).await?;
                context.clock().advance(Duration::from_secs(10));
            }
            patch(&context, &context.path("a")?, Default::default()).await?;
            let (start, later) = (Setup::START_MS, Setup::START_MS + 10_000);
            for (field, operator, operand, expected) in [
                ("version", Operator::Equal, json!(2), vec!["a"]),
                ("version", Operator::NotEqual, json!(2), vec!["b", "c"]),
                ("version", Operator::In, json!([1, "2"]), vec!["b", "c"]),
                ("version", Operator::Less, json!(1.5), vec!["b", "c"]),
                ("version", Operator::Contains, json!(1), vec![]),
                ("createdAt", Operator::LessOrEqual, json!(start), vec!["a"]),
                ("createdAt", Operator::Greater, json!(start + 9999), vec!["b", "c"]),
                ("updatedAt", Operator::Greater, json!(later + 10_000), vec!["a"]),
                ("fullpath", Operator::Equal, json!("case/b"), vec!["b"]),
                ("fullpath", Operator::Greater, json!("case/a"), vec!["b", "c"]),
                ("collection", Operator::Equal, json!("case"), vec!["a", "b", "c"]),
                ("collection", Operator::NotEqual, json!("case"), vec![]),
                ("parent", Operator::Equal, json!(""), vec!["a", "b", "c"]),
                ("deleted", Operator::Equal, json!(false), vec!["a", "b", "c"]),
                ("deleted", Operator::Equal, json!(0), vec![]),
                ("version", Operator::Greater, json!("0"), vec![]),
                ("createdAt", Operator::Equal, json!(null), vec![]),
            ] {
                let what = format!("{field} {operator} {operand}");
                let query = everything(&context)?.filter(field, operator, operand)?;
                expect_found(&context, query, &expected, &what).await?;
            }
            Ok(())
        }
    ),
    case!(
        "QRY-28",
        Qry,
        "Integers beyond 2^53 are found exactly, and not their neighbours.",
        "Operands or fields that pass through a double.",
        [],
        async |context| {
            let numbers = [
                (1_i64 << 53) - 1,
                1 << 53,
                (1 << 53) + 1,
                (1 << 53) + 2,
                i64::MAX,
                i64::MAX - 1,
                i64::MIN,
                i64::MIN + 1,
            ];
            fill(&context, numbers.iter().map(|n| (n.to_string(), json!({"n": n})))).await?;
            for number in numbers {
                let id = number.to_string();
                let equal = everything(&context)?.filter("n", Operator::Equal, number)?;
                expect_found(&context, equal, &[&id], &format!("== {number}")).await?;
                let greater = everything(&context)?.filter("n", Operator::Greater, number)?;
                let above = numbers.iter().filter(|other| **other > number).map(i64::to_string);
                let mut above: Vec<_> = above.collect();
                above.sort_unstable();
                expect_equal(id_set(&context, greater).await?, above, format_args!("> {number}"))?;
            }
            let double =
                everything(&context)?.filter("n", Operator::Equal, 9_007_199_254_740_992.0)?;
            expect_found(&context, double, &["9007199254740992"], "== 2^53 as a double").await?;
            let beyond = everything(&context)?.filter("n", Operator::Less, 9.3e18)?;
            expect_equal(id_set(&context, beyond).await?.len(), numbers.len(), "below 9.3e18")
        }
    ),
    case!(
        "QRY-29",
        Qry,
        "Strings that differ in case, accents' form or blanks are different.",
        "Collations that fold case or ignore trailing blanks.",
        [],
        async |context| {
            let texts = ["a", "A", "á", "a\u{301}", "a ", " a", "ß", "ss", "SS", "ı", "i", "I"];
            let document = |(n, text): (usize, &&str)| (format!("{n:02}"), json!({"t": text}));
            fill(&context, texts.iter().enumerate().map(document)).await?;
            for (number, text) in texts.iter().enumerate() {
                let query = everything(&context)?.filter("t", Operator::Equal, *text)?;
                expect_found(&context, query, &[&format!("{number:02}")], &format!("{text:?}"))
                    .await?;
            }
            Ok(())
        }
    ),
    case!(
        "QRY-30",
        Qry,
        "A query sees every write that was acknowledged before it started.",
        "Stale snapshots and indexes that lag behind.",
        [],
        async |context| {
            let handles = stores(&context).await?;
            let task = |number: usize| {
                let (writer, reader) = (number % handles.len(), (number + 1) % handles.len());
                let (writer, reader) = (Arc::clone(&handles[writer]), Arc::clone(&handles[reader]));
                let context = context.clone();
                async move {
                    let path = context.path(&format!("{number:02}"))?;
                    for step in 0..4 {
                        let data = json!({"mark": number * 10 + step});
                        match step {
                            0 => writer.create(&path, data, Default::default()).await?,
                            _ => writer.update(&path, data, Default::default()).await?,
                        };
                        let query = everything(&context)?.filter(
                            "mark",
                            Operator::Equal,
                            number * 10 + step,
                        )?;
                        let strong = QueryOptions::default().with_consistency(Consistency::Strong);
                        let found = ids_of(&reader.query(query, strong).await?);
                        expect_equal(found, [path.id()], "what the query finds")?;
                    }
                    Ok(())
                }
            };
            in_tasks(64, task).await?;
            Ok(())
        }
    ),
    case!(
        "QRY-34",
        Qry,
        "Ten of 10 000 documents are found without reading a page of all.",
        "Results that are gathered whole before they are cut, in the store or on the way.",
        [],
        async |context| {
            let data = |n: u32| json!({"n": n, "text": "x".repeat(100), "last": n == 9999});
            fill(&context, (0..10_000).map(|n| (format!("{n:05}"), data(n)))).await?;
            let first = everything(&context)?.limit(10);
            let page = within(context.query(first.clone())).await??;
            expect_equal(page.documents.len(), 10, "documents in key order")?;
            let ordered = first.clone().order_by("n", Direction::Descending)?;
            let page = within(context.query(ordered)).await??;
            let expected: Vec<_> = (9990..10_000).rev().map(|n| format!("{n:05}")).collect();
            expect_equal(ids_of(&page), expected, "the last ten")?;
            let one = first.filter("last", Operator::Equal, true)?;
            let page = within(context.query(one)).await??;
            expect_equal(ids_of(&page), ["09999"], "one of all")?;
            expect(page.next.is_none(), "there is no second one")
        }
    ),
];
