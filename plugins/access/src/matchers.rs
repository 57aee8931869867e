//! Whom a role is bound to.

use turnpike_api::Attributes;

/// Of each list that is not empty one must match, and all of the claims. Nothing at all matches
/// nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matchers {
    pub everyone: bool,
    pub issuers: Vec<Box<str>>,
    pub groups: Vec<Box<str>>,
    pub scopes: Vec<Box<str>>,
    /// A claim's name and a value of it.
    pub claims: Vec<(Box<str>, Box<str>)>,
    pub email_domains: Vec<Box<str>>,
    /// E-mail addresses, or subjects.
    pub users: Vec<Box<str>>,
    /// Ids, or names that an operator gave.
    pub tokens: Vec<Box<str>>,
    /// Names of configured keys.
    pub api_keys: Vec<Box<str>>,
}

impl Matchers {
    /// Whether nothing is written in it.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn match_all(&self, of: &Attributes) -> bool {
        let is = |one: &Option<Box<str>>, wanted: &[Box<str>]| {
            let one = one.as_deref();
            one.is_some_and(|one| wanted.iter().any(|wanted| **wanted == *one))
        };
        let any = |all: &[Box<str>], wanted: &[Box<str>]| {
            wanted.iter().any(|wanted| all.contains(wanted))
        };
        let matched = |wanted: &[Box<str>], matches: bool| wanted.is_empty() || matches;
        !self.is_empty()
            && matched(&self.issuers, is(&of.issuer, &self.issuers))
            && matched(&self.groups, any(&of.groups, &self.groups))
            && matched(&self.scopes, any(&of.scopes, &self.scopes))
            && self.claims.iter().all(|claim| has_claim(of, claim))
            && matched(&self.email_domains, is_of_domain(of, &self.email_domains))
            && matched(&self.users, is_user(of, &self.users))
            && matched(
                &self.tokens,
                is(&of.token_id, &self.tokens) || is(&of.token_name, &self.tokens),
            )
            && matched(&self.api_keys, is(&of.api_key, &self.api_keys))
    }
}

fn has_claim(of: &Attributes, (name, value): &(Box<str>, Box<str>)) -> bool {
    let mut claims = of.claims.iter();
    claims.any(|claim| claim.name == *name && claim.values.contains(value))
}

fn is_of_domain(of: &Attributes, wanted: &[Box<str>]) -> bool {
    let domain = of.email_domain();
    domain.is_some_and(|domain| {
        let mut wanted = wanted.iter();
        wanted.any(|wanted| wanted.eq_ignore_ascii_case(domain))
    })
}

/// By the address, whatever its case, or by the subject. A subject that looks like an address is no
/// address: nobody has checked that it is one.
fn is_user(of: &Attributes, wanted: &[Box<str>]) -> bool {
    let email = of.email_domain().and(of.email.as_deref());
    let is = |wanted: &str| match wanted.contains('@') {
        true => email.is_some_and(|email| email.eq_ignore_ascii_case(wanted)),
        false => of.subject.as_deref() == Some(wanted),
    };
    wanted.iter().any(|wanted| is(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(words: &str) -> Vec<Box<str>> {
        words.split_whitespace().map(Box::from).collect()
    }

    fn matches(matchers: Matchers, attributes: &Attributes) -> bool {
        matchers.match_all(attributes)
    }

    fn ada() -> Attributes {
        Attributes {
            issuer: Some("https://idp.example.com".into()),
            subject: Some("u-1".into()),
            email: Some("Ada@Example.com".into()),
            groups: list("eng ops"),
            scopes: list("chat"),
            claims: vec![turnpike_api::Claim {
                name: "dept".into(),
                values: list("research lab"),
            }],
            token_id: Some("abc".into()),
            ..Attributes::default()
        }
    }

    #[test]
    fn each_matcher_matches_what_it_says() {
        let none = Matchers::default;
        let pair = |name: &str, value: &str| vec![(name.into(), value.into())];
        #[rustfmt::skip]
        let cases = [
            (none(), false),
            (Matchers { everyone: true, ..none() }, true),
            (Matchers { issuers: list("https://idp.example.com"), ..none() }, true),
            (Matchers { issuers: list("https://idp.example.com/"), ..none() }, false),
            (Matchers { groups: list("sales eng"), ..none() }, true),
            (Matchers { groups: list("Eng"), ..none() }, false),
            (Matchers { scopes: list("chat"), ..none() }, true),
            (Matchers { scopes: list("eng"), ..none() }, false),
            (Matchers { claims: pair("dept", "lab"), ..none() }, true),
            (Matchers { claims: pair("dept", "sales"), ..none() }, false),
            (Matchers { claims: pair("team", "lab"), ..none() }, false),
            (Matchers { email_domains: list("example.COM"), ..none() }, true),
            (Matchers { email_domains: list("ample.com"), ..none() }, false),
            (Matchers { users: list("ada@example.com"), ..none() }, true),
            (Matchers { users: list("u-1"), ..none() }, true),
            (Matchers { users: list("ada"), ..none() }, false),
            (Matchers { tokens: list("abc"), ..none() }, true),
            (Matchers { api_keys: list("abc"), ..none() }, false),
            (Matchers { groups: list("eng"), scopes: list("chat"), ..none() }, true),
            (Matchers { groups: list("eng"), scopes: list("admin"), ..none() }, false),
            (Matchers { groups: list("eng"), claims: pair("dept", "sales"), ..none() }, false),
        ];
        for (matchers, expected) in cases {
            assert_eq!(matches(matchers.clone(), &ada()), expected, "{matchers:?}");
        }
    }

    #[test]
    fn an_address_that_two_could_read_differently_is_none() {
        for (email, domain) in [
            ("ada@example.com", Some("example.com")),
            ("ada@evil.test@example.com", None),
            ("\"ada@example.com\"@evil.test", None),
            ("@example.com", None),
            ("ada@", None),
        ] {
            let attributes = Attributes {
                email: Some(email.into()),
                subject: Some(email.into()),
                ..Attributes::default()
            };
            assert_eq!(attributes.email_domain(), domain, "{email}");
            let users = Matchers {
                users: vec![email.into()],
                ..Matchers::default()
            };
            assert_eq!(matches(users, &attributes), domain.is_some(), "{email}");
        }
    }

    #[test]
    fn what_is_not_known_matches_nothing() {
        let unknown = Attributes::default();
        for matchers in [
            Matchers {
                email_domains: list("example.com"),
                ..Matchers::default()
            },
            Matchers {
                users: list("u-1 a@b.c"),
                ..Matchers::default()
            },
            Matchers {
                tokens: list("laptop"),
                ..Matchers::default()
            },
            Matchers {
                api_keys: list("ci"),
                ..Matchers::default()
            },
            Matchers {
                issuers: list("https://a"),
                ..Matchers::default()
            },
        ] {
            assert!(!matches(matchers, &unknown));
        }
    }
}
