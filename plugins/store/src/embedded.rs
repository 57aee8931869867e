//! The store of a single node: a SQLite file, and journals beside it.
//!
//! What a call used goes into a journal, with one write for all calls that end together
//! ([`notes`]), and is added up ([`tally`]). About once a second the sums go into the tables and the
//! journal goes, so that each entry is counted exactly once ([`fold`]); only a journal that its
//! process left behind is read. Everything else is a transaction on the store's own thread
//! ([`desk`], [`worker`]).

mod counters;
#[cfg(test)]
mod crash;
mod database;
mod desk;
mod draws;
mod failure;
mod fold;
mod journal;
mod line;
mod news;
mod notes;
mod records;
mod sums;
mod tally;
#[cfg(test)]
mod tests;
pub(crate) mod usage;
mod worker;

use std::fs::{File, OpenOptions, TryLockError};
use std::future::ready;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use turnpike_api::{
    Bulletin, Clock, Directory, Draw, Drawn, Entry, Expected, Ledger, Mark, News, Record, Spent,
    StoreError, Stored, UsagePage, UsagePlace,
};

use database::{Access, Database, Intent};
use desk::{About, Desk};
pub use failure::OpenError;
use journal::Journal;
use usage::{ChangePlace, Changes, DayChange};
use worker::Worker;

const LOOK: About = About {
    intent: Intent::Read,
    counters: false,
};
const CHANGE: About = About {
    intent: Intent::Write,
    counters: false,
};
const COUNT: About = About {
    intent: Intent::Read,
    counters: true,
};
const RECOUNT: About = About {
    intent: Intent::Write,
    counters: true,
};

/// A store in a file.
///
/// Dropping it waits for its thread, which folds and closes: some milliseconds of disk.
pub struct Embedded {
    desk: Desk,
    access: Access,
    /// The owner's.
    journal: Option<Arc<Journal>>,
    damaged: Arc<AtomicU64>,
}

impl Embedded {
    /// Opens the store for the gateway, and creates it where there is none. One process at a time
    /// has it so; journals that an earlier one left behind are folded.
    pub fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        Self::open_folding(path, clock, Duration::from_secs(1))
    }

    fn open_folding(
        path: &Path,
        clock: Arc<dyn Clock>,
        every: Duration,
    ) -> Result<Self, OpenError> {
        let lock = lock(path)?;
        let database = Database::open(path, Access::Own)?;
        let worker = Worker::owner(database, clock, lock, every)?;
        Self::start(path, Access::Own, worker)
    }

    /// Opens the store for a command beside a running gateway, or without one: records, claims
    /// and notices as usual; what was recorded can be read, and neither added to nor reset.
    pub fn open_beside(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let database = Database::open(path, Access::Beside)?;
        Self::start(path, Access::Beside, Worker::beside(database, clock))
    }

    /// Opens the store to look at it, journals of a running gateway included. Nothing that would
    /// change it is possible.
    pub fn open_read_only(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let database = Database::open(path, Access::Read)?;
        Self::start(path, Access::Read, Worker::beside(database, clock))
    }

    fn start(path: &Path, access: Access, worker: Worker) -> Result<Self, OpenError> {
        let (journal, damaged) = match worker.keeping() {
            Some(keeping) => (Some(keeping.journal.clone()), keeping.damaged.clone()),
            None => (None, Arc::default()),
        };
        let desk = Desk::open(worker).map_err(|error| OpenError::files(path, error))?;
        Ok(Self {
            desk,
            access,
            journal,
            damaged,
        })
    }

    /// Lines of journals that were damaged and passed over since the store was opened.
    pub fn damaged_lines(&self) -> u64 {
        self.damaged.load(Ordering::Relaxed)
    }

    /// Folds, closes the files, and says whether that went well. Dropping does the same silently.
    pub fn close(mut self) -> Result<(), StoreError> {
        self.desk.close()
    }

    /// What tells this store from those of other replicas, for as long as its file lasts.
    pub(crate) async fn replica(&self) -> Result<String, StoreError> {
        self.ask(LOOK, usage::replica).await
    }

    /// The days from `from` on of which there is usage, and when they changed last; of entries of
    /// just now, too.
    pub(crate) async fn changed_days(&self, from: u32) -> Result<Vec<DayChange>, StoreError> {
        self.ask(COUNT, move |view| usage::changed_days(view, from))
            .await
    }

    /// What changed of a day behind this place, as totals: at most so many rows.
    pub(crate) async fn changes(
        &self,
        day: u32,
        place: ChangePlace,
        most: u32,
    ) -> Result<Changes, StoreError> {
        self.ask(LOOK, move |view| usage::changes(view, day, &place, most))
            .await
    }

    async fn ask<T: Send + 'static>(
        &self,
        about: About,
        work: impl FnOnce(&desk::View<'_>) -> Result<T, failure::Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let refused = match (self.access, about.intent) {
            (Access::Read, Intent::Write) => true,
            (Access::Beside, Intent::Write) => about.counters,
            (Access::Own, _) | (_, Intent::Read) => false,
        };
        match refused {
            true => Err(not_the_owner()),
            false => self.desk.ask(about, work).await,
        }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        if let Err(error) = self.desk.close() {
            tracing::error!(%error, "the store was not closed cleanly; its journals are folded at the next start");
        }
    }
}

