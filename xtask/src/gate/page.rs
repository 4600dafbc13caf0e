//! The tables of `docs/backends.md`, made from what is recorded. What stands around them is written by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::backends;
use super::counts::{self, Counts};
use super::declared::{self, All};
use crate::failure::{Context, Failure, Result};

/// Below the repository's root.
pub(super) const FILE: &str = "docs/backends.md";

/// What the tables are made from.
struct Recorded {
    declared: All,
    executed: Counts,
}

/// The page has to be what [`write()`] would make of it.
///
/// # Errors
///
/// When it is not, or a file cannot be read or understood.
pub(super) fn check(root: &Path) -> Result<()> {
    let (present, wanted) = (read(root)?, filled(root)?);
    if present == wanted {
        return Ok(());
    }
    Err(Failure::new(format!("{FILE} is not what is recorded: run `cargo xtask docs-backends`")))
}

/// Writes the tables into the page.
///
/// # Errors
///
/// When a file cannot be read, understood or written.
pub(super) fn write(root: &Path) -> Result<()> {
    let text = filled(root)?;
    println!("written: {FILE}");
    fs::write(root.join(FILE), text).context(|| format!("writing {FILE}"))
}

fn read(root: &Path) -> Result<String> {
    fs::read_to_string(root.join(FILE)).context(|| format!("reading {FILE}"))
}

fn filled(root: &Path) -> Result<String> {
    let (declared, executed) = (declared::recorded(root)?, counts::recorded(root)?);
    let recorded = Recorded { declared, executed };
    let page = replace(&read(root)?, "capabilities", &capabilities(&recorded.declared))?;
    replace(&page, "cases", &cases(&recorded))
}

/// The page with `table` between the marks of this name.
fn replace(page: &str, name: &str, table: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- begin {name} -->\n"), format!("<!-- end {name} -->"));
    let parts = page.split_once(&begin).and_then(|(before, rest)| {
        let (_, behind) = rest.split_once(&end)?;
        Some(format!("{before}{begin}{table}{end}{behind}"))
    });
    parts.ok_or_else(|| Failure::new(format!("{FILE} lacks the marks of `{name}`")))
}

/// Backend and store against capability.
fn capabilities(declared: &All) -> String {
    let stores = || declared.values().flat_map(|one| one.capabilities.values());
    let names: BTreeSet<&String> = stores().flat_map(BTreeMap::keys).collect();
    let mut head = vec!["backend".to_owned(), "store".to_owned()];
    head.extend(names.iter().map(|name| format!("`{name}`")));
    let mut rows = Vec::new();
    for backend in in_order(declared) {
        for (store, offered) in &declared[backend].capabilities {
            let has =
                |name: &&String| if offered.get(*name) == Some(&true) { "yes" } else { "–" };
            let mut row = vec![format!("`{backend}`"), store.clone()];
            row.extend(names.iter().map(|name| has(name).to_owned()));
            rows.push(row);
        }
    }
    table(&head, &rows)
}

/// Group against backend: passed, failed, not applicable. Nothing is recorded of a run in which anything failed.
fn cases(recorded: &Recorded) -> String {
    let backends = in_order(&recorded.declared);
    let mut head = vec!["group".to_owned()];
    head.extend(backends.iter().map(|backend| format!("`{backend}`")));
    let groups: BTreeSet<_> = recorded.executed.values().flat_map(BTreeMap::keys).collect();
    let row = |group: &&String| {
        let cell = |backend: &&str| {
            let [passed, left_out] = recorded.of(backend, group);
            format!("{passed} / 0 / {left_out}")
        };
        let cells = backends.iter().map(cell);
        std::iter::once(format!("`{group}`")).chain(cells).collect()
    };
    table(&head, &groups.iter().map(row).collect::<Vec<_>>())
}

impl Recorded {
    /// Passed, and not applicable.
    fn of(&self, backend: &str, group: &str) -> [usize; 2] {
        let passed = self.executed.get(backend).and_then(|groups| groups.get(group));
        let left_out = self.declared.get(backend).and_then(|one| one.not_applicable.get(group));
        [passed, left_out].map(|number| number.copied().unwrap_or(0))
    }
}

/// The recorded backends in the gate's order; one that it does not know comes last.
fn in_order(declared: &All) -> Vec<&str> {
    let mut names: Vec<_> = declared.keys().map(String::as_str).collect();
    names.sort_by_key(|name| backends::place(name));
    names
}

fn table(head: &[String], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let rule = format!("|{}\n", "---|".repeat(head.len()));
    rows.iter().fold(line(head) + &rule, |text, row| text + &line(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# Words\n<!-- begin capabilities -->\nold\n<!-- end capabilities -->\nmore\n\
        <!-- begin cases -->\n<!-- end cases -->\nlast\n";
    const DECLARED: &str = r#"{"pg": {"capabilities": {"documents": {"durable": true, "watch": false}}, "notApplicable": {"DOC": 2}},
        "memory": {"capabilities": {}, "notApplicable": {}}}"#;
    const COUNTS: &str = r#"{"memory": {"DOC": 1}, "pg": {"DOC": 4, "REV": 3}}"#;

    fn repository() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let file = |name: &str, text| fs::write(root.path().join(name), text).unwrap();
        for name in ["docs", "tests"] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        file(FILE, PAGE);
        file("tests/conformance-backends.json", DECLARED);
        file("tests/conformance-counts.json", COUNTS);
        root
    }

    #[test]
    fn tables_are_written_between_the_marks_and_the_words_stay() {
        let root = repository();
        assert!(check(root.path()).unwrap_err().to_string().contains("docs-backends"));
        write(root.path()).unwrap();
        check(root.path()).unwrap();
        let page = read(root.path()).unwrap();
        assert!(page.starts_with("# Words\n") && page.ends_with("last\n"), "{page}");
        assert!(page.contains("| `pg` | documents | yes | – |\n"), "{page}");
        assert!(page.contains("| group | `memory` | `pg` |\n"), "{page}");
        assert!(page.contains("| `DOC` | 1 / 0 / 0 | 4 / 0 / 2 |\n"), "{page}");
        assert!(!page.contains("old"), "{page}");
    }

    #[test]
    fn a_page_without_its_marks_is_refused() {
        let root = repository();
        fs::write(root.path().join(FILE), "only words").unwrap();
        assert!(write(root.path()).unwrap_err().to_string().contains("lacks the marks"));
    }

    /// The page of this repository: what `cargo xtask test` checks, so that editing it by hand is noticed early.
    #[test]
    fn the_page_of_this_repository_is_up_to_date() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        check(root).unwrap();
    }
}
