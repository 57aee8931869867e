//! What the management API does not do becomes an HTTP answer here, and nowhere else.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use thiserror::Error;
use turnpike_api::{SealError, StoreError};
use turnpike_identity::agent_tokens::IssueError;
use turnpike_identity::sso::session::SessionError;
use utoipa::ToSchema;

/// Why something was not done.
#[derive(Debug, Error)]
pub enum Refused {
    #[error("nothing is served at this path")]
    NothingHere,
    #[error("this path does not know the method")]
    WrongMethod,
    #[error(
        "the management API is for programs on the gateway's own machine (`remote_management.allow_remote`)"
    )]
    Remote,
    #[error(
        "send a key of the management API as `Authorization: Bearer …` or `X-Management-Key: …`"
    )]
    NoKey,
    #[error("the same header came twice; send one key")]
    TwoKeys,
    #[error("this is no key of the management API")]
    WrongKey,
    #[error("too many wrong keys came from this address; try again in {seconds} s")]
    TooMany { seconds: u64 },
    #[error("the key `{name}` lacks the scope `{scope}`")]
    Scope { name: String, scope: &'static str },
    #[error("the key `{name}` is for one tenant, and what takes `{scope}` is of the whole gateway")]
    WholeGateway { name: String, scope: &'static str },
    #[error("{0}")]
    Body(String),
    #[error("the body is larger than 64 KiB")]
    TooLarge,
    #[error("No credentials for provider {0}")]
    NoCredentials(String),
    #[error("no credential is called `{0}`")]
    NoCredential(String),
    #[error("no credential of this provider has that id or secret")]
    NoSuchCredential,
    #[error("the credential `{0}` has the same secret")]
    SameSecret(String),
    #[error("the credential `{0}` is written in the configuration; change it there")]
    Configured(String),
    #[error("the credential `{0}` is switched off, or cannot be read: it has no quota now")]
    Unusable(String),
    /// A credential's file that cannot be read, and why.
    #[error("{0}")]
    Unreadable(String),
    #[error("{0}")]
    Files(String),
    #[error("nothing was changed, for it would not be in force: {0}")]
    NotInForce(String),
    #[error("the file is changed, and what was read before it is used until this is mended: {why}")]
    NotYet { why: String, code: &'static str },
    #[error("another process is changing the files of `auth.dir`; try again in a moment")]
    Busy,
    #[error("the provider {0} has several credentials; name one with `?id=`")]
    Ambiguous(String),
    #[error("no agent token has the id `{0}`")]
    NoToken(String),
    #[error("no session has the id `{0}`")]
    NoSession(String),
    #[error("no refusal of this id is remembered here; another replica may have refused")]
    NoDecision(String),
    #[error("nobody of this id has tried to log in of late")]
    NoLimit,
    #[error("the agent token `{0}` is revoked; that is for good: create another one")]
    Revoked(String),
    #[error("it has changed since it was looked at; look at it again")]
    Changed,
    #[error("`Idempotency-Key` has 1 to 255 printable ASCII characters")]
    BadIdempotencyKey,
    #[error("this `Idempotency-Key` came with another request before; use a new one")]
    KeyReused,
    #[error(
        "a request with this `Idempotency-Key` is under way, or was cut short; look at the tokens before you use a new one"
    )]
    UnderWay,
    #[error(
        "a request with this `Idempotency-Key` made the token `{0}`, whose secret is not kept; rotate that one, with a new key, for another secret"
    )]
    DoneBefore(String),
    #[error("{0}")]
    Configuration(String),
    #[error(
        "there are more than {0} rows; ask for fewer days, tell less apart, or take CSV by day"
    )]
    TooManyRows(usize),
    #[error("the gateway has no log of its own")]
    NoLog,
    #[error("the gateway's store does not answer: {0}")]
    Store(#[from] StoreError),
    #[error("the file cannot be encrypted: {0}")]
    Sealing(#[from] SealError),
    #[error("{0}")]
    Failed(String),
    #[error("the gateway is stopping")]
    Stopped,
}

/// Every answer that is no success.
#[derive(Serialize, ToSchema)]
pub(super) struct Problem {
    error: ProblemDetail,
}

#[derive(Serialize, ToSchema)]
pub(super) struct ProblemDetail {
    /// For people.
    message: String,
    /// For programs: it does not change.
    code: &'static str,
}

/// Why something was not done, on its answer: for the record.
#[derive(Clone)]
pub(super) struct Code(pub(super) &'static str);

impl Refused {
    fn meaning(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NothingHere => (StatusCode::NOT_FOUND, "not_found"),
            Self::WrongMethod => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::Remote => (StatusCode::FORBIDDEN, "remote_management_disabled"),
            Self::NoKey => (StatusCode::UNAUTHORIZED, "missing_key"),
            Self::TwoKeys | Self::WrongKey => (StatusCode::UNAUTHORIZED, "invalid_key"),
            Self::TooMany { .. } => (StatusCode::TOO_MANY_REQUESTS, "too_many_attempts"),
            Self::Scope { .. } => (StatusCode::FORBIDDEN, "missing_scope"),
            Self::WholeGateway { .. } => (StatusCode::FORBIDDEN, "whole_gateway"),
            Self::Body(_) => (StatusCode::BAD_REQUEST, "invalid_request"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
            Self::NoCredentials(_) => (StatusCode::NOT_FOUND, "no_credentials"),
            Self::SameSecret(_) => (StatusCode::CONFLICT, "same_secret"),
            Self::Configured(_) => (StatusCode::CONFLICT, "configured"),
            Self::Unusable(_) | Self::Unreadable(_) => (StatusCode::CONFLICT, "unusable"),
            Self::NotInForce(_) => (StatusCode::UNPROCESSABLE_ENTITY, "not_in_force"),
            Self::NotYet { code, .. } => (StatusCode::SERVICE_UNAVAILABLE, code),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Self::Files(_) => (StatusCode::INTERNAL_SERVER_ERROR, "files"),
            Self::NoSuchCredential | Self::NoCredential(_) => {
                (StatusCode::NOT_FOUND, "unknown_credential")
            }
            Self::Ambiguous(_) => (StatusCode::CONFLICT, "ambiguous"),
            Self::NoToken(_) => (StatusCode::NOT_FOUND, "unknown_token"),
            Self::NoSession(_) => (StatusCode::NOT_FOUND, "unknown_session"),
            Self::NoDecision(_) => (StatusCode::NOT_FOUND, "unknown_decision"),
            Self::NoLimit => (StatusCode::NOT_FOUND, "unknown_login_rate_limit"),
            Self::Revoked(_) => (StatusCode::CONFLICT, "token_revoked"),
            Self::Changed => (StatusCode::PRECONDITION_FAILED, "changed"),
            Self::BadIdempotencyKey => (StatusCode::BAD_REQUEST, "invalid_idempotency_key"),
            Self::KeyReused => (StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused"),
            Self::UnderWay => (StatusCode::CONFLICT, "under_way"),
            Self::DoneBefore(_) => (StatusCode::CONFLICT, "done_before"),
            Self::Configuration(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_configuration"),
            Self::TooManyRows(_) => (StatusCode::UNPROCESSABLE_ENTITY, "too_many_rows"),
            Self::NoLog => (StatusCode::CONFLICT, "no_log"),
            Self::Store(_) => (StatusCode::SERVICE_UNAVAILABLE, "storage_unavailable"),
            Self::Sealing(_) | Self::Failed(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
            Self::Stopped => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        }
    }

    /// The same, of a change that is not put back for it.
    pub(super) fn of_what_is_kept(self) -> Self {
        match self {
            Self::NotInForce(why) => {
                let code = "not_yet_in_force";
                Self::NotYet { why, code }
            }
            other => Self::NotYet {
                why: other.to_string(),
                code: other.meaning().1,
            },
        }
    }

    /// The reason, for programs.
    #[cfg(test)]
    pub(super) fn code(&self) -> &'static str {
        self.meaning().1
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (status, code) = self.meaning();
        let message = self.to_string();
        let error = ProblemDetail { message, code };
        let mut response = (status, Json(Problem { error })).into_response();
        response.extensions_mut().insert(Code(code));
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Self::TooMany { seconds } = self {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl From<IssueError> for Refused {
    fn from(error: IssueError) -> Self {
        match error {
            IssueError::Name => Self::Body(error.to_string()),
            IssueError::Unknown(id) => Self::NoToken(id),
            IssueError::Revoked(id) => Self::Revoked(id),
            IssueError::Changed(_) => Self::Changed,
            IssueError::Store(error) => Self::Store(error),
            IssueError::Random(_) | IssueError::Hash(_) | IssueError::Unreadable(_) => {
                Self::Failed(error.to_string())
            }
        }
    }
}

impl From<SessionError> for Refused {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Store(error) => Self::Store(error),
            SessionError::Token(error) => error.into(),
            SessionError::Random(_) | SessionError::Over | SessionError::TooMany => {
                Self::Failed(error.to_string())
            }
        }
    }
}
