//! What a token endpoint answered.

use turnpike_api::Secret;

use crate::file::{Document, Fields, check_secret};

use super::GrantError;

/// A fresh access token.
pub struct Minted {
    pub access_token: Secret,
    /// In milliseconds since 1970.
    pub expires_at: u64,
}

/// Longer is no token of an hour; it would be trusted after it was withdrawn.
const LONGEST_SECONDS: u64 = 24 * 60 * 60;

/// The errors of RFC 6749 and of Google that another try does not mend, and what they mean here.
/// An answer's own words are not repeated: nobody knows what an endpoint puts there.
const REFUSALS: &[(&str, &str)] = &[
    (
        "invalid_grant",
        "invalid_grant: the account or its key was deleted or disabled, or this machine's clock \
         is wrong",
    ),
    ("invalid_client", "invalid_client: there is no such account"),
    ("deleted_client", "deleted_client: the account was deleted"),
    (
        "disabled_client",
        "disabled_client: the account is disabled",
    ),
    (
        "unauthorized_client",
        "unauthorized_client: the account may not ask for this scope",
    ),
    (
        "access_denied",
        "access_denied: the account may not ask for this scope",
    ),
    (
        "invalid_scope",
        "invalid_scope: the account may not ask for this scope",
    ),
    (
        "admin_policy_enforced",
        "admin_policy_enforced: a policy of its organisation forbids it",
    ),
    (
        "org_internal",
        "org_internal: a policy of its organisation forbids it",
    ),
    (
        "invalid_request",
        "invalid_request: the endpoint does not take what was asked",
    ),
    (
        "unsupported_grant_type",
        "unsupported_grant_type: the endpoint knows no service accounts",
    ),
];

/// Reads what the endpoint answered to a [`TokenRequest`](super::TokenRequest). `now_ms` is when it
/// was sent, so that a token is not held for longer than it lives.
pub fn read_token(now_ms: u64, status: u16, body: &[u8]) -> Result<Minted, GrantError> {
    let trouble = |what| GrantError::Trouble { what, status };
    match status {
        408 | 429 => return Err(trouble("it asks to wait")),
        500.. => return Err(trouble("it fails")),
        _ => {}
    }
    let document = Document::read(body).map_err(|_| trouble("it does not answer in JSON"))?;
    let answer = document.fields();
    if let Some(refusal) = refusal(&answer) {
        return Err(GrantError::Refused(refusal));
    }
    if !(200..300).contains(&status) {
        return Err(trouble("it answers with an error of its own"));
    }
    minted(now_ms, &answer).map_err(trouble)
}

fn refusal(answer: &Fields<'_>) -> Option<&'static str> {
    let error = answer.value("error")?.as_str()?;
    let known = REFUSALS.iter().find(|(code, _)| *code == error);
    known.map(|(_, meaning)| *meaning)
}

fn minted(now_ms: u64, answer: &Fields<'_>) -> Result<Minted, &'static str> {
    let bearer = answer.text("token_type").ok().flatten().unwrap_or("Bearer");
    if !bearer.eq_ignore_ascii_case("bearer") {
        return Err("its answer holds a token that is not a bearer token");
    }
    let token = answer.text("access_token").ok().flatten();
    let token = token.filter(|token| check_secret(token).is_ok());
    let seconds = answer.count("expires_in").ok().flatten();
    let seconds = seconds.filter(|seconds| *seconds > 0);
    Ok(Minted {
        access_token: Secret::new(token.ok_or("its answer holds no usable access token")?),
        expires_at: now_ms.saturating_add(1000 * seconds.ok_or(NO_END)?.min(LONGEST_SECONDS)),
    })
}

const NO_END: &str = "its answer does not say how long the token lives";

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_767_323_045_000;

    fn read(status: u16, body: &str) -> Result<(String, u64), GrantError> {
        read_token(NOW, status, body.as_bytes())
            .map(|minted| (minted.access_token.expose().to_owned(), minted.expires_at))
    }

    #[test]
    fn a_token_lives_as_long_as_its_answer_says() {
        let body = r#"{"access_token":"ya29.CANARY","expires_in":3599,"token_type":"Bearer"}"#;
        assert_eq!(read(200, body), Ok(("ya29.CANARY".into(), NOW + 3_599_000)));
        let body = r#"{"access_token":"ya29.CANARY","expires_in":"60"}"#;
        assert_eq!(read(200, body), Ok(("ya29.CANARY".into(), NOW + 60_000)));
        let body = r#"{"access_token":"ya29.CANARY","expires_in":9223372036854775807}"#;
        let (_, until) = read(200, body).unwrap();
        assert_eq!(until, NOW + 86_400_000);
    }

    #[test]
    fn a_refusal_is_the_accounts_whatever_the_status() {
        for (code, _) in REFUSALS {
            for status in [200, 400, 401, 403] {
                let body = format!(r#"{{"error":"{code}","error_description":"CANARY"}}"#);
                let error = read(status, &body).unwrap_err();
                assert!(matches!(error, GrantError::Refused(_)), "{code}: {error}");
                assert!(error.to_string().contains(code));
                assert!(!error.to_string().contains("CANARY"));
            }
        }
    }

    #[test]
    fn anything_else_is_the_endpoints_trouble() {
        for (status, body) in [
            (500, r#"{"error":"invalid_grant"}"#),
            (503, "CANARY"),
            (429, r#"{"error":"invalid_grant"}"#),
            (400, r#"{"error":"temporarily_unavailable"}"#),
            (400, r#"{"error":"CANARY"}"#),
            (400, r#"{"error":{"code":"CANARY"}}"#),
            (404, "<html>CANARY</html>"),
            (302, r#"{"access_token":"CANARY","expires_in":3599}"#),
            (200, ""),
            (200, "[]"),
            (200, "\u{0}CANARY"),
            (200, r#"{"access_token":"CANARY"}"#),
            (200, r#"{"access_token":"CANARY","expires_in":0}"#),
            (200, r#"{"access_token":"CANARY","expires_in":-1}"#),
            (200, r#"{"access_token":"CANARY","expires_in":"CANARY"}"#),
            (200, r#"{"access_token":"","expires_in":3599}"#),
            (
                200,
                r#"{"access_token":"CANARY\r\nX: y","expires_in":3599}"#,
            ),
            (200, r#"{"access_token":["CANARY"],"expires_in":3599}"#),
            (
                200,
                r#"{"access_token":"CANARY","expires_in":1,"token_type":"mac"}"#,
            ),
            (200, r#"{"id_token":"CANARY","expires_in":3599}"#),
        ] {
            let error = read(status, body).unwrap_err();
            let trouble =
                matches!(error, GrantError::Trouble { status: said, .. } if said == status);
            assert!(trouble, "{status} {body}: {error:?}");
            assert!(!format!("{error} {error:?}").contains("CANARY"));
        }
    }
}
