//! `cargo +nightly fuzz run scan`: the scan accepts and reads what `serde_json` does.
#![no_main]

#[path = "../../tests/reference/mod.rs"]
mod reference;

libfuzzer_sys::fuzz_target!(|body: &[u8]| reference::body::agree(body));
