//! How an agent token is written: `tp-<id>.<secret>`, with or without `sk-` before it, for agents
//! that insist on that.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use turnpike_api::Secret;

/// What every token begins with.
const MARK: &str = "tp-";

/// What some agents want every key to begin with.
const TOLERATED: &str = "sk-";

/// Characters of an id: 80 random bits.
const ID: usize = 16;

/// Characters of a secret: 256 random bits.
const SECRET: usize = 43;

/// Without those that are taken for one another.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// A token as it was presented.
#[derive(Clone, Copy)]
pub(super) struct Text<'t> {
    /// From the mark on: the same token has one.
    pub(super) whole: &'t str,
    pub(super) id: &'t str,
    pub(super) secret: &'t str,
}

impl<'t> Text<'t> {
    /// `None` when it is no agent token; an error says how it is malformed.
    pub(super) fn read(presented: &'t str) -> Option<Result<Self, &'static str>> {
        let whole = presented.strip_prefix(TOLERATED).unwrap_or(presented);
        let rest = whole.strip_prefix(MARK)?;
        Some(match rest.split_once('.') {
            None => Err("an agent token has a dot between its id and its secret; was it cut off?"),
            Some((id, _)) if !is_id(id) => Err("the id of the agent token is not one"),
            Some((_, secret)) if secret.len() != SECRET => {
                Err("the secret of the agent token is not of the right length; was it cut off?")
            }
            Some((_, secret)) if !all(secret, is_of_secret) => {
                Err("the secret of the agent token has characters that none has")
            }
            Some((id, secret)) => Ok(Self { whole, id, secret }),
        })
    }
}

/// Whether it has the form of a token's id.
pub(super) fn is_id(text: &str) -> bool {
    // Looked at for every request: a search in the letters is ten times as long.
    let is_letter = |byte| matches!(byte, b'a'..=b'k' | b'm'..=b'n' | b'p'..=b'z' | b'2'..=b'9');
    text.len() == ID && all(text, is_letter)
}

/// URL-safe Base64.
fn is_of_secret(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_')
}

/// Without an early end: the compiler looks at many bytes at once.
fn all(text: &str, is_good: impl Fn(u8) -> bool) -> bool {
    text.bytes().fold(true, |all, byte| all & is_good(byte))
}

/// A new token: its id and its secret, of the system's randomness.
pub(super) fn generate() -> Result<(String, Secret), getrandom::Error> {
    let mut random = [0; ID];
    getrandom::fill(&mut random)?;
    // 32 letters: five bits of each byte, all of them alike.
    let letter = |byte: u8| char::from(LETTERS[usize::from(byte % 32)]);
    let id = random.into_iter().map(letter).collect();
    let mut secret = zeroize::Zeroizing::new([0; 32]);
    getrandom::fill(&mut *secret)?;
    Ok((id, Secret::new(URL_SAFE_NO_PAD.encode(*secret))))
}

/// The token of an id and a secret.
pub(super) fn whole(id: &str, secret: &Secret) -> Secret {
    Secret::new(format!("{MARK}{id}.{}", secret.expose()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_read_back_with_and_without_the_tolerated_mark() {
        let (id, secret) = generate().unwrap();
        let token = whole(&id, &secret);
        for presented in [token.expose().to_owned(), format!("sk-{}", token.expose())] {
            let text = Text::read(&presented).unwrap().ok().unwrap();
            assert_eq!((text.id, text.secret), (&*id, secret.expose()));
            assert_eq!(text.whole, token.expose());
        }
    }

    #[test]
    fn an_id_has_the_letters_that_are_made_and_no_others() {
        for byte in 0..=127u8 {
            let id = char::from(byte).to_string().repeat(ID);
            assert_eq!(is_id(&id), LETTERS.contains(&byte), "{id}");
        }
    }

    #[test]
    fn what_is_none_is_left_to_others_and_what_is_broken_is_named() {
        for foreign in [
            "",
            "sk-",
            "sk-proj-123",
            "tp",
            "TP-a.b",
            "ey.ey.ey",
            "sk-sk-tp-a.b",
        ] {
            assert!(Text::read(foreign).is_none(), "{foreign}");
        }
        let (id, secret) = generate().unwrap();
        let secret = secret.expose();
        for (broken, said) in [
            (format!("tp-{id}"), "dot"),
            (format!("tp-{id}."), "length"),
            (format!("tp-.{secret}"), "id"),
            (format!("tp-{}.{secret}", id.to_uppercase()), "id"),
            (format!("tp-{id}.{}", &secret[1..]), "length"),
            (format!("tp-{id}.{secret}x"), "length"),
            (format!("tp-{id}.!{}", &secret[1..]), "characters"),
        ] {
            let why = Text::read(&broken).unwrap().err().unwrap();
            assert!(why.contains(said), "{why}");
            assert!(!why.contains(secret));
        }
    }
}
