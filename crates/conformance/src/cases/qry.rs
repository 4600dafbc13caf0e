//! Queries: what each operator finds.

use serde_json::{Value, json};
use syntrix_storage_core::{Operator, Query, Reason};

use super::steps::{create, everything, expect_found, fill, fill_collection, id_set};
use crate::case::case;
use crate::{Case, CaseResult, Context, expect, expect_equal, expect_reason};

pub(super) static CASES: &[Case] = &[
    case!(
        "QRY-01",
        Qry,
        "A query of an empty collection is an empty page without a cursor.",
        "Errors for collections that nobody has written to.",
        [],
        async |context| {
            let page = context.query(everything(&context)?).await?;
            expect(page.documents.is_empty() && page.next.is_none(), "nothing and no cursor")?;
            let filtered = everything(&context)?.filter("a", Operator::Equal, 1)?;
            expect_found(&context, filtered, &[], "with a filter").await
        }
    ),
    case!(
        "QRY-02",
        Qry,
        "A query finds the live documents of its collection and of no other.",
        "Prefix matches, and documents of lower collections or of other stores.",
        [],
        async |context| {
            fill(&context, [("a", json!({})), ("b", json!({})), ("gone", json!({}))]).await?;
            context.store().delete(&context.path("gone")?, Default::default()).await?;
            for near in ["case/a/case", "case2", "cas", "case/b/below", "CASE", "case "] {
                let near = syntrix_storage_core::CollectionPath::parse(near)?;
                fill_collection(&context, &near, [("a", json!({})), ("c", json!({}))]).await?;
            }
            let other = context.other_store().await?.documents()?;
            other.create(&context.path("d")?, json!({}), Default::default()).await?;
            expect_found(&context, everything(&context)?, &["a", "b"], "the collection").await?;
            let below = Query::new("case/a/case")?;
            expect_found(&context, below, &["a", "c"], "the lower collection").await
        }
    ),
    case!(
        "QRY-03",
        Qry,
        "`==` finds equal values of the same type only.",
        "1, 1.5, \"1\" and true that equal each other somewhere.",
        [],
        async |context| {
            fill_scalars(&context).await?;
            let found = |operand: Value, expected: &'static [&'static str]| {
                let context = context.clone();
                async move { equals(&context, operand, expected).await }
            };
            found(json!(1), &["one"]).await?;
            found(json!(1.0), &["one"]).await?;
            found(json!(1.5), &["onehalf"]).await?;
            found(json!("1"), &["text1"]).await?;
            found(json!(""), &["empty"]).await?;
            found(json!(true), &["yes"]).await?;
            found(json!(false), &["no"]).await?;
            found(json!(0), &["zero"]).await?;
            found(json!(-0.0), &["zero"]).await?;
            found(json!("true"), &[]).await
        }
    ),
    case!(
        "QRY-04",
        Qry,
        "`== null` finds null fields and not the missing ones.",
        "Backends where null and missing are one, and arrays that hold a null.",
        [],
        async |context| {
            fill_scalars(&context).await?;
            equals(&context, json!(null), &["null"]).await?;
            let list = everything(&context)?.filter("v", Operator::In, json!([null, 1]))?;
            expect_found(&context, list, &["null", "one"], "null in a list").await
        }
    ),
    case!(
        "QRY-05",
        Qry,
        "`!=` finds fields that are there and differ, null, arrays and objects included.",
        "Missing fields that count as different; null that makes a comparison unknown.",
        [],
        async |context| {
            fill_scalars(&context).await?;
            let all = ALL_WITH_VALUE;
            for (operand, without) in [
                (json!(1), "one"),
                (json!("1"), "text1"),
                (json!(null), "null"),
                (json!(true), "yes"),
                (json!(0.5), "-"),
            ] {
                let expected: Vec<_> = all.iter().copied().filter(|id| *id != without).collect();
                let query =
                    everything(&context)?.filter("v", Operator::NotEqual, operand.clone())?;
                expect_found(&context, query, &expected, &format!("!= {operand}")).await?;
            }
            Ok(())
        }
    ),
    case!(
        "QRY-06",
        Qry,
        "Ranges compare integers and doubles by value.",
        "Comparing numbers as text, or integers apart from doubles.",
        [],
        async |context| {
            fill_scalars(&context).await?;
            range(&context, Operator::Less, json!(1.5), &["minus", "zero", "one"]).await?;
            range(
                &context,
                Operator::LessOrEqual,
                json!(1.5),
                &["minus", "zero", "one", "onehalf"],
            )
            .await?;
            range(&context, Operator::Greater, json!(1), &["onehalf", "two", "ten"]).await?;
            range(&context, Operator::GreaterOrEqual, json!(2.0), &["two", "ten"]).await?;
            range(&context, Operator::Greater, json!(9), &["ten"]).await?;
            range(&context, Operator::Less, json!(-9.3e18), &[]).await
        }
    ),
    case!(
        "QRY-07",
        Qry,
        "Ranges compare strings by their UTF-8 bytes.",
        "The database's collation, case folding, and UTF-16 order.",
        [],
        async |context| {
            let texts = ["", " ", "10", "9", "B", "Z", "_", "a", "aa", "b", "á", "\u{fffd}", "😀"];
            fill(
                &context,
                texts.iter().enumerate().map(|(n, text)| (format!("{n:02}"), json!({"t": text}))),
            )
            .await?;
            for (position, text) in texts.iter().enumerate() {
                let id = |n: usize| format!("{n:02}");
                let below: Vec<_> = (0..position).map(id).collect();
                let above: Vec<_> = (position + 1..texts.len()).map(id).collect();
                let less = everything(&context)?.filter("t", Operator::Less, *text)?;
                expect_equal(id_set(&context, less).await?, below, format_args!("< {text:?}"))?;
                let greater = everything(&context)?.filter("t", Operator::Greater, *text)?;
                expect_equal(id_set(&context, greater).await?, above, format_args!("> {text:?}"))?;
            }
            Ok(())
        }
    ),
    case!(
        "QRY-08",
        Qry,
        "A range never finds values of another type.",
        "One order over all types that a range walks through.",
        [],
        async |context| {
            fill_scalars(&context).await?;
            let numbers = ["minus", "zero", "one", "onehalf", "two", "ten"];
            range(&context, Operator::GreaterOrEqual, json!(-1e300), &numbers).await?;
            range(&context, Operator::LessOrEqual, json!(1e300), &numbers).await?;
            let texts = ["empty", "text1", "texta"];
            range(&context, Operator::GreaterOrEqual, json!(""), &texts).await?;
            range(&context, Operator::LessOrEqual, json!("\u{10ffff}"), &texts).await?;
            for operand in [json!(null), json!(true), json!([1]), json!({"a": 1})] {
                let refused = everything(&context)?.filter("v", Operator::Less, operand.clone());
                expect_reason(refused, Reason::OperandType, format_args!("< {operand}"))?;
            }
            Ok(())
        }
    ),
    case!(
        "QRY-09",
        Qry,
        "`in` takes none to 100 values; 101 are refused.",
        "An empty list that finds everything or is a syntax error, and parameter limits.",
        [],
        async |context| {
            fill(&context, (0..120).map(|n| (format!("{n:03}"), json!({"n": n})))).await?;
            for count in [0, 1, 2, 30, 100] {
                let list: Vec<_> = (0..count).rev().map(|n| json!(n)).collect();
                let expected: Vec<_> = (0..count).map(|n| format!("{n:03}")).collect();
                let query = everything(&context)?.filter("n", Operator::In, list)?;
                expect_equal(
                    id_set(&context, query).await?,
                    expected,
                    format_args!("{count} values"),
                )?;
            }
            let list: Vec<_> = (0..101).map(|n| json!(n)).collect();
            let refused = everything(&context)?.filter("n", Operator::In, list);
            expect_reason(refused, Reason::InTooMany, "101 values")?;
            let refused = everything(&context)?.filter("n", Operator::In, 1);
            expect_reason(refused, Reason::OperandType, "a number instead of a list")?;
            Ok(())
        }
    ),
    case!(
        "QRY-10",
        Qry,
        "`in` with values of several types finds each by its own type, once.",
        "Lists that are brought to one type, and documents found once per equal value.",
        [],
        async |context| {
            fill_scalars(&context).await?;
            let list = json!([1, 1.0, "1", true, null, 1.5, "nothing", 1]);
            let query = everything(&context)?.filter("v", Operator::In, list)?;
            let expected = ["one", "text1", "yes", "null", "onehalf"];
            expect_found(&context, query, &expected, "a mixed list").await
        }
    ),
];

