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

fn one(name: HeaderName, scheme: &str, secret: &Secret) -> Headers {
    if secret.expose().is_empty() {
        return None;
    }
    let mut value = HeaderValue::try_from(format!("{scheme}{}", secret.expose())).ok()?;
    // Keeps it out of logs, and out of HPACK's table.
    value.set_sensitive(true);
    Some(vec![(name, value)])
}
