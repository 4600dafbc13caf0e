//! Filters, patches and cursors.

use serde_json::{Value, json};
use syntrix_storage::{
    Cursor, Direction, Document, DocumentPath, Filter, Operator, Patch, Query, QueryPlan,
    Timestamp, UserFilter, UserListPlan, UserPageRequest, encode_data, normalize_data,
};

use crate::Target;

/// A document that most fields of the corpora are in.
fn document() -> Option<(Document, Value)> {
    let path = DocumentPath::parse("c/x").ok()?;
    let data = json!({"n": 1, "s": "text", "a": [1, "x", null], "o": {"p": true}});
    let body = encode_data(normalize_data(&path, data.clone()).ok()?).ok()?;
    Some((Document::first(path, Timestamp::from_milliseconds(1), body), data))
}

/// Lines of `FIELD OPERATOR JSON`.
pub(crate) struct FilterJson;

impl FilterJson {
    fn filter(line: &str) -> Option<Filter> {
        let (field, rest) = line.split_once(' ')?;
        let (operator, operand) = rest.split_once(' ')?;
        let operator: Operator = operator.parse().ok()?;
        Filter::new(field, operator, serde_json::from_str::<Value>(operand).ok()?).ok()
    }
}

impl Target for FilterJson {
    fn name(&self) -> &'static str {
        "filter_json"
    }

    fn corpus(&self) -> Vec<String> {
        let lines = [
            "n == 1",
            "s >= \"te\"\nn < 2",
            "a contains \"x\"",
            "n in [1,2.5,\"x\",null,true]\ns != null",
            "o.p == true\nversion > 0",
            "n == 1e308",
            "n == -0.0",
            "s == \"\\ud83d\\ude00\"",
        ];
        lines.map(str::to_owned).to_vec()
    }

    fn read(&self, input: &str) {
        let Some((document, data)) = document() else { return };
        let Ok(mut query) = Query::new("c") else { return };
        for filter in input.lines().filter_map(Self::filter) {
            let _ = filter.matches(&document, &data);
            query = query.with_filter(filter);
        }
        // Whether an index is missing or not, planning comes to an end.
        let _ = QueryPlan::new(query, &[]);
    }
}

/// Patches as JSON.
pub(crate) struct PatchJson;

impl Target for PatchJson {
    fn name(&self) -> &'static str {
        "patch_json"
    }

    fn corpus(&self) -> Vec<String> {
        let texts = [
            r#"{"a.b":1}"#,
            r#"{"a":{"$delete":true},"b.c.d":null}"#,
            r#"{"`x.y`":[1,{"z":2}]}"#,
            r#"{"o.p":{"q":1.0},"o":1}"#,
        ];
        texts.map(str::to_owned).to_vec()
    }

    fn read(&self, input: &str) {
        let Ok(value) = serde_json::from_str::<Value>(input) else { return };
        let Ok(path) = DocumentPath::parse("c/x") else { return };
        let Ok(patch) = Patch::from_value(value).and_then(|patch| patch.check(&path)) else {
            return;
        };
        let before = json!({"o": {"p": 1, "r": 2}, "n": 1});
        let Value::Object(before) = before else { return };
        if let Ok(after) = patch.apply(before) {
            let again = patch.apply(after.clone()).ok();
            assert_eq!(again, Some(after), "a patch that was applied changes nothing more");
        }
    }
}

/// Cursors of queries and of lists of accounts.
pub(crate) struct CursorText {
    cursors: Vec<String>,
}

impl CursorText {
    pub(crate) fn new() -> Self {
        let query = || Query::new("c").ok()?.order_by("n", Direction::Ascending).ok();
        let of_query = || {
            let plan = QueryPlan::new(query()?, &[]).ok()?;
            Some(plan.cursor_after(&document()?.0).ok()?.as_str().to_owned())
        };
        let of_list = || {
            let plan = UserListPlan::check(UserFilter::default(), UserPageRequest::default());
            let id = syntrix_storage::UserId::parse("id-1").ok()?;
            Some(plan.ok()?.cursor_after(&id).as_str().to_owned())
        };
        Self { cursors: of_query().into_iter().chain(of_list()).collect() }
    }
}

impl Target for CursorText {
    fn name(&self) -> &'static str {
        "cursor"
    }

    fn corpus(&self) -> Vec<String> {
        self.cursors.clone()
    }

    fn read(&self, input: &str) {
        let cursor = || Cursor::from_text(input);
        if let Ok(query) = Query::new("c")
            && let Ok(query) = query.order_by("n", Direction::Ascending)
        {
            let _ = QueryPlan::new(query.after(cursor()), &[]);
        }
        let mut page = UserPageRequest::default();
        page.after = Some(cursor());
        let _ = UserListPlan::check(UserFilter::default(), page);
    }
}
