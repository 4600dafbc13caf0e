use serde_json::{Value, json};

use crate::program::Program;

fn paths(lines: &[Value]) -> Vec<&str> {
    let events = lines.iter().filter(|line| line["type"] != "bookmark");
    events.map(|event| event["path"].as_str().expect("a path")).collect()
}

#[test]
fn an_event_has_the_documented_members() {
    let program = Program::new();
    program.lines(&["doc", "create", "a/1/b/2", r#"{"n":1}"#]);
    program.lines(&["doc", "update", "a/1/b/2", r#"{"n":2}"#]);
    program.lines(&["doc", "delete", "a/1/b/2"]);
    let lines = program.lines(&["watch", "a/1/b", "--from", "oldest", "--before", "--limit", "3"]);
    let events: Vec<_> = lines.iter().filter(|line| line["type"] != "bookmark").collect();
    let types: Vec<_> = events.iter().map(|event| &event["type"]).collect();
    assert_eq!(types, ["create", "update", "delete"]);
    assert_eq!(events[0].get("before"), None);
    let update = events[1];
    assert_eq!((&update["before"]["n"], &update["document"]["n"]), (&json!(1), &json!(2)));
    assert_eq!((&update["collection"], &update["id"]), (&json!("a/1/b"), &json!("2")));
    assert_eq!(update["version"], 2);
    assert!(update["commitTime"].is_i64() && update["token"].is_string());
}

#[test]
fn a_token_or_a_resume_file_continues_exactly_behind() {
    let program = Program::new();
    for path in ["c/1", "c/2", "other/x", "c/3"] {
        program.lines(&["doc", "create", path, "{}"]);
    }
    let place = program.path("place").display().to_string();
    let file = ["watch", "c", "--from", "oldest", "--resume-file", &place, "--limit"];
    let first = program.lines(&[&file[..], &["1"]].concat());
    assert_eq!(paths(&first), ["c/1"]);
    let saved = std::fs::read_to_string(&place).expect("saved");
    assert_eq!(first.last().expect("a line")["token"], saved.trim());

    assert_eq!(paths(&program.lines(&[&file[..], &["2"]].concat())), ["c/2", "c/3"]);
    let resumed = program.lines(&["watch", "c", "--resume", saved.trim(), "--limit", "2"]);
    assert_eq!(paths(&resumed), ["c/2", "c/3"]);
}

#[test]
fn a_token_that_is_none_of_ours_is_an_error() {
    let (program, other) = (Program::new(), Program::new());
    other.lines(&["doc", "create", "c/1", "{}"]);
    let foreign = other.lines(&["watch", "--from", "oldest", "--limit", "1"]);
    let foreign = foreign[0]["token"].as_str().expect("a token");
    for (token, kind) in [("nonsense", "token_malformed"), (foreign, "token_foreign")] {
        let refused = program.run(&["watch", "--resume", token, "--output", "json"]);
        assert_eq!((refused.code, &refused.json_error()["kind"]), (1, &json!(kind)));
    }
    let both = program.run(&["watch", "--resume", foreign, "--resume-file", "f"]);
    assert_eq!(both.code, 2);
}
