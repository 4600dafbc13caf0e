//! How a primary is known that went back to an older state.
//!
//! The feed of a store may name only the last write of each record, so a place does not tell whether the history behind it is
//! still the one it was taken from. Therefore a number is left on the primary, anew before each time the shadow's record is
//! moved on: everything up to the place was written before the number was. A primary that was restored to a state before that
//! has another number, however far it was written since.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use syntrix_storage_core::backend::{Ledger, StoreId};
use syntrix_storage_core::{Error, ErrorKind, Result, Retry};

use crate::replicator::records;
use crate::replicator::{Interrupt, Outcome};

/// On the primary, one for each shadow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct MarkBody {
    mark: u64,
    /// The one before: the shadow's record may not have been moved on to the last one.
    before: u64,
}

/// The mark of one shadow.
#[derive(Debug)]
pub(super) struct Mark {
    ledger: Arc<dyn Ledger>,
    name: String,
    revision: Option<u64>,
    body: MarkBody,
}

impl Mark {
    /// As it is now. `marks` begins its name.
    pub(super) async fn read(
        ledger: &Arc<dyn Ledger>,
        marks: &str,
        shadow: StoreId,
    ) -> Result<Self> {
        let name = format!("{marks}{}", records::id_text(shadow));
        let (revision, body) = records::read::<MarkBody>(&**ledger, &name).await?.unzip();
        Ok(Self { ledger: Arc::clone(ledger), name, revision, body: body.unwrap_or_default() })
    }

    /// Whether the primary has all that it had when the mark was `known`.
    pub(super) fn continues(&self, known: u64) -> bool {
        self.revision.is_some() && (known == self.body.mark || known == self.body.before)
    }

    /// Another mark, while the shadow's record has `known`. Fails if somebody else set it, or the primary went back meanwhile.
    pub(super) async fn renew(&mut self, known: u64) -> Outcome<u64> {
        let body = MarkBody { mark: fastrand::u64(1..), before: known };
        let written = records::write(&*self.ledger, &self.name, self.revision, &body).await?;
        (self.revision, self.body) = (Some(written.ok_or_else(moved)?), body);
        Ok(body.mark)
    }
}

fn moved() -> Interrupt {
    Interrupt::Failed(
        Error::new(ErrorKind::Conflict, "replicate")
            .with_retry(Retry::Safe)
            .with_message("the mark on the primary is not the one that was set last; everything is looked at anew"),
    )
}
