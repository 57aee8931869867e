//! What a program calls that has no browser to log in with (F28): the device authorization grant
//! (RFC 8628), and the metadata by which it is found (RFC 8414).

use std::net::IpAddr;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tracing::{error, info};
use turnpike_api::StoreError;
use turnpike_audit::events::Token;
use turnpike_identity::agent_tokens;
use turnpike_identity::sso::device::{self, Approved, Asking, BeginError, INTERVAL, LASTS, Polled};
use turnpike_identity::sso::{Session, Wait, session};

use super::Shared;
use super::desk::{self, Desk};
use super::form::{Form, is_form, is_text};
use super::issue::{Failed, issue};
use crate::audit::person;
use crate::upstream::roll::time;

/// Where the metadata is.
pub(super) const METADATA: &str = "/.well-known/oauth-authorization-server";

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// `GET /.well-known/oauth-authorization-server`.
pub(super) async fn metadata(desk: Desk, State(_): State<Shared>) -> Json<Value> {
    let url = &desk.site.public_url;
    Json(json!({
        "issuer": url,
        "device_authorization_endpoint": format!("{url}/oauth/device_authorization"),
        "token_endpoint": format!("{url}/oauth/token"),
        "grant_types_supported": [GRANT],
        // Browsers are sent to the identity provider, by nobody but us.
        "response_types_supported": [],
        "token_endpoint_auth_methods_supported": ["none"],
    }))
}

/// `POST /oauth/device_authorization`.
pub(super) async fn authorize_device(
    desk: Desk,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let form = read(&headers, &body)?;
    let asking = Asking {
        client_id: client_id(&form)?.to_owned(),
        agent: agent(&form)?,
        address: desk.client.to_string(),
        tenant: desk.tenant.name().map(str::to_owned),
    };
    // A scope is taken as it comes: a token may do what its person may, and nothing narrows it.
    desk.count_one(&counted_as(desk.client), desk.somebody())
        .await??;
    let begun = device::begin(asking, &desk.sso.seals, desk.store(), desk.now).await?;
    let (url, code) = (&desk.site.public_url, begun.user_code.shown());
    Ok(Json(json!({
        "device_code": begun.device_code.expose(),
        "user_code": code,
        "verification_uri": format!("{url}/auth/device"),
        "verification_uri_complete": format!("{url}/auth/device?user_code={code}"),
        "expires_in": LASTS.as_secs(),
        "interval": INTERVAL,
    }))
    .into_response())
}

/// `POST /oauth/token`.
pub(super) async fn token(
    desk: Desk,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let form = read(&headers, &body)?;
    match form.get("grant_type") {
        "" => return Err(Refusal::request("`grant_type` is missing, or there twice")),
        GRANT => {}
        _ => {
            let why = format!("the only grant here is {GRANT}");
            return Err(Refusal::new("unsupported_grant_type", why));
        }
    }
    let client = client_id(&form)?;
    let code = match form.get("device_code") {
        "" => return Err(Refusal::request("`device_code` is missing, or there twice")),
        code => code,
    };
    let asking = (client, desk.tenant.name());
    let polled = device::poll(code, asking, &desk.sso.seals, desk.store(), desk.now);
    match polled.await? {
        Polled::Approved(approved, address) => give(&desk, &approved, &address, client).await,
        Polled::Pending => Err(Refusal::new(
            "authorization_pending",
            "the person has not answered yet",
        )),
        Polled::SlowDown => Err(Refusal::new(
            "slow_down",
            "too quick: from now on wait 5 s longer between two requests",
        )),
        Polled::Denied => Err(Refusal::new("access_denied", "the person said no")),
        Polled::Expired => Err(Refusal::new(
            "expired_token",
            "nobody answered in time: begin again",
        )),
        Polled::Unknown => Err(Refusal::new(
            "invalid_grant",
            "there is no such device code for this client, or its token was given already",
        )),
    }
}

/// Makes the token. Nobody else can have it: this poll has taken the login away.
async fn give(
    desk: &Desk,
    approved: &Approved,
    address: &str,
    client_id: &str,
) -> Result<Response, Refusal> {
    let session = of(desk, approved).await.map_err(Refusal::for_good)?;
    let issued = issue(desk, &session, &approved.name).await;
    let issued = issued.map_err(|failed| Refusal::from(failed).for_good())?;
    if let Ok(address) = address.parse() {
        let rate = desk.sso.rate;
        let cleared = rate.clear(desk.store(), &counted_as(address)).await;
        // There is a token, and it is to be handed over.
        cleared.unwrap_or_else(|error| error!(%error, "a device's attempts stay counted"));
    }
    desk.runtime.audit.tell(&Token {
        change: "issued",
        token_id: &issued.record.id,
        who: person(&session.person),
        client: Some(desk.client),
        program: Some(client_id),
    });
    info!(
        person = session.person.shown(),
        token = issued.record.id,
        client = %desk.client,
        client_id,
        "agent token made for a device"
    );
    Ok(Json(json!({
        "access_token": issued.token.expose(),
        "token_type": "Bearer",
        "token_id": issued.record.id,
        "token_name": issued.record.name,
        "person": session.person.shown(),
        // The token itself has no end: it works again after the next login.
        "session_expires_at": time(session.expires_at),
    }))
    .into_response())
}

