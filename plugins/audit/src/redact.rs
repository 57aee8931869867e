//! What people write, without what must not be on record: credentials of the shapes that are known, keys,
//! e-mail addresses, card numbers, and files in Base64.
//!
//! It errs on the side of leaving out: a hash looks as a key does.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Error, Regex};

/// What is looked for, and what stands there then; `None` = it may stay.
struct Rule {
    pattern: Regex,
    put: fn(&Captures<'_>) -> Option<String>,
}

/// Patterns that do not compile show nothing of any text.
static RULES: LazyLock<Result<Vec<Rule>, Error>> = LazyLock::new(rules);

/// What stands for a text that cannot be looked through.
const UNSEEN: &str = "[not shown]";

const CREDENTIAL: &str = "[credential]";

/// A known secret that is shorter is none: its letters stand everywhere.
const SHORTEST: usize = 8;

/// A short text without the credentials that it has by mistake: those that are known, and those that begin
/// as credentials do.
pub(crate) fn credentials(text: &str, known: &[String]) -> String {
    match PREFIXES.as_ref() {
        Ok(pattern) => {
            let text = without(text, known);
            pattern.replace_all(&text, CREDENTIAL).into_owned()
        }
        Err(_) => UNSEEN.to_owned(),
    }
}

static PREFIXES: LazyLock<Result<Regex, Error>> = LazyLock::new(|| Regex::new(PREFIXED));

/// The text as it may be on record. `known` are secrets that it must not have, whatever they look like.
pub(crate) fn redact(text: &str, known: &[String]) -> String {
    let Ok(rules) = &*RULES else {
        return UNSEEN.to_owned();
    };
    let mut text = without(text, known);
    for rule in rules {
        let replaced = rule.pattern.replace_all(&text, |found: &Captures<'_>| {
            (rule.put)(found).unwrap_or_else(|| found[0].to_owned())
        });
        if let Cow::Owned(replaced) = replaced {
            text = replaced;
        }
    }
    text
}

/// Without secrets that are known.
fn without(text: &str, known: &[String]) -> String {
    let mut text = text.to_owned();
    for secret in known.iter().filter(|secret| secret.len() >= SHORTEST) {
        if text.contains(secret.as_str()) {
            text = text.replace(secret.as_str(), CREDENTIAL);
        }
    }
    text
}

/// In this order: what is found first is not looked at again.
fn rules() -> Result<Vec<Rule>, Error> {
    let rule = |pattern: &str, put| {
        let pattern = Regex::new(pattern)?;
        Ok(Rule { pattern, put })
    };
    Ok(vec![
        rule(KEY_BLOCK, |_| Some("[key]".to_owned()))?,
        rule(DATA_URL, |found| {
            Some(format!("[data URL of {} bytes]", found[0].len()))
        })?,
        rule(FILE, |found| {
            Some(format!("[Base64 of {} bytes]", found[0].len()))
        })?,
        rule(PREFIXED, |_| Some(CREDENTIAL.to_owned()))?,
        rule(SCHEME, |found| {
            let is_one = found["value"].bytes().any(|byte| byte.is_ascii_digit());
            is_one.then(|| format!("{} {CREDENTIAL}", &found["scheme"]))
        })?,
        rule(ASSIGNED, |found| {
            Some(format!("{}{CREDENTIAL}", &found["name"]))
        })?,
        rule(IN_URL, |_| Some(format!("://{CREDENTIAL}@")))?,
        rule(EMAIL, |_| Some("[e-mail address]".to_owned()))?,
        rule(DIGITS, |found| {
            is_card(&found[0]).then(|| "[card number]".to_owned())
        })?,
        rule(LONG, |found| {
            looks_random(&found[0]).then(|| CREDENTIAL.to_owned())
        })?,
    ])
}

/// To its end, or to that of the text. Line breaks may be written in any way.
const KEY_BLOCK: &str =
    r"(?s)-----BEGIN [A-Z0-9 ]*KEY(?: BLOCK)?-----.*?(?:-----END [A-Z0-9 ]*KEY(?: BLOCK)?-----|\z)";

