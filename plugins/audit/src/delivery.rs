//! A sink's way through the spool: it reads at its own pace, hands on in batches, and goes on only when
//! a batch is the receiver's.
//!
//! Where it is, is saved once a second and at the end, behind what is confirmed of what was handed on: after a
//! kill, or where a receiver has lost what it had taken, the records since then come twice, each with the
//! same chain and number.

mod reading;
mod saved;
mod told;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::ended::Ended;
use crate::record::time_of;
use crate::segment::Lines;
use crate::sinks::{Batch, Sink, SinkError};
use saved::Saved;
#[cfg(test)]
pub(crate) use saved::saved_in;
pub use saved::{first_delivered, last_delivered};
use told::Told;

/// How long a sink is left alone after its first failure, in milliseconds, and at most.
const FIRST_WAIT: u64 = 500;
const LONGEST_WAIT: u64 = 30_000;

/// How long it is left alone at most because it asked for that, in milliseconds.
const LONGEST_ASKED: u64 = 600_000;

/// How often its place is saved, in milliseconds.
const SAVED_EVERY: u64 = 1_000;

/// A place behind a record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Cursor {
    chain: String,
    segment: u64,
    offset: u64,
    /// Of the last record that was handed on.
    seq: u64,
}

/// How far a receiver is.
#[derive(Clone, Default)]
struct Place {
    behind: Cursor,
    /// All that happened until then is before it; 0 = not known yet.
    reached: u64,
}

/// A sink, and where it is.
pub(crate) struct Delivery {
    pub(crate) name: String,
    sink: Box<dyn Sink>,
    directory: PathBuf,
    /// Chains that go on no more.
    ended: Ended,
    /// All before it is handed on.
    done: Place,
    /// Behind each batch that is handed on and not confirmed, and how many records it has.
    taken: VecDeque<(Place, u64)>,
    /// All before it is the receiver's for good.
    sure: Place,
    saved: Cursor,
    saved_at: u64,
    /// Where it began when it was new.
    first: Option<(String, u64)>,
    /// The segment it was in when it was last asked how far it is.
    asked_in: u64,
    /// Where reading is: before a batch that is not handed on yet there is one behind `done`.
    next: Cursor,
    lines: Option<Lines>,
    batch: Batch,
    /// In a row, since something was confirmed.
    failures: u32,
    retry_at: u64,
    /// How often a batch was not taken, or was lost.
    failed: u64,
    /// How many records are the receiver's for good.
    delivered: u64,
    /// What was told to be missing, by the chain.
    told: BTreeMap<String, Told>,
}

/// What came of a step.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// There was nothing to hand on, or the receiver has enough as it is.
    Idle,
    /// So many records were handed on.
    Delivered(u64),
    /// So many records of this chain are not there any more, from this one on.
    Missed {
        chain: String,
        from: u64,
        count: u64,
    },
    /// The receiver does not take them; it is asked again then.
    Away { until: u64 },
}

impl Delivery {
    /// Goes on where this sink was. One that is new begins with the oldest record there is.
    pub(crate) fn open(name: String, mut sink: Box<dyn Sink>, directory: &Path) -> Self {
        let Saved {
            behind: saved,
            first,
        } = Saved::load(directory, &name);
        sink.begin(&saved.chain, saved.seq);
        let place = Place {
            behind: saved.clone(),
            reached: 0,
        };
        Self {
            name,
            sink,
            directory: directory.to_owned(),
            ended: Ended::load(directory),
            done: place.clone(),
            taken: VecDeque::new(),
            sure: place,
            asked_in: saved.segment,
            next: saved.clone(),
            saved,
            saved_at: 0,
            first,
            lines: None,
            batch: Batch::default(),
            failures: 0,
            retry_at: 0,
            failed: 0,
            delivered: 0,
            told: BTreeMap::new(),
        }
    }

    /// Reads and hands on one batch. `number` is the segment that is written to, `now` in milliseconds.
    pub(crate) fn step(&mut self, number: u64, now: u64) -> io::Result<Step> {
        // A clock that was put back must not have it wait for longer than it was told to.
        self.retry_at = self.retry_at.min(now + LONGEST_ASKED);
        if now < self.retry_at {
            return Ok(Step::Away {
                until: self.retry_at,
            });
        }
        if self.batch.is_empty()
            && let Some(missed) = self.read(number)?
        {
            return Ok(missed);
        }
        self.know_first();
        if self.batch.is_empty() {
            // What was passed over without a record is passed.
            self.done = Place {
                behind: self.next.clone(),
                reached: now,
            };
            return self.save_sometimes(now, Step::Idle);
        }
        self.know_place();
        if !self.sink.has_room() {
            return self.save_sometimes(now, Step::Idle);
        }
        match self.sink.deliver(&self.batch) {
            Ok(()) => {
                let count = self.hand_on();
                self.save_sometimes(now, Step::Delivered(count))
            }
            Err(error) => Ok(self.fail(error, now)),
        }
    }

    /// It is known with what a sink reads first where it begins. A chain that ended before it was handed
    /// anything is not where.
    fn know_first(&mut self) {
        let (next, behind) = (&self.next, &self.done.behind);
        let is_known = match &self.first {
            Some((chain, seq)) => {
                let is_before = *chain == behind.chain && behind.seq < *seq;
                *chain == next.chain || !is_before
            }
            // Of one that was saved without it nobody knows any more.
            None => !self.saved.chain.is_empty(),
        };
        if !is_known && !next.chain.is_empty() {
            let first = self.batch.records().next();
            let seq = first.map_or(next.seq + 1, |(_, seq)| seq);
            self.first = Some((next.chain.clone(), seq));
        }
    }

