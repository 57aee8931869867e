//! A token endpoint for service accounts (RFC 7523): it checks what it is told as Google does,
//! and counts how often it is asked.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// The longest that an assertion may last.
const LONGEST: u64 = 3600;

/// What becomes of one question for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// A token that lives for so many seconds, if the assertion is good.
    Token { expires_in: u64 },
    /// 400 `invalid_grant`, with the assertion in its description.
    Refused,
    /// This status, with the assertion in its body.
    Failed(u16),
    /// 200 and no JSON.
    Garbage,
    /// The connection is closed without an answer.
    Cut,
}

/// An endpoint on a port of its own. Dropping it stops it.
pub struct TokenEndpoint {
    addr: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    uri: String,
    /// The issuer's, in DER.
    public_key: Vec<u8>,
    issuer: String,
    state: Mutex<State>,
    /// Answers wait while it is true.
    held: watch::Sender<bool>,
    asked: watch::Sender<usize>,
}

struct State {
    next: VecDeque<Grant>,
    always: Grant,
    /// Seconds since 1970; 0 = whatever the assertions say.
    now: u64,
    issued: Vec<String>,
    assertions: Vec<String>,
    complaints: Vec<&'static str>,
}

impl TokenEndpoint {
    /// Starts on the current runtime. Tokens are given to `issuer`, whose public key this is.
    ///
    /// # Panics
    /// When no port can be bound.
    pub async fn start(issuer: &str, public_key: &[u8]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a test's token endpoint gets its port");
        let addr = listener
            .local_addr()
            .expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            uri: format!("http://{addr}/token"),
            public_key: public_key.to_owned(),
            issuer: issuer.to_owned(),
            state: Mutex::new(State {
                next: VecDeque::new(),
                always: Grant::Token { expires_in: 3600 },
                now: 0,
                issued: Vec::new(),
                assertions: Vec::new(),
                complaints: Vec::new(),
            }),
            held: watch::Sender::new(false),
            asked: watch::Sender::new(0),
        });
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Self {
            addr,
            shared,
            accepting,
        }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// For a service account's `token_uri`.
    pub fn uri(&self) -> &str {
        &self.shared.uri
    }

    /// What the next questions get, one each.
    pub fn script(&self, grants: impl IntoIterator<Item = Grant>) {
        self.shared.lock().next.extend(grants);
    }

    /// What questions get that nothing was scripted for.
    pub fn always(&self, grant: Grant) {
        self.shared.lock().always = grant;
    }

    /// The time by which assertions are judged, in seconds since 1970.
    pub fn set_now(&self, seconds: u64) {
        self.shared.lock().now = seconds;
    }

    /// Keeps answers back until [`release`](Self::release).
    pub fn hold(&self) {
        self.shared.held.send_replace(true);
    }

    pub fn release(&self) {
        self.shared.held.send_replace(false);
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        *self.shared.asked.borrow()
    }

    /// Until [`asked`](Self::asked) is at least `times`.
    pub async fn wait_until_asked(&self, times: usize) {
        let mut asked = self.shared.asked.subscribe();
        // The sender lives in self: it cannot be gone.
        let _ = asked.wait_for(|asked| *asked >= times).await;
    }

    /// The tokens it gave, oldest first.
    pub fn issued(&self) -> Vec<String> {
        self.shared.lock().issued.clone()
    }

    /// The assertions it was told.
    pub fn assertions(&self) -> Vec<String> {
        self.shared.lock().assertions.clone()
    }

    /// What was wrong with questions.
    pub fn complaints(&self) -> Vec<&'static str> {
        self.shared.lock().complaints.clone()
    }
}

impl Drop for TokenEndpoint {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((socket, _)) = accepted else { continue };
                let shared = shared.clone();
                open.spawn(async move {
                    let service = service_fn(|request| answer(shared.clone(), request));
                    let io = TokioIo::new(socket);
                    // Errors are callers that left, and cuts of our own.
                    let _ = http1::Builder::new().serve_connection(io, service).await;
                });
            }
            Some(_) = open.join_next() => {}
        }
    }
}

