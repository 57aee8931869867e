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
    put: Put,
}

type Put = fn(&Captures<'_>) -> Option<String>;

/// Patterns that do not compile show nothing of any text.
static RULES: LazyLock<Result<Rules, Error>> = LazyLock::new(rules);

/// What stands for a text that cannot be looked through.
pub(crate) const UNSEEN: &str = "[not shown]";

pub(crate) const CREDENTIAL: &str = "[credential]";

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
    for rule in &rules.before {
        rule.apply(&mut text);
    }
    text = unassigned(&rules.assigned, text);
    for rule in &rules.after {
        rule.apply(&mut text);
    }
    text
}

/// Whether what has this name is a credential.
pub(crate) fn names_credential(name: &str) -> bool {
    // Where that cannot be told, it is one.
    RULES
        .as_ref()
        .map_or(true, |rules| rules.named.is_match(name))
}

/// The file that a text begins with: what it is, and how many bytes of the text. No pattern is looked for,
/// for files are long.
pub(crate) fn file(text: &str) -> Option<(&'static str, usize)> {
    let run = |text: &str, is: fn(&u8) -> bool| text.bytes().take_while(is).count();
    if let Some(rest) = text.strip_prefix(DATA) {
        let head = run(rest, |byte| is_in(*byte, b"_.+/;=-"));
        if let Some(body) = rest[head..].strip_prefix(',') {
            let body = run(body, |byte| is_in(*byte, b"+/=_%-"));
            return Some(("data URL", DATA.len() + head + 1 + body));
        }
    }
    let len = run(text, |byte| is_in(*byte, b"+/=_-"));
    (len >= FILE_BYTES).then_some(("Base64", len))
}

const DATA: &str = "data:";

fn is_in(byte: u8, others: &[u8]) -> bool {
    byte.is_ascii_alphanumeric() || others.contains(&byte)
}

impl Rule {
    fn new(pattern: &str, put: Put) -> Result<Self, Error> {
        let pattern = Regex::new(pattern)?;
        Ok(Self { pattern, put })
    }

    fn apply(&self, text: &mut String) {
        let replaced = self.pattern.replace_all(text, |found: &Captures<'_>| {
            (self.put)(found).unwrap_or_else(|| found[0].to_owned())
        });
        if let Cow::Owned(replaced) = replaced {
            *text = replaced;
        }
    }
}

/// Without what is assigned to names of credentials. Where a quote opens that is all up to the one that
/// closes it, and without one all there is.
fn unassigned(pattern: &Regex, text: String) -> String {
    let (mut out, mut from) = (String::new(), 0);
    while let Some(found) = pattern.captures_at(&text, from) {
        let (Some(all), Some(name)) = (found.get(0), found.name("name")) else {
            break;
        };
        let Some(quote) = found.name("quote") else {
            out.push_str(&text[from..name.end()]);
            out.push_str(CREDENTIAL);
            from = all.end();
            continue;
        };
        let begin = all.end();
        let slashes = found.name("slashes").map_or(0, |slashes| slashes.len());
        let end = begin + closing(&text[begin..], quote.as_str(), slashes);
        out.push_str(&text[from..begin]);
        if end > begin {
            out.push_str(CREDENTIAL);
        }
        from = end;
    }
    if from == 0 {
        return text;
    }
    out.push_str(&text[from..]);
    out
}

