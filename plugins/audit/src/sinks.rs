//! Where records go. One file a kind.

mod evenly;
pub mod file;
pub mod otlp;
pub mod outside;
pub mod splunk_hec;
pub mod stdout;
pub mod syslog;
pub mod webhook;

use std::io;
use std::ops::Range;
use std::time::Duration;

use memchr::memmem;

use thiserror::Error;

/// Records to hand on, in their order.
#[derive(Default)]
pub struct Batch {
    bytes: Vec<u8>,
    records: Vec<(Range<usize>, u64)>,
}

/// Why a batch is not the receiver's. It is handed on again.
#[derive(Debug, Error)]
#[error("{why}")]
pub struct SinkError {
    pub why: String,
    /// The receiver asks to be left alone so long.
    pub wait: Option<Duration>,
    /// What was taken and is not confirmed may be lost, too: all of that is handed on again, and the sink
    /// waits for it no more.
    pub is_lost: bool,
}

/// Takes records.
///
/// A batch is handed on until it is taken, and what is taken is the receiver's once that is confirmed:
/// not before that is the sink's place saved behind it. So a receiver may see a record twice, which chain
/// and number tell, and none is missed.
pub trait Sink: Send {
    /// It begins behind this record of this chain, as far as is known: it may have taken more.
    fn begin(&mut self, _chain: &str, _seq: u64) {}

    /// Whether it takes a batch now. One that does not waits for what it took to be confirmed, which is
    /// no failure.
    fn has_room(&self) -> bool {
        true
    }

    fn deliver(&mut self, batch: &Batch) -> Result<(), SinkError>;

    /// How many of the batches that were taken, the last ones, are not the receiver's for good yet.
    fn confirm(&mut self) -> Result<usize, SinkError> {
        Ok(0)
    }

    /// [`confirm`](Self::confirm), where no more comes: it may wait for a while.
    fn finish(&mut self) -> Result<usize, SinkError> {
        self.confirm()
    }

    /// How many records the receiver said it will never take. They are not handed on again.
    fn rejected(&self) -> u64 {
        0
    }

    /// Makes sure that what was taken survives a loss of power.
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl SinkError {
    pub fn new(why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            wait: None,
            is_lost: false,
        }
    }

    /// What was taken and is not confirmed is lost with it.
    pub(crate) fn lost(why: impl Into<String>) -> Self {
        Self {
            is_lost: true,
            ..Self::new(why)
        }
    }
}

impl From<io::Error> for SinkError {
    fn from(error: io::Error) -> Self {
        Self::new(error.to_string())
    }
}

impl Batch {
    pub(crate) fn push(&mut self, record: &[u8], seq: u64) {
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(record);
        self.records.push((begin..self.bytes.len(), seq));
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.records.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Unlike that of any other batch, and the same when this one is handed on again.
    pub(crate) fn id(&self) -> String {
        let first = self.records().next();
        let (chain, seq) = first.map_or(("", 0), |(record, seq)| (chain_of(record), seq));
        format!("{chain}-{seq}-{}", self.len())
    }

    /// The records, without line breaks, and their numbers.
    pub fn records(&self) -> impl Iterator<Item = (&[u8], u64)> {
        let records = self.records.iter();
        records.map(|(range, seq)| (&self.bytes[range.clone()], *seq))
    }
}

/// The chain that a record is of.
fn chain_of(record: &[u8]) -> &str {
    const NAME: &[u8] = b"\"chain\":\"";
    let begin = memmem::find(record, NAME).map_or(record.len(), |at| at + NAME.len());
    let rest = &record[begin..];
    let end = memchr::memchr(b'"', rest).unwrap_or(0);
    str::from_utf8(&rest[..end]).unwrap_or_default()
}
