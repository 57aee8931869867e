//! Syslog (RFC 5424) over a stream: each message behind its length (RFC 6587, 3.4.1; RFC 5425 over TLS).
//!
//! ```text
//! 412 <109>1 2026-11-21T14:13:20.000Z host-1 turnpike 1 request.start [turnpike@32473 chain="5f…" …] {"v":1,…
//! ```
//!
//! # That nothing is missed
//!
//! Nothing acknowledges what was sent, and a write that succeeds has reached no more than this machine's
//! own memory. A receiver may close a connection as soon as it was made: a proxy that has nobody behind
//! it does, and so does TLS 1.3 where a certificate is refused, which the caller hears of after it has
//! written. Or it is gone without a word.
//!
//! So a batch is confirmed [40 seconds](ARRIVED_AFTER) after it was sent, if the connection it was sent on
//! is whole then. Until that it is in the spool, before the place that is saved. A connection that is found
//! broken loses all that was sent on it and is not confirmed: it comes again, on another connection, after
//! the back-off that every failure has, and the sink is shown to be away until something is confirmed.
//! There is nothing else that a connection could lose: what is not confirmed was sent on the one that is
//! open, as a broken one takes it all back.
//!
//! That a connection is whole is known of one whose receiver is there: bytes that its machine does not
//! acknowledge or has no room for break it within 30 seconds, and so does a machine that says nothing for 30
//! seconds and does not answer then (the gateway's [`Line`] sees to it). A receiver that does not read for
//! some seconds is not cut off.
//!
//! That says nothing of bytes that wait in this machine behind others while a slow receiver takes those, a few
//! at a time. So no more than 192 KiB of them ever wait (the gateway's [`Line`] sees to that, too): whoever
//! takes as much within the time has acknowledged a batch when it is confirmed. That is a receiver that takes
//! [6 KiB a second](SLOWEST). Of one that is slower for that long, and then is gone, up to 192 KiB may be lost.
//!
//! The clock may leap where the machine's time is set. From one look to the next, which are a second apart,
//! [5 seconds](LEAP) at most are believed: after a leap, 35 of the 40 have passed in
//! truth.
//!
//! What that cannot know is what becomes of it there: a receiver that leaves it unread until it dies, or
//! loses what it has read, has lost it; and of a proxy in between, only that the proxy is there.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::process;
use std::sync::Arc;

use turnpike_api::Clock;

use super::evenly::Evenly;
use super::outside::{Connection, Line};
use super::{Batch, Sink, SinkError};
use crate::Format;
use crate::formats::{Native, Severity};

/// "Log audit".
const FACILITY: u32 = 13;

/// The number is the one for examples (RFC 5612): a private one is registered by who runs a network.
const SD_ID: &str = "turnpike@32473";

/// A batch has arrived when the connection is whole for so long after it was sent, in milliseconds.
const ARRIVED_AFTER: u64 = 40_000;

/// As much is believed to have passed from one look at the clock to the next, in milliseconds.
const LEAP: u64 = 5_000;

/// Bytes of a connection that may wait in this machine, as the argument above needs it of a [`Line`].
pub const WAITING: usize = 192 << 10;

/// Bytes a second that a receiver has to take.
const SLOWEST: u64 = 6 << 10;

// All that waits is taken before it is confirmed.
const _: () = assert!((ARRIVED_AFTER - LEAP) * SLOWEST / 1_000 >= WAITING as u64);

/// A receiver.
pub struct Syslog {
    line: Box<dyn Line>,
    format: Format,
    clock: Arc<dyn Clock>,
    time: Evenly,
    open: Option<Box<dyn Connection>>,
    /// When each batch was sent that is not confirmed, all of them on the connection that is open.
    sent: VecDeque<u64>,
}

impl Syslog {
    pub fn new(line: Box<dyn Line>, format: Format, clock: Arc<dyn Clock>) -> Self {
        Self {
            line,
            format,
            time: Evenly::new(clock.now(), LEAP),
            clock,
            open: None,
            sent: VecDeque::new(),
        }
    }

    /// The connection there is, or a new one where nothing was lost with it.
    fn connection(&mut self) -> Result<Box<dyn Connection>, SinkError> {
        if let Some(mut open) = self.open.take() {
            match open.check() {
                Ok(()) => return Ok(open),
                Err(error) => self.lost(error)?,
            }
        }
        Ok(self.line.connect()?)
    }

