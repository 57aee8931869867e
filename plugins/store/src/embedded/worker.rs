//! What the store's thread does: requests, and once a second the housekeeping.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use turnpike_api::{Clock, StoreError};

use super::database::{Database, Intent};
use super::desk::{Request, View};
use super::failure::{Failure, OpenError};
use super::journal::{self, Complete, Journal, Segment};
use super::sums::Sums;
use super::{draws, fold, news, records};

/// Ended records, ended claims and old notices are looked for this often.
const SWEEP_EVERY: Duration = Duration::from_secs(30);

pub(super) struct Worker {
    database: Database,
    clock: Arc<dyn Clock>,
    /// The owner's part; others have none.
    keeping: Option<Keeping>,
}

/// What comes with owning the store.
pub(super) struct Keeping {
    pub(super) journal: Arc<Journal>,
    /// The lines that were damaged and passed over.
    pub(super) damaged: Arc<AtomicU64>,
    /// Held for as long as the store is open.
    pub(super) _lock: File,
    /// A journal that is complete and not folded yet.
    rotated: Option<Complete>,
    fold_every: Duration,
    next_fold: Instant,
    next_sweep: Instant,
    /// Whether the last housekeeping went well: a disk that is full is told once.
    well: bool,
}

impl Worker {
    pub(super) fn beside(database: Database, clock: Arc<dyn Clock>) -> Self {
        Self {
            database,
            clock,
            keeping: None,
        }
    }

    /// Takes over what an earlier process left, and begins a journal of its own.
    pub(super) fn owner(
        mut database: Database,
        clock: Arc<dyn Clock>,
        lock: File,
        fold_every: Duration,
    ) -> Result<Self, OpenError> {
        let damaged = Arc::new(AtomicU64::new(0));
        let path = database.path().to_owned();
        let opening = |failure: Failure| failure.opening(&path);
        let (last, found) = database
            .transact(Intent::Write, |db| {
                let found = journal::segments(&path)?;
                let (mut sums, mut last) = (Sums::default(), fold::folded(db)?);
                for segment in found.iter().filter(|segment| segment.seq > last) {
                    note_damage(&damaged, segment, fold::read(segment, &mut sums)?);
                }
                last = found.last().map_or(last, |segment| last.max(segment.seq));
                fold::write(db, &sums, last)?;
                draws::take_over(db, clock.now())?;
                Ok((last, found))
            })
            .map_err(opening)?;
        found.iter().for_each(Segment::remove);
        let now = Instant::now();
        let keeping = Keeping {
            journal: Arc::new(Journal::begin(&path, last + 1).map_err(opening)?),
            damaged,
            _lock: lock,
            rotated: None,
            fold_every,
            next_fold: now + fold_every,
            next_sweep: now,
            well: true,
        };
        Ok(Self {
            database,
            clock,
            keeping: Some(keeping),
        })
    }

    pub(super) fn keeping(&self) -> Option<&Keeping> {
        self.keeping.as_ref()
    }

    /// When there is housekeeping to do.
    pub(super) fn due(&self) -> Option<Instant> {
        self.keeping.as_ref().map(|keeping| keeping.next_fold)
    }

    pub(super) fn is_due(&self) -> bool {
        self.due().is_some_and(|due| due <= Instant::now())
    }

    pub(super) fn serve(&mut self, batch: Vec<Request>) {
        let (counters, others) = batch
            .into_iter()
            .partition(|request| request.about().counters);
        self.transact(others);
        self.count(counters);
    }

    /// Requests about what was recorded: with it folded in, the tables have it all.
    ///
    /// What is added up in memory could go into their answers instead. But it lies apart, thread by
    /// thread, and these are asked for some thousand times less often than a call is recorded.
    fn count(&mut self, batch: Vec<Request>) {
        if batch.is_empty() {
            return;
        }
        match self.fold() {
            Ok(()) => self.transact(batch),
            Err(failure) => answer(batch, &Err(failure.told(self.database.path()))),
        }
    }

