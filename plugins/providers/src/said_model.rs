//! The model that an answer says it is of: a name that an alias became at its provider, with its date.
//!
//! It is asked of few calls, those whose trace is recorded, and so the meters do not look for it.

use turnpike_api::Operation;

/// A name that is longer is none.
const LONGEST: usize = 256;

/// Looks for the name in an answer that passes, whole or as events, in pieces cut anywhere. It is taken
/// where the vendor says it: what a model writes, or calls a tool with, may have members of any name.
pub struct SaidModel {
    /// The key of the name, and of the object that holds it where the answer itself does not.
    key: &'static [u8],
    holder: Option<&'static [u8]>,
    place: Place,
    /// Objects and arrays inside each other, but for an array around all.
    depth: u32,
    /// What is open at the second level is the holder.
    held: bool,
    /// The last key where names are looked for, and whether its value comes next.
    last: Vec<u8>,
    is_value: bool,
    /// The string under way, no longer than what is no name.
    text: Vec<u8>,
    name: Option<Box<str>>,
}

enum Place {
    Between,
    InString,
    /// After a backslash.
    Escaped,
}

impl SaidModel {
    /// In the answer to this operation.
    pub fn of(operation: Operation) -> Self {
        use Operation::*;
        let (key, holder): (&[u8], Option<&[u8]>) = match operation {
            GenerateContent | StreamGenerateContent | CountTokens | EmbedContent => {
                (b"modelVersion", None)
            }
            ChatCompletions | Completions | Embeddings | CountMessageTokens | PassThrough => {
                (b"model", None)
            }
            Responses => (b"model", Some(b"response")),
            Messages => (b"model", Some(b"message")),
        };
        Self {
            key,
            holder,
            place: Place::Between,
            depth: 0,
            held: false,
            last: Vec::new(),
            is_value: false,
            text: Vec::new(),
            name: None,
        }
    }

    /// Looks through the next piece.
    pub fn read(&mut self, piece: &[u8]) {
        for byte in piece {
            if self.name.is_some() {
                return;
            }
            match self.place {
                Place::Between => self.between(*byte),
                Place::InString => self.in_string(*byte),
                Place::Escaped => {
                    self.keep(*byte);
                    self.place = Place::InString;
                }
            }
        }
    }

    /// What it said.
    pub fn name(self) -> Option<Box<str>> {
        self.name
    }

    fn between(&mut self, byte: u8) {
        match byte {
            // What stands between the data of events is no JSON.
            b'"' if self.depth > 0 => {
                self.text.clear();
                self.place = Place::InString;
            }
            b'[' if self.depth == 0 => {}
            b'{' | b'[' => {
                let is_holder = self.is_value && self.holder == Some(&self.last);
                self.held |= self.depth == 1 && byte == b'{' && is_holder;
                self.depth += 1;
                self.is_value = false;
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                self.held &= self.depth > 1;
            }
            b':' => self.is_value = true,
            b',' => self.is_value = false,
            _ => {}
        }
    }

    fn in_string(&mut self, byte: u8) {
        match byte {
            b'"' => {
                self.place = Place::Between;
                if self.depth == 1 || self.depth == 2 && self.held {
                    self.said();
                }
            }
            _ => {
                if byte == b'\\' {
                    self.place = Place::Escaped;
                }
                self.keep(byte);
            }
        }
    }

    fn keep(&mut self, byte: u8) {
        if self.text.len() <= LONGEST {
            self.text.push(byte);
        }
    }

    /// A string has ended where names are looked for.
    fn said(&mut self) {
        if !self.is_value {
            std::mem::swap(&mut self.last, &mut self.text);
        } else if self.last == self.key {
            self.name = name(&self.text);
        }
    }
}

/// The name that a string is, unless it is none.
fn name(text: &[u8]) -> Option<Box<str>> {
    let is_name = (1..=LONGEST).contains(&text.len()) && !text.contains(&b'\\');
    str::from_utf8(text).ok().filter(|_| is_name).map(Box::from)
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
    fn pieces_are_cut_anywhere() {
        let answer =
            "data: {\"type\":\"message_start\",\"message\":{\"model\":\"claude-haiku-4-5\"}}\n\n";
        for at in 0..answer.len() {
            let (first, second) = answer.split_at(at);
            let name = said(Operation::Messages, &[first, second]);
            assert_eq!(name.as_deref(), Some("claude-haiku-4-5"), "{at}");
        }
    }

    #[test]
    fn what_a_model_writes_is_not_taken_for_its_name() {
        let call = r#"{"choices":[{"message":{"tool_calls":[{"args":{"model":"a secret"}}]}}]"#;
        let part = r#"{"candidates":[{"content":{"parts":[{"functionCall":{"args":{"modelVersion":"a secret"}}}]}}]"#;
        let block = r#"{"content":[{"input":{"message":{"model":"a secret"}}}],"message":["x","model","y"]"#;
        for (operation, answer, key) in [
            (Operation::ChatCompletions, call, "model"),
            (Operation::StreamGenerateContent, part, "modelVersion"),
            (Operation::Messages, block, "model"),
        ] {
            assert_eq!(said(operation, &[answer, "}"]), None);
            let end = format!(",\"{key}\":\"m\"}}");
            assert_eq!(said(operation, &[answer, &end]).as_deref(), Some("m"));
        }
    }

    #[test]
    fn a_stream_that_is_an_array_says_it_in_its_objects() {
        let answer = "[{\"candidates\":[]}\n,\r\n{\"modelVersion\":\"gemini-2.5-pro\"}]";
        let name = said(Operation::StreamGenerateContent, &[answer]);
        assert_eq!(name.as_deref(), Some("gemini-2.5-pro"));
    }

    #[test]
    fn what_is_no_name_is_passed_over() {
        let chat = Operation::ChatCompletions;
        for cut in ["", "{\"model\"", "{\"model\":", "{\"model\":\"cut"] {
            assert_eq!(said(chat, &[cut]), None, "{cut}");
        }
        let long = format!("{{\"model\":\"{}\"}}", "m".repeat(LONGEST + 1));
        for answer in [
            "{\"model\":null}",
            "{\"model\":\"\"}",
            "{\"model\":\"a\\nb\"}",
            "{\"model\":\"a\\\"b\"}",
            "{\"role\":\"model\"}",
            &long,
        ] {
            assert_eq!(said(chat, &[answer]), None, "{answer}");
            let then = said(chat, &[answer, "{\"model\":{},\"model\":\"m\"}"]);
            assert_eq!(then.as_deref(), Some("m"), "{answer}");
        }
    }
}
