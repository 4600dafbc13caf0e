//! Closing.

use crate::Case;

pub(super) static CASES: &[Case] = &[];
