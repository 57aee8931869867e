//! Where records go. One file a kind.

pub mod file;
pub mod stdout;

use std::io;
use std::ops::Range;

use thiserror::Error;

/// Records to hand on, in their order.
#[derive(Default)]
pub struct Batch {
    bytes: Vec<u8>,
    records: Vec<(Range<usize>, u64)>,
}

/// Why a batch is not the receiver's. It is handed on again.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct SinkError(pub String);

/// Takes records.
///
/// What it has answered `Ok` for is the receiver's. Anything else is tried again, all of it, so that a
/// receiver may see a record twice: chain and number tell.
pub trait Sink: Send {
    /// It begins behind this record of this chain, as far as is known: it may have taken more.
    fn begin(&mut self, _chain: &str, _seq: u64) {}

    fn deliver(&mut self, batch: &Batch) -> Result<(), SinkError>;

    /// Makes sure that what was taken survives a loss of power.
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl From<io::Error> for SinkError {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
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

    /// The records, without line breaks, and their numbers.
    pub fn records(&self) -> impl Iterator<Item = (&[u8], u64)> {
        let records = self.records.iter();
        records.map(|(range, seq)| (&self.bytes[range.clone()], *seq))
    }
}
