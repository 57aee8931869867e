//! Edits of what somebody else has changed meanwhile are refused (`If-Match`).

use http::HeaderMap;
use http::header::IF_MATCH;

use super::refusal::Refused;

/// As it stands in `ETag`.
pub(super) fn etag(version: impl std::fmt::Display) -> String {
    format!("\"{version}\"")
}

/// Refuses a request that was made of another state than `current`. One that says nothing of it
/// wins over whatever there is.
pub(super) fn if_match(headers: &HeaderMap, current: &str) -> Result<(), Refused> {
    let mut values = headers.get_all(IF_MATCH).iter().peekable();
    if values.peek().is_none() {
        return Ok(());
    }
    let mut tags = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    // A weak tag (`W/"…"`) is none to edit by.
    let is_current = |tag: &[u8]| tag == b"*" || tag == current.as_bytes();
    match tags.any(|tag| is_current(tag.trim_ascii())) {
        true => Ok(()),
        false => Err(Refused::Changed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_names_what_it_was_made_of() {
        let current = etag(7);
        let refused = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(IF_MATCH, value.parse().unwrap());
            if_match(&headers, &current).is_err()
        };
        assert!(if_match(&HeaderMap::new(), &current).is_ok());
        for good in ["\"7\"", "*", "\"6\", \"7\""] {
            assert!(!refused(good), "{good}");
        }
        for bad in ["\"6\"", "7", "W/\"7\"", ""] {
            assert!(refused(bad), "{bad}");
        }
    }
}
