//! `headers`: what may be sent with every request to a provider.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue};

use crate::document::SecretText;
use crate::locate::Path;

use super::Context;

/// Belong to one connection; the gateway writes them itself.
const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "expect",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Follow from the request.
const FRAMING: [&str; 2] = ["content-length", "host"];

/// Carry a credential.
const CREDENTIALS: [&str; 6] = [
    "api-key",
    "authorization",
    "proxy-authenticate",
    "proxy-authorization",
    "x-api-key",
    "x-goog-api-key",
];

pub(super) fn headers(
    written: &BTreeMap<String, SecretText>,
    section: &Path,
    context: &mut Context<'_>,
) -> Vec<(String, String)> {
    let mut headers: Vec<(String, String)> = Vec::new();
    for (name, SecretText(value)) in written {
        let key = section.entry(name);
        let canonical = name.to_ascii_lowercase();
        if let Err(message) = check(&canonical, value.expose()) {
            context.report.at(&key, message);
        } else if headers.iter().any(|(other, _)| *other == canonical) {
            context.report.at(
                &key,
                "written twice; the case of a header's name does not matter",
            );
        }
        headers.push((canonical, value.expose().to_owned()));
    }
    headers
}

fn check(name: &str, value: &str) -> Result<(), &'static str> {
    if HeaderName::from_bytes(name.as_bytes()).is_err() {
        return Err("not a valid name of an HTTP header");
    }
    if HeaderValue::from_str(value).is_err() {
        return Err("not a valid value of an HTTP header; line breaks cannot be sent");
    }
    if HOP_BY_HOP.contains(&name) {
        return Err("belongs to one connection and cannot be set; remove it");
    }
    if FRAMING.contains(&name) {
        return Err("follows from the request and cannot be set; remove it");
    }
    if CREDENTIALS.contains(&name) {
        return Err("carries a credential; write the credential as `api_key` instead");
    }
    Ok(())
}
