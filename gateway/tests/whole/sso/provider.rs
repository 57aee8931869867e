//! An OpenID provider on loopback. It does right, unless a test says what it does wrong.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::digest::{SHA256, digest};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use turnpike::clock::Time;
use turnpike_api::Clock;

pub(crate) const CLIENT: &str = "turnpike";
pub(crate) const SECRET: &str = "the-client-secret-CANARY";

/// Makes a token of what it says.
pub(crate) type MakeToken = Box<dyn Fn(&Keys, &Value) -> String + Send>;

/// Changes what the browser is sent back with.
pub(crate) type ChangeBack = Box<dyn Fn(&mut Vec<(String, String)>) + Send>;

/// What it does otherwise than it should.
pub(crate) struct Wrong {
    /// What the ID token says.
    pub(crate) claims: Box<dyn Fn(&mut Value) + Send>,
    /// How the token is made of its claims; `None` = as it should.
    pub(crate) token: Option<MakeToken>,
    /// What the browser brings back.
    pub(crate) back: ChangeBack,
    /// What the token endpoint answers.
    pub(crate) exchange: Option<(u16, String)>,
    /// What the discovery document says.
    pub(crate) document: Box<dyn Fn(&mut Value) + Send>,
    /// What userinfo says; `None` = 404.
    pub(crate) userinfo: Option<Value>,
    /// The keys it publishes; `None` = its own.
    pub(crate) published: Option<Value>,
    /// What a refresh token is answered with; `None` = it grants none.
    pub(crate) renewal: Option<(u16, Value)>,
    /// It is not there.
    pub(crate) away: bool,
}

impl Default for Wrong {
    fn default() -> Self {
        Self {
            claims: Box::new(|_| {}),
            token: None,
            back: Box::new(|_| {}),
            exchange: None,
            document: Box::new(|_| {}),
            userinfo: None,
            published: None,
            renewal: None,
            away: false,
        }
    }
}

/// Its keys, and those that are not its own.
pub(crate) struct Keys {
    pub(crate) own: EcdsaKeyPair,
    pub(crate) foreign: EcdsaKeyPair,
}

impl Keys {
    fn generate() -> Self {
        let pair = || {
            let (random, kind) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
            let document = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
            EcdsaKeyPair::from_pkcs8(kind, document.as_ref(), &random).unwrap()
        };
        Self {
            own: pair(),
            foreign: pair(),
        }
    }

    /// Signs with one of them, under a header.
    pub(crate) fn sign(&self, pair: &EcdsaKeyPair, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        let signature = pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", encoded(signature.as_ref()))
    }

    /// Signs with the public key as if it were a shared secret.
    pub(crate) fn confuse(&self, claims: &Value) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.own.public_key().as_ref());
        let message = message(&json!({"alg": "HS256", "kid": "own"}), claims);
        let signature = hmac::sign(&key, message.as_bytes());
        format!("{message}.{}", encoded(signature.as_ref()))
    }
}

pub(crate) fn message(header: &Value, claims: &Value) -> String {
    let (header, claims) = (header.to_string(), claims.to_string());
    format!(
        "{}.{}",
        encoded(header.as_bytes()),
        encoded(claims.as_bytes())
    )
}

fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn jwk(pair: &EcdsaKeyPair, kid: &str) -> Value {
    let point = pair.public_key().as_ref();
    json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": kid,
        "x": encoded(&point[1..33]), "y": encoded(&point[33..])})
}

/// A code that was given, and what it was given for.
struct Code {
    nonce: String,
    challenge: String,
    redirect_uri: String,
}

pub(crate) struct Idp {
    pub(crate) url: String,
    pub(crate) wrong: Mutex<Wrong>,
    pub(crate) subject: Mutex<String>,
    pub(crate) fetches: AtomicUsize,
    /// The refresh tokens that were presented.
    pub(crate) refreshed: Mutex<Vec<String>>,
    keys: Keys,
    codes: Mutex<HashMap<String, Code>>,
    time: Time,
}

impl Idp {
    pub(crate) async fn start(time: Time) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let idp = Arc::new(Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            wrong: Mutex::default(),
            subject: Mutex::new("ada".into()),
            fetches: AtomicUsize::new(0),
            refreshed: Mutex::default(),
            keys: Keys::generate(),
            codes: Mutex::default(),
            time,
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(document))
            .route(
                "/common/v2.0/.well-known/openid-configuration",
                get(document),
            )
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .route("/keys", get(keys))
            .route("/userinfo", get(userinfo))
            .with_state(idp.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        idp
    }

    pub(crate) fn does(&self, change: impl FnOnce(&mut Wrong)) {
        let mut wrong = Wrong::default();
        change(&mut wrong);
        *self.wrong.lock().unwrap() = wrong;
    }

    /// The key that it signs with, as it publishes it.
    pub(crate) fn published(&self) -> Value {
        jwk(&self.keys.own, "own")
    }

    fn now(&self) -> u64 {
        self.time.now() / 1000
    }

    /// What a good ID token says.
    fn claims(&self, nonce: &str) -> Value {
        let (now, subject) = (self.now(), self.subject.lock().unwrap().clone());
        json!({"iss": self.url, "aud": CLIENT, "sub": subject, "nonce": nonce, "iat": now,
            "exp": now + 300, "email": format!("{subject}@example.com"), "email_verified": true})
    }
}

