//! Reads one member of a JSON answer as it passes, without keeping the answer.

use crate::words;

/// The largest value that is kept.
const MAX_CAPTURE: usize = 16 << 10;

/// Where the scanner stands in the answer's bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Before the first byte that is not blank.
    Before,
    /// Between strings.
    Between,
    /// Within a string.
    InString,
    /// Within a string, after a backslash.
    Escaped,
    /// The root is closed.
    After,
    /// It is no JSON object or array.
    Opaque,
}

/// Finds the objects that are the value of one key in the root object, or in the objects of a root
/// array (Gemini's stream without `alt=sse`). It checks nothing: the answer goes to the caller as
/// it is.
pub(crate) struct AnswerScan {
    /// The key, its closing quote included.
    key: &'static [u8],
    place: Place,
    depth: u32,
    /// The depth at which the key is looked for: 1, in a root array 2.
    level: u32,
    /// The next string at `level` is a key.
    key_next: bool,
    /// How many bytes of the key the current string agrees with; `None` when it is no candidate.
    matched: Option<usize>,
    /// The last key was the one, and its value has not begun.
    found: bool,
    capturing: bool,
    capture: Vec<u8>,
}

impl AnswerScan {
    /// Looks for `key`, which is given with its closing quote.
    pub(crate) fn new(key: &'static [u8]) -> Self {
        Self {
            key,
            place: Place::Before,
            depth: 0,
            level: 1,
            key_next: false,
            matched: None,
            found: false,
            capturing: false,
            capture: Vec::new(),
        }
    }

    /// Whether the root value is closed.
    pub(crate) fn is_over(&self) -> bool {
        self.place == Place::After
    }

    /// Reads the next piece and hands on each object that ends in it.
    pub(crate) fn feed(&mut self, piece: &[u8], mut on_object: impl FnMut(&[u8])) {
        let mut from = 0;
        let mut at = 0;
        while at < piece.len() {
            let was_capturing = self.capturing;
            at = match self.place {
                Place::Before => self.before(piece, at),
                Place::Between if self.depth > self.level => self.nested(piece, at),
                Place::Between => self.members(piece, at),
                Place::InString => self.string(piece, at),
                Place::Escaped => {
                    self.place = Place::InString;
                    at + 1
                }
                Place::After | Place::Opaque => return,
            };
            match (was_capturing, self.capturing) {
                // The brace that was just read.
                (false, true) => from = at - 1,
                (true, false) => self.end_capture(&piece[from..at], &mut on_object),
                _ => {}
            }
        }
        if self.capturing {
            self.keep(&piece[from..]);
        }
    }

    /// `last` is what this piece holds of the object.
    fn end_capture(&mut self, last: &[u8], on_object: &mut impl FnMut(&[u8])) {
        if self.capture.is_empty() && last.len() <= MAX_CAPTURE {
            return on_object(last);
        }
        self.keep(last);
        if self.capture.len() <= MAX_CAPTURE {
            on_object(&self.capture);
        }
        self.capture = Vec::new();
    }

    fn before(&mut self, piece: &[u8], at: usize) -> usize {
        let Some(first) = piece[at..]
            .iter()
            .position(|byte| !byte.is_ascii_whitespace())
        else {
            return piece.len();
        };
        self.place = match piece[at + first] {
            b'{' => Place::Between,
            b'[' => {
                self.level = 2;
                Place::Between
            }
            _ => Place::Opaque,
        };
        at + first
    }

    /// Over members at `level`, up to the first container within one. A comma is where keys are
    /// looked for.
    fn members(&mut self, piece: &[u8], mut at: usize) -> usize {
        while self.place == Place::Between && self.depth <= self.level {
            at += words::until_structure(&piece[at..], b',');
            let Some(&byte) = piece.get(at) else { break };
            at += 1;
            match byte {
                b'"' => {
                    let is_key = self.key_next && self.depth == self.level;
                    self.matched = is_key.then_some(0);
                    at = self.string(piece, at);
                }
                b'{' | b'[' => self.open(byte == b'{'),
                b'}' | b']' => self.close(),
                _ => {
                    self.key_next = true;
                    self.found = false;
                }
            }
        }
        at
    }

    fn open(&mut self, object: bool) {
        if self.depth == self.level && object && std::mem::take(&mut self.found) {
            self.capturing = true;
        }
        self.depth += 1;
        self.key_next = object;
    }

    fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        if self.depth == 0 {
            self.place = Place::After;
        }
    }

    /// Over what a member's value contains, up to its end.
    fn nested(&mut self, piece: &[u8], at: usize) -> usize {
        let inner = self.depth - self.level;
        let (at, inner, place) = skip_nested(piece, at, inner);
        self.depth = self.level + inner;
        self.place = place;
        if inner == 0 {
            self.capturing = false;
            self.key_next = false;
        }
        at
    }

    /// Over the rest of a string.
    fn string(&mut self, piece: &[u8], mut at: usize) -> usize {
        if let Some(matched) = self.matched {
            let wanted = &self.key[matched..];
            let same = wanted
                .iter()
                .zip(&piece[at..])
                .take_while(|(a, b)| a == b)
                .count();
            at += same;
            if same == wanted.len() {
                self.found = true;
                self.key_next = false;
                self.place = Place::Between;
                return at;
            }
            if at == piece.len() {
                self.matched = Some(matched + same);
                self.place = Place::InString;
                return at;
            }
            self.matched = None;
        }
        self.key_next = false;
        (at, self.place) = skip_string(piece, at);
        at
    }

    fn keep(&mut self, bytes: &[u8]) {
        // One byte over the limit marks it as too large.
        let room = (MAX_CAPTURE + 1).saturating_sub(self.capture.len());
        self.capture
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// Over the rest of a string, and where that leaves the scanner: [`Place::Between`] when the string
/// ends in `bytes`.
#[inline]
pub(crate) fn skip_string(bytes: &[u8], mut at: usize) -> (usize, Place) {
    loop {
        at += words::until_quote(&bytes[at..]);
        match bytes.get(at) {
            None => return (at, Place::InString),
            Some(b'"') => return (at + 1, Place::Between),
            Some(_) if at + 1 == bytes.len() => return (at + 1, Place::Escaped),
            Some(_) => at += 2,
        }
    }
}

/// Over the rest of what stands inside `depth` containers, the outermost one's end included. Says
/// how many are still open, when `bytes` end before, and where that leaves the scanner.
pub(crate) fn skip_nested(bytes: &[u8], mut at: usize, mut depth: u32) -> (usize, u32, Place) {
    while depth > 0 {
        at += words::until_structure(&bytes[at..], b'"');
        let Some(&byte) = bytes.get(at) else { break };
        at += 1;
        match byte {
            b'"' => match skip_string(bytes, at) {
                (end, Place::Between) => at = end,
                (end, place) => return (end, depth, place),
            },
            b'{' | b'[' => depth += 1,
            _ => depth -= 1,
        }
    }
    (at, depth, Place::Between)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(body: &str, piece: usize) -> (Vec<String>, bool) {
        let mut scan = AnswerScan::new(b"usage\"");
        let mut values = Vec::new();
        for piece in body.as_bytes().chunks(piece) {
            scan.feed(piece, |value| {
                values.push(String::from_utf8_lossy(value).into_owned())
            });
        }
        (values, scan.is_over())
    }

    #[test]
    fn finds_only_the_key_of_the_level() {
        for (body, expected, over) in [
            (r#"{"usage":{"a":1}}"#, &[r#"{"a":1}"#][..], true),
            (
                r#" {"x":[{"usage":{}}],"usage" : {"a":{"b":"}"}} ,"y":1}"#,
                &[r#"{"a":{"b":"}"}}"#],
                true,
            ),
            (r#"{"x":"usage","usage":null,"y":{}}"#, &[], true),
            (
                r#"{"x\"usage":{},"usag":{},"usages":{},"us\u0061ge":{}}"#,
                &[],
                true,
            ),
            (r#"{"x":"\\","usage":{"a":1}}"#, &[r#"{"a":1}"#], true),
            (
                r#"[{"usage":{"a":1}},{"usage":{"a":2}}]"#,
                &[r#"{"a":1}"#, r#"{"a":2}"#],
                true,
            ),
            (r#"[[{"usage":{"a":1}}]]"#, &[], true),
            (r#"{"x":"usage","y":"usage","z":{"usage":{}}}"#, &[], true),
            (r#"{"usage":{"a":1}"#, &[r#"{"a":1}"#], false),
            (
                r#"{"embedding":[0.1,-0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9],"usage":{}}"#,
                &["{}"],
                true,
            ),
            ("ID3\u{4} {\"usage\":{}}", &[], false),
            ("", &[], false),
        ] {
            for piece in 1..=body.len().max(1) {
                let (values, ended) = found(body, piece);
                assert_eq!(values, expected, "{body} in pieces of {piece}");
                assert_eq!(ended, over, "{body} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn a_value_too_large_is_not_kept() {
        let body = format!("{{\"usage\":{{\"x\":\"{}\"}}}}", "x".repeat(MAX_CAPTURE));
        assert_eq!(found(&body, 1000), (vec![], true));
    }
}
