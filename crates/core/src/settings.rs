//! placeholder
/// a
#[derive(Clone, Debug)]
pub struct SettingsNode;
/// a
#[derive(Clone, Debug)]
pub struct Location;
/// a
#[derive(Clone, Debug)]
pub struct SettingsValue;
