//! Who of those that logged in is let in: by a code in the log, or by an authorization API.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use turnpike::clock::Time;
use turnpike_loadtest::{FakeProvider, Options};

use super::browser::{Browser, field};
use super::provider::Idp;
use super::{Place, configuration, make};
use crate::binary::Binary;
use crate::harness::until;

/// The real binary, whose log has the codes.
struct Logged {
    idp: Arc<Idp>,
    binary: Binary,
    _models: FakeProvider,
}

impl Logged {
    async fn new(rest: &str) -> Self {
        let idp = Idp::start(Time::system()).await;
        let models = FakeProvider::start(Options::default()).await;
        let yaml = configuration(&idp, &models, rest);
        let binary = Binary::start(&yaml, &["--log-level", "trace"]).await;
        Self {
            idp,
            binary,
            _models: models,
        }
    }

    /// The codes in the log so far.
    fn codes(&self) -> Vec<String> {
        let log = self.binary.log();
        let found = log.split("Confirmation Code: ").skip(1);
        found.map(|rest| rest[..6].to_owned()).collect()
    }

    /// Somebody whose login waits for its code, and the code.
    async fn waiting(&self) -> (Browser, String, String) {
        let before = self.codes().len();
        let mut browser = Browser::of(self.binary.proxy);
        let back = browser.log_in().await;
        assert_eq!(
            back.header("location"),
            Some("/auth/confirm"),
            "{}",
            back.text()
        );
        until(|| self.codes().len() > before).await;
        let csrf = field(&browser.get("/auth/confirm").await, "csrf");
        (browser, self.codes().pop().unwrap(), csrf)
    }
}

