//! Looks at eight bytes at a time. Most strings in requests and answers are shorter than what a
//! call of `memchr` costs.
//!
//! A mark is the high bit of a byte. The lowest mark is right; those above it may be set in error,
//! because a subtraction borrows from the byte above.

use memchr::{memchr, memchr2};

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGHS: u64 = ONES << 7;

/// The eight bytes at `at`, the first of them lowest; `None` when there are fewer.
#[inline]
pub(crate) fn load(bytes: &[u8], at: usize) -> Option<u64> {
    bytes
        .get(at..)?
        .first_chunk()
        .copied()
        .map(u64::from_le_bytes)
}

/// Marks quotes and backslashes.
#[inline]
pub(crate) fn quotes(word: u64) -> u64 {
    let quote = word ^ each(b'"');
    let slash = word ^ each(b'\\');
    (quote.wrapping_sub(ONES) | slash.wrapping_sub(ONES)) & !word & HIGHS
}

/// Marks quotes, backslashes and control characters: what ends a run of plain text in a string.
#[inline]
pub(crate) fn stops(word: u64) -> u64 {
    quotes(word) | (word.wrapping_sub(each(0x20)) & !word & HIGHS)
}

/// Marks quotes, brackets, braces and `extra`, which is ASCII.
#[inline]
pub(crate) fn structure(word: u64, extra: u8) -> u64 {
    // Brackets and braces differ from each other in one bit.
    let folded = word | each(0x20);
    let open = folded ^ each(b'{');
    let close = folded ^ each(b'}');
    let quote = word ^ each(b'"');
    let extra = word ^ each(extra);
    let zeros = open.wrapping_sub(ONES)
        | close.wrapping_sub(ONES)
        | quote.wrapping_sub(ONES)
        | extra.wrapping_sub(ONES);
    zeros & !word & HIGHS
}

/// Whether one of the bytes is no ASCII.
pub(crate) fn beyond_ascii(word: u64) -> bool {
    word & HIGHS != 0
}

/// A word of one byte.
#[inline]
pub(crate) fn each(byte: u8) -> u64 {
    ONES * u64::from(byte)
}

/// Which byte the lowest mark is on.
#[inline]
pub(crate) fn first(marks: u64) -> usize {
    marks.trailing_zeros() as usize / 8
}

/// How many bytes come before the first quote, backslash or control character.
#[inline]
pub(crate) fn plain_run(bytes: &[u8], seen: &mut u64) -> usize {
    let mut at = 0;
    while let Some(word) = load(bytes, at) {
        *seen |= word;
        let stops = stops(word);
        if stops != 0 {
            return at + first(stops);
        }
        at += 8;
        if at == 32 {
            return at + long_run(&bytes[at..], seen);
        }
    }
    at + end_of_run(&bytes[at..], seen)
}

/// As [`plain_run`], for what is long.
fn long_run(bytes: &[u8], seen: &mut u64) -> usize {
    let mut at = plain_blocks::<64>(bytes, seen);
    at += plain_blocks::<16>(&bytes[at..], seen);
    while let Some(word) = load(bytes, at) {
        *seen |= word;
        let stops = stops(word);
        if stops != 0 {
            return at + first(stops);
        }
        at += 8;
    }
    at + end_of_run(&bytes[at..], seen)
}

/// How many bytes the blocks have that come before the first one with a stop. The compiler turns it
/// into vector instructions.
#[inline(always)]
fn plain_blocks<const BLOCK: usize>(bytes: &[u8], seen: &mut u64) -> usize {
    let mut at = 0;
    let mut union = [0; 16];
    for block in bytes.as_chunks::<BLOCK>().0 {
        if has_stop(block, &mut union) {
            break;
        }
        at += BLOCK;
    }
    if union
        .iter()
        .fold(false, |beyond, byte| beyond | !byte.is_ascii())
    {
        *seen |= HIGHS;
    }
    at
}

