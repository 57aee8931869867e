use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, OnceLock};

use crate::{Answer, GrantsSlot, ModelRules, Payer};

/// Who is calling: the evidence that a credential was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The name under which logs, metrics and audit know the caller. Never the credential.
    pub name: Box<str>,
    /// The models its credential is restricted to.
    pub models: ModelRules,
    /// What roles are bound by.
    pub attributes: Attributes,
    /// When its credential ends by itself, in milliseconds since 1970; `None` = it does not.
    pub ends_at: Option<u64>,
    /// What the authorization API said of it.
    pub let_in: LetIn,
    /// The roles in effect, where they were looked up already.
    pub grants: GrantsSlot,
    /// As whom limits count it, where that was put together already.
    pub counted: CountedSlot,
}

/// What the authorization API said of a caller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LetIn {
    /// It was not asked.
    #[default]
    NotAsked,
    /// They are.
    Yes,
    /// They are not, and why; empty = it gave no reason.
    No(Arc<str>),
}

/// As whom limits count a caller.
#[derive(Debug)]
pub struct Counted {
    /// The person, over all of their tokens: who vouches for them, and how they call them. A caller
    /// that is no person counts as itself.
    pub user: Box<str>,
    /// The key or token it came with; of a signed token, its holder.
    pub token: Box<str>,
    /// As whom usage counts it, where that was asked.
    paying: OnceLock<Paying>,
}

/// What a [`Payer`] is made of, put together once.
#[derive(Debug)]
struct Paying {
    tenant: Box<str>,
    team: Box<str>,
    user: Box<str>,
    token: Box<str>,
}

/// A place for [`Counted`], which is put together once for an identity. It is no part of who
/// somebody is: identities are compared and cloned without it.
#[derive(Default)]
pub struct CountedSlot(OnceLock<Counted>);

impl Clone for CountedSlot {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for CountedSlot {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for CountedSlot {}

impl fmt::Debug for CountedSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CountedSlot")
    }
}

/// What is known of a caller for certain, as whoever vouches for it said: what roles are bound by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// The tenant it acts for; `None` = those of no tenant.
    pub tenant: Option<Box<str>>,
    /// Who vouches for the person or program. A subject and groups mean something only with it.
    pub issuer: Option<Box<str>>,
    /// Who it is to the issuer.
    pub subject: Option<Box<str>>,
    /// The team it belongs to, as the issuer says. Nothing is granted by it.
    pub team: Option<Box<str>>,
    /// Not one that the issuer says it did not check.
    pub email: Option<Box<str>>,
    pub groups: Vec<Box<str>>,
    /// OAuth scopes.
    pub scopes: Vec<Box<str>>,
    /// Of the claims that bindings name, those it has.
    pub claims: Vec<Claim>,
    /// The agent token's id.
    pub token_id: Option<Box<str>>,
    /// The agent token's name, where an operator gave it. A person may call their own tokens as they
    /// like, so theirs is not here.
    pub token_name: Option<Box<str>>,
    /// The name of the configured key.
    pub api_key: Option<Box<str>>,
    /// Names of roles that it was given without a binding: by the key's own entry, or by the
    /// authorization API.
    pub roles: Vec<Box<str>>,
}

/// A claim and its values: of a list, each of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub name: Box<str>,
    pub values: Vec<Box<str>>,
}

impl Identity {
    /// Somebody of whom nothing is known but a name.
    pub fn new(name: impl Into<Box<str>>, models: ModelRules) -> Self {
        Self {
            name: name.into(),
            models,
            attributes: Attributes::default(),
            ends_at: None,
            let_in: LetIn::NotAsked,
            grants: GrantsSlot::default(),
            counted: CountedSlot::default(),
        }
    }

    /// The same, of whom more is known.
    pub fn with(self, attributes: Attributes) -> Self {
        let counted = CountedSlot::default();
        Self {
            attributes,
            counted,
            ..self
        }
    }

    /// As whom limits count it.
    pub fn counted(&self) -> &Counted {
        self.counted.0.get_or_init(|| {
            let of = &self.attributes;
            let person = match (&of.issuer, &of.subject) {
                (Some(issuer), Some(subject)) => Some(format!("{issuer} {subject}")),
                _ => None,
            };
            let token = match (&of.api_key, &of.token_id) {
                (Some(name), _) => format!("key {name}"),
                (None, Some(id)) => format!("token {id}"),
                (None, None) => person.clone().unwrap_or_else(|| self.name.to_string()),
            };
            Counted {
                user: person.unwrap_or_else(|| token.clone()).into(),
                token: token.into(),
                paying: OnceLock::new(),
            }
        })
    }

