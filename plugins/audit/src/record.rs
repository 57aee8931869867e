//! An event as a line of JSON, linked to the one before it.
//!
//! ```text
//! {"v":1,"chain":"…","replica":"…","seq":7,"prev":"…","time":"…","event":"…", …,"hash":"…"}
//! ```
//!
//! `hash` is the SHA-256 of the line without `,"hash":"…"`, and `prev` is the `hash` of the record with
//! the number before. So whoever changes, removes or moves a record has to write all that follow anew,
//! and what is signed of them ([`checkpoint`](crate::SigningKey)) would not fit.

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use ring::digest::{Context, SHA256, SHA256_OUTPUT_LEN};

use crate::Event;
use crate::json::{hex, string};

/// Version of the format.
pub const VERSION: u64 = 1;

/// Hexadecimal digits of a hash.
pub(crate) const DIGITS: usize = 2 * SHA256_OUTPUT_LEN;

/// A hash as it is written.
pub(crate) type Hash = [u8; DIGITS];

/// Of the record before the first.
pub(crate) const NONE: Hash = [b'0'; DIGITS];

/// `,"hash":"…"}` at the end of a record.
pub(crate) const TAIL: usize = r#","hash":""}"#.len() + DIGITS;

/// A chain of records, by its end.
#[derive(Clone)]
pub(crate) struct Chain {
    /// The id, as the first record and all others have it.
    pub(crate) id: String,
    /// Of the record written last; 0 = none yet.
    pub(crate) seq: u64,
    pub(crate) hash: Hash,
    /// What every record begins with, and its share of their hashes.
    prefix: Vec<u8>,
    begun: Context,
    /// When the last one was written, and how that is said: many are within the same millisecond.
    time: (u64, Vec<u8>),
}

impl Chain {
    /// A chain that ends there, written by this replica from now on.
    pub(crate) fn at(id: String, seq: u64, hash: Hash, replica: &str) -> Self {
        let mut prefix = format!("{{\"v\":{VERSION},\"chain\":\"{id}\",\"replica\":").into_bytes();
        string(replica, &mut prefix);
        prefix.extend_from_slice(b",\"seq\":");
        let mut begun = Context::new(&SHA256);
        begun.update(&prefix);
        Self {
            id,
            seq,
            hash,
            prefix,
            begun,
            time: (0, time(0)),
        }
    }

    /// Puts a record of this event behind `out`. `now` is in milliseconds since 1970.
    pub(crate) fn append<E: Event + ?Sized>(&mut self, event: &E, now: u64, out: &mut Vec<u8>) {
        self.seq += 1;
        if self.time.0 != now {
            self.time = (now, time(now));
        }
        out.extend_from_slice(&self.prefix);
        let begin = out.len();
        out.extend_from_slice(itoa::Buffer::new().format(self.seq).as_bytes());
        out.extend_from_slice(b",\"prev\":\"");
        out.extend_from_slice(&self.hash);
        out.extend_from_slice(b"\",\"time\":\"");
        out.extend_from_slice(&self.time.1);
        out.push(b'"');
        event.write(out);
        out.push(b'}');
        let mut hashed = self.begun.clone();
        hashed.update(&out[begin..]);
        self.hash = digits(hashed);
        out.pop();
        out.extend_from_slice(b",\"hash\":\"");
        out.extend_from_slice(&self.hash);
        out.extend_from_slice(b"\"}");
    }
}

/// SHA-256 of these pieces, one behind the other.
pub(crate) fn digest(pieces: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    pieces.iter().for_each(|piece| context.update(piece));
    digits(context)
}

fn digits(hashed: Context) -> Hash {
    let mut digits = NONE;
    let (pairs, _) = digits.as_chunks_mut::<2>();
    for (pair, byte) in pairs.iter_mut().zip(hashed.finish().as_ref()) {
        *pair = hex(*byte);
    }
    digits
}

/// The hash that a record should have, and the one it states; `None` where it states none.
pub(crate) fn hashes(line: &[u8]) -> Option<(Hash, &[u8])> {
    let (body, tail) = line.split_at_checked(line.len().checked_sub(TAIL)?)?;
    let stated = tail.strip_prefix(b",\"hash\":\"")?.strip_suffix(b"\"}")?;
    Some((digest(&[body, b"}"]), stated))
}

/// RFC 3339, UTC, in milliseconds.
fn time(now: u64) -> Vec<u8> {
    const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(3));
    let now = i64::try_from(now).ok();
    let now = now.and_then(|now| Timestamp::from_millisecond(now).ok());
    let printed = PRINTER.timestamp_to_string(&now.unwrap_or(Timestamp::MAX));
    printed.into_bytes()
}

/// The number of a record.
pub(crate) fn seq_of(record: &[u8]) -> Option<u64> {
    const NAME: &[u8] = b",\"seq\":";
    let at = memchr::memmem::find(record, NAME)? + NAME.len();
    let digits = record[at..].split(|byte| !byte.is_ascii_digit()).next()?;
    str::from_utf8(digits).ok()?.parse().ok()
}

/// When it happened, in milliseconds since 1970.
pub(crate) fn time_of(record: &[u8]) -> Option<u64> {
    const NAME: &[u8] = b",\"time\":\"";
    let at = memchr::memmem::find(record, NAME)? + NAME.len();
    let text = record[at..].split(|byte| *byte == b'"').next()?;
    let time: Timestamp = str::from_utf8(text).ok()?.parse().ok()?;
    u64::try_from(time.as_millisecond()).ok()
}

/// The hash that a record states.
pub(crate) fn stated_hash(record: &[u8]) -> Option<Hash> {
    let from = record.len().checked_sub(DIGITS + 2)?;
    record[from..from + DIGITS].try_into().ok()
}