async fn document(State(idp): State<Arc<Idp>>) -> Response {
    let wrong = idp.wrong.lock().unwrap();
    if wrong.away {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let url = &idp.url;
    let mut document = json!({
        "issuer": url,
        "authorization_endpoint": format!("{url}/authorize"),
        "token_endpoint": format!("{url}/token"),
        "jwks_uri": format!("{url}/keys"),
        "userinfo_endpoint": format!("{url}/userinfo"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
    });
    (wrong.document)(&mut document);
    axum::Json(document).into_response()
}

/// It knows who sits there: the browser is sent back at once.
async fn authorize(State(idp): State<Arc<Idp>>, uri: Uri) -> Response {
    let asked: HashMap<_, _> = pairs(uri.query().unwrap().as_bytes()).into_iter().collect();
    assert_eq!(asked["response_type"], "code");
    assert_eq!(asked["client_id"], CLIENT);
    assert_eq!(asked["code_challenge_method"], "S256");
    assert!(asked["scope"].split(' ').any(|scope| scope == "openid"));
    let number = idp.codes.lock().unwrap().len();
    // As long as a secret, and no other provider's.
    let challenge = &asked["code_challenge"];
    let code = format!("code-{number}-{challenge}");
    let given = Code {
        nonce: asked["nonce"].clone(),
        challenge: asked["code_challenge"].clone(),
        redirect_uri: asked["redirect_uri"].clone(),
    };
    idp.codes.lock().unwrap().insert(code.clone(), given);
    let mut back = vec![
        ("code".to_owned(), code),
        ("state".to_owned(), asked["state"].clone()),
        ("iss".to_owned(), idp.url.clone()),
    ];
    (idp.wrong.lock().unwrap().back)(&mut back);
    let mut url = url::Url::parse(&asked["redirect_uri"]).unwrap();
    url.query_pairs_mut().extend_pairs(back);
    (StatusCode::FOUND, [(header::LOCATION, url.to_string())]).into_response()
}

async fn token(State(idp): State<Arc<Idp>>, headers: HeaderMap, body: Bytes) -> Response {
    let wrong = idp.wrong.lock().unwrap();
    if let Some((status, answer)) = &wrong.exchange {
        let status = StatusCode::from_u16(*status).unwrap();
        return (
            status,
            [(header::LOCATION, format!("{}/keys", idp.url))],
            answer.clone(),
        )
            .into_response();
    }
    let said: HashMap<_, _> = pairs(&body).into_iter().collect();
    let basic = format!("Basic {}", STANDARD.encode(format!("{CLIENT}:{SECRET}")));
    assert_eq!(headers[header::AUTHORIZATION], *basic);
    if said["grant_type"] == "refresh_token" {
        let (status, mut answer) = wrong.renewal.clone().unwrap();
        if answer["id_token"] == "signed" {
            let mut claims = idp.claims("");
            (wrong.claims)(&mut claims);
            let header = json!({"alg": "ES256", "kid": "own"});
            answer["id_token"] = idp.keys.sign(&idp.keys.own, &header, &claims).into();
        }
        let presented = said["refresh_token"].clone();
        idp.refreshed.lock().unwrap().push(presented);
        return (StatusCode::from_u16(status).unwrap(), axum::Json(answer)).into_response();
    }
    assert_eq!(said["grant_type"], "authorization_code");
    // A code is good once, and with its verifier only.
    let code = idp.codes.lock().unwrap().remove(&said["code"]);
    let fits = |code: &Code| {
        let challenge = encoded(digest(&SHA256, said["code_verifier"].as_bytes()).as_ref());
        code.challenge == challenge && code.redirect_uri == said["redirect_uri"]
    };
    let Some(code) = code.filter(fits) else {
        let answer = json!({"error": "invalid_grant", "error_description": "no such code"});
        return (StatusCode::BAD_REQUEST, axum::Json(answer)).into_response();
    };
    let mut claims = idp.claims(&code.nonce);
    (wrong.claims)(&mut claims);
    let token = match &wrong.token {
        Some(make) => make(&idp.keys, &claims),
        None => idp.keys.sign(
            &idp.keys.own,
            &json!({"alg": "ES256", "kid": "own"}),
            &claims,
        ),
    };
    let mut answer = json!({"access_token": "access-CANARY", "token_type": "Bearer"});
    if wrong.renewal.is_some() {
        answer["refresh_token"] = "refresh-1-CANARY".into();
    }
    if !token.is_empty() {
        answer["id_token"] = token.into();
    }
    axum::Json(answer).into_response()
}

async fn keys(State(idp): State<Arc<Idp>>) -> Response {
    idp.fetches.fetch_add(1, Ordering::Relaxed);
    let wrong = idp.wrong.lock().unwrap();
    let own = || json!({"keys": [idp.published()]});
    axum::Json(wrong.published.clone().unwrap_or_else(own)).into_response()
}

async fn userinfo(State(idp): State<Arc<Idp>>, headers: HeaderMap) -> Response {
    assert_eq!(headers[header::AUTHORIZATION], "Bearer access-CANARY");
    match &idp.wrong.lock().unwrap().userinfo {
        Some(said) => axum::Json(said.clone()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn pairs(text: &[u8]) -> Vec<(String, String)> {
    url::form_urlencoded::parse(text).into_owned().collect()
}
