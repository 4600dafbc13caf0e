//! Indexes and the index rule.

use std::sync::Arc;

use serde_json::json;
use syntrix_storage_core::Direction::{Ascending, Descending};
use syntrix_storage_core::{
    Direction, ErrorKind, INDEXES_MAX, IndexDefinition, IndexSuggestion, Operator, OrderBy, Query,
    Reason,
};

use super::steps::{fill, in_tasks};
use crate::case::case;
use crate::{
    Case, CaseResult, Context, Failure, expect, expect_equal, expect_kind, expect_reason, within,
};

pub(super) static CASES: &[Case] = &[
    case!(
        "IDX-01",
        Idx,
        "Declaring an index twice changes nothing, and a store has 32 and no more.",
        "A second declaration that fails, builds again, or is listed twice.",
        [],
        async |context| {
            let fields = [("room", Ascending), ("ts", Descending)];
            expect_equal(names(&context).await?, Vec::<String>::new(), "indexes of a new store")?;
            let index = context.declare_index("rooms/*/messages", &fields).await?;
            context.declare_index("rooms/*/messages", &fields).await?;
            let listed = context.admin().list_indexes().await?;
            expect_equal(listed.len(), 1, "indexes")?;
            expect_equal(&listed[0].definition, &index, "the declaration as it is listed")?;
            expect(listed[0].ready, "the index is ready")?;

            for number in 1..INDEXES_MAX {
                context.declare_index("case", &[(&format!("f{number}"), Ascending)]).await?;
            }
            let field = vec![OrderBy::new("one_too_many", Ascending)?];
            let index = IndexDefinition::new("case", field)?;
            let created = context.admin().create_index(&index).await;
            expect_reason(created, Reason::TooManyIndexes, "the 33rd index")?;
            expect_equal(names(&context).await?.len(), INDEXES_MAX, "indexes")
        }
    ),
    case!(
        "IDX-02",
        Idx,
        "Many declare the same index at once and all succeed.",
        "Instances of one application that race at start and of which all but one fail.",
        [],
        async |context| {
            fill(&context, (0..500).map(|n| (format!("d{n}"), json!({"a": n, "b": 1})))).await?;
            let mut handles = vec![context.handle()];
            if context.capabilities().shared {
                handles.push(context.second_handle().await?);
            }
            let declared = in_tasks(8, |number| {
                let handle = Arc::clone(&handles[number % handles.len()]);
                async move {
                    let admin = handle.admin()?;
                    let fields = vec![OrderBy::new("a", Ascending)?, OrderBy::new("b", Ascending)?];
                    let index = IndexDefinition::new("case", fields)?;
                    Ok(admin.create_index(&index).await?)
                }
            });
            within(declared).await??;
            expect_equal(names(&context).await?.len(), 1, "indexes")?;
            let query = Query::new("case")?
                .filter("b", Operator::Equal, 1)?
                .order_by("a", Descending)?
                .limit(1);
            expect_kind(ask(&context, query).await, ErrorKind::IndexRequired, "a, b is not b, a")?;
            let query = Query::new("case")?.order_by("a", Descending)?.order_by("b", Descending)?;
            expect_equal(ask(&context, query).await?, 100, "documents through the index")
        }
    ),
    case!(
        "IDX-03",
        Idx,
        "A query without its index is refused and brings the index to create.",
        "Slow queries in production instead of errors in development, or errors that do not say what to do.",
        [],
        async |context| {
            let query = Query::new("rooms/lobby/messages")?
                .filter("room", Operator::Equal, "x")?
                .filter("`1.0.1`.status", Operator::Equal, 1)?
                .order_by("ts", Descending)?;
            let suggestion = suggestion(&context, &query).await?;
            expect_equal(suggestion.collection.as_str(), "rooms/*/messages", "collection")?;
            let expected = [("`1.0.1`.status", Ascending), ("room", Ascending), ("ts", Descending)];
            let fields: Vec<_> = suggestion
                .fields
                .iter()
                .map(|term| (term.field.as_str(), term.direction))
                .collect();
            expect_equal(fields, expected.to_vec(), "fields")?;
            let definition = suggestion.to_definition()?;
            expect_equal(suggestion.name.as_str(), definition.name(), "name")
        }
    ),
    case!(
        "IDX-04",
        Idx,
        "Creating the suggested index makes the query work at once, on every handle.",
        "A suggestion that does not help, or a list of indexes that is read only once.",
        [],
        async |context| {
            fill(&context, (0..9).map(|n| (format!("d{n}"), json!({"k": n % 3, "ts": n})))).await?;
            let query =
                Query::new("case")?.filter("k", Operator::Equal, 1)?.order_by("ts", Descending)?;
            let suggestion = suggestion(&context, &query).await?;
            let creator = match context.capabilities().shared {
                true => context.second_handle().await?.admin()?,
                false => context.admin(),
            };
            creator.create_index(&suggestion.to_definition()?).await?;
            let page = context.store().query(query, Default::default()).await?;
            let ids: Vec<_> = page.documents.iter().map(|document| document.id()).collect();
            expect_equal(ids, ["d7", "d4", "d1"].to_vec(), "documents in order")
        }
    ),
    case!(
        "IDX-05",
        Idx,
        "The suggested index is minimal, and without it the query is refused again.",
        "Suggestions that cost more than the query needs.",
        [],
        async |context| {
            let query = Query::new("case")?
                .filter("a", Operator::Equal, 1)?
                .filter("b", Operator::In, json!([1, 2]))?
                .filter("c", Operator::NotEqual, 1)?
                .order_by("ts", Ascending)?;
            let full = suggestion(&context, &query).await?;
            expect_equal(full.fields.len(), 3, "fields of the suggestion")?;
            for dropped in 0..full.fields.len() {
                let mut fields = full.fields.clone();
                fields.remove(dropped);
                let less =
                    IndexSuggestion { name: String::new(), fields, collection: "case".into() };
                context.admin().create_index(&less.to_definition()?).await?;
                let asked = ask(&context, query.clone()).await;
                let what = format!("without {}", full.fields[dropped].field);
                expect_kind(asked, ErrorKind::IndexRequired, what)?;
            }
            context.admin().create_index(&full.to_definition()?).await?;
            ask(&context, query.clone()).await?;
            context.admin().drop_index(&full.name).await?;
            expect_kind(ask(&context, query).await, ErrorKind::IndexRequired, "after the drop")?;
            Ok(())
        }
    ),
    case!(
        "IDX-06",
        Idx,
        "What the built-in indexes or one field can answer needs no declaration.",
        "Demanding indexes that cost more than they save.",
        [],
        async |context| {
            fill(&context, (0..5).map(|n| (format!("d{n}"), json!({"n": n, "tags": ["x"]}))))
                .await?;
            let all = Query::new("case")?;
            let served = [
                all.clone(),
                all.clone().filter("fullpath", Operator::Equal, "case/d1")?,
                all.clone().filter("n", Operator::GreaterOrEqual, 0)?,
                all.clone().order_by("n", Descending)?,
                all.clone().order_by("createdAt", Descending)?,
                all.clone().filter("updatedAt", Operator::Greater, 0)?,
                all.clone()
                    .filter("collection", Operator::Equal, "case")?
                    .order_by("n", Ascending)?,
                all.clone().filter("n", Operator::NotEqual, 3)?.order_by("n", Ascending)?,
                all.filter("n", Operator::Equal, 1)?.filter("tags", Operator::Contains, "x")?,
            ];
            for query in served {
                let what = format!("{query:?}");
                let asked = ask(&context, query).await;
                expect(asked.is_ok(), format!("{what} gave {asked:?}"))?;
            }
            Ok(())
        }
    ),
    case!(
        "IDX-07",
        Idx,
        "An index serves no query that needs only its first fields.",
        "Serving by prefix on the backends that can: the query then fails on the next backend.",
        [],
        async |context| {
            context
                .declare_index("case", &[("a", Ascending), ("b", Ascending), ("c", Ascending)])
                .await?;
            let query = Query::new("case")?.filter("a", Operator::Equal, 1)?;
            let prefix = query.clone().order_by("b", Ascending)?;
            expect_kind(ask(&context, prefix).await, ErrorKind::IndexRequired, "the prefix")?;
            let whole = query.order_by("b", Ascending)?.order_by("c", Ascending)?;
            expect_equal(ask(&context, whole).await?, 0, "documents through the whole index")
        }
    ),
    case!(
        "IDX-10",
        Idx,
        "Mixed directions need an index with just these or all of them reversed.",
        "Sorting a whole collection behind the caller's back.",
        [],
        async |context| {
            let query = |first, second| {
                Ok::<_, Failure>(Query::new("case")?.order_by("a", first)?.order_by("b", second)?)
            };
            context.declare_index("case", &[("a", Ascending), ("b", Ascending)]).await?;
            let refused = ask(&context, query(Ascending, Descending)?).await;
            expect_kind(refused, ErrorKind::IndexRequired, "asc, desc over asc, asc")?;
            context.declare_index("case", &[("a", Ascending), ("b", Descending)]).await?;
            for (first, second) in [
                (Ascending, Ascending),
                (Descending, Descending),
                (Ascending, Descending),
                (Descending, Ascending),
            ] {
                ask(&context, query(first, second)?).await?;
            }
            Ok(())
        }
    ),
    case!(
        "IDX-11",
        Idx,
        "An index has the name of its definition and no other.",
        "Two definitions under one name, of which one silently wins.",
        [],
        async |context| {
            let index =
                context.declare_index("case", &[("a", Ascending), ("b", Ascending)]).await?;
            let other =
                context.declare_index("case", &[("a", Ascending), ("b", Descending)]).await?;
            expect(index.name() != other.name(), "other directions have another name")?;
            let renamed = IndexSuggestion { name: other.name().into(), ..index.to_suggestion() };
            expect_reason(renamed.to_definition(), Reason::Index, "a foreign name")?;

            let dropped = context.admin().drop_index("ix_000000000000").await;
            expect_kind(dropped, ErrorKind::NotFound, "dropping an unknown name")?;
            context.admin().drop_index(index.name()).await?;
            expect_equal(names(&context).await?, vec![other.name().to_owned()], "indexes left")?;
            let again = context.admin().drop_index(index.name()).await;
            expect_kind(again, ErrorKind::NotFound, "dropping it twice")?;
            Ok(())
        }
    ),
    case!(
        "IDX-13",
        Idx,
        "A fixed table of queries gets the same verdicts everywhere.",
        "Tests on one backend that say nothing about production on another.",
        [],
        async |context| {
            use Direction::{Ascending as Up, Descending as Down};
            context.declare_index("rooms/*/messages", &[("room", Up), ("ts", Down)]).await?;
            context.declare_index("flat", &[("b", Up), ("a", Up), ("ts", Up)]).await?;
            context.declare_index("rooms/lobby/notes", &[("k", Up), ("ts", Up)]).await?;
            for (number, row) in verdicts()?.into_iter().enumerate() {
                let (served, query) = row;
                let asked = ask(&context, query).await;
                let what = format!("row {number} of the table: {asked:?}");
                let refused = asked.is_err_and(|error| error.kind() == ErrorKind::IndexRequired);
                expect_equal(!refused, served, what)?;
            }
            Ok(())
        }
    ),
];

