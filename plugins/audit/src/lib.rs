//! What happened, told so that nothing is missed.
//!
//! 1. [`events`]: a struct per thing that happens, and the list of them all; [`Action`] is what operators do.
//! 2. [`record`]: an event as a line of JSON, linked to the one before by its hash.
//! 3. [`spool`]: lines are appended to segments on the disk, many with one write.
//! 4. [`delivery`]: each sink reads the segments at its own pace, and forgets nothing it did not hand on.
//! 5. [`formats`]: how a line is written for who receives it.
//! 6. [`sinks`]: where the lines go.
//! 7. [`verify`]: whether lines are what was written, all of them and in order.
//!
//! [`log`] is all of that behind one handle. It has threads of its own and no runtime: what a call
//! waits for is one append to a file.

mod action;
mod checkpoint;
pub mod delivery;
mod ended;
pub mod events;
pub mod formats;
mod json;
pub mod log;
mod open_requests;
mod prompt;
pub mod record;
mod redact;
mod replace;
mod segment;
pub mod sinks;
pub mod spool;
#[cfg(test)]
mod tests;
pub mod verify;

pub use action::{Action, Kind};
pub use checkpoint::SigningKey;
pub use events::Event;
pub use formats::{Format, Stream};
pub use json::Whole;
pub use log::{Log, Settings};
pub use prompt::{Prompt, prompt};
pub use sinks::{Sink, SinkError};
pub use spool::{Mark, OpenError, Unavailable, WhenFull};

/// SHA-256, in hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    let digits = record::digest(&[bytes]);
    digits.iter().map(|digit| char::from(*digit)).collect()
}