impl Ledger for Embedded {
    fn note(&self, entry: &Entry<'_>) -> Mark {
        match &self.journal {
            Some(journal) => journal.note(entry),
            None => Mark(0),
        }
    }

    fn keep(&self, mark: Mark) -> Result<(), StoreError> {
        match &self.journal {
            Some(journal) => journal.keep(mark),
            None => Err(not_the_owner()),
        }
    }

    fn spent<'a>(&'a self, credential: &'a str, period: u64) -> Stored<'a, Spent> {
        let credential = credential.to_owned();
        Box::pin(self.ask(COUNT, move |view| {
            counters::spent(view, &credential, period)
        }))
    }

    fn forget_spent<'a>(&'a self, credential: &'a str, period: u64) -> Stored<'a, ()> {
        let credential = credential.to_owned();
        Box::pin(self.ask(RECOUNT, move |view| {
            counters::forget(view, &credential, period)
        }))
    }

    fn usage_days(&self, from: u32, to: u32) -> Stored<'_, Vec<u32>> {
        Box::pin(self.ask(COUNT, move |view| usage::days(view, from, to)))
    }

    fn usage_of(&self, day: u32, place: Option<UsagePlace>) -> Stored<'_, UsagePage> {
        if self.access == Access::Own {
            return Box::pin(self.ask(LOOK, move |view| usage::page(view, day, place)));
        }
        Box::pin(self.ask(COUNT, move |view| usage::whole(view, day)))
    }

    fn forget_usage(&self, day: u32) -> Stored<'_, ()> {
        Box::pin(self.ask(RECOUNT, move |view| usage::forget(view, day)))
    }

    fn share_usage(&self, _: u64, _: Option<u32>) -> Stored<'_, ()> {
        Box::pin(ready(Ok(())))
    }

    fn draw<'a>(
        &'a self,
        replica: &'a str,
        _lease: Duration,
        draws: &'a [Draw],
    ) -> Stored<'a, Drawn> {
        if self.access != Access::Own {
            return Box::pin(ready(Err(not_the_owner())));
        }
        let (replica, draws) = (replica.to_owned(), draws.to_vec());
        Box::pin(self.ask(CHANGE, move |view| draws::draw(view, &replica, &draws)))
    }
}

impl Directory for Embedded {
    fn get<'a>(&'a self, kind: &'static str, key: &'a str) -> Stored<'a, Option<Record>> {
        let key = key.to_owned();
        Box::pin(self.ask(LOOK, move |view| records::get(view, kind, &key)))
    }

    fn list(&self, kind: &'static str) -> Stored<'_, Vec<(String, Record)>> {
        Box::pin(self.ask(LOOK, move |view| records::list(view, kind)))
    }

    fn put<'a>(
        &'a self,
        kind: &'static str,
        key: &'a str,
        value: &'a [u8],
        ttl: Option<Duration>,
        expected: Expected,
    ) -> Stored<'a, Option<u64>> {
        let (key, value) = (key.to_owned(), value.to_owned());
        Box::pin(self.ask(CHANGE, move |view| {
            records::put(view, kind, &key, &value, ttl, expected)
        }))
    }

    fn remove<'a>(&'a self, kind: &'static str, key: &'a str) -> Stored<'a, bool> {
        let key = key.to_owned();
        Box::pin(self.ask(CHANGE, move |view| records::remove(view, kind, &key)))
    }

    fn claim<'a>(&'a self, name: &'a str, holder: &'a str, ttl: Duration) -> Stored<'a, bool> {
        let (name, holder) = (name.to_owned(), holder.to_owned());
        Box::pin(self.ask(CHANGE, move |view| {
            records::claim(view, &name, &holder, ttl)
        }))
    }

    fn release<'a>(&'a self, name: &'a str, holder: &'a str) -> Stored<'a, ()> {
        let (name, holder) = (name.to_owned(), holder.to_owned());
        Box::pin(self.ask(CHANGE, move |view| records::release(view, &name, &holder)))
    }
}

impl Bulletin for Embedded {
    fn post<'a>(&'a self, topic: &'static str, body: &'a [u8]) -> Stored<'a, u64> {
        let body = body.to_owned();
        Box::pin(self.ask(CHANGE, move |view| news::post(view, topic, &body)))
    }

    fn since(&self, after: u64) -> Stored<'_, News> {
        Box::pin(self.ask(LOOK, move |view| news::since(view, after)))
    }

    fn latest(&self) -> Stored<'_, u64> {
        Box::pin(self.ask(LOOK, news::latest))
    }
}

fn not_the_owner() -> StoreError {
    StoreError::Unavailable("it was opened beside the gateway, which alone may do that".to_owned())
}

/// Keeps a second gateway from the same file, for as long as the lock is held: until it is
/// dropped, or the process ends in whatever way.
fn lock(database: &Path) -> Result<File, OpenError> {
    let path = journal::beside(database, ".lock");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let failed = |error| OpenError::files(&path, error);
    let file = options.open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse {
            path: database.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}
