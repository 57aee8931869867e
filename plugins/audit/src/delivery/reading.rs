//! What a sink reads next, and what it finds to be missing before that.

use std::io;

use super::{Delivery, Step};
use crate::record::seq_of;
use crate::segment::{self, Lines};

/// Records a batch has at most.
const RECORDS: usize = 500;

/// Bytes after which a batch has no more.
const BYTES: usize = 256 << 10;

impl Delivery {
    /// Fills the batch; `Some` where records are missing before the next.
    pub(super) fn read(&mut self, number: u64) -> io::Result<Option<Step>> {
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
        if header.chain != self.next.chain {
            if let Some(missed) = self.miss_the_rest(&header.chain) {
                return Ok(Some(missed));
            }
            self.sink.begin(&header.chain, header.seq);
            // One that is new misses nothing; to others all of another chain is to be told.
            let seq = match self.next.chain.is_empty() {
                true => header.seq,
                false => 0,
            };
            (self.next.chain, self.next.seq) = (header.chain, seq);
        }
        self.lines = Some(lines);
        if header.seq > self.next.seq {
            return Ok(self.missed(header.seq + 1));
        }
        Ok(None)
    }

    /// Another chain goes on: what is not there any more of those before it.
    fn miss_the_rest(&mut self, chain: &str) -> Option<Step> {
        loop {
            let end = self.ended.end_of(&self.next.chain)?;
            if end > self.next.seq
                && let Some(missed) = self.missed(end + 1)
            {
                return Some(missed);
            }
            let after = self.ended.after(&self.next.chain);
            let after = after.filter(|after| *after != chain)?;
            (self.next.chain, self.next.seq) = (after.to_owned(), 0);
        }
    }

    /// There is no record before this one any more. Each is told of once, though the sink goes back and
    /// comes here again; `None` where all were.
    fn missed(&mut self, seq: u64) -> Option<Step> {
        let chain = self.next.chain.clone();
        let (from, to) = (self.next.seq + 1, seq - 1);
        let told = self.told.entry(chain.clone()).or_default();
        let Some(missing) = told.tell(from..seq) else {
            self.next.seq = to;
            return None;
        };
        self.next.seq = missing.end - 1;
        let (from, count) = (missing.start, missing.end - missing.start);
        tracing::error!(
            sink = self.name,
            chain,
            from,
            count,
            "an audit sink missed records"
        );
        Some(Step::Missed { chain, from, count })
    }
}