/// Every value of the documents that [`fill_scalars`] makes, by id.
fn scalars() -> Vec<(&'static str, Value)> {
    vec![
        ("null", json!(null)),
        ("minus", json!(-3)),
        ("zero", json!(0)),
        ("one", json!(1)),
        ("onehalf", json!(1.5)),
        ("two", json!(2)),
        ("ten", json!(10)),
        ("empty", json!("")),
        ("text1", json!("1")),
        ("texta", json!("a")),
        ("long", json!("x".repeat(513))),
        ("no", json!(false)),
        ("yes", json!(true)),
        ("array", json!([1])),
        ("arrayofnull", json!([null])),
        ("object", json!({"v": 1})),
    ]
}

const ALL_WITH_VALUE: [&str; 16] = [
    "null",
    "minus",
    "zero",
    "one",
    "onehalf",
    "two",
    "ten",
    "empty",
    "text1",
    "texta",
    "long",
    "no",
    "yes",
    "array",
    "arrayofnull",
    "object",
];

/// A document for each value in the field `v`, and one without it.
async fn fill_scalars(context: &Context) -> CaseResult {
    fill(context, scalars().into_iter().map(|(id, value)| (id, json!({"v": value})))).await?;
    create(context, &context.path("missing")?, json!({"w": 1})).await?;
    Ok(())
}

async fn equals(context: &Context, operand: Value, expected: &[&str]) -> CaseResult {
    let query = everything(context)?.filter("v", Operator::Equal, operand.clone())?;
    expect_found(context, query, expected, &format!("== {operand}")).await
}

async fn range(
    context: &Context,
    operator: Operator,
    operand: Value,
    expected: &[&str],
) -> CaseResult {
    let query = everything(context)?.filter("v", operator, operand.clone())?;
    expect_found(context, query, expected, &format!("{operator} {operand}")).await
}
