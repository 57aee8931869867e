//! Calls of the gateway's own: nobody waits for their answers, and they cost nothing.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use memchr::memmem;
use pingora::http::RequestHeader;
use pingora::protocols::http::client::HttpSession;
use pingora::protocols::http::v1::client::HttpSession as Http1;
use pingora::time::timeout;
use thiserror::Error;

use super::credential::Credential;
use super::{Connection, Connections, Endpoint};
use crate::runtime::Runtime;

/// No list of models or token is longer.
const LONGEST: usize = 4 << 20;

/// How long one call may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A request of ours.
pub struct Request<'r> {
    pub method: Method,
    /// With the base URL's path.
    pub path: &'r str,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body: Bytes,
}

/// An answer to it.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Why there is none. The texts hold nothing of the request.
#[derive(Debug, Error)]
pub enum CallError {
    #[error("{endpoint} cannot be called: {why}")]
    Broken { endpoint: String, why: String },
    /// It answered that the account is not good, and will not be by itself.
    #[error("{endpoint} gives no token: {why}")]
    Refused { endpoint: String, why: String },
    #[error("{endpoint} did not answer within {} s", PATIENCE.as_secs())]
    TimedOut { endpoint: String },
    #[error("the answer of {endpoint} is larger than 4 MiB")]
    TooLong { endpoint: String },
}

/// What a provider said when it was asked for its models.
pub enum Listed {
    /// The credential is good; this is the list.
    Good(Bytes),
    /// With this status it refused.
    Refused(u16),
    Broken(CallError),
}

/// Asks for the models, with a credential.
pub async fn model_list(runtime: &Runtime, credential: &Credential, path: &str) -> Listed {
    let access = match credential.access(runtime).await {
        Ok(access) => access,
        Err(error) => return Listed::Broken(error),
    };
    let path = format!("{}{path}", credential.endpoint.base_path());
    let defaults = credential.vendor.plugin.default_headers();
    let defaults = defaults.iter().map(|&(name, value)| {
        let name = HeaderName::from_static(name);
        (name, HeaderValue::from_static(value))
    });
    let own = access.headers.iter().chain(&credential.headers).cloned();
    let request = Request {
        method: Method::GET,
        path: &path,
        headers: defaults.chain(own).collect(),
        body: Bytes::new(),
    };
    match send(&runtime.connections, &credential.endpoint, request).await {
        Ok(answer) if (200..300).contains(&answer.status) => Listed::Good(answer.body),
        Ok(answer) => Listed::Refused(answer.status),
        Err(error) => Listed::Broken(error),
    }
}

/// Whether a list of models, in whichever dialect, names this one.
pub fn lists(list: &[u8], model: &str) -> bool {
    // As a whole string, or as its last segment (`models/gemini-2.5-pro`).
    let end = format!("{model}\"");
    memmem::find_iter(list, end.as_bytes()).any(|at| at > 0 && matches!(list[at - 1], b'"' | b'/'))
}

/// Sends a request on a connection of its own, and reads all of the answer.
pub async fn send(
    connections: &Connections,
    endpoint: &Endpoint,
    request: Request<'_>,
) -> Result<Answer, CallError> {
    let talk = talk(connections, endpoint, request, Connect::Anew);
    in_time(endpoint, talk).await
}

/// The same for one of many: on a connection that has served before, where there is one. What it sends
/// may arrive twice.
pub async fn send_again(
    connections: &Connections,
    endpoint: &Endpoint,
    request: Request<'_>,
) -> Result<Answer, CallError> {
    let again = Request {
        method: request.method.clone(),
        path: request.path,
        headers: request.headers.clone(),
        body: request.body.clone(),
    };
    let kept = talk(connections, endpoint, request, Connect::IfThereIsNone);
    match in_time(endpoint, kept).await {
        // It may have been closed meanwhile, which tells nothing.
        Err(CallError::Broken { .. }) => send(connections, endpoint, again).await,
        answered => answered,
    }
}

/// Which connection is used.
#[derive(PartialEq, Eq)]
enum Connect {
    Anew,
    IfThereIsNone,
}

async fn in_time(
    endpoint: &Endpoint,
    talk: impl Future<Output = pingora::Result<Option<Answer>>>,
) -> Result<Answer, CallError> {
    let name = || endpoint.to_string();
    match timeout(PATIENCE, talk).await {
        Err(_) => Err(CallError::TimedOut { endpoint: name() }),
        Ok(Ok(Some(answer))) => Ok(answer),
        Ok(Ok(None)) => Err(CallError::TooLong { endpoint: name() }),
        Ok(Err(error)) => Err(CallError::Broken {
            endpoint: name(),
            why: error.to_string(),
        }),
    }
}

/// `None` when the answer is too long.
async fn talk(
    connections: &Connections,
    endpoint: &Endpoint,
    request: Request<'_>,
    connect: Connect,
) -> pingora::Result<Option<Answer>> {
    let head = head(endpoint, &request)?;
    // A new one tells of the way there, too; and one that was closed meanwhile would tell of nothing.
    let (connection, _) = connections.get(endpoint, connect == Connect::Anew).await?;
    let mut session: HttpSession<()> = match connection {
        Connection::H1(stream) => HttpSession::H1(Http1::new_with_options(stream, endpoint)),
        Connection::H2(stream) => HttpSession::H2(*stream),
    };
    session.write_request_header(head).await?;
    if !request.body.is_empty() {
        session.write_request_body(request.body, true).await?;
    }
    session.finish_request_body().await?;
    session.read_response_header().await?;
    let head = session.response_header();
    let (status, headers) = head.map_or_else(Default::default, |head| {
        (head.status.as_u16(), head.headers.clone())
    });
    let mut body = BytesMut::new();
    while let Some(piece) = session.read_response_body().await? {
        if body.len() + piece.len() > LONGEST {
            session.shutdown().await;
            return Ok(None);
        }
        body.extend_from_slice(&piece);
    }
    connections.keep(session, endpoint);
    Ok(Some(Answer {
        status,
        headers,
        body: body.freeze(),
    }))
}

fn head(endpoint: &Endpoint, request: &Request<'_>) -> pingora::Result<Box<RequestHeader>> {
    let method = request.method.clone();
    let mut head = RequestHeader::build_no_case(method, request.path.as_bytes(), Some(12))?;
    head.insert_header(header::HOST, endpoint.host())?;
    head.insert_header(
        header::USER_AGENT,
        concat!("turnpike/", env!("CARGO_PKG_VERSION")),
    )?;
    head.insert_header(header::ACCEPT, "application/json")?;
    head.insert_header(header::ACCEPT_ENCODING, "identity")?;
    for (name, value) in &request.headers {
        head.append_header(name.clone(), value.clone())?;
    }
    if request.method == Method::POST {
        head.insert_header(header::CONTENT_LENGTH, request.body.len())?;
    }
    Ok(Box::new(head))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_found_in_every_dialects_list() {
        for list in [
            r#"{"data":[{"id":"gpt-4o"},{"id":"gpt-4o-mini"}]}"#,
            r#"{"models":[{"name":"models/gpt-4o"}]}"#,
        ] {
            assert!(lists(list.as_bytes(), "gpt-4o"), "{list}");
            assert!(!lists(list.as_bytes(), "gpt-4"), "{list}");
            assert!(!lists(list.as_bytes(), "4o"), "{list}");
        }
    }
}
