//! The vendors: how each wants to be called, and what its answers mean. No I/O.
//!
//! | to read | look in |
//! |---|---|
//! | a vendor's URLs, headers, models, errors | `openai.rs` and its data rows, `claude.rs`, `gemini.rs` |
//! | whose fault an error is | `complaint.rs`, refined by each vendor |
//! | when to come back after one | `hint.rs` |
//! | what the gateway reads of a request's body | [`scan()`] over `walk.rs`, [`multipart_model`] |
//! | usage, beginning and end of an answer | `metering.rs` over [`Splitter`] with `stream_events.rs` and `openings.rs`, and `answer_scan.rs`; `counts.rs` |
//! | the model that an answer says it is of | [`SaidModel`] |
//! | how the gateway itself answers as a model would | [`spoken::say`], [`spoken::unsay`] |
//!
//! To add a vendor that speaks OpenAI's protocol: write a constant in `openai.rs` and its row
//! below. To add another: one file, its `mod` line and its row. Then add its answers to
//! `tests/conformance.rs`.

mod answer_scan;
mod claude;
mod complaint;
mod counts;
mod credential;
mod event_stream;
mod gemini;
mod hint;
mod metering;
mod multipart;
mod openai;
mod openings;
mod said_model;
mod scan;
pub mod spoken;
mod stream_events;
mod walk;
mod words;

use std::sync::Arc;

use turnpike_api::{Provider, Row};

pub use event_stream::{Event, MAX_EVENT, Splitter, TAIL};
pub use multipart::multipart_model;
pub use said_model::SaidModel;
pub use scan::{MAX_MODEL, Model, Scan, ScanError, scan};

/// The providers by the `kind` that configuration names.
pub const PROVIDERS: &[Row<dyn Provider, ()>] = &[
    Row {
        kind: "openai",
        build: |()| Arc::new(openai::OPENAI),
    },
    Row {
        kind: "codex",
        build: |()| Arc::new(openai::CODEX),
    },
    Row {
        kind: "claude",
        build: |()| Arc::new(claude::Claude),
    },
    Row {
        kind: "gemini",
        build: |()| Arc::new(gemini::GEMINI),
    },
    Row {
        kind: "vertex",
        build: |()| Arc::new(gemini::VERTEX),
    },
    Row {
        kind: "azure-openai",
        build: |()| Arc::new(openai::AZURE),
    },
    Row {
        kind: "openai-compatible",
        build: |()| Arc::new(openai::COMPATIBLE),
    },
    Row {
        kind: "mistral",
        build: |()| Arc::new(openai::MISTRAL),
    },
    Row {
        kind: "groq",
        build: |()| Arc::new(openai::GROQ),
    },
    Row {
        kind: "deepseek",
        build: |()| Arc::new(openai::DEEPSEEK),
    },
    Row {
        kind: "openrouter",
        build: |()| Arc::new(openai::OPENROUTER),
    },
];
