//! An issuer of signed tokens that publishes its keys.

use std::convert::Infallible;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::drive::Curve;

/// Serves a key of each curve, whose private half is forgotten: it signs nothing.
pub async fn serve(listener: TcpListener) -> anyhow::Result<()> {
    let keys = Curve::ALL.map(|curve| Ok(pair(curve)?.1));
    let keys = keys.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    publish(listener, keys).await
}

/// Serves these keys below `/keys`, and where they are, until it is dropped.
pub(crate) async fn publish(listener: TcpListener, keys: Vec<Value>) -> anyhow::Result<()> {
    let url = format!("http://{}", listener.local_addr()?);
    let keys = json!({ "keys": keys });
    let about = json!({"issuer": url, "jwks_uri": format!("{url}/keys")});
    loop {
        let (socket, _) = listener.accept().await?;
        let (keys, about) = (keys.clone(), about.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let answer = answer(request.uri().path(), &keys, &about);
            async move { Ok::<_, Infallible>(answer) }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
    }
}

fn answer(path: &str, keys: &Value, about: &Value) -> Response<Full<Bytes>> {
    let document = match path {
        "/keys" => Some(keys),
        "/.well-known/openid-configuration" => Some(about),
        _ => None,
    };
    let body = document.map(Value::to_string).unwrap_or_default();
    let mut response = Response::new(Full::new(Bytes::from(body)));
    if document.is_none() {
        *response.status_mut() = StatusCode::NOT_FOUND;
    }
    response
}

/// A new key, and its public half as a JWK.
pub(crate) fn pair(curve: Curve) -> anyhow::Result<(EcdsaKeyPair, Value)> {
    let (signing, name) = match curve {
        Curve::P256 => (&ECDSA_P256_SHA256_FIXED_SIGNING, "P-256"),
        Curve::P384 => (&ECDSA_P384_SHA384_FIXED_SIGNING, "P-384"),
    };
    let random = SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(signing, &random);
    let document = document.ok().context("a new key")?;
    let pair = EcdsaKeyPair::from_pkcs8(signing, document.as_ref(), &random);
    let pair = pair.ok().context("a new key")?;
    // A point is 4, x, y.
    let point = &pair.public_key().as_ref()[1..];
    let (x, y) = point.split_at(point.len() / 2);
    let [x, y] = [x, y].map(|number| URL_SAFE_NO_PAD.encode(number));
    let jwk = json!({"kty": "EC", "crv": name, "use": "sig", "kid": curve.name(), "x": x, "y": y});
    Ok((pair, jwk))
}
