//! How the tenant of a caller is found.

use serde_json::json;

use super::{ACME, ACME_HOST, HOUSE, Place, UMBRA, UMBRA_HOST, told};
use crate::calls::{CHAT, post_with};
use crate::harness::{Answer, Client, Http};
use crate::jwt::{Issuer, Key};

#[tokio::test(flavor = "multi_thread")]
async fn a_key_says_whose_it_is_and_is_known_nowhere_else() {
    let place = Place::new().await;
    for (host, key, served_by) in [
        ("localhost", HOUSE, "sk-house-1"),
        ("localhost", UMBRA, "sk-umbra-1"),
        (UMBRA_HOST, UMBRA, "sk-umbra-1"),
        // A key that names nobody is whoever's host is called.
        (UMBRA_HOST, HOUSE, "sk-umbra-1"),
        ("UMBRA.example:8443", HOUSE, "sk-umbra-1"),
        ("umbra.example.", HOUSE, "sk-umbra-1"),
        ("umbra.example.org", HOUSE, "sk-house-1"),
    ] {
        let found = place.served(host, key).await;
        assert_eq!(found, (200, served_by.to_owned()), "{host} {key}");
    }
    let unknown = place.chat(UMBRA_HOST, "a-key-that-nobody-has").await;
    let foreign = place.chat(UMBRA_HOST, ACME).await;
    assert_eq!(unknown.status, 401);
    assert_eq!(told(&foreign), told(&unknown));
    // It is good all the same.
    assert_eq!(place.chat("localhost", ACME).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_is_read_as_every_version_of_http_names_it() {
    let place = Place::new().await;
    for (uri, host, served_by) in [
        ("http://umbra.example", None, "sk-umbra-1"),
        ("http://Umbra.Example:80", None, "sk-umbra-1"),
        ("http://localhost", Some("umbra.example"), "sk-house-1"),
    ] {
        place.provider.take_calls();
        let mut client = Client::connect(&place.house, Http::Two).await;
        let mut request = client.request(CHAT.path, CHAT.body);
        *request.uri_mut() = format!("{uri}{}", CHAT.path).parse().unwrap();
        let headers = request.headers_mut();
        headers.remove("host");
        headers.insert("authorization", format!("Bearer {HOUSE}").parse().unwrap());
        if let Some(host) = host {
            headers.insert("host", host.parse().unwrap());
        }
        let answer = Answer::read(client.send(request).await.unwrap()).await;
        let served = place.provider.take_calls();
        // A host of its own beside the target's is somebody's trick, or nothing.
        match served.first() {
            Some(call) => assert_eq!(call.key, served_by, "{uri}"),
            None => assert!(host.is_some() && answer.status == 400, "{}", answer.text()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_token_is_of_the_tenant_that_it_was_made_for() {
    let place = Place::new().await;
    let (_, house) = place.token(None, "house").await;
    let (acmes_id, acme) = place.token(Some("acme"), "acme").await;
    for (host, token, expected) in [
        ("localhost", &house, (200, "sk-house-1")),
        ("localhost", &acme, (200, "sk-acme-")),
        (ACME_HOST, &acme, (200, "sk-acme-")),
        // Of no tenant means of none, whatever the host.
        (ACME_HOST, &house, (401, "")),
        (UMBRA_HOST, &acme, (401, "")),
    ] {
        let (status, key) = place.served(host, token).await;
        assert_eq!(status, expected.0, "{host}");
        assert!(key.starts_with(expected.1), "{host}: {key}");
    }
    // What became of it is told to its own tenant only.
    let nobodys = "tp-".to_owned() + &"a".repeat(acmes_id.len()) + &acme[3 + acmes_id.len()..];
    let unknown = place.chat(UMBRA_HOST, &nobodys).await;
    assert_eq!(told(&place.chat(UMBRA_HOST, &acme).await), told(&unknown));
    let path = format!("/tokens/{acmes_id}");
    assert_eq!(
        place.manage("DELETE", &path, super::OPS, "").await.status,
        204
    );
    let revoked = place.chat(ACME_HOST, &acme).await;
    assert!(revoked.text().contains("revoked"), "{}", revoked.text());
    assert_eq!(told(&place.chat(UMBRA_HOST, &acme).await), told(&unknown));
    // A tenant that is gone has no tokens.
    let (_, umbra) = place.token(Some("umbra"), "umbra").await;
    assert_eq!(place.chat("localhost", &umbra).await.status, 200);
    let provider = place.provider.base_url();
    place
        .reload(&format!(
            "server: {{port: 0}}\nadmin: {{port: 0}}\napi_keys: [{{key: {HOUSE}, name: house}}]\n\
             providers: {{openai: {{base_url: \"{provider}/v1\", credentials: [{{api_key: sk-house-1}}]}}}}\n"
        ))
        .await;
    assert_eq!(place.chat("localhost", &umbra).await.status, 401);
    assert_eq!(place.chat("localhost", &house).await.status, 200);
}

/// Tokens of three issuers: one that is acme's by its entry, one that acme lists, and one of nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_signed_token_is_found_by_its_issuer_its_address_or_the_host() {
    let key = Key::new("one");
    let [own, listed, open] = [
        Issuer::publishing(&key).await,
        Issuer::publishing(&key).await,
        Issuer::publishing(&key).await,
    ];
    let entry = |issuer: &Issuer, more: &str| {
        format!(
            "{{issuer: \"{}\", audience: [turnpike], algorithms: [ES256]{more}}}",
            issuer.url
        )
    };
    let rest = format!(
        "jwt: {{issuers: [{}, {}, {}]}}",
        entry(&own, ", tenant: acme"),
        entry(&listed, ""),
        entry(&open, "")
    );
    let acme = format!(
        ", issuers: [\"{}\"], email_domains: [Acme.example]",
        listed.url
    );
    let place = Place::of(&rest, &acme, "").await;
    let token = |issuer: &Issuer, email: Option<&str>| {
        let mut claims = now(issuer);
        claims["email"] = json!(email);
        key.sign(&claims)
    };
    let ours = Some("ada@ACME.example");
    for (host, token, expected) in [
        ("localhost", token(&own, None), (200, "sk-acme-")),
        ("localhost", token(&listed, None), (200, "sk-acme-")),
        // The issuer says so, whatever the address.
        (
            "localhost",
            token(&own, Some("x@y.example")),
            (200, "sk-acme-"),
        ),
        (UMBRA_HOST, token(&own, None), (401, "")),
        ("localhost", token(&open, ours), (200, "sk-acme-")),
        (ACME_HOST, token(&open, ours), (200, "sk-acme-")),
        (UMBRA_HOST, token(&open, ours), (401, "")),
        (
            "localhost",
            token(&open, Some("x@y.example")),
            (200, "sk-house-1"),
        ),
        (
            UMBRA_HOST,
            token(&open, Some("x@y.example")),
            (200, "sk-umbra-1"),
        ),
        (UMBRA_HOST, token(&open, None), (200, "sk-umbra-1")),
        // Its people have other addresses: who has none that is proven is none of them for the host.
        (ACME_HOST, token(&open, Some("x@y.example")), (401, "")),
        (
            ACME_HOST,
            token(&open, Some("ada@acme.example@y.example")),
            (401, ""),
        ),
        (ACME_HOST, token(&open, None), (401, "")),
    ] {
        let (status, served_by) = place.served(host, &token).await;
        assert_eq!(status, expected.0, "{host}");
        assert!(served_by.starts_with(expected.1), "{host}: {served_by}");
    }
    // One that is not good is told so to its own tenant alone.
    let mut claims = now(&own);
    claims["exp"] = json!(1);
    let expired = key.sign(&claims);
    assert!(
        place
            .chat(ACME_HOST, &expired)
            .await
            .text()
            .contains("expired")
    );
    let mut claims = now(&own);
    claims["iss"] = json!("https://nobody.example");
    let nobodys = place.chat(UMBRA_HOST, &key.sign(&claims)).await;
    assert_eq!(
        told(&place.chat(UMBRA_HOST, &expired).await),
        told(&nobodys)
    );
}

/// Whether an issuer's keys can be had is nothing to those who are not its tenant's.
#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_does_not_answer_is_nobody_at_anothers_host() {
    let key = Key::new("one");
    // Nobody listens there.
    let url = "http://127.0.0.1:9/realm";
    let entry =
        format!("issuer: \"{url}\", audience: [turnpike], algorithms: [ES256], tenant: acme");
    let place = Place::of(&format!("jwt: {{issuers: [{{{entry}}}]}}"), "", "").await;
    let mut claims = json!({
        "iss": url, "aud": "turnpike", "sub": "ada",
        "iat": super::NOON / 1000, "exp": super::NOON / 1000 + 600,
    });
    let acmes = key.sign(&claims);
    assert_eq!(place.chat(ACME_HOST, &acmes).await.status, 503);
    claims["iss"] = json!("https://nobody.example");
    let nobodys = place.chat(UMBRA_HOST, &key.sign(&claims)).await;
    assert_eq!(nobodys.status, 401);
    assert_eq!(told(&place.chat(UMBRA_HOST, &acmes).await), told(&nobodys));
}

/// What a good token says, by the tests' clock.
fn now(issuer: &Issuer) -> serde_json::Value {
    let mut claims = issuer.claims();
    claims["iat"] = json!(super::NOON / 1000);
    claims["exp"] = json!(super::NOON / 1000 + 600);
    claims
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_only_a_tenants_people_log_in_to_is_not_open() {
    let rest = "server: {port: 0}\nadmin: {port: 0}\n\
                tenants: {acme: {hosts: [acme.example], sso: {providers: {test: {type: oidc, \
                client_id: c, client_secret: the-secret-CANARY, discovery_url: \"https://idp.example\"}}}}}\n\
                providers: {openai: {base_url: \"http://127.0.0.1:9/v1\", credentials: [{api_key: sk-house-1}]}}\n";
    let house = crate::harness::House::serve(rest).await;
    let mut client = Client::connect(&house, Http::One).await;
    let answer = post_with(&mut client, CHAT.path, &[], CHAT.body).await;
    assert_eq!(answer.status, 401, "{}", answer.text());
}
