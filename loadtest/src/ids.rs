//! Ids that look like a vendor's and are the same in every run, and JSON strings.

use std::time::{SystemTime, UNIX_EPOCH};

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The ids of one call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ids(pub(crate) u64);

impl Ids {
    /// `prefix` and `len` letters and digits.
    pub(crate) fn id(self, prefix: &str, len: usize) -> String {
        self.write(prefix, len, |random| BASE62[(random % 62) as usize])
    }

    /// `prefix` and `len` hex digits.
    pub(crate) fn hex(self, prefix: &str, len: usize) -> String {
        self.write(prefix, len, |random| {
            b"0123456789abcdef"[(random % 16) as usize]
        })
    }

    fn write(self, prefix: &str, len: usize, digit: impl Fn(u64) -> u8) -> String {
        let mut id = String::with_capacity(prefix.len() + len);
        id.push_str(prefix);
        let salt = prefix
            .bytes()
            .fold(0_u64, |sum, byte| sum.wrapping_mul(31) + u64::from(byte));
        let mut state = self
            .0
            .wrapping_add(salt.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        for _ in 0..len {
            id.push(char::from(digit(splitmix(&mut state) >> 8)));
        }
        id
    }
}

/// What looks random and is the same in every run.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        let mut seed = seed;
        // Seeds that follow one another must not give the same numbers, one later.
        Self(splitmix(&mut seed))
    }

    pub(crate) fn number(&mut self) -> u64 {
        splitmix(&mut self.0)
    }

    /// Below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        ((self.number() >> 8) % end as u64) as usize
    }

    pub(crate) fn text(&mut self, len: usize, letters: &[u8]) -> String {
        (0..len)
            .map(|_| char::from(letters[self.below(letters.len())]))
            .collect()
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| (self.number() >> 8) as u8).collect()
    }
}

fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// Seconds since 1970, as `created` fields have it.
pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map(|since| since.as_secs())
        .unwrap_or_default()
}

/// `text` as a JSON string, quotes included.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
