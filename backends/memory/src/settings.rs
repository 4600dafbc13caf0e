//! What one `memory` block may say.

use schemars::JsonSchema;
use serde::Deserialize;
use syntrix_storage_core::{HumanDuration, Result, Retention, SettingsNode};

/// Settings of one `memory` block. Unknown keys are rejected.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Settings {
    /// How long tombstones stay. Default: `30d`.
    soft_delete_retention: HumanDuration,
    /// How long the change history stays; at most `softDeleteRetention`. Default: `72h`.
    watch_retention: HumanDuration,
}

impl Default for Settings {
    fn default() -> Self {
        let retention = Retention::default();
        Self {
            soft_delete_retention: HumanDuration(retention.soft_delete()),
            watch_retention: HumanDuration(retention.watch()),
        }
    }
}

/// Reads and checks a block.
pub(crate) fn retention(block: &SettingsNode) -> Result<Retention> {
    let settings: Settings = block.decode()?;
    Retention::new(settings.soft_delete_retention.0, settings.watch_retention.0)
        .map_err(|_| block.invalid("watchRetention", "must not be longer than softDeleteRetention"))
}