/// Where what is quoted ends, quote and its backslashes not counted. `slashes` stood before the one that
/// opened: a string within a string has them.
fn closing(text: &str, quote: &str, slashes: usize) -> usize {
    for (at, _) in text.match_indices(quote) {
        let before = &text[..at];
        let run = at - before.trim_end_matches('\\').len();
        // More of them are the quote's own, or those of backslashes before it.
        if run < slashes || run % (2 * slashes + 2) == slashes {
            return at - run.min(slashes);
        }
    }
    text.len()
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
struct Rules {
    before: Vec<Rule>,
    assigned: Regex,
    after: Vec<Rule>,
    named: Regex,
}

fn rules() -> Result<Rules, Error> {
    let before = vec![
        Rule::new(KEY_BLOCK, |_| Some("[key]".to_owned()))?,
        Rule::new(DATA_URL, |found| {
            Some(format!("[data URL of {} bytes]", found[0].len()))
        })?,
        Rule::new(FILE, |found| {
            Some(format!("[Base64 of {} bytes]", found[0].len()))
        })?,
        Rule::new(PREFIXED, |_| Some(CREDENTIAL.to_owned()))?,
        Rule::new(SCHEME, |found| {
            let is_one = found["value"].bytes().any(|byte| byte.is_ascii_digit());
            is_one.then(|| format!("{} {CREDENTIAL}", &found["scheme"]))
        })?,
    ];
    let after = vec![
        Rule::new(IN_URL, |_| Some(format!("://{CREDENTIAL}@")))?,
        Rule::new(EMAIL, |_| Some("[e-mail address]".to_owned()))?,
        Rule::new(DIGITS, |found| {
            is_card(&found[0]).then(|| "[card number]".to_owned())
        })?,
        Rule::new(LONG, |found| {
            looks_random(&found[0]).then(|| CREDENTIAL.to_owned())
        })?,
    ];
    Ok(Rules {
        before,
        assigned: Regex::new(ASSIGNED)?,
        after,
        named: Regex::new(NAMED)?,
    })
}

/// To its end, or to that of the text. Line breaks may be written in any way.
const KEY_BLOCK: &str =
    r"(?s)-----BEGIN [A-Z0-9 ]*KEY(?: BLOCK)?-----.*?(?:-----END [A-Z0-9 ]*KEY(?: BLOCK)?-----|\z)";

const DATA_URL: &str = r"(?-u)data:[\w.+/;=-]*,[A-Za-z0-9+/=_%-]*";

/// What is so long is a file, not a word.
const FILE: &str = r"[A-Za-z0-9+/_=-]{256,}";
const FILE_BYTES: usize = 256;

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

/// What credentials are called.
macro_rules! named {
    () => {
        r"(?:api[_-]?key|secret|passw(?:or)?d|token|credential|private[_-]?key|access[_-]?key|authorization)"
    };
}

const NAMED: &str = concat!("(?i)", named!());

/// As files of settings and programs have them, also within strings: up to the quote that opens, or all.
const ASSIGNED: &str = concat!(
    r"(?i)(?P<name>[\w.-]*",
    named!(),
    r#"[\w.-]*(?:\\*["'`])?\]?\s*[:=]+>?\s*)"#,
    r#"(?:[bruf]{0,2}(?P<slashes>\\*)(?P<quote>["'`])"#,
    r#"|(?:(?:bearer|basic|token)\s+)?[^\s"'`,;\[\]{}()]{6,}[^\s"'`]*)"#,
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
    fn what_is_quoted_is_left_out_whole() {
        for (text, left) in [
            (
                r#"{"password":"ab,cd!efgh"}"#,
                r#"{"password":"[credential]"}"#,
            ),
            (
                r#"{\"password\":\"hunter2hunter\",\"n\":1}"#,
                r#"{\"password\":\"[credential]\",\"n\":1}"#,
            ),
            (
                r#"{\\\"password\\\":\\\"a b\\\"} c"#,
                r#"{\\\"password\\\":\\\"[credential]\\\"} c"#,
            ),
            (
                r#"password: "correct horse battery" a"#,
                r#"password: "[credential]" a"#,
            ),
            (r#"secret = "Secret(123)456""#, r#"secret = "[credential]""#),
            ("secret=Secret(123)456 a", "secret=[credential] a"),
            (r#""token": "a\"b c" "d""#, r#""token": "[credential]" "d""#),
            (r#""token": "a\\" "b""#, r#""token": "[credential]" "b""#),
            (
                r#"\"token\": \"a\\\"b\" c"#,
                r#"\"token\": \"[credential]\" c"#,
            ),
            (r#"api_key='x' y"#, r#"api_key='[credential]' y"#),
            (r#"passwd := `it's` y"#, r#"passwd := `[credential]` y"#),
            (r#"password = b"x" y"#, r#"password = b"[credential]" y"#),
            (r#"env["TOKEN"] = "x""#, r#"env["TOKEN"] = "[credential]""#),
            (
                r#"password: "not closed, and"#,
                r#"password: "[credential]"#,
            ),
            (r#"password: "" a"#, r#"password: "" a"#),
            (
                r#""a_token":"b","a_secret":"c","d":"e""#,
                r#""a_token":"[credential]","a_secret":"[credential]","d":"e""#,
            ),
        ] {
            assert_eq!(shown(text), left);
        }
    }

    #[test]
    fn a_file_is_known_by_how_it_begins() {
        let base64 = "aGVsbG8g".repeat(4000);
        let url = format!("data:image/png;base64,{base64}");
        assert_eq!(file(&base64), Some(("Base64", base64.len())));
        assert_eq!(file(&format!("{url} a")), Some(("data URL", url.len())));
        for text in ["", "data:", "data: a", "a word", &base64[..255]] {
            assert_eq!(file(text), None);
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
