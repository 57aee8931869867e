//! What the gateway reads of a request's body: the model, whether to stream, the bound on output.
//!
//! One pass over the bytes. It accepts the documents `serde_json` accepts, so that nothing which
//! the gateway understood differently reaches a provider, and refuses those whose meaning hangs on
//! which of two equal keys a parser takes.

use std::borrow::Cow;
use std::ops::Range;

use thiserror::Error;

use crate::walk::{Literal, Stop, Walk};

/// The longest model name, in bytes.
pub const MAX_MODEL: usize = 512;

/// No key longer than this can be one of those read here: each of the longest one's characters
/// written as `\uXXXX`.
const LONGEST_KEY: usize = 6 * "max_completion_tokens".len() + 2;

/// What a body says of the call.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Scan<'a> {
    /// The top-level `model`.
    pub model: Option<Model<'a>>,
    /// The top-level `stream`; absent and null are false.
    pub stream: bool,
    /// The largest bound on output tokens that the body gives under any of its names. One that is
    /// not a number is for the provider to refuse.
    pub max_tokens: Option<u64>,
    /// `stream_options.include_usage`.
    pub include_usage: bool,
    /// Where the value of `stream_options` stands, for asking for usage in it.
    pub stream_options: Option<Range<usize>>,
}

/// A model's name and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model<'a> {
    /// Its text, escapes resolved. Not empty, at most [`MAX_MODEL`] bytes.
    pub name: Cow<'a, str>,
    /// The bytes an alias rewrite replaces: in JSON the string with its quotes, in a form the bare
    /// value.
    pub span: Range<usize>,
}

/// Why a body is refused; the text is for the caller.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ScanError {
    /// A parser would stop here.
    #[error("the body is not valid JSON at byte {at}")]
    NotJson {
        /// The offset of the first byte that does not fit.
        at: usize,
    },
    /// Another kind of value.
    #[error("the body is not a JSON object")]
    NotAnObject,
    /// Beyond what JSON parsers take.
    #[error("the body is nested more than 127 levels deep")]
    TooDeep,
    /// Parsers disagree on which of the two counts.
    #[error("'{0}' is given twice")]
    DuplicateKey(&'static str),
    /// A number, null or the like.
    #[error("'model' is not a string")]
    ModelNotAString,
    /// More than [`MAX_MODEL`] bytes.
    #[error("'model' is longer than 512 bytes")]
    ModelTooLong,
    /// `""`.
    #[error("'model' is empty")]
    ModelEmpty,
    /// Neither a boolean nor null.
    #[error("'stream' is not a boolean")]
    BadStream,
    /// Anywhere in a JSON body, or within a form's model.
    #[error("the body is not valid UTF-8 at byte {at}")]
    InvalidUtf8 {
        /// The offset of the first byte that is not, or of the string that has it.
        at: usize,
    },
}

impl From<Stop> for ScanError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Malformed(at) => Self::NotJson { at },
            Stop::TooDeep => Self::TooDeep,
        }
    }
}

impl<'a> Model<'a> {
    pub(crate) fn new(name: Cow<'a, str>, span: Range<usize>) -> Result<Self, ScanError> {
        match name.len() {
            0 => Err(ScanError::ModelEmpty),
            1..=MAX_MODEL => Ok(Self { name, span }),
            _ => Err(ScanError::ModelTooLong),
        }
    }
}

/// Reads a JSON body.
pub fn scan(body: &[u8]) -> Result<Scan<'_>, ScanError> {
    let mut walk = Walk::new(body);
    match walk.peek() {
        Some(b'{') => {}
        Some(b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => {
            return Err(ScanError::NotAnObject);
        }
        _ => return Err(ScanError::NotJson { at: walk.at() }),
    }
    let mut reading = Reading::default();
    members(&mut walk, |walk, key| reading.member(walk, key))?;
    if walk.peek().is_some() {
        return Err(ScanError::NotJson { at: walk.at() });
    }
    if walk.beyond_ascii() {
        check_utf8(body, 0)?;
    }
    Ok(reading.scan)
}

