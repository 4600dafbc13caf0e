use std::io::{BufRead, BufReader, Read};

use crate::program::{Program, numbered_lines};

/// More than a pipe holds, so the export still has lines to print when its reader leaves.
const LINES: usize = 5000;

#[test]
fn a_reader_that_leaves_early_ends_an_export_quietly() {
    let program = Program::new();
    let imported = program.run_with_input(&["doc", "import", "-"], &numbered_lines(LINES));
    assert_eq!(imported.code, 0, "{}", imported.stderr);
    let mut export = program.start(&["doc", "export", "--meta"]);
    let mut stdout = BufReader::new(export.stdout.take().expect("piped"));
    stdout.read_line(&mut String::new()).expect("a line");
    drop(stdout);
    let mut stderr = String::new();
    export.stderr.take().expect("piped").read_to_string(&mut stderr).expect("text");
    assert_eq!((export.wait().expect("ended").code(), stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_wrong_command_line_is_told_as_json_where_json_is_asked_for() {
    let program = Program::new();
    let refused = program.run(&["doc", "query", "c", "--limit", "many", "--output", "json"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (2, ""));
    assert_eq!(refused.json_error()["kind"], "usage");
    assert_eq!(program.run(&["doc", "query"]).code, 2);
}

#[test]
fn help_completions_and_manual_come_from_one_definition() {
    let program = Program::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(program.run(&["completions", shell]).stdout.contains("conformance"), "{shell}");
    }
    assert!(program.run(&["man"]).stdout.contains(".TH syntrix-storage"));
    let folder = program.path("man").display().to_string();
    assert_eq!(program.run(&["man", "--dir", &folder]).code, 0);
    assert!(program.path("man/syntrix-storage-doc-import.1").exists());
    let help = program.run(&["help"]);
    assert!(help.code == 0 && help.stdout.contains("watch") && help.stderr.is_empty());
}
