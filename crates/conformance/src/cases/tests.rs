use std::collections::BTreeSet;

use super::cases;
use crate::not_built::NOT_BUILT;

/// Groups of the catalogue that this suite is about, with how many cases each has.
const CATALOGUE: [(&str, usize); 19] = [
    ("DOC", 42),
    ("PRE", 24),
    ("PAT", 34),
    ("QRY", 34),
    ("ORD", 15),
    ("PAG", 18),
    ("IDX", 13),
    ("WAT", 33),
    ("RES", 21),
    ("SDL", 19),
    ("REG", 22),
    ("RTE", 27),
    ("CLS", 15),
    ("USR", 76),
    ("REV", 53),
    ("LED", 10),
    ("CON", 23),
    ("BAD", 19),
    ("OBS", 12),
];

#[test]
fn every_case_of_the_catalogue_is_built_or_has_a_reason_not_to_be() {
    let expected: BTreeSet<String> = CATALOGUE
        .iter()
        .flat_map(|(group, count)| (1..=*count).map(move |number| format!("{group}-{number:02}")))
        .collect();
    let built = cases().into_iter().map(|case| case.id);
    let listed = NOT_BUILT.iter().map(|case| case.id);
    let mut known = BTreeSet::new();
    for id in built.chain(listed) {
        assert!(known.insert(id.to_owned()), "{id} is there twice");
    }
    let missing: Vec<_> = expected.difference(&known).collect();
    let unknown: Vec<_> = known.difference(&expected).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "missing {missing:?}, unknown {unknown:?}");
}

#[test]
fn every_case_says_what_it_states_and_what_it_guards_against() {
    for case in cases() {
        assert!(case.id.starts_with(case.group.as_str()), "{} is in the wrong group", case.id);
        assert!(case.name.ends_with('.'), "{}: the statement is a sentence", case.id);
        assert!(case.guards_against.len() > 10, "{}: guards against nothing", case.id);
    }
    assert!(NOT_BUILT.iter().all(|case| case.reason.len() > 10));
}

/// A suite that knows a backend can be kind to it.
#[test]
fn no_source_of_the_suite_names_a_backend() {
    let names =
        [["sql", "ite"], ["post", "gres"], ["mon", "go"], ["red", "is"], ["\"mem", "ory\""]];
    let mut folders = vec![std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let source = std::fs::read_to_string(&path).unwrap().to_lowercase();
            for name in names.map(|parts| parts.concat()) {
                assert!(!source.contains(&name), "{} names {name}", path.display());
            }
        }
    }
}
