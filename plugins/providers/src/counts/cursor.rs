//! Reads counts out of a JSON object. It goes over bytes that somebody else checks: what it cannot
//! read it gives up on, and it does not notice all that is wrong.

use std::borrow::Cow;

use crate::answer_scan::{skip_nested, skip_string};
use crate::words;

/// What is read of an object.
pub(super) trait Counts: Default {
    /// Reads the value of one member, or skips it. Of equal keys the last one counts.
    fn member(&mut self, key: &[u8], cursor: &mut Cursor<'_>) -> Option<()>;
}

pub(super) struct Cursor<'b> {
    rest: &'b [u8],
}

impl<'b> Cursor<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read yet.
    pub(super) fn rest(&self) -> &'b [u8] {
        self.rest
    }

    /// Over an object.
    #[inline(always)]
    pub(super) fn object<C: Counts>(&mut self) -> Option<C> {
        let mut counts = C::default();
        self.expect(b'{')?;
        if self.peek()? == b'}' {
            self.step();
            return Some(counts);
        }
        loop {
            self.member(&mut counts)?;
            match self.next()? {
                b',' => {}
                b'}' => return Some(counts),
                _ => return None,
            }
        }
    }

    /// Over an object or null.
    #[inline(always)]
    pub(super) fn maybe_object<C: Counts>(&mut self) -> Option<Option<C>> {
        if self.peek()? == b'{' {
            let (object, rest) = object(self.rest)?;
            self.rest = rest;
            return Some(Some(object));
        }
        self.null().map(|()| None)
    }

    /// Over a count or null. A fraction is none, nor is what does not fit in 64 bits.
    #[inline(always)]
    pub(super) fn count(&mut self) -> Option<Option<u64>> {
        if !self.peek()?.is_ascii_digit() {
            return self.null().map(|()| None);
        }
        let mut count: u64 = 0;
        while let Some((digit @ b'0'..=b'9', after)) = self.rest.split_first() {
            count = count
                .checked_mul(10)?
                .checked_add(u64::from(digit - b'0'))?;
            self.rest = after;
        }
        Some(Some(count))
    }

    /// Over a value of any kind.
    #[inline(always)]
    pub(super) fn skip(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' | b'{' | b'[' => {
                self.rest = after_enclosed(self.rest)?;
                Some(())
            }
            _ => self.scalar(),
        }
    }

    /// Over a number or a word.
    #[inline(always)]
    fn scalar(&mut self) -> Option<()> {
        let len = self.rest.iter().position(|byte| !is_scalar(*byte))?;
        self.rest = &self.rest[len..];
        (len > 0).then_some(())
    }

    #[inline(always)]
    fn member(&mut self, counts: &mut impl Counts) -> Option<()> {
        self.expect(b'"')?;
        let (key, end, after) = words::find_quote(self.rest)?;
        let (key, after) = match end {
            b'"' => (Cow::Borrowed(key), after),
            _ => escaped_key(self.rest)?,
        };
        self.rest = after;
        self.expect(b':')?;
        counts.member(&key, self)
    }

    fn null(&mut self) -> Option<()> {
        self.rest = self.rest.strip_prefix(b"null")?;
        Some(())
    }

    /// Over this byte, which must be the next one that is not blank.
    #[inline(always)]
    fn expect(&mut self, byte: u8) -> Option<()> {
        match self.rest {
            [next, after @ ..] if *next == byte => {
                self.rest = after;
                Some(())
            }
            _ => (self.next()? == byte).then_some(()),
        }
    }

    /// Over the next byte that is not blank.
    #[inline(always)]
    fn next(&mut self) -> Option<u8> {
        let next = self.peek()?;
        self.step();
        Some(next)
    }

    /// The next byte that is not blank.
    #[inline(always)]
    fn peek(&mut self) -> Option<u8> {
        if let Some(&byte @ b'!'..) = self.rest.first() {
            return Some(byte);
        }
        self.rest = self.rest.trim_ascii_start();
        self.rest.first().copied()
    }

    /// Over the byte that was peeked at.
    #[inline]
    fn step(&mut self) {
        self.rest = self.rest.get(1..).unwrap_or_default();
    }
}

/// An object, and what comes after it.
fn object<C: Counts>(bytes: &[u8]) -> Option<(C, &[u8])> {
    let mut cursor = Cursor::new(bytes);
    Some((cursor.object()?, cursor.rest))
}

/// What comes after a string or a container.
#[inline(never)]
fn after_enclosed(bytes: &[u8]) -> Option<&[u8]> {
    match bytes.split_first()? {
        (b'"', text) => skip_string(text).ok(),
        (_, inner) => skip_nested(inner, &mut 1).ok(),
    }
}

/// A key that has escapes, from its first byte on, and what comes after it.
#[cold]
#[inline(never)]
fn escaped_key(text: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    let after = skip_string(text).ok()?;
    let quoted = [b"\"", &text[..text.len() - after.len()]].concat();
    let key: String = serde_json::from_slice(&quoted).ok()?;
    Some((Cow::Owned(key.into_bytes()), after))
}

/// Whether numbers and words may have this byte. A table, because most are a digit or two long.
fn is_scalar(byte: u8) -> bool {
    const TABLE: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < table.len() {
            table[byte] =
                matches!(byte as u8, b'0'..=b'9' | b'a'..=b'z' | b'E' | b'+' | b'-' | b'.');
            byte += 1;
        }
        table
    };
    TABLE[usize::from(byte)]
}
