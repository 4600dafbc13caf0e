use serde_json::json;

use crate::program::Program;

#[test]
fn a_document_is_created_read_changed_and_deleted() {
    let program = Program::new();
    let created = program.lines(&["doc", "create", "rooms/lobby", r#"{"seats":12.0}"#]);
    assert_eq!(created[0]["seats"], json!(12));
    assert_eq!(created[0]["id"], "lobby");
    assert_eq!(program.lines(&["doc", "get", "rooms/lobby"]), created);

    let patched = program.lines(&["doc", "patch", "rooms/lobby", r#"{"a.b":null}"#]);
    assert_eq!((&patched[0]["a"], &patched[0]["version"]), (&json!({"b": null}), &json!(2)));
    let updated = program.run_with_input(&["doc", "update", "rooms/lobby", "-"], r#"{"n":1}"#);
    assert_eq!(updated.json_lines()[0].get("seats"), None);
    let deleted = program.lines(&["doc", "delete", "rooms/lobby", "--if", "version == 3"]);
    assert_eq!((&deleted[0]["deleted"], &deleted[0]["version"]), (&json!(true), &json!(4)));

    let gone = program.run(&["doc", "get", "rooms/lobby"]);
    assert_eq!((gone.code, gone.stdout.as_str()), (1, ""));
    assert!(gone.stderr.starts_with("error: get: not_found"), "{}", gone.stderr);
}

#[test]
fn a_precondition_that_does_not_hold_is_told_with_kind_and_facts() {
    let program = Program::new();
    program.lines(&["doc", "create", "c/x", r#"{"n":1}"#]);
    let refused = program.run(&["doc", "update", "c/x", "{}", "--if", "n > 1", "--output", "json"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (1, ""));
    let error = refused.json_error();
    assert_eq!(error["kind"], "precondition_failed");
    assert_eq!((&error["operation"], &error["facts"]["version"]), (&json!("update"), &json!("1")));
    assert_eq!(program.lines(&["doc", "get", "c/x"])[0]["version"], 1);
}

#[test]
fn what_the_store_refuses_is_1_and_what_cannot_be_read_is_2() {
    let program = Program::new();
    let cases: [(&[&str], i32, &str); 9] = [
        (&["doc", "create", "c/x", "[]"], 1, "data_not_object"),
        (&["doc", "create", "c", "{}"], 1, "path"),
        (&["doc", "create", "c/x", r#"{"n":18446744073709551616}"#], 1, "number_out_of_range"),
        (&["doc", "query", "c", "--limit", "0"], 1, "limit"),
        (&["doc", "query", "c", "--where", "n ~= 1"], 1, "op_unknown"),
        (&["doc", "query", "c", "--where", "name == Oslo"], 2, "no JSON"),
        (&["doc", "create", "c/x", "{"], 2, "no JSON"),
        (&["doc", "create", "c/x"], 2, "required arguments"),
        (&["doc", "get", "c/x", "--config", "missing.yaml"], 2, "config_invalid"),
    ];
    for (arguments, code, words) in cases {
        let refused = program.run(arguments);
        assert_eq!((refused.code, refused.stdout.as_str()), (code, ""), "{arguments:?}");
        assert!(refused.stderr.contains(words), "{arguments:?}: {}", refused.stderr);
    }
}

#[test]
fn a_query_prints_a_page_and_the_cursor_of_the_next() {
    let program = Program::new();
    let lines: String =
        ["Oslo", "Bergen", "Ålesund"].map(|name| format!("{{\"name\":\"{name}\"}}\n")).concat();
    let file = program.file("cities.ndjson", &lines);
    program.lines(&["doc", "import", &file, "--collection", "cities", "--id-field", "name"]);
    let query = ["doc", "query", "cities", "--order-by", "name:desc", "--limit", "2"];
    let page = program.lines(&query);
    assert_eq!(
        (page.len(), &page[0]["id"], &page[1]["id"]),
        (3, &json!("Ålesund"), &json!("Oslo"))
    );
    let cursor = page[2]["next"].as_str().expect("a cursor");
    let rest = program.lines(&[&query[..], &["--after", cursor]].concat());
    assert_eq!((rest.len(), &rest[0]["id"]), (1, &json!("Bergen")));

    let found = program.lines(&["doc", "query", "cities", "--where", r#"name in ["Oslo"]"#]);
    assert_eq!(found.len(), 1);
    program.lines(&["doc", "delete", "cities/Oslo"]);
    assert_eq!(program.lines(&["doc", "query", "cities"]).len(), 2);
    assert_eq!(program.lines(&["doc", "query", "cities", "--show-deleted"]).len(), 3);
}

#[test]
fn a_table_is_for_people_wherever_the_option_stands() {
    let program = Program::new();
    program.lines(&["doc", "create", "c/x", r#"{"name":"a\u001b[31m"}"#]);
    let before = program.run(&["--output", "table", "doc", "query", "c"]);
    let after = program.run(&["doc", "query", "c", "--output", "table"]);
    assert_eq!(before.stdout, after.stdout);
    assert!(before.stdout.contains("│ name") && !before.stdout.contains('\u{1b}'));
}
