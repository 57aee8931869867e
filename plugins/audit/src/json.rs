//! JSON, written straight into the bytes that go to the disk: no tree, no allocation of its own.

/// As many bytes of a text are written. Callers choose some of them.
const LONGEST: usize = 1024;

/// The fields of one object.
pub struct Fields<'b> {
    out: &'b mut Vec<u8>,
    is_first: bool,
}

/// A text that is bounded already, and not cut.
#[derive(Clone, Copy, Default)]
pub struct Whole<'a>(pub &'a str);

/// What a field holds. What there is not is left out.
pub(crate) trait Value {
    fn write(&self, name: &str, fields: &mut Fields<'_>);
}

impl<'b> Fields<'b> {
    /// Of an object that has some already.
    pub fn more(out: &'b mut Vec<u8>) -> Self {
        Self {
            out,
            is_first: false,
        }
    }

    /// Of an object that was just begun.
    pub fn first(out: &'b mut Vec<u8>) -> Self {
        Self {
            out,
            is_first: true,
        }
    }

    pub fn text(&mut self, name: &str, text: &str) {
        self.name(name);
        string(text, self.out);
    }

    pub fn number(&mut self, name: &str, number: u64) {
        self.name(name);
        let mut digits = itoa::Buffer::new();
        self.out.extend_from_slice(digits.format(number).as_bytes());
    }

    pub fn boolean(&mut self, name: &str, value: bool) {
        self.name(name);
        let text: &[u8] = if value { b"true" } else { b"false" };
        self.out.extend_from_slice(text);
    }

    /// An object; left out where nothing is written into it.
    pub fn object(&mut self, name: &str, write: impl FnOnce(&mut Fields<'_>)) {
        let (before, was_first) = (self.out.len(), self.is_first);
        self.name(name);
        self.out.push(b'{');
        let mut within = Fields::first(self.out);
        write(&mut within);
        if within.is_first {
            self.out.truncate(before);
            self.is_first = was_first;
        } else {
            self.out.push(b'}');
        }
    }

    /// Names are ours, or those of headers: plain.
    fn name(&mut self, name: &str) {
        if !std::mem::replace(&mut self.is_first, false) {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }
}

impl Value for &str {
    fn write(&self, name: &str, fields: &mut Fields<'_>) {
        fields.text(name, self);
    }
}

impl Value for crate::Action {
    fn write(&self, name: &str, fields: &mut Fields<'_>) {
        fields.text(name, self.words());
    }
}

impl Value for Whole<'_> {
    fn write(&self, name: &str, fields: &mut Fields<'_>) {
        fields.name(name);
        quoted(self.0, "", fields.out);
    }
}

impl Value for u64 {
    fn write(&self, name: &str, fields: &mut Fields<'_>) {
        fields.number(name, *self);
    }
}

impl Value for bool {
    fn write(&self, name: &str, fields: &mut Fields<'_>) {
        fields.boolean(name, *self);
    }
}

impl Value for std::net::IpAddr {
    fn write(&self, name: &str, fields: &mut Fields<'_>) {
        use std::io::Write as _;
        fields.name(name);
        fields.out.push(b'"');
        match self {
            // By hand: each record has one, and the formatting of the standard library is ten times
            // as long.
            Self::V4(v4) => {
                for (nth, octet) in v4.octets().into_iter().enumerate() {
                    if nth > 0 {
                        fields.out.push(b'.');
                    }
                    let mut digits = itoa::Buffer::new();
                    fields
                        .out
                        .extend_from_slice(digits.format(octet).as_bytes());
                }
            }
            // Into memory, which takes it.
            Self::V6(v6) => drop(write!(fields.out, "{v6}")),
        }
        fields.out.push(b'"');
    }
}

impl<V: Value> Value for Option<V> {
    fn write(&self, name: &str, fields: &mut Fields<'_>) {
        if let Some(value) = self {
            value.write(name, fields);
        }
    }
}

/// A string as JSON has it. Control characters, DEL among them, are escaped: no text begins a line of
/// its own, or moves a terminal's cursor.
pub(crate) fn string(text: &str, out: &mut Vec<u8>) {
    let whole = &text[..boundary(text, LONGEST)];
    let more = if whole.len() < text.len() { "…" } else { "" };
    quoted(whole, more, out);
}

fn quoted(text: &str, more: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    out.push(b'"');
    // Nearly all are plain. Without an early end the compiler looks at many bytes at once.
    match bytes.iter().fold(true, |all, byte| all & is_plain(*byte)) {
        true => out.extend_from_slice(bytes),
        false => escaped(bytes, out),
    }
    out.extend_from_slice(more.as_bytes());
    out.push(b'"');
}

fn is_plain(byte: u8) -> bool {
    (byte >= 0x20) & (byte != b'"') & (byte != b'\\') & (byte != 0x7f)
}

fn escaped(bytes: &[u8], out: &mut Vec<u8>) {
    let mut from = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if is_plain(byte) {
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
}

/// Where a text of at most so many bytes is cut: between characters.
pub(crate) fn boundary(text: &str, longest: usize) -> usize {
    let mut end = text.len().min(longest);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    end
}

/// A byte as two hexadecimal digits.
pub(crate) fn hex(byte: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [
        DIGITS[usize::from(byte >> 4)],
        DIGITS[usize::from(byte & 15)],
    ]
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
    fn an_object_without_fields_is_left_out() {
        let mut out = b"{".to_vec();
        let mut fields = Fields::first(&mut out);
        fields.object("none", |_| {});
        fields.object("one", |within| within.number("n", 1));
        fields.text("last", "a");
        assert_eq!(out, br#"{"one":{"n":1},"last":"a""#);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let text = format!("a{}", "ä".repeat(LONGEST));
        let read: String = serde_json::from_slice(&written(&text)).unwrap();
        assert_eq!(read, format!("a{}…", "ä".repeat((LONGEST - 1) / 2)));
    }

    proptest! {
        #[test]
        fn texts_come_back_as_they_were(text in "\\PC{0,40}[\\x00-\\x7f]{0,40}") {
            let written = written(&text);
            prop_assert!(written.iter().all(|byte| !byte.is_ascii_control()));
            prop_assert_eq!(serde_json::from_slice::<String>(&written).unwrap(), text);
        }
    }
}
