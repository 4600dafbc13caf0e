use std::fs;

use super::*;
use crate::testing::TestEnvironment;
use crate::yaml;

fn resolved(text: &str, environment: &TestEnvironment) -> (SettingsNode, Vec<Finding>) {
    let mut root = yaml::parse(text).unwrap();
    let findings = resolve(&mut root, environment);
    (root, findings)
}

#[test]
fn variables_are_put_into_whole_values_and_parts_of_them() {
    let environment = TestEnvironment::new().with("USER_NAME", "u").with("_P2", "a: ${X}\nb");
    let (root, findings) = resolved(
        "a: ${USER_NAME}\nb: \"x-${USER_NAME}-${_P2}\"\nc: [plain]\nd: $${USER_NAME}\ne: $5\n",
        &environment,
    );
    assert!(findings.is_empty(), "{findings:?}");
    let node = |key| root.get(key).unwrap();
    assert_eq!((node("a").as_text(), node("a").secret), (Some("u"), true));
    assert_eq!(node("b").as_text(), Some("x-u-a: ${X}\nb"));
    assert_eq!((node("d").as_text(), node("d").secret), (Some("${USER_NAME}"), false));
    assert_eq!((node("e").as_text(), node("e").secret), (Some("$5"), false));
}

#[test]
fn a_resolved_number_is_read_as_a_number_and_as_text() {
    let environment = TestEnvironment::new().with("REDIS_DB", "3");
    let (root, _) = resolved("db: ${REDIS_DB}", &environment);
    assert_eq!(root.get("db").unwrap().decode::<u16>().unwrap(), 3);
    assert_eq!(root.get("db").unwrap().decode::<String>().unwrap(), "3");
}

#[test]
fn every_unset_or_malformed_reference_is_named_at_its_place() {
    let environment = TestEnvironment::new();
    let (_, findings) = resolved(
        "a: ${MISSING}\nb:\n  c: [x, \"${hunter2\"]\nd: ${}\ne: ${1A}\nf: ${A:-hunter2}\n",
        &environment,
    );
    let found: Vec<_> =
        findings.iter().map(|finding| (finding.key.as_str(), finding.location)).collect();
    assert_eq!(found[0], ("a", Location::new(1, 4)));
    assert_eq!(found[1], ("b.c[1]", Location::new(3, 10)));
    assert_eq!(found.len(), 5);
    assert_eq!(findings[0].message, "the environment variable `MISSING` is not set");
    assert!(findings.iter().all(|finding| !format!("{finding:?}").contains("hunter2")));
}

#[test]
fn a_file_gives_its_content_and_its_path_may_have_a_variable() {
    let environment = TestEnvironment::new().with("NAME", "secret");
    environment.write("secret", "hunter2\n");
    let (root, findings) = resolved("a: {file: secret}\nb:\n  file: ${NAME}\n", &environment);
    assert!(findings.is_empty(), "{findings:?}");
    for key in ["a", "b"] {
        let node = root.get(key).unwrap();
        assert_eq!((node.as_text(), node.secret), (Some("hunter2"), true));
    }
}

#[test]
fn an_unreadable_file_is_named() {
    let environment = TestEnvironment::new();
    let (root, findings) = resolved("a: {file: missing}\n", &environment);
    assert_eq!(findings[0].location, Location::new(1, 4));
    assert!(findings[0].message.contains("missing` cannot be read"), "{findings:?}");
    assert!(root.get("a").unwrap().get("file").is_some());
}

#[test]
fn a_mapping_that_only_looks_like_a_reference_stays() {
    let environment = TestEnvironment::new();
    fs::create_dir(environment.directory().join("x")).unwrap();
    let (root, findings) = resolved("a: {file: {path: b}}\nc: {file: x, mode: y}\n", &environment);
    assert!(findings.is_empty());
    assert!(root.get("a").unwrap().get("file").is_some());
    assert!(root.get("c").unwrap().get("mode").is_some());
}
