//! The management API, over real HTTP.

mod encryption;
mod in_force;
mod on_record;

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use turnpike::clock::Time;
use turnpike_identity::sso::session;
use turnpike_loadtest::{Behaviour, FakeProvider, Options};

use crate::binary::{Binary, replace};
use crate::calls::{CHAT, post_with};
use crate::harness::{Answer, Client, House, Http, until};

const ROOT: &str = "/v0/management";
const ALL: &str = "CANARY-of-the-operator";
const READER: &str = "CANARY-of-the-reader";
const ISSUER: &str = "CANARY-of-the-issuer";
const REMOTE: &str = "CANARY-remote-management";

/// In the middle of a day.
const NOON: u64 = 1_800_014_400_000;

/// What is proven here does not depend on what a hash costs.
const CHEAP: &str = "agent_tokens: {argon2: {memory_kib: 1024, iterations: 1}}\n";

fn keys() -> String {
    format!(
        "remote-management: {{secret-key: {REMOTE}}}\n\
         admin:\n\
         \x20 port: 0\n\
         \x20 keys:\n\
         \x20   - {{name: ops, key: {ALL}, scopes: [\"admin:*\"]}}\n\
         \x20   - {{name: reader, key: {READER}, scopes: [\"tokens:read\", \"credentials:read\"]}}\n\
         \x20   - {{name: issuer, key: {ISSUER}, scopes: [\"tokens:write\"]}}\n"
    )
}

fn yaml(provider: &FakeProvider, keys: &str) -> String {
    format!(
        "server: {{port: 0}}\n{keys}{CHEAP}\
         api_keys: [{{key: CANARY-of-a-client, name: tests}}]\n\
         max_retry_interval: 0\n\
         providers:\n\
         \x20 openai: {{base_url: \"{0}/v1\", headers: {{x-team: CANARY-header}}, credentials: [\
         {{api_key: CANARY-upstream-1, label: one, quota: {{limit: 1000}}}}, \
         {{api_key: CANARY-upstream-2, label: two}}]}}\n\
         \x20 claude: {{base_url: \"{0}\", credentials: [{{api_key: CANARY-upstream-3, label: main}}]}}\n",
        provider.base_url()
    )
}

/// A gateway with keys, by a clock that stands still.
struct Place {
    provider: FakeProvider,
    house: House,
    time: Time,
}

impl Place {
    async fn new() -> Self {
        Self::with(&keys()).await
    }

    async fn with(keys: &str) -> Self {
        let provider = FakeProvider::start(Options::default()).await;
        let yaml = yaml(&provider, keys);
        Self::of(provider, &yaml).await
    }

    /// One listener serves callers and operators.
    async fn shared() -> Self {
        let provider = FakeProvider::start(Options::default()).await;
        // An address of this machine's own that nobody else uses.
        let [a, b, c] = fastrand::u32(1 << 16..1 << 24).to_be_bytes()[1..]
            .try_into()
            .unwrap_or([7, 7, 7]);
        let host = format!("host: 127.{a}.{b}.{c}, port: 8317");
        let written = yaml(&provider, &keys());
        let yaml = written
            .replace("server: {port: 0}", &format!("server: {{{host}}}"))
            .replace(
                "  port: 0\n",
                &format!("  {}\n", host.replace(", ", "\n  ")),
            );
        Self::of(provider, &yaml).await
    }

    async fn of(provider: FakeProvider, yaml: &str) -> Self {
        let time = Time::simulated(NOON);
        let dir = tempfile::tempdir().unwrap();
        let house = House::serve_by(time.clone(), dir, yaml).await;
        Self {
            provider,
            house,
            time,
        }
    }

    /// The same files, another process.
    async fn restarted(self) -> Self {
        let Self {
            provider,
            house,
            time,
        } = self;
        let (dir, yaml) = house.left().await;
        let house = House::serve_by(time.clone(), dir, &yaml).await;
        Self {
            provider,
            house,
            time,
        }
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        let admin = TcpStream::connect(self.house.gateway.admin).await.unwrap();
        let mut client = Client::on(admin, Http::One).await;
        Answer::read(client.send(request).await.unwrap()).await
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        self.send(request(method, path, headers, body)).await
    }

