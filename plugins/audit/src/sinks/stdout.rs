//! Standard output, a line a record.

use std::io::{self, Write as _};

use super::{Batch, Sink, SinkError};
use crate::Format;

/// Standard output, in a format.
pub struct Stdout(pub Format);

impl Sink for Stdout {
    fn deliver(&mut self, batch: &Batch) -> Result<(), SinkError> {
        let mut out = io::stdout().lock();
        let mut line = Vec::new();
        for (record, _) in batch.records() {
            line.clear();
            self.0.write(record, &mut line);
            line.push(b'\n');
            out.write_all(&line)?;
        }
        out.flush()?;
        Ok(())
    }
}
