use serde_json::json;

use crate::program::{Finished, Program, numbered_lines};

#[test]
fn what_is_exported_can_be_imported_elsewhere_and_is_the_same() {
    let (from, to) = (Program::new(), Program::new());
    for (path, data) in [
        ("a/1", r#"{"n":1,"deep":{"":[null,true,1e19,-2.5e-7]},"ключ":"é"}"#),
        ("a/1/b/2", r#"{"$ref":"x","a.b":{"`":0}}"#),
        ("z/ %_*?[", r#"{"big":-9223372036854775808}"#),
    ] {
        from.lines(&["doc", "create", path, data]);
    }
    let exported = from.run(&["doc", "export"]).stdout;
    assert_eq!(exported.lines().count(), 3);
    assert_eq!(to.run_with_input(&["doc", "import", "-"], &exported).code, 0);
    assert_eq!(to.run(&["doc", "export"]).stdout, exported);

    assert_eq!(from.lines(&["doc", "export", "a"]).len(), 1);
    assert_eq!(from.lines(&["doc", "export", "a", "--recursive"]).len(), 2);
    let with_meta = from.run(&["doc", "export", "--meta"]);
    assert_eq!(with_meta.json_lines()[0]["version"], 1);
    let again = to.run_with_input(&["doc", "import", "-"], &with_meta.stdout);
    assert!(again.stderr.contains("0 created, 0 replaced, 3 already there"), "{}", again.stderr);
}

#[test]
fn rejected_lines_are_told_by_number_and_stop_nothing() {
    let program = Program::new();
    let lines = [
        r#"{"path":"c/1","data":{"n":1}}"#,
        "not json",
        r#"{"path":"c","data":{}}"#,
        "",
        r#"{"path":"c/5","data":{"version":1}}"#,
        r#"{"path":"c/6","data":{"n":99999999999999999999}}"#,
        r#"{"path":"c/7","data":{"n":7}}"#,
    ]
    .join("\n");
    let file = program.file("lines", &lines);
    let imported = program.run(&["doc", "import", &file]);
    assert_eq!((imported.code, imported.stdout.as_str()), (1, ""));
    for told in [
        "line 2: the line is no JSON",
        "line 3: import: invalid_argument: path",
        "line 5: ",
        "line 6: import: invalid_argument: number_out_of_range",
        "2 created",
        "4 rejected",
    ] {
        assert!(imported.stderr.contains(told), "{told}: {}", imported.stderr);
    }
    assert_eq!(program.lines(&["doc", "query", "c"]).len(), 2);

    let renamed = program.run(&["doc", "import", &file, "--rename", "version=revision"]);
    assert!(renamed.stderr.contains("1 created, 0 replaced, 2 already there, 3 rejected"));
}

#[test]
fn strict_stores_everything_before_the_first_rejected_line_and_nothing_behind() {
    for bad in ["{", r#"{"path":"c/there","data":{"other":1}}"#] {
        let program = Program::new();
        program.lines(&["doc", "create", "c/there", "{}"]);
        let line = |id| format!("{{\"path\":\"c/{id}\",\"data\":{{}}}}\n");
        let input = format!("{}{bad}\n{}", line("before"), line("behind"));
        let imported = program.run_with_input(&["doc", "import", "-", "--strict"], &input);
        assert_eq!(imported.code, 1);
        assert!(imported.stderr.contains("line 2: "), "{}", imported.stderr);
        assert_eq!(program.run(&["doc", "get", "c/before"]).code, 0);
        assert_eq!(program.run(&["doc", "get", "c/behind"]).code, 1);
    }
}

#[test]
fn a_document_with_other_data_is_rejected_or_replaced() {
    let program = Program::new();
    program.lines(&["doc", "create", "c/1", r#"{"n":0}"#]);
    let first = program.run_with_input(&["doc", "import", "-"], &numbered_lines(2));
    assert_eq!(first.code, 1);
    assert!(first.stderr.contains("line 1: import: already_exists"), "{}", first.stderr);
    assert_eq!(program.lines(&["doc", "get", "c/1"])[0]["n"], 0);

    let replaced = program.run_with_input(&["doc", "import", "-", "--replace"], &numbered_lines(2));
    assert_eq!(replaced.code, 0);
    assert!(replaced.stderr.contains("0 created, 1 replaced, 1 already there, 0 rejected"));
    let documents = program.lines(&["doc", "query", "c", "--order-by", "n"]);
    assert_eq!((&documents[0]["version"], &documents[1]["version"]), (&json!(2), &json!(1)));
}

#[test]
fn of_two_lines_for_one_document_the_last_one_replaces() {
    let program = Program::new();
    program.lines(&["doc", "create", "c/1", r#"{"n":1}"#]);
    let input = "{\"path\":\"c/1\",\"data\":{\"n\":2}}\n{\"path\":\"c/1\",\"data\":{\"n\":1}}\n";
    let imported = program.run_with_input(&["doc", "import", "-", "--replace"], input);
    assert!(imported.stderr.contains("0 created, 2 replaced"), "{}", imported.stderr);
    assert_eq!(program.lines(&["doc", "get", "c/1"])[0]["n"], 1);
}

#[test]
fn plain_objects_are_named_by_a_field_or_by_their_line() {
    let program = Program::new();
    let input = "{\"id\":7,\"n\":1}\n{\"n\":2}\n";
    let by_id = program
        .run_with_input(&["doc", "import", "-", "--collection", "a", "--id-field", "id"], input);
    assert_eq!(by_id.code, 1);
    assert!(by_id.stderr.contains("line 2: there is no `id`"), "{}", by_id.stderr);
    assert_eq!(program.lines(&["doc", "get", "a/7"])[0]["n"], 1);

    let by_line = program.run_with_input(&["doc", "import", "-", "--collection", "b"], "{}\n{}\n");
    assert_eq!(by_line.code, 0, "{}", by_line.stderr);
    assert_eq!(program.lines(&["doc", "get", "b/2"])[0]["version"], 1);
}

#[test]
fn the_report_is_json_where_json_is_asked_for() {
    let program = Program::new();
    let imported = program.run_with_input(&["doc", "import", "-", "--output", "json"], "{}\n");
    let told: Vec<serde_json::Value> =
        imported.stderr.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert_eq!(told[0]["rejected"]["line"], 1);
    assert_eq!(told[1]["imported"]["rejected"], 1);
    assert_eq!(told[2]["error"]["operation"], "import");
}

/// A disk that fills up in the middle: each line ends as stored or as rejected, and the count of stored ones is true.
#[cfg(unix)]
#[test]
fn a_store_that_fails_half_way_leaves_every_line_told_and_a_second_run_finishes() {
    const LINES: usize = 3000;
    let program = Program::new();
    program.lines(&["doc", "create", "other/1", "{}"]);
    let line = |n| format!(r#"{{"path":"c/{n:04}","data":{{"text":"{}"}}}}"#, "x".repeat(400));
    let input = (1..=LINES).map(line).collect::<Vec<_>>().join("\n");
    let file = program.file("lines", &input);

    let imported = limited_to(&program, 3000, &["doc", "import", &file]);
    let (created, rejected) = (count(&imported, "created"), count(&imported, "rejected"));
    assert_eq!(imported.code, 1, "{}", imported.stderr);
    assert!(created > 0 && rejected > 0, "{created} created, {rejected} rejected");
    assert_eq!(created + rejected, LINES);
    let is_told = |line: &&str| line.starts_with("line ") && line.contains(": unavailable");
    let told = imported.stderr.lines().filter(is_told);
    assert_eq!(told.count(), rejected);
    assert_eq!(program.lines(&["doc", "export", "c"]).len(), created);

    let again = program.run(&["doc", "import", &file]);
    assert_eq!(again.code, 0, "{}", again.stderr);
    assert_eq!(count(&again, "created"), rejected);
    assert_eq!(count(&again, "already there"), created);
}

/// Runs the binary while no file may grow beyond so many blocks of 512 bytes: writes behind that fail as on a full disk.
#[cfg(unix)]
fn limited_to(program: &Program, blocks: u32, arguments: &[&str]) -> Finished {
    let command = program.command(arguments);
    let mut shell = std::process::Command::new("sh");
    // Without the trap the signal of the limit would end the binary before it could say anything.
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
    shell.args(["-c", &script, "sh"]).arg(command.get_program()).args(command.get_args());
    shell.current_dir(program.path("")).env_remove("RUST_LOG");
    Finished::of(shell.output().expect("the shell runs"))
}

/// The number before `what` in the report.
#[cfg(unix)]
fn count(finished: &Finished, what: &str) -> usize {
    let report = finished.stderr.lines().find(|line| line.contains(" already there, "));
    let report = report.unwrap_or_else(|| panic!("no report: {}", finished.stderr));
    let part = report.split(", ").find(|part| part.ends_with(what)).expect(what);
    part.split(' ').next().and_then(|number| number.parse().ok()).expect(part)
}
