use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use crate::{Answer, ModelRules};

/// Who is calling: the evidence that a credential was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The name under which logs, metrics and audit know the caller. Never the credential.
    pub name: Box<str>,
    /// The models its credential is restricted to.
    pub models: ModelRules,
}

/// A credential as the caller presented it, blanks around it trimmed. Never empty, printable
/// ASCII without spaces.
///
/// It has no `Debug`: it may be a secret that is valid.
#[derive(Clone, Copy)]
pub struct Presented<'a> {
    /// The credential itself.
    pub token: &'a str,
    /// The caller's address: the peer's, or what trusted proxies say of it.
    pub client: IpAddr,
    /// SHA-256 of the certificate that the caller proved to have.
    pub certificate: Option<&'a [u8]>,
    /// As the caller says, which proves nothing.
    pub user_agent: Option<&'a str>,
}

impl<'a> Presented<'a> {
    /// From loopback, without a certificate.
    pub fn new(token: &'a str) -> Self {
        Self {
            token,
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            certificate: None,
            user_agent: None,
        }
    }
}

/// Why an authenticator refuses a credential that is its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// Its form is wrong; the text says how, without echoing it.
    Malformed(&'static str),
    /// Its form is right, but nobody has it.
    Unknown,
    /// It is not good, or not here; the text says why, which its holder may know.
    NotGood(&'static str),
    /// It was good, and is no more, for good.
    Revoked,
    /// It is good again once its owner has logged in.
    SessionExpired,
    /// It is good, but not from there.
    Elsewhere,
    /// Too many are being checked; it may be good.
    Busy,
    /// What it would have to be checked against cannot be had; the text says what that is.
    Unavailable(&'static str),
}

/// What an authenticator says of a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not of this authenticator's kind: ask the next one.
    NotMine,
    /// Whose it is.
    Known(Arc<Identity>),
    /// Of this kind, and refused: nobody else is asked.
    Reject(Rejection),
}

/// Recognises one kind of credential.
///
/// Implementations claim only what is theirs, compare secrets by keyed digest or in constant
/// time, and never keep or print what was presented.
///
/// ```
/// use std::sync::Arc;
/// use turnpike_api::{Answer, Authenticator, Identity, ModelRules, Presented, Verdict};
///
/// struct Everyone(Arc<Identity>);
///
/// impl Authenticator for Everyone {
///     fn authenticate<'a>(&'a self, _: Presented<'a>) -> Answer<'a, Verdict> {
///         Answer::Ready(Verdict::Known(self.0.clone()))
///     }
/// }
///
/// let open = Everyone(Arc::new(Identity { name: "anyone".into(), models: ModelRules::any() }));
/// let Answer::Ready(Verdict::Known(who)) = open.authenticate(Presented::new("x")) else {
///     panic!()
/// };
/// assert_eq!(&*who.name, "anyone");
/// ```
pub trait Authenticator: Send + Sync {
    /// Judges one credential.
    fn authenticate<'a>(&'a self, presented: Presented<'a>) -> Answer<'a, Verdict>;
}
