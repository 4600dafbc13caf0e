//! The table of cases names tests that exist.

use std::fs;
use std::path::Path;

use syntrix_storage::conformance::{Group, cases};

/// Where tests lie that the table may name.
const SOURCES: [&str; 9] = [
    "crates/storage/tests",
    "crates/routing/tests",
    "crates/registry/src",
    "crates/routing/src",
    "crates/cli/tests",
    "backends/mongodb/tests",
    "backends/postgres/tests",
    "backends/redis/tests",
    "backends/sqlite/tests",
];

fn table_and_sources() -> (String, String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut sources = String::new();
    for folder in SOURCES {
        read_all(&root.join(folder), &mut sources);
    }
    (fs::read_to_string(root.join("docs/routing-cases.md")).unwrap(), sources)
}

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
    let (table, sources) = table_and_sources();
    let is_name = |word: &&str| {
        word.len() > 20 && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let names: Vec<_> = table.split('`').filter(is_name).collect();
    assert!(names.len() > 40, "{names:?}");
    for name in names {
        assert!(sources.contains(&format!("fn {name}(")), "there is no test {name}");
    }
}

#[test]
fn every_test_with_a_cases_number_is_in_the_table() {
    let (table, sources) = table_and_sources();
    let numbered = sources.split("fn case").skip(1).filter_map(|rest| rest.split('(').next());
    let is_numbered = |rest: &&str| rest.trim_start_matches('s').starts_with("_");
    let names: Vec<_> = numbered.filter(is_numbered).map(|rest| format!("case{rest}")).collect();
    assert!(names.len() > 30, "{names:?}");
    for name in names {
        assert!(table.contains(&format!("`{name}`")), "the table does not name {name}");
    }
}

#[test]
fn every_case_of_the_suite_about_routes_is_in_the_table() {
    let (table, _) = table_and_sources();
    let cases = cases().into_iter().filter(|case| case.group == Group::Rte);
    for id in cases.map(|case| case.id) {
        assert!(table.contains(&format!("case {id}")), "the table does not name {id}");
    }
}
