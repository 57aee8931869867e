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
    /// How many bytes of the key the string that a piece ended in agrees with; `None` when it is no
    /// candidate.
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

    /// Reads the next piece. `read` gets the bytes from each object on, and says how long the object
    /// is when it could read it; one that does not end in its piece comes again, as a whole.
    pub(crate) fn feed(&mut self, piece: &[u8], mut read: impl FnMut(&[u8]) -> Option<usize>) {
        let mut from = 0;
        let mut rest = piece;
        while !rest.is_empty() {
            let was_capturing = self.capturing;
            rest = match self.place {
                Place::Before => self.before(rest),
                Place::Between if self.depth > self.level => self.nested(rest),
                Place::Between => self.members(rest),
                Place::InString => {
                    let matched = self.matched.take();
                    self.place = Place::Between;
                    self.string(rest, matched)
                }
                Place::Escaped => {
                    self.place = Place::InString;
                    &rest[1..]
                }
                Place::After | Place::Opaque => return,
            };
            let at = piece.len() - rest.len();
            match (was_capturing, self.capturing) {
                (false, true) => {
                    // The brace that was just read.
                    from = at - 1;
                    if let Some(len) = read(bounded(&piece[from..])) {
                        rest = &piece[from + len..];
                        self.leave_nested();
                    }
                }
                (true, false) => self.end_capture(&piece[from..at], &mut read),
                _ => {}
            }
        }
        if self.capturing {
            self.keep(&piece[from..]);
        }
    }

    /// `last` is what this piece holds of the object.
    fn end_capture(&mut self, last: &[u8], read: &mut impl FnMut(&[u8]) -> Option<usize>) {
        // What began in this piece has been read.
        if self.capture.is_empty() {
            return;
        }
        self.keep(last);
        if self.capture.len() <= MAX_CAPTURE {
            read(&self.capture);
        }
        self.capture = Vec::new();
    }

    fn before<'p>(&mut self, rest: &'p [u8]) -> &'p [u8] {
        let rest = rest.trim_ascii_start();
        self.place = match rest.first() {
            None => Place::Before,
            Some(b'{') => Place::Between,
            Some(b'[') => {
                self.level = 2;
                Place::Between
            }
            Some(_) => Place::Opaque,
        };
        rest
    }

    /// Over members at `level`, up to the first container within one. A comma is where keys are
    /// looked for.
    fn members<'p>(&mut self, mut rest: &'p [u8]) -> &'p [u8] {
        while self.place == Place::Between && self.depth <= self.level {
            let Some((&byte, after)) = rest.split_first() else {
                return rest;
            };
            rest = after;
            match byte {
                b'"' => rest = self.string(after, self.key_next.then_some(0)),
                b',' => {
                    self.key_next = self.depth == self.level;
                    self.found = false;
                }
                b'{' | b'[' => self.open(byte == b'{'),
                b'}' | b']' => self.close(),
                // What stands alone between two tokens costs less to step over than a search.
                b':' | b' ' => {}
                _ => rest = words::from_structure(after, b','),
            }
        }
        rest
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
    fn nested<'p>(&mut self, rest: &'p [u8]) -> &'p [u8] {
        let mut inner = self.depth - self.level;
        match skip_nested(rest, &mut inner) {
            Ok(rest) => {
                self.leave_nested();
                rest
            }
            Err(place) => {
                self.place = place;
                self.depth = self.level + inner;
                &[]
            }
        }
    }

    fn leave_nested(&mut self) {
        self.depth = self.level;
        self.capturing = false;
        self.key_next = false;
    }

    /// Over a string, or over what comes of it after the bytes that were `matched`.
    #[inline(always)]
    fn string<'p>(&mut self, mut rest: &'p [u8], matched: Option<usize>) -> &'p [u8] {
        self.key_next = false;
        if let Some(matched) = matched {
            let same = agreement(&self.key[matched..], rest);
            rest = &rest[same..];
            if matched + same == self.key.len() {
                self.found = true;
                return rest;
            }
            if rest.is_empty() {
                self.matched = Some(matched + same);
                self.place = Place::InString;
                return rest;
            }
        }
        skip_string(rest).unwrap_or_else(|place| {
            self.place = place;
            &[]
        })
    }

    fn keep(&mut self, bytes: &[u8]) {
        // One byte over the limit marks it as too large.
        let room = (MAX_CAPTURE + 1).saturating_sub(self.capture.len());
        self.capture
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// How many bytes both begin with.
fn agreement(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// As much as is kept.
fn bounded(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(MAX_CAPTURE)]
}

/// What comes after the rest of a string, or where the scanner stands when there is no end to it.
#[inline(always)]
pub(crate) fn skip_string(mut rest: &[u8]) -> Result<&[u8], Place> {
    while let Some((before, after)) = words::split_at_quote(rest) {
        if !ends_in_escape(before) {
            return Ok(after);
        }
        rest = after;
    }
    Err(if ends_in_escape(rest) {
        Place::Escaped
    } else {
        Place::InString
    })
}

/// Whether what follows a string's text is escaped: the backslashes it ends in are an odd number. It
/// spares a look at every `\n` of a long text.
#[inline]
fn ends_in_escape(text: &[u8]) -> bool {
    text.last() == Some(&b'\\') && {
        let slashes = text.iter().rev().take_while(|&&byte| byte == b'\\');
        slashes.count() % 2 == 1
    }
}

/// What comes after the rest of `depth` containers inside each other, or where the scanner stands,
/// and how deep, when there is no end to them.
pub(crate) fn skip_nested<'b>(mut rest: &'b [u8], depth: &mut u32) -> Result<&'b [u8], Place> {
    while let Some((&byte, after)) = rest.split_first() {
        rest = match byte {
            b'"' => skip_string(after)?,
            b'{' | b'[' => {
                *depth += 1;
                after
            }
            b'}' | b']' => {
                *depth -= 1;
                if *depth == 0 {
                    return Ok(after);
                }
                after
            }
            b':' | b',' | b' ' => after,
            _ => words::from_structure(after, b'"'),
        };
    }
    Err(Place::Between)
}

#[cfg(test)]
mod tests;