const DATA_URL: &str = r"(?-u)data:[\w.+/;=-]*,[A-Za-z0-9+/=_%-]*";

/// What is so long is a file, not a word.
const FILE: &str = r"[A-Za-z0-9+/_=-]{256,}";

/// By how they begin: those of model vendors, of clouds, of forges, and our own. Of ASCII: the letters of all
/// scripts would make it too large.
const PREFIXED: &str = concat!(
    r"(?-u)\b(?:",
    r"sk-[\w-]{8,}",
    r"|(?:sk|pk|rk)_(?:live|test)_\w{8,}",
    r"|tp-[\w.-]{8,}",
    r"|AIza[\w-]{8,}",
    r"|ya29\.[\w.-]{8,}",
    r"|(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}",
    r"|gh[pousr]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}",
    r"|xox[a-z]-[\w-]{8,}|xapp-[\w-]{8,}",
    r"|(?:hf|gsk|r8|npm|sbp)_\w{16,}|(?:xai|pplx|nvapi|pypi)-[\w-]{16,}",
    r"|dckr_pat_[\w-]{16,}|dop_v1_\w{16,}|shp(?:at|ca|pa|ss)_\w{16,}|lin_api_\w{16,}",
    r"|whsec_[\w+/=-]{8,}|SG\.[\w-]{8,}\.[\w-]{8,}|hvs\.[\w-]{16,}|AGE-SECRET-KEY-1\w{8,}",
    r"|eyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)*",
    r")",
);

/// As headers have them.
const SCHEME: &str = r"(?i)\b(?P<scheme>bearer|basic)\s+(?P<value>[A-Za-z0-9+/=._~-]{8,})";

/// As files of settings and programs have them.
const ASSIGNED: &str = concat!(
    r#"(?i)(?P<name>[\w.-]*(?:api[_-]?key|secret|passw(?:or)?d|token|credential|private[_-]?key|access[_-]?key|authorization)"#,
    r#"[\w.-]*["']?\s*(?::|=>|=)\s*["']?)"#,
    r#"(?:(?:bearer|basic|token)\s+)?[^\s"'`,;\[\]{}()]{6,}"#,
);

const IN_URL: &str = r"://[^\s/:@]+:[^\s/@]+@";

const EMAIL: &str = r"[\w.%+-]+@[\w-]+(?:\.[\w-]+)*\.\w{2,}";

const DIGITS: &str = r"[0-9](?:[ -]?[0-9]){12,18}";

const LONG: &str = r"[A-Za-z0-9+/]{32,}={0,2}";

