//! The file in which a watch keeps its place.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use syntrix_storage::ResumeToken;
use tempfile::NamedTempFile;

use crate::failure::Failure;

/// A file that holds one resume token and is replaced as a whole.
#[derive(Debug)]
pub(crate) struct ResumeFile(PathBuf);

impl ResumeFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// The token in it; `None` if there is no file yet.
    pub(crate) fn load(&self) -> Result<Option<ResumeToken>, Failure> {
        match std::fs::read_to_string(&self.0) {
            Ok(text) => Ok(Some(ResumeToken::from_text(text.trim()))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failure(error)),
        }
    }

    /// Puts `token` in the place of what is there. After a crash the file holds the old one or the new one.
    pub(crate) fn save(&self, token: &ResumeToken) -> Result<(), Failure> {
        self.replace(token).map_err(|error| self.failure(error))
    }

    fn replace(&self, token: &ResumeToken) -> std::io::Result<()> {
        let folder = match self.0.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let mut file = NamedTempFile::new_in(folder)?;
        writeln!(file, "{token}")?;
        file.as_file().sync_all()?;
        file.persist(&self.0)?;
        // The rename itself is durable only when the folder is.
        if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
    }

    fn failure(&self, source: std::io::Error) -> Failure {
        Failure::Io { what: format!("resume file {}", self.0.display()), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_token_replaces_the_one_before_and_leaves_no_other_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = ResumeFile::new(folder.path().join("place"));
        assert_eq!(file.load().expect("no file yet"), None);
        for text in ["first", "second"] {
            file.save(&ResumeToken::from_text(text)).expect("saved");
            assert_eq!(file.load().expect("there"), Some(ResumeToken::from_text(text)));
        }
        assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 1);
    }
}
