//! Reads the file of a `{file: …}` value.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::Path;

/// Most bytes of such a file.
pub(crate) const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// Why a file is not read: the fault and its remedy. Names no content.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) message: String,
    pub(crate) remedy: Option<String>,
}

impl Refusal {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), remedy: None }
    }

    fn from_io(error: &io::Error) -> Self {
        Self::new(format!("cannot be read: {}", error.kind()))
    }
}

/// The content without one line break at its end.
pub(crate) fn read(path: &Path) -> Result<String, Refusal> {
    // Before opening as well, since opening a pipe waits for its writer.
    check(path, &std::fs::metadata(path).map_err(|error| Refusal::from_io(&error))?)?;
    let file = File::open(path).map_err(|error| Refusal::from_io(&error))?;
    check(path, &file.metadata().map_err(|error| Refusal::from_io(&error))?)?;
    let mut content = Vec::new();
    file.take(SECRET_BYTES_MAX + 1)
        .read_to_end(&mut content)
        .map_err(|error| Refusal::from_io(&error))?;
    if content.len() as u64 > SECRET_BYTES_MAX {
        return Err(too_large());
    }
    let text = String::from_utf8(content).map_err(|_| Refusal::new("is not UTF-8 text"))?;
    Ok(without_line_break(text))
}

fn check(path: &Path, metadata: &Metadata) -> Result<(), Refusal> {
    if !metadata.is_file() {
        return Err(Refusal::new("is not a regular file"));
    }
    if metadata.len() > SECRET_BYTES_MAX {
        return Err(too_large());
    }
    check_mode(path, metadata)
}

#[cfg(unix)]
fn check_mode(path: &Path, metadata: &Metadata) -> Result<(), Refusal> {
    use std::os::unix::fs::PermissionsExt as _;

    if metadata.permissions().mode() & 0o077 == 0 {
        return Ok(());
    }
    Err(Refusal {
        message: "is open to its group or to everybody".into(),
        remedy: Some(format!("chmod 600 {}", path.display())),
    })
}

#[cfg(not(unix))]
fn check_mode(_: &Path, _: &Metadata) -> Result<(), Refusal> {
    Ok(())
}

fn too_large() -> Refusal {
    Refusal::new(format!("has more than {SECRET_BYTES_MAX} bytes"))
}

fn without_line_break(mut text: String) -> String {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    fn file(content: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        fs::write(&path, content).unwrap();
        protect(&path, 0o600);
        (directory, path)
    }

    #[cfg(unix)]
    fn protect(path: &Path, mode: u32) {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[cfg(not(unix))]
    fn protect(_: &Path, _: u32) {}

    #[test]
    fn one_line_break_at_the_end_is_cut_off() {
        for (content, expected) in
            [("a", "a"), ("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), (" a ", " a "), ("", "")]
        {
            let (_directory, path) = file(content.as_bytes());
            assert_eq!(read(&path).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_no_small_text_file_is_refused() {
        let (directory, path) = file(&[0xff, 0xfe]);
        assert_eq!(read(&path).unwrap_err().message, "is not UTF-8 text");
        fs::write(&path, vec![b'a'; SECRET_BYTES_MAX as usize + 1]).unwrap();
        assert_eq!(read(&path).unwrap_err().message, "has more than 65536 bytes");
        assert_eq!(read(directory.path()).unwrap_err().message, "is not a regular file");
        let missing = read(&directory.path().join("missing")).unwrap_err();
        assert_eq!(missing.message, "cannot be read: entity not found");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_can_read_is_refused_with_the_command_that_helps() {
        for mode in [0o640, 0o604, 0o644, 0o620] {
            let (_directory, path) = file(b"hunter2");
            protect(&path, mode);
            let refusal = read(&path).unwrap_err();
            assert_eq!(refusal.remedy, Some(format!("chmod 600 {}", path.display())));
        }
    }
}