/// Whether digits are what the number of a card is (ISO/IEC 7812).
fn is_card(text: &str) -> bool {
    let digits = text.bytes().rev().filter(u8::is_ascii_digit);
    let sum: u32 = digits
        .enumerate()
        .map(|(nth, digit)| {
            let digit = u32::from(digit - b'0');
            match nth % 2 {
                1 if digit > 4 => 2 * digit - 9,
                1 => 2 * digit,
                _ => digit,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Whether letters and digits are in no order, as those of a key are and those of a path are not.
fn looks_random(text: &str) -> bool {
    let count = |of: fn(&u8) -> bool| text.bytes().filter(of).count();
    let (digits, capitals) = (count(u8::is_ascii_digit), count(u8::is_ascii_uppercase));
    let letters = count(u8::is_ascii_alphabetic);
    match text.contains('/') {
        true => digits > 0 && capitals * 5 >= text.len(),
        false => digits > 0 && letters > 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        redact(text, &["the-key-of-whom-it-may-concern".to_owned()])
    }

    #[test]
    fn the_patterns_are_patterns() {
        assert!(RULES.is_ok() && PREFIXES.is_ok());
    }

    #[test]
    fn credentials_are_left_out_wherever_they_stand() {
        let jwt = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl";
        for secret in [
            "sk-proj-AbCd1234efgh",
            "sk-openai-1",
            "sk-ant-api03-xyz_ABC-123456",
            "tp-0190b3c15f6b7c3d.Zm9vYmFyYmF6",
            "AIzaSyA-1234567890",
            "ya29.a0AfH6SMBx",
            "AKIAIOSFODNN7EXAMPLE",
            "ghp_0123456789abcdefABCD",
            "github_pat_11ABCDEFG0123456789",
            "glpat-0123456789abcdefABCD",
            "xoxb-123456789-abcdef",
            "hf_abcdefghijklmnopqrst",
            "whsec_MfKQ9r8GKYqrTwjU",
            "0123456789abcdef0123456789abcdef",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "the-key-of-whom-it-may-concern",
            jwt,
        ] {
            for text in [
                format!("use {secret} for it"),
                format!("\"{secret}\""),
                format!("curl -H 'Authorization: Bearer {secret}'"),
                format!("KEY={secret}\nnext"),
                format!("({secret})."),
            ] {
                let shown = shown(&text);
                assert!(!shown.contains(secret), "{text}: {shown}");
                assert!(shown.contains(CREDENTIAL), "{text}: {shown}");
            }
        }
        for (text, left) in [
            ("password: hunter2hunter", "password: [credential]"),
            (
                "\"client_secret\": \"q8r7w6\"",
                "\"client_secret\": \"[credential]\"",
            ),
            (
                "DB_PASSWORD=correct-horse next",
                "DB_PASSWORD=[credential] next",
            ),
            (
                "postgres://ada:lovelace@db/x",
                "postgres://[credential]@db/x",
            ),
            (
                "authorization: Basic YWRhOjEyMzQ1",
                "authorization: Basic [credential]",
            ),
        ] {
            assert_eq!(shown(text), left);
        }
    }

    #[test]
    fn keys_files_addresses_and_cards_are_left_out() {
        let block = "-----BEGIN RSA PRIVATE KEY-----\nMIIB\nAAAA\n-----END RSA PRIVATE KEY-----";
        assert_eq!(shown(&format!("a {block} b")), "a [key] b");
        assert_eq!(shown(&block[..40]), "[key]", "also one without an end");
        assert_eq!(shown("-----BEGIN PUBLIC KEY-----\\nMII"), "[key]");
        let image = format!("data:image/png;base64,{}", "iVBORw0K".repeat(100));
        assert_eq!(shown(&image), "[data URL of 822 bytes]");
        assert_eq!(shown(&"aGVsbG8g".repeat(50)), "[Base64 of 400 bytes]");
        let mails = "from ada.l+x@mail.acme.example, Bücher@bücher.example";
        assert_eq!(shown(mails), "from [e-mail address], [e-mail address]");
        for card in [
            "4111111111111111",
            "4111 1111 1111 1111",
            "3782-822463-10005",
        ] {
            assert_eq!(shown(&format!("pay {card} now")), "pay [card number] now");
        }
    }

    #[test]
    fn who_somebody_says_they_are_stays() {
        let known = ["the-key-of-whom-it-may-concern".to_owned()];
        for (text, left) in [
            ("ada@acme.example", "ada@acme.example"),
            ("4111111111111111", "4111111111111111"),
            (
                "0123456789abcdef0123456789abcdef",
                "0123456789abcdef0123456789abcdef",
            ),
            ("the-key-of-whom-it-may-concern", CREDENTIAL),
            ("tp-0190b3c15f6b7c3d.Zm9vYmFyYmF6", CREDENTIAL),
        ] {
            assert_eq!(credentials(text, &known), left);
        }
    }

    #[test]
    fn what_people_write_stays() {
        for text in [
            "hello, basic understanding of bearer instruments",
            "order 4111111111111112 of 2026-11-21T14:13:20.000Z",
            "fn tokens(max: u32) -> Option<u32> { max.checked_sub(1) } // src/request/count.rs:17",
            "see plugins/audit/src/formats/native and docs/decisions/0001-own-http-application",
            "the risk-adjusted desk-top, task-force-something-else",
            "max_tokens: 4096",
            "ä ö ü 日本語 \u{1f980}",
        ] {
            assert_eq!(shown(text), text);
        }
    }
}
