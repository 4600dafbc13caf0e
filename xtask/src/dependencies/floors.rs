//! Version floors: below these lie releases with a published advisory.
//!
//! Read from `Cargo.lock`, so the check needs neither a network nor a tool. The
//! list is of 2026-08-21 (RustSec); `cargo audit` with a fresh database knows more.

/// Crate and the first release that is safe to use.
const FLOORS: &[(&str, &str)] = &[
    ("bytes", "1.11.1"),
    ("crossbeam-channel", "0.5.15"),
    ("hickory-proto", "0.26.1"),
    ("idna", "1.0.0"),
    ("lru", "0.18.2"),
    ("postgres-protocol", "0.6.12"),
    ("ring", "0.17.12"),
    ("rustls", "0.23.18"),
    ("rustls-webpki", "0.103.13"),
    ("sqlx", "0.8.1"),
    ("time", "0.3.47"),
    ("tokio", "1.44.2"),
    ("tokio-postgres", "0.7.18"),
];

/// Every locked package below its floor, one sentence each.
pub(super) fn violations(lock: &str) -> Vec<String> {
    packages(lock).filter_map(|(name, version)| below_floor(name, version)).collect()
}

fn below_floor(name: &str, version: &str) -> Option<String> {
    let (_, floor) = FLOORS.iter().find(|(crate_name, _)| *crate_name == name)?;
    (numbers(version) < numbers(floor))
        .then(|| format!("{name} {version} is locked, its floor is {floor}"))
}

/// Name and version of each `[[package]]`; in a lock file the version follows the name.
fn packages(lock: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut name = "";
    lock.lines().filter_map(move |line| {
        if let Some(found) = quoted(line, "name = ") {
            name = found;
        }
        quoted(line, "version = ").map(|version| (name, version))
    })
}

fn quoted<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.strip_prefix(key)?.strip_prefix('"')?.strip_suffix('"')
}

/// Major, minor, patch. A part that is no number counts as 0, so an odd version fails rather than passes.
fn numbers(version: &str) -> [u64; 3] {
    let release = version.split(['-', '+']).next().unwrap_or_default();
    let mut parts = release.split('.').map(|part| part.parse().unwrap_or(0));
    std::array::from_fn(|_| parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(packages: &[(&str, &str)]) -> String {
        let head = "# generated\nversion = 4\n".to_owned();
        packages.iter().fold(head, |text, (name, version)| {
            text + &format!("\n[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n")
        })
    }

    #[test]
    fn a_crate_below_its_floor_is_named_with_both_versions() {
        let found = violations(&lock(&[("serde", "1.0.1"), ("tokio", "1.44.1")]));
        assert_eq!(found, ["tokio 1.44.1 is locked, its floor is 1.44.2"]);
    }

    #[test]
    fn every_locked_version_of_a_crate_is_checked() {
        let found = violations(&lock(&[("bytes", "1.11.1"), ("bytes", "0.5.6")]));
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn versions_compare_by_number_and_not_by_text() {
        assert!(violations(&lock(&[("tokio", "1.100.0"), ("bytes", "1.11.10")])).is_empty());
        assert_eq!(violations(&lock(&[("rustls-webpki", "0.103.2")])).len(), 1);
        assert!(violations(&lock(&[("ring", "0.17.12+build.1")])).is_empty());
    }

    #[test]
    fn crates_without_a_floor_and_the_lock_format_line_are_passed_over() {
        assert!(violations(&lock(&[("serde", "0.0.1")])).is_empty());
    }
}
