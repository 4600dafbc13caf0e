//! Puts the values of `${NAME}` and `{file: …}` into the tree, after parsing: a value can never become YAML.

use std::path::Path;

use syntrix_storage_core::{Location, SettingsNode, SettingsValue};

use crate::environment::Environment;
use crate::finding::{Finding, join};
use crate::secret_file;

/// Resolves every reference in `root` and returns what could not be resolved; such values stay as they are.
pub(crate) fn resolve(root: &mut SettingsNode, environment: &dyn Environment) -> Vec<Finding> {
    let mut resolver = Resolver { environment, findings: Vec::new() };
    resolver.node(root, "");
    resolver.findings
}

struct Resolver<'environment> {
    environment: &'environment dyn Environment,
    findings: Vec<Finding>,
}

impl Resolver<'_> {
    fn node(&mut self, node: &mut SettingsNode, path: &str) {
        if let Some(file) = file_reference(node) {
            let file = file.clone();
            return self.file(node, &file, path);
        }
        let location = node.location;
        match &mut node.value {
            SettingsValue::Text(text) => match self.expand(text) {
                Ok(Some(expanded)) => {
                    *text = expanded.text;
                    node.secret |= expanded.resolved;
                }
                Ok(None) => {}
                Err(finding) => self.report(finding, location, path),
            },
            SettingsValue::List(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.node(item, &join(path, &format!("[{index}]")));
                }
            }
            SettingsValue::Map(entries) => {
                for (key, _, value) in entries {
                    self.node(value, &join(path, key));
                }
            }
            _ => {}
        }
    }

    fn report(&mut self, finding: Finding, location: Location, path: &str) {
        self.findings.push(Finding { location, ..finding }.at_key(path));
    }

    fn file(&mut self, node: &mut SettingsNode, name: &str, path: &str) {
        match self.file_content(name) {
            Ok(content) => {
                node.value = SettingsValue::Text(content);
                node.secret = true;
            }
            Err(finding) => self.report(finding, node.location, path),
        }
    }

    fn file_content(&self, name: &str) -> Result<String, Finding> {
        let expanded = self.expand(name)?;
        let name = expanded.map_or_else(|| name.to_owned(), |expanded| expanded.text);
        let path = self.environment.directory().join(Path::new(&name));
        secret_file::read(&path).map_err(|refusal| {
            let message = format!("the file `{}` {}", path.display(), refusal.message);
            Finding { remedy: refusal.remedy, ..finding(message) }
        })
    }

    /// `None` if there is nothing to expand.
    fn expand(&self, text: &str) -> Result<Option<Expanded>, Finding> {
        if !text.contains("${") {
            return Ok(None);
        }
        let mut expanded = Expanded { text: String::with_capacity(text.len()), resolved: false };
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            let (before, reference) = rest.split_at(start);
            if let Some(literal) = before.strip_suffix('$') {
                expanded.text.push_str(literal);
                expanded.text.push_str("${");
                rest = &reference[2..];
                continue;
            }
            let (name, after) = variable_name(reference)?;
            expanded.text.push_str(before);
            expanded.text.push_str(&self.variable(name)?);
            expanded.resolved = true;
            rest = after;
        }
        expanded.text.push_str(rest);
        Ok(Some(expanded))
    }

    fn variable(&self, name: &str) -> Result<String, Finding> {
        self.environment.variable(name).ok_or_else(|| {
            finding(format!("the environment variable `{name}` is not set"))
                .with_remedy(format!("set {name} for this process, or write {{file: …}} instead"))
        })
    }
}

struct Expanded {
    text: String,
    resolved: bool,
}

fn finding(message: impl Into<String>) -> Finding {
    Finding::new(Location::default(), message)
}

/// The path, if the node is a mapping with the one key `file` and text in it.
fn file_reference(node: &SettingsNode) -> Option<&String> {
    match node.entries() {
        [(key, _, SettingsNode { value: SettingsValue::Text(path), .. })] if key == "file" => {
            Some(path)
        }
        _ => None,
    }
}

/// Name and rest of text that begins with `${`.
fn variable_name(reference: &str) -> Result<(&str, &str), Finding> {
    let (name, after) = reference[2..].split_once('}').ok_or_else(malformed)?;
    if is_name(name) { Ok((name, after)) } else { Err(malformed()) }
}

fn is_name(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn malformed() -> Finding {
    finding("a reference to the environment is written ${NAME}, with letters, digits and _ only")
        .with_remedy("for the text ${ itself write $${")
}

#[cfg(test)]
mod tests;
