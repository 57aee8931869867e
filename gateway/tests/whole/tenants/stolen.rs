//! Who uses an agent token that is good no more, or not there, is on record as such, and nobody hides behind
//! rubbish; at another tenant's host it is as if nobody had it.

use std::time::Duration;

use serde_json::{Value, json};

use super::{ACME_HOST, NOON, OPS, Place, UMBRA_HOST};
use crate::audit::stopped;
use crate::calls::{CHAT, post_with};
use crate::harness::{Answer, Client, Http};
use crate::jwt::{Issuer, Key};

impl Place {
    /// A token that is good only from a network that nobody here is in.
    async fn bound_token(&self) -> (String, String) {
        let body = json!({"name": "bound", "tenant": "acme", "cidrs": ["192.0.2.0/24"]});
        let made = self.manage("POST", "/tokens", OPS, &body.to_string()).await;
        assert_eq!(made.status, 201, "{}", made.text());
        let text = |key: &str| made.json()[key].as_str().unwrap().to_owned();
        (text("id"), text("token"))
    }

    async fn revoked_token(&self) -> (String, String) {
        let (id, token) = self.token(Some("acme"), "laptop").await;
        let path = format!("/tokens/{id}");
        assert_eq!(self.manage("DELETE", &path, OPS, "").await.status, 204);
        (id, token)
    }

    /// What is on record of those who were not let in.
    async fn turned_away(&self) -> Vec<Value> {
        self.house.settled().await;
        let mut all = stopped(&self.house).await;
        all.retain(|one| one["event"] == "authentication.refused");
        all
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_a_refused_token_was_is_on_record_where_it_may_be_told() {
    let place = Place::new().await;
    let (revoked, token) = place.revoked_token().await;
    let (bound, elsewhere) = place.bound_token().await;
    for host in ["localhost", ACME_HOST, UMBRA_HOST] {
        assert_eq!(place.chat(host, &token).await.status, 401, "{host}");
        assert_eq!(place.chat(host, &elsewhere).await.status, 401, "{host}");
    }
    // Who has the id alone has nothing.
    let guessed = format!("tp-{revoked}.{}", "a".repeat(43));
    assert_eq!(place.chat("localhost", &guessed).await.status, 401);
    let all = place.turned_away().await;
    let hosts = all.iter().map(|one| one["tenant"].as_str());
    let (acme, umbra) = (Some("acme"), Some("umbra"));
    assert!(hosts.eq([None, None, acme, acme, umbra, umbra, None]));
    let said = all.iter().map(|one| {
        let word = |pointer| one.pointer(pointer).and_then(Value::as_str);
        (
            word("/reason").unwrap(),
            word("/who/token_id"),
            word("/who/name"),
            word("/who/tenant"),
        )
    });
    let (as_revoked, as_bound) = (
        ("token_revoked", Some(&*revoked), Some("laptop"), acme),
        ("binding_mismatch", Some(&*bound), Some("bound"), acme),
    );
    let as_unknown = ("credential_unknown", None, None, None);
    assert_eq!(
        said.collect::<Vec<_>>(),
        [
            as_revoked, as_bound, as_revoked, as_bound, as_unknown, as_unknown, as_unknown
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thief_does_not_hide_behind_rubbish() {
    let place = Place::new().await;
    let (id, token) = place.revoked_token().await;
    // Within one second of the clock, which stands still.
    for nth in 0..120 {
        let rubbish = format!("made-up-{nth:020}");
        assert_eq!(place.chat("localhost", &rubbish).await.status, 401);
    }
    assert_eq!(place.chat("localhost", &token).await.status, 401);
    // In one and the same call neither.
    let mut client = Client::connect(&place.house, Http::One).await;
    let bearer = format!("Bearer {token}");
    let other = format!("tp-{}.{}", "0".repeat(32), "a".repeat(43));
    let both = [("authorization", &*bearer), ("x-api-key", &*other)];
    let answer: Answer = post_with(&mut client, CHAT.path, &both, CHAT.body).await;
    assert_eq!(answer.status, 401);
    place.time.advance(Duration::from_secs(1));
    assert_eq!(
        place.chat("localhost", "made-up-in-the-end").await.status,
        401
    );
    let all = place.turned_away().await;
    let (known, strangers): (Vec<_>, Vec<_>) = all.iter().partition(|one| one["who"].is_object());
    assert_eq!(known.len(), 2, "{known:?}");
    assert!(known.iter().all(|one| one["who"]["token_id"] == *id));
    assert_eq!(strangers.len(), 101);
    assert_eq!(strangers[100]["untold"], 20);
}

/// What cannot be checked just then is no fault of who shows it; that they show a revoked token as well is on
/// record all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_thief_does_not_hide_behind_what_cannot_be_checked() {
    let key = Key::new("one");
    let issuer = Issuer::publishing(&key).await;
    *issuer.keys.lock().unwrap() = None;
    let trusted = format!(
        "jwt: {{issuers: [{{issuer: \"{}\", audience: [turnpike]}}]}}",
        issuer.url
    );
    let place = Place::with(&trusted).await;
    let (id, token) = place.revoked_token().await;
    let mut client = Client::connect(&place.house, Http::One).await;
    let mut claims = issuer.claims();
    claims["exp"] = (NOON / 1000 + 600).into();
    let signed = key.sign(&claims);
    let bearer = format!("Bearer {token}");
    let both = [("authorization", &*bearer), ("x-api-key", &*signed)];
    let answer: Answer = post_with(&mut client, CHAT.path, &both, CHAT.body).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    let all = place.turned_away().await;
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all[0]["who"]["token_id"], *id);
    assert_eq!(all[0]["status"], 503);
}
