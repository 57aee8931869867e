//! Single sign-on (F20-F28): a person logs in through their identity provider, and their agent
//! tokens work for as long as the session lasts that begins with that.
//!
//! A login goes this way: a [`Pending`] one is noted and the browser sent to the [`Provider`]; it
//! comes back with a code, which the provider exchanges for who the [`Person`] is; the person is
//! let in by a confirmation code (`confirmation`) or by an authorization API (`authorization`); and
//! the session begins (`session`). Calls are made by whoever implements [`Outside`].

pub mod authorization;
pub mod confirmation;
pub mod device;
mod discovery;
mod exchange;
mod id_token;
mod identified;
mod link;
mod marker;
pub mod operator;
mod pending;
mod provider;
mod rate;
pub mod renewal;
mod seal;
pub mod session;
mod tenants;
#[cfg(test)]
mod tests;
mod way;

use thiserror::Error;
use turnpike_api::StoreError;

pub use link::{Link, LoginLinks};
pub use marker::{MARK, Marker};
pub use pending::{Errand, Pending};
pub use provider::{Client, Identified, Outside, OutsideError, Provider, Renewed, Returned};
pub use rate::{LoginRate, Tries, Wait};
pub use seal::{Purpose, Seals};
pub use session::{Person, Session};
pub use tenants::Tenants;
pub use way::{Offline, Way};

/// Why a login does not go on.
#[derive(Debug, Error)]
pub enum LoginError {
    /// The provider, or the way to it, is away. The text is for the log.
    #[error("{0}")]
    Unreachable(String),
    /// The provider did not give what it should have. The text holds nothing secret.
    #[error("{0}")]
    Exchange(String),
    /// It says that our redirect URI is not the one that is registered there.
    #[error("Redirect URI mismatch")]
    RedirectUri,
    /// It has withdrawn what it granted: the person is not to be let in any more.
    #[error("the provider has withdrawn its grant")]
    Withdrawn,
    #[error("the system has no randomness: {0}")]
    Random(getrandom::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Random text for a URL or a cookie: 256 bits.
pub fn random() -> Result<String, getrandom::Error> {
    use base64::Engine as _;
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes))
}

/// What a secret text is known by in the store.
pub fn digest(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}
