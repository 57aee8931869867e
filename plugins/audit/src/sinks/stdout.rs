//! Standard output, a line a record.

use std::io::{self, Write as _};

use super::{Batch, Sink, SinkError};

/// It has one.
pub struct Stdout;

impl Sink for Stdout {
    fn deliver(&mut self, batch: &Batch) -> Result<(), SinkError> {
        let mut out = io::stdout().lock();
        for (record, _) in batch.records() {
            out.write_all(record)?;
            out.write_all(b"\n")?;
        }
        out.flush()?;
        Ok(())
    }
}
