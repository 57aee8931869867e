//! Reads counts out of a JSON object. It goes over bytes that somebody else checks: what it cannot
//! read it gives up on, and it does not notice all that is wrong.

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
    #[inline]
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
    pub(super) fn maybe_object<C: Counts>(&mut self) -> Option<Option<C>> {
        if self.peek()? == b'{' {
            return self.object().map(Some);
        }
        self.null().map(|()| None)
    }

    /// Over a count or null. A fraction is none, nor is what does not fit in 64 bits.
    #[inline]
    pub(super) fn count(&mut self) -> Option<Option<u64>> {
        let mut count: Option<u64> = None;
        self.peek()?;
        while let Some((digit @ b'0'..=b'9', after)) = self.rest.split_first() {
            let digit = u64::from(digit - b'0');
            count = Some(count.unwrap_or(0).checked_mul(10)?.checked_add(digit)?);
            self.rest = after;
        }
        match count {
            None => self.null().map(|()| None),
            some => Some(some),
        }
    }

    /// Over a value of any kind.
    pub(super) fn skip(&mut self) -> Option<()> {
        let first = self.peek()?;
        match first {
            b'"' => {
                self.step();
                self.rest = skip_string(self.rest).ok()?;
            }
            b'{' | b'[' => {
                self.step();
                self.rest = skip_nested(self.rest, &mut 1).ok()?;
            }
            _ => self.scalar()?,
        }
        Some(())
    }

    /// Over a number or a word.
    fn scalar(&mut self) -> Option<()> {
        let is_part =
            |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'E' | b'+' | b'-' | b'.');
        let len = self.rest.iter().position(|byte| !is_part(byte))?;
        self.rest = &self.rest[len..];
        (len > 0).then_some(())
    }

    #[inline]
    fn member(&mut self, counts: &mut impl Counts) -> Option<()> {
        self.expect(b'"')?;
        let (key, end, after) = words::find_quote(self.rest)?;
        if end != b'"' {
            return self.escaped_member(counts);
        }
        self.rest = after;
        self.expect(b':')?;
        counts.member(key, self)
    }

    /// Over a member whose key has escapes.
    #[cold]
    fn escaped_member(&mut self, counts: &mut impl Counts) -> Option<()> {
        let from = self.rest;
        self.rest = skip_string(from).ok()?;
        let quoted = [b"\"", &from[..from.len() - self.rest.len()]].concat();
        let key: String = serde_json::from_slice(&quoted).ok()?;
        self.expect(b':')?;
        counts.member(key.as_bytes(), self)
    }

    fn null(&mut self) -> Option<()> {
        self.rest = self.rest.strip_prefix(b"null")?;
        Some(())
    }

    /// Over this byte, which must be the next one.
    #[inline]
    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    /// Over the next byte that is not blank.
    #[inline]
    fn next(&mut self) -> Option<u8> {
        let next = self.peek()?;
        self.step();
        Some(next)
    }

    /// The next byte that is not blank.
    #[inline]
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
