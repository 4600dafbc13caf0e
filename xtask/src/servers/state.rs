//! What `servers up` left running, in a file that only the user can read: it has the passwords.

use std::fs;
use std::path::{Path, PathBuf};

use super::redis::write_private;
use super::{Kind, Server, cache};
use crate::failure::{Context, Result};

/// The file with the list of servers.
#[derive(Debug)]
pub(super) struct StateFile(PathBuf);

impl StateFile {
    /// The one of this user.
    pub(super) fn of_user() -> Result<Self> {
        Ok(Self(cache()?.join("servers.json")))
    }

    /// Every server in it, whether it runs or not. No file means none.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or understood; the text names it.
    pub(super) fn read(&self) -> Result<Vec<Server>> {
        let doing = || format!("reading {} (remove it if it is damaged)", self.0.display());
        match fs::read_to_string(&self.0) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error).context(doing),
            Ok(text) => parse(&text).context(doing),
        }
    }

    /// Replaces the list.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(super) fn write(&self, servers: &[Server]) -> Result<()> {
        let doing = || format!("writing {}", self.0.display());
        fs::create_dir_all(self.0.parent().unwrap_or(Path::new("."))).context(doing)?;
        let text = serde_json::to_string_pretty(servers).context(doing)? + "\n";
        write_private(&self.0, &text)
    }
}

fn parse(text: &str) -> serde_json::Result<Vec<Server>> {
    serde_json::from_str(text)
}

/// The server of `kind` among `servers`.
pub(super) fn of_kind(servers: &[Server], kind: Kind) -> Option<&Server> {
    servers.iter().find(|server| server.kind == kind)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn server(kind: Kind, pid: u32) -> Server {
        Server { kind, pid, url: "redis://:secret@127.0.0.1:1".into(), folder: "/tmp/x".into() }
    }

    #[test]
    fn what_is_written_is_read_back_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let file = StateFile(folder.path().join("below/servers.json"));
        assert_eq!(file.read().unwrap(), []);
        let servers = [server(Kind::Redis, 5), server(Kind::Pg, 6)];
        file.write(&servers).unwrap();
        assert_eq!(file.read().unwrap(), servers);
        assert_eq!(of_kind(&servers, Kind::Pg).map(|server| server.pid), Some(6));
        assert_eq!(fs::metadata(&file.0).unwrap().permissions().mode() & 0o077, 0);
    }

    #[test]
    fn a_damaged_file_is_named_and_not_taken_for_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = StateFile(folder.path().join("servers.json"));
        fs::write(&file.0, r#"[{"kind":"oracle"}]"#).unwrap();
        let failure = file.read().unwrap_err().to_string();
        assert!(failure.contains("servers.json") && failure.contains("damaged"), "{failure}");
    }
}
