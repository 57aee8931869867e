//! JSON, written straight into the bytes that go to the disk: no tree, no allocation of its own.
//!
//! Two records are written for each call, while it waits. So names come as they are written, with all that
//! is around them, and texts are looked at many bytes at a time.

/// As many bytes of a text are written. Callers choose some of them.
const LONGEST: usize = 1024;

/// A text that is bounded already, and not cut.
#[derive(Clone, Copy, Default)]
pub struct Whole<'a>(pub &'a str);

/// What a field holds. What there is not writes nothing.
pub(crate) trait Value {
    fn write(&self, out: &mut Vec<u8>);
}

/// One field of an object; left out where it holds nothing. Its name is written as `,"name":`, also of the
/// first: [`object`] sees to that.
// Inlined, so that a name is of a known length, and a few moves.
#[inline(always)]
pub(crate) fn field(name: &'static str, value: &impl Value, out: &mut Vec<u8>) {
    let before = out.len();
    out.extend_from_slice(name.as_bytes());
    value.write(out);
    if out.len() == before + name.len() {
        out.truncate(before);
    }
}

/// An object; nothing where nothing is written into it.
pub(crate) fn object(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let begin = out.len();
    write(out);
    // The comma before the first field.
    if let Some(comma) = out.get_mut(begin) {
        *comma = b'{';
        out.push(b'}');
    }
}

impl Value for &str {
    fn write(&self, out: &mut Vec<u8>) {
        string(self, out);
    }
}

impl Value for crate::Action {
    fn write(&self, out: &mut Vec<u8>) {
        string(self.words(), out);
    }
}

impl Value for Whole<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        quoted(self.0, out);
    }
}

impl Value for u64 {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(itoa::Buffer::new().format(*self).as_bytes());
    }
}

impl Value for bool {
    fn write(&self, out: &mut Vec<u8>) {
        let text: &[u8] = if *self { b"true" } else { b"false" };
        out.extend_from_slice(text);
    }
}

impl Value for std::net::IpAddr {
    fn write(&self, out: &mut Vec<u8>) {
        use std::io::Write as _;
        out.push(b'"');
        match self {
            // By hand: each record has one, and the formatting of the standard library is ten times
            // as long.
            Self::V4(v4) => {
                let [first, rest @ ..] = v4.octets();
                octet(first, out);
                for next in rest {
                    out.push(b'.');
                    octet(next, out);
                }
            }
            // Into memory, which takes it.
            Self::V6(v6) => drop(write!(out, "{v6}")),
        }
        out.push(b'"');
    }
}

fn octet(octet: u8, out: &mut Vec<u8>) {
    if octet >= 100 {
        out.push(b'0' + octet / 100);
    }
    if octet >= 10 {
        out.push(b'0' + octet / 10 % 10);
    }
    out.push(b'0' + octet % 10);
}

impl<V: Value> Value for Option<V> {
    fn write(&self, out: &mut Vec<u8>) {
        if let Some(value) = self {
            value.write(out);
        }
    }
}

/// A string as JSON has it. Control characters, DEL among them, are escaped: no text begins a line of
/// its own, or moves a terminal's cursor.
pub(crate) fn string(text: &str, out: &mut Vec<u8>) {
    if text.len() <= LONGEST {
        return quoted(text, out);
    }
    quoted(&text[..boundary(text, LONGEST)], out);
    out.pop();
    out.extend_from_slice("…\"".as_bytes());
}

fn quoted(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    if !is_plain(bytes) {
        return escaped(bytes, out);
    }
    out.push(b'"');
    out.extend_from_slice(bytes);
    out.push(b'"');
}

/// Whether nothing is to be escaped. Most texts are short, so what is behind the last whole word is not
/// gone through byte by byte: the last word is of the last bytes, some of which are looked at twice.
fn is_plain(bytes: &[u8]) -> bool {
    if let Some(last) = bytes.last_chunk() {
        let (words, _) = bytes.as_chunks();
        let mut words = words.iter().map(|word| u64::from_le_bytes(*word));
        return words.all(is_plain_word) && is_plain_word(u64::from_le_bytes(*last));
    }
    match (bytes.first_chunk(), bytes.last_chunk()) {
        (Some(first), Some(last)) => {
            let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
            is_plain_word(u64::from(first) << 32 | u64::from(last))
        }
        _ => !bytes.iter().any(|byte| is_escaped(*byte)),
    }
}

