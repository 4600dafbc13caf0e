use super::*;
use crate::yaml;

fn excerpt(text: &str, line: u32, column: u32, shows_value: bool) -> (String, usize) {
    let root = yaml::parse(text).unwrap();
    let source = Source::new("f.yaml", text, &root);
    let finding = Finding::new(Location::new(line, column), "wrong");
    let finding = Finding { shows_value, ..finding };
    let excerpt = source.excerpt(&finding).unwrap();
    (excerpt.line, excerpt.indent)
}

#[test]
fn an_excerpt_shows_keys_and_hides_values() {
    let shown = |text: &str| excerpt(text, 1, 1, false).0;
    assert_eq!(shown("dsn: hunter2 # hunter2"), "dsn: …");
    assert_eq!(shown("dsn: hun:ter2"), "dsn: …");
    assert_eq!(shown("'d s': \"hunter2\""), "'d s': …");
    assert_eq!(shown("pg: {dsn: hunter2, n: 1}"), "pg: …dsn: … n: …");
    assert_eq!(shown("hosts: [hunter2, b]"), "hosts: …");
    assert_eq!(shown("dsn: &hunter2 x"), "dsn: …");
}

/// Guards against taking the continuation of a long text for a key.
#[test]
fn lines_inside_a_long_text_stay_hidden() {
    let text = "dsn: |\n  hunter2: x\n  y\nother: >-\n  hunter2\n";
    assert_eq!(excerpt(text, 2, 3, false).0, "  …");
    assert_eq!(excerpt(text, 5, 3, false).0, "  …");
}

#[test]
fn only_the_value_in_question_is_shown_and_only_if_allowed() {
    let text = "a: {reads: primry, dsn: hunter2}";
    assert_eq!(excerpt(text, 1, 12, true), ("a: …reads: primry… dsn: …".into(), 11));
    assert_eq!(excerpt(text, 1, 12, false).0, "a: …reads: … dsn: …");
}

#[test]
fn the_caret_stands_below_the_place() {
    let (line, indent) = excerpt("a:\n  dsn: hunter2\n", 2, 8, false);
    assert_eq!((line.as_str(), indent), ("  dsn: …", 7));
    assert_eq!(excerpt("a:\n  dsn: hunter2\n", 2, 3, false).1, 2);
}

#[test]
fn a_diagnostic_is_rendered_like_a_compiler_does() {
    let text = "storage:\n  document:\n    dns: hunter2\n";
    let root = yaml::parse(text).unwrap();
    let finding = Finding::new(Location::new(3, 5), "unknown key `dns`")
        .at_key("storage.document.dns")
        .with_remedy("the keys here are: dsn");
    let diagnostic = Source::new("f.yaml", text, &root).error(&finding);
    assert_eq!(
        diagnostic.to_string(),
        "f.yaml:3:5: error: storage.document.dns: unknown key `dns`\n  |\n3 |     dns: …\n  |     ^\n  = the keys here are: dsn"
    );
}

#[test]
fn a_fault_of_the_whole_file_has_no_place() {
    let finding = Finding::new(Location::default(), "too large");
    assert_eq!(Source::unparsed("f.yaml").error(&finding).to_string(), "f.yaml: error: too large");
}
