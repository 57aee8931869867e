//! Batches as a JSON list, by HTTP. They are signed as Standard Webhooks are, so that receivers have
//! libraries that check it:
//!
//! ```text
//! webhook-id: CHAIN-FIRST-COUNT        the same when the batch comes again
//! webhook-timestamp: 1790000000        when it was sent, in seconds
//! webhook-signature: v1,…              HMAC-SHA256 of ID.TIMESTAMP.BODY, in Base64
//! ```

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use http::Request;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use ring::hmac;
use turnpike_api::{Clock, Secret};

use super::outside::{Renewable, World, authorization, taken};
use super::{Batch, Sink, SinkError};
use crate::Format;

/// Where it is, and how it knows us.
pub struct Options {
    pub url: String,
    pub keys: Renewable<Keys>,
    pub format: Format,
}

/// What it knows us by.
pub struct Keys {
    /// What batches are signed with: `whsec_` and Base64, or any text.
    pub secret: Secret,
    /// Sent as `Authorization: Bearer`.
    pub token: Option<Secret>,
}

/// The receiver.
pub struct Webhook {
    options: Options,
    world: World,
    clock: Arc<dyn Clock>,
}

impl Webhook {
    pub fn new(options: Options, world: World, clock: Arc<dyn Clock>) -> Self {
        Self {
            options,
            world,
            clock,
        }
    }

    fn request(&self, batch: &Batch) -> Result<Request<Vec<u8>>, http::Error> {
        let (id, time) = (batch.id(), self.clock.now() / 1000);
        let keys = self.options.keys.get();
        let body = list(batch, self.options.format);
        let signature = sign(&key(keys.secret.expose()), &id, time, &body);
        let mut request = Request::post(&self.options.url)
            .header(CONTENT_TYPE, "application/json")
            .header("idempotency-key", &id)
            .header("webhook-id", &id)
            .header("webhook-timestamp", time)
            .header("webhook-signature", signature);
        if let Some(token) = &keys.token {
            request = request.header(AUTHORIZATION, authorization("Bearer", token)?);
        }
        request.body(body)
    }
}

impl Sink for Webhook {
    fn deliver(&mut self, batch: &Batch) -> Result<(), SinkError> {
        let request = self.request(batch);
        // What cannot stand in a header is not repeated.
        let request = request.map_err(|_| SinkError::new("the request cannot be made"))?;
        let answer = self.world.call(request)?;
        taken(&answer, self.clock.now())
    }
}

/// As Standard Webhooks write keys, or the bytes of a text.
fn key(secret: &str) -> hmac::Key {
    let encoded = secret.strip_prefix("whsec_");
    let decoded = encoded.and_then(|encoded| BASE64.decode(encoded).ok());
    let bytes = decoded.unwrap_or_else(|| secret.as_bytes().to_vec());
    hmac::Key::new(hmac::HMAC_SHA256, &bytes)
}

fn sign(key: &hmac::Key, id: &str, time: u64, body: &[u8]) -> String {
    let mut signed = hmac::Context::with_key(key);
    signed.update(format!("{id}.{time}.").as_bytes());
    signed.update(body);
    format!("v1,{}", BASE64.encode(signed.sign()))
}

/// A record a line, for whoever looks at it.
fn list(batch: &Batch, format: Format) -> Vec<u8> {
    let mut list = Vec::with_capacity(batch.bytes() + 4 * batch.len() + 2);
    for (record, _) in batch.records() {
        list.extend_from_slice(if list.is_empty() { b"[" } else { b",\n" });
        format.write_json(record, &mut list);
    }
    list.push(b']');
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_signed_as_standard_webhooks_are() {
        // The example of the specification's libraries.
        let key = key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let body = br#"{"test": 2432232314}"#;
        let signature = sign(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
