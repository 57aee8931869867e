use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::*;

#[test]
fn openai_spellings() {
    let chat = br#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,
        "prompt_tokens_details":{"cached_tokens":4,"audio_tokens":null},
        "completion_tokens_details":{"reasoning_tokens":3}},"and":"more"#;
    let expected = Usage {
        input: 10,
        output: 5,
        cache_read: 4,
        cache_write: 0,
        reasoning: 3,
    };
    assert_eq!(openai(chat), Some(expected));
    let responses = br#"{"input_tokens":10,"input_tokens_details":{"cached_tokens":4},
        "output_tokens":5,"output_tokens_details":{"reasoning_tokens":3}}"#;
    assert_eq!(openai(responses), Some(expected));
    let deepseek = br#"{"prompt_tokens":10,"completion_tokens":5,"prompt_cache_hit_tokens":4,
        "completion_tokens_details":{"reasoning_tokens":3}}"#;
    assert_eq!(openai(deepseek), Some(expected));
    assert_eq!(openai(br#"{"type":"duration","seconds":3}"#), None);
}

#[test]
fn anthropic_caches_are_input() {
    let counts = br#"{"input_tokens":1,"cache_creation_input_tokens":20,
        "cache_read_input_tokens":300,"output_tokens":4}"#;
    let expected = Usage {
        input: 321,
        output: 4,
        cache_read: 300,
        cache_write: 20,
        reasoning: 0,
    };
    assert_eq!(read_anthropic(counts), Some((expected, counts.len())));
}

#[test]
fn gemini_thoughts_are_output() {
    let counts = br#"{"promptTokenCount":10,"toolUsePromptTokenCount":2,
        "candidatesTokenCount":5,"thoughtsTokenCount":7,"cachedContentTokenCount":3}"#;
    let expected = Usage {
        input: 12,
        output: 12,
        cache_read: 3,
        cache_write: 0,
        reasoning: 7,
    };
    assert_eq!(gemini(counts), Some(expected));
}

const KEYS: &[&str] = &[
    // In details.
    "cached_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    // Details.
    "prompt_tokens_details",
    "input_tokens_details",
    "completion_tokens_details",
    "output_tokens_details",
    // Counts.
    "prompt_tokens",
    "completion_tokens",
    "input_tokens",
    "output_tokens",
    "prompt_cache_hit_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "promptTokenCount",
    "toolUsePromptTokenCount",
    "candidatesTokenCount",
    "thoughtsTokenCount",
    "cachedContentTokenCount",
    "x",
    "",
    "prompt_token",
];

/// The first seven are counts or null. (Arrays have a length that no counts have fields: `serde` reads
/// them as objects without keys.)
const VALUES: &[&str] = &[
    "0",
    "7",
    "12",
    "1024",
    "18446744073709551615",
    "null",
    "null",
    "18446744073709551616",
    "123456789012345678901234567890",
    "1.5",
    "1.0",
    "1e3",
    "-1",
    "-0",
    "true",
    "\"7\"",
    "\"a \\\" } , \"",
    "[]",
    "[1,{\"input_tokens\":1},\"]\",null,[],{},7,8,9,10,11]",
    "{}",
    "{\"prompt_tokens\":{\"x\":[1,\"}\"]}}",
    "{\"cached_tokens\":3,\"cache_write_tokens\":null}",
    "{\"x\":[{}], \"reasoning_tokens\" : 5 }",
    "{\"reasoning_tokens\":1.5}",
    "{\"cached_tokens\":1,\"cached_tokens\":2}",
];

/// A key in quotes, perhaps with an escape.
fn key(keys: &'static [&'static str]) -> impl Strategy<Value = String> {
    (prop::sample::select(keys), any::<prop::sample::Index>()).prop_map(|(key, at)| {
        let at = at.index(5 * (key.len() + 1));
        match key.get(at..at + 1) {
            Some(byte) => format!(
                "\"{}\\u{:04x}{}\"",
                &key[..at],
                byte.as_bytes()[0],
                &key[at + 1..]
            ),
            None => format!("\"{key}\""),
        }
    })
}

fn member() -> impl Strategy<Value = (String, String)> {
    let sure = prop::sample::select(&VALUES[..7]).prop_map(str::to_owned);
    let details =
        prop::collection::vec((key(&KEYS[..3]), sure.clone()), 0..4).prop_map(|members| {
            let members = members.iter().map(|(key, value)| format!("{key} :{value}"));
            format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
        });
    let any = prop::sample::select(VALUES).prop_map(str::to_owned);
    prop_oneof![
        6 => (key(&KEYS[7..]), sure),
        4 => (key(&KEYS[3..7]), details),
        1 => (key(KEYS), any),
    ]
}

/// What `serde` makes of the object, taking the last of equal keys; `None` when one member is not
/// as it must be, whether or not another one of that key comes later.
fn by_serde<C: DeserializeOwned>(
    members: &[(String, String)],
    usage: fn(&C) -> Option<Usage>,
) -> Option<Usage> {
    let read = |text: &str| {
        let value: Value = serde_json::from_str(text).expect("JSON");
        serde_json::from_value::<C>(value).ok()
    };
    for (key, value) in members {
        read(&format!("{{{key}:{value}}}"))?;
    }
    let members = members.iter().map(|(key, value)| format!("{key}:{value}"));
    usage(&read(&format!(
        "{{{}}}",
        members.collect::<Vec<_>>().join(",")
    ))?)
}

proptest! {
    #[test]
    fn agrees_with_serde(
        members in prop::collection::vec(member(), 0..8),
        blanks in prop::sample::select(&[["", "", ""], [" ", "\n  ", "\t"]][..]),
        rest in prop::sample::select(&["", "}", ",\"x\":1}", "{"][..]),
    ) {
        let [before, between, after] = blanks;
        let text = members.iter().map(|(key, value)| {
            format!("{between}{key}{after}:{before}{value}{after}")
        });
        let object = format!("{{{}{between}}}", text.collect::<Vec<_>>().join(","));
        let text = format!("{object}{rest}");
        let whole = |usage: Option<Usage>| usage.map(|usage| (usage, object.len()));
        prop_assert_eq!(
            read_openai(text.as_bytes()),
            whole(by_serde(&members, OpenAiCounts::usage)),
            "{}", text
        );
        prop_assert_eq!(
            read_anthropic(text.as_bytes()),
            whole(by_serde(&members, AnthropicCounts::usage)),
            "{}", text
        );
        prop_assert_eq!(
            read_gemini(text.as_bytes()),
            whole(by_serde(&members, GeminiCounts::usage)),
            "{}", text
        );
        for end in 0..object.len() {
            prop_assert_eq!(read_openai(&object.as_bytes()[..end]), None);
        }
    }

    #[test]
    fn takes_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        read_openai(&[b"{\"", &bytes[..]].concat());
        read_openai(&[b"{\"input_tokens\":", &bytes[..]].concat());
    }
}