/// Refuses what is not UTF-8; `bytes` begin at `start` of the body.
pub(crate) fn check_utf8(bytes: &[u8], start: usize) -> Result<&str, ScanError> {
    std::str::from_utf8(bytes).map_err(|error| ScanError::InvalidUtf8 {
        at: start + error.valid_up_to(),
    })
}

/// Over an object; the cursor stands on its brace. `member` gets each key and walks over its value.
fn members<'a>(
    walk: &mut Walk<'a>,
    mut member: impl FnMut(&mut Walk<'a>, &[u8]) -> Result<(), ScanError>,
) -> Result<(), ScanError> {
    walk.step();
    if walk.peek() == Some(b'}') {
        walk.step();
        return Ok(());
    }
    loop {
        let key = walk.key()?;
        member(walk, &key_text(walk, &key)?)?;
        match walk.peek() {
            Some(b',') => walk.step(),
            Some(b'}') => {
                walk.step();
                return Ok(());
            }
            _ => return Ok(walk.malformed()?),
        }
    }
}

/// A key as the provider will decode it: `mod\u0065l` is `model`.
#[inline(always)]
fn key_text<'a>(walk: &Walk<'a>, key: &Literal) -> Result<Cow<'a, [u8]>, ScanError> {
    if key.escapes == 0 {
        return Ok(Cow::Borrowed(walk.raw(key)));
    }
    if key.span.len() > LONGEST_KEY {
        return Ok(Cow::Borrowed(b""));
    }
    Ok(Cow::Owned(text(walk, key)?.into_owned().into_bytes()))
}

fn text<'a>(walk: &Walk<'a>, literal: &Literal) -> Result<Cow<'a, str>, ScanError> {
    walk.text(literal).ok_or(ScanError::InvalidUtf8 {
        at: literal.span.start,
    })
}

#[derive(Default)]
struct Reading<'a> {
    scan: Scan<'a>,
    seen: u8,
}

impl<'a> Reading<'a> {
    fn member(&mut self, walk: &mut Walk<'a>, key: &[u8]) -> Result<(), ScanError> {
        match key {
            b"model" => self.once(1, "model").and_then(|()| self.model(walk)),
            b"stream" => self.once(2, "stream").and_then(|()| self.stream(walk)),
            b"max_tokens" => self
                .once(4, "max_tokens")
                .and_then(|()| self.bound(walk, 1)),
            b"max_completion_tokens" => self
                .once(8, "max_completion_tokens")
                .and_then(|()| self.bound(walk, 1)),
            b"max_output_tokens" => self
                .once(16, "max_output_tokens")
                .and_then(|()| self.bound(walk, 1)),
            b"stream_options" => self
                .once(32, "stream_options")
                .and_then(|()| self.stream_options(walk)),
            b"generationConfig" | b"generation_config" => self.generation_config(walk),
            _ => {
                // Go's parser, which some upstreams are built on, matches names without regard to
                // case: beside `model`, `Model` would be the one it takes.
                match key.len() {
                    5 if key.eq_ignore_ascii_case(b"model") => self.once(1, "model")?,
                    6 | 7 if is_stream_in_go(key) => self.once(2, "stream")?,
                    _ => {}
                }
                Ok(walk.value(1)?)
            }
        }
    }

    fn once(&mut self, bit: u8, key: &'static str) -> Result<(), ScanError> {
        if self.seen & bit != 0 {
            return Err(ScanError::DuplicateKey(key));
        }
        self.seen |= bit;
        Ok(())
    }

    fn model(&mut self, walk: &mut Walk<'a>) -> Result<(), ScanError> {
        if walk.peek() != Some(b'"') {
            return Err(ScanError::ModelNotAString);
        }
        let literal = walk.string()?;
        // Six bytes a character is the most an escape takes: do not decode what is too long anyway.
        if literal.span.len() > 6 * MAX_MODEL + 2 {
            return Err(ScanError::ModelTooLong);
        }
        self.scan.model = Some(Model::new(text(walk, &literal)?, literal.span)?);
        Ok(())
    }

