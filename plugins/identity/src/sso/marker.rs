//! What the gateway's own words are known by when an agent sends them back (F12): a mark that nobody
//! else can make, so that nobody can have turns of a conversation taken out that are not ours.

use std::sync::Arc;

use super::{Purpose, Seals};

/// How marks begin. Worth looking for in every conversation: it stands in hardly any.
pub const MARK: &str = "turnpike_sandbox_";

/// Characters of the part that makes a mark one of its own, and of the seal on it.
const NONCE: usize = 16;
const SEAL: usize = 43;

/// Makes marks and recognises them.
#[derive(Clone)]
pub struct Marker(Arc<Seals>);

impl Marker {
    pub fn new(seals: Arc<Seals>) -> Self {
        Self(seals)
    }

    /// A new mark: letters, digits, `-` and `_`.
    pub fn mint(&self) -> Result<String, getrandom::Error> {
        use base64::Engine as _;
        let mut nonce = [0; NONCE / 4 * 3];
        getrandom::fill(&mut nonce)?;
        let nonce = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(nonce);
        let seal = self.0.seal(Purpose::Said, &nonce);
        Ok(format!("{MARK}{nonce}{seal}"))
    }

    /// Whether a mark of ours stands in the text.
    pub fn is_in(&self, text: &str) -> bool {
        let mut found = text.match_indices(MARK);
        found.any(|(at, _)| {
            let mark = &text[at + MARK.len()..];
            let (nonce, seal) = (mark.get(..NONCE), mark.get(NONCE..NONCE + SEAL));
            nonce
                .zip(seal)
                .is_some_and(|(nonce, seal)| self.0.is_sealed(Purpose::Said, nonce, seal))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_made_here_is_a_mark() {
        let marker = Marker::new(Arc::new(Seals::new(&[1; 32])));
        let mark = marker.mint().unwrap();
        assert_ne!(mark, marker.mint().unwrap());
        assert!(marker.is_in(&mark));
        assert!(marker.is_in(&format!("see {MARK}, {MARK}xyz and \u{e9}{mark}.")));
        assert!(!marker.is_in(&mark[..mark.len() - 1]));
        assert!(!marker.is_in(MARK));
        for at in MARK.len()..mark.len() {
            let mut other = mark.clone().into_bytes();
            other[at] = if other[at] == b'a' { b'b' } else { b'a' };
            let other = String::from_utf8(other).unwrap();
            // The last character of Base64 has bits that count for nothing.
            assert!(!marker.is_in(&other) || at + 1 == mark.len(), "{at}");
        }
        let others = Marker::new(Arc::new(Seals::new(&[2; 32])));
        assert!(!others.is_in(&mark));
    }
}
