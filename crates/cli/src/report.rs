//! What goes to stderr: notes, reports, errors.

use std::fmt::Display;
use std::io::Write;

/// One line on stderr. A closed stderr is no reason to fail: the exit code still tells the outcome.
pub(crate) fn line(text: impl Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
