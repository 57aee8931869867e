//! A sink's way through the spool: it reads at its own pace, hands on in batches, and goes on only when
//! a batch is the receiver's.
//!
//! Where it is, is saved once a second and at the end, when what was handed on is confirmed: after a kill,
//! or where a receiver has lost what it had taken, the records since then come twice, each with the same
//! chain and number.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::open_requests::replace;
use crate::record::{seq_of, time_of};
use crate::segment::{self, Lines};
use crate::sinks::{Batch, Sink, SinkError};

/// Records a batch has at most.
const RECORDS: usize = 500;

/// Bytes after which a batch has no more.
const BYTES: usize = 256 << 10;

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

/// A sink, and where it is.
pub(crate) struct Delivery {
    pub(crate) name: String,
    sink: Box<dyn Sink>,
    directory: PathBuf,
    /// All before it is handed on.
    done: Cursor,
    saved: Cursor,
    saved_at: u64,
    /// Where reading is: before a batch that is not handed on yet there is one behind `done`.
    next: Cursor,
    lines: Option<Lines>,
    batch: Batch,
    failures: u32,
    retry_at: u64,
    /// How often a batch was not taken.
    failed: u64,
    /// The sink has all that happened until then; 0 = not known yet.
    reached: u64,
    /// These, of this chain, were told to be missing.
    told: (String, Range<u64>),
}

/// What came of a step.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// There was nothing to hand on.
    Idle,
    /// So many records are the receiver's.
    Delivered(u64),
    /// So many records are not there any more, from this one on.
    Missed { from: u64, count: u64 },
    /// The receiver does not take them; it is asked again then.
    Away { until: u64 },
}

impl Delivery {
    /// Goes on where this sink was. One that is new begins with the oldest record there is.
    pub(crate) fn open(name: String, mut sink: Box<dyn Sink>, directory: &Path) -> Self {
        let read = fs::read(saved_in(directory, &name)).ok();
        let saved = read.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let saved: Cursor = saved.unwrap_or_default();
        sink.begin(&saved.chain, saved.seq);
        Self {
            name,
            sink,
            directory: directory.to_owned(),
            done: saved.clone(),
            next: saved.clone(),
            saved,
            saved_at: 0,
            lines: None,
            batch: Batch::default(),
            failures: 0,
            retry_at: 0,
            failed: 0,
            reached: 0,
            told: Default::default(),
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
        if self.batch.is_empty() {
            // What was passed over without a record is passed.
            self.done = self.next.clone();
            self.reached = now;
            let failed = self.save_sometimes(now)?;
            return Ok(failed.unwrap_or(Step::Idle));
        }
        match self.sink.deliver(&self.batch) {
            Ok(()) => {
                let count = self.batch.len() as u64;
                let last = self.batch.records().last();
                if let Some(time) = last.and_then(|(record, _)| time_of(record)) {
                    self.reached = time;
                }
                self.batch.clear();
                self.done = self.next.clone();
                let failed = self.save_sometimes(now)?;
                Ok(failed.unwrap_or(Step::Delivered(count)))
            }
            Err(error) => {
                if error.is_lost {
                    self.go_back();
                }
                Ok(self.leave_alone(error, now))
            }
        }
    }

    /// Leaves the sink alone for a while.
    fn leave_alone(&mut self, error: SinkError, now: u64) -> Step {
        let SinkError { why, wait, .. } = error;
        if self.failures == 0 {
            tracing::error!(sink = self.name, %why, "an audit sink takes no records; they are kept");
        }
        if self.reached == 0 {
            let first = self.batch.records().next();
            self.reached = first.and_then(|(record, _)| time_of(record)).unwrap_or(0);
        }
        self.failed += 1;
        let backed_off = LONGEST_WAIT.min(FIRST_WAIT << self.failures.min(10));
        let asked = wait.map_or(0, |wait| {
            u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
        });
        self.failures += 1;
        self.retry_at = now + backed_off.max(asked.min(LONGEST_ASKED));
        Step::Away {
            until: self.retry_at,
        }
    }

    /// Goes back to where its place was saved last.
    fn go_back(&mut self) {
        self.batch.clear();
        self.lines = None;
        self.done = self.saved.clone();
        self.next = self.saved.clone();
        self.sink.begin(&self.saved.chain, self.saved.seq);
    }

    /// Fills the batch; `Some` where records are missing before the next.
    fn read(&mut self, number: u64) -> io::Result<Option<Step>> {
        'segment: loop {
            if self.lines.is_none()
                && let Some(missed) = self.open_next(number)?
            {
                return Ok(Some(missed));
            }
            let Some(lines) = &mut self.lines else {
                return Ok(None);
            };
            while let Some(line) = lines.next()? {
                // A line that is no record leaves a gap in the numbers, which is told.
                if let Ok(record) = line
                    && let Some(seq) = seq_of(record)
                {
                    let expected = self.next.seq + 1;
                    if seq > expected {
                        let offset = self.next.offset;
                        lines.seek(offset)?;
                        if let Some(missed) = self.missed(seq) {
                            return Ok(Some(missed));
                        }
                        continue 'segment;
                    }
                    self.batch.push(record, seq);
                    self.next.seq = seq;
                }
                self.next.offset = lines.offset;
                if self.batch.len() >= RECORDS || self.batch.bytes() >= BYTES {
                    return Ok(None);
                }
            }
            if self.next.segment >= number || !self.batch.is_empty() {
                return Ok(None);
            }
            // It was written to no more before it was read to its end.
            self.lines = None;
            self.next.segment += 1;
            self.next.offset = 0;
        }
    }