    fn transact(&mut self, mut batch: Vec<Request>) {
        if batch.is_empty() {
            return;
        }
        let about = || batch.iter().map(|request| request.about());
        let intent = match about().any(|about| about.intent == Intent::Write) {
            true => Intent::Write,
            false => Intent::Read,
        };
        let unfolded = self.keeping.is_none() && about().any(|about| about.counters);
        let (now, path) = (self.clock.now(), self.database.path().to_owned());
        // Opened before the transaction sees the tables: a journal that is folded and removed
        // from then on is either in the tables or still in our hands.
        let segments = match unfolded {
            true => journal::segments(&path),
            false => Ok(Vec::new()),
        };
        let outcome = self.database.transact(intent, |db| {
            let unfolded = fold::unfolded(db, &segments?)?;
            let view = View {
                db,
                now,
                unfolded: &unfolded,
            };
            batch.iter_mut().try_for_each(|request| request.run(&view))
        });
        answer(batch, &outcome.map_err(|failure| failure.told(&path)));
    }

    /// Folds what was recorded up to now into the tables.
    fn fold(&mut self) -> Result<(), Failure> {
        // One that failed before comes first: the tables know only the number of the last.
        self.fold_rotated()?;
        if let Some(keeping) = &mut self.keeping {
            keeping.rotated = keeping.journal.rotate()?;
        }
        self.fold_rotated()
    }

    fn fold_rotated(&mut self) -> Result<(), Failure> {
        let Some(keeping) = &mut self.keeping else {
            return Ok(());
        };
        let Some(Complete { segment, sums }) = &keeping.rotated else {
            return Ok(());
        };
        let (mut read, mut damaged) = (Sums::default(), 0);
        if sums.is_none() {
            damaged = fold::read(segment, &mut read)?;
        }
        let sums = sums.as_ref().unwrap_or(&read);
        self.database
            .transact(Intent::Write, |db| fold::write(db, sums, segment.seq))?;
        note_damage(&keeping.damaged, segment, damaged);
        segment.remove();
        keeping.rotated = None;
        Ok(())
    }

    pub(super) fn tick(&mut self) {
        let done = self.fold().and_then(|()| self.sweep());
        let Some(keeping) = &mut self.keeping else {
            return;
        };
        keeping.next_fold = Instant::now() + keeping.fold_every;
        match &done {
            Err(error) if keeping.well => tracing::error!(%error, "usage stays in the journal"),
            Ok(()) if !keeping.well => tracing::info!("the store is written to again"),
            _ => {}
        }
        keeping.well = done.is_ok();
    }

    fn sweep(&mut self) -> Result<(), Failure> {
        let Some(keeping) = &mut self.keeping else {
            return Ok(());
        };
        if Instant::now() < keeping.next_sweep {
            return Ok(());
        }
        keeping.next_sweep = Instant::now() + SWEEP_EVERY;
        let now = self.clock.now();
        self.database.transact(Intent::Write, |db| {
            records::sweep(db, now)?;
            draws::sweep(db, now)?;
            news::prune(db, now)
        })
    }

    pub(super) fn end(mut self) -> Result<(), StoreError> {
        let folded = self.fold();
        if let Some(keeping) = &self.keeping {
            keeping.journal.end();
            self.database.checkpoint();
        }
        folded.map_err(|failure| failure.told(self.database.path()))
    }
}

fn answer(batch: Vec<Request>, outcome: &Result<(), StoreError>) {
    for request in batch {
        request.answer(outcome);
    }
}

fn note_damage(count: &AtomicU64, segment: &Segment, lines: u64) {
    if lines > 0 {
        count.fetch_add(lines, Ordering::Relaxed);
        let path = segment.path.display();
        tracing::warn!(lines, %path, "damaged lines of a journal were passed over");
    }
}
