//! An agent token as it is kept.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use turnpike_api::{Attributes, Claim, Presented};

/// The kind of record that holds a token; its key is the token's id.
pub const KIND: &str = "agent_token";

/// What is known of a token. Its secret is not: only what the secret hashes to.
///
/// Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentTokenRecord {
    /// The non-secret part by which it is found.
    pub id: String,
    /// The agent's or device's name, given at issue.
    pub name: String,
    /// Argon2id, as a PHC string.
    pub hash: String,
    /// Whose it is; `None` = a service account's, which belongs to no person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// The tenant it acts for: its owner's, or the one that an operator gave it to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    pub created_at: u64,
    /// When its owner logged in last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_authenticated_at: Option<u64>,
    /// Until when its owner's session lasts; `None` = it needs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_expires_at: Option<u64>,
    /// From when on it is refused for good, once it was rotated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<u64>,
    /// The token that took its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotated_to: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<u64>,
    /// Where it may be used from; nothing = anywhere.
    #[serde(default, skip_serializing_if = "Binding::is_empty")]
    pub binding: Binding,
}

/// A person, as their identity provider knew them when they logged in last, or their session was
/// renewed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    pub issuer: String,
    pub subject: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// The claims that roles were bound by then, with their values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, Vec<String>>,
    /// As the authorization API said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
}

impl Owner {
    /// What roles are bound by.
    pub fn attributes(&self) -> Attributes {
        let boxed = |words: &[String]| words.iter().map(|word| word.as_str().into()).collect();
        let claims = self.claims.iter();
        Attributes {
            issuer: Some(self.issuer.as_str().into()),
            subject: Some(self.subject.as_str().into()),
            team: self.team.as_deref().map(Box::from),
            email: self.email.as_deref().map(Box::from),
            groups: boxed(&self.groups),
            claims: claims
                .map(|(name, values)| Claim {
                    name: name.as_str().into(),
                    values: boxed(values),
                })
                .collect(),
            roles: boxed(&self.roles),
            ..Attributes::default()
        }
    }
}

/// From where a token, or what gives a role, may be presented.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// Networks of the client's address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cidrs: Vec<IpNet>,
    /// SHA-256 of the client's TLS certificate, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<String>,
}

impl Binding {
    /// Whether a credential may be presented from there. Both must fit where both are given.
    pub fn admits(&self, presented: &Presented<'_>) -> bool {
        let in_network = |network: &IpNet| network.contains(&presented.client);
        let is_shown = |wanted: &String| {
            let shown = presented.certificate.map(hex);
            shown.is_some_and(|shown| shown.eq_ignore_ascii_case(wanted))
        };
        (self.cidrs.is_empty() || self.cidrs.iter().any(in_network))
            && (self.certificates.is_empty() || self.certificates.iter().any(is_shown))
    }

    /// Whether it may be used from anywhere.
    pub fn is_empty(&self) -> bool {
        self.cidrs.is_empty() && self.certificates.is_empty()
    }
}

/// Whether a token may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenState {
    Active,
    /// Its owner has to log in; then the same token works again.
    SessionExpired,
    /// For good.
    Revoked,
}

impl TokenState {
    /// For an operator.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::SessionExpired => "session-expired",
            Self::Revoked => "revoked",
        }
    }
}

impl AgentTokenRecord {
    /// What roles are bound by. A person may name their own tokens as they like: those names are none
    /// that an operator means.
    pub fn attributes(&self) -> Attributes {
        let owner = self.owner.as_ref();
        Attributes {
            tenant: self.tenant.as_deref().map(Box::from),
            token_id: Some(self.id.as_str().into()),
            token_name: owner.is_none().then(|| self.name.as_str().into()),
            ..owner.map(Owner::attributes).unwrap_or_default()
        }
    }

    /// How it stands at `now`.
    pub fn state(&self, now: u64) -> TokenState {
        let is_over = |end: Option<u64>| end.is_some_and(|end| now >= end);
        // Whatever the time: a clock that is put back brings no token back.
        if self.revoked_at.is_some() || is_over(self.ends_at) {
            TokenState::Revoked
        } else if is_over(self.auth_expires_at) {
            TokenState::SessionExpired
        } else {
            TokenState::Active
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // A string takes everything.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn record() -> AgentTokenRecord {
        AgentTokenRecord {
            id: "a".into(),
            name: "laptop".into(),
            hash: String::new(),
            owner: None,
            tenant: None,
            created_at: 0,
            last_authenticated_at: None,
            auth_expires_at: None,
            ends_at: None,
            rotated_to: None,
            revoked_at: None,
            binding: Binding::default(),
        }
    }

    #[test]
    fn a_token_is_its_owners_whose_team_came_with_a_later_release() {
        let mut token = record();
        assert_eq!(token.attributes().token_name.as_deref(), Some("laptop"));
        let before = r#"{"issuer":"idp","subject":"u-1"}"#;
        let owner: Owner = serde_json::from_str(before).unwrap();
        assert_eq!(serde_json::to_string(&owner).unwrap(), before);
        token.owner = Some(Owner {
            team: Some("search".into()),
            ..owner
        });
        let attributes = token.attributes();
        assert_eq!(attributes.team.as_deref(), Some("search"));
        assert_eq!(attributes.subject.as_deref(), Some("u-1"));
        assert_eq!(attributes.token_name, None);
    }

    #[test]
    fn a_session_ends_and_is_renewed_and_a_revocation_is_for_good() {
        let mut token = record();
        assert_eq!(token.state(u64::MAX), TokenState::Active);
        token.auth_expires_at = Some(100);
        assert_eq!(token.state(99), TokenState::Active);
        assert_eq!(token.state(100), TokenState::SessionExpired);
        token.auth_expires_at = Some(200);
        assert_eq!(token.state(100), TokenState::Active);
        token.ends_at = Some(150);
        assert_eq!(token.state(149), TokenState::Active);
        assert_eq!(token.state(150), TokenState::Revoked);
        token.revoked_at = Some(120);
        assert_eq!(token.state(119), TokenState::Revoked);
    }

    #[test]
    fn a_binding_admits_what_all_its_kinds_admit() {
        let from = |ip: &str, certificate: Option<&'static [u8]>| Presented {
            client: ip.parse::<IpAddr>().unwrap(),
            certificate,
            ..Presented::new("token")
        };
        let mut binding = Binding::default();
        assert!(binding.admits(&from("203.0.113.9", None)));
        binding.cidrs = vec![
            "10.0.0.0/8".parse().unwrap(),
            "2001:db8::/32".parse().unwrap(),
        ];
        assert!(binding.admits(&from("10.9.9.9", None)));
        assert!(binding.admits(&from("2001:db8::1", None)));
        assert!(!binding.admits(&from("11.0.0.1", None)));
        binding.certificates = vec!["00FF".into()];
        assert!(binding.admits(&from("10.9.9.9", Some(&[0, 255]))));
        assert!(!binding.admits(&from("10.9.9.9", Some(&[0, 254]))));
        assert!(!binding.admits(&from("10.9.9.9", None)));
        assert!(!binding.admits(&from("11.0.0.1", Some(&[0, 255]))));
    }
}