    fn stream(&mut self, walk: &mut Walk<'a>) -> Result<(), ScanError> {
        match walk.peek() {
            Some(b't' | b'f' | b'n') => {
                self.scan.stream = walk.word()?.unwrap_or(false);
                Ok(())
            }
            _ => Err(ScanError::BadStream),
        }
    }

    /// A bound on output tokens, inside `outer` containers.
    fn bound(&mut self, walk: &mut Walk<'a>, outer: u32) -> Result<(), ScanError> {
        if !matches!(walk.peek(), Some(b'-' | b'0'..=b'9')) {
            return Ok(walk.value(outer)?);
        }
        self.scan.max_tokens = self.scan.max_tokens.max(whole_number(walk.number()?));
        Ok(())
    }

    fn stream_options(&mut self, walk: &mut Walk<'a>) -> Result<(), ScanError> {
        let brace = walk.peek();
        let start = walk.at();
        if brace == Some(b'{') {
            members(walk, |walk, key| self.stream_option(walk, key))?;
        } else {
            walk.value(1)?;
        }
        self.scan.stream_options = Some(start..walk.at());
        Ok(())
    }

    fn stream_option(&mut self, walk: &mut Walk<'a>, key: &[u8]) -> Result<(), ScanError> {
        if key == b"include_usage" {
            let first = walk.peek();
            self.scan.include_usage = first == Some(b't');
        }
        Ok(walk.value(2)?)
    }

    fn generation_config(&mut self, walk: &mut Walk<'a>) -> Result<(), ScanError> {
        if walk.peek() != Some(b'{') {
            return Ok(walk.value(1)?);
        }
        members(walk, |walk, key| match key {
            b"maxOutputTokens" | b"max_output_tokens" => self.bound(walk, 2),
            _ => Ok(walk.value(2)?),
        })
    }
}

/// Whether Go's parser takes this key for `stream`: its case folding knows the long `s` (U+017F)
/// too. None of `model`'s letters has such a twin.
fn is_stream_in_go(key: &[u8]) -> bool {
    let rest = match key {
        [b's' | b'S', rest @ ..] | [0xc5, 0xbf, rest @ ..] => rest,
        _ => return false,
    };
    rest.eq_ignore_ascii_case(b"tream")
}

