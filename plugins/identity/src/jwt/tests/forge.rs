//! Keys, tokens made with them, an issuer that publishes them, and a clock that stands.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use futures::FutureExt;
use futures::future::BoxFuture;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384,
    RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaKeyPair,
};
use rsa::pkcs1::EncodeRsaPrivateKey;
use rsa::pkcs8::{EncodePublicKey, LineEnding};
use rsa::traits::PublicKeyParts;
use serde_json::{Map, Value, json};
use turnpike_api::Clock;

use crate::jwt::{
    Algorithm, Claims, FetchError, FetchKeys, Issuer, JwtVerifier, KeyCache, Refused,
    SignatureChecks,
};

pub(super) const ISSUER: &str = "https://idp.example.com";
pub(super) const AUDIENCE: &str = "turnpike";
/// In seconds.
pub(super) const NOW: u64 = 1_800_000_000;

pub(super) static KEYS: LazyLock<Keys> = LazyLock::new(Keys::generate);

pub(super) struct Keys {
    pub rsa: Rsa,
    pub other_rsa: Rsa,
    pub p256: Ec,
    pub p384: Ec,
    pub ed25519: Ed25519KeyPair,
}

pub(super) struct Rsa {
    pair: RsaKeyPair,
    pub n: Vec<u8>,
    pub e: Vec<u8>,
    pub der: Vec<u8>,
    pub pem: String,
}

pub(super) struct Ec {
    pair: EcdsaKeyPair,
    curve: &'static str,
}

impl Keys {
    fn generate() -> Self {
        let random = SystemRandom::new();
        let ed25519 = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        Self {
            rsa: Rsa::generate(),
            other_rsa: Rsa::generate(),
            p256: Ec::generate("P-256", &ECDSA_P256_SHA256_FIXED_SIGNING),
            p384: Ec::generate("P-384", &ECDSA_P384_SHA384_FIXED_SIGNING),
            ed25519: Ed25519KeyPair::from_pkcs8(ed25519.as_ref()).unwrap(),
        }
    }

    /// All of them but the other RSA key, as their issuer publishes them.
    pub(super) fn published(&self) -> Value {
        json!({"keys": [
            self.rsa.jwk("rsa"),
            self.p256.jwk("p256"),
            self.p384.jwk("p384"),
            self.ed_jwk("ed"),
        ]})
    }

    pub(super) fn ed_jwk(&self, kid: &str) -> Value {
        let x = BASE64.encode(self.ed25519.public_key());
        json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x})
    }
}

impl Rsa {
    fn generate() -> Self {
        let private = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).unwrap();
        let public = private.to_public_key();
        Self {
            pair: RsaKeyPair::from_der(private.to_pkcs1_der().unwrap().as_bytes()).unwrap(),
            n: public.n().to_bytes_be(),
            e: public.e().to_bytes_be(),
            der: public.to_public_key_der().unwrap().into_vec(),
            pem: public.to_public_key_pem(LineEnding::LF).unwrap(),
        }
    }

    pub(super) fn jwk(&self, kid: &str) -> Value {
        json!({"kty": "RSA", "use": "sig", "kid": kid,
            "n": BASE64.encode(&self.n), "e": BASE64.encode(&self.e)})
    }

    /// A token whose parts were written by hand.
    pub(super) fn signed_message(&self, message: &str) -> String {
        with_signature(message, &self.sign("RS256", message.as_bytes()))
    }

    fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let scheme: &dyn ring::signature::RsaEncoding = match algorithm {
            "RS384" => &RSA_PKCS1_SHA384,
            "RS512" => &RSA_PKCS1_SHA512,
            "PS256" => &RSA_PSS_SHA256,
            "PS384" => &RSA_PSS_SHA384,
            "PS512" => &RSA_PSS_SHA512,
            _ => &RSA_PKCS1_SHA256,
        };
        let mut signature = vec![0; self.pair.public().modulus_len()];
        (self.pair)
            .sign(scheme, &SystemRandom::new(), message, &mut signature)
            .unwrap();
        signature
    }
}

impl Ec {
    fn generate(curve: &'static str, algorithm: &'static EcdsaSigningAlgorithm) -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self {
            pair: EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap(),
            curve,
        }
    }

    pub(super) fn jwk(&self, kid: &str) -> Value {
        let point = &self.pair.public_key().as_ref()[1..];
        let (x, y) = point.split_at(point.len() / 2);
        json!({"kty": "EC", "crv": self.curve, "kid": kid, "use": "sig",
            "x": BASE64.encode(x), "y": BASE64.encode(y)})
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature = self.pair.sign(&SystemRandom::new(), message).unwrap();
        signature.as_ref().to_vec()
    }
}

/// A token in the making: good, until something about it is changed.
#[derive(Clone)]
pub(super) struct Token {
    pub header: Map<String, Value>,
    pub claims: Map<String, Value>,
}

fn map(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

pub(super) fn token() -> Token {
    Token {
        header: map(json!({"alg": "RS256", "kid": "rsa", "typ": "JWT"})),
        claims: map(json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": "u-1", "email": "ann@example.com",
            "iat": NOW, "exp": NOW + 3600,
        })),
    }
}

impl Token {
    pub(super) fn header(mut self, name: &str, value: Value) -> Self {
        self.header.insert(name.into(), value);
        self
    }

    pub(super) fn claim(mut self, name: &str, value: Value) -> Self {
        self.claims.insert(name.into(), value);
        self
    }

