//! How a record is written for who receives it. One file a format.
//!
//! The spool has native JSON, and what a sink reads there is read again as a [`Native`] record. A format
//! takes the fields that it has a place for out of it, and writes what is left into its own corner: so no
//! field is lost, and a field that is new in `events.rs` is never forgotten. Chain, number and hash are in
//! every format: whoever has a record of it finds the one in the native copy that `verify` reads.

mod cef;
mod ecs;
mod native;
mod ocsf;

use serde_json::Value;

pub(crate) use native::{Native, Severity};

use crate::record::seq_of;

/// What records are of. Of some events both streams have some: those that tell of the stream itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stream {
    #[default]
    Audit,
    Usage,
}

/// How records are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// As they are in the spool, byte for byte.
    #[default]
    Json,
    Ocsf(Stream),
    Cef,
    Ecs(Stream),
}

impl Format {
    /// Puts a record behind `out`, in one line.
    pub(crate) fn write(self, record: &[u8], out: &mut Vec<u8>) {
        let native = match self {
            Self::Json => None,
            Self::Ocsf(_) | Self::Cef | Self::Ecs(_) => Native::read(record),
        };
        self.write_read(record, native, out);
    }

    /// The same of one that was read already.
    ///
    /// One that cannot be read goes as it is: nothing is kept back for its form.
    pub(crate) fn write_read(self, record: &[u8], native: Option<Native>, out: &mut Vec<u8>) {
        let begin = out.len();
        let written = match (self, native) {
            (Self::Json, _) | (_, None) => false,
            (Self::Ocsf(stream), Some(native)) => ocsf::write(native, stream, out).is_ok(),
            (Self::Ecs(stream), Some(native)) => ecs::write(native, stream, out).is_ok(),
            (Self::Cef, Some(native)) => {
                cef::write(native, out);
                true
            }
        };
        if !written {
            out.truncate(begin);
            out.extend_from_slice(record);
        }
    }

    /// As [`write`](Self::write), as one value of JSON.
    pub(crate) fn write_json(self, record: &[u8], out: &mut Vec<u8>) {
        if self != Self::Cef {
            return self.write(record, out);
        }
        let mut line = Vec::new();
        self.write(record, &mut line);
        // Into memory, which takes it.
        let _ = serde_json::to_writer(out, &String::from_utf8_lossy(&line));
    }

    /// The number of a record of this chain that was written so; `None` where it is another chain's.
    pub(crate) fn seq_of(self, line: &[u8], chain: &str) -> Option<u64> {
        let uid = |pointer| {
            let value: Value = serde_json::from_slice(line).ok()?;
            Some(value.pointer(pointer)?.as_str()?.to_owned())
        };
        let uid = match self {
            Self::Json => {
                let named = format!("\"chain\":\"{chain}\"");
                memchr::memmem::find(line, named.as_bytes())?;
                return seq_of(line);
            }
            Self::Ocsf(_) => uid("/metadata/uid")?,
            Self::Ecs(_) => uid("/event/id")?,
            Self::Cef => cef::uid(line)?,
        };
        let (of, seq) = uid.split_once(':')?;
        (of == chain).then(|| seq.parse().ok()).flatten()
    }
}
