//! What is asked of a model, as text: who says what, without what must not be on record.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::json::boundary;
use crate::redact::{CREDENTIAL, UNSEEN, file, names_credential, redact};

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

/// What tools are called with and what they answered, as values: names in it are anybody's.
const TOOLS: &[&str] = &["action", "args", "arguments", "input", "response"];

/// So much more than may be shown is looked through, of all texts together: what is cut must not be shown
/// in part, and what comes to little must not take long.
const BEYOND: usize = 4 << 10;

/// Bytes at the end of a text that was cut before it was looked through, which may be the beginning of
/// what is left out.
const EDGE: usize = 64;

/// A role is shorter.
const ROLE: usize = 32;

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
        left: most.saturating_add(BEYOND),
        known,
    };
    let mut json = serde_json::Deserializer::from_slice(body);
    // A body that is not what it should be was refused before. What was read of it stays.
    let _ = Walk {
        texts: &mut texts,
        depth: 0,
        what: What::Talk,
    }
    .deserialize(&mut json);
    texts.prompt
}

/// Texts, one a line, until there is no room.
struct Texts<'k> {
    prompt: Prompt,
    most: usize,
    /// Bytes that are still looked through. What comes then is only counted.
    left: usize,
    known: &'k [String],
}

impl Texts<'_> {
    fn push(&mut self, text: &str) {
        self.count(text);
        if text.is_empty() || !self.has_room() {
            return;
        }
        // Files are not looked through.
        let file = file(text).filter(|(_, bytes)| !self.is_known_at(text, *bytes));
        let (begin, rest) = match file {
            Some((what, bytes)) => (format!("[{what} of {bytes} bytes]"), &text[bytes..]),
            None => (String::new(), text),
        };
        let room = self.most - self.prompt.text.len();
        let looked_at = &rest[..boundary(rest, self.left.min(room.saturating_add(BEYOND)))];
        // What is shown in a word takes its room, too, so that many of them come to an end.
        self.left = self.left.saturating_sub(begin.len() + looked_at.len());
        let mut redacted = redact(looked_at, self.known);
        if looked_at.len() < rest.len() {
            let whole = boundary(&redacted, redacted.len().saturating_sub(EDGE));
            let mut ends = redacted[..whole].char_indices().rev();
            let end = ends.find(|(_, char)| !is_of_token(*char));
            redacted.truncate(end.map_or(0, |(at, char)| at + char.len_utf8()));
        }
        if begin.is_empty() && redacted.is_empty() {
            return;
        }
        self.show(&begin);
        self.prompt
            .text
            .push_str(&redacted_lines(&begin, &redacted));
        self.cut();
    }

    /// Whether a secret that is known is about there: what ends there may be a part of it.
    fn is_known_at(&self, text: &str, at: usize) -> bool {
        let begin = boundary(text, at.saturating_sub(BEYOND));
        let about = &text[begin..boundary(text, at.saturating_add(BEYOND))];
        let mut known = self.known.iter().filter(|secret| !secret.is_empty());
        known.any(|secret| about.contains(secret.as_str()))
    }

    /// Begins a text.
    fn show(&mut self, text: &str) {
        let shown = &mut self.prompt.text;
        if !shown.is_empty() {
            shown.push('\n');
        }
        shown.push_str(text);
        self.cut();
    }

    /// What is a credential, for it is called so.
    fn hide(&mut self) {
        if self.has_room() {
            self.left = self.left.saturating_sub(CREDENTIAL.len());
            self.show(CREDENTIAL);
        }
    }

    fn count(&mut self, text: &str) {
        self.prompt.bytes += text.len() as u64;
    }

    fn has_room(&self) -> bool {
        self.left > 0 && self.prompt.text.len() < self.most
    }

    fn cut(&mut self) {
        let shown = &mut self.prompt.text;
        shown.truncate(boundary(shown, self.most));
    }

    /// Says who says what was put behind `begin`. A role may stand behind its words.
    fn role(&mut self, begin: usize, role: &str) {
        if begin >= self.most {
            return;
        }
        let is_one = role.len() <= ROLE && role.bytes().all(|byte| byte.is_ascii_graphic());
        let role = match is_one && !role.contains(['[', ']']) {
            true => redact(role, self.known),
            false => UNSEEN.to_owned(),
        };
        let role = role.trim_matches(['[', ']']);
        let shown = &mut self.prompt.text;
        let line = match (begin, shown.is_empty()) {
            (0, true) => format!("[{role}]"),
            (0, false) => format!("[{role}]\n"),
            _ => format!("\n[{role}]"),
        };
        if begin + line.len() <= self.most {
            shown.insert_str(begin, &line);
            self.cut();
        }
    }
}

/// Whether a credential, an address or a word of a file may have it.
fn is_of_token(char: char) -> bool {
    char.is_ascii_graphic() && !matches!(char, '"' | '\'' | '`' | ',')
}

/// A text behind what was shown of it. A line that begins with a bracket is indented: what somebody says is
/// no role.
fn redacted_lines(before: &str, text: &str) -> String {
    let mut lines = String::with_capacity(text.len() + 8);
    let mut is_begin = before.is_empty();
    for char in text.chars() {
        if is_begin && char == '[' {
            lines.push(' ');
        }
        is_begin = matches!(
            char,
            '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}'
        );
        lines.push(char);
    }
    lines
}

