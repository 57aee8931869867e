//! URLs of egress proxies.

use ::url::Url;
use percent_encoding::percent_decode_str;
use turnpike_api::Secret;

use crate::document::ProxyText;
use crate::locate::Path;
use crate::plan::{ProxyChoice, ProxyScheme, ProxyUrl};

use super::Context;

/// A `proxy_url` of the document.
pub(super) fn choice(
    written: Option<&ProxyText>,
    key: &Path,
    context: &mut Context<'_>,
) -> ProxyChoice {
    let Some(ProxyText(text)) = written else {
        return ProxyChoice::Inherit;
    };
    match proxy_choice(text.expose()) {
        Ok(choice) => choice,
        Err(message) => {
            context.report.at(key, message);
            ProxyChoice::Inherit
        }
    }
}

/// A `proxy_url`, wherever it is written: the URL of a proxy, or `direct`.
pub fn proxy_choice(text: &str) -> Result<ProxyChoice, String> {
    match text {
        "direct" => Ok(ProxyChoice::Direct),
        url => Ok(ProxyChoice::Url(parse(url)?)),
    }
}

const OVER_TLS: &str = "a proxy that is itself reached over TLS is not available in this release; \
                        use http:// or socks5://";

/// `scheme://[user:password@]host[:port]`; a bare `host:port` is an HTTP proxy, as other programs
/// read `HTTP_PROXY`.
pub(super) fn parse(text: &str) -> Result<ProxyUrl, &'static str> {
    let expected = "expected the http or socks5 URL of a proxy, or `direct`";
    let text = match text.contains("://") {
        true => text.to_owned(),
        false => format!("http://{text}"),
    };
    let url = Url::parse(&text).map_err(|_| expected)?;
    let (scheme, port) = match url.scheme() {
        "http" => (ProxyScheme::Http, 80),
        "https" => return Err(OVER_TLS),
        "socks5" => (ProxyScheme::Socks5, 1080),
        _ => return Err(expected),
    };
    let host = url
        .host_str()
        .filter(|host| !host.is_empty())
        .ok_or("the proxy's URL names no host")?;
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err("the proxy's URL must end after its host and port");
    }
    Ok(ProxyUrl {
        scheme,
        host: host.trim_matches(['[', ']']).to_owned(),
        port: url.port().unwrap_or(port),
        credentials: credentials(&url)?,
    })
}

fn credentials(url: &Url) -> Result<Option<(String, Secret)>, &'static str> {
    let decode = |text: &str| {
        let decoded = percent_decode_str(text).decode_utf8().map(String::from);
        decoded.map_err(|_| "the proxy's user or password is not UTF-8 once decoded")
    };
    let (user, password) = (url.username(), url.password().unwrap_or_default());
    if user.is_empty() && password.is_empty() {
        return Ok(None);
    }
    Ok(Some((decode(user)?, Secret::new(decode(password)?))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_proxy_url() {
        let url = parse("socks5://us%40er:p%3Ass@[2001:db8::1]").ok().unwrap();
        assert_eq!(
            (url.scheme, url.host.as_str(), url.port),
            (ProxyScheme::Socks5, "2001:db8::1", 1080)
        );
        let (user, password) = url.credentials.unwrap();
        assert_eq!((user.as_str(), password.expose()), ("us@er", "p:ss"));

        let bare = parse("proxy.internal:3128").ok().unwrap();
        assert_eq!(
            (bare.scheme, bare.host.as_str(), bare.port),
            (ProxyScheme::Http, "proxy.internal", 3128)
        );
        assert_eq!(parse("https://proxy:3129").err(), Some(OVER_TLS));
        for bad in [
            "ftp://proxy",
            "http://",
            "http://proxy/path",
            "socks4://p",
            "http://p?x",
            "",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
