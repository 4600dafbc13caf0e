//! Finding the program of a server: what is installed, then what the cache has, then what can be had.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Kind, cache, install};
use crate::failure::{Failure, Result};

/// What a server's program is called and where else than on the PATH it may be.
#[derive(Debug)]
pub(super) struct Program {
    /// File name.
    pub(super) name: &'static str,
    /// The oldest release that the backend is made for.
    oldest: (u32, u32),
    /// Where Debian puts programs of which several releases may be installed; a `*` stands for one folder.
    elsewhere: &'static [&'static str],
    /// What to install by hand.
    remedy: &'static str,
}

impl Kind {
    pub(super) fn program(self) -> Program {
        match self {
            Self::Pg => Program {
                name: "postgres",
                oldest: (15, 0),
                elsewhere: &["/usr/lib/postgresql/*/bin"],
                remedy: "PostgreSQL 15 or later (Debian: apt-get install postgresql)",
            },
            Self::Redis => Program {
                name: "redis-server",
                oldest: (7, 0),
                elsewhere: &[],
                remedy: "Redis 7 or later (Debian: apt-get install redis-server)",
            },
            Self::Mongo => Program {
                name: "mongod",
                oldest: (6, 0),
                elsewhere: &[],
                remedy: "MongoDB 6.0 or later from its makers, `mongod` on the PATH",
            },
        }
    }
}

/// The program of `kind`, installed if need be.
///
/// # Errors
///
/// When there is none; the text says what to install.
pub(crate) fn find(kind: Kind) -> Result<PathBuf> {
    let program = kind.program();
    let cache = cache()?;
    if let Some(found) = first_new_enough(&program, &candidates(&program, &search_path(), &cache)) {
        return Ok(found);
    }
    println!("{} is not here: installing it", program.name);
    let installed = install::install(kind, &cache);
    if let Some(found) = first_new_enough(&program, &candidates(&program, &search_path(), &cache)) {
        return Ok(found);
    }
    let why = installed.err().map_or_else(String::new, |failure| format!(" ({failure})"));
    let Program { name, oldest: (major, minor), remedy, .. } = program;
    let text = format!("no `{name}` {major}.{minor} or later was found{why}. Install {remedy}");
    Err(Failure::new(text))
}

fn search_path() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).collect()
}

/// Every file that could be the program, in the order in which they are tried.
fn candidates(program: &Program, path: &[PathBuf], cache: &Path) -> Vec<PathBuf> {
    let mut folders = path.to_vec();
    folders.extend(program.elsewhere.iter().flat_map(|pattern| expand(pattern)));
    folders.extend([cache.join("bin"), cache.join(program.name).join("bin")]);
    let files = folders.into_iter().map(|folder| folder.join(program.name));
    files.filter(|file| file.is_file()).collect()
}

/// The folders that a pattern with one `*` stands for, the highest number first.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once("/*/") else {
        return vec![pattern.into()];
    };
    let Ok(entries) = std::fs::read_dir(before) else {
        return Vec::new();
    };
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    names.sort_by_key(|name| std::cmp::Reverse(name.to_string_lossy().parse().unwrap_or(0_u32)));
    names.into_iter().map(|name| Path::new(before).join(name).join(after)).collect()
}

fn first_new_enough(program: &Program, candidates: &[PathBuf]) -> Option<PathBuf> {
    candidates.iter().find(|file| version(file).is_some_and(|it| it >= program.oldest)).cloned()
}

/// What the program says its version is.
fn version(program: &Path) -> Option<(u32, u32)> {
    let output = Command::new(program).arg("--version").output().ok()?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

/// The first number with a dot in it: `v=7.0.15`, `v6.0.5`, `(PostgreSQL) 15.8`.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    text.split_whitespace().find_map(|word| {
        let number = word.trim_start_matches(|letter: char| !letter.is_ascii_digit());
        let digits = |part: &str| {
            part.split(|letter: char| !letter.is_ascii_digit()).next()?.parse::<u32>().ok()
        };
        let (major, minor) = number.split_once('.')?;
        Some((digits(major)?, digits(minor)?))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const PROGRAM: Program =
        Program { name: "daemon", oldest: (7, 0), elsewhere: &[], remedy: "it" };

    fn program_of(folder: &Path, version: &str) -> PathBuf {
        std::fs::create_dir_all(folder).unwrap();
        let file = folder.join("daemon");
        std::fs::write(&file, format!("#!/bin/sh\necho 'daemon v={version}'\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o700)).unwrap();
        file
    }

    #[test]
    fn the_path_comes_before_the_cache() {
        let folder = tempfile::tempdir().unwrap();
        let (path, cache) = (folder.path().join("path"), folder.path().join("cache"));
        let installed = program_of(&path, "7.2.1");
        let cached = program_of(&cache.join("daemon/bin"), "8.0.0");
        let found = candidates(&PROGRAM, &[path], &cache);
        assert_eq!(found, [installed.clone(), cached]);
        assert_eq!(first_new_enough(&PROGRAM, &found), Some(installed));
    }

    #[test]
    fn one_that_is_too_old_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let old = program_of(&folder.path().join("old"), "6.2.14");
        let new = program_of(&folder.path().join("new"), "10.0.0");
        assert_eq!(first_new_enough(&PROGRAM, &[old.clone(), new.clone()]), Some(new));
        assert_eq!(first_new_enough(&PROGRAM, &[old]), None);
    }

    #[test]
    fn the_highest_release_of_a_pattern_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        for release in ["9", "16", "15"] {
            std::fs::create_dir_all(folder.path().join(release).join("bin")).unwrap();
        }
        let found = expand(&format!("{}/*/bin", folder.path().display()));
        let expected = ["16", "15", "9"].map(|one| folder.path().join(one).join("bin"));
        assert_eq!(found, expected);
    }

    #[test]
    fn versions_are_read_as_the_programs_print_them() {
        let pg = "postgres (PostgreSQL) 15.8 (Debian 15.8-0+deb12u1)";
        assert_eq!(parse_version(pg), Some((15, 8)));
        assert_eq!(parse_version("Redis server v=7.0.15 sha=00000000:0"), Some((7, 0)));
        assert_eq!(parse_version("db version v6.0.5\nBuild Info: {"), Some((6, 0)));
        assert_eq!(parse_version("postgres (PostgreSQL) 18beta1"), None);
        assert_eq!(parse_version(""), None);
    }
}
