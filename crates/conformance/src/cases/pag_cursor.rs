//! Pagination: what a cursor is worth elsewhere, and what happens to a damaged one.

use serde_json::json;
use syntrix_storage_core::{
    Cursor, Direction, DocumentStoreExt, Operator, Page, Query, QueryPlan, Reason,
};

use super::steps::{everything, expect_unchanged, fill, ids_of};
use crate::case::case;
use crate::{Case, CaseResult, Context, Failure, expect, expect_equal, expect_reason};

use Direction::{Ascending, Descending};

/// Every character of a cursor.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

pub(super) static CASES: &[Case] = &[
    case!(
        "PAG-08",
        Pag,
        "A cursor is refused by any other query than the one that made it.",
        "Pages of one query continued in the order of another.",
        [],
        async |context| {
            fill_numbers(&context).await?;
            let query = by_number(&context)?;
            let cursor = first_cursor(&context, &query).await?;
            let filtered =
                || everything(&context)?.filter("n", Operator::Greater, 1).map_err(Failure::from);
            for other in [
                everything(&context)?,
                everything(&context)?.order_by("n", Descending)?,
                everything(&context)?.order_by("m", Ascending)?,
                everything(&context)?.order_by("version", Ascending)?,
                everything(&context)?.order_by("n", Ascending)?.order_by("m", Ascending)?,
                filtered()?,
                by_number(&context)?.filter("m", Operator::NotEqual, 1)?,
                Query::new("elsewhere")?.order_by("n", Ascending)?,
                Query::new("case/0/case")?.order_by("n", Ascending)?,
            ] {
                let refused = context.query(other.after(cursor.clone())).await;
                expect_reason(refused, Reason::Cursor, "another query")?;
            }
            let operand = first_cursor(&context, &filtered()?).await?;
            let other = everything(&context)?.filter("n", Operator::Greater, 2)?;
            expect_reason(
                context.query(other.after(operand.clone())).await,
                Reason::Cursor,
                "an operand",
            )?;
            let same = everything(&context)?.filter("`n`", Operator::Greater, 1.0)?;
            let same = context.query(same.limit(2).after(operand)).await?;
            expect_equal(ids_of(&same), ["4", "5"], "the same query, spelt otherwise")?;

            let path = context.path("0")?;
            for values in
                [vec![], vec![json!(1), json!(2)], vec![json!([1])], vec![json!("x".repeat(513))]]
            {
                let refused =
                    context.query(by_number(&context)?.start_after(values, path.clone())).await;
                expect_reason(refused, Reason::Cursor, "values that do not fit the order")?;
            }
            Ok(())
        }
    ),
    case!(
        "PAG-09",
        Pag,
        "A cursor goes on with another limit, and with deleted ones shown or hidden.",
        "Cursors bound to what does not change the order.",
        [],
        async |context| {
            fill_numbers(&context).await?;
            context.store().delete(&context.path("4")?, Default::default()).await?;
            let cursor = first_cursor(&context, &everything(&context)?).await?;
            let whole = context.ids(everything(&context)?).await?;
            for limit in [1, 3, 1000] {
                let rest = everything(&context)?.limit(limit).after(cursor.clone());
                let expected: Vec<_> = whole[2..].iter().take(limit as usize).cloned().collect();
                expect_equal(context.ids(rest).await?, expected, format_args!("limit {limit}"))?;
            }
            let shown = everything(&context)?.show_deleted(true).after(cursor);
            expect(context.ids(shown).await?.len() >= whole.len() - 2, "with deleted ones")
        }
    ),
    case!(
        "PAG-10",
        Pag,
        "A cut, altered, empty or huge cursor is refused and never taken for page one.",
        "Panics in a decoder, and damage that starts a query from the beginning.",
        [],
        async |context| {
            fill_numbers(&context).await?;
            let query = by_number(&context)?;
            let cursor = first_cursor(&context, &query).await?;
            let text = cursor.as_str();
            for end in 0..text.len() {
                refused(&context, &text[..end], "cut").await?;
            }
            for position in 0..text.len() {
                let was = ALPHABET.iter().position(|byte| *byte == text.as_bytes()[position]);
                let was = was.ok_or_else(|| Failure::new("a cursor has an unknown character"))?;
                for other in [was ^ 1, was ^ 32, (was + 7) % 64] {
                    let mut altered = text.as_bytes().to_vec();
                    altered[position] = ALPHABET[other];
                    refused(&context, &String::from_utf8_lossy(&altered), "altered").await?;
                }
            }
            let huge = "A".repeat(1 << 20);
            let doubled = format!("{text}{text}");
            let padded = format!("{text}=");
            for bad in [
                &huge, &doubled, &padded, " ", "null", "0", "\0", "😀", "../..", "%00", "AQA",
                "AQAA",
            ] {
                refused(&context, bad, "invented").await?;
            }
            let rest = context.ids(query.after(cursor)).await?;
            expect_equal(rest, ["2", "3", "4", "5"], "the cursor as it was")
        }
    ),
    case!(
        "PAG-11",
        Pag,
        "A cursor names no store: made elsewhere, or from values and a path, it works the same.",
        "Cursors that a move to another database makes worthless.",
        [],
        async |context| {
            fill_numbers(&context).await?;
            let query = by_number(&context)?;
            let page = context.query(query.clone().limit(2)).await?;
            let last = page.documents.last().ok_or_else(|| Failure::new("the page is empty"))?;
            let made = QueryPlan::check(query.clone())?.cursor_after(last)?;
            expect_equal(page.next.as_ref(), Some(&made), "the cursor of the page")?;

            let other = context.other_store().await?.documents()?;
            for id in ["1", "2", "5"] {
                let data = json!({"n": id.parse::<i64>().unwrap_or_default()});
                other.create(&context.path(id)?, data, Default::default()).await?;
            }
            let there = other.query(query.clone().after(made), Default::default()).await?;
            expect_equal(ids_of(&there), ["2", "5"], "the same place in another store")?;
            let by_value = query.clone().start_after(vec![json!(1)], context.path("1")?);
            expect_equal(context.ids(by_value).await?, ["2", "3", "4", "5"], "behind a value")?;
            let between = query.start_after(vec![json!(2.5)], context.path("never")?);
            expect_equal(
                context.ids(between).await?,
                ["3", "4", "5"],
                "behind a value that is not there",
            )
        }
    ),
    case!(
        "PAG-12",
        Pag,
        "A cursor still works after the store was closed and opened again.",
        "Cursors that live in a process.",
        [Durable],
        async |context| {
            fill_numbers(&context).await?;
            let query = by_number(&context)?;
            let cursor = first_cursor(&context, &query).await?;
            let text = cursor.as_str().to_owned();
            let before = context.store().find(&context.path("3")?).await?;
            context.reopen().await?;
            let rest = query.after(Cursor::from_text(text));
            expect_equal(
                context.ids(rest.clone()).await?,
                ["2", "3", "4", "5"],
                "after the restart",
            )?;
            if context.capabilities().shared {
                let other = context.second_handle().await?.documents()?;
                let page = other.query(rest, Default::default()).await?;
                expect_equal(ids_of(&page), ["2", "3", "4", "5"], "on another handle")?;
            }
            match before {
                Some(before) => expect_unchanged(&context, &before).await,
                None => Err(Failure::new("a document is missing")),
            }
        }
    ),
    case!(
        "PAG-13",
        Pag,
        "A cursor is URL-safe text, also with the longest values and four fields.",
        "Cursors that break in a query string, or grow beyond what is accepted back.",
        [],
        async |context| {
            let long = |n: i64| {
                format!("{n}{}", "é\"\\/+ ".repeat(73).chars().take(430).collect::<String>())
            };
            let data = |n: i64| json!({"a": long(0), "b": long(1), "c": long(2), "d": long(n)});
            fill(&context, (0..6).map(|n| (n.to_string(), data(n)))).await?;
            let query = ["a", "b", "c", "d"]
                .iter()
                .try_fold(everything(&context)?, |query, field| query.order_by(field, Ascending))?;
            let cursor = first_cursor(&context, &query).await?;
            let safe = |byte: u8| ALPHABET.contains(&byte);
            expect(cursor.as_str().bytes().all(safe), "only A-Z a-z 0-9 - _")?;
            let rest = query.after(Cursor::from_text(cursor.as_str()));
            expect_equal(context.ids(rest).await?, ["2", "3", "4", "5"], "the next page")
        }
    ),
];

/// Documents `0` to `5`, with their number in `n`.
async fn fill_numbers(context: &Context) -> CaseResult {
    fill(context, (0..6).map(|n| (n.to_string(), json!({"n": n, "m": n % 2})))).await
}

fn by_number(context: &Context) -> CaseResult<Query> {
    Ok(everything(context)?.order_by("n", Ascending)?)
}

/// The cursor behind the first two documents.
async fn first_cursor(context: &Context, query: &Query) -> CaseResult<Cursor> {
    let page: Page = context.query(query.clone().limit(2)).await?;
    page.next.ok_or_else(|| Failure::new("the first page has no cursor"))
}

async fn refused(context: &Context, text: &str, what: &str) -> CaseResult {
    let query = by_number(context)?.after(Cursor::from_text(text));
    expect_reason(context.query(query).await, Reason::Cursor, what)?;
    Ok(())
}
