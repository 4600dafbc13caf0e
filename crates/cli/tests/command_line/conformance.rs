use serde_json::Value;

use crate::program::Program;

const VECTORS: &str = r#"{"name":"right","op":{"kind":"create","path":"c/x","data":{}},"expect":{"doc":{"version":1}}}
{"name":"wrong","op":{"kind":"create","path":"c/x","data":{}},"expect":{"doc":{"version":2}}}
"#;

#[test]
fn failures_are_listed_and_the_last_line_counts() {
    let program = Program::new();
    let file = program.file("vectors.jsonl", VECTORS);
    let report = program.path("report.json").display().to_string();
    for backend in ["memory", "sqlite"] {
        let arguments =
            ["conformance", "--backend", backend, "--vectors", &file, "--report", &report];
        let tested = program.run(&arguments);
        assert_eq!(tested.code, 1, "{}", tested.stderr);
        assert_eq!(tested.stdout.lines().last(), Some("1 passed, 1 failed"));
        assert!(tested.stdout.contains("VEC-002") && !tested.stdout.contains("VEC-001"));
        let written = std::fs::read_to_string(&report).expect("a report");
        let written: Value = serde_json::from_str(&written).expect("JSON");
        assert_eq!(written["cases"].as_array().map(Vec::len), Some(2));

        let filtered =
            program.run(&[&arguments[..5], &["--filter", "VEC-001", "--jobs", "4"]].concat());
        assert_eq!((filtered.code, filtered.stdout.as_str()), (0, "1 passed, 0 failed\n"));
    }
    assert!(!program.path("data").exists(), "the data directory is not for tests");
}

#[test]
fn nothing_run_is_no_success() {
    let program = Program::new();
    let tested = program.run(&["conformance", "--backend", "memory", "--filter", "no such case"]);
    assert_eq!((tested.code, tested.stdout.as_str()), (1, "0 passed, 0 failed\n"));
}

#[test]
fn none_at_a_time_is_refused_and_so_are_scripts_side_by_side() {
    let run = |more: &[&str]| {
        Program::new().run(&[&["conformance", "--backend", "memory", "--jobs"], more].concat())
    };
    let refused = run(&["0"]);
    assert_eq!(refused.code, 2);
    let text = refused.stderr;
    assert!(text.contains("--jobs") && text.contains("1..=64"), "{text}");
    let refused = run(&["3", "--model", "5"]);
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("cannot be used with"), "{}", refused.stderr);
}

#[test]
fn configured_data_is_left_alone_and_namespaces_are_removed() {
    let program = Program::new();
    let text = "storage:\n  document:\n    backend: sqlite\n    sqlite: {}\n";
    let config = program.file("storage.yaml", text);
    program.lines(&["doc", "create", "c/x", "{}", "--config", &config]);
    let before = program.run(&["doc", "export", "--meta", "--config", &config]).stdout;
    let files = || {
        let entries = std::fs::read_dir(program.path("data")).expect("listed");
        let mut names: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name()).collect();
        names.sort();
        names
    };
    let names = files();
    let vectors = program.file("vectors.jsonl", VECTORS);
    let tested = program.run(&["conformance", "--config", &config, "--vectors", &vectors]);
    assert_eq!(tested.stdout.lines().last(), Some("1 passed, 1 failed"), "{}", tested.stderr);
    assert_eq!(files(), names);
    assert_eq!(program.run(&["doc", "export", "--meta", "--config", &config]).stdout, before);
}

/// Each script is a case, and the seed makes the same ones again.
#[test]
fn random_operations_answer_as_in_memory() {
    let program = Program::new();
    let report = program.path("report.json").display().to_string();
    for store in ["all", "users"] {
        let arguments = ["conformance", "--model", "3", "--seed", "7", "--store", store];
        let tested = program.run(&[&arguments[..], &["--report", &report]].concat());
        assert_eq!((tested.code, tested.stdout.as_str()), (0, "3 passed, 0 failed\n"), "{store}");
        let written = std::fs::read_to_string(&report).expect("a report");
        let written: Value = serde_json::from_str(&written).expect("JSON");
        let third = &written["cases"][2];
        assert_eq!((&third["id"], &third["group"]), (&"MOD-003".into(), &"MOD".into()));
        assert_eq!(third["name"], "random operations of seed 9 answer as on memory");
    }
}