fn another(code: &str) -> &'static str {
    match code {
        "000000" => "000001",
        _ => "000000",
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_can_read_the_log_is_let_in() {
    let place = Logged::new("logging: {format: json}").await;
    let (mut browser, code, csrf) = place.waiting().await;
    let log = place.binary.log();
    let line = log
        .lines()
        .find(|line| line.contains("Confirmation Code"))
        .unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["level"], "WARN");

    let wrong = browser
        .post(
            "/auth/confirm",
            &[("csrf", &csrf), ("code", another(&code))],
        )
        .await;
    assert_eq!(wrong.status, 400);
    assert!(
        wrong
            .text()
            .contains("Incorrect code. 2 attempts remaining."),
        "{}",
        wrong.text()
    );
    // Not without the form's seal, and not in another browser.
    let refused = browser.post("/auth/confirm", &[("code", &code)]).await;
    assert_eq!(refused.status, 403);
    let mut stranger = Browser::of(place.binary.proxy);
    let refused = stranger
        .post("/auth/confirm", &[("csrf", &csrf), ("code", &code)])
        .await;
    assert_eq!(refused.status, 400);

    let right = browser
        .post("/auth/confirm", &[("csrf", &csrf), ("code", &code)])
        .await;
    assert_eq!(
        right.header("location"),
        Some("/auth/success"),
        "{}",
        right.text()
    );
    let (_, token) = make(&mut browser, "laptop").await;
    let again = browser
        .post("/auth/confirm", &[("csrf", &csrf), ("code", &code)])
        .await;
    assert_eq!(again.status, 400, "a code is good once");
    assert!(again.text().contains("Invalid session"));

    let secret = token.split_once('.').unwrap().1;
    let (log, kept) = (place.binary.log(), place.binary.kept());
    for canary in [
        secret,
        "the-client-secret-CANARY",
        "access-CANARY",
        &browser.cookies["turnpike-session"],
    ] {
        assert!(!log.contains(canary), "the log has {canary}");
        assert!(!kept.contains(canary), "the store has {canary}");
    }
    assert!(!kept.contains(&code), "the store has the code");
    drop(place.idp);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_three_wrong_codes_the_right_one_is_no_good() {
    let place = Logged::new("").await;
    let (mut browser, code, csrf) = place.waiting().await;
    for left in [2, 1] {
        let wrong = browser
            .post(
                "/auth/confirm",
                &[("csrf", &csrf), ("code", another(&code))],
            )
            .await;
        let said = format!("Incorrect code. {left} attempts remaining.");
        assert!(wrong.text().contains(&said), "{}", wrong.text());
    }
    for code in [another(&code), &code] {
        let spent = browser
            .post("/auth/confirm", &[("csrf", &csrf), ("code", code)])
            .await;
        assert_eq!(spent.status, 400);
        assert!(
            spent.text().contains("Maximum attempts exceeded"),
            "{}",
            spent.text()
        );
    }
    // Another login has another code, and all its attempts.
    let (mut browser, code, csrf) = place.waiting().await;
    let right = browser
        .post("/auth/confirm", &[("csrf", &csrf), ("code", &code)])
        .await;
    assert_eq!(right.header("location"), Some("/auth/success"));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_right_codes_at_once_one_is_let_in() {
    let place = Logged::new("").await;
    let (browser, code, csrf) = place.waiting().await;
    let tries = (0..8).map(|_| {
        let (mut browser, code, csrf) = (browser.clone(), code.clone(), csrf.clone());
        tokio::spawn(async move {
            let fields = [("csrf", &*csrf), ("code", &*code)];
            browser.post("/auth/confirm", &fields).await.status
        })
    });
    let statuses = futures::future::join_all(tries.collect::<Vec<_>>()).await;
    let let_in = statuses
        .into_iter()
        .filter(|status| *status.as_ref().unwrap() == 303)
        .count();
    assert_eq!(let_in, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_ends() {
    let place = Place::with("authorization: {confirmation_code_expiry_minutes: 10}").await;
    let mut browser = place.browser();
    assert_eq!(
        browser.log_in().await.header("location"),
        Some("/auth/confirm")
    );
    let csrf = field(&browser.get("/auth/confirm").await, "csrf");
    place.time.advance(Duration::from_secs(600));
    let expired = browser
        .post("/auth/confirm", &[("csrf", &csrf), ("code", "123456")])
        .await;
    assert_eq!(expired.status, 400);
    assert!(
        expired.text().contains("Confirmation code expired"),
        "{}",
        expired.text()
    );
}

/// An authorization API, and what it was asked.
pub(super) struct Api {
    pub(super) url: String,
    answer: Arc<Mutex<(u16, String)>>,
    asked: Arc<Mutex<Vec<Value>>>,
    is_held: watch::Sender<bool>,
}

impl Api {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/check?v=1", listener.local_addr().unwrap());
        let answer = Arc::new(Mutex::new((200, r#"{"authorized":true}"#.to_owned())));
        let asked = Arc::<Mutex<Vec<Value>>>::default();
        let (says, hears) = (answer.clone(), asked.clone());
        let is_held = watch::Sender::new(false);
        let held = is_held.subscribe();
        let router = Router::new()
            .route(
                "/check",
                post(async move |body: String| {
                    hears
                        .lock()
                        .unwrap()
                        .push(serde_json::from_str(&body).unwrap());
                    held.clone().wait_for(|held| !held).await.unwrap();
                    let (status, body) = says.lock().unwrap().clone();
                    let elsewhere = [(header::LOCATION, "/yes")];
                    (StatusCode::from_u16(status).unwrap(), elsewhere, body).into_response()
                }),
            )
            .route("/yes", post(async || r#"{"authorized":true}"#))
            .fallback(async || r#"{"authorized":true}"#);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            url,
            answer,
            asked,
            is_held,
        }
    }

    /// Everything that it was asked.
    pub(super) fn asked(&self) -> Vec<Value> {
        self.asked.lock().unwrap().clone()
    }

    /// Whether it keeps its answers to itself.
    pub(super) fn hold(&self, is_held: bool) {
        self.is_held.send_replace(is_held);
    }

    pub(super) fn says(&self, status: u16, body: &str) {
        *self.answer.lock().unwrap() = (status, body.to_owned());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_authorization_api_lets_in_by_a_clear_yes_only() {
    let api = Api::start().await;
    let rest = format!(
        "authorization: {{mode: enterprise, api_url: \"{}\"}}",
        api.url
    );
    let place = Place::with(&rest).await;
    let (_, token) = make(&mut place.signed_in().await, "laptop").await;
    let asked = api.asked.lock().unwrap()[0].clone();
    let expected = json!({"user_email": "ada@example.com", "user_id": "ada", "client_ip": "127.0.0.1",
        "provider": "test", "timestamp": "2026-05-28T20:26:40Z"});
    assert_eq!(asked, expected);

    for (status, answer, said) in [
        (500, "boom", "Authorization API error"),
        (302, r#"{"authorized":true}"#, "Authorization API error"),
        (307, r#"{"authorized":true}"#, "Authorization API error"),
        (200, "garbage", "Authorization API error"),
        (200, r#"{"authorized":"yes"}"#, "Authorization API error"),
    ] {
        api.says(status, answer);
        let denied = place.browser().log_in().await;
        assert_eq!(denied.status, 403, "{status} {answer}");
        assert!(denied.text().contains("Access denied") && denied.text().contains(said));
        assert_eq!(place.status(&token).await, 200, "who is signed in stays so");
    }
    // A no ends what a yes began.
    api.says(200, r#"{"authorized":false,"reason":"left <the> company"}"#);
    let denied = place.browser().log_in().await;
    assert_eq!(denied.status, 403);
    assert!(
        denied.text().contains("left &#60;the&#62; company"),
        "{}",
        denied.text()
    );
    assert_eq!(place.status(&token).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_reaches_the_authorization_api_as_the_provider_wrote_it() {
    const ADDRESS: &str = "Ada.Lovelace+Agents@Example.COM";
    let api = Api::start().await;
    let rest = format!(
        "authorization: {{mode: enterprise, api_url: \"{}\"}}",
        api.url
    );
    let place = Place::with(&rest).await;
    place
        .idp
        .does(|wrong| wrong.claims = Box::new(|claims| claims["email"] = ADDRESS.into()));
    place.signed_in().await;
    let asked = api.asked.lock().unwrap()[0].clone();
    assert_eq!(asked["user_email"], ADDRESS);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_has_the_status_and_the_beginning_of_what_is_no_answer() {
    let api = Api::start().await;
    let rest = format!(
        "logging: {{format: json}}\nauthorization: {{mode: enterprise, api_url: \"{}\"}}",
        api.url
    );
    let place = Logged::new(&rest).await;
    let long = format!("{}end-of-the-excerpt, and what is past it", "ä".repeat(182));
    api.says(503, &long);
    let denied = Browser::of(place.binary.proxy).log_in().await;
    assert_eq!(denied.status, 403);
    assert!(denied.text().contains("Authorization API error"));
    assert!(!denied.text().contains("end-of-the-excerpt"));
    until(|| place.binary.log().contains("end-of-the-excerpt")).await;
    let log = place.binary.log();
    let lines: Vec<_> = log
        .lines()
        .filter(|line| line.contains("end-of-the-excerpt"))
        .collect();
    let [line] = lines[..] else {
        panic!("{lines:?}");
    };
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["level"], "WARN");
    assert_eq!(line["status"], 503);
    let told = line["body"].as_str().unwrap();
    assert_eq!(told.chars().count(), 200);
    assert!(told.ends_with("end-of-the-excerpt"), "{told}");
    drop(place.idp);
}

/// Addresses of APIs that give no answer, and what is told of each: one takes connections, for as long
/// as the listener is held, and says nothing; the other is not there.
pub(super) async fn unanswering() -> (TcpListener, [(SocketAddr, &'static str); 2]) {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let [slow, away] = [&silent, &gone].map(|listener| listener.local_addr().unwrap());
    let told = [
        (slow, "Authorization API timeout"),
        (away, "Failed to connect to authorization API"),
    ];
    (silent, told)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authorization_api_that_is_away_or_slow_lets_nobody_in() {
    let (_silent, unanswering) = unanswering().await;
    for (at, said) in unanswering {
        let rest = format!(
            "authorization: {{mode: enterprise, api_url: \"http://{at}\", api_timeout_seconds: 1}}"
        );
        let place = Place::with(&rest).await;
        let mut browser = place.browser();
        browser.accept = "application/json";
        let denied = browser.log_in().await;
        assert_eq!(denied.status, 403);
        assert_eq!(
            denied.header("content-type"),
            Some("application/problem+json")
        );
        let problem = denied.json();
        assert_eq!(
            (&problem["title"], &problem["detail"]),
            (&json!("Access denied"), &json!(said))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mode_is_switched_by_a_reload() {
    let place = Place::new().await;
    let text = std::fs::read_to_string(&place.house.config).unwrap();
    let switched = text.replace("mode: enterprise", "mode: single_user");
    std::fs::write(&place.house.config, switched).unwrap();
    place.house.gateway.reloader.reload().unwrap();
    let back = place.browser().log_in().await;
    assert_eq!(back.header("location"), Some("/auth/confirm"));
}
