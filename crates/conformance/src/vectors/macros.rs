//! The abbreviations of a vector: `{"@repeat": s, "n": k}`, `{"@range": n}`, `{"@nest": n, "leaf": v}`.

use serde_json::{Map, Value, json};

use crate::check::{CaseResult, Failure};

/// Replaces every abbreviation in `value`.
pub(super) fn expand(value: Value) -> CaseResult<Value> {
    match value {
        Value::Array(items) => {
            Ok(Value::Array(items.into_iter().map(expand).collect::<CaseResult<_>>()?))
        }
        Value::Object(members) => expand_object(members),
        other => Ok(other),
    }
}

fn expand_object(members: Map<String, Value>) -> CaseResult<Value> {
    if let Some(text) = members.get("@repeat") {
        let (text, count) = (text.as_str(), members.get("n").and_then(Value::as_u64));
        let repeated = text.zip(count).map(|(text, count)| text.repeat(count as usize));
        return repeated.map(Value::String).ok_or_else(|| malformed("@repeat"));
    }
    if let Some(count) = members.get("@range") {
        let count = count.as_u64().ok_or_else(|| malformed("@range"))?;
        return Ok((0..count).collect());
    }
    if let Some(count) = members.get("@nest") {
        let count = count.as_u64().ok_or_else(|| malformed("@nest"))?;
        let leaf = members.get("leaf").cloned().ok_or_else(|| malformed("@nest"))?;
        return Ok((0..count).fold(leaf, |inner, _| json!({"a": inner})));
    }
    let expanded = members.into_iter().map(|(key, value)| Ok((key, expand(value)?)));
    Ok(Value::Object(expanded.collect::<CaseResult<_>>()?))
}

fn malformed(name: &str) -> Failure {
    Failure::new(format_args!("{name} is not used as documented"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abbreviations_are_expanded_wherever_they_stand() {
        let short = json!({"s": [{"@repeat": "é", "n": 2}], "r": {"@range": 3}, "d": {"@nest": 2, "leaf": null}});
        let long = json!({"s": ["éé"], "r": [0, 1, 2], "d": {"a": {"a": null}}});
        assert_eq!(expand(short).unwrap(), long);
    }

    #[test]
    fn a_misused_abbreviation_fails() {
        assert!(expand(json!([{"@repeat": 1, "n": 2}])).is_err());
        assert!(expand(json!({"@nest": 2})).is_err());
    }
}
