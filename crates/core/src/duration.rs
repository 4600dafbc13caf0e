//! placeholder
/// a
#[derive(Clone, Debug)]
pub struct HumanDuration(pub std::time::Duration);
