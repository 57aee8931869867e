//! A secret as a header's value.

use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use turnpike_api::Secret;

/// The headers that carry a credential; `None` when the secret cannot stand in a header.
pub(crate) type Headers = Option<Vec<(HeaderName, HeaderValue)>>;

/// `authorization: Bearer …`
pub(crate) fn bearer(secret: &Secret) -> Headers {
    one(AUTHORIZATION, "Bearer ", secret)
}

/// The secret alone in a header of the vendor's own.
pub(crate) fn bare(name: &'static str, secret: &Secret) -> Headers {
    one(HeaderName::from_static(name), "", secret)
}

/// Adds a header that says for whom the call is, where an account names it; `None` when the name
/// cannot stand in a header: the call would be somebody else's.
pub(crate) fn with_account(headers: Headers, name: &'static str, value: Option<&str>) -> Headers {
    let mut headers = headers?;
    if let Some(value) = value {
        let value = HeaderValue::try_from(value).ok()?;
        headers.push((HeaderName::from_static(name), value));
    }
    Some(headers)
}

fn one(name: HeaderName, scheme: &str, secret: &Secret) -> Headers {
    if secret.expose().is_empty() {
        return None;
    }
    let mut value = HeaderValue::try_from(format!("{scheme}{}", secret.expose())).ok()?;
    // Keeps it out of logs, and out of HPACK's table.
    value.set_sensitive(true);
    Some(vec![(name, value)])
}
