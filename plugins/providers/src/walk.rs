//! Walks over JSON text: checks every byte as `serde_json` would, builds nothing, never recurses.

use std::borrow::Cow;
use std::ops::Range;

use crate::words;

/// Containers inside each other, the outermost included. `serde_json` accepts as many; a body it
/// would refuse must not pass here.
pub(crate) const MAX_DEPTH: u32 = 127;

/// A number shorter than this cannot leave the range of `f64` without an exponent.
const SURELY_FINITE: usize = 300;

/// Why a walk ended early.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Not JSON from this byte on.
    Malformed(usize),
    /// More than [`MAX_DEPTH`] containers inside each other.
    TooDeep,
}

/// A string as it stands in the text.
pub(crate) struct Literal {
    /// Its bytes, quotes included.
    pub(crate) span: Range<usize>,
    /// How many escapes it has: with any, its text is not its bytes. (Not a `bool`: that is copied
    /// with its padding, by reads which wait for stores of another width.)
    pub(crate) escapes: usize,
}

pub(crate) struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The strings' words so far, laid over each other: a high bit says that not all is ASCII.
    seen: u64,
}

/// Whether a backslash and this byte are a whole escape. A table, because the jumps of a `match`
/// are hard to foresee in text full of `\n` and `\"`.
const SHORT_ESCAPES: [bool; 256] = {
    let mut table = [false; 256];
    let mut letters: &[u8] = b"\"\\/bfnrt";
    while let [letter, rest @ ..] = letters {
        table[*letter as usize] = true;
        letters = rest;
    }
    table
};

