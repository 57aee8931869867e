//! `audit.claimed_headers`: what callers may say of themselves.

use http::HeaderName;
use turnpike_api::Reserved;

use crate::document::Document;
use crate::locate::Path;

use super::Context;

const MOST: usize = 16;

/// Headers that a call cannot do without, or that stand elsewhere in a record.
const NEEDED: &[&str] = &[
    "accept",
    "content-encoding",
    "content-type",
    "traceparent",
    "user-agent",
    "x-forwarded-for",
    "x-request-id",
];

pub(in crate::check) fn claimed_headers(
    document: &Document,
    context: &mut Context<'_>,
) -> Vec<HeaderName> {
    let section = Path::default().field("audit").field("claimed_headers");
    let written = &document.audit.claimed_headers;
    if written.len() > MOST {
        let message = format!("at most {MOST}");
        context.report.at(&section, message);
    }
    let mut names = Vec::new();
    for (index, written) in written.iter().enumerate() {
        let key = section.item(index);
        match check(written) {
            Ok(name) if names.contains(&name) => context.report.at(
                &key,
                "written twice; the case of a header's name does not matter",
            ),
            Ok(name) => names.push(name),
            Err(message) => context.report.at(&key, message),
        }
    }
    names
}

fn check(written: &str) -> Result<HeaderName, &'static str> {
    let name = HeaderName::from_bytes(written.as_bytes());
    let name = name.map_err(|_| "not a valid name of an HTTP header")?;
    let text = name.as_str();
    match Reserved::of(text) {
        Some(Reserved::Connection | Reserved::Framing) => {
            return Err("belongs to the connection and says nothing of who calls");
        }
        Some(Reserved::Credential) => return Err(CREDENTIAL),
        None => {}
    }
    if carries_a_credential(text) {
        return Err(CREDENTIAL);
    }
    if NEEDED.contains(&text)
        || ["anthropic-", "openai-"]
            .iter()
            .any(|of| text.starts_with(of))
    {
        return Err("the call itself needs it; claimed headers go to no provider");
    }
    Ok(name)
}

const CREDENTIAL: &str = "carries a credential, which must not be on record";

/// Names that say so, whosesoever they are: `x-auth-token`, not `x-auth-request-user`.
fn carries_a_credential(name: &str) -> bool {
    const WORDS: &[&str] = &[
        "apikey",
        "assertion",
        "authorization",
        "cookie",
        "cookie2",
        "credential",
        "credentials",
        "jwt",
        "key",
        "password",
        "secret",
        "signature",
        "token",
    ];
    let mut words = name.split(|c: char| !c.is_ascii_alphanumeric());
    words.any(|word| WORDS.contains(&word)) || name.ends_with("auth")
}
