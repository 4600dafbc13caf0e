//! A line of the file in which only what is known to be harmless can be read.
//!
//! The line is not searched for things to hide, since what a secret looks like is not known: it starts hidden, and the keys of
//! the parsed tree are uncovered at their places.

use std::collections::HashMap;

use syntrix_storage_core::{Location, SettingsNode, SettingsValue};

/// Longer lines are not shown.
const LINE_CHARS_MAX: usize = 160;

/// The keys by line, and the text values by place.
#[derive(Default)]
pub(super) struct Words {
    keys: HashMap<u32, Vec<(u32, String)>>,
    values: HashMap<Location, String>,
}

impl Words {
    pub(super) fn of(root: &SettingsNode) -> Self {
        let mut words = Self::default();
        words.collect(root);
        words
    }

    fn collect(&mut self, node: &SettingsNode) {
        match &node.value {
            SettingsValue::Text(text) if !node.secret => {
                self.values.insert(node.location, text.clone());
            }
            SettingsValue::List(items) => items.iter().for_each(|item| self.collect(item)),
            SettingsValue::Map(entries) => {
                for (key, location, value) in entries {
                    let line = self.keys.entry(location.line).or_default();
                    line.push((location.column, key.clone()));
                    self.collect(value);
                }
            }
            _ => {}
        }
    }

    /// The line with `…` in place of all but keys, and the number of characters before `place` in it.
    pub(super) fn mask(
        &self,
        line: &str,
        place: Location,
        shows_value: bool,
    ) -> Option<(String, usize)> {
        let line: Vec<char> =
            line.chars().map(|char| if char == '\t' { ' ' } else { char }).collect();
        if line.len() > LINE_CHARS_MAX {
            return None;
        }
        let mut visible: Vec<bool> = vec![false; line.len()];
        let indent = line.iter().take_while(|char| **char == ' ').count();
        visible[..indent].fill(true);
        for (column, key) in self.keys.get(&place.line).into_iter().flatten() {
            uncover(&line, &mut visible, *column, key, true);
        }
        if let Some(value) = self.values.get(&place).filter(|_| shows_value) {
            uncover(&line, &mut visible, place.column, value, false);
        }
        Some(collapse(&line, &visible, column_index(place.column)))
    }
}

fn column_index(column: u32) -> usize {
    usize::try_from(column).unwrap_or(usize::MAX).saturating_sub(1)
}

/// Uncovers `word` at `column`, plain or in quotes, if it stands there letter by letter; after a key also the colon.
fn uncover(line: &[char], visible: &mut [bool], column: u32, word: &str, is_key: bool) {
    let start = column_index(column);
    let Some(rest) = line.get(start..) else {
        return;
    };
    let forms = [word.to_owned(), format!("'{word}'"), format!("\"{word}\"")];
    let Some(length) = forms.iter().find_map(|form| starts_with(rest, form)) else {
        return;
    };
    let colon = usize::from(is_key && rest.get(length) == Some(&':'));
    visible[start..start + length + colon].fill(true);
}

fn starts_with(line: &[char], form: &str) -> Option<usize> {
    let length = form.chars().count();
    let matches =
        line.len() >= length && form.chars().zip(line).all(|(left, right)| left == *right);
    matches.then_some(length)
}

/// Replaces each run of hidden characters by one `…`, and drops a comment at the end.
fn collapse(line: &[char], visible: &[bool], place: usize) -> (String, usize) {
    let mut shown: Vec<char> = Vec::new();
    let mut caret = None;
    let mut index = 0;
    while index < line.len() {
        let hidden = visible[index..].iter().take_while(|visible| !**visible).count();
        if hidden == 0 {
            if index == place {
                caret = Some(shown.len());
            }
            shown.push(line[index]);
            index += 1;
            continue;
        }
        let run = &line[index..index + hidden];
        shown.extend(run.first().filter(|first| **first == ' '));
        if (index..index + hidden).contains(&place) {
            caret = Some(shown.len());
        }
        match run.iter().find(|char| **char != ' ') {
            Some('#') => break,
            Some(_) => shown.push('…'),
            None => {}
        }
        index += hidden;
        if index < line.len() && run.last() == Some(&' ') && run.iter().any(|char| *char != ' ') {
            shown.push(' ');
        }
    }
    let shown: String = shown.into_iter().collect();
    let caret = caret.unwrap_or_else(|| shown.trim_end().chars().count());
    (shown.trim_end().to_owned(), caret)
}