    /// As the operator.
    async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, &[("x-management-key", ALL)], "")
            .await
    }

    async fn post(&self, path: &str, body: &str) -> Answer {
        self.ask(Method::POST, path, &[("x-management-key", ALL)], body)
            .await
    }

    async fn post_once(&self, path: &str, key: &str, body: &str) -> Answer {
        let headers = [("x-management-key", ALL), ("idempotency-key", key)];
        self.ask(Method::POST, path, &headers, body).await
    }

    /// Makes a token; answers with its id and itself.
    async fn create(&self) -> (String, String) {
        let made = self.post("/tokens", r#"{"name":"laptop"}"#).await;
        assert_eq!(made.status, 201, "{}", made.text());
        token_of(&made)
    }

    /// Presents a credential at the proxy's port.
    async fn call(&self, credential: &str) -> u16 {
        let mut client = Client::connect(&self.house, Http::One).await;
        let bearer = format!("Bearer {credential}");
        let headers = [("authorization", &*bearer)];
        post_with(&mut client, CHAT.path, &headers, CHAT.body)
            .await
            .status
    }

    async fn tokens(&self) -> usize {
        let listed = self.get("/tokens").await.json();
        listed["tokens"].as_array().unwrap().len()
    }
}

fn request(
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Request<Full<Bytes>> {
    let path = match path.starts_with("//") {
        true => path[1..].to_owned(),
        false => format!("{ROOT}{path}"),
    };
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(body.to_owned().into())).unwrap()
}

fn token_of(made: &Answer) -> (String, String) {
    let made = made.json();
    let text = |key: &str| made[key].as_str().unwrap().to_owned();
    (text("id"), text("token"))
}

fn code(answer: &Answer) -> (u16, String) {
    let error = &answer.json()["error"];
    assert!(error["message"].is_string(), "{}", answer.text());
    (answer.status, error["code"].as_str().unwrap().to_owned())
}

