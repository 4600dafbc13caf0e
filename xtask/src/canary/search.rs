//! Looks for canaries in files.

use std::fmt;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use super::credentials;
use crate::failure::{Context, Result};
use crate::servers::{PASSWORD_DIGITS, PASSWORD_PREFIX};

/// What stands in an excerpt where a canary was.
const MASK: &str = "[credential]";
/// Characters of an excerpt on either side of it.
const EXCERPT: usize = 70;
/// Hits that are told of one file: a leak in a loop is one leak.
const HITS_PER_FILE: usize = 3;

/// What a search found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) hits: Vec<Hit>,
    files: usize,
    bytes: u64,
}

/// A place where a credential is.
#[derive(Debug)]
pub(super) struct Hit {
    file: PathBuf,
    line: usize,
    excerpt: String,
}

impl fmt::Display for Found {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Hit { file, line, excerpt } in &self.hits {
            writeln!(formatter, "error: a credential in {}:{line}: {excerpt}", file.display())?;
        }
        let (count, files, kilobytes) = (self.hits.len(), self.files, self.bytes / 1024);
        writeln!(formatter, "{count} hits in {files} files, {kilobytes} KiB")
    }
}

/// Searches every file below `folder`.
pub(super) fn search(folder: &Path) -> Result<Found> {
    let (mut found, mut folders) = (Found::default(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        let doing = || format!("reading {}", folder.display());
        for entry in fs::read_dir(&folder).context(doing)? {
            let path = entry.context(doing)?.path();
            match path.is_dir() {
                true => folders.push(path),
                false => search_file(&path, &mut found)?,
            }
        }
    }
    Ok(found)
}

fn search_file(path: &Path, found: &mut Found) -> Result<()> {
    let doing = || format!("searching {}", path.display());
    let mut reader = BufReader::new(File::open(path).context(doing)?);
    let (mut line, mut bytes, mut hits) = (0, Vec::new(), 0);
    while reader.read_until(b'\n', &mut bytes).context(doing)? > 0 {
        (line, found.bytes) = (line + 1, found.bytes + bytes.len() as u64);
        if let Some(excerpt) = masked(&String::from_utf8_lossy(&bytes))
            && hits < HITS_PER_FILE
        {
            hits += 1;
            found.hits.push(Hit { file: path.to_owned(), line, excerpt });
        }
        bytes.clear();
    }
    found.files += 1;
    Ok(())
}

/// The surroundings of the first canary in `line`, with every canary masked; `None` if there is none.
fn masked(line: &str) -> Option<String> {
    let known = credentials::ALL.iter().copied();
    let mut canaries: Vec<_> = known.filter(|canary| line.contains(canary)).collect();
    canaries.extend(server_passwords(line));
    let masked = canaries.iter().fold(line.to_owned(), |line, canary| line.replace(canary, MASK));
    let (before, after) = masked.split_once(MASK)?;
    let start = before.char_indices().rev().nth(EXCERPT - 1).map_or(0, |(index, _)| index);
    let after: String = after.chars().take(EXCERPT).collect();
    Some(format!("{}{MASK}{}", &before[start..], after.trim_end()))
}

/// The passwords in `line` that our private servers have: random ones, told by their form.
fn server_passwords(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices(PASSWORD_PREFIX).filter_map(|(start, prefix)| {
        let end = start + prefix.len() + PASSWORD_DIGITS;
        let password = line.get(start..end)?;
        let digits = &password[prefix.len()..];
        digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(password)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn searched(texts: &[(&str, String)]) -> Found {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("logs")).unwrap();
        for (name, text) in texts {
            fs::write(folder.path().join(name), text).unwrap();
        }
        search(folder.path()).unwrap()
    }

    #[test]
    fn a_planted_canary_is_found_with_its_place_and_shown_without_itself() {
        for canary in credentials::ALL {
            let text = format!("fine\nuser{{hash={canary}}} again {canary}\n");
            let found = searched(&[("01-cargo.out", "fine\n".into()), ("logs/a.log", text)]);
            assert_eq!((found.hits.len(), found.files), (1, 2));
            let told = found.to_string();
            assert!(told.contains("a.log:2: user{hash=[credential]} again [credential]"), "{told}");
            assert!(!told.contains(canary), "the search leaks");
        }
    }

    #[test]
    fn the_random_password_of_a_server_is_found() {
        let password = format!("{PASSWORD_PREFIX}{}", "0a".repeat(16));
        let text = format!("postgres://postgres:{password}@127.0.0.1\n");
        let found = searched(&[("01-cargo.out", text)]);
        assert_eq!(found.hits.len(), 1);
        assert_eq!(found.hits[0].excerpt, "postgres://postgres:[credential]@127.0.0.1");
    }

    #[test]
    fn output_without_canaries_is_clean() {
        let found = searched(&[("01-cargo.out", "canary-pass\nhunter\n".into())]);
        assert!(found.hits.is_empty());
        assert_eq!(found.to_string(), "0 hits in 1 files, 0 KiB\n");
    }

    #[test]
    fn a_long_line_is_cut_around_the_canary_and_a_loop_is_told_three_times() {
        let canary = credentials::TOKEN_ID;
        let line = format!("{}{canary}{}\n", "é".repeat(500), "ü".repeat(500));
        let found = searched(&[("01-cargo.err", line.repeat(10))]);
        assert_eq!(found.hits.len(), HITS_PER_FILE);
        let expected = format!("{}{MASK}{}", "é".repeat(EXCERPT), "ü".repeat(EXCERPT));
        assert_eq!(found.hits[0].excerpt, expected);
    }
}
