use std::io::{BufRead, BufReader, Write};

use crate::program::{Program, numbered_lines};

/// Lines in the file, and how many of them the killed import is given.
const LINES: usize = 5000;
const GIVEN: usize = 3500;

/// A killed import is finished by running it again, which writes nothing twice.
///
/// A watcher in a third process tells when the first documents are stored; the import's input stays open, so it is still
/// on its way when it is killed.
#[test]
fn an_import_that_is_killed_is_finished_by_running_it_again() {
    let program = Program::new();
    program.lines(&["doc", "query", "c"]);
    let text = numbered_lines(LINES);
    let file = program.file("lines", &text);

    let mut import = program.start(&["doc", "import", "-"]);
    let mut input = import.stdin.take().expect("piped");
    let given: String = text.lines().take(GIVEN).flat_map(|line| [line, "\n"]).collect();
    input.write_all(given.as_bytes()).expect("the import reads");
    let watched = program.run(&["watch", "c", "--from", "oldest", "--limit", "1000"]);
    assert_eq!(watched.code, 0, "{}", watched.stderr);
    import.kill().expect("killed");
    import.wait().expect("gone");
    drop(input);

    let again = program.run(&["doc", "import", &file]);
    assert_eq!(again.code, 0, "{}", again.stderr);
    let already: usize = again
        .stderr
        .split(", ")
        .find_map(|part| part.strip_suffix(" already there")?.parse().ok())
        .expect("a report");
    assert!((1000..=GIVEN).contains(&already), "{already}");
    let exported = program.lines(&["doc", "export", "--meta"]);
    assert_eq!(exported.len(), LINES);
    assert!(exported.iter().all(|line| line["version"] == 1));
}

/// Ctrl-C is how a watch is ended, so it is no failure.
#[cfg(unix)]
#[test]
fn a_watch_ends_well_on_an_interrupt_with_its_place_saved() {
    let program = Program::new();
    program.lines(&["doc", "create", "c/1", "{}"]);
    let place = program.path("place").display().to_string();
    let mut watch = program.start(&["watch", "--from", "oldest", "--resume-file", &place]);
    let mut lines = BufReader::new(watch.stdout.take().expect("piped")).lines();
    lines.next().expect("an event").expect("text");

    interrupt(&watch);
    assert_eq!(watch.wait().expect("ended").code(), Some(0));
    program.lines(&["doc", "create", "c/2", "{}"]);
    let resumed = program.lines(&["watch", "--resume-file", &place, "--limit", "1"]);
    let event = resumed.iter().find(|line| line["type"] != "bookmark").expect("an event");
    assert_eq!(event["path"], "c/2");
}

/// An interrupted run of the suite ends by removing what it made, wherever it was.
#[cfg(unix)]
#[test]
fn an_interrupted_conformance_run_leaves_no_namespace() {
    let program = Program::new();
    let text = "storage:\n  document:\n    backend: sqlite\n    sqlite: {}\n";
    let config = program.file("storage.yaml", text);
    let names = || match std::fs::read_dir(program.path("data")) {
        Ok(entries) => entries.flatten().map(|entry| entry.file_name()).collect(),
        Err(_) => Vec::new(),
    };
    let mut suite = program.start(&["conformance", "--config", &config]);
    let is_case = |name: &std::ffi::OsString| name.to_string_lossy().contains("ns-doc_");
    while !names().iter().any(is_case) {
        assert_eq!(suite.try_wait().expect("asked"), None, "ended before it was interrupted");
        std::thread::yield_now();
    }
    interrupt(&suite);
    let finished = crate::program::Finished::of(suite.wait_with_output().expect("ended"));
    assert_eq!((finished.code, finished.stdout.as_str()), (1, ""), "{}", finished.stderr);
    assert_eq!(names(), Vec::<std::ffi::OsString>::new());
}

#[cfg(unix)]
fn interrupt(process: &std::process::Child) {
    let id = process.id().to_string();
    let sent = std::process::Command::new("kill").args(["-INT", &id]).status();
    assert!(sent.expect("kill runs").success());
}
