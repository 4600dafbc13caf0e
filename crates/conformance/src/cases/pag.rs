//! Pagination: pages that fit together.

use serde_json::{Value, json};
use syntrix_storage_core::{Direction, Operator, Page, Patch, Query, Reason};

use super::steps::{create, everything, expect_order, fill, ids_of, pages, patch};
use crate::case::case;
use crate::{Case, CaseResult, Context, Failure, expect, expect_equal, expect_reason};

use Direction::{Ascending, Descending};

pub(super) static CASES: &[Case] = &[
    case!(
        "PAG-01",
        Pag,
        "Pages of any size make up the unpaged result, without gap or repeat.",
        "Cursors that are off by one, or point at a row that two pages share.",
        [],
        async |context| {
            const COUNT: u32 = 17;
            fill_groups(&context, COUNT).await?;
            for query in [
                everything(&context)?,
                everything(&context)?.filter("g", Operator::Equal, 1)?,
                everything(&context)?.filter("n", Operator::GreaterOrEqual, 3)?,
                everything(&context)?.filter("g", Operator::In, json!([0, 2]))?,
                everything(&context)?.filter("n", Operator::NotEqual, 4)?,
            ] {
                any_page_size(&context, query, COUNT).await?;
            }
            Ok(())
        }
    ),
    case!(
        "PAG-02",
        Pag,
        "A last page that is full has no cursor.",
        "A cursor to nothing, and a loop that never ends.",
        [],
        async |context| {
            fill(&context, (0..12).map(|n| (format!("{n:02}"), json!({"n": n})))).await?;
            for limit in [1, 2, 3, 4, 6, 12] {
                for query in
                    [everything(&context)?, everything(&context)?.order_by("n", Ascending)?]
                {
                    let pages = pages(&context, query, limit).await?;
                    expect_equal(pages.len(), 12 / limit as usize, "pages")?;
                }
            }
            Ok(())
        }
    ),
    case!(
        "PAG-03",
        Pag,
        "An empty result has no cursor.",
        "Cursors made of nothing.",
        [],
        async |context| {
            fill(&context, [("a", json!({"n": 1}))]).await?;
            for query in [
                everything(&context)?.filter("n", Operator::Equal, 2)?,
                everything(&context)?.order_by("missing", Ascending)?,
                everything(&context)?.filter("n", Operator::In, json!([]))?,
            ] {
                let page = context.query(query.limit(1)).await?;
                expect(page.documents.is_empty() && page.next.is_none(), "nothing and no cursor")?;
            }
            Ok(())
        }
    ),
    case!(
        "PAG-04",
        Pag,
        "Among equal order values single-document pages give every document once.",
        "Cursors that carry the value and not the key.",
        [],
        async |context| {
            fill(
                &context,
                (0..30).map(|n| (format!("{n:02}"), json!({"same": 1, "half": n / 15}))),
            )
            .await?;
            for direction in [Ascending, Descending] {
                for field in ["same", "half"] {
                    let query = everything(&context)?.order_by(field, direction)?;
                    any_page_size(&context, query, 3).await?;
                }
            }
            let in_half = everything(&context)?.filter("half", Operator::Equal, 1)?;
            any_page_size(&context, in_half.order_by("same", Descending)?, 3).await
        }
    ),
    case!(
        "PAG-05",
        Pag,
        "A document that comes in before the cursor shifts nothing.",
        "Cursors that are offsets.",
        [],
        async |context| {
            fill(&context, (10..16).map(|n| (format!("{n}"), json!({"n": n})))).await?;
            let query = everything(&context)?.order_by("n", Ascending)?.limit(2);
            let first = context.query(query.clone()).await?;
            fill(&context, [("01", json!({"n": 1})), ("10a", json!({"n": 10.5}))]).await?;
            let second = continue_behind(&context, &query, first).await?;
            expect_equal(ids_of(&second), ["12", "13"], "the second page")?;
            fill(&context, [("13a", json!({"n": 13.5})), ("02", json!({"n": 2}))]).await?;
            let third = continue_behind(&context, &query, second).await?;
            expect_equal(ids_of(&third), ["13a", "14"], "the third page")
        }
    ),
    case!(
        "PAG-06",
        Pag,
        "If the document at the cursor is gone, the next page starts with its successor.",
        "Cursors that look their document up.",
        [],
        async |context| {
            fill(&context, (0..8).map(|n| (format!("{n}"), json!({"n": n})))).await?;
            for (direction, expected) in [(Ascending, ["2", "3"]), (Descending, ["5", "4"])] {
                let query = everything(&context)?.order_by("n", direction)?.limit(2);
                let page = context.query(query.clone()).await?;
                for document in &page.documents {
                    context.store().delete(document.path(), Default::default()).await?;
                }
                let next = continue_behind(&context, &query, page).await?;
                expect_equal(ids_of(&next), expected, "the next page")?;
            }
            Ok(())
        }
    ),
    case!(
        "PAG-07",
        Pag,
        "A document whose order value changes between pages is where it is now.",
        "Errors or stale rows when a row moves across the cursor.",
        [],
        async |context| {
            fill(&context, (0..6).map(|n| (format!("{n}"), json!({"n": n * 10})))).await?;
            let query = everything(&context)?.order_by("n", Ascending)?.limit(3);
            let first = context.query(query.clone()).await?;
            expect_equal(ids_of(&first), ["0", "1", "2"], "the first page")?;
            patch(&context, &context.path("0")?, Patch::new().set("n", 45)).await?;
            patch(&context, &context.path("3")?, Patch::new().set("n", 5)).await?;
            patch(&context, &context.path("2")?, Patch::new().set("n", -1)).await?;
            let second = continue_behind(&context, &query, first).await?;
            expect_equal(ids_of(&second), ["4", "0", "5"], "the second page")?;
            expect(second.next.is_none(), "there is no third page")
        }
    ),
    case!(
        "PAG-14",
        Pag,
        "A cursor at a null, at the end of a type, or at a long string continues right.",
        "Comparisons with null that are unknown, and types that a cursor cannot cross.",
        [],
        async |context| {
            let values = json!([
                null,
                null,
                -2.5,
                0,
                0,
                9_007_199_254_740_993_i64,
                1e300,
                "",
                "",
                "a",
                "é",
                false,
                false,
                true,
                true,
            ]);
            let longest = "x".repeat(512);
            let values = values
                .as_array()
                .into_iter()
                .flatten()
                .cloned()
                .chain([json!(longest), json!(longest)]);
            let documents = values
                .enumerate()
                .map(|(n, value)| (format!("{n:02}"), json!({"v": value, "w": value})));
            fill(&context, documents).await?;
            for direction in [Ascending, Descending] {
                let query = everything(&context)?.order_by("v", direction)?;
                any_page_size(&context, query, 6).await?;
                let query =
                    everything(&context)?.order_by("v", direction)?.order_by("w", Ascending)?;
                any_page_size(&context, query, 3).await?;
            }
            Ok(())
        }
    ),
    case!(
        "PAG-15",
        Pag,
        "Pages fit together in descending and in mixed directions.",
        "Comparing all order fields of a cursor in one direction.",
        [],
        async |context| {
            const COUNT: u32 = 20;
            fill_groups(&context, COUNT).await?;
            for (first, second) in [
                (Ascending, Ascending),
                (Ascending, Descending),
                (Descending, Ascending),
                (Descending, Descending),
            ] {
                let two = everything(&context)?.order_by("g", first)?.order_by("h", second)?;
                any_page_size(&context, two.clone(), 7).await?;
                any_page_size(&context, two.order_by("n", first)?, 4).await?;
                let filtered = everything(&context)?.filter("g", Operator::In, json!([2, 0]))?;
                let filtered = filtered.order_by("h", first)?.order_by("n", second)?;
                any_page_size(&context, filtered, 4).await?;
                let system = everything(&context)?.order_by("version", first)?;
                any_page_size(&context, system.order_by("fullpath", second)?, 4).await?;
            }
            Ok(())
        }
    ),
    case!(
        "PAG-16",
        Pag,
        "A cursor at a document that is deleted meanwhile continues, with or without deleted ones.",
        "Tombstones that hold a page up or count towards its limit.",
        [],
        async |context| {
            let ids: Vec<_> = (0..8).map(|n| format!("{n}")).collect();
            fill(&context, ids.iter().map(|id| (id.clone(), json!({"n": 1})))).await?;
            for show in [true, false] {
                let query = everything(&context)?.show_deleted(show);
                let whole = context.ids(query.clone()).await?;
                let page = context.query(query.clone().limit(3)).await?;
                let last = page.documents.last().ok_or_else(|| Failure::new("an empty page"))?;
                context.store().delete(last.path(), Default::default()).await?;
                let rest = continue_behind(&context, &query, page).await?;
                expect_equal(
                    ids_of(&rest),
                    whole[3..].to_vec(),
                    format_args!("deleted shown: {show}"),
                )?;
            }
            let shown =
                pages(&context, everything(&context)?.show_deleted(true), 2).await?.concat();
            expect_equal(shown.len(), 8, "documents and tombstones")?;
            let live = pages(&context, everything(&context)?, 2).await?.concat();
            expect_equal(live.len(), 6, "documents")
        }
    ),
    case!(
        "PAG-17",
        Pag,
        "A limit above 1000 is refused.",
        "Limits that are cut silently, so that a short page looks like the last one.",
        [],
        async |context| {
            create(&context, &context.path("a")?, json!({"n": 1})).await?;
            for limit in [1001, 5000, u32::MAX] {
                let refused = context.query(everything(&context)?.limit(limit)).await;
                expect_reason(refused, Reason::Limit, format_args!("limit {limit}"))?;
            }
            expect_order(&context, everything(&context)?.limit(1000), &["a"], "limit 1000").await
        }
    ),
];

/// Documents with a number, a group, and a half that repeats across groups.
async fn fill_groups(context: &Context, count: u32) -> CaseResult {
    let data = |n: u32| -> Value { json!({"n": n, "g": n % 3, "h": n / 2 % 4}) };
    fill(context, (0..count).map(|n| (format!("{n:02}"), data(n)))).await
}

/// For every limit up to `limit_max` and beyond the end the pages make up the whole.
async fn any_page_size(context: &Context, query: Query, limit_max: u32) -> CaseResult {
    let whole = context.ids(query.clone().limit(1000)).await?;
    for limit in (1..=limit_max).chain([whole.len() as u32, whole.len() as u32 + 1, 1000]) {
        let pages = pages(context, query.clone(), limit.max(1)).await?;
        expect_equal(pages.concat(), whole.clone(), format_args!("pages of {limit}"))?;
    }
    Ok(())
}

/// The page behind `page`, which must not be the last one.
async fn continue_behind(context: &Context, query: &Query, page: Page) -> CaseResult<Page> {
    let next = page.next.ok_or_else(|| Failure::new("the page has no cursor"))?;
    Ok(context.query(query.clone().after(next)).await?)
}
