//! The splitter against a plain reading of the standard, however a stream is cut.

mod reference;

use proptest::prelude::*;
use reference::events::{plainly, split};
use turnpike_providers::{MAX_EVENT, TAIL};

const PARTS: &[&str] = &[
    "data",
    "data:",
    "data: ",
    "event:",
    "event: message_stop",
    "id: 1",
    "retry",
    ":",
    ": keep-alive",
    "\n",
    "\n",
    "\n",
    "\r",
    "\r\n",
    "\r\n",
    "\n\n",
    "{\"a\":1}",
    "x",
    " ",
    "\u{feff}",
    "ü",
    "datax: 1",
];

fn stream() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(PARTS), 0..30).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn says_what_the_standard_says(stream in stream()) {
        prop_assert_eq!(split([stream.as_bytes()]), plainly(stream.as_bytes()));
    }

    #[test]
    fn cuts_do_not_matter(stream in stream(), cuts in prop::collection::vec(0..100usize, 0..6)) {
        let stream = stream.as_bytes();
        let expected = plainly(stream);
        for at in 0..=stream.len() {
            let (head, tail) = stream.split_at(at);
            prop_assert_eq!(split([head, tail]), expected.clone(), "cut at {}", at);
        }
        prop_assert_eq!(split(stream.chunks(1)), expected.clone());
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
        cuts.sort();
        let mut pieces = Vec::new();
        let mut from = 0;
        for cut in cuts {
            pieces.push(&stream[from..cut]);
            from = cut;
        }
        pieces.push(&stream[from..]);
        prop_assert_eq!(split(pieces), expected);
    }
}

#[test]
fn an_event_too_large_shows_its_name_and_its_end() {
    for (len, whole) in [
        (MAX_EVENT - 100, true),
        (MAX_EVENT + 1, false),
        (3 * MAX_EVENT, false),
    ] {
        let filler: Vec<u8> = (0..len).map(|at| b'a' + (at % 23) as u8).collect();
        let mut stream = b"\xef\xbb\xbfdata: first\n\nevent: big\ndata: ".to_vec();
        stream.extend(&filler);
        stream.extend(b"\ndata: second line\n\ndata: next\n\n");
        let expected = plainly(&stream);
        assert_eq!(expected.len(), 3);
        assert_eq!((&expected[1].0[..], expected[1].2), (&b"big"[..], whole));
        assert!(whole || expected[1].1.len() == TAIL);
        for piece in [1000, TAIL - 1, TAIL + 1, 65_536, MAX_EVENT, 8 * MAX_EVENT] {
            assert!(
                split(stream.chunks(piece)) == expected,
                "{len} in pieces of {piece}"
            );
        }
    }
}
