//! The rules of `storage.routing`.

use schemars::JsonSchema;
use serde::Deserialize;
use syntrix_storage_core::backend::StoreKind;
use syntrix_storage_core::{Location, SettingsNode};

use crate::finding::{Finding, join};
use crate::plan::{Mirror, Reads, Route, Strategy, Writes};
use crate::report::{Report, did_you_mean};

/// One store under `storage.routing`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub(crate) struct RoutingSettings {
    /// `single` (default), `dual-write` or `read-replica`.
    #[serde(default)]
    pub(crate) strategy: Strategy,
    /// The block with the authority. Default: the section's `backend`.
    pub(crate) primary: Option<String>,
    /// The other block. `single` ignores it.
    pub(crate) shadow: Option<String>,
    /// Who is read: `primary`, `shadow` or `both`.
    pub(crate) reads: Option<Reads>,
    /// Who is written: `primary` or `both`.
    pub(crate) writes: Option<Writes>,
    /// Whether a write waits for the shadow: `background` (default) or `wait`. Only with `dual-write`.
    pub(crate) mirror: Option<Mirror>,
}

/// One store's routing: what it says, and where.
pub(crate) struct Rules<'check> {
    pub(crate) store: StoreKind,
    pub(crate) settings: &'check RoutingSettings,
    /// `None` if the file says nothing about this store's routing.
    pub(crate) node: Option<&'check SettingsNode>,
    /// `storage.routing.document`.
    pub(crate) path: &'check str,
    /// Names of the section's blocks.
    pub(crate) blocks: &'check [&'check str],
    pub(crate) report: &'check mut Report,
}

impl Rules<'_> {
    /// The route over `primary`, which names a block already. Faults go to the findings.
    pub(crate) fn route(mut self, primary: String) -> Route {
        let settings = self.settings;
        match settings.strategy {
            Strategy::Single => {
                self.only("reads", settings.reads, &[Reads::Primary]);
                self.only("writes", settings.writes, &[Writes::Primary]);
                self.no_mirror();
                self.warn_of_ignored_shadow();
                Route::single(primary)
            }
            Strategy::DualWrite => {
                self.only("writes", settings.writes, &[Writes::Both]);
                if self.store != StoreKind::Documents {
                    self.only("reads", settings.reads, &[Reads::Primary]);
                }
                let shadow = self.shadow(&primary);
                let reads = settings.reads.unwrap_or(Reads::Primary);
                let mirror = settings.mirror.unwrap_or_default();
                Route {
                    strategy: settings.strategy,
                    primary,
                    shadow,
                    reads,
                    writes: Writes::Both,
                    mirror,
                }
            }
            Strategy::ReadReplica => {
                self.only_documents();
                self.only("reads", settings.reads, &[Reads::Shadow, Reads::Both]);
                self.only("writes", settings.writes, &[Writes::Primary]);
                self.no_mirror();
                let shadow = self.shadow(&primary);
                let reads = settings.reads.unwrap_or(Reads::Shadow);
                Route { strategy: settings.strategy, shadow, reads, ..Route::single(primary) }
            }
        }
    }

    fn only<T: Copy + PartialEq + ToString>(&mut self, key: &str, given: Option<T>, allowed: &[T]) {
        if given.is_none_or(|given| allowed.contains(&given)) {
            return;
        }
        let words: Vec<String> =
            allowed.iter().map(|word| format!("`{}`", word.to_string())).collect();
        let message = format!(
            "with `strategy: {}` only {} is possible here",
            self.settings.strategy,
            words.join(" or ")
        );
        self.fault(key, message);
    }

    /// A stale answer about an account or a token lets somebody in.
    fn only_documents(&mut self) {
        if self.store != StoreKind::Documents {
            let message = "accounts and revoked tokens are read from the primary: only `single` and `dual-write` are possible here";
            self.fault("strategy", message.into());
        }
    }

    fn no_mirror(&mut self) {
        if self.settings.mirror.is_some() {
            self.fault("mirror", "`mirror` belongs to `strategy: dual-write`".into());
        }
    }

    fn shadow(&mut self, primary: &str) -> Option<String> {
        let Some(shadow) = &self.settings.shadow else {
            let message = format!("`strategy: {}` needs a `shadow`", self.settings.strategy);
            self.fault("shadow", message);
            return None;
        };
        if shadow == primary {
            self.fault("shadow", "the shadow is the primary; name another block".into());
        } else if let Some(fault) = self.no_such_block("shadow", shadow) {
            self.report.findings.push(fault);
        }
        Some(shadow.clone())
    }

    fn warn_of_ignored_shadow(&mut self) {
        let Some(shadow) = &self.settings.shadow else {
            return;
        };
        if let Some(mut warning) = self.no_such_block("shadow", shadow) {
            warning.message =
                format!("`strategy: single` ignores the shadow, and {}", warning.message);
            self.report.warnings.push(
                warning.with_remedy(
                    "remove the line, or add the block before you change the strategy",
                ),
            );
        }
    }

    fn no_such_block(&self, key: &str, name: &str) -> Option<Finding> {
        let node = self.node.and_then(|node| node.get(key))?;
        no_such_block(node, name, self.blocks).map(|finding| finding.at_key(&join(self.path, key)))
    }

    fn fault(&mut self, key: &str, message: String) {
        let location = self.node.map_or(Location::default(), |node| {
            node.get(key).map_or(node.location, |value| value.location)
        });
        self.report
            .findings
            .push(Finding::new(location, message).at_key(&join(self.path, key)).showing_value());
    }
}

/// The fault of `node`, if the block it names is none of `blocks`.
pub(crate) fn no_such_block(node: &SettingsNode, name: &str, blocks: &[&str]) -> Option<Finding> {
    if blocks.contains(&name) {
        return None;
    }
    let shown = if node.secret { "it".to_owned() } else { format!("`{name}`") };
    let hint = did_you_mean(name, blocks);
    let finding =
        Finding::new(node.location, format!("{shown} names no block of this section{hint}"));
    let remedy = match blocks {
        [] => "add a block: a mapping beside `backend` whose key is its name".to_owned(),
        _ => format!("the blocks here are: {}", blocks.join(", ")),
    };
    Some(finding.with_remedy(remedy).showing_value())
}
