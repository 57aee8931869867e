//! The scan against `serde_json`, on documents that were made and then broken.

mod reference;

use proptest::prelude::*;
use reference::body::agree;
use turnpike_providers::{ScanError, scan};

const KEYS: &[&str] = &[
    "model",
    "Model",
    "stream",
    "STREAM",
    "ſtream",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "stream_options",
    "include_usage",
    "generationConfig",
    "generation_config",
    "maxOutputTokens",
    "messages",
    "",
];

const SCALARS: &[&str] = &[
    "null",
    "true",
    "false",
    "0",
    "-0",
    "12",
    "1.5",
    "-7",
    "1e3",
    "1E-2",
    "0.0e+1",
    "1e308",
    "1e309",
    "-1e400",
    "0e999",
    "1e-999",
    "01",
    "1.",
    ".5",
    "1e",
    "-",
    "nul",
    "18446744073709551616",
    "\"gpt-4o\"",
    "\"\"",
    "\"a b\"",
    "\"\\u0041\\ud83d\\ude00\"",
    "\"\\ud83d\"",
    "\"\\ude00\"",
    "\"\\ud83d\\u0041\"",
    "\"\\x\"",
    "\"\\\"\"",
    "\"ü\\/\"",
    "\"\u{7f}\"",
    "\"\t\"",
    "{}",
    "[]",
    "\"a text that is longer than a vector, and then some more of it: 0123456789 0123456789\\n\"",
];

const BLANKS: &[&str] = &["", "", "", " ", "\n", "\t\r\n ", "\u{a0}"];

/// A key in quotes, some of its characters escaped.
fn key() -> impl Strategy<Value = String> {
    (prop::sample::select(KEYS), any::<u32>()).prop_map(|(key, escapes)| {
        let chars = key
            .chars()
            .enumerate()
            .map(|(at, char)| match escapes >> (at % 32) & 7 {
                0 => format!("\\u{:04x}", char as u32),
                _ => char.to_string(),
            });
        format!("\"{}\"", chars.collect::<String>())
    })
}

fn json() -> impl Strategy<Value = String> {
    let blank = || prop::sample::select(BLANKS);
    let scalar = prop::sample::select(SCALARS).prop_map(str::to_owned);
    scalar.prop_recursive(4, 32, 6, move |inner| {
        let list =
            prop::collection::vec((blank(), inner.clone(), blank()), 0..5).prop_map(|items| {
                let items: Vec<_> = items
                    .iter()
                    .map(|(a, item, b)| format!("{a}{item}{b}"))
                    .collect();
                format!("[{}]", items.join(","))
            });
        prop_oneof![list, object(inner)]
    })
}

fn object(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let blank = || prop::sample::select(BLANKS);
    prop::collection::vec((blank(), key(), blank(), value, blank()), 0..6).prop_map(|members| {
        let members: Vec<_> = members
            .iter()
            .map(|(a, key, b, value, c)| format!("{a}{key}{b}:{c}{value}{b}"))
            .collect();
        format!("{{{}}}", members.join(","))
    })
}

/// A document of only what is well formed, so that most are read to their end.
fn request() -> impl Strategy<Value = String> {
    object(json().prop_filter("well formed", |value| {
        serde_json::from_str::<serde_json::Value>(value).is_ok()
    }))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn agrees_on_documents(body in object(json())) {
        agree(body.as_bytes());
    }

    #[test]
    fn agrees_on_requests(body in request()) {
        agree(body.as_bytes());
    }

    #[test]
    fn agrees_on_broken_requests(
        body in request(),
        at in any::<prop::sample::Index>(),
        byte in prop_oneof![any::<u8>(), prop::sample::select(&b"{}[]\",:\\ue0-\x00"[..])],
        how in 0..4,
    ) {
        let mut body = body.into_bytes();
        let at = at.index(body.len());
        match how {
            0 => body[at] = byte,
            1 => body.insert(at, byte),
            2 => { body.remove(at); }
            _ => body.truncate(at),
        }
        agree(&body);
    }

    #[test]
    fn agrees_on_bytes(body in prop::collection::vec(any::<u8>(), 0..64)) {
        agree(&body);
    }
}

#[test]
fn agrees_on_every_scalar() {
    for scalar in SCALARS {
        for key in KEYS {
            agree(format!("{{\"{key}\":{scalar}}}").as_bytes());
            agree(format!("{{\"generationConfig\":{{\"{key}\":{scalar}}}}}").as_bytes());
            agree(format!("{{\"stream_options\":{{\"{key}\":{scalar}}}}}").as_bytes());
        }
        agree(scalar.as_bytes());
    }
}

#[test]
fn agrees_on_depth() {
    for key in [
        "messages",
        "stream_options",
        "generationConfig",
        "max_tokens",
    ] {
        for depth in 120..135 {
            let lists = format!("{{\"{key}\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
            let objects = format!(
                "{{\"{key}\":{}1{}}}",
                "{\"a\":".repeat(depth),
                "}".repeat(depth)
            );
            agree(lists.as_bytes());
            agree(objects.as_bytes());
        }
    }
    let body = |depth: usize| {
        format!(
            "{}{}",
            "{\"a\":".repeat(depth),
            "1".to_owned() + &"}".repeat(depth)
        )
    };
    assert!(scan(body(127).as_bytes()).is_ok());
    assert_eq!(scan(body(128).as_bytes()), Err(ScanError::TooDeep));
}

#[test]
fn agrees_on_long_numbers() {
    for digits in [1, 17, 19, 20, 21, 40, 299, 300, 308, 309, 310, 400] {
        for number in [
            "9".repeat(digits),
            "1".repeat(digits),
            format!("0.{}", "0".repeat(digits)),
            format!("-{}.5", "9".repeat(digits)),
            format!("0.{}1e{digits}", "0".repeat(digits)),
            format!("{}e-{digits}", "9".repeat(digits)),
        ] {
            agree(format!("{{\"a\":{number}}}").as_bytes());
            agree(format!("{{\"max_tokens\":{number}}}").as_bytes());
        }
    }
    for number in [
        "1.7976931348623157e308",
        "1.7976931348623159e308",
        "17976931348623158e292",
    ] {
        agree(format!("{{\"a\":{number}}}").as_bytes());
    }
}
