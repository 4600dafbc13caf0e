//! Results as tables for people.

use std::collections::BTreeSet;

use comfy_table::{Table, presets};
use serde_json::{Map, Value};

/// Most characters of one cell.
const CELL_CHARACTERS_MAX: usize = 60;
/// The columns that come first and last; all others stand between them by name.
const FIRST: [&str; 4] = ["name", "id", "collection", "store"];
const LAST: [&str; 4] = ["version", "createdAt", "updatedAt", "deleted"];

/// A table with these columns and no rows yet.
pub(crate) fn with_columns(columns: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(columns.to_vec());
    table
}

/// One row per member.
pub(crate) fn of_members(object: &Map<String, Value>) -> Table {
    let mut table = with_columns(&["field", "value"]);
    for name in columns(std::slice::from_ref(object)) {
        table.add_row(vec![clean(&name), object.get(&name).map(cell).unwrap_or_default()]);
    }
    table
}

/// One row per object, one column per member that any of them has.
pub(crate) fn of_rows(objects: &[Map<String, Value>]) -> Table {
    let columns = columns(objects);
    let header: Vec<_> = columns.iter().map(|name| clean(name)).collect();
    let header: Vec<_> = header.iter().map(String::as_str).collect();
    let mut table = with_columns(&header);
    for object in objects {
        let value = |name: &String| object.get(name).map(cell).unwrap_or_default();
        table.add_row(columns.iter().map(value).collect::<Vec<_>>());
    }
    table
}

fn columns(objects: &[Map<String, Value>]) -> Vec<String> {
    let names: BTreeSet<&String> = objects.iter().flat_map(Map::keys).collect();
    let rank = |name: &str| {
        let first = FIRST.iter().position(|other| *other == name);
        let last = LAST.iter().position(|other| *other == name);
        match (first, last) {
            (Some(position), _) => position,
            (None, None) => FIRST.len(),
            (None, Some(position)) => FIRST.len() + 1 + position,
        }
    };
    let mut columns: Vec<String> = names.into_iter().cloned().collect();
    columns.sort_by_key(|name| rank(name));
    columns
}

fn cell(value: &Value) -> String {
    let text = match value {
        Value::String(text) => clean(text),
        other => clean(&other.to_string()),
    };
    match text.char_indices().nth(CELL_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Data must not steer the terminal.
fn clean(text: &str) -> String {
    let shown = |character: char| match character.is_control() {
        true => character.escape_default().to_string(),
        false => character.to_string(),
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(cell(&json!("a\u{1b}[31m")), "a\\u{1b}[31m");
    }

    #[test]
    fn system_columns_stand_at_the_edges() {
        let object = json!({"version": 1, "zip": 2, "id": "x", "area": 3});
        let object = object.as_object().cloned().unwrap_or_default();
        assert_eq!(columns(&[object]), ["id", "area", "zip", "version"]);
    }

    #[test]
    fn long_cells_are_cut_between_characters() {
        assert_eq!(cell(&json!("é".repeat(100))).chars().count(), CELL_CHARACTERS_MAX + 1);
    }
}
