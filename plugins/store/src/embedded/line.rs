//! An entry as one line of a journal.
//!
//! ```text
//! 2 TAB credential TAB model TAB tenant TAB team TAB user TAB token TAB at TAB period TAB input TAB
//! output TAB cache_read TAB cache_write TAB reasoning TAB estimated(0|1) TAB calls TAB priced(0|1)
//! TAB cost TAB checksum
//! ```
//!
//! A line begins and ends with a line break. So one that was cut short does not take the line
//! written after it along, and a single flipped bit never costs more than one entry. Who called is
//! written with each: some eighty bytes to copy, where a number for it would have to be found again
//! in whatever file is left after a crash.
//!
//! Lines of the releases before are read, too: they begin with the credential, and end with the
//! calls.

use turnpike_api::{Entry, Payer, Usage};

/// What a line begins with.
const VERSION: &str = "2\t";

/// Puts `entry` behind what is in `lines`. Answers with the texts of the line, for [`texts`].
///
/// Control characters, which nobody should send, become question marks: a line break in a model's
/// name must not be able to forge a second entry. A payer has none ([`Payer`]), which is seen to
/// once a caller, not once a call.
pub(super) fn encode<'l>(entry: &Entry<'_>, lines: &'l mut Vec<u8>) -> &'l [u8] {
    let (usage, payer) = (&entry.usage, &entry.payer);
    lines.push(b'\n');
    let begin = lines.len();
    lines.extend_from_slice(VERSION.as_bytes());
    let begin_texts = lines.len();
    text(entry.credential, lines);
    text(entry.model, lines);
    for known in [payer.tenant, payer.team, payer.user, payer.token] {
        debug_assert!(!known.contains(|c: char| c.is_ascii_control()));
        lines.extend_from_slice(known.as_bytes());
        lines.push(b'\t');
    }
    let end_texts = lines.len();
    let mut numbers = Numbers {
        bytes: [0; Numbers::MOST],
        length: 0,
    };
    for number in [
        entry.at,
        entry.period,
        usage.input,
        usage.output,
        usage.cache_read,
        usage.cache_write,
        usage.reasoning,
        u64::from(entry.estimated),
        u64::from(entry.calls),
        u64::from(entry.cost.is_some()),
        entry.cost.unwrap_or(0),
    ] {
        numbers.push(number);
    }
    lines.extend_from_slice(&numbers.bytes[..numbers.length]);
    let checksum = digits(crc32fast::hash(&lines[begin..]));
    lines.extend_from_slice(&checksum);
    lines.push(b'\n');
    &lines[begin_texts..end_texts]
}

/// The numbers of a line, each with its tab. Put together here, because a vector asks with every piece
/// whether it has room.
struct Numbers {
    bytes: [u8; Self::MOST],
    length: usize,
}

impl Numbers {
    /// Eleven of twenty digits.
    const MOST: usize = 11 * 21;

    fn push(&mut self, number: u64) {
        // Most are flags, or nought.
        if number < 10 {
            return self.put(&[b'0' + number as u8, b'\t']);
        }
        self.put(itoa::Buffer::new().format(number).as_bytes());
        self.put(b"\t");
    }

    fn put(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        self.bytes[self.length..end].copy_from_slice(bytes);
        self.length = end;
    }
}

/// A checksum in hexadecimal digits. By hand: every call writes one, and the fold reads it.
fn digits(checksum: u32) -> [u8; 8] {
    let digit = |nth: usize| b"0123456789abcdef"[(checksum >> (28 - 4 * nth)) as usize & 15];
    std::array::from_fn(digit)
}

/// The entry of a line without its line breaks; `None` when it is not exactly what was written.
pub(super) fn decode(line: &[u8]) -> Option<Entry<'_>> {
    let (body, checksum) = line.split_at_checked(line.len().checked_sub(8)?)?;
    if checksum != digits(crc32fast::hash(body)) {
        return None;
    }
    let body = str::from_utf8(body).ok()?;
    // A credential may be called `2`: what a line is, all of its fields say.
    of_today(body).or_else(|| of_before(body))
}

