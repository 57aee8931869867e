//! Google: the Generative Language API, and Vertex AI with an API key.

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use turnpike_api::{Call, Fault, Judgement, Meter, Operation, Provider, Secret, Target};

use crate::complaint::{self, Complaint};
use crate::openai::with_query;
use crate::{credential, metering};

/// What of a model's name stays as it is in a path's segment. A colon does not: it would begin
/// another action.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

pub(crate) struct Google {
    base_url: &'static str,
    patterns: &'static [&'static str],
    models: &'static [&'static str],
    place: Place,
}

/// Where models are found.
#[derive(Clone, Copy)]
enum Place {
    /// Under the version the caller wrote: `/v1beta/models/…`
    UnderVersion,
    /// Under Google's own publisher: `/v1/publishers/google/models/…`
    UnderPublisher,
}

pub(crate) const GEMINI: Google = Google {
    base_url: "https://generativelanguage.googleapis.com",
    patterns: &[
        "gemini-*",
        "gemma-*",
        "imagen-*",
        "learnlm-*",
        "veo-*",
        "text-embedding-004",
        "embedding-001",
        "tunedmodels/*",
    ],
    models: &[
        "gemini-3.8-flash",
        "gemini-3.5-flash",
        "gemini-3.1-pro-preview",
        "gemini-2.5-pro",
        "gemini-2.5-flash",
        "gemini-2.5-flash-lite",
        "gemini-2.5-flash-image",
        "gemini-embedding-2",
        "gemini-embedding-001",
    ],
    place: Place::UnderVersion,
};

pub(crate) const VERTEX: Google = Google {
    base_url: "https://aiplatform.googleapis.com",
    patterns: &["gemini-*"],
    models: &[
        "gemini-2.5-pro",
        "gemini-2.5-flash",
        "gemini-2.5-flash-lite",
    ],
    place: Place::UnderPublisher,
};

impl Provider for Google {
    fn serves(&self, operation: Operation) -> bool {
        use Operation::*;
        matches!(
            operation,
            GenerateContent | StreamGenerateContent | CountTokens | EmbedContent
        )
    }

    fn default_base_url(&self) -> Option<&'static str> {
        Some(self.base_url)
    }

    fn model_patterns(&self) -> &'static [&'static str] {
        self.patterns
    }

    fn known_models(&self) -> &'static [&'static str] {
        self.models
    }

    fn target(&self, call: &Call<'_>) -> Target {
        Target {
            path_and_query: with_query(&path(self.place, call), call.query),
        }
    }

    fn credential_headers(&self, secret: &Secret) -> Option<Vec<(HeaderName, HeaderValue)>> {
        credential::bare("x-goog-api-key", secret)
    }

    fn judge(&self, status: u16, _: &HeaderMap, body: &[u8]) -> Judgement {
        complaint::judge(status, body, refine)
    }

    fn meter(&self, operation: Operation, event_stream: bool) -> Box<dyn Meter> {
        metering::meter(operation, event_stream)
    }
}

/// The caller's path with the provider's name of the model, the action kept.
fn path(place: Place, call: &Call<'_>) -> String {
    let mut segments = call.path.splitn(3, '/').skip(1);
    let (Some(version), Some((_, action))) = (segments.next(), call.path.rsplit_once(':')) else {
        return call.path.to_owned();
    };
    let bare = call.model.strip_prefix("models/").unwrap_or(call.model);
    let model = segments_of(bare);
    match place {
        Place::UnderPublisher => format!("/v1/publishers/google/models/{model}:{action}"),
        Place::UnderVersion if bare.starts_with("tunedModels/") => {
            format!("/{version}/{model}:{action}")
        }
        Place::UnderVersion => format!("/{version}/models/{model}:{action}"),
    }
}

/// A name as path segments. A server may read `..`, `.` and empty segments as steps to another
/// model than the one that was authorized, encoded ones too: they become a name no model has.
fn segments_of(name: &str) -> String {
    let segments = name.split('/').map(|segment| match segment {
        "" | "." | ".." => "_".to_owned(),
        _ => utf8_percent_encode(segment, SEGMENT).to_string(),
    });
    segments.collect::<Vec<_>>().join("/")
}

