use serde_json::{Value, json};

use crate::program::{Finished, Program, numbered_lines};

const ROUTE: &str = "
storage:
  document:
    backend: main
    main: {kind: sqlite, path: primary.db}
    other: {kind: sqlite, path: shadow.db}
  routing:
    document: {strategy: dual-write, shadow: other}
";

/// A route, its shadow alone, and its primary alone.
struct Route {
    program: Program,
    both: String,
    primary: String,
    shadow: String,
}

impl Route {
    fn new() -> Self {
        let program = Program::new();
        let alone = |name: &str| {
            let path = format!("{name}.db");
            let text =
                format!("storage: {{document: {{backend: b, b: {{kind: sqlite, path: {path}}}}}}}");
            program.file(&format!("{name}.yaml"), &text)
        };
        let (primary, shadow) = (alone("primary"), alone("shadow"));
        let both = program.file("route.yaml", ROUTE);
        Self { program, both, primary, shadow }
    }

    /// A route whose sides both have `c/1` to `c/9`.
    fn filled() -> Self {
        let route = Self::new();
        let lines = route.program.file("lines.jsonl", &numbered_lines(9));
        assert_eq!(route.run(&["doc", "import", &lines]).code, 0);
        assert_eq!(route.run(&["routing", "drain"]).code, 0);
        route
    }

    fn run(&self, arguments: &[&str]) -> Finished {
        self.run_on(&self.both, arguments)
    }

    fn run_on(&self, config: &str, arguments: &[&str]) -> Finished {
        self.program.run(&[arguments, &["--config", config]].concat())
    }

    fn verify(&self, arguments: &[&str]) -> (i32, Vec<Value>) {
        let finished = self.run(&[&["verify"], arguments].concat());
        (finished.code, finished.json_lines())
    }

