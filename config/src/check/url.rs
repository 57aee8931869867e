//! URLs of this gateway and of upstreams.

use ::url::Url;

use crate::plan::is_loopback_host;

/// An `http` or `https` address that paths may be appended to: a host, no user, no query, no
/// fragment; the slash at its end is cut off. The answers to a bad one never repeat it, because a
/// user part would be a secret.
pub(super) fn base(written: &str) -> Result<Url, &'static str> {
    of_scheme(
        written,
        &["https", "http"],
        "expected a URL that begins with https:// or http://",
    )
}

/// As [`base`], for an upstream: `h2c` is HTTP/2 in clear text, which nothing negotiates.
pub fn upstream_url(text: &str) -> Result<Url, String> {
    let url = of_scheme(
        text,
        &["https", "http", "h2c"],
        "expected a URL that begins with https://, http:// or h2c://",
    )?;
    Ok(url)
}

/// As [`base`], of who signs tokens: in clear text on this machine only, for what comes in clear
/// text could be anybody's.
pub(super) fn issuer(written: &str) -> Result<Url, &'static str> {
    let url = base(written)?;
    match url.scheme() == "https" || url.host_str().is_some_and(is_loopback_host) {
        true => Ok(url),
        false => Err("expected a URL that begins with https://; http:// is for this machine only"),
    }
}

fn of_scheme(written: &str, schemes: &[&str], expected: &'static str) -> Result<Url, &'static str> {
    let mut url = Url::parse(written).map_err(|_| "expected a URL such as https://host/v1")?;
    if !schemes.contains(&url.scheme()) {
        return Err(expected);
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("the URL names no host");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a user or password in the URL is not supported; leave it out");
    }
    if url.query().is_some() {
        return Err("the URL must not have a query (`?…`)");
    }
    if url.fragment().is_some() {
        return Err("the URL must not have a fragment (`#…`)");
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_web_addresses_are_taken() {
        assert_eq!(
            base("https://api.example.com/v1/").unwrap().as_str(),
            "https://api.example.com/v1"
        );
        assert_eq!(
            base("http://[::1]:8080").unwrap().as_str(),
            "http://[::1]:8080/"
        );
        for bad in [
            "",
            "api.example.com/v1",
            "/v1",
            "ftp://host",
            "file:///etc/passwd",
            "https://",
            "https://u:p@host",
            "https://u@host",
            "https://host?key=1",
            "https://host/#x",
            "unix:/run/x",
        ] {
            assert!(base(bad).is_err(), "{bad}");
        }
    }
}
