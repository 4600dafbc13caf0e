//! "Did you mean": the nearest of the valid names.

/// The entry of `valid` with the fewest edits to `given`, if that is at most a third of it (and one at least).
pub(super) fn nearest<'valid>(
    given: &str,
    valid: impl IntoIterator<Item = &'valid str>,
) -> Option<&'valid str> {
    let given: Vec<char> = given.chars().flat_map(char::to_lowercase).collect();
    let edits_max = (given.len() / 3).max(1);
    valid
        .into_iter()
        .map(|name| (edits(&given, name), name))
        .filter(|(edits, name)| *edits <= edits_max && *edits < name.chars().count())
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, name)| name)
}

/// Insertions, deletions, replacements and swaps of neighbours between two words, without regard to case.
fn edits(given: &[char], name: &str) -> usize {
    let name: Vec<char> = name.chars().flat_map(char::to_lowercase).collect();
    let mut before_last = Vec::new();
    let mut last: Vec<usize> = (0..=name.len()).collect();
    for (row, left) in given.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, right) in name.iter().enumerate() {
            let replaced = last[column] + usize::from(left != right);
            let mut best = replaced.min(last[column + 1] + 1).min(current[column] + 1);
            if row > 0 && column > 0 && *left == name[column - 1] && given[row - 1] == *right {
                let swapped: &Vec<usize> = &before_last;
                best = best.min(swapped[column - 1] + 1);
            }
            current.push(best);
        }
        before_last = std::mem::replace(&mut last, current);
    }
    last[name.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_keyboard_find_their_name() {
        let valid = ["dsn", "softDeleteRetention", "path", "primary"];
        for (given, meant) in [
            ("dns", Some("dsn")),
            ("softdeleteretention", Some("softDeleteRetention")),
            ("soft_delete_retention", Some("softDeleteRetention")),
            ("Path", Some("path")),
            ("prmary", Some("primary")),
            ("url", None),
            ("", None),
        ] {
            assert_eq!(nearest(given, valid), meant, "{given}");
        }
    }
}
