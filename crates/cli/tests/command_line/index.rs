use serde_json::{Value, json};

use crate::program::Program;

const QUERY: [&str; 6] = ["doc", "query", "c", "--where", "a == 1", "--order-by"];

#[test]
fn a_refused_query_names_the_command_that_helps() {
    let program = Program::new();
    program.lines(&["doc", "create", "c/x", r#"{"a":1,"it's":2}"#]);
    let query = [&QUERY[..], &["it's:desc"]].concat();
    let refused = program.run(&query);
    assert_eq!((refused.code, refused.stdout.as_str()), (1, ""));
    let suggestion = refused
        .stderr
        .lines()
        .find_map(|line| serde_json::from_str::<Value>(line).ok())
        .expect("the suggestion on a line of its own");
    let told = program.run(&[&query[..], &["--output", "json"]].concat()).json_error();
    assert_eq!((&told["kind"], &told["suggestion"]), (&json!("index_required"), &suggestion));
    assert_eq!(program.lines(&[&["index", "suggest"], &query[2..]].concat()), [suggestion]);

    let command = refused.stderr.lines().last().expect("a command").trim();
    assert!(command.starts_with("syntrix-storage index create '"), "{command}");
    run_in_shell(command);
    assert_eq!(program.lines(&query).len(), 1);
}

/// The line as it would be pasted.
fn run_in_shell(line: &str) {
    let binary = env!("CARGO_BIN_EXE_syntrix-storage");
    let line = line.replacen("syntrix-storage", binary, 1);
    let output = std::process::Command::new("sh").args(["-c", &line]).output().expect("a shell");
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn indexes_are_listed_and_dropped() {
    let program = Program::new();
    let suggestion = r#"{"collection":"c","fields":[{"field":"a","direction":"asc"},{"field":"b","direction":"desc"}]}"#;
    let created = program.lines(&["index", "create", suggestion]);
    assert_eq!(created[0]["ready"], true);
    let listed = program.run(&["index", "list"]);
    assert_eq!(listed.json_lines(), created);
    // A listed line declares the same index again, here or elsewhere.
    assert_eq!(program.run_with_input(&["index", "create", "-"], &listed.stdout).code, 0);

    let name = created[0]["name"].as_str().expect("a name");
    assert_eq!(program.run(&["index", "drop", name]).code, 0);
    assert!(program.lines(&["index", "list"]).is_empty());
    let missing = program.run(&["index", "drop", name]);
    assert!(missing.code == 1 && missing.stderr.contains("not_found"), "{}", missing.stderr);
}

#[test]
fn a_query_without_need_gets_no_suggestion() {
    let program = Program::new();
    let none = program.run(&["index", "suggest", "c", "--where", "a == 1"]);
    assert_eq!((none.code, none.stdout.as_str()), (0, ""));
    assert!(none.stderr.contains("no composite index"));
    assert!(!program.path("data").exists(), "a suggestion opens no store");
}

#[test]
fn nonsense_is_no_suggestion() {
    let program = Program::new();
    assert_eq!(program.run(&["index", "create", r#"{"fields":1}"#]).code, 2);
    let wide = r#"{"collection":"c","fields":[]}"#;
    let refused = program.run(&["index", "create", wide, "--output", "json"]);
    assert_eq!((refused.code, &refused.json_error()["reason"]), (1, &json!("index_too_wide")));
}
