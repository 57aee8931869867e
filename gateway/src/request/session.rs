//! Which session a call belongs to, where the caller says so.

use std::sync::Arc;

use blake3::Hasher;
use http::HeaderMap;
use serde::Deserialize;
use turnpike_api::Identity;

use crate::upstream::affinity::Session;

/// Headers that name a session, in the order in which they are looked at; the body comes after.
const HEADERS: [&str; 3] = ["x-session-id", "session_id", "x-claude-code-session-id"];

/// What a body may say of its session: OpenAI's key for its prompt cache, and Anthropic's user,
/// into which Claude Code writes its session.
#[derive(Deserialize)]
struct Body {
    session_id: Option<String>,
    prompt_cache_key: Option<String>,
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct Metadata {
    user_id: Option<String>,
}

/// The session. `None` where nothing names one.
///
/// It is a session with these providers: one that talks with models of several keeps to a
/// credential of each.
pub(super) fn session(
    headers: &HeaderMap,
    body: &[u8],
    caller: &Identity,
    providers: &[Arc<str>],
) -> Option<Session> {
    let named = HEADERS.iter().find_map(|name| headers.get(*name));
    let named = named.map(|value| value.as_bytes().to_vec());
    let name = named.or_else(|| in_body(body).map(String::into_bytes));
    let name = name.filter(|name| !name.is_empty())?;
    let mut hasher = Hasher::new();
    let tenant = caller.attributes.tenant.as_deref().unwrap_or_default();
    for part in [tenant, &*caller.name] {
        hasher.update(part.as_bytes()).update(b"\0");
    }
    for provider in providers {
        hasher.update(provider.as_bytes()).update(b"\0");
    }
    let digest = hasher.update(&name).finalize();
    let (first, _) = digest.as_bytes().split_first_chunk()?;
    Some(Session::from_le_bytes(*first))
}

fn in_body(body: &[u8]) -> Option<String> {
    let body: Body = serde_json::from_slice(body).ok()?;
    let user = body.metadata.and_then(|metadata| metadata.user_id);
    body.session_id.or(body.prompt_cache_key).or(user)
}

#[cfg(test)]
mod tests {
    use turnpike_api::ModelRules;

    use super::*;

    fn of(header: Option<(&'static str, &str)>, body: &str, caller: &str) -> Option<Session> {
        let mut headers = HeaderMap::new();
        if let Some((name, value)) = header {
            headers.insert(name, value.parse().unwrap());
        }
        let caller = Identity::new(caller, ModelRules::any());
        session(&headers, body.as_bytes(), &caller, &["openai".into()])
    }

    #[test]
    fn a_session_is_named_in_headers_or_the_body() {
        let named = of(None, r#"{"session_id":"s1"}"#, "a");
        assert!(named.is_some());
        for header in HEADERS {
            assert_eq!(of(Some((header, "s1")), "{}", "a"), named);
        }
        for body in [
            r#"{"prompt_cache_key":"s1"}"#,
            r#"{"metadata":{"user_id":"s1"}}"#,
            r#"{"session_id":"s1","prompt_cache_key":"s2"}"#,
        ] {
            assert_eq!(of(None, body, "a"), named, "{body}");
        }
        assert_eq!(
            of(Some(("session_id", "s1")), r#"{"session_id":"s2"}"#, "a"),
            named
        );
        assert_ne!(of(None, r#"{"session_id":"s2"}"#, "a"), named);
    }

    #[test]
    fn nobody_shares_anothers_session() {
        let of_caller = |caller| of(None, r#"{"session_id":"s1"}"#, caller);
        assert_ne!(of_caller("a"), of_caller("b"));
    }

    #[test]
    fn what_names_no_session_has_none() {
        for body in [
            "",
            "{}",
            "no json",
            r#"{"session_id":7}"#,
            r#"{"session_id":""}"#,
        ] {
            assert_eq!(of(None, body, "a"), None, "{body}");
        }
    }
}