fn refused(answer: &Answer, status: u16, reason: &str) {
    assert_eq!(
        code(answer),
        (status, reason.to_owned()),
        "{}",
        answer.text()
    );
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn without_keys_its_paths_are_those_of_nothing() {
    let place = Place::with("admin: {port: 0}\n").await;
    let with = [("x-management-key", "CANARY-made-up-key")];
    let nothing = place.ask(Method::GET, "//nothing-here", &[], "").await;
    refused(&nothing, 404, "not_found");
    for (method, path, headers) in [
        (Method::GET, "/whoami", &[][..]),
        (Method::GET, "/whoami", &with),
        (Method::POST, "/tokens", &with),
        (Method::DELETE, "/whoami", &with),
        (Method::GET, "", &with),
        (Method::GET, "/nothing", &with),
    ] {
        let answer = place.ask(method, path, headers, "").await;
        assert_eq!(
            (answer.status, &answer.body),
            (404, &nothing.body),
            "{path}"
        );
        let without_date = |answer: &Answer| {
            let mut headers = answer.headers.clone();
            headers.remove("date");
            headers
        };
        assert_eq!(without_date(&answer), without_date(&nothing), "{path}");
    }
}

#[tokio::test]
async fn a_key_is_asked_for_and_may_do_what_its_scopes_say() {
    let place = Place::new().await;
    let get = async |path: &str, headers: &[(&str, &str)]| {
        place.ask(Method::GET, path, headers, "").await
    };
    let none = get("/whoami", &[]).await;
    refused(&none, 401, "missing_key");
    assert_eq!(none.header("www-authenticate"), Some("Bearer"));
    for client in ["CANARY-of-a-client", "CANARY-upstream-1", "made-up"] {
        let wrong = get("/whoami", &[("authorization", &format!("Bearer {client}"))]).await;
        refused(&wrong, 401, "invalid_key");
        assert!(!wrong.text().contains(client));
    }
    for (key, name) in [
        (ALL, "ops"),
        (READER, "reader"),
        (REMOTE, "remote_management"),
    ] {
        let bearer = format!("Bearer {key}");
        for header in [("authorization", &*bearer), ("x-management-key", key)] {
            let origin = ("origin", "https://evil.example.com");
            let who = get("/whoami", &[header, origin]).await;
            assert_eq!((who.status, &who.json()["name"]), (200, &name.into()));
            assert_eq!(who.header("cache-control"), Some("no-store"));
            assert_eq!(who.header("access-control-allow-origin"), None);
        }
    }
    let reader = [("x-management-key", READER)];
    assert_eq!(get("/tokens", &reader).await.status, 200);
    assert_eq!(get("/auths", &reader).await.status, 200);
    let lacking = place
        .ask(Method::POST, "/tokens", &reader, r#"{"name":"x"}"#)
        .await;
    refused(&lacking, 403, "missing_scope");
    assert!(
        lacking.text().contains("`tokens:write`"),
        "{}",
        lacking.text()
    );
    // Others' paths and methods are no secret to who has a key.
    refused(&get("/nothing", &reader).await, 404, "not_found");
    let put = place.ask(Method::PUT, "/tokens", &reader, "").await;
    refused(&put, 405, "method_not_allowed");
}

#[tokio::test]
async fn a_listener_that_is_shared_serves_it_too() {
    let place = Place::shared().await;
    assert_eq!(place.house.gateway.proxy, place.house.gateway.admin);
    let (_, token) = place.create().await;
    assert_eq!(place.call(&token).await, 200);
    assert_eq!(place.tokens().await, 1);
    let none = place.ask(Method::GET, "/whoami", &[], "").await;
    assert_eq!(none.status, 401, "{}", none.text());
    // What proxies say of a caller makes nobody local, and nobody remote.
    let headers = [
        ("x-management-key", ALL),
        ("x-forwarded-for", "203.0.113.7"),
    ];
    let told = place.ask(Method::GET, "/whoami", &headers, "").await;
    assert_eq!(told.status, 200, "{}", told.text());
    let metrics = place.get("//metrics").await;
    assert!(metrics.text().contains("# HELP"), "{}", metrics.text());
}

#[tokio::test]
async fn who_guesses_is_made_to_wait() {
    let place = Place::new().await;
    let ask = async |key: &str| {
        let headers = [("x-management-key", key)];
        place.ask(Method::GET, "/whoami", &headers, "").await
    };
    for _ in 0..4 {
        refused(&ask("made-up-key").await, 401, "invalid_key");
    }
    // The right one in between begins anew.
    assert_eq!(ask(ALL).await.status, 200);
    for _ in 0..5 {
        refused(&ask("made-up-key").await, 401, "invalid_key");
    }
    for key in [ALL, "made-up-key"] {
        let blocked = ask(key).await;
        refused(&blocked, 429, "too_many_attempts");
        assert_eq!(blocked.header("retry-after"), Some("30"));
    }
    place.time.advance(Duration::from_secs(29));
    assert_eq!(ask(ALL).await.header("retry-after"), Some("1"));
    place.time.advance(Duration::from_secs(1));
    refused(&ask("made-up-key").await, 401, "invalid_key");
    assert_eq!(ask(ALL).await.header("retry-after"), Some("60"));
    place.time.advance(Duration::from_secs(60));
    assert_eq!(ask(ALL).await.status, 200);
}

#[tokio::test]
async fn a_token_is_made_used_looked_at_and_revoked() {
    let place = Place::new().await;
    let body = r#"{"name":"build-server","cidrs":["127.0.0.0/8"]}"#;
    let headers = [("x-management-key", ISSUER)];
    let made = place.ask(Method::POST, "/tokens", &headers, body).await;
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!(made.header("cache-control"), Some("no-store"));
    let (id, token) = token_of(&made);
    assert_eq!(made.json()["cidrs"], json!(["127.0.0.0/8"]));
    // At once, without waiting for the news.
    assert_eq!(place.call(&token).await, 200);

    let secret = token.split_once('.').unwrap().1;
    let listed = place.get("/tokens").await;
    let shown = place.get(&format!("/tokens/{id}")).await;
    for answer in [&listed, &shown] {
        assert_eq!(answer.status, 200);
        let text = answer.text();
        assert!(!text.contains(secret) && !text.contains("argon2"), "{text}");
    }
    assert_eq!(shown.json()["state"], "active");
    assert_eq!(listed.json()["tokens"][0]["id"], *id);

    let path = format!("/tokens/{id}");
    let revoke =
        async |headers: &[(&str, &str)]| place.ask(Method::DELETE, &path, headers, "").await;
    let stale = [("x-management-key", ALL), ("if-match", "\"999999\"")];
    refused(&revoke(&stale).await, 412, "changed");
    assert_eq!(place.call(&token).await, 200);
    let seen = shown.header("etag").unwrap();
    let fresh = [("x-management-key", ALL), ("if-match", seen)];
    assert_eq!(revoke(&fresh).await.status, 204);
    assert_eq!(place.call(&token).await, 401);
    assert_eq!(revoke(&[("x-management-key", ALL)]).await.status, 204);
    refused(&revoke(&fresh).await, 412, "changed");
    assert_eq!(place.get(&path).await.json()["state"], "revoked");

    refused(&place.get("/tokens/nobody").await, 404, "unknown_token");
    for bad in [
        "",
        "{}",
        "[]",
        "nonsense",
        r#"{"name":""}"#,
        r#"{"name":"x","cidrs":["nowhere"]}"#,
        r#"{"name":"x","certificates":["00"]}"#,
        r#"{"name":"x","admin":true}"#,
    ] {
        refused(&place.post("/tokens", bad).await, 400, "invalid_request");
    }
    let large = format!(r#"{{"name":"{}"}}"#, "x".repeat(70_000));
    refused(&place.post("/tokens", &large).await, 413, "body_too_large");
    assert_eq!(place.tokens().await, 1);
}

#[tokio::test]
async fn a_rotated_token_goes_on_for_its_overlap() {
    let place = Place::new().await;
    let (id, old) = place.create().await;
    let path = format!("/tokens/{id}/rotate");
    let rotated = place.post(&path, r#"{"overlap":"2h"}"#).await;
    assert_eq!(rotated.status, 201, "{}", rotated.text());
    let (successor, new) = token_of(&rotated);
    assert_eq!((place.call(&old).await, place.call(&new).await), (200, 200));
    let shown = place.get(&format!("/tokens/{id}")).await.json();
    assert_eq!(shown["rotated_to"], *successor);
    place.time.advance(Duration::from_secs(2 * 3600 - 1));
    assert_eq!(place.call(&old).await, 200);
    place.time.advance(Duration::from_secs(1));
    assert_eq!((place.call(&old).await, place.call(&new).await), (401, 200));
    refused(&place.post(&path, "").await, 409, "token_revoked");
    let none = place.post("/tokens/nobody/rotate", "").await;
    refused(&none, 404, "unknown_token");
    let path = format!("/tokens/{successor}/rotate");
    let bad = place.post(&path, r#"{"overlap":"soon"}"#).await;
    refused(&bad, 400, "invalid_request");
}

#[tokio::test]
async fn a_request_that_is_sent_again_is_done_once() {
    let place = Place::new().await;
    let (id, _) = place.create().await;
    let path = format!("/tokens/{id}/rotate");
    let first = place.post_once(&path, "one", "{}").await;
    assert_eq!(
        (first.status, first.header("idempotency-replayed")),
        (201, None)
    );
    let (successor, _) = token_of(&first);
    let again = place.post_once(&path, "one", "").await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!((again.status, &again.body), (201, &first.body));
    assert_eq!(place.tokens().await, 2);

    // Another body, another path: another request.
    let other = place.post_once(&path, "one", r#"{"overlap":"1h"}"#).await;
    refused(&other, 422, "idempotency_key_reused");
    let other = place.post_once("/tokens", "one", r#"{"name":"x"}"#).await;
    refused(&other, 422, "idempotency_key_reused");
    // Another actor's keys are others.
    let headers = [("x-management-key", ISSUER), ("idempotency-key", "one")];
    let body = r#"{"name":"of-the-issuer"}"#;
    let issued = place.ask(Method::POST, "/tokens", &headers, body).await;
    assert_eq!(issued.status, 201);
    // What was not done may be tried again.
    let nobody = "/tokens/nobody/rotate";
    for _ in 0..2 {
        refused(
            &place.post_once(nobody, "two", "").await,
            404,
            "unknown_token",
        );
    }
    let bad = place.post_once(&path, "", "").await;
    refused(&bad, 400, "invalid_idempotency_key");

    // At once, and only one of them does it.
    let both = async { place.post_once("/tokens", "three", body).await };
    let (one, other) = tokio::join!(both, place.post_once("/tokens", "three", body));
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert!(matches!(statuses, [201, 201 | 409]), "{statuses:?}");
    assert_eq!(place.tokens().await, 4);

    // The secret is there for an hour, and for one process.
    let place = place.restarted().await;
    let after = place.post_once(&path, "one", "{}").await;
    refused(&after, 409, "done_before");
    assert!(after.text().contains(&successor), "{}", after.text());
    let late = place.post_once("/tokens", "four", body).await;
    place.time.advance(Duration::from_secs(3600));
    let made = token_of(&late).0;
    let late = place.post_once("/tokens", "four", body).await;
    refused(&late, 409, "done_before");
    assert!(late.text().contains(&made));
    place.time.advance(Duration::from_secs(23 * 3600));
    assert_eq!(place.post_once("/tokens", "four", body).await.status, 201);
}

#[tokio::test]
async fn credentials_are_shown_and_their_quota_and_cooldowns_cleared() {
    let place = Place::new().await;
    let listed = place.get("/auths").await.json();
    let ids: Vec<&str> = listed["auths"]
        .as_array()
        .unwrap()
        .iter()
        .map(|auth| auth["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["claude/main", "openai/one", "openai/two"]);
    let one = &listed["auths"][1];
    assert_eq!(
        (&one["type"], &one["status"]),
        (&json!("api_key"), &json!("active"))
    );
    assert_eq!(one["quota"]["limit"], 1000);
    let openai = place.get("/auths/openai").await.json();
    assert_eq!(openai["auths"].as_array().unwrap().len(), 2);
    let nobody = place.get("/auths/mistral").await;
    refused(&nobody, 404, "no_credentials");
    assert_eq!(
        nobody.json()["error"]["message"],
        "No credentials for provider mistral"
    );
    refused(&place.get("/auths/openai/quota").await, 409, "ambiguous");
    refused(
        &place.get("/auths/openai/quota?id=none").await,
        404,
        "unknown_credential",
    );
    assert_eq!(
        place.get("/auths/claude/quota").await.json()["limit"],
        Value::Null
    );

    // Both fail, then one of them has used something.
    for key in ["CANARY-upstream-1", "CANARY-upstream-2"] {
        let limited = Behaviour::rate_limited_without_hint();
        place.provider.script(key, [limited]);
    }
    assert_eq!(place.call("CANARY-of-a-client").await, 429);
    let status = async || {
        let listed = place.get("/auths/openai").await.json();
        [0, 1].map(|n| listed["auths"][n]["status"].as_str().unwrap().to_owned())
    };
    assert_eq!(status().await, ["cooling", "cooling"]);
    let cleared = place.post("/reset-quota", r#"{"id":"openai/one"}"#).await;
    assert_eq!(cleared.json(), json!({"reset": ["openai/one"]}));
    assert_eq!(status().await, ["active", "cooling"]);
    assert_eq!(place.call("CANARY-of-a-client").await, 200);
    place.house.settled().await;
    let used = async || {
        let quota = place.get("/auths/openai/quota?id=openai/one").await.json();
        assert_eq!(
            quota["used"].as_u64().unwrap() + quota["remaining"].as_u64().unwrap(),
            1000
        );
        quota["used"].as_u64().unwrap()
    };
    assert!(used().await > 0);
    assert_eq!(place.post("/reset-quota", "").await.status, 200);
    assert_eq!(used().await, 0);
    assert_eq!(status().await, ["active", "active"]);
    let nobody = place
        .post("/reset-quota", r#"{"provider":"mistral"}"#)
        .await;
    refused(&nobody, 404, "no_credentials");
    // It is so after a restart, too.
    let place = place.restarted().await;
    let quota = place.get("/auths/openai/quota?id=openai/one").await.json();
    assert_eq!(quota["used"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_added_used_and_removed() {
    let place = Place::with(&keys()).await;
    let body = json!({
        "provider": "openai", "type": "api_key", "token": "CANARY-added-1", "label": "late",
        "priority": 0, "quota": {"limit": 77}
    });
    let added = place.post("/auths", &body.to_string()).await;
    assert_eq!(added.status, 201, "{}", added.text());
    assert!(!added.text().contains("CANARY"), "{}", added.text());
    let entry = added.json();
    let id = entry["id"].as_str().unwrap().to_owned();
    assert_eq!(
        (&entry["label"], &entry["priority"]),
        (&json!("late"), &json!(0))
    );
    assert_eq!(
        (&entry["status"], &entry["quota"]["limit"]),
        (&json!("active"), &json!(77))
    );
    // It is the first now.
    assert_eq!(place.call("CANARY-of-a-client").await, 200);
    assert_eq!(place.provider.calls().last().unwrap().key, "CANARY-added-1");

    let same = place.post("/auths", &body.to_string()).await;
    refused(&same, 409, "same_secret");
    assert!(same.text().contains(&id), "{}", same.text());
    let mut configured = body.clone();
    configured["token"] = json!("CANARY-upstream-1");
    refused(
        &place.post("/auths", &configured.to_string()).await,
        409,
        "same_secret",
    );
    for (key, value) in [
        ("type", json!("oauth")),
        ("token", Value::Null),
        ("token", json!("")),
        ("token", json!("CANARY with blanks")),
        ("token", json!("your-api-key-1")),
        ("provider", json!("nobodys")),
        ("provider", json!("../openai")),
        ("provider", json!("")),
        ("weight", json!(0)),
        ("unknown", json!(1)),
    ] {
        let mut bad = body.clone();
        if key != "token" {
            bad["token"] = json!("CANARY-added-2");
        }
        bad[key] = value.clone();
        let answer = place.post("/auths", &bad.to_string()).await;
        refused(&answer, 400, "invalid_request");
        assert!(!answer.text().contains("CANARY"), "{}", answer.text());
    }
    let files = std::fs::read_dir(place.house.dir.path().join("auths")).unwrap();
    let paths = files.map(|file| file.unwrap().path());
    let is_credential =
        |path: &std::path::PathBuf| path.extension().is_some_and(|end| end == "json");
    assert_eq!(paths.filter(is_credential).count(), 1);

    let place = place.restarted().await;
    let listed = place.get("/auths/openai").await.json();
    let mut ids = listed["auths"]
        .as_array()
        .unwrap()
        .iter()
        .map(|auth| &auth["id"]);
    assert!(ids.any(|listed| *listed == *id));
    let remove = async |path: &str| {
        let headers = [("x-management-key", ALL)];
        place.ask(Method::DELETE, path, &headers, "").await
    };
    refused(&remove("/auths/openai").await, 400, "invalid_request");
    refused(
        &remove("/auths/openai?id=openai/one").await,
        409,
        "configured",
    );
    refused(&remove("/auths/mistral?id=x").await, 404, "no_credentials");
    let unknown = remove("/auths/openai?id=CANARY-made-up").await;
    refused(&unknown, 404, "unknown_credential");
    assert!(!unknown.text().contains("CANARY"));
    assert_eq!(remove("/auths/openai?id=CANARY-added-1").await.status, 204);
    refused(
        &remove(&format!("/auths/openai?id={id}")).await,
        404,
        "unknown_credential",
    );
    assert_eq!(place.call("CANARY-of-a-client").await, 200);
    assert_ne!(place.provider.calls().last().unwrap().key, "CANARY-added-1");
    let again = place.post("/auths", &body.to_string()).await;
    assert_eq!(again.status, 201, "{}", again.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_changed_and_nobodys_change_is_lost() {
    let place = Place::with(&keys()).await;
    let body = json!({
        "provider": "openai", "type": "api_key", "token": "CANARY-added-1", "label": "late",
        "priority": 0, "quota": {"limit": 1000}
    });
    let added = place.post("/auths", &body.to_string()).await;
    let id = added.json()["id"].as_str().unwrap().to_owned();
    let put = async |path: &str, headers: &[(&str, &str)], body: Value| {
        let headers = [&[("x-management-key", ALL)], headers].concat();
        place
            .ask(Method::PUT, path, &headers, &body.to_string())
            .await
    };
    let auth = format!("/auths/openai?id={id}");
    let quota = format!("/auths/openai/quota?id={id}");
    assert_eq!(place.call("CANARY-of-a-client").await, 200);
    let before = place.get(&quota).await;
    let used = before.json()["used"].as_u64().unwrap();
    assert!(used > 0);
    let tag = before.header("etag").unwrap().to_owned();

    // What is not named stays, and what was used stays used.
    let set = put(&quota, &[("if-match", &tag)], json!({"limit": used + 5})).await;
    assert_eq!(set.status, 200, "{}", set.text());
    let (now, next) = (set.json(), set.header("etag").unwrap().to_owned());
    assert_eq!(
        [&now["limit"], &now["used"], &now["remaining"]],
        [&json!(used + 5), &json!(used), &json!(5)]
    );
    // Of two who looked at the same one changes it.
    let late = put(&quota, &[("if-match", &tag)], json!({"limit": 1})).await;
    refused(&late, 412, "changed");
    let late = put(&auth, &[("if-match", &tag)], json!({"weight": 9})).await;
    refused(&late, 412, "changed");
    let changed = put(
        &auth,
        &[("if-match", &next)],
        json!({"weight": 9, "label": "later"}),
    )
    .await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    let entry = changed.json();
    assert_eq!(
        [
            &entry["weight"],
            &entry["label"],
            &entry["priority"],
            &entry["quota"]["limit"]
        ],
        [&json!(9), &json!("later"), &json!(0), &json!(used + 5)]
    );

    // Another key, at once; switched off, and on again.
    let other = put(
        &auth,
        &[],
        json!({"type": "api_key", "token": "CANARY-added-2"}),
    )
    .await;
    assert_eq!(other.status, 200, "{}", other.text());
    assert!(!other.text().contains("CANARY"));
    let free = put(&quota, &[], json!({"limit": null})).await;
    assert_eq!(free.json()["limit"], Value::Null, "{}", free.text());
    assert_eq!(place.call("CANARY-of-a-client").await, 200);
    assert_eq!(place.provider.calls().last().unwrap().key, "CANARY-added-2");
    let off = put(&auth, &[], json!({"disabled": true})).await;
    assert_eq!(off.json()["status"], "disabled", "{}", off.text());
    assert_eq!(place.call("CANARY-of-a-client").await, 200);
    assert_ne!(place.provider.calls().last().unwrap().key, "CANARY-added-2");
    refused(
        &put(&quota, &[], json!({"limit": 5})).await,
        409,
        "unusable",
    );
    let on = put(&auth, &[], json!({"disabled": false})).await;
    assert_eq!(on.json()["status"], "active", "{}", on.text());

    for (path, body, status, code) in [
        ("/auths/openai", json!({"weight": 2}), 409, "ambiguous"),
        (
            "/auths/openai?id=openai/one",
            json!({"weight": 2}),
            409,
            "configured",
        ),
        (
            "/auths/claude/quota",
            json!({"limit": 2}),
            409,
            "configured",
        ),
        (
            "/auths/mistral",
            json!({"weight": 2}),
            404,
            "no_credentials",
        ),
        (
            "/auths/openai?id=none",
            json!({"weight": 2}),
            404,
            "unknown_credential",
        ),
        (&*auth, json!({"weight": 0}), 400, "invalid_request"),
        (
            &*auth,
            json!({"provider": "claude"}),
            400,
            "invalid_request",
        ),
        (&*auth, json!({"type": "oauth"}), 400, "invalid_request"),
        (
            &*auth,
            json!({"token": "CANARY with blanks"}),
            400,
            "invalid_request",
        ),
        (
            &*auth,
            json!({"token": "CANARY-upstream-1"}),
            409,
            "same_secret",
        ),
        (&*quota, json!({}), 400, "invalid_request"),
        (&*quota, json!({"limit": -1}), 400, "invalid_request"),
    ] {
        let answer = put(path, &[], body.clone()).await;
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.text());
        refused(&answer, status, code);
        assert!(!answer.text().contains("CANARY"), "{}", answer.text());
    }
    // It is so after a restart, too.
    let place = place.restarted().await;
    let listed = place.get("/auths/openai").await.json();
    let mut listed = listed["auths"].as_array().unwrap().iter();
    let entry = listed.find(|one| one["id"] == *id).unwrap();
    assert_eq!(
        [&entry["weight"], &entry["label"]],
        [&json!(9), &json!("later")]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_is_shown_and_read_again() {
    let place = Place::new().await;
    let shown = place.get("/config").await;
    assert_eq!(
        (shown.status, &shown.json()["generation"]),
        (200, &json!(1))
    );
    assert_eq!(shown.json()["config"]["max_retry_interval"], 0);
    assert!(!shown.text().contains("CANARY"), "{}", shown.text());

    let good = yaml(&place.provider, &keys());
    replace(
        &place.house.config,
        &good.replace(READER, "the-new-reader-9876"),
    );
    let reloaded = place.post("/reload", "").await;
    assert_eq!(reloaded.status, 200, "{}", reloaded.text());
    let generation = reloaded.json()["generation"].as_u64().unwrap();
    assert!(generation >= 2);
    let who = async |key: &str| {
        let headers = [("x-management-key", key)];
        place.ask(Method::GET, "/whoami", &headers, "").await.status
    };
    assert_eq!(
        (who(READER).await, who("the-new-reader-9876").await),
        (401, 200)
    );

    replace(&place.house.config, "admin: {keys: [{key: short}]}\n");
    let bad = place.post("/reload", "").await;
    refused(&bad, 422, "invalid_configuration");
    assert!(bad.text().contains("admin.keys[0].key"), "{}", bad.text());
    let shown = place.get("/config").await.json();
    assert_eq!(shown["generation"], generation);
    // This process has no log of its own.
    refused(&place.get("/log-level").await, 409, "no_log");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_log_line_holds_a_secret_and_the_level_of_the_log_is_changed() {
    let provider = FakeProvider::start(Options::default()).await;
    let yaml = yaml(&provider, &keys());
    let binary = Binary::start(&yaml, &["--log-level", "trace"]).await;
    let send = async |request: Request<Full<Bytes>>| {
        let admin = TcpStream::connect(binary.admin).await.unwrap();
        let mut client = Client::on(admin, Http::One).await;
        Answer::read(client.send(request).await.unwrap()).await
    };
    let ask = async |method: Method, path: &str, body: &str| {
        let bearer = format!("Bearer {ALL}");
        let headers = [("authorization", &*bearer), ("idempotency-key", path)];
        send(request(method, path, &headers, body)).await
    };
    let made = ask(Method::POST, "/tokens", r#"{"name":"laptop"}"#).await;
    let (id, token) = token_of(&made);
    let rotated = ask(Method::POST, &format!("/tokens/{id}/rotate"), "").await;
    let (_, next) = token_of(&rotated);
    let wrong = [("authorization", "Bearer CANARY-a-wrong-one")];
    send(request(Method::GET, "/whoami", &wrong, "")).await;
    ask(Method::POST, "/tokens", r#"{"name":{"CANARY":1}}"#).await;
    ask(Method::POST, "/reset-quota", "").await;
    ask(Method::POST, "/reload", "").await;
    for path in ["/config", "/auths", "/tokens", "/openapi.json"] {
        let answer = ask(Method::GET, path, "").await;
        assert_eq!(answer.status, 200);
        assert!(!answer.text().contains("CANARY"), "{path}");
    }

    // Named on the command line: the configuration does not change it, an operator does.
    let shown = ask(Method::GET, "/log-level", "").await;
    assert_eq!(shown.json(), json!({"level": "trace"}));
    let stale = [("x-management-key", ALL), ("if-match", "\"info\"")];
    let set = r#"{"level":"error"}"#;
    let answer = send(request(Method::PUT, "/log-level", &stale, set)).await;
    refused(&answer, 412, "changed");
    let fresh = [("x-management-key", ALL), ("if-match", "\"trace\"")];
    let answer = send(request(Method::PUT, "/log-level", &fresh, set)).await;
    assert_eq!(answer.json(), json!({"level": "error"}));
    assert_eq!(answer.header("etag"), Some("\"error\""));
    until(|| binary.log().contains("managed")).await;
    ask(Method::POST, "/tokens/none/rotate", "").await;

    let kept = binary.kept();
    let log = binary.stop().await;
    assert!(
        log.contains("rotated an agent token") && log.contains("actor=\"ops\""),
        "{log}"
    );
    assert!(
        !log.contains("stopping"),
        "the level was not changed: {log}"
    );
    let secrets = [&token, &next].map(|token| token.split_once('.').unwrap().1);
    for secret in secrets.into_iter().chain(["CANARY"]) {
        assert!(!log.contains(secret), "the log has {secret}");
        assert!(!kept.contains(secret), "the store has {secret}");
    }
}

/// The id of the decision about a call that was refused.
async fn decided(place: &Place) -> String {
    let mut client = Client::connect(&place.house, Http::One).await;
    let answer = post_with(&mut client, CHAT.path, &[], CHAT.body).await;
    answer.header("x-turnpike-decision").unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_says_what_is_done() {
    let place = Place::new().await;
    let document = place.get("/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    let mut walked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let (id, _) = place.create().await;
            let under = path.strip_prefix(ROOT).unwrap();
            let session = someone(&place).await;
            let id = match operation["operationId"].as_str() {
                Some("end_session") => session,
                Some("show_decision") => decided(&place).await,
                _ => id,
            };
            let under = under.replace("{provider}", "claude").replace("{id}", &id);
            let under = match operation["operationId"].as_str() {
                Some("remove_credential" | "update_credential" | "set_quota") => {
                    format!("{under}?id=claude/main")
                }
                _ => under,
            };
            let method: Method = method.to_uppercase().parse().unwrap();
            let name = operation["operationId"].as_str().unwrap();
            let body = match name {
                "add_credential" => {
                    r#"{"provider":"openai","type":"api_key","token":"added-by-the-walk-1"}"#
                }
                "create_token" => r#"{"name":"made-by-the-walk"}"#,
                "set_log_level" => r#"{"level":"debug"}"#,
                "update_credential" => r#"{"weight":2}"#,
                "set_quota" => r#"{"limit":2}"#,
                _ => "",
            };
            let answer = place
                .ask(method.clone(), &under, &[("x-management-key", ALL)], body)
                .await;
            conforms(&document, operation, &answer);
            // What there is no log for in this process is proven with the binary.
            let is_good = answer.status < 300
                // What is written in the configuration is changed there.
                || (under.ends_with("?id=claude/main") && answer.status == 409)
                || name.ends_with("log_level");
            assert!(is_good, "{name}: {}", answer.text());
            // A key without the scope that the document asks for.
            let scope = &operation["security"][0]["bearer"][0];
            let keys = match scope.as_str() {
                Some("tokens:read" | "credentials:read") => &[ISSUER][..],
                Some("tokens:write") => &[READER],
                Some(_) => &[READER, ISSUER],
                None => &[],
            };
            for key in keys {
                let headers = [("x-management-key", *key)];
                let answer = place.ask(method.clone(), &under, &headers, body).await;
                refused(&answer, 403, "missing_scope");
                assert!(answer.text().contains(scope.as_str().unwrap()), "{name}");
                conforms(&document, operation, &answer);
            }
            walked += 1;
        }
    }
    assert_eq!(walked, 29, "a new operation belongs into this walk");
}

/// Somebody who is logged in: the id of their session.
async fn someone(place: &Place) -> String {
    let person = session::Person {
        issuer: "https://idp.example".into(),
        subject: "ada".into(),
        ..session::Person::default()
    };
    let id = person.key();
    let login = session::Login {
        person,
        provider: "company".into(),
        roles: Vec::new(),
        provider_of: None,
    };
    let (store, hour) = (
        &*place.house.gateway.runtime.store,
        Duration::from_secs(3600),
    );
    session::sign_in(store, &login, hour, NOON).await.unwrap();
    id
}

/// Holds an answer against what the document says of it.
fn conforms(document: &Value, operation: &Value, answer: &Answer) {
    let name = &operation["operationId"];
    let responses = &operation["responses"];
    let described = match &responses[answer.status.to_string()] {
        Value::Null => {
            assert!(
                answer.status >= 400,
                "{name}: {} is not described",
                answer.status
            );
            &responses["default"]
        }
        described => described,
    };
    let schema = &described["content"]["application/json"]["schema"];
    if schema.is_null() {
        assert!(answer.body.is_empty(), "{name}: {}", answer.text());
        return;
    }
    let schema = json!({ "allOf": [schema], "components": document["components"] });
    let validator = jsonschema::validator_for(&schema).unwrap();
    let body = answer.json();
    let wrong: Vec<String> = validator
        .iter_errors(&body)
        .map(|error| error.to_string())
        .collect();
    assert!(wrong.is_empty(), "{name}: {wrong:?} in {}", answer.text());
}