/// Credential, model, tenant, team, user and token, as [`encode`] wrote them.
pub(super) fn texts(texts: &str) -> Option<[&str; 6]> {
    let mut fields = Fields(texts);
    let texts = fields.texts()?;
    fields.0.is_empty().then_some(texts)
}

fn of_today(body: &str) -> Option<Entry<'_>> {
    let mut fields = Fields(body.strip_prefix(VERSION)?);
    let [credential, model, tenant, team, user, token] = fields.texts()?;
    let payer = Payer {
        tenant,
        team,
        user,
        token,
    };
    let counts = counts(&mut fields, credential, model)?;
    let (priced, cost) = (fields.number()? != 0, fields.number()?);
    fields.0.is_empty().then_some(Entry {
        payer,
        cost: priced.then_some(cost),
        ..counts
    })
}

/// Of a release that did not know who called, nor what it cost.
fn of_before(body: &str) -> Option<Entry<'_>> {
    let mut fields = Fields(body);
    let [credential, model] = fields.texts()?;
    let entry = counts(&mut fields, credential, model)?;
    fields.0.is_empty().then_some(entry)
}

/// What both have.
fn counts<'a>(fields: &mut Fields<'a>, credential: &'a str, model: &'a str) -> Option<Entry<'a>> {
    let mut number = || fields.number();
    Some(Entry {
        payer: Payer::default(),
        credential,
        model,
        at: number()?,
        period: number()?,
        usage: Usage {
            input: number()?,
            output: number()?,
            cache_read: number()?,
            cache_write: number()?,
            reasoning: number()?,
        },
        estimated: number()? != 0,
        calls: u32::try_from(number()?).ok()?,
        cost: None,
    })
}

/// The fields that are left of a line, each with its tab.
struct Fields<'a>(&'a str);

impl<'a> Fields<'a> {
    fn text(&mut self) -> Option<&'a str> {
        let end = memchr::memchr(b'\t', self.0.as_bytes())?;
        let field = &self.0[..end];
        self.0 = &self.0[end + 1..];
        Some(field)
    }

    fn texts<const COUNT: usize>(&mut self) -> Option<[&'a str; COUNT]> {
        let mut texts = [""; COUNT];
        for text in &mut texts {
            *text = self.text()?;
        }
        Some(texts)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for (at, byte) in self.0.bytes().enumerate() {
            let digit = match byte {
                b'0'..=b'9' => byte - b'0',
                b'\t' if at > 0 => {
                    self.0 = &self.0[at + 1..];
                    return Some(number);
                }
                _ => return None,
            };
            number = number.checked_mul(10)?.checked_add(digit.into())?;
        }
        None
    }
}

