use super::*;

fn value(text: &str) -> SettingsValue {
    parse(&format!("key: {text}")).unwrap().get("key").unwrap().value.clone()
}

#[test]
fn plain_scalars_have_the_type_of_yaml_1_2_and_quoted_ones_are_text() {
    let text = |text: &str| SettingsValue::Text(text.into());
    for (yaml, expected) in [
        ("...", text("...")),
        ("no", text("no")),
        ("off", text("off")),
        ("true", SettingsValue::Bool(true)),
        ("0", SettingsValue::Integer(0)),
        ("-7", SettingsValue::Integer(-7)),
        ("007", text("007")),
        ("1_000", text("1_000")),
        ("1.5", SettingsValue::Float(1.5)),
        ("", SettingsValue::Null),
        ("~", SettingsValue::Null),
        ("'0'", text("0")),
        ("\"true\"", text("true")),
        ("syntrix:rev", text("syntrix:rev")),
        ("localhost:6379", text("localhost:6379")),
        ("${PORT}", text("${PORT}")),
        ("postgres://u:p#w@h/db", text("postgres://u:p#w@h/db")),
    ] {
        assert_eq!(value(yaml), expected, "{yaml}");
    }
}

#[test]
fn every_key_and_value_has_its_place() {
    let root = parse("a:\n  b: x\n  c: [1, {d: y}]\n  'é ü': z\n  n:\nk: 1\n").unwrap();
    let (_, place, a) = &root.entries()[0];
    assert_eq!(*place, Location::new(1, 1));
    let places: Vec<_> = a
        .entries()
        .iter()
        .map(|(key, place, node)| {
            (key.as_str(), place.line, place.column, node.location.line, node.location.column)
        })
        .collect();
    assert_eq!(places[0], ("b", 2, 3, 2, 6));
    assert_eq!(places[1], ("c", 3, 3, 3, 6));
    assert_eq!(places[2], ("é ü", 4, 3, 4, 10));
    assert_eq!((places[3].0, places[3].1, places[3].2), ("n", 5, 3));
    assert!(places[3].3 >= 5, "{places:?}");
    let SettingsValue::List(items) = &a.get("c").unwrap().value else { panic!("no list") };
    assert_eq!(items[0].location, Location::new(3, 7));
    let (_, key, node) = &items[1].entries()[0];
    assert_eq!((*key, node.location), (Location::new(3, 11), Location::new(3, 14)));
}

#[test]
fn aliases_are_placed_where_they_are_used() {
    let root = parse("a: &x {k: v}\nb: *x\nc:\n  <<: *x\n  d: 1\n").unwrap();
    assert_eq!(root.get("b").unwrap().get("k").unwrap().as_text(), Some("v"));
    assert_eq!(root.get("b").unwrap().location.line, 2);
    assert_eq!(root.get("c").unwrap().get("k").unwrap().as_text(), Some("v"));
}

#[test]
fn damaged_or_hostile_text_is_refused_without_quoting_it() {
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n\
                c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n\
                e: [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n";
    let brackets = "[".repeat(200_000);
    for text in [
        "a: 1\na: hunter2\n",
        "a: {k: hunter2, k: 2}\n",
        "a: \"hunter2\n",
        "a: [hunter2\n",
        "a: hunter2\n b: c\n",
        "a: hunter2\n---\nb: hunter2\n",
        "a: *hunter2\n",
        "a: !hunter2 b\n",
        "a: !!int hunter2\n",
        "a: 9999999999999999999\n",
        "a: .nan\n",
        "? [hunter2]\n: b\n",
        "a:\n\thunter2: b\n",
        bomb,
        &brackets,
        &"a".repeat(FILE_BYTES_MAX + 1),
    ] {
        let Err(finding) = parse(text) else {
            panic!("accepted {text:.40}: {:?}", parse(text));
        };
        assert!(!finding.message.contains("hunter2"), "{}", finding.message);
    }
}

#[test]
fn a_doubled_key_is_reported_at_the_second_one() {
    let finding = parse("a:\n  k: 1\n  k: 2\n").unwrap_err();
    assert_eq!(finding.location, Location::new(3, 3));
    assert_eq!(finding.message, "the key `k` appears twice");
}
