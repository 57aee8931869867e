//! Asking a stream for its usage where the caller did not, and taking the answer's extra chunk out
//! again (`metering.inject_usage`).
//!
//! OpenAI's streams say what they used only when asked, in one more chunk without choices before
//! `[DONE]`. A quota needs to know it; a caller that did not ask must not be surprised by it.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use memchr::memmem::{self, FinderRev};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};
use turnpike_providers::MAX_EVENT;

/// The change of a body that makes its stream state its usage: what is replaced, and by what.
pub(super) fn ask(body: &[u8], options: Option<&Range<usize>>) -> Option<(Range<usize>, Vec<u8>)> {
    if let Some(options) = options {
        let written: Value = serde_json::from_slice(body.get(options.clone())?).ok()?;
        let mut asked = match written {
            Value::Object(options) => options,
            Value::Null => Map::new(),
            // The provider has something to say to that.
            _ => return None,
        };
        asked.insert("include_usage".into(), json!(true));
        return Some((options.clone(), Value::Object(asked).to_string().into()));
    }
    let inside = memchr::memchr(b'{', body)? + 1;
    Some((
        inside..inside,
        br#""stream_options":{"include_usage":true},"#.to_vec(),
    ))
}

/// Lets a stream through, but for the chunk with the usage.
#[derive(Default)]
pub(super) struct WithoutUsage {
    /// The beginning of an event whose end has not come.
    pending: BytesMut,
}

impl WithoutUsage {
    /// What may pass of the stream after the next piece: whole events, or all there is `at_end`.
    pub(super) fn pass(&mut self, piece: Bytes, at_end: bool) -> Bytes {
        if self.pending.is_empty() && piece.ends_with(b"\n\n") && !may_have(&piece) {
            return piece;
        }
        self.pending.extend_from_slice(&piece);
        let whole = match end_of_events(&self.pending) {
            _ if at_end => self.pending.len(),
            // Whatever it is, it is not the chunk.
            0 if self.pending.len() > MAX_EVENT => self.pending.len(),
            whole => whole,
        };
        let events = self.pending.split_to(whole).freeze();
        if may_have(&events) {
            without(&events)
        } else {
            events
        }
    }
}

/// Whether there is a chunk without choices.
fn may_have(events: &[u8]) -> bool {
    [&br#""choices":[]"#[..], br#""choices": []"#]
        .iter()
        .any(|sign| memmem::find(events, sign).is_some())
}

/// Where the last whole event ends.
fn end_of_events(bytes: &[u8]) -> usize {
    let after = |blank: &[u8]| {
        let found = FinderRev::new(blank).rfind(bytes);
        found.map_or(0, |at| at + blank.len())
    };
    after(b"\n\n").max(after(b"\r\n\r\n"))
}

fn without(events: &[u8]) -> Bytes {
    let mut kept = BytesMut::with_capacity(events.len());
    let mut rest = events;
    while !rest.is_empty() {
        let blank = |blank: &[u8]| memmem::find(rest, blank).map(|at| at + blank.len());
        let ends = [blank(b"\n\n"), blank(b"\r\n\r\n")];
        let end = ends.into_iter().flatten().min().unwrap_or(rest.len());
        let (event, after) = rest.split_at(end);
        if !is_usage(event) {
            kept.extend_from_slice(event);
        }
        rest = after;
    }
    kept.freeze()
}

/// Whether an event is the chunk that only says what was used.
fn is_usage(event: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Chunk {
        choices: Vec<IgnoredAny>,
        usage: Option<IgnoredAny>,
    }
    let mut lines = event.split(|byte| matches!(byte, b'\n' | b'\r'));
    let Some(data) = lines.find_map(|line| line.strip_prefix(b"data:")) else {
        return false;
    };
    serde_json::from_slice::<Chunk>(data)
        .is_ok_and(|chunk| chunk.choices.is_empty() && chunk.usage.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str =
        "data: {\"choices\":[{\"delta\":{\"content\":\"\\\"choices\\\":[]\"}}],\"usage\":null}\n\n";
    const USAGE: &str = "data: {\"id\":\"x\",\"choices\":[],\"usage\":{\"total_tokens\":3}}\n\n";
    // Azure begins with one.
    const FILTERS: &str = "data: {\"choices\":[],\"prompt_filter_results\":[]}\n\n";
    const DONE: &str = "data: [DONE]\n\n";

    #[test]
    fn only_the_chunk_with_the_usage_goes_wherever_the_stream_is_cut() {
        let stream = [FILTERS, BEFORE, USAGE, DONE].concat();
        let expected = [FILTERS, BEFORE, DONE].concat();
        for size in 1..=stream.len() {
            let mut filter = WithoutUsage::default();
            let mut passed = Vec::new();
            for piece in stream.as_bytes().chunks(size) {
                passed.extend_from_slice(&filter.pass(Bytes::copy_from_slice(piece), false));
            }
            passed.extend_from_slice(&filter.pass(Bytes::new(), true));
            assert_eq!(
                String::from_utf8(passed).unwrap(),
                expected,
                "pieces of {size}"
            );
        }
    }

    #[test]
    fn carriage_returns_end_lines_too() {
        let crlf = |event: &str| event.replace('\n', "\r\n");
        let mut filter = WithoutUsage::default();
        let stream = [BEFORE, USAGE, DONE].map(crlf).concat();
        let passed = filter.pass(stream.into(), true);
        assert_eq!(passed, [BEFORE, DONE].map(crlf).concat());
    }

    #[test]
    fn a_piece_with_nothing_to_hide_is_not_copied() {
        let piece = Bytes::from_static(BEFORE.replace("[]", "").leak().as_bytes());
        let passed = WithoutUsage::default().pass(piece.clone(), false);
        assert_eq!(passed.as_ptr(), piece.as_ptr());
    }

    #[test]
    fn a_body_is_made_to_ask() {
        let asked = |body: &str, options: Option<&str>| {
            let options = options.map(|options| {
                let at = body.find(options).unwrap();
                at..at + options.len()
            });
            let (range, with) = ask(body.as_bytes(), options.as_ref())?;
            let mut body = body.to_owned();
            body.replace_range(range, std::str::from_utf8(&with).unwrap());
            Some(body)
        };
        assert_eq!(
            asked(r#" {"model":"m"}"#, None).unwrap(),
            r#" {"stream_options":{"include_usage":true},"model":"m"}"#
        );
        for (options, expected) in [
            ("{}", r#"{"include_usage":true}"#),
            ("null", r#"{"include_usage":true}"#),
            (
                r#"{"include_usage":false,"a":1}"#,
                r#"{"a":1,"include_usage":true}"#,
            ),
        ] {
            let body = format!(r#"{{"stream_options":{options},"model":"m"}}"#);
            let expected = format!(r#"{{"stream_options":{expected},"model":"m"}}"#);
            assert_eq!(asked(&body, Some(options)).unwrap(), expected);
        }
        assert_eq!(asked(r#"{"stream_options":7}"#, Some("7")), None);
    }
}