/// Queries, and whether the three indexes above serve them.
fn verdicts() -> CaseResult<Vec<(bool, Query)>> {
    use Operator::{Contains, Equal, Greater, In, Less, NotEqual};
    let nested = || Query::new("rooms/lobby/messages");
    let flat = || Query::new("flat");
    Ok(vec![
        (true, nested()?.filter("room", Equal, 1)?),
        (true, nested()?.filter("room", Equal, 1)?.order_by("ts", Descending)?),
        (true, nested()?.filter("room", Equal, 1)?.order_by("ts", Ascending)?),
        (true, nested()?.filter("room", Equal, 1)?.filter("ts", Greater, 1)?),
        (true, nested()?.filter("room", In, json!([1, 2]))?.order_by("ts", Ascending)?),
        (true, nested()?.filter("`room`", Equal, 1)?.order_by("`ts`", Ascending)?),
        (true, nested()?.filter("room", Equal, 1)?.filter("tags", Contains, "t")?),
        (true, nested()?.filter("status", NotEqual, 1)?.order_by("ts", Ascending)?),
        (false, nested()?.filter("room", Equal, 1)?.filter("k", Equal, 1)?),
        (false, nested()?.order_by("room", Ascending)?.order_by("ts", Ascending)?),
        (true, nested()?.order_by("room", Descending)?.order_by("ts", Ascending)?),
        (false, nested()?.filter("ts", Equal, 1)?.order_by("room", Ascending)?),
        (false, Query::new("rooms")?.filter("room", Equal, 1)?.order_by("ts", Ascending)?),
        (
            false,
            Query::new("rooms/a/b/c/messages")?
                .filter("room", Equal, 1)?
                .order_by("ts", Ascending)?,
        ),
        (true, flat()?.filter("a", Equal, 1)?.filter("b", Equal, 1)?.order_by("ts", Descending)?),
        (false, flat()?.filter("a", Equal, 1)?.filter("b", Equal, 1)?),
        (false, flat()?.filter("b", Equal, 1)?.order_by("a", Ascending)?),
        (true, flat()?.filter("a", Equal, 1)?.filter("b", Equal, 2)?.filter("ts", Less, 1)?),
        (true, Query::new("rooms/lobby/notes")?.filter("k", Equal, 1)?.order_by("ts", Ascending)?),
        (false, Query::new("rooms/other/notes")?.filter("k", Equal, 1)?.order_by("ts", Ascending)?),
    ])
}

/// How many documents the first page has; declares nothing.
async fn ask(context: &Context, query: Query) -> syntrix_storage_core::Result<usize> {
    Ok(context.store().query(query, Default::default()).await?.documents.len())
}

async fn suggestion(context: &Context, query: &Query) -> CaseResult<IndexSuggestion> {
    let asked = ask(context, query.clone()).await;
    let error = expect_kind(asked, ErrorKind::IndexRequired, "the query without an index")?;
    error.suggestion().cloned().ok_or_else(|| Failure::new("the error brings no suggestion"))
}

async fn names(context: &Context) -> CaseResult<Vec<String>> {
    let listed = context.admin().list_indexes().await?;
    Ok(listed.iter().map(|index| index.definition.name().to_owned()).collect())
}
