//! What is typed into forms, and what stands in queries.

use std::collections::HashMap;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};

use super::problem::Problem;

/// As many characters of what was typed are put back where it is to be mended: enough for a name that
/// is too long, and too few for somebody else's words.
const PUT_BACK: usize = 200;

/// Fields of a form, or of a query. What is given twice is read differently by different readers,
/// so that it counts as not given.
pub(super) struct Form(HashMap<String, Option<String>>);

impl Form {
    pub(super) fn read(text: &[u8]) -> Self {
        let mut fields: HashMap<String, Option<String>> = HashMap::new();
        for (name, value) in url::form_urlencoded::parse(text) {
            let value = Some(value.into_owned());
            fields
                .entry(name.into_owned())
                .and_modify(|twice| *twice = None)
                .or_insert(value);
        }
        Self(fields)
    }

    /// Empty when it is not there.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0
            .get(name)
            .and_then(Option::as_deref)
            .unwrap_or_default()
    }
}

/// A body that says it is a form, and is one.
impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_form(request.headers()) {
            return Err(Problem::new(415, "unsupported_media_type", "This is not a form").with(
                "The body must be of the type application/x-www-form-urlencoded. Go back, reload the page and try again.",
            ));
        }
        let body = Bytes::from_request(request, state).await;
        let body = body.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large(),
            _ => Problem::garbled(),
        })?;
        match is_text(&body) {
            true => Ok(Self::read(&body)),
            false => Err(Problem::garbled()),
        }
    }
}

/// Whether a body is a form, by what it says of itself; in UTF-8, where it says in what.
pub(super) fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let mut parts = kind.split(';').map(str::trim);
    let is_form = parts
        .next()
        .is_some_and(|kind| kind.eq_ignore_ascii_case("application/x-www-form-urlencoded"));
    let is_other = |part: &str| {
        let value = part
            .split_once('=')
            .filter(|(name, _)| name.eq_ignore_ascii_case("charset"));
        value.is_some_and(|(_, set)| !set.trim_matches('"').eq_ignore_ascii_case("utf-8"))
    };
    is_form && !parts.any(is_other)
}

/// Whether each byte, percent-encoded or not, is of a text in UTF-8 without NUL.
pub(super) fn is_text(body: &[u8]) -> bool {
    let decoded: Vec<u8> = percent_encoding::percent_decode(body).collect();
    !decoded.contains(&0) && str::from_utf8(&decoded).is_ok()
}

/// What was typed, for its field.
pub(super) fn put_back(typed: &str) -> &str {
    let end = typed.char_indices().nth(PUT_BACK).map(|(at, _)| at);
    end.map_or(typed, |end| &typed[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_says_that_it_is_one_and_is_text() {
        let says = |kind: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
            is_form(&headers)
        };
        assert!(says("application/x-www-form-urlencoded"));
        assert!(says("Application/X-WWW-form-urlencoded; Charset=\"UTF-8\""));
        assert!(!says(
            "application/x-www-form-urlencoded; charset=iso-8859-1"
        ));
        assert!(!says("text/plain") && !says("") && !is_form(&HeaderMap::new()));
        assert!(is_text(b"name=%C3%A9t%C3%A9&x=\xc3\xa9"));
        assert!(!is_text(b"name=%E9t%E9") && !is_text(b"name=\xe9") && !is_text(b"name=%00"));
        assert!(!is_text(b"name=%C0%AF"), "overlong");
    }
}
