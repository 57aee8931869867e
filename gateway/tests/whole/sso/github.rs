//! A provider without ID tokens: who it is says its API, and which address is theirs its list.

use axum::Router;
use axum::routing::{get, post};
use serde_json::json;
use tokio::net::TcpListener;
use turnpike_loadtest::{FakeProvider, Options};

use super::browser::Browser;
use crate::harness::House;

/// What GitHub answers, with these addresses.
async fn github(emails: serde_json::Value) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let given = json!({"access_token": "gho", "token_type": "bearer", "scope": "user:email"});
    let user = json!({"id": 583_231, "login": "octocat", "email": "public@example.com"});
    let router = Router::new()
        .route("/token", post(async move || axum::Json(given)))
        .route("/user", get(async move || axum::Json(user)))
        .route("/user/emails", get(async move || axum::Json(emails)));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

async fn signed_in_as(emails: serde_json::Value) -> String {
    let (models, url) = (
        FakeProvider::start(Options::default()).await,
        github(emails).await,
    );
    let yaml = format!(
        "server: {{port: 0}}\nadmin: {{port: 0}}\nauthorization: {{mode: enterprise}}\nsso:\n  enabled: true\n  providers:\n\
         \x20   github: {{client_id: a, client_secret: b, authorize_url: \"{url}/authorize\", token_url: \"{url}/token\", userinfo_url: \"{url}/user\"}}\n\
         providers: {{openai: {{base_url: \"{}/v1\", credentials: [{{api_key: sk-upstream}}]}}}}\n",
        models.base_url()
    );
    let house = House::serve(&yaml).await;
    let mut browser = Browser::of(house.gateway.proxy);
    let begun = browser.get("/auth/login/github").await;
    let there = url::Url::parse(begun.header("location").unwrap()).unwrap();
    let asked: std::collections::HashMap<_, _> = there.query_pairs().into_owned().collect();
    assert_eq!(asked["scope"], "read:user user:email");
    assert_eq!(asked["code_challenge_method"], "S256");
    // Some providers send a form, to which a browser adds no cookies.
    let posted = Browser::of(house.gateway.proxy)
        .post(
            "/auth/callback",
            &[("code", "c"), ("state", &asked["state"])],
        )
        .await;
    assert_eq!(posted.status, 303);
    let back = browser.get(posted.header("location").unwrap()).await;
    assert_eq!(
        back.header("location"),
        Some("/auth/success"),
        "{}",
        back.text()
    );
    browser.accept = "application/json";
    let who = browser.get("/auth/tokens").await.json();
    assert_eq!(who["subject"], "583231");
    who["email"].to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_primary_address_counts_when_it_is_verified() {
    let entry = |email: &str, primary: bool, verified: bool| json!({"email": email, "primary": primary, "verified": verified});
    let other = entry("other@example.com", false, true);
    let emails = json!([other, entry("mine@example.com", true, true)]);
    assert_eq!(signed_in_as(emails).await, "\"mine@example.com\"");
    let emails = json!([other, entry("mine@example.com", true, false)]);
    assert_eq!(signed_in_as(emails).await, "null");
    assert_eq!(signed_in_as(json!({"message": "no"})).await, "null");
}
