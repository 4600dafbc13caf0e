//! One store's section: the default block, and the blocks their factories accept.

use syntrix_storage_core::backend::{BackendFactory, StoreKind, StoreSet};
use syntrix_storage_core::{Location, SettingsNode, SettingsValue};

use crate::factories::Factories;
use crate::finding::{Finding, join};
use crate::left_open::LeftOpen;
use crate::plan::ConfiguredBlock;
use crate::report::{Reading, Report, did_you_mean};

pub(crate) const BACKEND: &str = "backend";
pub(crate) const KIND: &str = "kind";

/// A section as it stands in the file.
pub(crate) struct Section<'file> {
    pub(crate) store: StoreKind,
    /// `storage.document`.
    pub(crate) path: String,
    /// Of the section's key.
    pub(crate) location: Location,
    pub(crate) backend: Option<&'file SettingsNode>,
    blocks: Vec<Block<'file>>,
}

struct Block<'file> {
    name: &'file str,
    location: Location,
    node: &'file SettingsNode,
}

impl<'file> Section<'file> {
    /// Sorts the entries of the section `node` into `backend` and blocks.
    pub(crate) fn read(
        store: StoreKind,
        path: String,
        location: Location,
        node: &'file SettingsNode,
        report: &mut Report,
    ) -> Self {
        let mut section = Self { store, path, location, backend: None, blocks: Vec::new() };
        for (name, location, node) in node.entries() {
            match (name.as_str(), &node.value) {
                (BACKEND, SettingsValue::Text(_)) => section.backend = Some(node),
                (BACKEND, _) => {
                    section.backend = Some(node);
                    let message =
                        format!("expected the name of a block, found {}", node.kind_name());
                    let finding = Finding::new(node.location, message);
                    report.findings.push(finding.at_key(&join(&section.path, name)));
                }
                (_, SettingsValue::Map(_) | SettingsValue::Null) => {
                    section.blocks.push(Block { name, location: *location, node });
                }
                _ => report.findings.push(section.unknown_key(name, *location)),
            }
        }
        section
    }

    /// The names of the blocks, in the order of the file.
    pub(crate) fn block_names(&self) -> Vec<&'file str> {
        self.blocks.iter().map(|block| block.name).collect()
    }

    /// Hands every block to its factory.
    pub(crate) fn configure(
        &self,
        factories: &Factories,
        report: &mut Report,
    ) -> Vec<ConfiguredBlock> {
        self.blocks
            .iter()
            .filter_map(|block| self.configure_block(block, factories, report))
            .collect()
    }

    fn configure_block(
        &self,
        block: &Block<'_>,
        factories: &Factories,
        report: &mut Report,
    ) -> Option<ConfiguredBlock> {
        let path = join(&self.path, block.name);
        let factory = match self.factory(block, &path, factories) {
            Ok(factory) => factory,
            Err(finding) => {
                report.findings.push(*finding);
                return None;
            }
        };
        let provider = match report.read(block.settings(), &path, |node| factory.configure(node)) {
            Reading::Value(provider) => provider,
            Reading::LeftOpen(key) => Box::new(LeftOpen { path, key }),
            Reading::Faulty => return None,
        };
        let (name, kind) = (block.name.to_owned(), factory.kind());
        Some(ConfiguredBlock { name, kind, settings: block.settings(), provider })
    }

    fn factory<'factories>(
        &self,
        block: &Block<'_>,
        path: &str,
        factories: &'factories Factories,
    ) -> Result<&'factories dyn BackendFactory, Box<Finding>> {
        let (kind, location) = block.kind(path)?;
        let path = if location == block.location { path.to_owned() } else { join(path, KIND) };
        let Some(factory) = factories.get(kind) else {
            return Err(Box::new(unknown_kind(kind, location, factories).at_key(&path)));
        };
        if factory.stores().contains(self.store) {
            return Ok(factory);
        }
        Err(Box::new(not_offered(factory, self.store, location, factories).at_key(&path)))
    }

    fn unknown_key(&self, name: &str, location: Location) -> Finding {
        let hint = did_you_mean(name, &[BACKEND]);
        Finding::new(location, format!("unknown key `{name}`{hint}"))
            .at_key(&join(&self.path, name))
            .with_remedy("a section has `backend` and blocks, and a block is a mapping")
    }
}

impl Block<'_> {
    /// The kind, and the place that says it: the value of `kind`, or the block's own key.
    fn kind(&self, path: &str) -> Result<(&str, Location), Box<Finding>> {
        let Some(node) = self.node.get(KIND) else {
            return Ok((self.name, self.location));
        };
        let fault = |message: String| {
            Box::new(Finding::new(node.location, message).at_key(&join(path, KIND)))
        };
        match &node.value {
            SettingsValue::Text(_) if node.secret => {
                Err(fault("the kind must stand in the file itself".into()))
            }
            SettingsValue::Text(kind) => Ok((kind, node.location)),
            _ => Err(fault(format!("expected a kind of backend, found {}", node.kind_name()))),
        }
    }

    /// The block without `kind`, placed at its key so that a missing setting is reported there.
    fn settings(&self) -> SettingsNode {
        let entries =
            self.node.entries().iter().filter(|(key, _, _)| key != KIND).cloned().collect();
        SettingsNode::new(SettingsValue::Map(entries), self.location)
    }
}

fn unknown_kind(kind: &str, location: Location, factories: &Factories) -> Finding {
    let kinds = factories.kinds();
    let hint = did_you_mean(kind, &kinds);
    Finding::new(location, format!("there is no backend of kind `{kind}`{hint}"))
        .with_remedy(format!(
            "the kinds of this build, a cargo feature each, are: {}; a block of another name says its `kind`",
            kinds.join(", ")
        ))
        .showing_value()
}

fn not_offered(
    factory: &dyn BackendFactory,
    store: StoreKind,
    location: Location,
    factories: &Factories,
) -> Finding {
    let (kind, store_name) = (factory.kind(), store.as_str());
    let offered = offered(factory.stores());
    let message = format!(
        "the backend `{kind}` offers {offered} only; {store_name} on it could not give the same answers as elsewhere"
    );
    Finding::new(location, message)
        .with_remedy(format!(
            "for {store_name} use one of: {}",
            factories.kinds_for(store).join(", ")
        ))
        .showing_value()
}

fn offered(stores: StoreSet) -> String {
    let names: Vec<&str> = StoreKind::ALL
        .into_iter()
        .filter(|store| stores.contains(*store))
        .map(StoreKind::as_str)
        .collect();
    if names.is_empty() { "nothing".into() } else { names.join(" and ") }
}
