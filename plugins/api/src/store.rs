//! What replicas share, and what survives a restart.

use std::collections::BTreeMap;
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

/// Who used what a call used: each an id, by which it is added up, and empty where there is none.
/// No control characters: stores do not look again ([`Identity::payer`](crate::Identity::payer) does).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Payer<'a> {
    /// The tenant's name.
    pub tenant: &'a str,
    /// As whoever vouches for the person says.
    pub team: &'a str,
    /// The person, by a digest: their name is kept elsewhere, where it can be forgotten.
    pub user: &'a str,
    /// The key or agent token.
    pub token: &'a str,
}

/// What one call of a provider used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Who called.
    pub payer: Payer<'a>,
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
    /// What they cost, in millionths of a US dollar; `None` = nobody knows a price.
    pub cost: Option<u64>,
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

/// What one payer used of one credential and model on one day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DayUsage {
    /// Days since 1970-01-01 UTC.
    pub day: u32,
    /// The upstream credential's id.
    pub credential: String,
    /// The model's name at the provider.
    pub model: String,
    /// As [`Payer`] says of these four.
    pub tenant: String,
    pub team: String,
    pub user: String,
    pub token: String,
    pub used: Used,
}

/// What a number of calls used. Sums stay at the largest number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Calls.
    pub calls: u64,
    /// Tokens, estimated ones included.
    pub usage: Usage,
    /// Tokens of input and output that were estimated.
    pub estimated: u64,
    /// In millionths of a US dollar; calls without a price cost nothing.
    pub cost: u64,
    /// Calls without a price.
    pub unpriced: u64,
}

/// Where a reader of a day's usage goes on. The text is the store's own affair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsagePlace(pub String);

/// A part of a day's usage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsagePage {
    /// In no order. A key may come again in another part: then they add up.
    pub rows: Vec<DayUsage>,
    /// Where to go on; `None` = this was the last part.
    pub next: Option<UsagePlace>,
}

impl Used {
    /// Adds what others used.
    pub fn add_up(&mut self, more: &Self) {
        let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
        add(&mut self.calls, more.calls);
        add(&mut self.estimated, more.estimated);
        add(&mut self.cost, more.cost);
        add(&mut self.unpriced, more.unpriced);
        self.usage = self.usage.plus(&more.usage);
    }
}

impl DayUsage {
    fn key(&self) -> (u32, [String; 6]) {
        let texts = [
            &self.credential,
            &self.model,
            &self.tenant,
            &self.team,
            &self.user,
            &self.token,
        ];
        (self.day, texts.map(String::clone))
    }

    fn of((day, texts): (u32, [String; 6]), used: Used) -> Self {
        let [credential, model, tenant, team, user, token] = texts;
        Self {
            day,
            credential,
            model,
            tenant,
            team,
            user,
            token,
            used,
        }
    }
}

impl Entry<'_> {
    /// What it adds to a sum.
    pub fn used(&self) -> Used {
        let calls = u64::from(self.calls);
        let tokens = self.usage.input.saturating_add(self.usage.output);
        Used {
            calls,
            usage: self.usage,
            estimated: if self.estimated { tokens } else { 0 },
            cost: self.cost.unwrap_or(0),
            unpriced: if self.cost.is_none() { calls } else { 0 },
        }
    }
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

    /// The days from `from` to `to`, both included, of which there is usage, in order. Of entries
    /// of just now, too.
    fn usage_days(&self, from: u32, to: u32) -> Stored<'_, Vec<u32>>;

    /// The usage of a day, part by part: from its beginning, or from where a part said. It is what
    /// was known when [`usage_days`](Self::usage_days) was asked, or more.
    fn usage_of(&self, day: u32, place: Option<UsagePlace>) -> Stored<'_, UsagePage>;

    /// The usage of some days as a whole, each key once, by day, credential, model and payer: for
    /// where there is little of it.
    fn usage(&self, from: u32, to: u32) -> Stored<'_, Vec<DayUsage>> {
        Box::pin(async move {
            let mut sums = BTreeMap::new();
            for day in self.usage_days(from, to).await? {
                let mut place = None;
                loop {
                    let page = self.usage_of(day, place).await?;
                    for row in page.rows {
                        let sum: &mut Used = sums.entry(row.key()).or_default();
                        sum.add_up(&row.used);
                    }
                    place = page.next;
                    if place.is_none() {
                        break;
                    }
                }
            }
            let rows = sums.into_iter();
            Ok(rows.map(|(key, used)| DayUsage::of(key, used)).collect())
        })
    }

    /// Tells other replicas what was recorded here, where there are some: all of it, as often as it
    /// is asked, so that they know it again who lost it. `now` is milliseconds since 1970; what is
    /// older than `keep` days is not told.
    fn share_usage(&self, now: u64, keep: Option<u32>) -> Stored<'_, ()>;

    /// Forgets the usage of the days before `day` (see [`DayUsage::day`]). Quotas keep what was
    /// spent of them.
    fn forget_usage(&self, day: u32) -> Stored<'_, ()>;

    /// Draws from limits, and tells what was used of them. `replica` is the process that draws,
    /// another one after every start; what it was granted of running calls is its own until `lease`
    /// after it last said so. With a `lease` of zero, and no draws, it ends. Each draw stands for itself; a replica sends one after another.
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
