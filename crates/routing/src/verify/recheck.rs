//! What differed at first is looked at again, each time behind a barrier of its own, until it is certain.

use syntrix_storage_core::{Document, DocumentPath, ITEMS_MAX, Result};

use super::entry::{Entry, first_difference};
use super::report::{Finding, Verdict};
use super::{Depth, Progress, Report, Verify};
use crate::extra::migrate;

/// One document at the three moments of a look: the primary before the barrier, the shadow behind it, the primary again.
struct Look {
    path: DocumentPath,
    before: Option<Document>,
    shadow: Option<Document>,
    after: Option<Document>,
}

/// What a look says.
enum Outcome {
    Equal,
    Differs(Verdict),
    InFlight,
}

impl Verify<'_> {
    pub(super) async fn recheck(
        &self,
        mut doubtful: Vec<DocumentPath>,
        progress: &mut Progress,
        report: Report<'_>,
    ) -> Result<()> {
        for round in 0..self.options.rechecks_max {
            if doubtful.is_empty() {
                return Ok(());
            }
            if round > 0 {
                tokio::time::sleep(self.options.recheck_pause).await;
            }
            let mut in_flight = Vec::new();
            for paths in doubtful.chunks(ITEMS_MAX) {
                for look in self.look(paths).await? {
                    in_flight.extend(self.settle(look, progress, report)?);
                }
            }
            doubtful = in_flight;
        }
        for path in doubtful {
            progress.counts.count(Verdict::Unsettled);
            let look = Look { path, before: None, shadow: None, after: None };
            report(self.finding(&look, Verdict::Unsettled))?;
        }
        Ok(())
    }

    async fn look(&self, paths: &[DocumentPath]) -> Result<Vec<Look>> {
        let before = self.primary.get_many(paths, &migrate()).await?;
        let context = self.pass().await?;
        let shadow = self.read_when_reached(|| self.shadow.get_many(paths, &context)).await?;
        let after = self.primary.get_many(paths, &migrate()).await?;
        let sides = paths.iter().zip(before).zip(shadow).zip(after);
        Ok(sides
            .map(|(((path, before), shadow), after)| Look {
                path: path.clone(),
                before,
                shadow,
                after,
            })
            .collect())
    }

    /// Counts and reports what is certain; returns the path of what is not.
    fn settle(
        &self,
        look: Look,
        progress: &mut Progress,
        report: Report<'_>,
    ) -> Result<Option<DocumentPath>> {
        match self.judge(&look) {
            Outcome::InFlight => return Ok(Some(look.path)),
            Outcome::Differs(Verdict::Missing) if self.is_expired(look.before.as_ref()) => {
                progress.expired += 1;
            }
            Outcome::Equal => {
                progress.settled += 1;
                // The very documents that were compared: the primary may be further by now.
                for document in look.shadow.iter() {
                    let entry = Entry::of(document, self.options.depth);
                    progress.primary.add(&entry);
                    progress.shadow.add(&entry);
                }
            }
            Outcome::Differs(verdict) => {
                self.add(look.before.as_ref(), &mut progress.primary);
                self.add(look.shadow.as_ref(), &mut progress.shadow);
                progress.counts.count(verdict);
                report(self.finding(&look, verdict))?;
            }
        }
        Ok(None)
    }

    fn add(&self, document: Option<&Document>, side: &mut super::digest::SideDigest) {
        if let Some(document) = document {
            side.add(&Entry::of(document, self.options.depth));
        }
    }

    /// A difference counts if the shadow differs in the same way from what the primary was before and what it is behind.
    fn judge(&self, look: &Look) -> Outcome {
        let shadow = look.shadow.as_ref();
        let first = self.verdict(look.before.as_ref(), shadow);
        let second = self.verdict(look.after.as_ref(), shadow);
        match (first, second) {
            (None, _) | (_, None) => Outcome::Equal,
            (Some(first), Some(second)) if first == second => Outcome::Differs(first),
            _ => Outcome::InFlight,
        }
    }

    fn verdict(&self, primary: Option<&Document>, shadow: Option<&Document>) -> Option<Verdict> {
        match (primary, shadow) {
            (None, None) => None,
            (Some(_), None) => Some(Verdict::Missing),
            (None, Some(_)) => Some(Verdict::Extra),
            (Some(primary), Some(shadow)) if primary.version() > shadow.version() => {
                Some(Verdict::Stale)
            }
            (Some(primary), Some(shadow)) if primary.version() < shadow.version() => {
                Some(Verdict::Extra)
            }
            (Some(primary), Some(shadow)) => {
                let digests =
                    [primary, shadow].map(|side| Entry::of(side, self.options.depth).digest);
                (digests[0] != digests[1]).then_some(Verdict::Different)
            }
        }
    }

    /// The shadow is purged first, so for a moment only the primary still has an expired tombstone.
    fn is_expired(&self, primary: Option<&Document>) -> bool {
        let (Some(document), Some(limit)) = (primary, self.options.expired_before) else {
            return false;
        };
        document.is_deleted() && document.updated_at() < limit
    }

    fn finding(&self, look: &Look, verdict: Verdict) -> Finding {
        let both = look.before.as_ref().zip(look.shadow.as_ref());
        let both = both.filter(|_| self.options.depth == Depth::Deep);
        let difference = both.and_then(|(primary, shadow)| first_difference(primary, shadow));
        let version = |side: &Option<Document>| side.as_ref().map(|side| side.version().get());
        Finding {
            verdict,
            id: format!("{:?}", look.path.key()),
            path: look.path.clone(),
            primary_version: version(&look.before),
            shadow_version: version(&look.shadow),
            difference: difference.map(|difference| difference.shown(self.options.show_values)),
        }
    }
}
