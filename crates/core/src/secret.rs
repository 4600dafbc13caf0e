//! placeholder
/// Placeholder
#[derive(Clone, Debug)]
pub struct Secret(());