    /// Other data on the shadow, under a version of its own.
    fn damage(&self) {
        let damaged = self.run_on(&self.shadow, &["doc", "update", "c/3", r#"{"n":"secret"}"#]);
        assert_eq!(damaged.code, 0, "{}", damaged.stderr);
    }
}

#[test]
fn equal_sides_are_told_in_one_line_and_exit_0() {
    let route = Route::filled();
    let (code, lines) = route.verify(&["--deep"]);
    let [summary] = &lines[..] else { panic!("one line: {lines:?}") };
    assert_eq!((code, &summary["equal"], &summary["summary"]), (0, &json!(true), &json!("verify")));
    assert_eq!(summary["primary"], summary["shadow"]);
    assert_eq!(summary["primary"]["documents"], 9);
}

#[test]
fn what_was_written_past_the_route_is_caught_up_before_it_is_compared() {
    let route = Route::filled();
    let written = route.run_on(&route.primary, &["doc", "create", "c/late", r#"{"n":0}"#]);
    assert_eq!(written.code, 0, "{}", written.stderr);
    let (code, lines) = route.verify(&["--deep"]);
    assert_eq!((code, &lines[0]["shadow"]["documents"]), (0, &json!(10)), "{lines:?}");
}

#[test]
fn a_difference_is_a_line_without_values_and_exit_1_and_a_repair_is_a_dry_run_first() {
    let route = Route::filled();
    route.damage();
    let (code, lines) = route.verify(&["--deep", "--repair"]);
    assert_eq!((code, lines.len()), (1, 2), "{lines:?}");
    assert_eq!((&lines[0]["verdict"], &lines[0]["path"]), (&json!("extra"), &json!("c/3")));
    assert!(!lines[0].to_string().contains("secret"));
    assert_eq!(lines[1]["repair"]["executed"], false);
    assert_eq!(lines[1]["repair"]["replaced"], 1);

    let (code, lines) = route.verify(&["--deep", "--repair", "--execute"]);
    assert_eq!((code, &lines[1]["repair"]["executed"]), (0, &json!(true)), "{lines:?}");
    assert_eq!(route.verify(&["--deep"]).0, 0);
    let repaired = route.run_on(&route.shadow, &["doc", "get", "c/3"]).json_lines();
    assert_eq!(repaired[0]["n"], 3);
}

#[test]
fn a_verdict_is_the_exit_code_also_when_nobody_reads_it() {
    let route = Route::filled();
    route.damage();
    for output in ["json", "table"] {
        let verify = ["verify", "--deep", "--output", output, "--config", &route.both];
        let mut child = route.program.start(&verify);
        drop(child.stdout.take());
        assert_eq!(child.wait().expect("it ends").code(), Some(1), "{output}");
    }
}

#[test]
fn a_report_file_has_every_finding_and_the_summary_last() {
    let route = Route::filled();
    route.damage();
    let file = route.program.path("report.jsonl").display().to_string();
    let (code, lines) = route.verify(&["--deep", "--show-values", "--report", &file]);
    assert_eq!((code, lines.len()), (1, 1));
    let text = std::fs::read_to_string(&file).expect("a report");
    let written: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((written.len(), &written[1]), (2, &lines[0]));
    assert_eq!(written[0]["shadowValue"], "secret");
}

#[test]
fn status_tells_how_the_shadow_is_as_json_and_as_a_table() {
    let route = Route::filled();
    let status = &route.run(&["routing", "status"]).json_lines()[0];
    assert_eq!(
        (&status["store"], &status["strategy"]),
        (&json!("documents"), &json!("dual-write"))
    );
    assert_eq!((&status["filled"], &status["deadLetters"]), (&json!(true), &json!(0)));
    assert!(status["lag"]["seconds"].is_number(), "{status}");
    let table = route.run(&["routing", "status", "--output", "table"]);
    assert!(table.code == 0 && table.stdout.contains("lag seconds"), "{}", table.stdout);
    let letters = route.run(&["routing", "dead-letters", "list"]);
    assert_eq!((letters.code, letters.stdout.as_str()), (0, ""));
    let missing = route.run(&["routing", "dead-letters", "drop", "c/1"]);
    assert!(missing.code == 1 && missing.stderr.contains("not_found"), "{}", missing.stderr);
}

#[test]
fn a_route_that_is_given_up_lifts_the_pin() {
    let route = Route::filled();
    assert!(route.run(&["routing", "status"]).json_lines()[0]["pinnedSinceMs"].is_number());
    assert_eq!(route.run(&["routing", "drop"]).code, 0);
    let purged = route.run_on(&route.primary, &["doctor"]);
    assert_eq!(purged.code, 0, "{}", purged.stderr);
    // Opened with the route again, the shadow is filled anew.
    assert_eq!(route.run(&["routing", "drain"]).code, 0);
    assert_eq!(route.verify(&["--deep"]).0, 0);
}

#[test]
fn a_store_without_a_shadow_has_nothing_to_verify() {
    let program = Program::new();
    for arguments in [&["verify"][..], &["routing", "status"], &["routing", "drain"]] {
        let refused = program.run(arguments);
        assert!(refused.code == 1 && refused.stderr.contains("unsupported"), "{}", refused.stderr);
    }
    assert_eq!(program.run(&["verify", "--execute"]).code, 2);
}

/// Case 50 of the catalogue: `kill -9` in the middle; the next run goes on behind what was compared.
#[test]
fn case_50_a_run_that_was_killed_is_resumed_with_what_it_had_found() {
    let route = Route::new();
    let lines = route.program.file("lines.jsonl", &numbered_lines(2000));
    assert_eq!(route.run(&["doc", "import", &lines]).code, 0);
    assert_eq!(route.run(&["routing", "drain"]).code, 0);
    // The very first in the order of paths, so that the killed run has found it.
    let damaged = route.run_on(&route.shadow, &["doc", "update", "c/1", r#"{"n":"secret"}"#]);
    assert_eq!(damaged.code, 0, "{}", damaged.stderr);
    let file = route.program.path("report.jsonl").display().to_string();
    let begin = ["verify", "--deep", "--range", "1", "--report", &file, "--config", &route.both];
    let mut child = route.program.start(&begin);
    let under_way = || route.run(&["routing", "status"]).json_lines()[0]["verifyUnderWay"].clone();
    while under_way().is_null() {
        assert!(child.try_wait().expect("a child").is_none(), "it ended before it was killed");
    }
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    let left = under_way();
    assert_eq!((&left["depth"], &left["differences"]), (&json!("deep"), &json!(1)), "{left}");

    let other = route.run(&["verify", "--resume"]);
    assert!(other.code == 1 && other.stderr.contains("--deep"), "{}", other.stderr);
    let (code, lines) = route.verify(&["--deep", "--resume", "--report", &file]);
    let [summary] = &lines[..] else { panic!("one line: {lines:?}") };
    assert_eq!((code, &summary["extra"]), (1, &json!(1)), "{summary}");
    assert_eq!(summary["primary"]["documents"], 2000);
    assert_eq!(summary["resumedAfter"], left["comparedTo"]);
    let text = std::fs::read_to_string(&file).expect("a report");
    assert!(text.contains(r#""path":"c/1""#) && text.ends_with(&format!("{summary}\n")), "{text}");

    // Nothing is left to resume, and a run from the beginning says the same.
    assert!(under_way().is_null());
    let (_, lines) = route.verify(&["--deep", "--resume"]);
    assert_eq!(lines[1]["resumedAfter"], Value::Null);
    for side in ["primary", "shadow"] {
        assert_eq!(lines[1][side], summary[side]);
    }
    let status = &route.run(&["routing", "status"]).json_lines()[0]["lastVerify"];
    assert_eq!((&status["equal"], &status["differences"]), (&json!(false), &json!(1)), "{status}");
}

const ACCOUNTS: &str = "
storage:
  user:
    backend: main
    main: {kind: sqlite, path: primary.db}
    other: {kind: sqlite, path: shadow.db}
  revocation:
    backend: main
    main: {kind: sqlite, path: primary.db}
    other: {kind: sqlite, path: shadow.db}
  routing:
    user: {strategy: dual-write, shadow: other}
    revocation: {strategy: dual-write, shadow: other}
";

#[test]
fn accounts_and_tokens_are_compared_and_repaired_without_their_secrets_being_printed() {
    let program = Program::new();
    let both = program.file("route.yaml", ACCOUNTS);
    let shadow = "storage: {user: {backend: b, b: {kind: sqlite, path: shadow.db}}}";
    let shadow = program.file("shadow.yaml", shadow);
    let run = |config: &str, line: &str| {
        let arguments: Vec<&str> = line.split(' ').chain(["--config", config]).collect();
        program.run(&arguments)
    };
    let hash = program.file("hash", "$argon2id$secret-hash");
    let created = run(&both, &format!("user create ada --hash-file {hash}"));
    assert_eq!(created.code, 0, "{}", created.stderr);
    let revoked = run(&both, "token revoke secret-token --expires-in 1h");
    assert_eq!(revoked.code, 0, "{}", revoked.stderr);
    for store in ["users", "revocations"] {
        assert_eq!(run(&both, &format!("routing drain --store {store}")).code, 0);
    }
    let all = run(&both, "verify --store all --deep");
    let lines = all.json_lines();
    assert_eq!((all.code, lines.len()), (0, 2), "{}", all.stderr);
    let stores = lines.iter().map(|line| (line["store"].as_str(), line["compared"].as_u64()));
    assert!(stores.eq([(Some("users"), Some(1)), (Some("revocations"), Some(1))]), "{lines:?}");

    let phantom = run(&shadow, &format!("user create mallory --hash-file {hash}"));
    assert_eq!(phantom.code, 0, "{}", phantom.stderr);
    let dry = run(&both, "verify --store users --deep --repair --show-values");
    assert_eq!((dry.code, &dry.json_lines()[0]["verdict"]), (1, &json!("extra")), "{}", dry.stderr);
    assert_eq!(dry.json_lines()[1]["repair"]["removed"], 1);
    let done = run(&both, "verify --store users --deep --repair --execute");
    assert_eq!(done.code, 0, "{}", done.stderr);
    let again = run(&both, "verify --store all --deep");
    assert_eq!(again.code, 0, "{}{}", again.stdout, again.stderr);
    for finished in [all, dry, done, again] {
        assert!(!(finished.stdout + &finished.stderr).contains("secret"));
    }
    let gone = run(&shadow, "user get mallory");
    assert!(gone.code == 1 && gone.stderr.contains("not_found"), "{}", gone.stderr);
    let status = run(&both, "routing status").json_lines();
    assert!(status.iter().all(|line| line["lastVerify"]["equal"] == true), "{status:?}");
    let table = run(&both, "routing status --output table");
    assert!(table.stdout.contains("lastVerify ended") && table.stdout.contains("s ago"));
}
