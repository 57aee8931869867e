//! Every route of the management API × every object of another tenant: it is as if it were not
//! there, and nothing of it changes. The routes are those of the document: one without a row here
//! fails.

use std::time::Duration;

use serde_json::{Value, json};
use turnpike_identity::sso::{LoginRate, session};

use super::{ACME_OPS, NOON, OPS, Place, UMBRA, UMBRA_HOST, UMBRA_OPS, told};
use crate::harness::Answer;

const HOUR: Duration = Duration::from_secs(3600);

/// What umbra has.
struct Umbras {
    token: String,
    session: String,
    attempts: String,
    decision: String,
}

/// A question about something of umbra's, and the same about nothing.
struct Row {
    path: String,
    body: Value,
    about: Option<About>,
}

/// The words that stand for umbra's, and those that stand for nobody's in their place.
struct About {
    theirs: String,
    nobodys: String,
}

fn row(path: impl Into<String>) -> Row {
    Row {
        path: path.into(),
        body: Value::Null,
        about: None,
    }
}

impl Row {
    fn with(self, body: Value) -> Self {
        Self { body, ..self }
    }

    fn about(self, theirs: &str, nobodys: &str) -> Self {
        let about = About {
            theirs: theirs.to_owned(),
            nobodys: nobodys.to_owned(),
        };
        Self {
            about: Some(about),
            ..self
        }
    }

    fn asks(&self, word: impl Fn(&str) -> String) -> (String, String) {
        let body = match &self.body {
            Value::Null => String::new(),
            body => word(&body.to_string()),
        };
        (word(&self.path), body)
    }
}

fn rows(operation: &str, of: &Umbras) -> Vec<Row> {
    let Umbras {
        token,
        session,
        attempts,
        decision,
    } = of;
    let nobody = "aaaaaaaaaaaaaaaa";
    let credential = |path: &str| row(path).about("umbra-1", "nobody-1");
    let provider = |path: &str| row(path).about("umbras", "nobody");
    let on_token = |under: &str| row(format!("/tokens/{token}{under}")).about(token, nobody);
    let key = |more: Value| {
        let mut body = json!({"provider": "openai", "type": "api_key", "token": "sk-of-acme-new"});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        row("/auths").with(body)
    };
    match operation {
        "whoami" | "show_openapi" => vec![row(match operation {
            "whoami" => "/whoami",
            _ => "/openapi.json",
        })],
        "list_credentials" => vec![row("/auths")],
        "list_credentials_of_provider" => vec![row("/auths/openai"), provider("/auths/umbras")],
        "show_quota" => vec![
            credential("/auths/openai/quota?id=openai%2Fumbra-1"),
            provider("/auths/umbras/quota"),
            provider("/auths/umbras/quota?id=umbras%2Fonly"),
        ],
        "add_credential" => vec![
            key(json!({"pool": "umbra"})).about("\"umbra\"", "\"nobody\""),
            key(json!({"provider": "umbras"})).about("umbras", "nobody"),
            // The same secret as umbra's is any secret.
            key(json!({"token": "sk-umbra-1"})),
        ],
        "update_credential" => vec![
            credential("/auths/openai?id=openai%2Fumbra-1").with(json!({"weight": 2})),
            provider("/auths/umbras").with(json!({"weight": 2})),
            provider("/auths/umbras?id=umbras%2Fonly").with(json!({"disabled": true})),
        ],
        "set_quota" => vec![
            credential("/auths/openai/quota?id=openai%2Fumbra-1").with(json!({"limit": 9})),
            provider("/auths/umbras/quota").with(json!({"limit": 9})),
        ],
        "remove_credential" => vec![
            credential("/auths/openai?id=openai%2Fumbra-1"),
            row("/auths/openai?id=sk-umbra-9").about("sk-umbra-9", "sk-nobody-9"),
            provider("/auths/umbras?id=umbras%2Fonly"),
        ],
        "reset_quota" => vec![
            row("/reset-quota")
                .with(json!({"id": "openai/umbra-1"}))
                .about("umbra-1", "nobody-1"),
            row("/reset-quota")
                .with(json!({"provider": "umbras"}))
                .about("umbras", "nobody"),
            row("/reset-quota").with(json!({})),
        ],
        "list_tokens" => vec![row("/tokens")],
        "show_token" => vec![on_token("")],
        "show_token_roles" => vec![on_token("/roles")],
        "create_token" => vec![
            row("/tokens")
                .with(json!({"name": "x", "tenant": "umbra"}))
                .about("\"umbra\"", "\"nobody\""),
            row("/tokens").with(json!({"name": "acmes own"})),
        ],
        "rotate_token" => vec![on_token("/rotate")],
        "revoke_token" => vec![on_token("")],
        "list_sessions" => vec![row("/sessions")],
        "end_session" => vec![row(format!("/sessions/{session}")).about(session, nobody)],
        "list_login_rate_limits" => vec![row("/login-rate-limits")],
        "clear_login_rate_limits" => vec![
            row(format!(
                "/login-rate-limits?id={}",
                attempts.replace(' ', "%20")
            ))
            .about(&attempts.replace(' ', "%20"), nobody),
            row("/login-rate-limits"),
        ],
        "list_limits" => vec![
            row("/limits"),
            row("/limits?name=umbras-limit").about("umbras-limit", "nobodys-limit"),
            row("/limits?tenant=umbra").about("umbra", "nobody"),
            row("/limits?subject=umbra").about("umbra", "nobody"),
        ],
        "report_usage" => vec![
            row("/usage"),
            row("/usage?by=tenant,user,token,model,credential"),
            row("/usage?by=token&format=csv"),
            row("/usage?tenant=umbra").about("umbra", "nobody"),
            row("/usage?by=token&user=umbras-ada").about("umbras-ada", "nobodys-ada"),
            row("/usage?credential=openai%2Fumbra-1").about("umbra-1", "nobody-1"),
        ],
        "list_decisions" => vec![row("/decisions")],
        "show_decision" => vec![row(format!("/decisions/{decision}")).about(decision, nobody)],
        "show_config" => vec![row("/config")],
        "list_replicas" => vec![row("/replicas")],
        "reload" => vec![row("/reload")],
        "show_log_level" => vec![row("/log-level")],
        "set_log_level" => vec![row("/log-level").with(json!({"level": "debug"}))],
        new => panic!("the operation {new} has no row in the matrix of tenants"),
    }
}

