//! The model that an answer says it is of: a name that an alias became at its provider, with its date.
//!
//! It is asked of few calls, those whose trace is recorded, and so the meters do not look for it.

use memchr::memmem;
use turnpike_api::Operation;

/// A name that is longer is none.
const LONGEST: usize = 256;

/// Looks for the name in an answer that passes. One that two pieces share is not found, unless it comes
/// again.
pub struct SaidModel {
    /// Within a text each of its quotes would stand behind a backslash.
    key: &'static [u8],
    name: Option<Box<str>>,
}

impl SaidModel {
    /// In the answer to this operation.
    pub fn of(operation: Operation) -> Self {
        use Operation::*;
        let key: &[u8] = match operation {
            GenerateContent | StreamGenerateContent | CountTokens | EmbedContent => {
                b"\"modelVersion\""
            }
            ChatCompletions | Completions | Responses | Embeddings | Messages
            | CountMessageTokens | PassThrough => b"\"model\"",
        };
        Self { key, name: None }
    }

    /// Looks through the next piece.
    pub fn read(&mut self, piece: &[u8]) {
        if self.name.is_some() {
            return;
        }
        let ends = memmem::find_iter(piece, self.key).map(|at| at + self.key.len());
        let mut names = ends.filter_map(|end| text(&piece[end..]));
        self.name = names.next().map(Box::from);
    }

    /// What it said.
    pub fn name(self) -> Option<Box<str>> {
        self.name
    }
}

/// The text that stands behind a key, unless something else does.
fn text(bytes: &[u8]) -> Option<&str> {
    let value = bytes.trim_ascii_start().strip_prefix(b":")?;
    let value = value.trim_ascii_start().strip_prefix(b"\"")?;
    let value = &value[..value.len().min(LONGEST + 1)];
    let value = &value[..memchr::memchr(b'"', value)?];
    let is_plain = !value.is_empty() && !value.contains(&b'\\');
    str::from_utf8(value).ok().filter(|_| is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(operation: Operation, pieces: &[&str]) -> Option<Box<str>> {
        let mut said = SaidModel::of(operation);
        pieces.iter().for_each(|piece| said.read(piece.as_bytes()));
        said.name()
    }

    #[test]
    fn each_dialect_says_it_in_its_way() {
        for (operation, answer, name) in [
            (
                Operation::ChatCompletions,
                r#"{"id":"c","model":"gpt-4o-2024-08-06","choices":[]}"#,
                "gpt-4o-2024-08-06",
            ),
            (
                Operation::Responses,
                "event: response.created\ndata: {\"response\":{\"instructions\":\"be \\\"model\\\": \\\"x\\\"\", \"model\" : \"o3\"}}",
                "o3",
            ),
            (
                Operation::Messages,
                r#"data: {"type":"message_start","message":{"model":"claude-sonnet-4-5-20250929"}}"#,
                "claude-sonnet-4-5-20250929",
            ),
            (
                Operation::StreamGenerateContent,
                r#"{"candidates":[{"content":{"role":"model"}}],"modelVersion":"gemini-2.5-flash"}"#,
                "gemini-2.5-flash",
            ),
        ] {
            assert_eq!(said(operation, &[answer]).as_deref(), Some(name));
        }
    }

    #[test]
    fn what_is_no_name_is_passed_over() {
        let chat = Operation::ChatCompletions;
        let long = format!("{{\"model\":\"{}\"}}", "m".repeat(LONGEST + 1));
        for answer in [
            "",
            "{\"model\"",
            "{\"model\":",
            "{\"model\":\"cut",
            "{\"model\":null}",
            "{\"model\":\"\"}",
            "{\"model\":\"a\\nb\"}",
            "{\"role\":\"model\"}",
            &long,
        ] {
            assert_eq!(said(chat, &[answer]), None, "{answer}");
            let then = said(chat, &[answer, "{\"model\":{},\"model\":\"m\"}"]);
            assert_eq!(then.as_deref(), Some("m"), "{answer}");
        }
    }
}
