//! Whatever is changed is on record: who did it, to what, and how it was and is.

use std::collections::BTreeSet;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use turnpike_api::Clock;
use turnpike_credentials::WriteLock;
use turnpike_identity::sso::LoginRate;

use super::*;
use crate::audit::{records, stopped};

/// An address that tries to log in.
const ADDRESS: &str = "ip 203.0.113.7";

/// An operation, what is sent, and what is on record of it. `Some("")` = nothing is said of that side.
struct Row {
    operation: &'static str,
    sent: (Method, String, Value),
    before: &'static str,
    after: &'static str,
}

fn row(
    operation: &'static str,
    method: Method,
    path: impl Into<String>,
    body: Value,
    (before, after): (&'static str, &'static str),
) -> Row {
    Row {
        operation,
        sent: (method, path.into(), body),
        before,
        after,
    }
}

/// The files of a gateway with a session and an attempt to log in.
async fn furnished(provider: &FakeProvider) -> (tempfile::TempDir, String, String) {
    let house = House::serve(&yaml(provider, &keys())).await;
    let (store, now) = (
        &*house.gateway.runtime.store,
        house.gateway.runtime.board.time.now(),
    );
    let person = session::Person {
        issuer: "https://idp.example".into(),
        subject: "ada".into(),
        ..session::Person::default()
    };
    let key = person.key();
    let login = session::Login {
        person,
        provider: "company".into(),
        roles: Vec::new(),
        provider_of: None,
    };
    let hour = Duration::from_secs(3600);
    session::sign_in(store, &login, hour, now).await.unwrap();
    let rate = LoginRate {
        attempts: 3,
        multiplier: 2,
        max: hour,
    };
    let counted = rate.count(store, ADDRESS, now).await.unwrap();
    assert!(counted.is_ok());
    let (dir, yaml) = house.left().await;
    (dir, yaml, key)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_write_leaves_one_record_of_what_changed() {
    let provider = FakeProvider::start(Options::default()).await;
    let (dir, yaml, session) = furnished(&provider).await;
    let binary = Binary::start_after(&yaml, dir.path()).await;
    let ask = async |method: Method, path: &str, body: &Value| {
        let admin = TcpStream::connect(binary.admin).await.unwrap();
        let mut client = Client::on(admin, Http::One).await;
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let request = request(method, path, &[("x-management-key", ALL)], &body);
        Answer::read(client.send(request).await.unwrap()).await
    };
    let trail = binary.config.with_file_name("audit.jsonl");
    let managed = || {
        let mut all = records(&trail);
        all.retain(|one| one["event"] == "managed");
        all
    };

    // What the others are about is made first.
    let body = json!({"provider": "openai", "type": "api_key", "token": "CANARY-walked-1", "label": "walked"});
    let added = ask(Method::POST, "/auths", &body).await;
    let credential = added.json()["id"].as_str().unwrap().to_owned();
    let made = ask(Method::POST, "/tokens", &json!({"name": "walked"})).await;
    let token = token_of(&made).0;
    until(|| managed().len() == 2).await;
    let (none, id) = (Value::Null, format!("id={credential}"));
    let rows = [
        row(
            "add_credential",
            Method::POST,
            "/auths",
            json!({"provider": "openai", "type": "api_key", "token": "CANARY-walked-2", "label": "second", "quota": {"limit": 9}}),
            ("", "label \"second\", priority 1, weight 1, limit 9"),
        ),
        row(
            "update_credential",
            Method::PUT,
            format!("/auths/openai?{id}"),
            json!({"weight": 2, "token": "CANARY-walked-3"}),
            ("key as it was, weight 1", "key another one, weight 2"),
        ),
        row(
            "set_quota",
            Method::PUT,
            format!("/auths/openai/quota?{id}"),
            json!({"limit": 7}),
            ("limit none", "limit 7"),
        ),
        row(
            "reset_quota",
            Method::POST,
            "/reset-quota",
            json!({"id": credential}),
            ("used 0, cooldowns 0", "used 0, cooldowns 0"),
        ),
        row(
            "remove_credential",
            Method::DELETE,
            format!("/auths/openai?{id}"),
            none.clone(),
            ("label \"walked\", priority 1, weight 2, limit 7", ""),
        ),
        row(
            "create_token",
            Method::POST,
            "/tokens",
            json!({"name": "new", "cidrs": ["10.0.0.0/8"]}),
            ("", "name \"new\", state active, cidrs 10.0.0.0/8"),
        ),
        row(
            "rotate_token",
            Method::POST,
            format!("/tokens/{token}/rotate"),
            none.clone(),
            ("name \"walked\", state active", "rotated to "),
        ),
        row(
            "revoke_token",
            Method::DELETE,
            format!("/tokens/{token}"),
            none.clone(),
            ("state active", "state revoked"),
        ),
        row(
            "end_session",
            Method::DELETE,
            format!("/sessions/{session}"),
            none.clone(),
            ("live true", "live false"),
        ),
        row(
            "clear_login_rate_limits",
            Method::DELETE,
            format!("/login-rate-limits?id={}", ADDRESS.replace(' ', "%20")),
            none.clone(),
            ("counted 1, attempts 1", "counted 0, attempts 0"),
        ),
        row(
            "reload",
            Method::POST,
            "/reload",
            none,
            ("generation 1, digest ", "generation 2, digest "),
        ),
        row(
            "set_log_level",
            Method::PUT,
            "/log-level",
            json!({"level": "debug"}),
            ("trace", "debug"),
        ),
    ];
    let openapi = ask(Method::GET, "/openapi.json", &Value::Null).await.json();
    let paths = openapi["paths"].as_object().unwrap().values();
    let writing = paths.flat_map(|path| path.as_object().unwrap());
    let writing: BTreeSet<&str> = writing
        .filter(|(method, _)| *method != "get")
        .map(|(_, operation)| operation["operationId"].as_str().unwrap())
        .collect();
    let walked: BTreeSet<&str> = rows.iter().map(|row| row.operation).collect();
    assert_eq!(walked, writing, "each operation that changes something");

    for (at, row) in rows.iter().enumerate() {
        let (method, path, body) = &row.sent;
        let answer = ask(method.clone(), path, body).await;
        assert!(answer.status < 300, "{}: {}", row.operation, answer.text());
        until(|| managed().len() > 2 + at).await;
        let all = managed();
        assert_eq!(all.len(), 3 + at, "{}: one record", row.operation);
        let record = all.last().unwrap();
        assert_eq!(record["actor"], "ops", "{record}");
        assert!(record["subject"].is_string(), "{record}");
        for (side, expected) in [("before", row.before), ("after", row.after)] {
            match expected {
                "" => assert!(record[side].is_null(), "{record}"),
                words => assert!(
                    record[side].as_str().unwrap_or_default().contains(words),
                    "{}: {words} in {side} of {record}",
                    row.operation
                ),
            }
        }
    }
    let mut binary = binary;
    binary.stop_in_place().await;
    assert_eq!(managed().len(), 2 + rows.len());
    // What has a record of its own has no other.
    let mut asked = records(&trail);
    asked.retain(|one| one["event"] == "management.request");
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(asked[0]["route"], "/v0/management/openapi.json");
    assert!(!std::fs::read_to_string(&trail).unwrap().contains("CANARY"));
}

/// What is on record of a request that changed nothing.
fn row_of(record: &Value) -> (&str, &str, &str, u64, &str) {
    let text = |name: &str| record[name].as_str().unwrap_or_default();
    assert_eq!(record["client"], "127.0.0.1");
    (
        text("actor"),
        text("method"),
        text("route"),
        record["status"].as_u64().unwrap(),
        text("reason"),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_looked_at_and_what_is_not_done_is_on_record() {
    let place = Place::new().await;
    let level = "/v0/management/log-level";
    let rows = [
        ("ops", "GET", "/tokens", "/v0/management/tokens", 200, ""),
        (
            "ops",
            "GET",
            "/tokens/nobody",
            "/v0/management/tokens/{id}",
            404,
            "unknown_token",
        ),
        ("reader", "GET", "/tokens", "/v0/management/tokens", 200, ""),
        ("reader", "GET", "/log-level", level, 403, "missing_scope"),
        ("reader", "PUT", "/log-level", level, 403, "missing_scope"),
        (
            "ops",
            "DELETE",
            "/tokens/made-before",
            "/v0/management/tokens/{id}",
            412,
            "changed",
        ),
        (
            "issuer",
            "POST",
            "/tokens",
            "/v0/management/tokens",
            400,
            "invalid_request",
        ),
        (
            "ops",
            "DELETE",
            "/tokens/nobody",
            "/v0/management/tokens/{id}",
            404,
            "unknown_token",
        ),
        (
            "ops",
            "PATCH",
            "/tokens",
            "/v0/management/tokens",
            405,
            "method_not_allowed",
        ),
        ("ops", "GET", "/nothing/of/ours", "", 404, "not_found"),
    ];
    let key = [("x-management-key", ALL)];
    let body = r#"{"name":"made-before"}"#;
    let made = token_of(&place.ask(Method::POST, "/tokens", &key, body).await);
    for (actor, method, path, _, status, _) in rows {
        let path = &path.replace("made-before", &made.0);
        let key = match actor {
            "reader" => READER,
            "issuer" => ISSUER,
            _ => ALL,
        };
        // Of another state than there is.
        let headers = [("x-management-key", key), ("if-match", "\"other\"")];
        let method = method.parse().unwrap();
        let answer = place
            .ask(method, path, &headers, r#"{"level":"debug"}"#)
            .await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
    }
    // Who has no key is nobody.
    let stranger = place.ask(Method::GET, "/tokens", &[], "").await;
    assert_eq!(stranger.status, 401);
    let mut all = stopped(&place.house).await;
    all.retain(|one| one["event"] == "management.request");
    let told: Vec<_> = all.iter().map(row_of).collect();
    let rows = rows.map(|(actor, method, _, route, status, reason)| {
        (actor, method, route, u64::from(status), reason)
    });
    assert_eq!(told, rows);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dashboard_that_asks_all_the_time_is_told_once_a_minute() {
    let place = Place::new().await;
    let look = async || {
        let key = [("x-management-key", READER)];
        place.ask(Method::GET, "/tokens", &key, "").await
    };
    for _ in 0..5 {
        assert_eq!(look().await.status, 200);
    }
    place.time.advance(Duration::from_secs(60));
    assert_eq!(look().await.status, 200);
    let mut all = stopped(&place.house).await;
    all.retain(|one| one["event"] == "management.request");
    let untold: Vec<_> = all.iter().map(|one| one["untold"].as_u64()).collect();
    assert_eq!(untold, [None, Some(4)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_waits_for_is_told_once_when_it_is_done() {
    let place = Place::new().await;
    let trail = place.house.dir.path().join("audit.jsonl");
    let told = |mut all: Vec<Value>| {
        all.retain(|one| one["event"] == "managed" || one["event"] == "management.request");
        all
    };
    // The second time the credential is there.
    for times in 1..=2 {
        // Another replica writes, and so the change waits.
        let lock = WriteLock::try_take(&place.house.dir.path().join("auths")).unwrap();
        assert!(lock.is_some());
        leave_while_adding(&place).await;
        drop(lock);
        until(|| told(records(&trail)).len() >= times).await;
    }
    let all = told(stopped(&place.house).await);
    let events: Vec<_> = all.iter().map(|one| &one["event"]).collect();
    assert_eq!(events, ["managed", "management.request"], "{all:?}");
    assert_eq!(all[1]["status"], 499, "nobody was told why it was not done");
}

/// Adds a credential as an operator who leaves before the answer.
async fn leave_while_adding(place: &Place) {
    let body = r#"{"provider":"openai","type":"api_key","token":"CANARY-left-1"}"#;
    let head = format!(
        "POST {ROOT}/auths HTTP/1.1\r\nhost: localhost\r\nx-management-key: {ALL}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut operator = TcpStream::connect(place.house.gateway.admin).await.unwrap();
    let request = head + body;
    operator.write_all(request.as_bytes()).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(300), operator.read_u8()).await;
    assert!(early.is_err(), "it waits: {early:?}");
    operator.shutdown().await.unwrap();
    // The gateway has noticed when it hangs up as well.
    let answered = operator.read(&mut [0]).await.unwrap();
    assert_eq!(answered, 0, "it answered nothing");
}
