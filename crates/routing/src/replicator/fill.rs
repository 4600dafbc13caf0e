//! The copy of what was there before the route, and the removal of what the shadow has too much.
//!
//! Order of the beginning: pin, lease, then the checkpoint with the feed's end as its place, then the first mirrored record,
//! then the first page of the copy. What is committed behind that place comes with the feed; what was committed before it must
//! be visible to the copy. It is, on every backend: memory and SQLite commit under one lock and a place is the number of the
//! last commit; a place of PostgreSQL is a snapshot, and a later snapshot of the same server sees all that an earlier one
//! saw; a place of MongoDB's change stream is majority-committed when it is given out, and the copy reads by majority from
//! the primary. So no wait is needed between the two; a backend whose places run ahead of its reads would need one here.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use syntrix_storage_core::backend::{Applied, DocumentBackend, Ledger, Write};
use syntrix_storage_core::{Document, DocumentPath, Result};

use crate::extra::{BEHIND_REMOVED, removed, scan};
use crate::page_size::PageSize;
use crate::replicator::Interrupt;
use crate::replicator::apply::{Applier, strong};
use crate::replicator::purge;
use crate::replicator::records::{self, FILL, FillBody};
use crate::replicator::throttle::Throttle;

/// Most records read at once.
const PAGE_MAX: usize = 1000;

/// A fill that is under way, and its record.
#[derive(Debug)]
pub(crate) struct Fill<'term> {
    applier: &'term Applier,
    ledger: Arc<dyn Ledger>,
    revision: Option<u64>,
    body: FillBody,
    throttle: Throttle,
    page_size: PageSize,
}

impl<'term> Fill<'term> {
    /// Goes on with the fill `number` where it was left, or begins it.
    pub(crate) async fn resume(
        applier: &'term Applier,
        ledger: &Arc<dyn Ledger>,
        number: u64,
    ) -> Result<Self> {
        let found = records::read::<FillBody>(&**ledger, FILL).await?;
        let revision = found.as_ref().map(|(revision, _)| *revision);
        let fresh = FillBody { fill: number, ..FillBody::default() };
        let body = found.map(|(_, body)| body).filter(|body| body.fill == number);
        Ok(Self {
            applier,
            ledger: Arc::clone(ledger),
            revision,
            body: body.unwrap_or(fresh),
            throttle: Throttle::default(),
            // One page is applied while the next one is read.
            page_size: PageSize::new(PAGE_MAX, applier.options.batch_bytes_max / 2),
        })
    }

    /// Copies to the end, then removes what is too much.
    pub(crate) async fn run(mut self) -> Result<(), Interrupt> {
        self.begin_counting();
        self.copy().await?;
        self.sweep().await?;
        *lock(&self.applier.counts.filling) = None;
        Ok(())
    }

    fn begin_counting(&self) {
        *lock(&self.applier.counts.filling) = Some((Instant::now(), 0));
        tracing::info!(fill = self.body.fill, resumed_at = ?self.body.copied_to, "the shadow is being filled");
    }

    async fn copy(&mut self) -> Result<(), Interrupt> {
        let mut page = self.next_page(self.body.copied_to.clone()).await?;
        while let Some(last) = page.last().map(|last| last.path().clone()) {
            let (count, started) = (page.len() as u64, Instant::now());
            self.page_size.learn(&page);
            let records = self.page_size.records();
            let after = Some(last.as_str().to_owned());
            // The next page is read while this one is applied.
            let (applied, next) = tokio::join!(
                self.applier.apply(page),
                scan(&*self.applier.primary, after.clone(), records)
            );
            applied?;
            page = next?;
            self.body.copied_to = after;
            self.body.copied += count;
            self.save().await?;
            self.count(count);
            self.pause(started.elapsed(), &last).await?;
        }
        self.body.copy_done = true;
        self.save().await
    }

    async fn next_page(&self, after: Option<String>) -> Result<Vec<Document>> {
        match self.body.copy_done {
            true => Ok(Vec::new()),
            false => scan(&*self.applier.primary, after, self.page_size.records()).await,
        }
    }

    fn count(&self, count: u64) {
        if let Some((_, copied)) = &mut *lock(&self.applier.counts.filling) {
            *copied += count;
        }
    }

    async fn pause(&mut self, work: Duration, known: &DocumentPath) -> Result<()> {
        let pause = self.throttle.after(work, self.answer_time(known).await?);
        let shown = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        self.applier.counts.fill_pause_ms.store(shown, Ordering::Relaxed);
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// How long the primary takes for one record: the quicker of two answers, as a single one may be late for no reason of its own.
    async fn answer_time(&self, known: &DocumentPath) -> Result<Duration> {
        let mut quicker = Duration::MAX;
        for _ in 0..2 {
            let started = Instant::now();
            self.applier.primary.get_many(std::slice::from_ref(known), &strong()).await?;
            quicker = quicker.min(started.elapsed());
        }
        Ok(quicker)
    }

    /// Looks at every record of the shadow whether the primary has one. A shadow that began empty has nothing too much, but
    /// one that is filled again may: what was removed while nobody replicated.
    async fn sweep(&mut self) -> Result<(), Interrupt> {
        if self.body.fill <= 1 || self.body.sweep_done {
            return Ok(());
        }
        loop {
            let (after, records) = (self.body.swept_to.clone(), self.page_size.records());
            let page = scan(&*self.applier.shadow, after, records).await?;
            self.page_size.learn(&page);
            let Some(last) = page.last() else { break };
            self.body.swept_to = Some(last.path().as_str().to_owned());
            self.body.removed += self.remove_extras(&page).await?;
            self.save().await?;
        }
        self.body.sweep_done = true;
        self.save().await
    }

    async fn remove_extras(&self, page: &[Document]) -> Result<u64> {
        let paths: Vec<DocumentPath> = page.iter().map(|found| found.path().clone()).collect();
        let rightful = self.applier.primary.get_many(&paths, &strong()).await?;
        let mut removed = 0;
        for (extra, _) in page.iter().zip(rightful).filter(|(_, rightful)| rightful.is_none()) {
            removed += u64::from(self.remove(extra).await?);
        }
        if removed > 0 {
            purge::purge_shadow(&*self.applier.shadow, BEHIND_REMOVED).await?;
        }
        Ok(removed)
    }

    /// Whoever created the path on the primary meanwhile is looked for again afterwards.
    async fn remove(&self, extra: &Document) -> Result<bool> {
        let write = Write::Replace { expected: extra.version(), document: removed(extra) };
        let outcome = self.applier.write(vec![write]).await?.pop().transpose()?;
        self.applier.settle(extra.path()).await?;
        Ok(matches!(outcome, Some(Applied::Yes(_))))
    }

    async fn save(&mut self) -> Result<(), Interrupt> {
        let written = records::write(&*self.ledger, FILL, self.revision, &self.body).await?;
        self.revision = Some(written.ok_or(Interrupt::Lost)?);
        Ok(())
    }
}

/// Whether a database has any record at all.
pub(crate) async fn is_empty(backend: &dyn DocumentBackend) -> Result<bool> {
    Ok(scan(backend, None, 1).await?.is_empty())
}

/// Nothing under this lock can panic half-way.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