/// A number as a count, rounded up: some providers take `1e3` and `1000.0` for a thousand.
fn whole_number(text: &[u8]) -> Option<u64> {
    let count = text.iter().try_fold(0u64, |count, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        count.checked_mul(10)?.checked_add(digit)
    });
    count.or_else(|| {
        let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
        // The cast saturates.
        (number >= 0.0).then(|| number.ceil() as u64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(body: &str) -> ScanError {
        scan(body.as_bytes()).expect_err(body)
    }

    #[test]
    fn reads_a_chat() {
        let body = br#"{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}],
            "stream" : true,"stream_options":{"include_usage":true},"max_tokens":12}"#;
        let scan = scan(body).unwrap();
        let model = scan.model.unwrap();
        assert_eq!(
            (&*model.name, &body[model.span]),
            ("gpt-4o", &b"\"gpt-4o\""[..])
        );
        assert!(scan.stream && scan.include_usage);
        assert_eq!(scan.max_tokens, Some(12));
        assert_eq!(
            &body[scan.stream_options.unwrap()],
            br#"{"include_usage":true}"#
        );
    }

    #[test]
    fn escapes_in_keys_and_model_are_resolved() {
        let body = br#"{"mod\u0065l":"gpt\u002d4o","str\u0065am":true}"#;
        let scan = scan(body).unwrap();
        let model = scan.model.unwrap();
        assert_eq!(model.name, "gpt-4o");
        assert_eq!(&body[model.span], br#""gpt\u002d4o""#);
        assert!(scan.stream);
        assert_eq!(
            refusal(r#"{"model":"a","mod\u0065l":"b"}"#),
            ScanError::DuplicateKey("model")
        );
    }

    #[test]
    fn keys_that_differ_in_case_only_are_given_twice() {
        for (body, key) in [
            (r#"{"model":"a","Model":"b"}"#, "model"),
            (r#"{"MODEL":"b","model":"a"}"#, "model"),
            (r#"{"model":"a","mod\u0045l":"b"}"#, "model"),
            (r#"{"stream":true,"Stream":false}"#, "stream"),
            (r#"{"stream":true,"\u017ftream":false}"#, "stream"),
            (r#"{"ſTREAM":true,"stream":false}"#, "stream"),
        ] {
            assert_eq!(refusal(body), ScanError::DuplicateKey(key), "{body}");
        }
        for body in [
            r#"{"model":"a","models":1,"mode":1,"Modes":1}"#,
            r#"{"stream":true,"streams":1,"dream_":1,"ftream":1}"#,
            r#"{"Model":"b","Stream":7}"#,
            r#"{"model":"a","metadata":{"Model":"b"}}"#,
        ] {
            assert!(scan(body.as_bytes()).is_ok(), "{body}");
        }
    }

    #[test]
    fn only_the_top_level_counts() {
        let scan = scan(br#"{"x":{"model":"a","stream":true,"max_tokens":1},"y":["model","b"]}"#);
        assert_eq!(scan.unwrap(), Scan::default());
    }

    #[test]
    fn the_largest_bound_counts() {
        for (body, expected) in [
            (
                r#"{"max_tokens":1,"max_completion_tokens":3,"max_output_tokens":2}"#,
                Some(3),
            ),
            (r#"{"generationConfig":{"maxOutputTokens":7}}"#, Some(7)),
            (
                r#"{"generation_config":{"max_output_tokens":7},"max_tokens":null}"#,
                Some(7),
            ),
            (r#"{"max_tokens":1e3}"#, Some(1000)),
            (r#"{"max_tokens":1.5}"#, Some(2)),
            (r#"{"max_tokens":-1}"#, None),
            (r#"{"max_tokens":"5"}"#, None),
            (r#"{"max_tokens":99999999999999999999999}"#, Some(u64::MAX)),
        ] {
            assert_eq!(
                scan(body.as_bytes()).unwrap().max_tokens,
                expected,
                "{body}"
            );
        }
    }

    #[test]
    fn refusals() {
        for (body, expected) in [
            ("", ScanError::NotJson { at: 0 }),
            ("\u{feff}{}", ScanError::NotJson { at: 0 }),
            ("{} x", ScanError::NotJson { at: 3 }),
            ("{\"a\":01}", ScanError::NotJson { at: 6 }),
            ("{\"a\":1e999}", ScanError::NotJson { at: 5 }),
            ("{\"a\":\"\\ud800\"}", ScanError::NotJson { at: 12 }),
            ("{\"a\":\"\n\"}", ScanError::NotJson { at: 6 }),
            ("{\"a\":1,}", ScanError::NotJson { at: 7 }),
            ("[]", ScanError::NotAnObject),
            ("{\"model\":null}", ScanError::ModelNotAString),
            ("{\"model\":\"\"}", ScanError::ModelEmpty),
            ("{\"stream\":1}", ScanError::BadStream),
            (
                "{\"stream\":true,\"stream\":true}",
                ScanError::DuplicateKey("stream"),
            ),
            (
                "{\"max_tokens\":1,\"max_tokens\":1}",
                ScanError::DuplicateKey("max_tokens"),
            ),
        ] {
            assert_eq!(refusal(body), expected, "{body}");
        }
        let long = format!("{{\"model\":\"{}\"}}", "m".repeat(513));
        assert_eq!(refusal(&long), ScanError::ModelTooLong);
        assert_eq!(
            scan(b"{\"a\":\"\xff\"}"),
            Err(ScanError::InvalidUtf8 { at: 6 })
        );
    }
}
