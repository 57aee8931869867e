//! An entry as one line of a journal.
//!
//! ```text
//! credential TAB model TAB at TAB period TAB input TAB output TAB cache_read TAB cache_write TAB
//! reasoning TAB estimated(0|1) TAB calls TAB checksum
//! ```
//!
//! A line begins and ends with a line break. So one that was cut short does not take the line
//! written after it along, and a single flipped bit never costs more than one entry.

use turnpike_api::{Entry, Usage};

/// Puts `entry` behind what is in `lines`.
///
/// Control characters, which nobody should send, become question marks: a line break in a model's
/// name must not be able to forge a second entry.
pub(super) fn encode(entry: &Entry<'_>, lines: &mut Vec<u8>) {
    let usage = &entry.usage;
    lines.push(b'\n');
    let begin = lines.len();
    text(entry.credential, lines);
    text(entry.model, lines);
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
    ] {
        lines.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        lines.push(b'\t');
    }
    let checksum = digits(crc32fast::hash(&lines[begin..]));
    lines.extend_from_slice(&checksum);
    lines.push(b'\n');
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
    let mut fields = Fields(body);
    let (credential, model) = (fields.text()?, fields.text()?);
    let mut number = || fields.number();
    let entry = Entry {
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
    };
    fields.0.is_empty().then_some(entry)
}

/// The fields that are left of a line, each with its tab.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn text(&mut self) -> Option<&'a str> {
        let end = memchr::memchr(b'\t', self.0)?;
        let (field, rest) = self.0.split_at(end);
        self.0 = &rest[1..];
        str::from_utf8(field).ok()
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for (at, byte) in self.0.iter().enumerate() {
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
    for byte in &mut lines[begin..] {
        if byte.is_ascii_control() {
            *byte = b'?';
        }
    }
    lines.push(b'\t');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
        assert!(text.starts_with("openai-1\tgpt-4o\t10\t9\t7\t6\t5\t4\t3\t1\t1\t"));
        assert_eq!(text.len(), text.rfind('\t').unwrap() + 9);
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
            estimated: bool,
            calls: u32,
        ) {
            let entry = Entry { estimated, calls, ..entry(&credential, &model, numbers) };
            let line = encoded(&entry);
            prop_assert_eq!(decode(inner(&line)), Some(entry));
        }

        #[test]
        fn what_is_no_line_is_none(line: Vec<u8>) {
            prop_assert_eq!(decode(&line), None);
        }
    }
}
