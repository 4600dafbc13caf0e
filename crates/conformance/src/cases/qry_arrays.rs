//! Queries: arrays and objects, which filters compare with nothing.

use serde_json::{Value, json};
use syntrix_storage_core::{Operator, Reason};

use super::steps::{everything, expect_found, fill};
use crate::case::case;
use crate::{Case, CaseResult, Context, expect_reason};

pub(super) static CASES: &[Case] = &[
    case!(
        "QRY-12",
        Qry,
        "`contains` finds arrays with an equal element; its operand is a scalar.",
        "Elements compared across types, and a look into nested arrays.",
        [],
        async |context| {
            fill_lists(&context).await?;
            contains(&context, json!(1), &["numbers", "mixed", "twice"]).await?;
            contains(&context, json!(1.0), &["numbers", "mixed", "twice"]).await?;
            contains(&context, json!("1"), &["texts"]).await?;
            contains(&context, json!(true), &["mixed"]).await?;
            contains(&context, json!(null), &["mixed"]).await?;
            contains(&context, json!(3), &[]).await?;
            for operand in [json!([1]), json!({"a": 1})] {
                let refused = everything(&context)?.filter("l", Operator::Contains, operand);
                expect_reason(refused, Reason::OperandType, "an array or object")?;
            }
            Ok(())
        }
    ),
    case!(
        "QRY-14",
        Qry,
        "`contains` never finds a field that is no array.",
        "A scalar taken for a list of one, a substring, a member's name or value.",
        [],
        async |context| {
            fill(
                &context,
                [
                    ("number", json!({"l": 1})),
                    ("text", json!({"l": "1"})),
                    ("sentence", json!({"l": "a 1 b"})),
                    ("name", json!({"l": {"1": "x"}})),
                    ("value", json!({"l": {"x": 1}})),
                    ("array", json!({"l": [1]})),
                ],
            )
            .await?;
            contains(&context, json!(1), &["array"]).await?;
            contains(&context, json!("1"), &[]).await?;
            contains(&context, json!("x"), &[]).await
        }
    ),
    case!(
        "QRY-15",
        Qry,
        "`==` never looks into an array, and an array is no operand.",
        "Backends where a filter on an array means any element.",
        [],
        async |context| {
            fill_lists(&context).await?;
            for operand in [json!(1), json!("1"), json!(null)] {
                let query = everything(&context)?.filter("l", Operator::Equal, operand.clone())?;
                expect_found(&context, query, &[], &format!("== {operand}")).await?;
                let list = everything(&context)?.filter("l", Operator::In, json!([operand]))?;
                expect_found(&context, list, &[], &format!("in [{operand}]")).await?;
            }
            for operator in [Operator::Greater, Operator::LessOrEqual] {
                let query = everything(&context)?.filter("l", operator, 1)?;
                expect_found(&context, query, &[], "a range over arrays").await?;
            }
            for operator in [Operator::Equal, Operator::NotEqual, Operator::Less] {
                let refused = everything(&context)?.filter("l", operator, json!([1]));
                expect_reason(refused, Reason::OperandType, operator)?;
            }
            Ok(())
        }
    ),
    case!(
        "QRY-16",
        Qry,
        "An object is no operand, and a field that holds one equals nothing.",
        "Object equality that depends on member order.",
        [],
        async |context| {
            fill(&context, [("o", json!({"v": {"a": 1}})), ("s", json!({"v": "{\"a\":1}"}))])
                .await?;
            for operator in
                [Operator::Equal, Operator::NotEqual, Operator::Contains, Operator::Greater]
            {
                let refused = everything(&context)?.filter("v", operator, json!({"a": 1}));
                expect_reason(refused, Reason::OperandType, operator)?;
            }
            let nested = everything(&context)?.filter("v", Operator::In, json!([{"a": 1}]));
            expect_reason(nested, Reason::OperandType, "an object in a list")?;
            let text = everything(&context)?.filter("v", Operator::Equal, "{\"a\":1}")?;
            expect_found(&context, text, &["s"], "the object as text").await
        }
    ),
    case!(
        "QRY-17",
        Qry,
        "A path never leads through an array, by name or by number.",
        "Backends that enter arrays by themselves.",
        [],
        async |context| {
            let list = json!({"a": [{"b": 1}, {"b": 2}], "n": [5]});
            let map = json!({"a": {"b": 1, "0": {"b": 1}}, "n": {"0": 5}});
            fill(&context, [("list", list), ("map", map), ("text", json!({"a": "b", "n": "5"}))])
                .await?;
            for (field, operand) in [("a.b", 1), ("a.0.b", 1), ("n.0", 5)] {
                let query = everything(&context)?.filter(field, Operator::Equal, operand)?;
                expect_found(&context, query, &["map"], field).await?;
                let query = everything(&context)?.filter(field, Operator::NotEqual, 99)?;
                expect_found(&context, query, &["map"], &format!("{field} != 99")).await?;
            }
            Ok(())
        }
    ),
];

async fn fill_lists(context: &Context) -> CaseResult {
    fill(
        context,
        [
            ("numbers", json!({"l": [2, 1]})),
            ("texts", json!({"l": ["1", "2"]})),
            ("mixed", json!({"l": [null, true, 1, "x"]})),
            ("twice", json!({"l": [1, 1]})),
            ("nested", json!({"l": [[1], {"a": 1}]})),
            ("none", json!({"l": []})),
            ("missing", json!({"m": [1]})),
        ],
    )
    .await
}

async fn contains(context: &Context, operand: Value, expected: &[&str]) -> CaseResult {
    let query = everything(context)?.filter("l", Operator::Contains, operand.clone())?;
    expect_found(context, query, expected, &format!("contains {operand}")).await
}
