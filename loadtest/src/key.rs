//! Where a call carries its API key.

use http::HeaderMap;
use http::request::Parts;

const HEADERS: [&str; 3] = ["x-api-key", "x-goog-api-key", "api-key"];

/// Empty when the call brings none.
pub(crate) fn of(head: &Parts) -> String {
    bearer(&head.headers)
        .or_else(|| {
            HEADERS
                .iter()
                .find_map(|name| head.headers.get(*name)?.to_str().ok())
        })
        .or_else(|| in_query(head.uri.query()?))
        .unwrap_or_default()
        .to_owned()
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(http::header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
}

fn in_query(query: &str) -> Option<&str> {
    query.split('&').find_map(|pair| pair.strip_prefix("key="))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(uri: &str, header: Option<(&str, &str)>) -> String {
        let mut request = http::Request::builder().uri(uri);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        of(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn a_key_is_found_in_every_place_a_vendor_reads_it() {
        assert_eq!(key("/", Some(("authorization", "Bearer a"))), "a");
        assert_eq!(key("/", Some(("x-api-key", "b"))), "b");
        assert_eq!(key("/", Some(("x-goog-api-key", "c"))), "c");
        assert_eq!(key("/", Some(("api-key", "d"))), "d");
        assert_eq!(key("/v1beta/models?alt=sse&key=e", None), "e");
        assert_eq!(key("/", None), "");
    }
}
