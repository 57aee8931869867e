//! Looks at eight bytes at a time. Most strings in requests and answers are shorter than what a
//! call of `memchr` costs.
//!
//! A mark is the high bit of a byte. The lowest mark is right; those above it may be set in error,
//! because a subtraction borrows from the byte above.

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
}
