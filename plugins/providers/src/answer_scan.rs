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
        let mut rest = piece;
        while !rest.is_empty() {
            let was_capturing = self.capturing;
            match self.place {
                Place::Before => self.before(&mut rest),
                Place::Between if self.depth > self.level => self.nested(&mut rest),
                Place::Between => self.members(&mut rest),
                Place::InString => self.string(&mut rest),
                Place::Escaped => {
                    rest = &rest[1..];
                    self.place = Place::InString;
                }
                Place::After | Place::Opaque => return,
            }
            let at = piece.len() - rest.len();
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

    fn before(&mut self, rest: &mut &[u8]) {
        *rest = rest.trim_ascii_start();
        self.place = match rest.first() {
            None => return,
            Some(b'{') => Place::Between,
            Some(b'[') => {
                self.level = 2;
                Place::Between
            }
            Some(_) => Place::Opaque,
        };
    }

    /// Over members at `level`, up to the first container within one. A comma is where keys are
    /// looked for.
    fn members(&mut self, rest: &mut &[u8]) {
        while self.place == Place::Between && self.depth <= self.level {
            match words::past_structure(rest, b',') {
                None => return,
                Some(b'"') => {
                    let is_key = self.key_next && self.depth == self.level;
                    self.matched = is_key.then_some(0);
                    self.string(rest);
                }
                Some(open @ (b'{' | b'[')) => self.open(open == b'{'),
                Some(b'}' | b']') => self.close(),
                Some(_) => {
                    self.key_next = true;
                    self.found = false;
                }
            }
        }
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
    fn nested(&mut self, rest: &mut &[u8]) {
        let mut inner = self.depth - self.level;
        self.place = skip_nested(rest, &mut inner);
        self.depth = self.level + inner;
        if inner == 0 {
            self.capturing = false;
            self.key_next = false;
        }
    }

    /// Over a string from where it was left.
    fn string(&mut self, rest: &mut &[u8]) {
        self.place = match self.matched.take() {
            Some(matched) => self.candidate(rest, matched),
            None => skip_string(rest),
        };
        if self.place == Place::Between {
            self.key_next = false;
        }
    }

    /// Over a key that agrees with the one looked for so far.
    fn candidate(&mut self, rest: &mut &[u8], matched: usize) -> Place {
        let wanted = &self.key[matched..];
        let same = wanted
            .iter()
            .zip(*rest)
            .take_while(|(a, b)| a == b)
            .count();
        *rest = &rest[same..];
        if same == wanted.len() {
            self.found = true;
            return Place::Between;
        }
        if rest.is_empty() {
            self.matched = Some(matched + same);
            return Place::InString;
        }
        skip_string(rest)
    }

    fn keep(&mut self, bytes: &[u8]) {
        // One byte over the limit marks it as too large.
        let room = (MAX_CAPTURE + 1).saturating_sub(self.capture.len());
        self.capture
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// Over the rest of a string, and where that leaves the scanner: [`Place::Between`] when the string
/// ends in these bytes.
#[inline]
pub(crate) fn skip_string(rest: &mut &[u8]) -> Place {
    loop {
        match words::past_quote(rest) {
            None => return Place::InString,
            Some(b'"') => return Place::Between,
            Some(_) => match rest.split_first() {
                None => return Place::Escaped,
                Some((_, after)) => *rest = after,
            },
        }
    }
}

/// Over the rest of what stands inside `depth` containers, the outermost one's end included, and
/// where that leaves the scanner. `depth` is not 0 afterwards when the bytes end before.
pub(crate) fn skip_nested(rest: &mut &[u8], depth: &mut u32) -> Place {
    while *depth > 0 {
        match words::past_structure(rest, b'"') {
            None => break,
            Some(b'"') => match skip_string(rest) {
                Place::Between => {}
                place => return place,
            },
            Some(b'{' | b'[') => *depth += 1,
            Some(_) => *depth -= 1,
        }
    }
    Place::Between
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
