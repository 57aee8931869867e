//! What a person, or a program, is told when something does not go on.

use askama::Template;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tracing::{error, warn};
use turnpike_api::{SealError, StoreError};
use turnpike_identity::sso::session::SessionError;
use turnpike_identity::sso::{LoginError, Wait};

use super::page::html;
use crate::refusal::Refusal;

/// Why a request is not done.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    status: StatusCode,
    /// Stable, for programs.
    code: &'static str,
    title: String,
    /// What to do about it, or what somebody else said.
    detail: String,
    retry_after: Option<u64>,
    /// What to do next; `None` = what the pages it is told on say.
    way_on: Option<Box<WayOn>>,
}

/// What is written on a link, and where it leads.

#[derive(Clone, Debug)]
struct WayOn {
    label: &'static str,
    url: String,
}

#[derive(Template)]
#[template(path = "auth/problem.html")]
struct ProblemPage<'p> {
    title: &'p str,
    detail: &'p str,
    /// What to do next.
    label: &'p str,
    url: &'p str,
}

#[derive(Template)]
#[template(path = "admin/problem.html")]
struct OperatorsProblemPage<'p> {
    title: &'p str,
    detail: &'p str,
    label: &'p str,
    url: &'p str,
}

impl Problem {
    /// Its stable word.
    pub(super) fn id(&self) -> &'static str {
        self.code
    }

    pub(super) fn new(status: u16, code: &'static str, title: impl Into<String>) -> Self {
        Self {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            code,
            title: title.into(),
            detail: String::new(),
            retry_after: None,
            way_on: None,
        }
    }

    pub(super) fn with(self, detail: impl Into<String>) -> Self {
        Self {
            detail: detail.into(),
            ..self
        }
    }

    /// To be tried again so much later.
    pub(super) fn after(self, seconds: u64) -> Self {
        Self {
            retry_after: Some(seconds),
            ..self
        }
    }

    /// With another link than to a login.
    pub(super) fn towards(self, label: &'static str, url: &str) -> Self {
        Self {
            way_on: Some(Box::new(WayOn {
                label,
                url: url.to_owned(),
            })),
            ..self
        }
    }

    /// Whether it is the gateway's own.
    pub(super) fn is_ours(&self) -> bool {
        self.status.is_server_error()
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// In one line.
    pub(super) fn text(&self) -> String {
        match self.detail.as_str() {
            "" => self.title.clone(),
            detail => format!("{}: {detail}", self.title),
        }
    }

    /// Bad, replayed or expired: whoever it was learns no more.
    pub(super) fn session() -> Self {
        Self::new(400, "invalid_session", "Invalid session").with(
            "This sign-in was used before, took longer than 15 minutes, or was begun in another browser or at another host. Begin again.",
        )
    }

    pub(super) fn unknown_provider(name: &str) -> Self {
        let name: String = name.chars().filter(|c| !c.is_control()).take(60).collect();
        let title = format!("Provider '{name}' not configured");
        Self::new(400, "unknown_provider", title)
    }

    /// A form that is not ours, or was open for too long.
    pub(super) fn form() -> Self {
        Self::new(403, "invalid_form", "This form is no longer good")
            .with("It was sent from another page, or you have signed in or out since. Go back, reload the page and try again.")
    }

    /// A request that did not get as far as a page.
    pub(super) fn of_refusal(refusal: &Refusal) -> Self {
        let words = refusal.reason.words();
        let title = match words.status {
            408 => "This took too long",
            413 => "This is too large",
            503 => "The gateway is busy",
            _ => "This request cannot be read",
        };
        Self::new(words.status, words.reason, title).with(refusal.message.clone())
    }

    pub(super) fn wrong_method() -> Self {
        let title = "This page is not asked like that";
        Self::new(405, "method_not_allowed", title)
    }

    pub(super) fn stopped() -> Self {
        Self::new(503, "stopped", "The gateway is stopping")
    }

    pub(super) fn too_large() -> Self {
        Self::new(413, "body_too_large", "This is too large")
            .with("A form has at most 64 KiB. Go back and send less.")
    }

    /// Not in UTF-8, or cut off.
    pub(super) fn garbled() -> Self {
        Self::new(400, "invalid_form", "This form cannot be read")
            .with("It is not text in UTF-8. Go back, reload the page and try again.")
    }

    pub(super) fn denied(reason: &str) -> Self {
        Self::new(403, "access_denied", "Access denied").with(reason)
    }

    /// Of a login at this provider. What it said is in the log; the person reads what they can act
    /// upon.
    pub(super) fn of_login(error: LoginError, provider: &str, redirect_uri: &str) -> Self {
        match error {
            LoginError::Unreachable(why) => {
                warn!(provider, why, "identity provider not reachable");
                let title = "Failed to connect to identity provider";
                Self::new(502, "provider_unreachable", title).with(format!(
                    "{provider} does not answer as it should; the gateway's log says why. Try again in a moment."
                ))
            }
            LoginError::Exchange(why) => {
                warn!(provider, why, "login failed");
                let title = format!("Authentication with '{provider}' failed");
                Self::new(401, "exchange_failed", title).with(why)
            }
            LoginError::Withdrawn => {
                let title = format!("Authentication with '{provider}' failed");
                Self::new(401, "exchange_failed", title).with(error.to_string())
            }
            LoginError::RedirectUri => {
                warn!(provider, redirect_uri, "the redirect URI is not registered");
                Self::redirect_uri(redirect_uri)
            }
            LoginError::Random(error) => {
                error!(%error, "no randomness");
                Self::internal()
            }
            LoginError::Store(error) => error.into(),
        }
    }

    pub(super) fn nothing_here() -> Self {
        Self::new(404, "unknown_path", "There is no such page")
    }

    /// What the gateway is to blame for. The log says why.
    pub(super) fn internal() -> Self {
        Self::new(500, "internal", "The gateway cannot do that now")
    }

    pub(super) fn redirect_uri(uri: &str) -> Self {
        Self::new(400, "redirect_uri_mismatch", "Redirect URI mismatch").with(format!(
            "Register exactly this redirect URI with the identity provider: {uri}"
        ))
    }

    /// As it was asked for.
    pub(super) fn shown(self, as_json: bool) -> Response {
        let response = match as_json {
            true => self.json(),
            false => self.page(),
        };
        self.on(response)
    }

    /// On a page of operators.
    pub(super) fn shown_to_operator(self) -> Response {
        let (label, url) = self.way_on("Go on", "/admin");
        let response = html(&OperatorsProblemPage {
            title: &self.title,
            detail: &self.detail,
            label,
            url,
        });
        self.on(response)
    }

    fn on(self, mut response: Response) -> Response {
        *response.status_mut() = self.status;
        if let Some(seconds) = self.retry_after {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }

    /// RFC 9457.
    fn json(&self) -> Response {
        let body = json!({
            "type": "about:blank",
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": if self.detail.is_empty() { &self.title } else { &self.detail },
            "code": self.code,
        });
        let mut response = body.to_string().into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }

    fn page(&self) -> Response {
        let (label, url) = self.way_on("Sign in", "/auth/login");
        html(&ProblemPage {
            title: &self.title,
            detail: &self.detail,
            label,
            url,
        })
    }

    fn way_on<'p>(&'p self, label: &'p str, url: &'p str) -> (&'p str, &'p str) {
        let own = self.way_on.as_ref();
        own.map_or((label, url), |own| (own.label, &*own.url))
    }
}

