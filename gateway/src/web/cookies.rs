//! The cookies: two tie a login to a browser, two say who is signed in, as a person and as an
//! operator.

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
pub(super) use cookie::SameSite;
use cookie::time::Duration;
use cookie::{Cookie, CookieBuilder};

/// Ties a login to its browser.
pub(super) const BROWSER: &str = "turnpike-login";
/// Who is signed in.
pub(super) const SESSION: &str = "turnpike-session";
/// Ties the sign-in of an operator to its browser.
pub(super) const DOOR: &str = "turnpike-operator-login";
/// Which operator is signed in.
pub(super) const OPERATOR: &str = "turnpike-operator";

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
    // A browser that comes back from its provider must have it.
    let cookie = kept(name, value, seconds, is_secure).same_site(SameSite::Lax);
    append(response, cookie.path("/"));
}

/// The same for operators. In clear text a browser sends cookies to every port of a host: these are
/// at least not sent where callers' pages are. `site` says whether it comes along from other sites.
pub(super) fn set_for_operator(
    response: &mut Response,
    (name, value): (&str, &str),
    seconds: i64,
    is_secure: bool,
    site: SameSite,
) {
    let cookie = kept(name, value, seconds, is_secure).same_site(site);
    // What begins with `__Host-` is of the whole host.
    append(
        response,
        cookie.path(if is_secure { "/" } else { "/admin" }),
    );
}

fn kept(name: &str, value: &str, seconds: i64, is_secure: bool) -> CookieBuilder<'static> {
    Cookie::build((full(name, is_secure), value.to_owned()))
        .http_only(true)
        .secure(is_secure)
        .max_age(Duration::seconds(seconds))
}

fn append(response: &mut Response, cookie: CookieBuilder<'static>) {
    let cookie = cookie.build();
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
