//! Tokens that an issuer signs, checked with the keys it publishes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use turnpike_loadtest::{FakeProvider, Options};

use crate::calls::{CHAT, post_with};
use crate::harness::{Answer, Client, House, Http};

/// A key of an issuer.
pub(crate) struct Key {
    id: &'static str,
    pair: EcdsaKeyPair,
}

impl Key {
    pub(crate) fn new(id: &'static str) -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
        let document = document.unwrap();
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random);
        Self {
            id,
            pair: pair.unwrap(),
        }
    }

    /// As it is published. A point is 4, x, y.
    fn published(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        json!({
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.id,
            "x": encoded(&point[1..33]), "y": encoded(&point[33..]),
        })
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        let header = json!({"alg": "ES256", "typ": "JWT", "kid": self.id});
        let message = format!(
            "{}.{}",
            encoded(header.to_string().as_bytes()),
            encoded(claims.to_string().as_bytes())
        );
        let signature = self.pair.sign(&SystemRandom::new(), message.as_bytes());
        format!("{message}.{}", encoded(signature.unwrap().as_ref()))
    }
}

fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// An issuer on loopback, which says where its keys are.
pub(crate) struct Issuer {
    pub(crate) url: String,
    pub(crate) keys: Arc<Mutex<Option<Vec<Value>>>>,
    fetches: Arc<AtomicUsize>,
}

impl Issuer {
    pub(crate) async fn publishing(key: &Key) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/realm", listener.local_addr().unwrap());
        let keys = Arc::new(Mutex::new(Some(vec![key.published()])));
        let fetches = Arc::<AtomicUsize>::default();
        let document = json!({"issuer": url, "jwks_uri": format!("{url}/keys?of=today")});
        let (published, counted) = (keys.clone(), fetches.clone());
        let router = Router::new()
            .route(
                "/realm/.well-known/openid-configuration",
                get(async move || document.to_string()),
            )
            .route(
                "/realm/keys",
                get(async move || {
                    counted.fetch_add(1, Ordering::Relaxed);
                    let keys = published.lock().unwrap().clone();
                    let keys = keys.ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
                    Ok::<_, StatusCode>(json!({ "keys": keys }).to_string())
                }),
            );
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, keys, fetches }
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::Relaxed)
    }

    /// What a good token of it says.
    pub(crate) fn claims(&self) -> Value {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        json!({
            "iss": self.url, "aud": ["other", "turnpike"], "azp": "turnpike", "sub": "u-1",
            "email": "ada@example.com", "email_verified": true, "iat": now, "exp": now + 600,
        })
    }
}

/// A gateway that takes the issuer's tokens.
struct Place {
    provider: FakeProvider,
    house: House,
}

impl Place {
    async fn trusting(issuer: &Issuer, more: &str) -> Self {
        let provider = FakeProvider::start(Options::default()).await;
        let house = House::serve(&format!(
            "server: {{port: 0}}\nadmin: {{port: 0}}\n\
             jwt: {{issuers: [{{issuer: \"{}\", audience: [turnpike]{more}}}]}}\n\
             providers: {{openai: {{base_url: \"{}/v1\", credentials: [{{api_key: sk-upstream}}]}}}}\n",
            issuer.url,
            provider.base_url(),
        ))
        .await;
        Self { provider, house }
    }

    async fn ask(&self, token: &str) -> Answer {
        let mut client = Client::connect(&self.house, Http::One).await;
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", &*bearer)];
        post_with(&mut client, CHAT.path, &headers, CHAT.body).await
    }
}

#[tokio::test]
async fn a_signed_token_is_taken_and_its_issuer_asked_once() {
    let key = Key::new("one");
    let issuer = Issuer::publishing(&key).await;
    let place = Place::trusting(&issuer, "").await;
    let token = key.sign(&issuer.claims());
    for _ in 0..3 {
        let answer = place.ask(&token).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert!(
        place
            .provider
            .calls()
            .iter()
            .all(|call| call.key == "sk-upstream")
    );
    let fetched = r#"turnpike_issuer_key_fetches_total{result="ok"}"#;
    assert_eq!(place.house.metric(fetched), 1.0);
    // Another configuration that does not change the issuer keeps what is known of it.
    place.house.gateway.reloader.reload().unwrap();
    assert_eq!(place.ask(&token).await.status, 200);
    // Nobody makes it ask again by making up keys.
    for _ in 0..20 {
        let stranger = Key::new("made-up").sign(&issuer.claims());
        let answer = place.ask(&stranger).await;
        assert_eq!(answer.status, 401, "{}", answer.text());
        assert!(answer.text().contains("not known here"));
    }
    assert_eq!(issuer.fetches(), 1);
    // Without a credential nobody is let in: a gateway that trusts an issuer is not open.
    let mut client = Client::connect(&place.house, Http::One).await;
    let answer = post_with(&mut client, CHAT.path, &[], CHAT.body).await;
    assert_eq!(answer.status, 401);
}

#[tokio::test]
async fn a_token_that_is_not_for_us_or_not_for_now_says_so() {
    let key = Key::new("one");
    let issuer = Issuer::publishing(&key).await;
    let place = Place::trusting(&issuer, ", jwks_url: null").await;
    let with = |name: &str, value: Value| {
        let mut claims = issuer.claims();
        claims[name] = value;
        key.sign(&claims)
    };
    for (token, said) in [
        (with("aud", json!("another")), "another audience"),
        (with("exp", json!(1)), "expired"),
        (with("sub", json!("")), "whose it is"),
        // Somebody else's, who is not trusted: a key like any other that nobody has.
        (
            with("iss", json!("https://idp.example.com")),
            "not known here",
        ),
    ] {
        let answer = place.ask(&token).await;
        assert_eq!(answer.status, 401);
        assert!(answer.text().contains(said), "{said}: {}", answer.text());
        assert!(!answer.text().contains(&token));
    }
    // Who makes one up is told what everybody is told who guesses.
    let refusal = async |token: &str| {
        let answer = place.ask(token).await;
        let of_each = ["date", "x-request-id", "x-turnpike-decision"];
        let headers = (answer.headers.iter()).filter(|(name, _)| !of_each.contains(&name.as_str()));
        let headers: Vec<_> = headers
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        (answer.status, headers, answer.text().to_owned())
    };
    let guessed = refusal("a-key-that-nobody-has").await;
    assert_eq!(guessed.0, 401);
    let forged = Key::new("one").sign(&issuer.claims());
    assert_eq!(refusal(&forged).await, guessed);
    assert_eq!(refusal(&forged).await, guessed, "now that it is known");
    assert_eq!(
        refusal(&Key::new("two").sign(&issuer.claims())).await,
        guessed
    );
    assert_eq!(place.provider.count(), 0);
}

#[tokio::test]
async fn an_issuer_that_is_away_is_no_fault_of_the_token() {
    let key = Key::new("one");
    let issuer = Issuer::publishing(&key).await;
    *issuer.keys.lock().unwrap() = None;
    let place = Place::trusting(&issuer, "").await;
    let answer = place.ask(&key.sign(&issuer.claims())).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(
        answer.text().contains("keys cannot be fetched now"),
        "{}",
        answer.text()
    );
    assert_eq!(answer.header("retry-after"), Some("1"));
}