/// These are of the whole gateway: a tenant's key does none of them.
const OF_THE_PROCESS: [&str; 5] = [
    "show_config",
    "list_replicas",
    "reload",
    "show_log_level",
    "set_log_level",
];

/// Umbra with everything that there is.
async fn furnished(place: &Place) -> Umbras {
    let (token, _) = place.token(Some("umbra"), "umbras laptop").await;
    assert_eq!(place.chat("localhost", UMBRA).await.status, 200);
    let store = &*place.house.gateway.runtime.store;
    let person = session::Person {
        issuer: "https://umbras-idp.example".into(),
        subject: "umbras-ada".into(),
        tenant: Some("umbra".into()),
        ..session::Person::default()
    };
    let session = person.key();
    let login = session::Login {
        person,
        provider: "company".into(),
        provider_of: None,
        roles: Vec::new(),
    };
    session::sign_in(store, &login, HOUR, NOON).await.unwrap();
    let attempts = LoginRate::of_person(&session);
    let rate = LoginRate {
        attempts: 3,
        multiplier: 2,
        max: HOUR,
    };
    let counted = rate.count(store, &attempts, NOON).await;
    assert!(counted.unwrap().is_ok());
    // The limit that fell, and a stranger at its host.
    let refused = place.chat("localhost", UMBRA).await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    place.chat(UMBRA_HOST, "a-key-that-nobody-has").await;
    Umbras {
        token,
        session,
        attempts,
        decision: refused.header("x-turnpike-decision").unwrap().to_owned(),
    }
}

/// Everything of umbra's, as its own operator sees it.
async fn seen(place: &Place) -> Vec<String> {
    let mut seen = Vec::new();
    for path in [
        "/auths",
        "/tokens",
        "/sessions",
        "/login-rate-limits",
        "/limits",
        "/decisions",
        "/usage?by=tenant,token,credential",
    ] {
        let answer = place.manage("GET", path, UMBRA_OPS, "").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        seen.push(answer.text().to_owned());
    }
    seen
}

