//! Bad input.

use crate::Case;

pub(super) static CASES: &[Case] = &[];
