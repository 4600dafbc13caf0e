use serde_json::json;
use syntrix_storage::conformance::canary;

use crate::program::Program;

/// What must be in no output.
const SECRET: &str = canary::HASH_SECRET;

fn create(program: &Program, arguments: &[&str]) -> serde_json::Value {
    let arguments = [&["user", "create"], arguments].concat();
    let created = program.run_with_input(&arguments, &format!("{}\n", canary::PASSWORD_HASH));
    assert_eq!(created.code, 0, "{}", created.stderr);
    assert!(!created.stdout.contains(SECRET) && !created.stderr.contains(SECRET));
    created.json_lines()[0].clone()
}

#[test]
fn an_account_is_created_found_changed_disabled_and_enabled() {
    let program = Program::new();
    let ada =
        create(&program, &["Ada", "--role", "admin", "--role", "user", "--profile", r#"{"n":1}"#]);
    assert_eq!((&ada["username"], &ada["version"]), (&json!("Ada"), &json!(1)));
    assert_eq!((&ada["roles"], &ada["profile"]), (&json!(["admin", "user"]), &json!({"n": 1})));
    assert_eq!(ada["passwordAlgorithm"], "argon2id");
    assert_eq!(program.lines(&["user", "get", "ADA"])[0], ada);
    let id = ada["id"].as_str().expect("an id");
    assert_eq!(program.lines(&["user", "get", "--id", id])[0], ada);

    let changed = &program.lines(&[
        "user",
        "update",
        "ada",
        "--rename",
        "Lovelace",
        "--roles",
        "",
        "--expected-version",
        "1",
    ])[0];
    assert_eq!((&changed["username"], &changed["roles"]), (&json!("Lovelace"), &json!([])));
    assert_eq!(program.run(&["user", "get", "ada"]).code, 1);
    let disabled = &program.lines(&["user", "disable", "lovelace", "--reason", "left"])[0];
    assert_eq!(
        (&disabled["disabled"], &disabled["disabledReason"]),
        (&json!(true), &json!("left"))
    );
    assert_eq!(disabled["tokenEpoch"], 1, "disabling ends the sessions");
    let enabled = &program.lines(&["user", "enable", "--id", id])[0];
    assert_eq!((&enabled["disabled"], &enabled["version"]), (&json!(false), &json!(4)));
}

#[test]
fn a_new_hash_ends_the_sessions_unless_told_otherwise() {
    let program = Program::new();
    create(&program, &["ada"]);
    let file = program.file("hash", &format!("$2b$12${SECRET}"));
    let set = &program.lines(&[
        "user",
        "set-password-hash",
        "ada",
        "--algorithm",
        "bcrypt",
        "--hash-file",
        &file,
    ])[0];
    assert_eq!((&set["passwordAlgorithm"], &set["tokenEpoch"]), (&json!("bcrypt"), &json!(1)));
    let arguments = ["user", "set-password-hash", "ada", "--keep-sessions"];
    let kept = program.run_with_input(&arguments, canary::PASSWORD_HASH);
    assert_eq!(kept.json_lines()[0]["tokenEpoch"], 1);
}

#[test]
fn a_list_has_pages_and_no_hashes() {
    let program = Program::new();
    for name in ["ada", "bob", "cy"] {
        create(&program, &[name, "--id", &format!("id-{name}")]);
    }
    program.lines(&["user", "disable", "bob"]);
    let page = program.lines(&["user", "list", "--limit", "2"]);
    assert_eq!((&page[0]["id"], &page[1]["id"]), (&json!("id-ada"), &json!("id-bob")));
    let next = page[2]["next"].as_str().expect("a cursor");
    let rest = program.lines(&["user", "list", "--limit", "2", "--after", next]);
    assert_eq!((rest.len(), &rest[0]["id"]), (1, &json!("id-cy")));
    let disabled = program.lines(&["user", "list", "--disabled", "true"]);
    assert_eq!((disabled.len(), &disabled[0]["id"]), (1, &json!("id-bob")));
    let listed = program.run(&["user", "list"]);
    assert!(!listed.stdout.contains(SECRET) && !listed.stdout.contains("passwordHash"));
}

#[test]
fn what_is_wrong_with_an_account_is_told_without_its_values() {
    let program = Program::new();
    create(&program, &["ada"]);
    let twice = program
        .run_with_input(&["user", "create", "ADA", "--output", "json"], canary::PASSWORD_HASH);
    assert_eq!((twice.code, &twice.json_error()["kind"]), (1, &json!("already_exists")));
    assert_eq!(twice.json_error()["facts"]["field"], "username");
    let empty = program.run_with_input(&["user", "create", "bob", "--output", "json"], "\n");
    assert_eq!((empty.code, &empty.json_error()["kind"]), (1, &json!("invalid_argument")));
    let stale = program.run(&["user", "update", "ada", "--roles", "x", "--expected-version", "7"]);
    assert_eq!(stale.code, 1);
    assert!(stale.stderr.contains("precondition_failed"), "{}", stale.stderr);
    let twice = ["user", "update", "ada", "--profile", r#"{"a":1,"a":2}"#];
    assert_eq!(program.run(&twice).code, 2, "a key twice");
    assert_eq!(program.run(&["user", "get"]).code, 2, "neither a name nor an id");
    assert_eq!(program.run(&["user", "get", "ada", "--id", "x"]).code, 2, "both");
    assert_eq!(program.run(&["user", "get", "nobody"]).code, 1);
}
