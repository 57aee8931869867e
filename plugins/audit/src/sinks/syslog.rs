//! Syslog (RFC 5424) over a stream: each message behind its length (RFC 6587, 3.4.1; RFC 5425 over TLS).
//!
//! ```text
//! 412 <109>1 2026-11-21T14:13:20.000Z host-1 turnpike 1 request.start [turnpike@32473 chain="5f…" …] {"v":1,…
//! ```
//!
//! Nothing acknowledges what was sent. So what went out within the last seconds is kept, and goes out
//! again where the connection is found broken: a receiver may see a record twice.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::process;
use std::sync::Arc;

use turnpike_api::Clock;

use super::outside::{Connection, Line};
use super::{Batch, Sink, SinkError};
use crate::Format;
use crate::formats::{Native, Severity};

/// "Log audit".
const FACILITY: u32 = 13;

/// The number is the one for examples (RFC 5612): a private one is registered by who runs a network.
const SD_ID: &str = "turnpike@32473";

/// What is kept in case that the connection breaks: bytes, and for how long while it is open, in
/// milliseconds.
const KEPT: usize = 2 << 20;
const KEPT_FOR: u64 = 10_000;

/// A receiver.
pub struct Syslog {
    line: Box<dyn Line>,
    format: Format,
    clock: Arc<dyn Clock>,
    open: Option<Box<dyn Connection>>,
    /// What was sent of late, and when.
    sent: VecDeque<(u64, Vec<u8>)>,
}

impl Syslog {
    pub fn new(line: Box<dyn Line>, format: Format, clock: Arc<dyn Clock>) -> Self {
        Self {
            line,
            format,
            clock,
            open: None,
            sent: VecDeque::new(),
        }
    }

    /// Sends, on the connection there is or on a new one.
    fn send(&mut self, frames: &[u8]) -> Result<(), SinkError> {
        if let Some(mut open) = self.open.take()
            && open.is_open()
            && put(&mut *open, frames).is_ok()
        {
            self.open = Some(open);
            self.forget();
            return Ok(());
        }
        let mut open = self.connect()?;
        put(&mut *open, frames)?;
        self.open = Some(open);
        Ok(())
    }

    /// A new connection, and on it what the one before may have lost.
    fn connect(&mut self) -> Result<Box<dyn Connection>, SinkError> {
        let mut open = self.line.connect()?;
        let now = self.clock.now();
        for (at, frames) in &mut self.sent {
            put(&mut *open, frames)?;
            *at = now;
        }
        Ok(open)
    }

    fn keep(&mut self, frames: Vec<u8>) {
        self.sent.push_back((self.clock.now(), frames));
        let mut bytes: usize = self.sent.iter().map(|(_, frames)| frames.len()).sum();
        while bytes > KEPT
            && let Some((_, frames)) = self.sent.pop_front()
        {
            bytes -= frames.len();
        }
    }

    /// Lets go of what was sent so long ago, on a connection that is still open: it has arrived.
    fn forget(&mut self) {
        let now = self.clock.now();
        let has_arrived = |(at, _): &(u64, _)| now.saturating_sub(*at) > KEPT_FOR;
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
        self.send(&frames)?;
        self.keep(frames);
        Ok(())
    }

    /// A connection that broke meanwhile is made anew at once, and what may be lost sent again.
    fn confirm(&mut self) -> Result<(), SinkError> {
        self.send(&[])
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
