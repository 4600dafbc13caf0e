//! What a step prints: shown as before, and kept beside it.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::{LOGS_VARIABLE, RECORDING, Recording};
use crate::failure::{Context, Result};

/// The program of this repository, whose logs are wanted in full but not on the terminal.
const OWN_PROGRAM: &str = "syntrix-storage";
/// Shown of a failed step whose output is kept only.
const TAIL_LINES: usize = 40;
/// A program that is still running in the background may hold the pipes open; what it prints later is not waited for.
const REST_LIMIT: Duration = Duration::from_secs(5);

/// What of a stream is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Echo {
    Everything,
    /// The output of tests that passed comes behind the summary of the test runner: it is kept and not shown.
    UntilSummary,
    Nothing,
}

/// The output of one program.
pub(crate) struct Output {
    /// `None` outside of the gate: the program has our own output.
    file: Option<PathBuf>,
    echo_errors: Echo,
    streams: Vec<Receiver<Vec<String>>>,
}

impl Output {
    /// Prepares a command, in the gate, so that its output can be kept and is worth searching.
    pub(crate) fn of(command: &mut Command) -> Self {
        Self::into(RECORDING.get(), command)
    }

    fn into(recording: Option<&Recording>, command: &mut Command) -> Self {
        let Some(recording) = recording else {
            return Self { file: None, echo_errors: Echo::Everything, streams: Vec::new() };
        };
        let name = std::path::Path::new(command.get_program()).file_stem().unwrap_or_default();
        let name = name.to_string_lossy().into_owned();
        let echo_errors = match name.as_str() {
            OWN_PROGRAM => Echo::Nothing,
            "cargo" if command.get_args().any(|argument| argument == "nextest") => {
                Echo::UntilSummary
            }
            _ => Echo::Everything,
        };
        if name == OWN_PROGRAM {
            command.env("RUST_LOG", "syntrix_storage=trace");
        }
        if std::io::stderr().is_terminal() {
            command.env("CARGO_TERM_COLOR", "always");
        }
        command.env(LOGS_VARIABLE, recording.logs()).env("NEXTEST_SUCCESS_OUTPUT", "final");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { file: Some(recording.next(&name)), echo_errors, streams: Vec::new() }
    }

    /// Shows and keeps what `child` prints.
    pub(crate) fn follow(mut self, child: &mut Child) -> Result<Self> {
        let Some(file) = &self.file else { return Ok(self) };
        if let Some(stream) = child.stdout.take() {
            let kept = create(&file.with_extension("out"))?;
            self.streams.push(copy(stream, std::io::stdout(), kept, Echo::Everything));
        }
        if let Some(stream) = child.stderr.take() {
            let kept = create(&file.with_extension("err"))?;
            self.streams.push(copy(stream, std::io::stderr(), kept, self.echo_errors));
        }
        Ok(self)
    }

    /// Waits until all is shown and kept. Of a failure whose errors were not shown, the last ones are.
    pub(crate) fn end(self, succeeded: bool) {
        for stream in self.streams {
            let tail = stream.recv_timeout(REST_LIMIT).unwrap_or_default();
            if !succeeded && self.echo_errors == Echo::Nothing {
                tail.iter().for_each(|line| eprint!("{line}"));
            }
        }
    }
}

fn create(path: &std::path::Path) -> Result<File> {
    File::create(path).context(|| format!("making {}", path.display()))
}

/// Copies line by line in the background, so that no line is torn; sends the last lines that were not shown in the end.
fn copy(
    stream: impl Read + Send + 'static,
    mut shown: impl Write + Send + 'static,
    mut kept: File,
    echo: Echo,
) -> Receiver<Vec<String>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let (mut stream, mut line) = (BufReader::new(stream), Vec::new());
        let (mut echoes, mut tail) = (Echoes { echo, summed_up: false }, VecDeque::new());
        while stream.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
            let text = String::from_utf8_lossy(&line).into_owned();
            // A terminal that is gone, or a full disk, must not stop the program: the search tells what is missing.
            let _ = kept.write_all(&line);
            if echoes.shows(&text) {
                let _ = shown.write_all(&line).and_then(|()| shown.flush());
            } else if echo == Echo::Nothing {
                tail.push_back(text);
                tail.drain(..tail.len().saturating_sub(TAIL_LINES));
            }
            line.clear();
        }
        let _ = sender.send(tail.into());
    });
    receiver
}

struct Echoes {
    echo: Echo,
    summed_up: bool,
}

impl Echoes {
    fn shows(&mut self, line: &str) -> bool {
        match self.echo {
            Echo::Everything => true,
            Echo::Nothing => false,
            Echo::UntilSummary => {
                let shows = !self.summed_up || is_verdict(line);
                self.summed_up |= line.contains("Summary [") && line.contains("tests run");
                shows
            }
        }
    }
}

/// What a test runner still has to say behind its summary.
fn is_verdict(line: &str) -> bool {
    let unpainted = line.trim_start();
    let painted = unpainted.starts_with('\u{1b}');
    let failed = ["FAIL", "SIG", "TIMEOUT", "ABORT"]
        .iter()
        .any(|word| unpainted.starts_with(word) || (painted && unpainted.contains(word)));
    // What a test has printed is indented.
    failed || line.starts_with("error") || (line.starts_with('\u{1b}') && line.contains("error"))
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;

    fn ran(script: &str) -> (tempfile::TempDir, String, String) {
        let folder = tempfile::tempdir().unwrap();
        let recording = Recording::into(folder.path().join("kept")).unwrap();
        let mut command = Command::new("sh");
        let output = Output::into(Some(&recording), command.args(["-c", script]));
        let mut child = command.spawn().unwrap();
        let output = output.follow(&mut child).unwrap();
        assert!(child.wait().unwrap().success());
        output.end(true);
        let read = |ending| std::fs::read_to_string(recording.folder.join(ending)).unwrap();
        let (out, err) = (read("01-sh.out"), read("01-sh.err"));
        (folder, out, err)
    }

    #[test]
    fn both_streams_are_kept_to_the_last_byte() {
        let (_folder, out, err) = ran("printf 'one\\ntwo'; printf 'three' >&2");
        assert_eq!((out.as_str(), err.as_str()), ("one\ntwo", "three"));
    }

    #[test]
    fn steps_know_where_to_leave_logs() {
        let (folder, out, _) = ran("printf '%s' \"$SYNTRIX_STORAGE_TEST_LOGS\"");
        assert_eq!(out, folder.path().join("kept/logs").display().to_string());
    }

    /// Guards against a gate that waits for a server that a step has left running.
    #[test]
    fn a_program_left_in_the_background_holds_up_nobody() {
        let started = std::time::Instant::now();
        let (_folder, out, _) = ran("sleep 30 & echo done");
        assert_eq!(out, "done\n");
        assert!(started.elapsed() < Duration::from_secs(25));
    }

    #[test]
    fn behind_the_summary_only_verdicts_are_shown() {
        let mut echoes = Echoes { echo: Echo::UntilSummary, summed_up: false };
        let lines = [
            ("        PASS [   0.010s] (1/2) a b\n", true),
            ("     Summary [   0.010s] 2 tests run: 1 passed, 1 failed\n", true),
            ("        PASS [   0.010s] (1/2) a b\n", false),
            ("    what the test has printed\n", false),
            ("    error of what the test tried\n", false),
            ("        FAIL [   0.010s] (2/2) a c\n", true),
            ("error: test run failed\n", true),
        ];
        for (line, shown) in lines {
            assert_eq!(echoes.shows(line), shown, "{line}");
        }
    }
}
