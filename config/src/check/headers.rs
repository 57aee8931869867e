//! `headers`: what may be sent with every request to a provider.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue};
use turnpike_api::Reserved;

use crate::document::SecretText;
use crate::locate::Path;

use super::Context;

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
    match Reserved::of(name) {
        Some(Reserved::Connection) => Err("belongs to one connection and cannot be set; remove it"),
        Some(Reserved::Framing) => Err("follows from the request and cannot be set; remove it"),
        Some(Reserved::Credential) => {
            Err("carries a credential; write the credential as `api_key` instead")
        }
        None => Ok(()),
    }
}
