//! What texts of a credential file must look like. The same rules as configuration's, because a
//! credential may move from one to the other.

use http::{HeaderName, HeaderValue};
use turnpike_api::{Reserved, Secret};

const NOT_PLAIN: &str = "expected printable ASCII characters without blanks or line breaks";

/// What can stand in a header, and is no value from an example.
pub(crate) fn secret(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("empty; write the secret");
    }
    if text.len() > 64 * 1024 {
        return Err("longer than any secret (64 KiB)");
    }
    if !is_plain(text) {
        return Err(NOT_PLAIN);
    }
    // `${NAME}` is one too: references are resolved in configuration only.
    match Secret::new(text).is_placeholder() {
        true => Err("a placeholder from an example; write a secret of your own"),
        false => Ok(()),
    }
}

fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A provider's name, a prefix, a tag.
pub(crate) fn word(text: &str) -> Result<(), &'static str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    match text.len() <= 100 && text.chars().all(plain) {
        true => Ok(()),
        false => Err("expected letters, digits, `-`, `_` and `.` only, at most 100"),
    }
}

/// Stands in a path; old ones have a domain and a colon in front.
pub(crate) fn project(text: &str) -> Result<(), &'static str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    match text.len() <= 100 && text.chars().all(plain) {
        true => Ok(()),
        false => Err("expected the id of one project, such as my-project-123"),
    }
}

/// Becomes a part of a host's name: it must not bring an end to it.
pub(crate) fn location(text: &str) -> Result<(), &'static str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    match text.len() <= 63 && text.chars().all(plain) {
        true => Ok(()),
        false => Err("expected the name of a location, such as us-central1"),
    }
}

/// Stands in a header.
pub(crate) fn account(text: &str) -> Result<(), &'static str> {
    match text.len() <= 200 && is_plain(text) {
        true => Ok(()),
        false => Err(NOT_PLAIN),
    }
}

/// Shown to people.
pub(crate) fn name(text: &str) -> Result<(), &'static str> {
    let shown = !text.trim().is_empty() && !text.chars().any(char::is_control);
    match shown && text.len() <= 200 {
        true => Ok(()),
        false => Err("expected at most 200 printable characters"),
    }
}

pub(crate) fn note(text: &str) -> Result<(), &'static str> {
    let breaks = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    match text.len() <= 2000 && !text.chars().any(breaks) {
        true => Ok(()),
        false => Err("expected at most 2,000 printable characters"),
    }
}

/// The gateway checks that it is the URL of a proxy.
pub(crate) fn proxy(text: &str) -> Result<(), &'static str> {
    match text.len() <= 2000 && is_plain(text) {
        true => Ok(()),
        false => Err(NOT_PLAIN),
    }
}

pub(crate) fn model(text: &str) -> Result<(), &'static str> {
    let shown = !text.trim().is_empty() && !text.chars().any(char::is_control);
    match shown && text.len() <= 512 {
        true => Ok(()),
        false => Err("expected the name of a model"),
    }
}

/// A header's name, in lower case.
pub(crate) fn header_name(name: &str) -> Result<(), &'static str> {
    if name.len() > 100 || HeaderName::from_bytes(name.as_bytes()).is_err() {
        return Err("holds what is not a valid name of an HTTP header");
    }
    match Reserved::of(name) {
        Some(Reserved::Connection) => Err("belongs to one connection and cannot be set; remove it"),
        Some(Reserved::Framing) => Err("follows from the request and cannot be set; remove it"),
        Some(Reserved::Credential) => {
            Err("carries a credential, which the gateway sets itself; remove it")
        }
        None => Ok(()),
    }
}

pub(crate) fn header_value(value: &str) -> Result<(), &'static str> {
    match value.len() <= 8192 && HeaderValue::from_str(value).is_ok() {
        true => Ok(()),
        false => Err("not a valid value of an HTTP header; line breaks cannot be sent"),
    }
}