impl<'a> Walk<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            seen: 0,
        }
    }

    /// Whether a string had bytes beyond ASCII. Nothing has checked that they are UTF-8.
    pub(crate) fn beyond_ascii(&self) -> bool {
        words::beyond_ascii(self.seen)
    }

    /// Where the next byte is read.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// The next byte that is not blank, left where it is.
    #[inline]
    pub(crate) fn peek(&mut self) -> Option<u8> {
        loop {
            match self.bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\t' | b'\r') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    /// Consumes the byte that [`peek`](Self::peek) showed.
    pub(crate) fn step(&mut self) {
        self.at += 1;
    }

    pub(crate) fn malformed<T>(&self) -> Result<T, Stop> {
        Err(Stop::Malformed(self.at))
    }

    /// Over one value of any kind that stands inside `outer` containers. Open containers are bits
    /// (1 is an object): a deep document costs no stack.
    pub(crate) fn value(&mut self, outer: u32) -> Result<(), Stop> {
        let mut objects: u128 = 0;
        let mut depth = outer;
        loop {
            let opened = match self.peek() {
                Some(b'"') => self.rest_of_string().map(|_| false)?,
                Some(open @ (b'{' | b'[')) => {
                    depth += 1;
                    if depth > MAX_DEPTH {
                        return Err(Stop::TooDeep);
                    }
                    objects = objects << 1 | u128::from(open == b'{');
                    self.at += 1;
                    self.opens(open == b'{')?
                }
                Some(b'-' | b'0'..=b'9') => self.number().map(|_| false)?,
                _ => self.word().map(|_| false)?,
            };
            if opened {
                continue;
            }
            while depth > outer {
                let in_object = objects & 1 == 1;
                match (self.peek(), in_object) {
                    (Some(b','), _) => {
                        self.at += 1;
                        if in_object {
                            self.key()?;
                        }
                        break;
                    }
                    (Some(b'}'), true) | (Some(b']'), false) => {
                        self.at += 1;
                        depth -= 1;
                        objects >>= 1;
                    }
                    _ => return self.malformed(),
                }
            }
            if depth == outer {
                return Ok(());
            }
        }
    }

    /// After an opening bracket: whether a value comes next (its key is consumed). An empty
    /// container's closing bracket is left to be read.
    #[inline(always)]
    fn opens(&mut self, object: bool) -> Result<bool, Stop> {
        match (self.peek(), object) {
            (Some(b'}'), true) | (Some(b']'), false) => Ok(false),
            (_, true) => self.key().map(|_| true),
            (_, false) => Ok(true),
        }
    }

    /// Over a member's key and its colon.
    #[inline(always)]
    pub(crate) fn key(&mut self) -> Result<Literal, Stop> {
        if self.peek() != Some(b'"') {
            return self.malformed();
        }
        let key = self.string()?;
        if self.peek() != Some(b':') {
            return self.malformed();
        }
        self.at += 1;
        Ok(key)
    }

    /// Over a string; the cursor stands on its opening quote.
    #[inline(always)]
    pub(crate) fn string(&mut self) -> Result<Literal, Stop> {
        let start = self.at;
        let escapes = self.rest_of_string()?;
        Ok(Literal {
            span: start..self.at,
            escapes,
        })
    }

    /// Over a string: how many escapes it has.
    #[inline(always)]
    fn rest_of_string(&mut self) -> Result<usize, Stop> {
        self.at += 1;
        // Most strings are keys and roles: they end within the first word.
        if let Some(word) = words::load(self.bytes, self.at) {
            self.seen |= word;
            let stops = words::stops(word);
            let end = self.at + words::first(stops);
            if stops == 0 {
                self.at = end;
            } else if self.bytes[end] == b'"' {
                self.at = end + 1;
                return Ok(0);
            }
        }
        self.rest_of_long_string()
    }

    #[inline(never)]
    fn rest_of_long_string(&mut self) -> Result<usize, Stop> {
        let mut escapes = 0;
        loop {
            self.at += words::plain_run(&self.bytes[self.at..], &mut self.seen);
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escapes);
                }
                Some(b'\\') => {
                    escapes += 1;
                    self.escape()?;
                }
                _ => return self.malformed(),
            }
        }
    }

    #[inline]
    fn escape(&mut self) -> Result<(), Stop> {
        match self.bytes.get(self.at + 1) {
            Some(&letter) if SHORT_ESCAPES[usize::from(letter)] => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => self.unicode_escape(),
            _ => self.malformed(),
        }
    }

    /// One `\uXXXX`, or the two that make a surrogate pair; half a pair is no text.
    fn unicode_escape(&mut self) -> Result<(), Stop> {
        match self.code_unit()? {
            0xDC00..=0xDFFF => self.malformed(),
            0xD800..=0xDBFF => match self.code_unit()? {
                0xDC00..=0xDFFF => Ok(()),
                _ => self.malformed(),
            },
            _ => Ok(()),
        }
    }

    fn code_unit(&mut self) -> Result<u32, Stop> {
        let escape = self.bytes.get(self.at..self.at + 6).unwrap_or_default();
        let Some(digits) = escape.strip_prefix(br"\u") else {
            return self.malformed();
        };
        let mut unit = 0;
        for &digit in digits {
            let Some(digit) = char::from(digit).to_digit(16) else {
                return self.malformed();
            };
            unit = unit << 4 | digit;
        }
        self.at += 6;
        Ok(unit)
    }

    /// Over a number; the text of it.
    pub(crate) fn number(&mut self) -> Result<&'a [u8], Stop> {
        let start = self.at;
        if self.bytes.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        match self.bytes.get(self.at) {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        let exponent = matches!(self.bytes.get(self.at), Some(b'e' | b'E'));
        if exponent {
            self.at += 1;
            if matches!(self.bytes.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        let text = &self.bytes[start..self.at];
        // Whether it is out of range hangs on how the parser rounds, so the parser says.
        if (exponent || text.len() > SURELY_FINITE)
            && serde_json::from_slice::<serde_json::Number>(text).is_err()
        {
            return Err(Stop::Malformed(start));
        }
        Ok(text)
    }

    #[inline]
    fn digits(&mut self) -> Result<(), Stop> {
        let digits = self.bytes[self.at..].iter();
        let len = digits.take_while(|byte| byte.is_ascii_digit()).count();
        self.at += len;
        if len == 0 { self.malformed() } else { Ok(()) }
    }

    /// Over `true`, `false` or `null`; `None` is null.
    pub(crate) fn word(&mut self) -> Result<Option<bool>, Stop> {
        let rest = &self.bytes[self.at..];
        let (len, word) = if rest.starts_with(b"true") {
            (4, Some(true))
        } else if rest.starts_with(b"false") {
            (5, Some(false))
        } else if rest.starts_with(b"null") {
            (4, None)
        } else {
            return self.malformed();
        };
        self.at += len;
        Ok(word)
    }

    /// A string's bytes between its quotes.
    pub(crate) fn raw(&self, literal: &Literal) -> &'a [u8] {
        &self.bytes[literal.span.start + 1..literal.span.end - 1]
    }

    /// What a string says; `None` when it is not UTF-8.
    pub(crate) fn text(&self, literal: &Literal) -> Option<Cow<'a, str>> {
        if literal.escapes > 0 {
            return serde_json::from_slice(&self.bytes[literal.span.clone()])
                .ok()
                .map(Cow::Owned);
        }
        std::str::from_utf8(self.raw(literal))
            .ok()
            .map(Cow::Borrowed)
    }
}