fn text(text: &str, lines: &mut Vec<u8>) {
    let begin = lines.len();
    lines.extend_from_slice(text.as_bytes());
    // Looked at as a whole first: that is many bytes at once, and nearly never is there one.
    let is_control = |found: bool, byte: u8| found | byte.is_ascii_control();
    if text.bytes().fold(false, is_control) {
        for byte in &mut lines[begin..] {
            if byte.is_ascii_control() {
                *byte = b'?';
            }
        }
    }
    lines.push(b'\t');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PAYER: Payer<'_> = Payer {
        tenant: "acme",
        team: "search",
        user: "3f9a",
        token: "key ci",
    };

    fn entry<'a>(credential: &'a str, model: &'a str, numbers: [u64; 7]) -> Entry<'a> {
        let [
            at,
            period,
            input,
            output,
            cache_read,
            cache_write,
            reasoning,
        ] = numbers;
        Entry {
            payer: PAYER,
            credential,
            model,
            at,
            period,
            usage: Usage {
                input,
                output,
                cache_read,
                cache_write,
                reasoning,
            },
            cost: Some(1234),
            estimated: true,
            calls: 1,
        }
    }

    fn encoded(entry: &Entry<'_>) -> Vec<u8> {
        let before = b"what was there before";
        let mut lines = before.to_vec();
        encode(entry, &mut lines);
        lines.split_off(before.len())
    }

    /// The line between its line breaks.
    fn inner(line: &[u8]) -> &[u8] {
        assert_eq!((line[0], line[line.len() - 1]), (b'\n', b'\n'));
        &line[1..line.len() - 1]
    }

    #[test]
    fn reads_as_documented() {
        let line = encoded(&entry("openai-1", "gpt-4o", [10, 9, 7, 6, 5, 4, 3]));
        let text = str::from_utf8(inner(&line)).unwrap();
        assert!(text.starts_with(
            "2\topenai-1\tgpt-4o\tacme\tsearch\t3f9a\tkey ci\t10\t9\t7\t6\t5\t4\t3\t1\t1\t1\t1234\t"
        ));
        assert_eq!(text.len(), text.rfind('\t').unwrap() + 9);
    }

    /// As the releases before wrote it.
    fn encoded_before(entry: &Entry<'_>) -> Vec<u8> {
        let usage = entry.usage;
        let body = format!(
            "{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t",
            entry.credential,
            entry.model,
            entry.at,
            entry.period,
            usage.input,
            usage.output,
            usage.cache_read,
            usage.cache_write,
            usage.reasoning,
            u64::from(entry.estimated),
            entry.calls
        );
        format!("{body}{:08x}", crc32fast::hash(body.as_bytes())).into_bytes()
    }

    #[test]
    fn lines_of_the_releases_before_are_read() {
        for credential in ["openai-1", "2", ""] {
            let written = entry(credential, "7", [10, 9, 7, 6, 5, 4, 3]);
            let read = Entry {
                payer: Payer::default(),
                cost: None,
                ..written
            };
            assert_eq!(decode(&encoded_before(&written)), Some(read));
            assert_eq!(decode(inner(&encoded(&written))), Some(written));
        }
    }

    #[test]
    fn its_texts_are_what_it_reads_as() {
        let mut lines = b"what was there before".to_vec();
        let written = entry("a\tb", "m\n\u{fc}", [1; 7]);
        let found = texts(str::from_utf8(encode(&written, &mut lines)).unwrap());
        assert_eq!(
            found,
            Some(["a?b", "m?\u{fc}", "acme", "search", "3f9a", "key ci"])
        );
        for no_texts in ["", "a\tb\tc\td\te\tf", "a\tb\tc\td\te\tf\tg\t"] {
            assert_eq!(texts(no_texts), None, "{no_texts:?}");
        }
    }

    #[test]
    fn any_change_is_noticed() {
        let line = encoded(&entry("a", "gpt-4o", [1_700_000_000_000, 9, 7, 6, 0, 0, 3]));
        let line = inner(&line);
        for at in 0..line.len() {
            assert_eq!(decode(&line[..at]), None, "cut at {at}");
            assert_eq!(decode(&line[at + 1..]), None, "begun after {at}");
            for bit in 0..8 {
                let mut changed = line.to_vec();
                changed[at] ^= 1 << bit;
                assert_eq!(decode(&changed), None, "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn a_line_break_forges_nothing() {
        let inserted = encoded(&entry("b", "free", [1; 7]));
        let model = format!("m{}", str::from_utf8(&inserted).unwrap());
        let line = encoded(&entry("a", &model, [2; 7]));
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 2);
        assert_eq!(decode(inner(&line)).unwrap().credential, "a");
    }

    proptest! {
        #[test]
        fn comes_back_as_it_was(
            credential in "[^\\x00-\\x1f\\x7f]{0,40}",
            model in "[^\\x00-\\x1f\\x7f]{0,80}",
            numbers: [u64; 7],
            user in "[^\\x00-\\x1f\\x7f]{0,80}",
            estimated: bool,
            calls: u32,
            cost: Option<u64>,
        ) {
            let payer = Payer { user: &user, ..PAYER };
            let entry = Entry { payer, estimated, calls, cost, ..entry(&credential, &model, numbers) };
            let line = encoded(&entry);
            prop_assert_eq!(decode(inner(&line)), Some(entry));
        }

        #[test]
        fn what_is_no_line_is_none(line: Vec<u8>) {
            prop_assert_eq!(decode(&line), None);
        }
    }
}