    /// Opens the segment to read, or the oldest one behind it that is there.
    fn open_next(&mut self, number: u64) -> io::Result<Option<Step>> {
        let numbers = segment::numbers(&self.directory)?;
        let there = numbers.into_iter().find(|one| *one >= self.next.segment);
        let Some(there) = there.filter(|there| *there <= number) else {
            return Ok(None);
        };
        if there != self.next.segment {
            (self.next.segment, self.next.offset) = (there, 0);
        }
        let (header, mut lines) = match Lines::open(&self.directory, there) {
            Ok(opened) => opened,
            // Removed meanwhile, or never begun: there is a later one.
            Err(error)
                if there < number
                    && matches!(
                        error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::InvalidData
                    ) =>
            {
                self.next.segment = there + 1;
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        match self.next.offset {
            0 => self.next.offset = lines.offset,
            offset => lines.seek(offset)?,
        }
        self.lines = Some(lines);
        if header.chain != self.next.chain {
            self.sink.begin(&header.chain, header.seq);
            // One that is new misses nothing; to others all of another chain is to be told.
            let seq = match self.next.chain.is_empty() {
                true => header.seq,
                false => 0,
            };
            (self.next.chain, self.next.seq) = (header.chain, seq);
        }
        if header.seq > self.next.seq {
            return Ok(self.missed(header.seq + 1));
        }
        Ok(None)
    }

    /// There is no record before this one any more. Each is told of once, though the sink goes back and
    /// comes here again; `None` where all were.
    fn missed(&mut self, seq: u64) -> Option<Step> {
        let (from, to) = (self.next.seq + 1, seq - 1);
        let of_chain = self.told.0 == self.next.chain && !self.told.1.is_empty();
        let told = if of_chain {
            self.told.1.clone()
        } else {
            seq..seq
        };
        // What is told of now: before what was, and after it when this is come to again.
        let missing = match from < told.start {
            true => from..told.start.min(seq),
            false => from.max(told.end)..seq,
        };
        if missing.is_empty() {
            self.next.seq = to;
            return None;
        }
        self.next.seq = missing.end - 1;
        let all = match missing.end == told.start || missing.start == told.end {
            true => missing.start.min(told.start)..missing.end.max(told.end),
            false => missing.clone(),
        };
        self.told = (self.next.chain.clone(), all);
        let (from, count) = (missing.start, missing.end - missing.start);
        tracing::error!(
            sink = self.name,
            from,
            count,
            "an audit sink missed records"
        );
        Some(Step::Missed { from, count })
    }

    /// `Some` where the receiver has lost what it had taken.
    fn save_sometimes(&mut self, now: u64) -> io::Result<Option<Step>> {
        let is_late = now.abs_diff(self.saved_at) >= SAVED_EVERY;
        if !is_late && self.failures == 0 && self.done.segment <= self.saved.segment {
            return Ok(None);
        }
        if self.saved != self.done
            && let Err(error) = self.sink.confirm()
        {
            self.go_back();
            return Ok(Some(self.leave_alone(error, now)));
        }
        (self.failures, self.retry_at) = (0, 0);
        self.note_place(now)?;
        Ok(None)
    }

    /// Notes where it is, once what it handed on is the receiver's for good.
    pub(crate) fn save(&mut self, now: u64) -> io::Result<()> {
        if self.saved != self.done {
            let confirmed = self.sink.confirm();
            confirmed.map_err(|error| io::Error::other(error.why))?;
        }
        self.note_place(now)
    }

    fn note_place(&mut self, now: u64) -> io::Result<()> {
        self.saved_at = now;
        if self.saved != self.done {
            self.sink.sync()?;
            let bytes = serde_json::to_vec(&self.done)?;
            replace(&saved_in(&self.directory, &self.name), &bytes)?;
            self.saved = self.done.clone();
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

    /// How often a batch was not taken.
    pub(crate) fn failed(&self) -> u64 {
        self.failed
    }

    /// The sink has all that happened until then, in milliseconds since 1970; 0 = not known yet.
    pub(crate) fn reached(&self) -> u64 {
        self.reached
    }

    /// The last record that was handed on.
    pub(crate) fn seq(&self) -> u64 {
        self.done.seq
    }
}

/// Where the place of a sink is saved.
pub(crate) fn saved_in(directory: &Path, name: &str) -> PathBuf {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let mut readable: String = name.chars().map(plain).collect();
    readable.truncate(60);
    let checksum = crc32fast::hash(name.as_bytes());
    directory.join(format!("{readable}-{checksum:08x}.cursor"))
}

/// The chain and the number of the last record that the sink of this name was handed, by what is saved.
pub fn last_delivered(directory: &Path, name: &str) -> Option<(String, u64)> {
    let bytes = fs::read(saved_in(directory, name)).ok()?;
    let cursor: Cursor = serde_json::from_slice(&bytes).ok()?;
    Some((cursor.chain, cursor.seq))
}