    /// Of a sink that was just opened it is known with the first record how far it is.
    fn know_place(&mut self) {
        let first = self.batch.records().next();
        let time = first.and_then(|(record, _)| time_of(record)).unwrap_or(0);
        for place in [&mut self.done, &mut self.sure] {
            if place.reached == 0 {
                place.reached = time;
            }
        }
    }

    /// The batch is taken; answers how many records it had.
    fn hand_on(&mut self) -> u64 {
        let count = self.batch.len() as u64;
        let last = self.batch.records().last();
        let time = last.and_then(|(record, _)| time_of(record));
        self.done = Place {
            behind: self.next.clone(),
            reached: time.unwrap_or(self.done.reached),
        };
        self.taken.push_back((self.done.clone(), count));
        self.batch.clear();
        count
    }

    /// Leaves the sink alone for a while, and goes back where what it took is lost.
    fn fail(&mut self, error: SinkError, now: u64) -> Step {
        let SinkError { why, wait, is_lost } = error;
        if self.failures == 0 {
            tracing::error!(sink = self.name, %why, "an audit sink takes no records; they are kept");
        }
        self.failed += 1;
        let backed_off = LONGEST_WAIT.min(FIRST_WAIT << self.failures.min(10));
        let asked = wait.map_or(0, |wait| {
            u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
        });
        self.failures += 1;
        self.retry_at = now + backed_off.max(asked.min(LONGEST_ASKED));
        if is_lost {
            self.go_back();
        }
        Step::Away {
            until: self.retry_at,
        }
    }

    /// Goes back to what is the receiver's for good.
    fn go_back(&mut self) {
        self.batch.clear();
        self.taken.clear();
        self.lines = None;
        self.done = self.sure.clone();
        self.next = self.sure.behind.clone();
        self.sink.begin(&self.next.chain, self.next.seq);
    }

    /// Asks how far what was handed on is the receiver's for good, and saves that. Answers `step`, or what
    /// came in its way.
    fn save_sometimes(&mut self, now: u64, step: Step) -> io::Result<Step> {
        let is_late = now.abs_diff(self.saved_at) >= SAVED_EVERY;
        // One that is in another segment may let the one before go; but what it confirms may be long behind.
        let is_further = self.done.behind.segment > self.asked_in;
        if !is_late && self.failures == 0 && !is_further {
            return Ok(step);
        }
        self.asked_in = self.done.behind.segment;
        let left = match self.taken.is_empty() {
            true => Ok(0),
            false => self.sink.confirm(),
        };
        match left {
            Ok(left) => {
                self.confirmed(left);
                self.note_place(now)?;
                Ok(step)
            }
            Err(error) => Ok(self.fail(error, now)),
        }
    }

    /// All but the last `left` batches are the receiver's for good.
    fn confirmed(&mut self, left: usize) {
        let before = self.taken.len();
        while self.taken.len() > left
            && let Some((place, count)) = self.taken.pop_front()
        {
            self.sure = place;
            self.delivered += count;
        }
        if self.taken.is_empty() {
            self.sure = self.done.clone();
        }
        // It never goes back behind that.
        let Cursor { chain, seq, .. } = &self.sure.behind;
        if let Some(told) = self.told.get_mut(chain) {
            told.forget(*seq);
        }
        if self.taken.is_empty() || self.taken.len() < before {
            (self.failures, self.retry_at) = (0, 0);
        }
    }

    /// No more comes: waits for what was handed on, but not long, and notes where it is.
    pub(crate) fn finish(&mut self, now: u64) -> io::Result<()> {
        let left = match self.taken.is_empty() {
            true => Ok(0),
            false => self.sink.finish(),
        };
        match left {
            Ok(left) => self.confirmed(left),
            // It comes again after the next start.
            Err(error) => {
                tracing::warn!(sink = self.name, why = %error, "an audit sink did not confirm")
            }
        }
        self.note_place(now)
    }

    fn note_place(&mut self, now: u64) -> io::Result<()> {
        self.saved_at = now;
        if self.saved != self.sure.behind {
            self.sink.sync()?;
            let saved = Saved {
                behind: self.sure.behind.clone(),
                first: self.first.clone(),
            };
            saved.save(&self.directory, &self.name)?;
            self.saved = saved.behind;
        }
        Ok(())
    }

    /// Bytes of memory.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.batch.capacity()
    }

    /// All segments before this one are passed for good.
    pub(crate) fn passed(&self) -> u64 {
        self.saved.segment
    }

    /// How often a batch was not taken, or was lost.
    pub(crate) fn failed(&self) -> u64 {
        self.failed
    }

    /// How many records are the receiver's for good, since it was opened.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// How many the receiver said it will never take.
    pub(crate) fn rejected(&self) -> u64 {
        self.sink.rejected()
    }

    /// Nothing was confirmed since it failed.
    pub(crate) fn is_away(&self) -> bool {
        self.failures > 0
    }

    /// It was handed all that happened until then, in milliseconds since 1970; 0 = not known yet.
    pub(crate) fn reached(&self) -> u64 {
        self.done.reached
    }

    /// The last record that was handed on.
    #[cfg(test)]
    pub(crate) fn seq(&self) -> u64 {
        self.done.behind.seq
    }

    /// How many records it was not handed of chains before this one, and the last of this one that it was.
    pub(crate) fn place_in(&self, chain: &str) -> (u64, u64) {
        let Cursor { chain: of, seq, .. } = &self.done.behind;
        match of == chain {
            true => (0, *seq),
            false => (self.ended.left(of, *seq), 0),
        }
    }
}
