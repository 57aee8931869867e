//! Google: the Generative Language API, and Vertex AI with an API key or for a project.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use turnpike_api::{
    Account, Call, Fault, Hint, Judgement, Meter, Operation, Provider, Scheme, Secret, Target,
};

use crate::complaint::{self, Complaint};
use crate::hint::{self, Refusal};
use crate::openai::with_query;
use crate::{credential, metering};

/// What of a model's name stays as it is in a path's segment. A colon does not: it would begin
/// another action.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Where a project's calls go when its account names no location.
const DEFAULT_LOCATION: &str = "us-central1";

#[derive(Clone, Copy)]
pub(crate) struct Google {
    base_url: &'static str,
    patterns: &'static [&'static str],
    models: &'static [&'static str],
    place: Place,
}

/// Where models are found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Under the version the caller wrote: `/v1beta/models/…`
    Version,
    /// Under Google's own publisher: `/v1/publishers/google/models/…`
    Publisher,
    /// Under the project that the base URL names: `/publishers/google/models/…`
    Project,
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
    place: Place::Version,
};

pub(crate) const VERTEX: Google = Google {
    base_url: "https://aiplatform.googleapis.com",
    patterns: &["gemini-*"],
    models: &[
        "gemini-2.5-pro",
        "gemini-2.5-flash",
        "gemini-2.5-flash-lite",
    ],
    place: Place::Publisher,
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

    fn credential_headers(
        &self,
        secret: &Secret,
        scheme: Scheme,
        account: &Account,
    ) -> Option<Vec<(HeaderName, HeaderValue)>> {
        match (scheme, self.place) {
            (Scheme::Key, _) => credential::bare("x-goog-api-key", secret),
            // An access token is a person's: the project whose quota it spends is named apart.
            (Scheme::Bearer, Place::Version) => credential::with_account(
                credential::bearer(secret),
                "x-goog-user-project",
                account.project.as_deref(),
            ),
            (Scheme::Bearer, Place::Publisher | Place::Project) => credential::bearer(secret),
        }
    }

    fn of_project(
        &self,
        account: &Account,
        base_url: Option<&str>,
    ) -> Option<(Arc<dyn Provider>, String)> {
        if self.place == Place::Version {
            return None;
        }
        let project = account.project.as_deref().filter(|name| is_project(name))?;
        let location = account.location.as_deref().unwrap_or(DEFAULT_LOCATION);
        if !is_location(location) {
            return None;
        }
        let base = match (base_url, location) {
            (Some(url), _) => url.trim_end_matches('/').to_owned(),
            (None, "global") => self.base_url.to_owned(),
            (None, _) => format!("https://{location}-aiplatform.googleapis.com"),
        };
        let of_project = Self {
            place: Place::Project,
            ..*self
        };
        let url = format!("{base}/v1/projects/{project}/locations/{location}");
        Some((Arc::new(of_project), url))
    }

    fn model_list(&self) -> Option<&'static str> {
        match self.place {
            Place::Version => Some("/v1beta/models?pageSize=1000"),
            Place::Publisher | Place::Project => None,
        }
    }

    fn judge(&self, status: u16, _: &HeaderMap, body: &[u8]) -> Judgement {
        complaint::judge(status, body, refine)
    }

    fn hint(&self, now: u64, status: u16, headers: &HeaderMap, body: &[u8]) -> Hint {
        let judged = self.judge(status, headers, body);
        let refusal = Refusal {
            now,
            status,
            headers,
            body,
        };
        hint::of_answer(judged, refusal, hint::no_windows)
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
        Place::Publisher => format!("/v1/publishers/google/models/{model}:{action}"),
        Place::Project => format!("/publishers/google/models/{model}:{action}"),
        Place::Version if bare.starts_with("tunedModels/") => {
            format!("/{version}/{model}:{action}")
        }
        Place::Version => format!("/{version}/models/{model}:{action}"),
    }
}

/// A project's id or number; old ids begin with a domain: `example.com:name`.
fn is_project(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.bytes().all(fits)
}

/// A location, which becomes part of a host's name.
fn is_location(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.bytes().all(fits)
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
        400 if says("Gemini API free tier is not available") => Fault::PaymentRequired,
        403 if has("BILLING_DISABLED") => Fault::PaymentRequired,
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
mod tests;
