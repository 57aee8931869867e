//! Reading a request's body. What it holds may be a secret, and is never quoted.

use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use serde::de::DeserializeOwned;

use super::refusal::Refused;

/// JSON, whatever the content type says. An empty body is `{}`.
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let bytes = Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Refused::TooLarge,
            _ => Refused::Body("the body could not be read".into()),
        });
        bytes
            .and_then(|bytes| read(&bytes).map(Self))
            .map_err(IntoResponse::into_response)
    }
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refused> {
    let bytes = match bytes.trim_ascii() {
        b"" => b"{}",
        bytes => bytes,
    };
    serde_json::from_slice(bytes).map_err(|error| {
        let what = match error.classify() {
            serde_json::error::Category::Data => {
                "has a key that is not known, lacks one, or a value of the wrong kind"
            }
            _ => "is not valid JSON",
        };
        // The parser's own words would quote.
        let (line, column) = (error.line(), error.column());
        Refused::Body(format!("the body {what} (line {line}, column {column})"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sent {
        #[serde(default)]
        limit: u64,
    }

    #[test]
    fn a_body_is_read_and_never_quoted() {
        for (bytes, limit) in [(&b""[..], 0), (b" {} ", 0), (b"{\"limit\":7}", 7)] {
            assert_eq!(read::<Sent>(bytes).unwrap(), Sent { limit });
        }
        for bytes in [
            &b"{\"limit\":\"CANARY\"}"[..],
            b"{\"CANARY\":1}",
            b"\"CANARY\"",
            b"CANARY",
            b"{\"limit\":1} CANARY",
            b"\xffCANARY",
        ] {
            let told = read::<Sent>(bytes).unwrap_err().to_string();
            assert!(!told.contains("CANARY"), "{told}");
        }
    }
}
