//! What is asked of a model, as text: who says what, without what must not be on record.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::json::boundary;
use crate::redact::redact;

/// Of a body, what is said to the model.
const SAID: &[&str] = &[
    "contents",
    "input",
    "instructions",
    "messages",
    "prompt",
    "system",
    "systemInstruction",
    "system_instruction",
];

/// Within that, what is not said.
const UNSAID: &[&str] = &[
    "cache_control",
    "call_id",
    "detail",
    "encrypted_content",
    "id",
    "media_type",
    "mimeType",
    "mime_type",
    "signature",
    "status",
    "thoughtSignature",
    "tool_call_id",
    "tool_use_id",
    "type",
];

/// So much more than is shown is looked through: what is cut must not be shown in part.
const BEYOND: usize = 4 << 10;

/// Bytes at the end of a text that was cut before it was looked through, which may be the beginning of
/// what is left out.
const EDGE: usize = 64;

/// The texts of a body.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Prompt {
    /// What may be shown.
    pub text: String,
    /// Bytes of all there is.
    pub bytes: u64,
}

/// What this body says to a model, up to so many bytes. `known` are secrets that are not shown, whatever
/// they look like.
pub fn prompt(body: &[u8], most: usize, known: &[String]) -> Prompt {
    let mut texts = Texts {
        prompt: Prompt::default(),
        most,
        known,
    };
    let mut json = serde_json::Deserializer::from_slice(body);
    // A body that is not what it should be was refused before. What was read of it stays.
    let _ = Walk {
        texts: &mut texts,
        depth: 0,
    }
    .deserialize(&mut json);
    texts.prompt
}

/// Texts, one a line, until there is no room.
struct Texts<'k> {
    prompt: Prompt,
    most: usize,
    known: &'k [String],
}

impl Texts<'_> {
    fn push(&mut self, text: &str) {
        let Prompt { text: shown, bytes } = &mut self.prompt;
        *bytes += text.len() as u64;
        if text.is_empty() || shown.len() >= self.most {
            return;
        }
        let room = self.most - shown.len();
        let looked_at = &text[..boundary(text, room + BEYOND)];
        let mut redacted = redact(looked_at, self.known);
        if looked_at.len() < text.len() {
            let whole = boundary(&redacted, redacted.len().saturating_sub(EDGE));
            let end = redacted[..whole].rfind(char::is_whitespace);
            redacted.truncate(end.unwrap_or(0));
        }
        if !shown.is_empty() {
            shown.push('\n');
        }
        shown.push_str(&redacted);
        shown.truncate(boundary(shown, self.most));
    }

    /// Says who says what was put behind `begin`. A role may stand behind its words.
    fn role(&mut self, begin: usize, role: &str) {
        let role = redact(role, self.known);
        let role = &role[..boundary(&role, 32)];
        let shown = &mut self.prompt.text;
        let line = match (begin, shown.is_empty()) {
            (0, true) => format!("[{role}]"),
            (0, false) => format!("[{role}]\n"),
            _ => format!("\n[{role}]"),
        };
        if begin + line.len() <= self.most {
            shown.insert_str(begin, &line);
            shown.truncate(boundary(shown, self.most));
        }
    }
}

/// Goes through a value.
struct Walk<'t, 'k> {
    texts: &'t mut Texts<'k>,
    depth: usize,
}

impl<'t, 'k> Walk<'t, 'k> {
    fn below(&mut self) -> Walk<'_, 'k> {
        Walk {
            depth: self.depth + 1,
            texts: self.texts,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.texts.push(text);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self.below())?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<(), A::Error> {
        let begin = self.texts.prompt.text.len();
        while let Some(key) = entries.next_key::<String>()? {
            let is_said = match self.depth {
                0 => SAID.contains(&key.as_str()),
                _ => !UNSAID.contains(&key.as_str()),
            };
            if self.depth > 0 && key == "role" {
                if let serde_json::Value::String(role) = entries.next_value()? {
                    self.texts.role(begin, &role);
                }
            } else if is_said {
                entries.next_value_seed(self.below())?;
            } else {
                entries.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(body: &str, most: usize) -> Prompt {
        prompt(body.as_bytes(), most, &[])
    }

    #[test]
    fn every_dialect_says_what_it_says() {
        for (body, text) in [
            (
                r#"{"model":"m","messages":[{"role":"system","content":"be brief"},{"role":"user","content":[{"type":"text","text":"hello"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]},{"content":"late","role":"assistant"}],"user":"u"}"#,
                "[system]\nbe brief\n[user]\nhello\n[data URL of 26 bytes]\n[assistant]\nlate",
            ),
            (
                r#"{"system":[{"type":"text","text":"s"}],"max_tokens":9,"messages":[{"role":"user","content":"hello"}]}"#,
                "s\n[user]\nhello",
            ),
            (
                r#"{"instructions":"i","input":[{"role":"user","content":[{"type":"input_text","text":"hello"}]}]}"#,
                "i\n[user]\nhello",
            ),
            (r#"{"prompt":["a","b"]}"#, "a\nb"),
            (
                r#"{"systemInstruction":{"parts":[{"text":"s"}]},"contents":[{"role":"user","parts":[{"text":"hello"}]}]}"#,
                "s\n[user]\nhello",
            ),
        ] {
            assert_eq!(shown(body, 1000).text, text);
        }
    }

    #[test]
    fn it_is_cut_between_characters_and_the_whole_length_is_told() {
        let words = "aä ".repeat(4000);
        let body = serde_json::json!({"prompt": words}).to_string();
        for most in [1, 2, 3, 1000, 1001, 1002, 1003] {
            let shown = shown(&body, most);
            assert!(
                shown.text.len() <= most && shown.text.len() + 2 > most,
                "{most}"
            );
            assert!(words.starts_with(&shown.text));
            assert_eq!(shown.bytes, words.len() as u64);
        }
    }

    #[test]
    fn what_is_cut_is_not_shown_in_part() {
        let secret = "sk-proj-AbCdEfGh123456789012345678901234567890";
        for before in 0..80 {
            let text = format!("{} {secret} and more", "x".repeat(before));
            for most in 1..80 {
                let shown = prompt(
                    serde_json::json!({"prompt": text}).to_string().as_bytes(),
                    most,
                    &[],
                );
                assert!(!shown.text.contains("sk-proj"), "{}", shown.text);
            }
        }
        // Where what is looked through ends within it.
        for before in (BEYOND - 60)..(BEYOND + 140) {
            let filler = "data:,".to_owned() + &"x".repeat(before);
            let text = format!("{filler} {secret} {}", "y ".repeat(5000));
            let body = serde_json::json!({"prompt": text}).to_string();
            let shown = shown(&body, 100);
            assert!(!shown.text.contains("sk-"), "{}", shown.text);
        }
    }
}
