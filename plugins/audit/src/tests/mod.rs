//! The spool and what reads it, put together; whole processes are killed in the gateway's tests.

mod chain;
mod chains;
mod delivery;
mod formats;
mod otlp;
mod receivers;
mod reference;
mod samples;
mod speed;
mod spool;
mod unconfirmed;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use crate::events::{RequestEnd, RequestStart};
use crate::segment::{self, Lines};
use crate::sinks::{Batch, Sink, SinkError};
use crate::spool::{Found, Spool, Terms};
use crate::{Mark, WhenFull};

pub(crate) const NOW: u64 = 1_790_000_000_000;

pub(crate) fn open(directory: &Path, max: u64, when_full: WhenFull) -> (Spool, Found) {
    open_in("this", "00c0ffee", directory, max, when_full)
}

/// In this start of the machine, with this chain should one begin.
pub(crate) fn open_in(
    boot: &str,
    chain: &str,
    directory: &Path,
    max: u64,
    when_full: WhenFull,
) -> (Spool, Found) {
    let terms = Terms {
        directory: directory.to_owned(),
        max,
        when_full,
        boot: boot.to_owned(),
    };
    Spool::open(terms, chain, "here").unwrap()
}

pub(crate) fn large(directory: &Path) -> Spool {
    open(directory, 1 << 30, WhenFull::Refuse).0
}

pub(crate) fn start(spool: &Spool, decision: &str) -> Mark {
    let event = RequestStart {
        request: "r",
        decision,
        operation: "chat_completions",
        model: Some("gpt-4o"),
        ..Default::default()
    };
    spool.note(&event, NOW)
}

pub(crate) fn end(spool: &Spool, decision: &str) -> Mark {
    let event = RequestEnd {
        request: "r",
        decision,
        outcome: "answered",
        status: 200,
        ..Default::default()
    };
    spool.note(&event, NOW)
}

/// The records of all segments, in their order.
pub(crate) fn records(directory: &Path) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    for number in segment::numbers(directory).unwrap() {
        let Ok((_, mut lines)) = Lines::open(directory, number) else {
            continue;
        };
        while let Some(line) = lines.next().unwrap() {
            records.extend(line.ok().map(<[u8]>::to_vec));
        }
    }
    records
}

/// A sink that remembers, and can be away.
#[derive(Clone, Default)]
pub(crate) struct Memory {
    pub(crate) taken: Arc<Mutex<Vec<u64>>>,
    pub(crate) is_away: Arc<AtomicBool>,
    /// It has lost what it had taken.
    pub(crate) has_lost: Arc<AtomicBool>,
    /// It confirms nothing of what it has taken.
    pub(crate) is_slow: Arc<AtomicBool>,
}

impl Sink for Memory {
    fn deliver(&mut self, batch: &Batch) -> Result<(), SinkError> {
        if self.is_away.load(Relaxed) {
            return Err(SinkError::new("away"));
        }
        let numbers = batch.records().map(|(_, seq)| seq);
        self.taken.lock().unwrap().extend(numbers);
        Ok(())
    }

    fn confirm(&mut self) -> Result<usize, SinkError> {
        match (self.has_lost.load(Relaxed), self.is_slow.load(Relaxed)) {
            (true, _) => Err(SinkError::lost("lost")),
            (false, true) => Ok(usize::MAX),
            (false, false) => Ok(0),
        }
    }
}