/// What the body of an error says beyond its status.
fn refine(status: u16, complaint: &Complaint) -> Option<Judgement> {
    let says = |words| complaint.message.starts_with(words);
    let has = |reason| complaint.reasons.iter().any(|given| given == reason);
    let fault = match status {
        400 if has("API_KEY_INVALID") || says("API key not valid") => Fault::Unauthorized,
        400 if says("API key expired") => Fault::Unauthorized,
        400 if says("User location is not supported") => Fault::Forbidden,
        // A file or cache of another key's: the caller named it, and the key is good.
        403 if says("You do not have permission to access the File") => {
            return Some(Judgement::Caller);
        }
        403 if says("CachedContent not found") => return Some(Judgement::Caller),
        404 if complaint.status == "NOT_FOUND" && names_model(&complaint.message) => {
            Fault::ModelNotFound
        }
        _ => return None,
    };
    Some(Judgement::Fault(fault))
}

/// `models/x is not found …`, or Vertex's "Publisher Model `…` was not found".
fn names_model(message: &str) -> bool {
    ["models/", "tunedModels/", "Publisher Model"]
        .iter()
        .any(|words| message.starts_with(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(provider: &Google, path: &str, model: &str) -> String {
        let (operation, method) = (Operation::GenerateContent, &http::Method::POST);
        provider
            .target(&Call {
                operation,
                method,
                path,
                query: "",
                model,
            })
            .path_and_query
    }

    #[test]
    fn the_model_is_replaced_and_the_rest_kept() {
        for (path, model, expected) in [
            (
                "/v1beta/models/alias:generateContent",
                "g",
                "/v1beta/models/g:generateContent",
            ),
            (
                "/v1/models/alias:countTokens",
                "g-2.5",
                "/v1/models/g-2.5:countTokens",
            ),
            (
                "/v1beta/models/a:embedContent",
                "models/g",
                "/v1beta/models/g:embedContent",
            ),
            (
                "/v1beta/models/a:x",
                "tunedModels/my-1",
                "/v1beta/tunedModels/my-1:x",
            ),
            ("/v1beta/models/a:x", "a/b", "/v1beta/models/a/b:x"),
            ("/v1beta/models/a:x", "g:y", "/v1beta/models/g%3Ay:x"),
            (
                "/v1beta/models/a:x",
                "../secret",
                "/v1beta/models/_/secret:x",
            ),
            (
                "/v1beta/models/a:x",
                "a/./..//b",
                "/v1beta/models/a/_/_/_/b:x",
            ),
            (
                "/v1beta/models/a:x",
                "tunedModels/../models/b",
                "/v1beta/tunedModels/_/models/b:x",
            ),
            (
                "/v1beta/models/a:x",
                "ä?#%2e",
                "/v1beta/models/%C3%A4%3F%23%252e:x",
            ),
        ] {
            assert_eq!(target(&GEMINI, path, model), expected);
        }
    }

    #[test]
    fn vertex_has_its_own_place() {
        let path = "/v1beta/models/alias:streamGenerateContent";
        assert_eq!(
            target(&VERTEX, path, "gemini-2.5-pro"),
            "/v1/publishers/google/models/gemini-2.5-pro:streamGenerateContent",
        );
    }

    #[test]
    fn judges_by_the_body_too() {
        let judge = |status, body: &str| GEMINI.judge(status, &HeaderMap::new(), body.as_bytes());
        let invalid = r#"{"error":{"code":400,"message":"Bad.","status":"INVALID_ARGUMENT",
            "details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo",
            "reason":"API_KEY_INVALID","domain":"googleapis.com"}]}}"#;
        assert_eq!(judge(400, invalid), Judgement::Fault(Fault::Unauthorized));
        assert_eq!(
            judge(400, &format!("[{invalid}]")),
            Judgement::Fault(Fault::Unauthorized)
        );
        let model = r#"{"error":{"code":404,"status":"NOT_FOUND",
            "message":"models/x is not found for API version v1beta"}}"#;
        assert_eq!(judge(404, model), Judgement::Fault(Fault::ModelNotFound));
        let file = r#"{"error":{"code":403,"status":"PERMISSION_DENIED",
            "message":"You do not have permission to access the File x or it may not exist."}}"#;
        assert_eq!(judge(403, file), Judgement::Caller);
    }
}
