use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use turnpike_api::Usage;

use super::*;
use crate::counts::read_openai;

fn found(body: &str, piece: usize) -> (Vec<String>, bool) {
    let mut scan = AnswerScan::new(b"usage\"");
    let mut found = Vec::new();
    for piece in body.as_bytes().chunks(piece) {
        scan.feed(piece, |bytes| {
            let mut values = serde_json::Deserializer::from_slice(bytes).into_iter();
            let IgnoredAny = values.next()?.ok()?;
            let len = values.byte_offset();
            found.push(String::from_utf8_lossy(&bytes[..len]).into_owned());
            Some(len)
        });
    }
    (found, scan.is_over())
}

#[test]
fn finds_only_the_key_of_the_level() {
    for (body, expected, over) in [
        (r#"{"usage":{"a":1}}"#, &[r#"{"a":1}"#][..], true),
        (
            r#" {"x":[{"usage":{}}],"usage" : {"a":{"b":"}"}} ,"y":1}"#,
            &[r#"{"a":{"b":"}"}}"#],
            true,
        ),
        (r#"{"x":"usage","usage":null,"y":{}}"#, &[], true),
        (
            r#"{"x\"usage":{},"usag":{},"usages":{},"us\u0061ge":{}}"#,
            &[],
            true,
        ),
        (r#"{"x":"\\","usage":{"a":1}}"#, &[r#"{"a":1}"#], true),
        (
            r#"[{"usage":{"a":1}},{"usage":{"a":2}}]"#,
            &[r#"{"a":1}"#, r#"{"a":2}"#],
            true,
        ),
        (r#"[[{"usage":{"a":1}}]]"#, &[], true),
        (r#"{"x":"usage","y":"usage","z":{"usage":{}}}"#, &[], true),
        (r#"{"usage":{"a":1}"#, &[r#"{"a":1}"#], false),
        (
            r#"{"embedding":[0.1,-0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9],"usage":{}}"#,
            &["{}"],
            true,
        ),
        ("ID3\u{4} {\"usage\":{}}", &[], false),
        ("", &[], false),
    ] {
        for piece in 1..=body.len().max(1) {
            let (values, ended) = found(body, piece);
            assert_eq!(values, expected, "{body} in pieces of {piece}");
            assert_eq!(ended, over, "{body} in pieces of {piece}");
        }
    }
}

#[test]
fn a_quote_is_escaped_by_an_odd_number_of_backslashes() {
    for slashes in 0..40 {
        let text = "\\".repeat(slashes);
        let rest = if slashes % 2 == 0 { "" } else { " \"" };
        let body = format!(r#"{{"x":["{text}"{rest}],"y":"{text}"{rest},"usage":{{"a":1}}}}"#);
        for piece in 1..=body.len() {
            let expected = (vec![r#"{"a":1}"#.to_owned()], true);
            assert_eq!(found(&body, piece), expected, "{body} in pieces of {piece}");
        }
    }
}

#[test]
fn a_value_too_large_is_not_kept() {
    let body = format!("{{\"usage\":{{\"x\":\"{}\"}}}}", "x".repeat(MAX_CAPTURE));
    for piece in [1000, body.len()] {
        assert_eq!(found(&body, piece), (vec![], true));
    }
}

/// The usages found in pieces cut at these places, and whether the document ended.
fn usages<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> (Vec<Usage>, bool) {
    let mut scan = AnswerScan::new(b"usage\"");
    let mut found = Vec::new();
    for piece in pieces {
        scan.feed(piece, |bytes| {
            let (usage, len) = read_openai(bytes)?;
            found.push(usage);
            Some(len)
        });
    }
    (found, scan.is_over())
}

/// Bits of JSON, so that what they make is mostly none.
const BITS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    " ",
    "\"",
    "\\",
    "1",
    "\"usage\":{",
    "\"usage\"",
    "\"usage\" : {\"input_tokens\":1}",
    "{\"a\":{\"usage\":{\"output_tokens\":2}},",
    "\"input_tokens\":3",
    "\"input_tokens_details\":{\"x\":[\"]}\"],\"cached_tokens\":2}",
    "\"text with \\\"usage\\\":{ in it, longer than what is near\"",
];

fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<u32>().prop_map(Value::from),
        prop::sample::select(BITS).prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        let key =
            prop::sample::select(&["usage", "input_tokens", "x", "usage\"", "long\\name"][..]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::vec((key, inner), 0..5).prop_map(|members| {
                let members = members.into_iter().map(|(key, value)| (key.into(), value));
                Value::Object(members.collect::<Map<_, _>>())
            }),
        ]
    })
}

proptest! {
    #[test]
    fn cuts_do_not_matter(
        bits in prop::collection::vec(prop::sample::select(BITS), 0..30),
        open in any::<bool>(),
    ) {
        let body = if open { "{" } else { "" }.to_owned() + &bits.concat();
        let body = body.as_bytes();
        let whole = usages([body]);
        prop_assert_eq!(&usages(body.chunks(1)), &whole);
        prop_assert_eq!(&usages(body.chunks(7)), &whole);
        for at in 0..body.len() {
            prop_assert_eq!(&usages([&body[..at], &body[at..]]), &whole, "cut at {}", at);
        }
    }

    #[test]
    fn finds_what_a_parser_finds(document in document(), pretty in any::<bool>()) {
        let roots = match &document {
            Value::Array(elements) => elements.iter().collect(),
            other => vec![other],
        };
        let expected: Vec<_> = roots
            .into_iter()
            .filter_map(|root| root.get("usage"))
            .filter_map(|usage| read_openai(usage.to_string().as_bytes()))
            .map(|(usage, _)| usage)
            .collect();
        let text = if pretty { format!("{document:#}") } else { document.to_string() };
        let (found, over) = usages([text.as_bytes()]);
        prop_assert_eq!(found, expected);
        prop_assert_eq!(over, document.is_object() || document.is_array());
    }
}
