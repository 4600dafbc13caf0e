//! The table of cases names tests that exist.

use std::fs;
use std::path::Path;

/// Where tests lie that the table may name.
const SOURCES: [&str; 7] = [
    "crates/storage/tests",
    "crates/routing/tests",
    "crates/routing/src",
    "crates/cli/tests",
    "backends/mongodb/tests",
    "backends/postgres/tests",
    "backends/redis/tests",
];

fn read_all(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => read_all(&path, text),
            false => *text += &fs::read_to_string(&path).unwrap_or_default(),
        }
    }
}

#[test]
fn every_test_in_the_table_of_cases_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut sources = String::new();
    for folder in SOURCES {
        read_all(&root.join(folder), &mut sources);
    }
    let table = fs::read_to_string(root.join("docs/routing-cases.md")).unwrap();
    let is_name = |word: &&str| {
        word.len() > 20 && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let names: Vec<_> = table.split('`').filter(is_name).collect();
    assert!(names.len() > 40, "{names:?}");
    for name in names {
        assert!(sources.contains(&format!("fn {name}(")), "there is no test {name}");
    }
}