/// The session that said yes, unless it is over.
async fn of(desk: &Desk, approved: &Approved) -> Result<Session, Refusal> {
    let found = session::find(desk.store(), &approved.person).await?;
    let session = found.map(|(session, _)| session);
    session
        .filter(|session| session.is_live(desk.now) && approved.is_by(session))
        .ok_or_else(|| {
            let why = "the person's session is over since they said yes";
            Refusal::new("access_denied", why)
        })
}

/// What a request of an address for codes is counted under: apart from the logins of the people
/// there.
fn counted_as(address: IpAddr) -> String {
    format!("device {}", desk::counted_as(address))
}

/// A body as RFC 6749 wants it.
fn read(headers: &HeaderMap, body: &[u8]) -> Result<Form, Refusal> {
    match is_form(headers) && is_text(body) {
        true => Ok(Form::read(body)),
        false => Err(Refusal::request(
            "the body must be of the type application/x-www-form-urlencoded, in UTF-8",
        )),
    }
}

/// Any short name: whoever asks has to be believed it, or not, by the person.
fn client_id(form: &Form) -> Result<&str, Refusal> {
    let id = form.get("client_id");
    let is_name = id.len() <= 100 && id.bytes().all(|byte| byte.is_ascii_graphic());
    match id {
        "" => Err(Refusal::request("`client_id` is missing, or there twice")),
        id if is_name => Ok(id),
        _ => Err(Refusal {
            status: StatusCode::UNAUTHORIZED,
            ..Refusal::new(
                "invalid_client",
                "`client_id` is a name of 1 to 100 visible ASCII characters",
            )
        }),
    }
}

fn agent(form: &Form) -> Result<Option<String>, Refusal> {
    match form.get("agent") {
        "" => Ok(None),
        text => match agent_tokens::name(text) {
            Ok(name) => Ok(Some(name.to_owned())),
            Err(_) => Err(Refusal::request(
                "`agent` has 1 to 100 printable characters",
            )),
        },
    }
}

/// An error as RFC 6749, section 5.2, has it.
pub(super) struct Refusal {
    status: StatusCode,
    error: &'static str,
    why: String,
    retry_after: Option<u64>,
}

impl Refusal {
    fn new(error: &'static str, why: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            error,
            why: why.into(),
            retry_after: None,
        }
    }

    fn request(why: &str) -> Self {
        Self::new("invalid_request", why)
    }

    /// Not the caller's fault.
    fn later(status: StatusCode, why: impl Into<String>, seconds: u64) -> Self {
        Self {
            status,
            retry_after: Some(seconds),
            ..Self::new("temporarily_unavailable", why)
        }
    }

    /// The yes is used up: to ask again would be in vain.
    fn for_good(self) -> Self {
        let why = format!("{}; the login has to be begun anew", self.why);
        Self::new("access_denied", why)
    }

    fn internal() -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            ..Self::new("server_error", "the gateway cannot do that now")
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({"error": self.error, "error_description": self.why});
        let mut response = (self.status, Json(body)).into_response();
        if let Some(seconds) = self.retry_after {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl From<Wait> for Refusal {
    fn from(Wait { seconds }: Wait) -> Self {
        let why = format!("Please wait before trying again: {seconds} s");
        Self::later(StatusCode::TOO_MANY_REQUESTS, why, seconds)
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        error!(%error, "the store fails a device's login");
        let why = "the gateway's store is unavailable";
        Self::later(StatusCode::SERVICE_UNAVAILABLE, why, 5)
    }
}

impl From<BeginError> for Refusal {
    fn from(failure: BeginError) -> Self {
        match failure {
            BeginError::Store(error) => error.into(),
            BeginError::Full => {
                error!("too many devices are waiting to be let in");
                let why = "too many devices are waiting: try again in a minute";
                Self::later(StatusCode::SERVICE_UNAVAILABLE, why, 60)
            }
            BeginError::Random(error) => {
                error!(%error, "no randomness");
                Self::internal()
            }
        }
    }
}

impl From<Failed> for Refusal {
    fn from(failed: Failed) -> Self {
        match failed {
            // It was looked at when the person said yes.
            Failed::Name => Self::internal(),
            Failed::Problem(problem) if problem.is_ours() => {
                Self::later(problem.status(), problem.text(), 5)
            }
            Failed::Problem(problem) => Self::new("access_denied", problem.text()),
        }
    }
}
