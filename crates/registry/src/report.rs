//! Collects what a check finds.

use syntrix_storage_core::{Error, SettingsNode, SettingsValue};

use crate::finding::{Finding, join};

/// Most faults of one block; more of them help nobody.
const FAULTS_MAX: usize = 32;

/// How examples write a value they leave open.
const PLACEHOLDER: &str = "...";

/// Faults and warnings so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) findings: Vec<Finding>,
    pub(crate) warnings: Vec<Finding>,
}

impl Report {
    /// Reads `node` and reports every faulty key in it, though a reader stops at the first: the faulty entry is taken out and
    /// the rest read again. What only shows then and names no key that is there follows from that, and is not reported.
    ///
    /// A faulty `...` is a warning: it stands for a value left open, so the default holds, or the setting is still missing.
    pub(crate) fn read<T>(
        &mut self,
        mut node: SettingsNode,
        path: &str,
        read: impl Fn(&SettingsNode) -> Result<T, Error>,
    ) -> Reading<T> {
        let known = self.findings.len();
        let mut left_open = None;
        loop {
            let error = match read(&node) {
                Ok(value) if self.findings.len() == known => return Reading::Value(value),
                Ok(_) => return Reading::Faulty,
                Err(error) => error,
            };
            let taken = take_out(&mut node, &error);
            let fallback = taken.as_ref().map_or(node.location, |faulty| faulty.location);
            let finding = Finding::from_error(&error, path, fallback);
            match &taken {
                Some(faulty) if faulty.as_text() == Some(PLACEHOLDER) => {
                    left_open = first_key(&error).map(str::to_owned);
                    self.warn_of_placeholder(finding)
                }
                None if self.findings.len() > known => return Reading::Faulty,
                None if left_open.is_some() => {
                    return left_open.map_or(Reading::Faulty, Reading::LeftOpen);
                }
                _ => self.findings.push(finding),
            }
            if taken.is_none() || self.findings.len() - known >= FAULTS_MAX {
                return Reading::Faulty;
            }
        }
    }

    /// The node must be a mapping or nothing.
    pub(crate) fn expect_mapping(&mut self, node: &SettingsNode, path: &str) {
        if !matches!(node.value, SettingsValue::Map(_) | SettingsValue::Null) {
            let message = format!("expected a mapping, found {}", node.kind_name());
            self.findings.push(Finding::new(node.location, message).at_key(path));
        }
    }

    /// The mapping must have no other keys than `known`.
    pub(crate) fn only_keys(&mut self, node: &SettingsNode, path: &str, known: &[&str]) {
        for (key, location, _) in node.entries() {
            if !known.contains(&key.as_str()) {
                let message = format!("unknown key `{key}`{}", did_you_mean(key, known));
                let finding = Finding::new(*location, message).at_key(&join(path, key));
                self.findings
                    .push(finding.with_remedy(format!("the keys here are: {}", known.join(", "))));
            }
        }
    }

    fn warn_of_placeholder(&mut self, finding: Finding) {
        let message = "`...` leaves the value open: the default holds".into();
        self.warnings.push(Finding { message, ..finding });
    }
}

/// What came of reading a node.
pub(crate) enum Reading<T> {
    Value(T),
    /// Only this setting is missing, which has no default: the file has `...` there.
    LeftOpen(String),
    Faulty,
}

impl<T> Reading<T> {
    pub(crate) fn value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::LeftOpen(_) | Self::Faulty => None,
        }
    }
}

fn first_key(error: &Error) -> Option<&str> {
    error.fact("key")?.split(['.', '[']).next()
}

/// Takes the entry of the error's key out of the mapping and returns its value.
fn take_out(node: &mut SettingsNode, error: &Error) -> Option<SettingsNode> {
    let key = first_key(error)?;
    let SettingsValue::Map(entries) = &mut node.value else {
        return None;
    };
    let position = entries.iter().position(|(name, _, _)| name == key)?;
    Some(entries.remove(position).2)
}

/// The end of a message about a name that is none of `valid`.
pub(crate) fn did_you_mean(given: &str, valid: &[&str]) -> String {
    let nearest = SettingsNode::nearest(given, valid.iter().copied());
    nearest.map_or(String::new(), |name| format!("; did you mean `{name}`?"))
}