    pub(super) fn without(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self.header.remove(name);
        self
    }

    pub(super) fn message(&self) -> String {
        let part = |map: &Map<String, Value>| BASE64.encode(serde_json::to_vec(map).unwrap());
        format!("{}.{}", part(&self.header), part(&self.claims))
    }

    /// Signed as its header says, with the key of that kind.
    pub(super) fn signed(&self) -> String {
        let algorithm = self.header["alg"].as_str().unwrap_or_default();
        self.signed_by(|message| match algorithm {
            "ES256" => KEYS.p256.sign(message),
            "ES384" => KEYS.p384.sign(message),
            "EdDSA" => KEYS.ed25519.sign(message).as_ref().to_vec(),
            _ => KEYS.rsa.sign(algorithm, message),
        })
    }

    pub(super) fn signed_with(&self, key: &Rsa) -> String {
        self.signed_by(|message| key.sign("RS256", message))
    }

    /// As one does who takes a public key for a secret.
    pub(super) fn signed_with_secret(&self, secret: &[u8]) -> String {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
        self.signed_by(|message| ring::hmac::sign(&key, message).as_ref().to_vec())
    }

    pub(super) fn signed_by(&self, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
        with_signature(&self.message(), &sign(self.message().as_bytes()))
    }
}

pub(super) fn with_signature(message: &str, signature: &[u8]) -> String {
    format!("{message}.{}", BASE64.encode(signature))
}

pub(super) fn encoded(part: impl AsRef<[u8]>) -> String {
    BASE64.encode(part)
}

pub(super) fn decoded(part: &str) -> Vec<u8> {
    BASE64.decode(part).unwrap()
}

/// Stands until it is moved.
pub(super) struct Stopped(AtomicU64);

impl Stopped {
    pub(super) fn at(seconds: u64) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(seconds * 1000)))
    }

    pub(super) fn forward(&self, seconds: u64) {
        self.0.fetch_add(seconds * 1000, Ordering::SeqCst);
    }

    pub(super) fn back(&self, seconds: u64) {
        self.0.fetch_sub(seconds * 1000, Ordering::SeqCst);
    }
}

impl Clock for Stopped {
    fn now(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// An issuer's key endpoint.
pub(super) struct Endpoint {
    answer: Mutex<Answered>,
    fetches: AtomicUsize,
}

/// What the endpoint does when it is asked.
#[derive(Clone)]
pub(super) enum Answered {
    With(Vec<u8>),
    WithNothing,
    Never,
    InPanic,
    /// When the other end is done.
    When(futures::future::Shared<BoxFuture<'static, Vec<u8>>>),
}

impl Endpoint {
    pub(super) fn serving(keys: &Value) -> Arc<Self> {
        Arc::new(Self {
            answer: Mutex::new(Answered::With(keys.to_string().into_bytes())),
            fetches: AtomicUsize::new(0),
        })
    }

    pub(super) fn serve(&self, keys: &Value) {
        self.answer(Answered::With(keys.to_string().into_bytes()));
    }

    pub(super) fn answer(&self, answer: Answered) {
        *self.answer.lock().unwrap() = answer;
    }

    pub(super) fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }
}

impl FetchKeys for Endpoint {
    fn fetch(&self) -> BoxFuture<'_, Result<Vec<u8>, FetchError>> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        let answer = self.answer.lock().unwrap().clone();
        async move {
            match answer {
                Answered::With(document) => Ok(document),
                Answered::WithNothing => Err(FetchError("status 503".into())),
                Answered::Never => std::future::pending().await,
                Answered::InPanic => panic!("the fetcher panicked, as the test asks"),
                Answered::When(document) => Ok(document.await),
            }
        }
        .boxed()
    }
}

/// An issuer, its endpoint and a clock.
pub(super) struct Bench {
    pub clock: Arc<Stopped>,
    pub endpoint: Arc<Endpoint>,
    pub keys: Arc<KeyCache>,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::publishing(&KEYS.published())
    }

    pub(super) fn publishing(keys: &Value) -> Self {
        let clock = Stopped::at(NOW);
        let endpoint = Endpoint::serving(keys);
        let keys = Arc::new(KeyCache::new(endpoint.clone(), clock.clone()));
        Self {
            clock,
            endpoint,
            keys,
        }
    }

    pub(super) fn verifier(&self) -> JwtVerifier {
        self.verifier_of(issuer())
    }

    pub(super) fn verifier_of(&self, issuer: Issuer) -> JwtVerifier {
        JwtVerifier::new(issuer, self.keys.clone(), self.clock.clone())
    }
}

/// One that allows every algorithm there is.
pub(super) fn issuer() -> Issuer {
    let all = [
        "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA",
    ];
    let algorithms: Vec<Algorithm> = all.iter().map(|name| name.parse().unwrap()).collect();
    Issuer::new(
        ISSUER,
        vec![AUDIENCE.into(), "turnpike-eu".into()],
        algorithms,
    )
    .unwrap()
}

/// Two at once.
pub(super) fn checks() -> Arc<SignatureChecks> {
    Arc::new(SignatureChecks::new(2))
}

impl JwtVerifier {
    /// What a token says, as a login hears it.
    pub(in crate::jwt) async fn verify(&self, token: &str) -> Result<Claims, Refused> {
        Ok(self.prove(token).await?.claims)
    }
}