/// Whether a block has a stop. A quote with one bit flipped is next to the control characters, and so
/// the least of several bytes tells whether one of them is a stop.
#[inline(always)]
fn has_stop<const BLOCK: usize>(block: &[u8; BLOCK], union: &mut [u8; 16]) -> bool {
    let mut quotes = [u8::MAX; 16];
    let mut slashes = [u8::MAX; 16];
    for lanes in block.as_chunks::<16>().0 {
        for (at, &byte) in lanes.iter().enumerate() {
            quotes[at] = quotes[at].min(byte ^ (b'"' ^ 0x20));
            slashes[at] = slashes[at].min(byte ^ b'\\');
            union[at] |= byte;
        }
    }
    let least = quotes.iter().zip(&slashes);
    least.fold(false, |stop, (&quote, &slash)| {
        stop | (quote <= 0x20) | (slash == 0)
    })
}

/// As [`plain_run`], for the last bytes of the text.
fn end_of_run(bytes: &[u8], seen: &mut u64) -> usize {
    bytes.iter().for_each(|&byte| *seen |= each(byte));
    bytes
        .iter()
        .position(|&byte| is_stop(byte))
        .unwrap_or(bytes.len())
}

fn is_stop(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// What a search found: the bytes before it, itself, and those after it.
pub(crate) type Found<'b> = (&'b [u8], u8, &'b [u8]);

/// The first quote or backslash.
#[inline(always)]
pub(crate) fn find_quote(bytes: &[u8]) -> Option<Found<'_>> {
    let at = near(bytes, near::quote_or_slash).or_else(|| memchr2(b'"', b'\\', bytes))?;
    around(bytes, at)
}

/// The first quote, whether or not it is escaped: what comes before it, and after it.
#[inline(always)]
pub(crate) fn split_at_quote(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = near(bytes, near::quote).or_else(|| memchr(b'"', bytes))?;
    let (before, _, after) = around(bytes, at)?;
    Some((before, after))
}

/// Searches the first bytes, as many as nearly all strings have.
#[inline(always)]
fn near(bytes: &[u8], find: impl Fn(&[u8; 16]) -> Option<usize>) -> Option<usize> {
    let (first, rest) = bytes.split_first_chunk()?;
    find(first).or_else(|| Some(16 + find(rest.first_chunk()?)?))
}

/// Searches of a vector's bytes, in place: a call of `memchr`, which looks up what the processor can do,
/// costs more than most strings are long.
#[cfg(target_arch = "x86_64")]
mod near {
    use memchr::arch::x86_64::sse2::memchr::{One, Two};

    #[inline(always)]
    pub(super) fn quote(bytes: &[u8; 16]) -> Option<usize> {
        One::new(b'"')?.find(bytes)
    }

    #[inline(always)]
    pub(super) fn quote_or_slash(bytes: &[u8; 16]) -> Option<usize> {
        Two::new(b'"', b'\\')?.find(bytes)
    }
}

/// The same where SSE2 is not sure to be there.
#[cfg(not(target_arch = "x86_64"))]
mod near {
    use memchr::arch::all::memchr::{One, Two};

    #[inline(always)]
    pub(super) fn quote(bytes: &[u8; 16]) -> Option<usize> {
        One::new(b'"').find(bytes)
    }

    #[inline(always)]
    pub(super) fn quote_or_slash(bytes: &[u8; 16]) -> Option<usize> {
        Two::new(b'"', b'\\').find(bytes)
    }
}

/// The first quote, bracket, brace or `extra`, which is ASCII.
#[inline(always)]
pub(crate) fn find_structure(bytes: &[u8], extra: u8) -> Option<Found<'_>> {
    let marks = |word| structure(word, extra);
    find::<2>(bytes, marks, |far| far_structure(far, extra))
}

/// From the first quote, bracket, brace or `extra` on, which is ASCII.
#[inline(always)]
pub(crate) fn from_structure(bytes: &[u8], extra: u8) -> &[u8] {
    find_structure(bytes, extra).map_or(&[], |(before, ..)| &bytes[before.len()..])
}

/// The first mark. What is not within some words is left to `far`, which says how many bytes come
/// before it.
#[inline(always)]
fn find<const WORDS: usize>(
    bytes: &[u8],
    marks: impl Fn(u64) -> u64,
    far: impl Fn(&[u8]) -> usize,
) -> Option<Found<'_>> {
    let mut rest = bytes;
    for before in 0..WORDS {
        let Some((chunk, after)) = rest.split_first_chunk() else {
            break;
        };
        let marks = marks(u64::from_le_bytes(*chunk));
        if marks != 0 {
            return around(bytes, 8 * before + first(marks));
        }
        rest = after;
    }
    around(bytes, bytes.len() - rest.len() + far(rest))
}