impl IntoResponse for Problem {
    /// The router shows it, which knows how it was asked for.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        error!(%error, "the store fails a login");
        let title = "The gateway's store is unavailable";
        Self::new(503, "storage_unavailable", title)
            .with("Nothing was changed. Try again in a moment.")
    }
}

impl From<SessionError> for Problem {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Store(error) => error.into(),
            SessionError::Over => {
                Self::new(401, "session_over", "Your session is over").with("Sign in again.")
            }
            SessionError::TooMany => Self::new(409, "too_many_tokens", "Too many agent tokens")
                .with(SessionError::TooMany.to_string()),
            SessionError::Random(_) | SessionError::Token(_) => {
                error!(%error, "an agent token cannot be made or changed");
                Self::internal()
            }
        }
    }
}

impl From<SealError> for Problem {
    fn from(error: SealError) -> Self {
        error!(%error, "a refresh token cannot be encrypted");
        Self::internal()
    }
}

impl From<Wait> for Problem {
    fn from(wait: Wait) -> Self {
        let detail = format!(
            "There were many attempts. The next one is possible in {} s.",
            wait.seconds
        );
        Self {
            retry_after: Some(wait.seconds),
            ..Self::new(429, "rate_limited", "Please wait before trying again")
                .with(detail)
                .towards("Try again", "/auth/login")
        }
    }
}