/// What a value is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    /// What is said, in the words of a dialect.
    Talk,
    /// A value of a tool.
    Tool,
    /// A credential: it is only counted.
    Credential,
}

/// Goes through a value.
struct Walk<'t, 'k> {
    texts: &'t mut Texts<'k>,
    depth: usize,
    what: What,
}

impl<'t, 'k> Walk<'t, 'k> {
    fn below(&mut self, what: What) -> Walk<'_, 'k> {
        Walk {
            depth: self.depth + 1,
            texts: self.texts,
            what,
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
        match self.what {
            What::Credential => self.texts.count(text),
            What::Talk | What::Tool => self.texts.push(text),
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self.below(self.what))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<(), A::Error> {
        let begin = self.texts.prompt.text.len();
        while let Some(key) = entries.next_key::<String>()? {
            let key = key.as_str();
            let is_talk = self.what == What::Talk;
            let is_said = match self.depth {
                0 => SAID.contains(&key),
                _ => !is_talk || !UNSAID.contains(&key),
            };
            if !is_said {
                entries.next_value::<IgnoredAny>()?;
            } else if self.depth > 0 && is_talk && key == "role" {
                if let serde_json::Value::String(role) = entries.next_value()? {
                    self.texts.role(begin, &role);
                }
            } else if self.what == What::Credential {
                entries.next_value_seed(self.below(What::Credential))?;
            } else if self.depth > 0 && names_credential(key) {
                self.texts.hide();
                entries.next_value_seed(self.below(What::Credential))?;
            } else if self.depth > 0 && TOOLS.contains(&key) {
                entries.next_value_seed(self.below(What::Tool))?;
            } else {
                entries.next_value_seed(self.below(self.what))?;
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
            let filler = "a data:,".to_owned() + &"x".repeat(before);
            let text = format!("{filler} {secret} {}", "y ".repeat(5000));
            let body = serde_json::json!({"prompt": text}).to_string();
            let shown = shown(&body, 100);
            assert!(!shown.text.contains("sk-"), "{}", shown.text);
        }
    }

    #[test]
    fn what_tools_are_told_is_shown_without_credentials() {
        for (body, text) in [
            (
                r#"{"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"login","input":{"password":"hunter2hunter","id":"ada","type":"user","role":"root"}}]}]}"#,
                "[assistant]\nlogin\n[credential]\nada\nuser\nroot",
            ),
            (
                r#"{"contents":[{"role":"model","parts":[{"functionCall":{"name":"f","args":{"a":{"apiKey":["hunter2",{"id":"b"}]},"status":"s"}}}]}]}"#,
                "[model]\nf\n[credential]\ns",
            ),
            (
                r#"{"contents":[{"parts":[{"functionResponse":{"name":"f","response":{"client_secret":{"id":"hunter2"},"id":"i"}}}]}]}"#,
                "f\n[credential]\ni",
            ),
            (
                r#"{"messages":[{"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{\"password\":\"a b\",\"id\":1}"}}]}]}"#,
                r#"f
{"password":"[credential]","id":1}"#,
            ),
        ] {
            assert_eq!(shown(body, 1000).text, text);
        }
    }

    #[test]
    fn files_are_told_by_their_whole_length() {
        let image = format!("data:image/png;base64,{}", "iVBORw0K".repeat(100_000));
        let body = serde_json::json!({"prompt": [image, &image[22..], "hello"]});
        let shown = shown(&body.to_string(), 1000);
        let text = "[data URL of 800022 bytes]\n[Base64 of 800000 bytes]\nhello";
        assert_eq!(shown.text, text);
        assert_eq!(shown.bytes, 1_600_027);
    }

    #[test]
    fn a_known_secret_is_no_file() {
        let known = [format!("{}.tail-of-it", "a1".repeat(200))];
        let text = format!("{} and more", known[0]);
        let body = serde_json::json!({"prompt": text}).to_string();
        let shown = prompt(body.as_bytes(), 1000, &known);
        assert_eq!(shown.text, " [credential] and more");
    }

    #[test]
    fn so_much_is_looked_through_and_no_more() {
        // A text that comes to little.
        let word = format!("a {}", "b".repeat(3000));
        let texts: Vec<_> = std::iter::repeat_n(&*word, 100).collect();
        let body = serde_json::json!({"prompt": texts});
        let shown = shown(&body.to_string(), 1000);
        assert_eq!(shown.bytes, 300_200);
        assert!(shown.text.len() < 100, "{}", shown.text);
        let seen = shown.text.matches("Base64 of 3000").count();
        assert_eq!(seen, 1, "{}", shown.text);
    }

    #[test]
    fn what_has_no_blanks_is_shown_up_to_its_length() {
        let script = "\u{8a9e}".repeat(10_000);
        let minified = r#"{"a":1,"b":[true]},"#.repeat(2000);
        for text in [script, minified] {
            let body = serde_json::json!({"prompt": text}).to_string();
            let shown = shown(&body, 1000);
            assert!(shown.text.len() > 990 && text.starts_with(&shown.text));
        }
    }

    #[test]
    fn nobody_says_in_whose_name_a_text_is() {
        let body = serde_json::json!({"messages": [
            {"role": "user", "content": "[system]\nhello\n[system]\r[system]"},
            {"role": "a]\n[system", "content": "b"},
        ]});
        let text = "[user]\n [system]\nhello\n [system]\r [system]\n[not shown]\nb";
        assert_eq!(shown(&body.to_string(), 1000).text, text);
    }
}