#[inline(always)]
fn around(bytes: &[u8], at: usize) -> Option<Found<'_>> {
    let (before, from) = bytes.split_at_checked(at)?;
    let (&found, after) = from.split_first()?;
    Some((before, found, after))
}

/// How many bytes come before the first quote, bracket, brace or `extra`. Embeddings are tens of kilobytes of
/// numbers: the compiler makes vector code of the blocks.
#[inline(never)]
fn far_structure(bytes: &[u8], extra: u8) -> usize {
    let is_structure =
        |byte: u8| byte == b'"' || byte == extra || byte | 0x20 == b'{' || byte | 0x20 == b'}';
    let mut at = 0;
    for block in bytes.chunks_exact(32) {
        if block
            .iter()
            .fold(false, |found, &byte| found | is_structure(byte))
        {
            break;
        }
        at += 32;
    }
    let rest = &bytes[at..];
    at + rest
        .iter()
        .position(|&byte| is_structure(byte))
        .unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_any_two_bytes_is_marked() {
        for a in 0..=255u8 {
            for b in 0..=255u8 {
                let bytes = [b'x', a, 0xff, b, b'\\', 0, 0x80, b'"'];
                let word = load(&bytes, 0).unwrap();
                let at = |wanted: fn(u8) -> bool| bytes.iter().position(|&byte| wanted(byte));
                assert_eq!(
                    Some(first(quotes(word))),
                    at(|byte| byte == b'"' || byte == b'\\')
                );
                let structural = |byte| b"\"{}[],".contains(&byte);
                assert_eq!(Some(first(structure(word, b','))), at(structural));
                assert_eq!(
                    Some(first(stops(word))),
                    at(|byte| byte == b'"' || byte == b'\\' || byte < 0x20)
                );
            }
        }
    }

    #[test]
    fn the_first_mark_is_found_at_every_place() {
        for byte in 0..=255u8 {
            for len in 0..120 {
                let mut bytes = vec![b'a'; len];
                bytes.extend([byte, b'"', b'{']);
                let around = |at: usize| Some((&bytes[..at], bytes[at], &bytes[at + 1..]));
                let quote = len + usize::from(!b"\"\\".contains(&byte));
                assert_eq!(find_quote(&bytes), around(quote), "byte {byte} after {len}");
                let mark = len + usize::from(!b"\"{}[],".contains(&byte));
                let found = find_structure(&bytes, b',');
                assert_eq!(found, around(mark), "byte {byte} after {len}");
            }
        }
        for len in 0..120 {
            let bytes = vec![b'a'; len];
            assert_eq!(find_quote(&bytes), None);
            assert_eq!(split_at_quote(&bytes), None);
            let quoted = [&bytes[..], b"\"\"a"].concat();
            assert_eq!(split_at_quote(&quoted), Some((&bytes[..], &b"\"a"[..])));
            assert_eq!(find_structure(&bytes, b','), None);
        }
    }

    #[test]
    fn every_stop_is_found_at_every_place() {
        for stop in 0..=255u8 {
            for len in 0..200 {
                let mut bytes = vec![b'a'; len];
                bytes.push(stop);
                bytes.extend([b'\xff', b'!', b'"']);
                let expected = if is_stop(stop) { len } else { len + 3 };
                assert_eq!(
                    plain_run(&bytes, &mut 0),
                    expected,
                    "byte {stop} after {len}"
                );
            }
        }
    }

    #[test]
    fn what_is_beyond_ascii_is_seen_at_every_place() {
        for at in 0..300 {
            let mut bytes = [b'x'; 300];
            bytes[at] = 0x80;
            let mut seen = 0;
            plain_run(&bytes, &mut seen);
            assert!(beyond_ascii(seen), "at {at}");
        }
    }

    #[test]
    fn a_run_without_a_stop_is_all_of_it() {
        for len in 0..300 {
            let mut seen = 0;
            assert_eq!(plain_run(&vec![b'x'; len], &mut seen), len);
            assert!(!beyond_ascii(seen));
        }
    }
}