/// Why a connection ends without an answer.
#[derive(Debug, thiserror::Error)]
#[error("cut")]
struct Cut;

async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Cut> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
    let asked = head.method == Method::POST && head.uri.path() == "/token";
    if !asked {
        return Ok(json_answer(404, &json!({"error": "not_found"})));
    }
    let kind = head.headers.get(header::CONTENT_TYPE);
    let is_form = kind.is_some_and(|kind| kind == "application/x-www-form-urlencoded");
    let form = if is_form { &body[..] } else { b"" };
    shared.asked.send_modify(|asked| *asked += 1);
    let mut held = shared.held.subscribe();
    let _ = held.wait_for(|held| !held).await;
    shared.answer(form)
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, form: &[u8]) -> Result<Response<Full<Bytes>>, Cut> {
        let mut state = self.lock();
        let checked = self.check(&mut state, form);
        if let Err(what) = &checked {
            state.complaints.push(what);
        }
        let said = state.assertions.last().cloned().unwrap_or_default();
        let grant = state.next.pop_front().unwrap_or(state.always);
        let refused = |description: &str| {
            let error = json!({"error": "invalid_grant", "error_description": description});
            Ok(json_answer(400, &error))
        };
        match (grant, checked) {
            (Grant::Token { .. }, Err(what)) => refused(what),
            (Grant::Token { expires_in }, Ok(())) => {
                let token = format!(
                    "ya29.fake-access-token-{}-{}",
                    self.issuer,
                    state.issued.len()
                );
                state.issued.push(token.clone());
                let granted = json!({
                    "access_token": token,
                    "expires_in": expires_in,
                    "token_type": "Bearer",
                });
                Ok(json_answer(200, &granted))
            }
            (Grant::Refused, _) => refused(&format!("refused: {said}")),
            (Grant::Failed(status), _) => Ok(json_answer(status, &json!({"said": said}))),
            (Grant::Garbage, _) => Ok(Response::new(Full::new(format!("<html>{said}").into()))),
            (Grant::Cut, _) => Err(Cut),
        }
    }

    fn check(&self, state: &mut State, form: &[u8]) -> Result<(), &'static str> {
        let form: Vec<_> = url::form_urlencoded::parse(form).collect();
        let field = |name: &str| form.iter().find(|(key, _)| key == name);
        let assertion = field("assertion").map(|(_, value)| value.clone());
        let assertion = assertion.ok_or("there is no assertion")?;
        state.assertions.push(assertion.to_string());
        if field("grant_type").is_none_or(|(_, value)| value != GRANT) {
            return Err("another grant type");
        }
        let (claimed, signature) = assertion.rsplit_once('.').ok_or("no JWT")?;
        let (head, claims) = claimed.split_once('.').ok_or("no JWT")?;
        if decoded(head)?["alg"] != "RS256" {
            return Err("another algorithm");
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| "no base64")?;
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.public_key)
            .verify(claimed.as_bytes(), &signature)
            .map_err(|_| "signed by somebody else")?;
        self.check_claims(&decoded(claims)?, state.now)
    }

    fn check_claims(&self, claims: &Value, now: u64) -> Result<(), &'static str> {
        let number = |name: &str| claims[name].as_u64().unwrap_or(0);
        let (issued, expires) = (number("iat"), number("exp"));
        if claims["iss"] != *self.issuer {
            Err("another issuer")
        } else if claims["aud"] != *self.uri {
            Err("for somebody else")
        } else if claims["scope"] != SCOPE {
            Err("another scope")
        } else if issued == 0 || expires <= issued || expires - issued > LONGEST {
            Err("lasts too long, or not at all")
        } else if now > 0 && !(issued..expires).contains(&now) {
            Err("not valid now")
        } else {
            Ok(())
        }
    }
}

fn decoded(part: &str) -> Result<Value, &'static str> {
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| "no base64")?;
    serde_json::from_slice(&json).map_err(|_| "no JSON")
}

fn json_answer(status: u16, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.to_string().into()));
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    let kind = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