fn names_nothing_of(answer: &Answer, of: &Umbras, what: &str) {
    let words = [&*of.token, &*of.session, &*of.decision, "umbra", "sk-umbra"];
    for word in words {
        assert!(
            !answer.text().contains(word),
            "{what}: {word} in {}",
            answer.text()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_asked_of_another_tenants_is_as_if_it_were_not_there() {
    let umbra =
        ", limits: [{name: umbras-limit, scope: tenant, measure: requests, window: day, limit: 1}]";
    let place = Place::of("", "", umbra).await;
    let of = furnished(&place).await;
    let before = seen(&place).await;
    for (at, list) in before.iter().enumerate() {
        assert!(
            list.len() > 40,
            "umbra has something of each kind: {at} {list}"
        );
    }
    let document = place.manage("GET", "/openapi.json", OPS, "").await.json();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap();
            let method = method.to_uppercase();
            for row in rows(name, &of) {
                let what = format!("{name} {}", row.path);
                assert!(
                    row.path.split(['?', '/']).nth(1) == path.split('/').nth(3),
                    "{what}: {path}"
                );
                let (path, body) = row.asks(str::to_owned);
                let answer = place.manage(&method, &path, ACME_OPS, &body).await;
                if OF_THE_PROCESS.contains(&name) {
                    assert_eq!(answer.status, 403, "{what}");
                    assert_eq!(answer.json()["error"]["code"], "whole_gateway", "{what}");
                } else if let Some(about) = &row.about {
                    let (path, body) = row.asks(|text| text.replace(&about.theirs, &about.nobodys));
                    let nobodys = place.manage(&method, &path, ACME_OPS, &body).await;
                    let bare = |answer: &Answer| {
                        let (status, mut headers, text) = told(answer);
                        headers.retain(|(name, _)| name != "content-length");
                        let words =
                            [&about.theirs, &about.nobodys].map(|word| word.replace("%20", " "));
                        let text = words
                            .iter()
                            .fold(text, |text, word| text.replace(word.trim_matches('"'), "…"));
                        (status, headers, text)
                    };
                    assert_eq!(bare(&answer), bare(&nobodys), "{what}");
                    let is_list = ["list_limits", "report_usage"].contains(&name);
                    assert!(answer.status >= 400 || is_list, "{what}");
                } else {
                    assert!(answer.status < 300, "{what}: {}", answer.text());
                    if name != "show_openapi" {
                        names_nothing_of(&answer, &of, &what);
                    }
                }
                assert_eq!(seen(&place).await, before, "{what}");
                // Its own operator, and that of the gateway, do see it: the row is about something.
                if row.about.is_some() && method == "GET" {
                    let (path, body) = row.asks(str::to_owned);
                    let own = place.manage(&method, &path, UMBRA_OPS, &body).await;
                    assert_eq!(own.status, 200, "{what}: {}", own.text());
                }
            }
        }
    }
}

/// Keys of callers, whosesoever, are no keys of the management API.
#[tokio::test(flavor = "multi_thread")]
async fn no_callers_credential_manages_anything() {
    let place = Place::new().await;
    let (_, token) = place.token(Some("acme"), "acme").await;
    let nobodys = place
        .manage("GET", "/tokens", "a-key-that-nobody-has", "")
        .await;
    for key in [super::ACME, super::HOUSE, &token] {
        let answer = place.manage("GET", "/tokens", key, "").await;
        assert_eq!(told(&answer), told(&nobodys));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_operator_manages_what_is_of_the_tenant() {
    let place = Place::new().await;
    let who = place.manage("GET", "/whoami", ACME_OPS, "").await.json();
    assert_eq!(
        (&who["name"], &who["tenant"]),
        (&json!("acme"), &json!("acme"))
    );
    let new =
        json!({"provider": "openai", "type": "api_key", "token": "sk-acme-3", "priority": -1});
    let added = place
        .manage("POST", "/auths", ACME_OPS, &new.to_string())
        .await;
    assert_eq!(added.status, 201, "{}", added.text());
    let entry = added.json();
    assert_eq!(
        (&entry["pool"], &entry["tenant"]),
        (&json!("acme"), &json!("acme"))
    );
    assert_eq!(place.served("localhost", super::ACME).await.1, "sk-acme-3");
    assert_eq!(
        place.served("localhost", super::HOUSE).await.1,
        "sk-house-1"
    );
    let id = entry["id"].as_str().unwrap().replace('/', "%2F");
    let path = format!("/auths/openai?id={id}");
    assert_eq!(
        place.manage("DELETE", &path, UMBRA_OPS, "").await.status,
        404
    );
    assert_eq!(
        place.manage("DELETE", &path, ACME_OPS, "").await.status,
        204
    );
    let made = place
        .manage("POST", "/tokens", ACME_OPS, r#"{"name":"ci"}"#)
        .await
        .json();
    assert_eq!(made["tenant"], "acme");
    let (id, token) = (
        made["id"].as_str().unwrap(),
        made["token"].as_str().unwrap(),
    );
    assert!(
        place
            .served("localhost", token)
            .await
            .1
            .starts_with("sk-acme-")
    );
    let path = format!("/tokens/{id}/rotate");
    let next = place.manage("POST", &path, ACME_OPS, "").await.json();
    assert_eq!(next["tenant"], "acme");
    let token = next["token"].as_str().unwrap();
    assert!(
        place
            .served(super::ACME_HOST, token)
            .await
            .1
            .starts_with("sk-acme-")
    );
    // One `Idempotency-Key` is two, of two tenants.
    let key = |ops: &'static str| {
        let admin = place.house.gateway.admin;
        let headers = [
            ("host", "localhost"),
            ("x-management-key", ops),
            ("idempotency-key", "one"),
        ];
        let place = &place;
        async move {
            let made = place.send(
                admin,
                "POST",
                "/v0/management/tokens",
                &headers,
                r#"{"name":"x"}"#,
            );
            made.await.json()["tenant"].clone()
        }
    };
    assert_eq!(key(ACME_OPS).await, "acme");
    assert_eq!(key(UMBRA_OPS).await, "umbra");
}
