use std::time::Duration;

use serde_json::{Map, Value};
use turnpike_api::{Attributes, Claim};

use super::Refused;
use super::issuer::Issuer;

/// The longest name of a person, a group or a team that is taken, in bytes.
const MAX_NAME: usize = 320;

/// The last second of the year 9999: what lies beyond is a mistake, milliseconds for the most part.
const LAST_SECOND: f64 = 253_402_300_799.0;

/// What an issuer says of a caller, checked. A person is the pair of issuer and subject: a subject
/// alone may be somebody else's at another issuer, and an e-mail address can change hands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    pub issuer: Box<str>,
    /// Never empty.
    pub subject: Box<str>,
    pub email: Option<Box<str>>,
    /// Whether the issuer has checked the address; `None` where it does not say.
    pub email_verified: Option<bool>,
    pub groups: Vec<Box<str>>,
    pub scopes: Vec<Box<str>>,
    pub team: Option<Box<str>>,
    /// Those of the others that it has.
    pub others: Vec<Claim>,
    /// To whom the token was given (`azp`). A login compares it with its own client id.
    pub authorized_party: Option<Box<str>>,
    /// Milliseconds since 1970, leeway not counted.
    pub expires_at: u64,
}

impl Claims {
    /// The e-mail address, unless the issuer says that it did not check it.
    pub fn usable_email(&self) -> Option<&str> {
        match self.email_verified {
            Some(false) => None,
            Some(true) | None => self.email.as_deref(),
        }
    }

    /// What roles are bound by.
    pub(super) fn attributes(&self) -> Attributes {
        Attributes {
            issuer: Some(self.issuer.clone()),
            subject: Some(self.subject.clone()),
            team: self.team.clone(),
            email: self.usable_email().map(Box::from),
            groups: self.groups.clone(),
            scopes: self.scopes.clone(),
            claims: self.others.clone(),
            ..Attributes::default()
        }
    }

    /// Reads what a token says, if it is for us and for now. That its issuer says so is for the
    /// signature to show.
    pub(super) fn check(
        issuer: &Issuer,
        claims: &Map<String, Value>,
        now: u64,
    ) -> Result<Self, Refused> {
        if claims.get("iss").and_then(Value::as_str) != Some(&issuer.url) {
            return Err(Refused::Issuer);
        }
        check_audience(issuer, claims)?;
        let expires_at = check_times(issuer.leeway, claims, now)?;
        let names = &issuer.claims;
        Ok(Self {
            issuer: issuer.url.clone(),
            subject: claims.get("sub").and_then(name).ok_or(Refused::Subject)?,
            email: find(claims, &names.email).and_then(name),
            email_verified: claims.get("email_verified").and_then(yes_or_no),
            groups: names_in(find(claims, &names.groups), |text| vec![text]),
            scopes: names_in(find(claims, &names.scopes), |text| {
                text.split_ascii_whitespace().collect()
            }),
            team: find(claims, &names.team).and_then(name),
            others: others(claims, &names.others),
            authorized_party: claims.get("azp").and_then(name),
            expires_at,
        })
    }
}

/// One of the token's audiences is one of ours. If it has several, any of them could pass it on to
/// us, so that the one it was made for must be ours too.
fn check_audience(issuer: &Issuer, claims: &Map<String, Value>) -> Result<(), Refused> {
    let ours = |value: &Value| {
        let text = value.as_str();
        (issuer.audiences.iter()).any(|audience| Some(&**audience) == text)
    };
    let (found, several) = match claims.get("aud") {
        Some(Value::Array(list)) if list.iter().all(Value::is_string) => {
            (list.iter().any(ours), list.len() > 1)
        }
        Some(one) => (ours(one), false),
        None => (false, false),
    };
    if !found {
        return Err(Refused::Audience);
    }
    if several && !claims.get("azp").is_some_and(ours) {
        return Err(Refused::AuthorizedParty);
    }
    Ok(())
}

/// When it expires, if it is valid now.
fn check_times(leeway: Duration, claims: &Map<String, Value>, now: u64) -> Result<u64, Refused> {
    let leeway = leeway.as_millis() as u64;
    let expires_at = time(claims, "exp")?.ok_or(Refused::NoExpiry)?;
    if now >= expires_at + leeway {
        return Err(Refused::Expired);
    }
    if time(claims, "nbf")?.is_some_and(|from| from > now + leeway) {
        return Err(Refused::NotYetValid);
    }
    if time(claims, "iat")?.is_some_and(|issued| issued > now + leeway) {
        return Err(Refused::IssuedInFuture);
    }
    Ok(expires_at)
}

/// A NumericDate, in milliseconds: seconds, which may have a fraction (RFC 7519, 2).
fn time(claims: &Map<String, Value>, claim: &str) -> Result<Option<u64>, Refused> {
    match claims.get(claim) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let seconds = value.as_f64().ok_or(Refused::Time)?;
            let real = (0.0..=LAST_SECOND).contains(&seconds);
            real.then_some(Some((seconds * 1000.0) as u64))
                .ok_or(Refused::Time)
        }
    }
}

/// The claim of that name, or at that path.
fn find<'c>(claims: &'c Map<String, Value>, name: &str) -> Option<&'c Value> {
    if let Some(value) = claims.get(name) {
        return Some(value);
    }
    let (first, rest) = name.split_once('.')?;
    find(claims.get(first)?.as_object()?, rest)
}

/// A text that may stand in a log: not empty, not endless, nothing in it that is not seen.
fn name(value: &Value) -> Option<Box<str>> {
    value.as_str().filter(|text| is_name(text)).map(Box::from)
}

fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// The names in a list, or in a text that `split` takes apart. What is no name grants nothing.
fn names_in(value: Option<&Value>, split: impl Fn(&str) -> Vec<&str>) -> Vec<Box<str>> {
    let texts: Vec<&str> = match value {
        Some(Value::String(text)) => split(text),
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let names = texts.into_iter().filter(|text| is_name(text));
    names.map(Box::from).collect()
}

/// Of the claims of these names, or at these paths, those that are there.
pub(crate) fn others(claims: &Map<String, Value>, names: &[Box<str>]) -> Vec<Claim> {
    let found = names.iter().filter_map(|name| {
        let values = match find(claims, name)? {
            Value::Array(list) => list.iter().filter_map(scalar).collect(),
            one => Vec::from_iter(scalar(one)),
        };
        let name = name.clone();
        Some(Claim { name, values })
    });
    found.filter(|claim| !claim.values.is_empty()).collect()
}

/// A text, a number or a yes or no, as a configuration writes it.
fn scalar(value: &Value) -> Option<Box<str>> {
    match value {
        Value::String(_) => name(value),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string().into()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Some issuers write the word. What is neither is no yes.
fn yes_or_no(value: &Value) -> Option<bool> {
    match value {
        Value::Null => None,
        Value::String(word) => Some(word == "true"),
        value => Some(value == &Value::Bool(true)),
    }
}

/// The text of that name, or at that path, in what a provider says.
pub(crate) fn named(claims: &Map<String, Value>, at: &str) -> Option<String> {
    find(claims, at).and_then(name).map(String::from)
}

/// The names of that claim, a list or a text.
pub(crate) fn names(claims: &Map<String, Value>, at: &str) -> Vec<String> {
    let found = names_in(find(claims, at), |text| vec![text]);
    found.into_iter().map(String::from).collect()
}
