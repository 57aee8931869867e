//! `cargo +nightly fuzz run event_stream`: the splitter reads a stream as the standard has it,
//! wherever it is cut. The first byte says how long the pieces are.
#![no_main]

#[path = "../../tests/reference/mod.rs"]
mod reference;

use reference::events::{plainly, split};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((&piece, stream)) = input.split_first() else { return };
    let expected = plainly(stream);
    assert_eq!(split([stream]), expected);
    assert_eq!(split(stream.chunks(usize::from(piece).max(1))), expected);
});
