//! What replicas share, and what survives a restart.

use std::time::Duration;

use futures::future::BoxFuture;
use thiserror::Error;

use crate::{Draw, Drawn, Usage};

/// Why a store could not do what it was asked.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum StoreError {
    /// It cannot be reached or written: what was asked may or may not have happened.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// It holds what this release cannot read: something newer wrote it, or it is damaged.
    #[error("the store cannot be read: {0}")]
    Unreadable(String),
}

/// A store's answer, awaited off the hot path.
pub type Stored<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// Counters, records and news: everything a gateway keeps.
///
/// One value implements all three, so that they share a connection and fail together.
pub trait Store: Ledger + Directory + Bulletin {}

impl<T: Ledger + Directory + Bulletin> Store for T {}

/// What one call of a provider used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The upstream credential's id. No control characters.
    pub credential: &'a str,
    /// The model's name at the provider. No control characters, at most 512 bytes.
    pub model: &'a str,
    /// When the call was settled, in milliseconds since 1970 (see [`Clock`](crate::Clock)).
    pub at: u64,
    /// When the period of the credential's quota began, likewise: periods are told apart by it.
    pub period: u64,
    /// The tokens. Several entries of one call add up.
    pub usage: Usage,
    /// The provider did not say: the tokens are the gateway's estimate.
    pub estimated: bool,
    /// How many calls this entry counts for: 1, or 0 where it corrects one that was counted.
    pub calls: u32,
}

/// Tells a store which of its notes is meant. The number is the store's own affair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(pub u64);

/// What a credential has used of one period of its quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Tokens, input and output, as providers counted them and as they were estimated.
    pub tokens: u64,
    /// Of these: estimated.
    pub estimated: u64,
    /// Calls.
    pub calls: u64,
}

/// What one credential used of one model on one day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DayUsage {
    /// Days since 1970-01-01 UTC.
    pub day: u32,
    /// The upstream credential's id.
    pub credential: String,
    /// The model's name at the provider.
    pub model: String,
    /// Calls.
    pub calls: u64,
    /// Tokens, estimated ones included.
    pub usage: Usage,
    /// Tokens of input and output that were estimated.
    pub estimated: u64,
}

/// Counters.
pub trait Ledger: Send + Sync {
    /// Notes what a call used. It is written down by [`keep`](Self::keep) with the mark: a process
    /// that ends before has lost it.
    fn note(&self, entry: &Entry<'_>) -> Mark;

    /// Writes down what was noted up to `mark`, with what others noted meanwhile: calls that end
    /// together cost one write.
    ///
    /// Synchronous, because it stands between an answer and its last byte, and quick: it neither
    /// waits for a disk nor for another machine. Once it has returned, the entry survives the end
    /// of the process, `kill -9` included; a machine that loses power may lose the last second.
    fn keep(&self, mark: Mark) -> Result<(), StoreError>;

    /// Notes what a call used and writes it down.
    fn record(&self, entry: &Entry<'_>) -> Result<(), StoreError> {
        self.keep(self.note(entry))
    }

    /// What was recorded for `credential` in the period that began at `period`, entries of just
    /// now included.
    fn spent<'a>(&'a self, credential: &'a str, period: u64) -> Stored<'a, Spent>;

    /// Forgets what was recorded for `credential` in that period: the answer to "reset its quota".
    fn forget_spent<'a>(&'a self, credential: &'a str, period: u64) -> Stored<'a, ()>;

    /// Usage by day, credential and model for the days from `from` to `to`, both included, in
    /// that order of keys.
    fn usage(&self, from: u32, to: u32) -> Stored<'_, Vec<DayUsage>>;

    /// Forgets the usage of the days before `day` (see [`DayUsage::day`]). Quotas keep what was
    /// spent of them.
    fn forget_usage(&self, day: u32) -> Stored<'_, ()>;

    /// Draws from limits, and tells what was used of them. `replica` is the process that draws,
    /// another one after every start; what it was granted of running calls is its own until `lease`
    /// after it last said so. Each draw stands for itself; a replica sends one after another.
    fn draw<'a>(
        &'a self,
        replica: &'a str,
        lease: Duration,
        draws: &'a [Draw],
    ) -> Stored<'a, Drawn>;
}

/// A record, and which writing of it this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What was put.
    pub value: Vec<u8>,
    /// Differs for every writing of a key, also after it was removed.
    pub version: u64,
}

/// What must be so for a record to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Nothing: the last writer wins.
    Anything,
    /// There is no record of this key.
    Absent,
    /// The record is still this version.
    Version(u64),
}

/// Records by kind and key, which may end by themselves; and claims, of which one wins.
///
/// A kind is a plain lower-case word (`cooldown`, `session`). A key is any text.
pub trait Directory: Send + Sync {
    /// The record, unless it has ended.
    fn get<'a>(&'a self, kind: &'static str, key: &'a str) -> Stored<'a, Option<Record>>;

    /// Every record of a kind that has not ended, by key, in order of keys.
    fn list(&self, kind: &'static str) -> Stored<'_, Vec<(String, Record)>>;

    /// Writes a record that ends after `ttl`, or never. Answers with its version, or `None` when
    /// `expected` was not so; then nothing is changed.
    fn put<'a>(
        &'a self,
        kind: &'static str,
        key: &'a str,
        value: &'a [u8],
        ttl: Option<Duration>,
        expected: Expected,
    ) -> Stored<'a, Option<u64>>;

    /// Removes a record; false when there was none.
    fn remove<'a>(&'a self, kind: &'static str, key: &'a str) -> Stored<'a, bool>;

    /// Takes what only one may have at a time (a probe, a refresh). True when `holder` has it
    /// now, also when it had it before; false while another one has. It ends after `ttl`, or when
    /// it is released.
    fn claim<'a>(&'a self, name: &'a str, holder: &'a str, ttl: Duration) -> Stored<'a, bool>;

    /// Gives back what `holder` claimed; nothing happens when it is not its own (any more).
    fn release<'a>(&'a self, name: &'a str, holder: &'a str) -> Stored<'a, ()>;
}

/// A piece of news.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Grows with every notice. Ids need not be consecutive.
    pub id: u64,
    /// A plain lower-case word.
    pub topic: String,
    /// What there is to know.
    pub body: Vec<u8>,
}

/// What a reader gets who asks for news.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// In the order they were posted.
    pub notices: Vec<Notice>,
    /// Where to read on.
    pub next: u64,
    /// Notices after the place that was asked for are gone already: read the records instead.
    pub gap: bool,
}

/// News that every process with the same store reads, the poster included: other replicas, and
/// the command line beside a running gateway.
pub trait Bulletin: Send + Sync {
    /// Posts a notice. It is kept for at least a minute.
    fn post<'a>(&'a self, topic: &'static str, body: &'a [u8]) -> Stored<'a, u64>;

    /// The notices after `after`, which is a notice's id or [`News::next`]; at most 1,000 at once.
    fn since(&self, after: u64) -> Stored<'_, News>;

    /// The id of the last notice: where a reader begins that has just read the records.
    fn latest(&self) -> Stored<'_, u64>;
}
