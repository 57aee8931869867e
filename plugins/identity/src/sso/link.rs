//! Links to log in by (F11). They say what they are for themselves, so that making one writes
//! nothing; one that has led to a login is written down, until it would have ended anyway.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use turnpike_api::{Directory, Expected, StoreError};

use super::{Purpose, Seals};

/// So long a link leads somewhere.
const TTL: u64 = 24 * 60 * 60 * 1000;

/// The kind of record of a link that was used.
const USED: &str = "login_link";

/// Makes links and reads them.
#[derive(Clone)]
pub struct LoginLinks {
    seals: Arc<Seals>,
    public_url: Arc<str>,
}

/// A link that is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The id of the agent token that it renews.
    pub renews: Option<String>,
    name: String,
    ends_at: u64,
}

impl LoginLinks {
    /// Below this URL, without a slash at its end.
    pub fn new(seals: Arc<Seals>, public_url: &str) -> Self {
        Self {
            seals,
            public_url: public_url.into(),
        }
    }

    /// A new link, for the agent token of this id or for nobody's. `now` is in milliseconds since
    /// 1970.
    pub fn mint(&self, renews: Option<&str>, now: u64) -> Result<String, getrandom::Error> {
        self.mint_below(&self.public_url, renews, now)
    }

    /// The same, below a URL at which we are known, too.
    pub fn mint_below(
        &self,
        url: &str,
        renews: Option<&str>,
        now: u64,
    ) -> Result<String, getrandom::Error> {
        let mut name = [0; 12];
        getrandom::fill(&mut name)?;
        let ends_at = now.saturating_add(TTL);
        let name = URL_SAFE_NO_PAD.encode(name);
        let text = format!("{ends_at:x}.{name}.{}", renews.unwrap_or_default());
        let seal = self.seals.seal(Purpose::Link, &text);
        Ok(format!("{url}/auth/login?token={text}.{seal}"))
    }

    /// What a link's token says; `None` when it is not ours, or too old.
    pub fn read(&self, token: &str, now: u64) -> Option<Link> {
        let (text, seal) = token.rsplit_once('.').filter(|_| token.len() <= 200)?;
        if !self.seals.is_sealed(Purpose::Link, text, seal) {
            return None;
        }
        let mut parts = text.split('.');
        let (ends_at, name, renews) = (parts.next()?, parts.next()?, parts.next()?);
        let ends_at = u64::from_str_radix(ends_at, 16).ok()?;
        (now < ends_at).then(|| Link {
            renews: Some(renews.to_owned()).filter(|id| !id.is_empty()),
            name: name.to_owned(),
            ends_at,
        })
    }
}

impl Link {
    /// Whether a login has come of it.
    pub async fn is_used(&self, store: &dyn Directory) -> Result<bool, StoreError> {
        Ok(store.get(USED, &self.name).await?.is_some())
    }

    /// Notes that a login has come of it; false when that was so before.
    pub async fn spend(&self, store: &dyn Directory, now: u64) -> Result<bool, StoreError> {
        let rest = Duration::from_millis(self.ends_at.saturating_sub(now).max(1));
        let noted = store.put(USED, &self.name, b"1", Some(rest), Expected::Absent);
        Ok(noted.await?.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_read_until_it_ends_and_cannot_be_made_up() {
        let links = LoginLinks::new(Arc::new(Seals::new(&[1; 32])), "https://llm.example.com");
        let url = links.mint(Some("abc"), 1_000).unwrap();
        let token = url
            .strip_prefix("https://llm.example.com/auth/login?token=")
            .unwrap();
        assert_eq!(
            links.read(token, 1_000).unwrap().renews.as_deref(),
            Some("abc")
        );
        assert!(links.read(token, 999 + TTL).is_some());
        assert!(links.read(token, 1_000 + TTL).is_none());
        assert!(
            links
                .read(&token.replacen(".abc.", ".abd.", 1), 1_000)
                .is_none()
        );
        assert!(
            links
                .read(&token.replacen(".abc.", "..", 1), 1_000)
                .is_none()
        );
        let other = LoginLinks::new(Arc::new(Seals::new(&[2; 32])), "https://llm.example.com");
        assert!(other.read(token, 1_000).is_none());
        let plain = links.mint(None, 1_000).unwrap();
        let token = plain.rsplit_once('=').unwrap().1;
        assert_eq!(links.read(token, 1_000).unwrap().renews, None);
        for bad in ["", ".", "a.b.c.d", &"x".repeat(10_000)] {
            assert!(links.read(bad, 1_000).is_none(), "{bad}");
        }
    }
}
