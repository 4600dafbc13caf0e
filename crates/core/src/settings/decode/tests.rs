use std::collections::BTreeMap;

use serde::Deserialize;

use crate::settings::{Location, SettingsNode, SettingsValue};
use crate::{Error, ErrorKind, HumanDuration, Secret};

const CANARY: &str = "canary-hunter2";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Settings {
    dsn: Secret,
    #[serde(default)]
    pool_max: Option<u16>,
    #[serde(default)]
    retention: Option<HumanDuration>,
    #[serde(default)]
    mode: Mode,
    #[serde(default)]
    nested: Nested,
    #[serde(default)]
    hosts: Vec<Host>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    ratio: f64,
    #[serde(default)]
    tls: bool,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    #[default]
    Fast,
    VerySafe,
    Timed {
        limit: HumanDuration,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nested {
    depth: Option<u8>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Host {
    name: String,
}

/// Each value gets a line of its own: key in column 3, value in column 9.
fn map(entries: Vec<(&str, SettingsValue)>) -> SettingsValue {
    let place = |(index, (key, value)): (usize, (&str, SettingsValue))| {
        let line = index as u32 + 2;
        let node = SettingsNode::new(value, Location::new(line, 9));
        (key.to_owned(), Location::new(line, 3), node)
    };
    SettingsValue::Map(entries.into_iter().enumerate().map(place).collect())
}

fn root(entries: Vec<(&str, SettingsValue)>) -> SettingsNode {
    SettingsNode::new(map(entries), Location::new(1, 1))
}

fn text(text: &str) -> SettingsValue {
    SettingsValue::Text(text.into())
}

fn refused(entries: Vec<(&str, SettingsValue)>) -> Error {
    let error = root(entries).decode::<Settings>().expect_err("accepted");
    assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
    assert!(!format!("{error} {error:?}").contains(CANARY), "{error:?}");
    error
}

fn place(error: &Error) -> (&str, &str, &str) {
    let fact = |name| error.fact(name).unwrap_or("");
    (fact("key"), fact("line"), fact("column"))
}

#[test]
fn a_full_tree_is_read() {
    let host = map(vec![("name", text("a"))]);
    let settings: Settings = root(vec![
        ("dsn", text(CANARY)),
        ("poolMax", SettingsValue::Integer(7)),
        ("retention", text("15m")),
        ("mode", text("very-safe")),
        ("nested", SettingsValue::Null),
        ("hosts", SettingsValue::List(vec![SettingsNode::new(host, Location::new(9, 9))])),
        ("labels", map(vec![("a", text("b"))])),
        ("ratio", SettingsValue::Integer(2)),
        ("tls", SettingsValue::Bool(true)),
    ])
    .decode()
    .unwrap();

    assert_eq!(settings.dsn.expose(), CANARY);
    assert_eq!((settings.pool_max, settings.mode), (Some(7), Mode::VerySafe));
    assert_eq!((settings.hosts[0].name.as_str(), settings.labels["a"].as_str()), ("a", "b"));
    assert_eq!((settings.ratio, settings.tls, settings.nested.depth), (2.0, true, None));
    assert_eq!(settings.retention.unwrap().to_string(), "15m");
}

#[test]
fn an_enum_with_content_is_read() {
    let mode = map(vec![("timed", map(vec![("limit", text("5s"))]))]);
    let settings: Settings = root(vec![("dsn", text("x")), ("mode", mode)]).decode().unwrap();
    assert_eq!(settings.mode, Mode::Timed { limit: "5s".parse().unwrap() });
}

#[test]
fn an_unknown_key_is_refused_at_the_key_with_the_nearest_one() {
    let error = refused(vec![("dsn", text(CANARY)), ("poolmax", text(CANARY))]);
    assert_eq!(place(&error), ("poolmax", "3", "3"));
    assert!(error.message().unwrap().contains("did you mean `poolMax`?"));
}

#[test]
fn an_unknown_key_in_depth_has_its_full_path() {
    let error = refused(vec![("dsn", text("x")), ("nested", map(vec![("dept", text(CANARY))]))]);
    assert_eq!(place(&error), ("nested.dept", "2", "3"));
    let host = SettingsNode::new(map(vec![("nam", text(CANARY))]), Location::new(7, 5));
    let error = refused(vec![("hosts", SettingsValue::List(vec![host]))]);
    assert_eq!(place(&error), ("hosts[0].nam", "2", "3"));
}

#[test]
fn a_wrong_type_is_refused_at_the_value_without_it() {
    for (key, value, expected) in [
        (
            "dsn",
            SettingsValue::Integer(4711),
            "expected text, found an integer; put the value in quotes",
        ),
        ("dsn", SettingsValue::Null, "expected text, found nothing"),
        ("poolMax", text(CANARY), "expected an integer from 0 to 65535, found text"),
        ("poolMax", SettingsValue::Integer(70_000), "expected an integer from 0 to 65535"),
        ("poolMax", SettingsValue::Integer(-4711), "expected an integer from 0 to 65535"),
        (
            "poolMax",
            SettingsValue::Float(4711.5),
            "expected an integer from 0 to 65535, found a number",
        ),
        ("tls", text(CANARY), "expected true or false, found text"),
        ("nested", text(CANARY), "expected a mapping, found text"),
        ("nested", SettingsValue::List(vec![]), "expected a mapping, found a list"),
        ("hosts", text(CANARY), "expected a list, found text"),
        ("mode", text(CANARY), "expected one of fast, very-safe, timed"),
        ("mode", SettingsValue::Bool(true), "expected text, found true or false"),
        (
            "retention",
            text(CANARY),
            "expected a duration: a whole number and one of d h m s ms, for example 30d, 15m or 250ms",
        ),
    ] {
        let error = refused(vec![(key, value)]);
        assert_eq!(place(&error), (key, "2", "9"));
        assert_eq!(error.message(), Some(expected));
        assert!(!error.to_string().contains("4711"));
    }
}

#[test]
fn a_missing_key_is_reported_at_the_key_of_its_block() {
    let error = refused(vec![]);
    assert_eq!(place(&error), ("dsn", "1", "1"));
    let host = SettingsNode::new(map(vec![]), Location::new(7, 5));
    let error = refused(vec![("hosts", SettingsValue::List(vec![host]))]);
    assert_eq!(place(&error), ("hosts[0].name", "7", "5"));
    let error = refused(vec![("mode", map(vec![("timed", map(vec![]))]))]);
    assert_eq!(place(&error), ("mode.timed.limit", "2", "3"));
}

#[test]
fn a_doubled_key_is_refused_at_the_second_one() {
    let error = refused(vec![("dsn", text(CANARY)), ("dsn", text(CANARY))]);
    assert_eq!(place(&error), ("dsn", "3", "3"));
}

#[test]
fn a_resolved_value_is_read_as_the_type_asked_for() {
    let resolved = |key: &str, value: &str| {
        let node =
            SettingsNode { secret: true, ..SettingsNode::new(text(value), Location::new(1, 1)) };
        let dsn =
            SettingsNode { secret: true, ..SettingsNode::new(text("0815"), Location::new(1, 1)) };
        let entries = [("dsn", dsn), (key, node)]
            .map(|(key, node)| (key.to_owned(), Location::new(1, 1), node));
        SettingsNode::new(SettingsValue::Map(entries.into()), Location::new(1, 1))
            .decode::<Settings>()
    };
    assert_eq!(resolved("poolMax", "12").unwrap().pool_max, Some(12));
    assert_eq!(resolved("ratio", "0.5").unwrap().ratio, 0.5);
    assert!(resolved("tls", "true").unwrap().tls);
    assert_eq!(resolved("mode", "fast").unwrap().dsn.expose(), "0815");
    let error = resolved("poolMax", CANARY).unwrap_err();
    assert!(!format!("{error:?}").contains(CANARY));
}

#[test]
fn a_foreign_message_with_a_value_is_replaced() {
    #[derive(Debug)]
    struct Port;
    impl<'de> Deserialize<'de> for Port {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let text = String::deserialize(deserializer)?;
            Err(serde::de::Error::custom(format!("bad port {text}")))
        }
    }
    let decode = |value| root(vec![("port", text(value))]).decode::<BTreeMap<String, Port>>();
    let error = decode(CANARY).unwrap_err();
    assert_eq!(error.message(), Some("the value is not accepted here"));
    assert_eq!(place(&error), ("port", "2", "9"));
}

#[test]
fn debug_shows_keys_and_kinds_only() {
    let debug =
        format!("{:?}", root(vec![("dsn", text(CANARY)), ("n", SettingsValue::Integer(4711))]));
    assert_eq!(debug, r#"{"dsn": Text, "n": Integer}"#);
}

#[test]
fn a_rule_of_the_backend_is_reported_at_the_value() {
    let error = root(vec![("path", text(CANARY))]).invalid("path", "must be relative");
    assert_eq!(place(&error), ("path", "2", "9"));
}
