//! The two cookies: one ties a login to a browser, the other one says who is signed in.

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use cookie::time::Duration;
use cookie::{Cookie, SameSite};

/// Ties a login to its browser.
pub(super) const BROWSER: &str = "turnpike-login";
/// Who is signed in.
pub(super) const SESSION: &str = "turnpike-session";

/// With this prefix a browser lets no other host and no plain page set it (RFC 6265bis, 4.1.3).
const HOST: &str = "__Host-";

/// The value of a cookie of ours. Given twice, somebody else may have set one: it counts for
/// nothing.
pub(super) fn find(headers: &HeaderMap, name: &str, is_secure: bool) -> Option<String> {
    let name = full(name, is_secure);
    let lines = headers.get_all(header::COOKIE).iter();
    let lines = lines.filter_map(|line| line.to_str().ok());
    let mut found = lines
        .flat_map(Cookie::split_parse)
        .filter_map(Result::ok)
        .filter(|cookie| cookie.name() == name);
    let value = found.next()?.value().to_owned();
    found.next().is_none().then_some(value)
}

/// Has the browser keep it for so many seconds.
pub(super) fn set(response: &mut Response, name: &str, value: &str, seconds: i64, is_secure: bool) {
    let cookie = Cookie::build((full(name, is_secure), value.to_owned()))
        .path("/")
        .http_only(true)
        .secure(is_secure)
        // A browser that comes back from its provider must have it.
        .same_site(SameSite::Lax)
        .max_age(Duration::seconds(seconds))
        .build();
    // Values are of letters, digits, dots and dashes.
    if let Ok(value) = HeaderValue::from_str(&cookie.to_string()) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}

fn full(name: &str, is_secure: bool) -> String {
    match is_secure {
        true => format!("{HOST}{name}"),
        false => name.to_owned(),
    }
}