    /// The connection is broken: an error where something was sent on it that is not confirmed.
    fn lost(&mut self, why: impl ToString) -> Result<(), SinkError> {
        let batches = std::mem::take(&mut self.sent).len();
        match batches {
            0 => Ok(()),
            _ => Err(SinkError::lost(why.to_string())),
        }
    }

    /// Lets go of what has arrived.
    fn forget(&mut self) {
        let now = self.time.look(self.clock.now());
        let has_arrived = |at: &u64| now - *at >= ARRIVED_AFTER;
        while self.sent.front().is_some_and(has_arrived) {
            self.sent.pop_front();
        }
    }
}

impl Sink for Syslog {
    fn deliver(&mut self, batch: &Batch) -> Result<(), SinkError> {
        let mut frames = Vec::with_capacity(batch.bytes() + 400 * batch.len());
        for (record, _) in batch.records() {
            frame(record, self.format, &mut frames);
        }
        let mut open = self.connection()?;
        if let Err(error) = put(&mut *open, &frames) {
            self.lost(&error)?;
            return Err(error.into());
        }
        self.open = Some(open);
        self.sent.push_back(self.time.look(self.clock.now()));
        Ok(())
    }

    fn confirm(&mut self) -> Result<usize, SinkError> {
        if let Some(mut open) = self.open.take() {
            match open.check() {
                Ok(()) => self.open = Some(open),
                Err(error) => self.lost(error)?,
            }
        }
        self.forget();
        Ok(self.sent.len())
    }
}

impl Drop for Syslog {
    fn drop(&mut self) {
        if let Some(open) = &mut self.open {
            open.finish();
        }
    }
}

fn put(open: &mut dyn Connection, frames: &[u8]) -> io::Result<()> {
    open.write_all(frames)?;
    open.flush()
}

/// A message behind its length.
fn frame(record: &[u8], format: Format, out: &mut Vec<u8>) {
    let mut message = Vec::with_capacity(record.len() + 400);
    let native = Native::read(record);
    header(native.as_ref().unwrap_or(&Native::default()), &mut message);
    format.write_read(record, native, &mut message);
    // Into memory, which takes it.
    let _ = write!(out, "{} ", message.len());
    out.extend_from_slice(&message);
}

fn header(native: &Native, out: &mut Vec<u8>) {
    let severity = match native.severity() {
        Severity::Error => 3,
        Severity::Warning => 4,
        Severity::Notice => 5,
        Severity::Informational => 6,
    };
    let time = native.time.as_deref().unwrap_or("-");
    let host = word(native.replica.as_deref().unwrap_or_default(), 255);
    let event = word(native.event(), 32);
    // Into memory, which takes it.
    let _ = write!(
        out,
        "<{}>1 {time} {host} turnpike {} {event} [{SD_ID}",
        FACILITY * 8 + severity,
        process::id(),
    );
    let seq = native.seq.map(|seq| seq.to_string());
    let status = native.status.map(|status| status.to_string());
    let who = native.who.as_ref();
    for (name, value) in [
        ("chain", &native.chain),
        ("seq", &seq),
        ("hash", &native.hash),
        ("event", &native.event),
        ("outcome", &native.outcome),
        ("status", &status),
        ("reason", &native.reason),
        ("user", who.map_or(&native.actor, |who| &who.name)),
        ("tenant", who.map_or(&native.tenant, |who| &who.tenant)),
        ("client", &native.client),
        ("userAgent", &native.user_agent),
        ("model", &native.model),
        ("decision", &native.decision),
    ] {
        if let Some(value) = value {
            let _ = write!(out, " {name}=\"");
            parameter(value, out);
            out.push(b'"');
        }
    }
    out.extend_from_slice(b"] ");
}

/// A field of the header: printable, without blanks, or `-`.
fn word(text: &str, longest: usize) -> String {
    let plain = text
        .chars()
        .map(|c| if c.is_ascii_graphic() { c } else { '_' });
    let plain: String = plain.take(longest).collect();
    match plain.is_empty() {
        true => "-".to_owned(),
        false => plain,
    }
}

/// The value of a parameter. A control character is written out: receivers that split lines see one.
fn parameter(text: &str, out: &mut Vec<u8>) {
    let mut buffer = [0; 4];
    for c in text.chars() {
        match c {
            '"' | '\\' | ']' => out.extend_from_slice(&[b'\\', c as u8]),
            c if c.is_control() => {
                // Into memory, which takes it.
                let _ = write!(out, r"\\u{:04x}", u32::from(c));
            }
            c => out.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes()),
        }
    }
}
