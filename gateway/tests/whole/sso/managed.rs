//! What operators see of logins, and what they can end.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::Value;
use tokio::net::TcpStream;
use turnpike::clock::Time;
use turnpike_loadtest::{FakeProvider, Options};

use super::browser::Browser;
use super::provider::Idp;
use super::{HOUR, NOW, Place, configuration, make};
use crate::harness::{Answer, Client, House, Http};

const KEY: &str = "the-key-of-the-operator";

impl Place {
    /// With a key of the management API.
    pub(super) async fn managed(rest: &str) -> Self {
        let time = Time::simulated(NOW);
        let idp = Idp::start(time.clone()).await;
        let models = FakeProvider::start(Options::default()).await;
        let admin = format!("admin: {{port: 0, keys: [{{key: {KEY}}}]}}");
        let yaml = configuration(&idp, &models, rest).replace("admin: {port: 0}", &admin);
        let dir = tempfile::tempdir().unwrap();
        let house = House::serve_by(time.clone(), dir, &yaml).await;
        Self {
            time,
            idp,
            house,
            _models: models,
        }
    }

    async fn manage(&self, method: &str, path: &str) -> Answer {
        let admin = TcpStream::connect(self.house.gateway.admin).await.unwrap();
        let mut client = Client::on(admin, Http::One).await;
        let request = Request::builder()
            .method(method)
            .uri(format!("/v0/management{path}"))
            .header("host", "localhost")
            .header("x-management-key", KEY)
            .body(Full::new(Bytes::new()))
            .unwrap();
        Answer::read(client.send(request).await.unwrap()).await
    }

    async fn sessions(&self) -> Vec<Value> {
        let listed = self.manage("GET", "/sessions").await.json();
        listed["sessions"].as_array().unwrap().clone()
    }

    async fn limits(&self) -> Vec<Value> {
        let listed = self.manage("GET", "/login-rate-limits").await.json();
        listed["login_rate_limits"].as_array().unwrap().clone()
    }
}

fn of<'l>(listed: &'l [Value], field: &str, value: &str) -> &'l Value {
    let found = listed.iter().find(|one| one[field] == value);
    found.unwrap_or_else(|| panic!("{listed:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_listed_and_ended_with_its_tokens() {
    let place = Place::managed("authorization: {mode: enterprise}").await;
    assert!(place.sessions().await.is_empty());
    let mut ada = place.signed_in().await;
    let (_, token) = make(&mut ada, "laptop").await;
    *place.idp.subject.lock().unwrap() = "bob".into();
    let (_, bobs) = make(&mut place.signed_in().await, "laptop").await;

    let listed = place.sessions().await;
    assert_eq!(listed.len(), 2);
    let hers = listed
        .iter()
        .find(|one| one["person"]["subject"] == "ada")
        .unwrap();
    assert_eq!(hers["person"]["email"], "ada@example.com");
    assert_eq!(
        (&hers["provider"], &hers["is_live"]),
        (&"test".into(), &true.into())
    );
    assert_eq!(hers["expires_at"], "2026-05-29T20:26:40Z");
    let id = token[3..].split('.').next().unwrap();
    assert_eq!(hers["tokens"], serde_json::json!([id]));
    let cookie = &ada.cookies["turnpike-session"];
    let text = listed.iter().map(Value::to_string).collect::<String>();
    assert!(!text.contains(cookie) && !text.contains("epoch"), "{text}");

    let path = format!("/sessions/{}", hers["id"].as_str().unwrap());
    for _ in 0..2 {
        let ended = place.manage("DELETE", &path).await;
        assert_eq!(ended.status, 204, "{}", ended.text());
    }
    assert_eq!(place.status(&token).await, 401);
    assert_eq!(place.status(&bobs).await, 200);
    assert_eq!(ada.get("/auth/tokens").await.status, 303);
    let none = place.manage("DELETE", "/sessions/nobody").await;
    assert_eq!(none.status, 404);
    assert_eq!(none.json()["error"]["code"], "unknown_session");
    *place.idp.subject.lock().unwrap() = "ada".into();
    place.signed_in().await;
    assert_eq!(place.status(&token).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_to_wait_is_listed_and_let_through() {
    let rest = "authorization: {mode: enterprise, rate_limit: {max_attempts: 2}}";
    let place = Place::managed(rest).await;
    let waits = async |browser: &mut Browser| browser.get("/auth/login/test").await.status == 429;
    let (mut one, mut other) = (place.browser(), place.browser());
    other.address = Some("2001:db8::7");
    for browser in [&mut one, &mut other] {
        while !waits(browser).await {}
    }
    let listed = place.limits().await;
    assert_eq!(listed.len(), 4, "{listed:?}");
    let address = of(&listed, "id", "ip 127.0.0.1");
    assert_eq!(
        (&address["kind"], &address["attempts"]),
        (&"address".into(), &2.into())
    );
    assert_eq!(address["wait_until"], "2026-05-28T20:26:42Z");
    of(&listed, "kind", "browser");

    let none = place
        .manage("DELETE", "/login-rate-limits?id=ip%20192.0.2.1")
        .await;
    assert_eq!(
        (none.status, &none.json()["error"]["code"]),
        (404, &"unknown_login_rate_limit".into())
    );
    let cleared = place
        .manage("DELETE", "/login-rate-limits?id=ip%20127.0.0.1")
        .await;
    assert_eq!(cleared.status, 204, "{}", cleared.text());
    assert!(waits(&mut one).await, "the browser is known, too");
    assert!(
        !waits(&mut place.browser()).await,
        "another one at that address"
    );
    assert!(waits(&mut other).await);
    assert_eq!(
        place.manage("DELETE", "/login-rate-limits").await.status,
        204
    );
    assert!(place.limits().await.is_empty());
    assert!(!waits(&mut other).await);
    place.time.advance(HOUR);
    assert!(place.limits().await.is_empty(), "forgotten");
}