fn is_escaped(byte: u8) -> bool {
    byte < 0x20 || matches!(byte, b'"' | b'\\' | 0x7f)
}

/// Eight bytes at once: the highest bit of each says whether it is to be escaped.
fn is_plain_word(word: u64) -> bool {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGHEST: u64 = 0x80 * ONES;
    // A flipped bit puts the quote beside the control characters. Bytes of which one more is taken, for
    // the one before was too small, may look small as well: then that one is.
    let small = (word ^ (0x02 * ONES)).wrapping_sub(0x21 * ONES);
    let backslash = (word ^ (u64::from(b'\\') * ONES)).wrapping_sub(ONES);
    let del = (word & !HIGHEST) + ONES;
    (small | backslash | del) & !word & HIGHEST == 0
}

/// Whole runs at once: prompts are long, and have lines. What calls and operators say seldom is here.
#[inline(never)]
fn escaped(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut from = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if !is_escaped(byte) {
            continue;
        }
        out.extend_from_slice(&bytes[from..at]);
        from = at + 1;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&hex(byte));
            }
        }
    }
    out.extend_from_slice(&bytes[from..]);
    out.push(b'"');
}

/// Where a text of at most so many bytes is cut: between characters.
pub(crate) fn boundary(text: &str, longest: usize) -> usize {
    let mut end = text.len().min(longest);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    end
}

/// A byte as two hexadecimal digits. Without a table the compiler makes many at once.
pub(crate) fn hex(byte: u8) -> [u8; 2] {
    let digit = |value: u8| value + b'0' + u8::from(value > 9) * (b'a' - b'9' - 1);
    [digit(byte >> 4), digit(byte & 15)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        string(text, &mut out);
        out
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let text = format!("a{}", "ä".repeat(LONGEST));
        let read: String = serde_json::from_slice(&written(&text)).unwrap();
        assert_eq!(read, format!("a{}…", "ä".repeat((LONGEST - 1) / 2)));
    }

    #[test]
    fn what_holds_nothing_is_left_out() {
        let mut out = Vec::new();
        object(&mut out, |out| {
            field(",\"none\":", &None::<u64>, out);
            field(",\"one\":", &1_u64, out);
            field(",\"last\":", &"a", out);
        });
        object(&mut out, |_| {});
        assert_eq!(out, br#"{"one":1,"last":"a"}"#);
    }

    /// Every byte that a text may have, at every place of a word, among all lengths that are looked at in
    /// different ways.
    #[test]
    fn plain_is_what_has_no_byte_to_be_escaped() {
        for len in 1..40 {
            for at in 0..len {
                for byte in 0..=u8::MAX {
                    let mut bytes = vec![b' '; len];
                    bytes[at] = byte;
                    assert_eq!(is_plain(&bytes), !is_escaped(byte), "{bytes:?}");
                }
            }
        }
    }

    #[test]
    fn addresses_are_as_the_standard_library_has_them() {
        for octet in 0..=u8::MAX {
            let address = std::net::IpAddr::from([octet, 0, 255, octet]);
            let mut out = Vec::new();
            address.write(&mut out);
            assert_eq!(out, format!("\"{address}\"").into_bytes());
        }
    }

    proptest! {
        #[test]
        fn plain_is_the_same_of_words_and_of_bytes(bytes in prop::collection::vec(any::<u8>(), 0..70)) {
            prop_assert_eq!(is_plain(&bytes), !bytes.iter().any(|byte| is_escaped(*byte)));
        }

        #[test]
        fn plain_texts_are_written_as_serde_writes_them(text in "[ !#-\\[\\]-~äöü€]{0,70}") {
            prop_assert_eq!(written(&text), serde_json::to_vec(&text).unwrap());
        }

        #[test]
        fn texts_come_back_as_they_were(text in "\\PC{0,40}[\\x00-\\x7f]{0,40}") {
            let written = written(&text);
            prop_assert!(written.iter().all(|byte| !byte.is_ascii_control()));
            prop_assert_eq!(serde_json::from_slice::<String>(&written).unwrap(), text);
        }
    }
}
