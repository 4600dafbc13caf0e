use serde_json::json;

use crate::program::Program;

#[test]
fn a_token_is_revoked_gracefully_and_at_once() {
    let program = Program::new();
    let unknown = &program.lines(&["token", "check", "t"])[0];
    assert_eq!(*unknown, json!({"jti": "t", "revoked": false, "status": "not_revoked"}));

    let revoked =
        &program.lines(&["token", "revoke", "t", "--expires-in", "1h", "--reason", "left"])[0];
    assert_eq!((&revoked["outcome"], &revoked["jti"]), (&json!("inserted"), &json!("t")));
    let grace = &program.lines(&["token", "check", "t", "--grace", "5m"])[0];
    assert_eq!((&grace["revoked"], &grace["status"]), (&json!(false), &json!("grace")));
    assert!(grace["until"].is_i64());
    let strict = &program.lines(&["token", "check", "t"])[0];
    assert_eq!((&strict["revoked"], &strict["status"]), (&json!(true), &json!("revoked")));
    assert_eq!((&strict["immediate"], &strict["reason"]), (&json!(false), &json!("left")));

    let arguments = ["token", "revoke", "t", "--expires-in", "1h", "--immediate"];
    assert_eq!(program.lines(&arguments)[0]["outcome"], "tightened");
    let ended = &program.lines(&["token", "check", "t", "--grace", "5m"])[0];
    assert_eq!((&ended["revoked"], &ended["immediate"]), (&json!(true), &json!(true)));
    // An earlier expiry shortens nothing.
    let earlier = ["token", "revoke", "t", "--expires-in", "30m"];
    assert_eq!(program.lines(&earlier)[0]["outcome"], "unchanged");
}

#[test]
fn a_check_that_cannot_be_answered_is_1_and_a_wrong_command_line_is_2() {
    let program = Program::new();
    let nothing = program.run(&["token", "check", ""]);
    assert_eq!((nothing.code, nothing.stdout.as_str()), (1, ""));
    assert!(nothing.stderr.contains("jti"), "{}", nothing.stderr);
    assert_eq!(program.run(&["token", "check", "t", "--grace", "soon"]).code, 2);
    assert_eq!(program.run(&["token", "revoke", "t"]).code, 2);

    let file = program
        .file("storage.yaml", "storage:\n  document:\n    backend: sqlite\n    sqlite: {}\n");
    let absent = program.run(&["token", "check", "t", "--config", &file]);
    assert_eq!((absent.code, absent.stdout.as_str()), (1, ""));
    assert!(absent.stderr.contains("revocation"), "{}", absent.stderr);
}

#[test]
fn a_file_that_is_no_database_is_a_configuration_error() {
    let program = Program::new();
    program.lines(&["token", "revoke", "t", "--expires-in", "1h"]);
    std::fs::write(program.path("data/storage.db"), "no database at all, whatever it was before")
        .expect("a file");
    let damaged = program.run(&["token", "check", "t"]);
    // The block of the configuration names a file that is no database.
    assert_eq!((damaged.code, damaged.stdout.as_str()), (2, ""), "{}", damaged.stderr);
}

#[test]
fn the_doctor_examines_all_three_stores() {
    let program = Program::new();
    program.lines(&["token", "revoke", "t", "--expires-in", "1h"]);
    let rows = program.lines(&["doctor"]);
    let stores: Vec<_> = rows.iter().map(|row| row["store"].as_str().expect("a store")).collect();
    assert_eq!(stores, ["documents", "users", "revocations"]);
    for row in &rows {
        assert!(row["ready"] == true && row["backend"] == "sqlite", "{row}");
        assert_eq!(row.get("indexes").is_some(), row["store"] == "documents", "{row}");
    }
}

#[test]
fn ids_that_look_like_options_are_ids() {
    let program = Program::new();
    for jti in ["-hQx9", "-Vabc", "-h", "-V", "-x", "--y"] {
        let revoked = &program.lines(&["token", "revoke", jti, "--expires-in", "1h"])[0];
        assert_eq!((&revoked["jti"], &revoked["outcome"]), (&json!(jti), &json!("inserted")));
        let checked = &program.lines(&["token", "check", jti])[0];
        assert_eq!((&checked["jti"], &checked["revoked"]), (&json!(jti), &json!(true)));
    }
    let help = program.run(&["token", "revoke", "--help"]);
    assert_eq!(help.code, 0);
    assert!(help.stdout.contains("--expires-in"), "{}", help.stdout);
}