    /// As whom usage counts it. `digest` is asked once, for a person's issuer and subject.
    pub fn payer(&self, digest: impl FnOnce(&str, &str) -> String) -> Payer<'_> {
        let counted = self.counted();
        let paying = counted.paying.get_or_init(|| {
            let of = &self.attributes;
            let user = match (&of.issuer, &of.subject) {
                (Some(issuer), Some(subject)) => digest(issuer, subject),
                _ => String::new(),
            };
            let token = match (&of.api_key, &of.token_id) {
                (None, None) => "",
                _ => &counted.token,
            };
            Paying {
                tenant: plain(of.tenant.as_deref().unwrap_or_default()),
                team: plain(of.team.as_deref().unwrap_or_default()),
                user: plain(&user),
                token: plain(token),
            }
        });
        Payer {
            tenant: &paying.tenant,
            team: &paying.team,
            user: &paying.user,
            token: &paying.token,
        }
    }
}

/// Without control characters.
fn plain(text: &str) -> Box<str> {
    let plain = |c: char| if c.is_control() { '?' } else { c };
    text.chars().map(plain).collect::<String>().into()
}

impl Attributes {
    /// Whether somebody is known by what an issuer signed, and not by a key or an agent token.
    pub fn is_of_signed_token(&self) -> bool {
        self.issuer.is_some() && self.token_id.is_none() && self.api_key.is_none()
    }

    /// The domain of the e-mail address. An address with more than one `@` is read differently by
    /// different parsers, and has none.
    pub fn email_domain(&self) -> Option<&str> {
        let (local, domain) = self.email.as_deref()?.split_once('@')?;
        (!local.is_empty() && !domain.is_empty() && !domain.contains('@')).then_some(domain)
    }
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
/// let open = Everyone(Arc::new(Identity::new("anyone", ModelRules::any())));
/// let Answer::Ready(Verdict::Known(who)) = open.authenticate(Presented::new("x")) else {
///     panic!()
/// };
/// assert_eq!(&*who.name, "anyone");
/// ```
pub trait Authenticator: Send + Sync {
    /// Judges one credential.
    fn authenticate<'a>(&'a self, presented: Presented<'a>) -> Answer<'a, Verdict>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(attributes: Attributes) -> Identity {
        Identity::new("somebody", ModelRules::any()).with(attributes)
    }

    fn payer(identity: &Identity) -> [&str; 4] {
        let payer = identity.payer(|issuer, subject| format!("{issuer}/{subject}"));
        [payer.tenant, payer.team, payer.user, payer.token]
    }

    #[test]
    fn usage_counts_a_person_a_token_or_a_key() {
        let person = Attributes {
            issuer: Some("idp".into()),
            subject: Some("u-1".into()),
            team: Some("search".into()),
            ..Attributes::default()
        };
        let with_token = Attributes {
            tenant: Some("acme".into()),
            token_id: Some("7".into()),
            ..person.clone()
        };
        let key = Attributes {
            api_key: Some("ci".into()),
            ..Attributes::default()
        };
        let nobody = Attributes::default();
        assert_eq!(payer(&identity(person)), ["", "search", "idp/u-1", ""]);
        let with_token = identity(with_token);
        assert_eq!(payer(&with_token), ["acme", "search", "idp/u-1", "token 7"]);
        let again = with_token.payer(|_, _| panic!("it is known"));
        assert_eq!(again.user, "idp/u-1");
        assert_eq!(payer(&identity(key)), ["", "", "", "key ci"]);
        assert_eq!(payer(&identity(nobody)), ["", "", "", ""]);
    }

    #[test]
    fn a_payer_has_no_control_characters() {
        let sly = Attributes {
            tenant: Some("a\nb".into()),
            team: Some("a\tb".into()),
            api_key: Some("ü\u{7f}\r".into()),
            ..Attributes::default()
        };
        assert_eq!(payer(&identity(sly)), ["a?b", "a?b", "", "key ü??"]);
    }
}
