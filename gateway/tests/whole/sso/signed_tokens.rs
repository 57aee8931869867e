//! Callers with signed tokens, who have no login: the authorization API is asked about them.

use std::time::Duration;

use serde_json::{Value, json};
use turnpike::clock::Time;
use turnpike_api::{Clock, Dialect};
use turnpike_loadtest::{FakeProvider, Options};

use super::authorization::{Api, unanswering};
use super::{HOUR, NOW, make};
use crate::binary::Binary;
use crate::calls::{CHAT, GEMINI, MESSAGES, RESPONSES, get_with, post_with};
use crate::harness::{Answer, Client, House, Http, KEY, config, until};
use crate::jwt::{Issuer, Key};
use crate::refused::{assert_refused, until_counted};

const MINUTE: Duration = Duration::from_secs(60);

/// For as long after its end a token is taken.
const LEEWAY: Duration = MINUTE;

const NO: &str = r#"{"authorized":false,"reason":"left the company"}"#;
const YES: &str = r#"{"authorized":true}"#;

/// A gateway that takes the tokens of an issuer.
struct Place {
    time: Time,
    key: Key,
    issuer: Issuer,
    models: FakeProvider,
    house: House,
}

impl Place {
    async fn asking(api: &Api) -> Self {
        Self::with(&asks(&api.url)).await
    }

    async fn with(rest: &str) -> Self {
        let key = Key::new("one");
        let issuer = Issuer::publishing(&key).await;
        let models = FakeProvider::start(Options::default()).await;
        let time = Time::simulated(NOW);
        let dir = tempfile::tempdir().unwrap();
        let yaml = yaml(&issuer, &models, rest);
        let house = House::serve_by(time.clone(), dir, &yaml).await;
        Self {
            time,
            key,
            issuer,
            models,
            house,
        }
    }

    fn reload(&self, rest: &str) {
        let yaml = yaml(&self.issuer, &self.models, rest);
        std::fs::write(&self.house.config, yaml).unwrap();
        self.house.gateway.reloader.reload().unwrap();
    }

    /// Somebody's token, for ten minutes.
    fn token(&self, subject: &str) -> String {
        self.token_with(subject, |_| ())
    }

    fn token_with(&self, subject: &str, change: impl FnOnce(&mut Value)) -> String {
        let now = self.time.now() / 1000;
        let mut claims = self.issuer.claims();
        claims["sub"] = subject.into();
        claims["email"] = format!("{subject}@Example.com").into();
        claims["iat"] = now.into();
        claims["exp"] = (now + 600).into();
        change(&mut claims);
        self.key.sign(&claims)
    }

    async fn ask(&self, token: &str) -> Answer {
        self.ask_at("localhost", token).await
    }

    async fn ask_at(&self, host: &str, token: &str) -> Answer {
        let mut client = Client::connect(&self.house, Http::One).await;
        let mut request = client.request(CHAT.path, CHAT.body);
        let headers = request.headers_mut();
        headers.insert("host", host.parse().unwrap());
        headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
        Answer::read(client.send(request).await.unwrap()).await
    }

    async fn status(&self, token: &str) -> u16 {
        self.ask(token).await.status
    }

    /// The status of a call, and the credential that served it.
    async fn served(&self, host: &str, token: &str) -> (u16, String) {
        self.models.take_calls();
        let status = self.ask_at(host, token).await.status;
        let call = self.models.take_calls().pop();
        (status, call.map(|call| call.key).unwrap_or_default())
    }

    #[track_caller]
    fn denied(&self, answer: &Answer, says: &str) {
        let reason = "authorization_denied";
        assert_refused(answer, Dialect::OpenAi, reason, says, says);
    }
}

fn asks(url: &str) -> String {
    format!("authorization: {{mode: enterprise, api_url: \"{url}\"}}")
}

fn yaml(issuer: &Issuer, models: &FakeProvider, rest: &str) -> String {
    let config = config(&models.base_url(), 1);
    let config = config.replace(
        "server: {port: 0}",
        "server: {port: 0, trusted_proxies: [127.0.0.1]}",
    );
    let config = match rest.contains("pools: [acme]") {
        true => config.replace(
            "[{api_key: sk-openai-1,",
            "[{api_key: sk-acme-own-1, pool: acme}, {api_key: sk-openai-1,",
        ),
        false => config,
    };
    format!(
        "{config}jwt: {{issuers: [{{issuer: \"{}\", audience: [turnpike]}}]}}\n{rest}\n",
        issuer.url
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_call_of_somebody_asks_as_their_login_would() {
    let api = Api::start().await;
    let place = Place::asking(&api).await;
    let ada = place.token("ada");
    let mut client = Client::connect(&place.house, Http::One).await;
    let bearer = format!("Bearer {ada}");
    let headers = [
        ("authorization", &*bearer),
        ("x-forwarded-for", "203.0.113.9"),
    ];
    let answer = post_with(&mut client, CHAT.path, &headers, CHAT.body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let question = json!({
        "user_email": "ada@Example.com", "user_id": "ada", "client_ip": "203.0.113.9",
        "provider": place.issuer.url, "timestamp": "2026-05-28T20:26:40Z",
    });
    assert_eq!(api.asked(), [question]);
    // It is asked about people: not at each call, and not for each token.
    let another = place.token_with("ada", |claims| claims["jti"] = "2".into());
    for token in [&ada, &another, &ada] {
        assert_eq!(place.status(token).await, 200);
    }
    assert_eq!(api.asked().len(), 1);
    // Another subject is somebody else, and so is one with another address.
    let unproven = |claims: &mut Value| claims["email_verified"] = false.into();
    for (token, email) in [
        (place.token("bob"), json!("bob@Example.com")),
        (place.token_with("ada", unproven), Value::Null),
    ] {
        assert_eq!(place.status(&token).await, 200);
        assert_eq!(api.asked().last().unwrap()["user_email"], email);
    }
    assert_eq!(api.asked().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_agent_tokens_are_not_asked_about() {
    let api = Api::start().await;
    let place = Place::asking(&api).await;
    assert_eq!(place.status(KEY).await, 200);
    assert_eq!(api.asked().len(), 0);

    let logins = super::Place::with(&asks(&api.url)).await;
    let (_, token) = make(&mut logins.signed_in().await, "laptop").await;
    for _ in 0..3 {
        assert_eq!(logins.status(&token).await, 200);
    }
    assert_eq!(api.asked().len(), 1, "at the login");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_other_modes_nobody_is_asked() {
    let api = Api::start().await;
    for rest in [
        format!(
            "authorization: {{mode: single_user, api_url: \"{}\"}}",
            api.url
        ),
        "authorization: {mode: enterprise}".into(),
    ] {
        let place = Place::with(&rest).await;
        assert_eq!(place.status(&place.token("ada")).await, 200, "{rest}");
    }
    assert_eq!(api.asked().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_clear_yes_is_one() {
    let api = Api::start().await;
    let place = Place::asking(&api).await;
    let long = format!(
        r#"{{"authorized":false,"reason":"a\u0007b\n{}"}}"#,
        "x".repeat(600)
    );
    let cut = format!("Access denied: ab{}", "x".repeat(498));
    for (index, (status, answer, said)) in [
        (500, "boom", "Access denied: Authorization API error"),
        (307, YES, "Access denied: Authorization API error"),
        (200, "garbage", "Access denied: Authorization API error"),
        (
            200,
            r#"{"authorized":"yes"}"#,
            "Access denied: Authorization API error",
        ),
        (200, NO, "Access denied: left the company"),
        (
            200,
            r#"{"authorized":false}"#,
            "Access denied: ask your platform team",
        ),
        (200, &*long, &*cut),
    ]
    .into_iter()
    .enumerate()
    {
        api.says(status, answer);
        let refused = place.ask(&place.token(&format!("caller-{index}"))).await;
        place.denied(&refused, said);
        assert_eq!(refused.json()["error"]["message"], said);
    }
    assert_eq!(place.models.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_dialect_is_told_in_its_own_words_and_it_is_on_record() {
    let api = Api::start().await;
    api.says(200, NO);
    let place = Place::asking(&api).await;
    let bearer = format!("Bearer {}", place.token("ada"));
    let headers = [("authorization", &*bearer)];
    let says = "Access denied: left the company";
    let mut client = Client::connect(&place.house, Http::Two).await;
    let mut decisions = Vec::new();
    for (call, dialect) in [
        (&CHAT, Dialect::OpenAi),
        (&RESPONSES, Dialect::OpenAi),
        (&MESSAGES, Dialect::Anthropic),
        (&GEMINI, Dialect::Gemini),
    ] {
        let answer = post_with(&mut client, call.path, &headers, call.body).await;
        assert_refused(&answer, dialect, "authorization_denied", says, call.path);
        let id = answer.header("x-turnpike-decision").unwrap();
        let decision = place.house.gateway.runtime.decisions.find(id).unwrap();
        assert_eq!(decision.reason, "authorization_denied");
        assert_eq!(decision.message, says);
        assert_eq!(decision.caller.as_deref(), Some("ada@Example.com"));
        decisions.push(id.to_owned());
    }
    for (path, dialect) in [
        ("/v1/models", Dialect::OpenAi),
        ("/v1beta/models", Dialect::Gemini),
        ("/v1/models/gpt-4o", Dialect::OpenAi),
    ] {
        let answer = get_with(&mut client, path, &headers).await;
        assert_refused(&answer, dialect, "authorization_denied", says, path);
    }
    until_counted(&place.house, "authorization_denied", 7.0).await;
    assert_eq!(place.models.count(), 0);
    assert_eq!(api.asked().len(), 1);
    let all = crate::audit::stopped(&place.house).await;
    for id in decisions {
        let of = all.iter().filter(|one| one["decision"] == *id);
        let denied: Vec<_> = of
            .filter(|one| one["event"] == "authorization.denied")
            .collect();
        assert_eq!(denied.len(), 1, "{id}");
        assert_eq!(denied[0]["reason"], "authorization_denied");
        assert_eq!(denied[0]["who"]["subject"], "ada");
        assert!(denied[0]["model"].is_string(), "{}", denied[0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_is_away_or_slow_lets_nobody_in() {
    let (_silent, unanswering) = unanswering().await;
    for (at, said) in unanswering {
        let place = Place::with(&format!(
            "authorization: {{mode: enterprise, api_url: \"http://{at}\", api_timeout_seconds: 1}}"
        ))
        .await;
        let refused = place.ask(&place.token("ada")).await;
        place.denied(&refused, &format!("Access denied: {said}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_over_when_it_is_over_and_a_no_after_a_minute() {
    let api = Api::start().await;
    let place = Place::asking(&api).await;
    for (subject, status, answer, lasts) in [
        ("ada", 503, "", Duration::from_secs(3)),
        ("bob", 200, NO, MINUTE),
    ] {
        let (token, before) = (place.token(subject), api.asked().len());
        api.says(status, answer);
        assert_eq!(place.status(&token).await, 403);
        api.says(200, YES);
        place.time.advance(lasts - Duration::from_millis(1));
        assert_eq!(place.status(&token).await, 403);
        assert_eq!(api.asked().len(), before + 1, "nobody is asked meanwhile");
        place.time.advance(Duration::from_millis(1));
        assert_eq!(place.status(&token).await, 200);
        assert_eq!(api.asked().len(), before + 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_asked_again_when_the_token_has_ended() {
    let api = Api::start().await;
    let place = Place::asking(&api).await;
    let long = |claims: &mut Value| claims["exp"] = (NOW / 1000 + 36_000).into();
    let (short, long) = (place.token("ada"), place.token_with("ada", long));
    assert_eq!(place.status(&short).await, 200);
    place
        .time
        .advance(MINUTE * 10 + LEEWAY - Duration::from_millis(1));
    assert_eq!(place.status(&long).await, 200);
    assert_eq!(api.asked().len(), 1);
    place.time.advance(Duration::from_millis(1));
    api.says(200, NO);
    place.denied(&place.ask(&long).await, "left the company");
    assert_eq!(api.asked().len(), 2);
    assert_eq!(place.status(&short).await, 401, "it has ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_is_good_for_longer_than_a_session() {
    let api = Api::start().await;
    let rest = asks(&api.url).replace('}', ", session_lifetime_hours: 2}");
    let place = Place::with(&rest).await;
    let for_days = |claims: &mut Value| claims["exp"] = (NOW / 1000 + 400_000).into();
    let token = place.token_with("ada", for_days);
    assert_eq!(place.status(&token).await, 200);
    place.time.advance(HOUR * 2 - Duration::from_millis(1));
    assert_eq!(place.status(&token).await, 200);
    assert_eq!(api.asked().len(), 1);
    place.time.advance(Duration::from_millis(1));
    api.says(200, NO);
    place.denied(&place.ask(&token).await, "left the company");
    assert_eq!(api.asked().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_first_calls_one_asks() {
    let api = Api::start().await;
    let place = Place::asking(&api).await;
    let token = place.token("ada");
    // The second time the token is known to be good, and as many may wait as want to.
    for (round, (calls, answer, status)) in
        [(100, NO, 403), (1000, YES, 200)].into_iter().enumerate()
    {
        api.hold(true);
        api.says(200, answer);
        let all = async {
            let calls = (0..calls).map(|_| place.status(&token));
            futures::future::join_all(calls).await
        };
        let release = async {
            let in_flight = || place.house.metric("turnpike_requests_in_flight");
            until(|| in_flight() == f64::from(calls)).await;
            api.hold(false);
        };
        let (statuses, ()) = tokio::join!(all, release);
        assert!(statuses.iter().all(|one| *one == status), "{statuses:?}");
        assert_eq!(api.asked().len(), round + 1);
        place.house.settled().await;
        place.time.advance(MINUTE);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_names_roles() {
    let api = Api::start().await;
    let place = Place::with(&format!(
        "roles: {{developer: {{models: [\"gpt-*\"]}}, guest: {{models: [none]}}}}\n{}",
        asks(&api.url)
    ))
    .await;
    for (subject, roles, status) in [
        ("ada", json!(["developer", "nobody"]), 200),
        ("bob", json!(["guest"]), 403),
        ("eve", json!([]), 403),
    ] {
        let answer = json!({"authorized": true, "roles": roles});
        api.says(200, &answer.to_string());
        let answer = place.ask(&place.token(subject)).await;
        assert_eq!(answer.status, status, "{subject}: {}", answer.text());
        assert!(!answer.text().contains("Access denied"));
    }
}

/// Two tenants, of which acme has a credential of its own. `acme` is what is said of it besides.
fn tenants(acme: &str, rest: &str) -> String {
    format!(
        "tenants:\n\
         \x20 acme: {{hosts: [acme.example], pools: [acme]{acme}}}\n\
         \x20 umbra: {{hosts: [umbra.example]}}\n{rest}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_names_the_tenant() {
    let api = Api::start().await;
    let place = Place::with(&tenants("", &asks(&api.url))).await;
    let acmes = (200, "sk-acme-own-1".to_owned());
    api.says(200, r#"{"authorized":true,"tenant":"acme"}"#);
    let ada = place.token("ada");
    for host in ["localhost", "acme.example", "localhost"] {
        assert_eq!(place.served(host, &ada).await, acmes, "{host}");
    }
    // At another tenant's host nobody knows her.
    let nobody = place.ask_at("umbra.example", &ada).await;
    assert_eq!(nobody.status, 401, "{}", nobody.text());
    assert!(nobody.text().contains("not known here"));
    api.says(200, r#"{"authorized":true,"tenant":"nowhere"}"#);
    let refused = place.ask(&place.token("bob")).await;
    place.denied(&refused, "You cannot sign in here");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_says_more_than_the_answer_and_a_host_less() {
    let api = Api::start().await;
    let domains = ", email_domains: [acme.test]";
    let place = Place::with(&tenants(domains, &asks(&api.url))).await;
    let of_acme = |claims: &mut Value| claims["email"] = "ada@acme.test".into();
    api.says(200, r#"{"authorized":true,"tenant":"umbra"}"#);
    let refused = place.ask(&place.token_with("ada", of_acme)).await;
    place.denied(&refused, "You cannot sign in here");
    // Of whom the address says nothing, the answer has to, at the host of a tenant with addresses.
    let acmes = (200, "sk-acme-own-1".to_owned());
    for (subject, answer, expected) in [
        ("bob", YES, (401, String::new())),
        ("cyd", NO, (401, String::new())),
        ("dan", r#"{"authorized":true,"tenant":"acme"}"#, acmes),
    ] {
        api.says(200, answer);
        let token = place.token(subject);
        let served = place.served("acme.example", &token).await;
        assert_eq!(served, expected, "{subject}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_yes_with_a_tenant_that_does_not_fit_is_over_after_a_minute() {
    let api = Api::start().await;
    let rest = tenants(", email_domains: [acme.test]", &asks(&api.url));
    let place = Place::with(&rest).await;
    let of_acme = |claims: &mut Value| claims["email"] = "ada@acme.test".into();
    let (ada, bob) = (place.token_with("ada", of_acme), place.token("bob"));
    for (token, wrong) in [(&ada, "umbra"), (&bob, "nowhere")] {
        let before = api.asked().len();
        let answer = json!({"authorized": true, "tenant": wrong});
        api.says(200, &answer.to_string());
        place.denied(&place.ask(token).await, "You cannot sign in here");
        api.says(200, r#"{"authorized":true,"tenant":"acme"}"#);
        place.time.advance(MINUTE - Duration::from_millis(1));
        assert_eq!(place.status(token).await, 403, "{wrong}");
        assert_eq!(api.asked().len(), before + 1, "nobody is asked meanwhile");
        place.time.advance(Duration::from_millis(1));
        let served = place.served("localhost", token).await;
        assert_eq!(served, (200, "sk-acme-own-1".to_owned()), "{wrong}");
        assert_eq!(api.asked().len(), before + 2);
    }
    // So is one whose tenant has gone since.
    place.reload(&asks(&api.url));
    api.says(200, YES);
    place.denied(&place.ask(&bob).await, "You cannot sign in here");
    place.time.advance(MINUTE);
    assert_eq!(place.status(&bob).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_is_not_configured_is_told_once_for_each_question() {
    let api = Api::start().await;
    api.says(200, r#"{"authorized":true,"tenant":"nowhere"}"#);
    let key = Key::new("one");
    let issuer = Issuer::publishing(&key).await;
    let models = FakeProvider::start(Options::default()).await;
    let binary = Binary::start(&yaml(&issuer, &models, &asks(&api.url)), &[]).await;
    let bearer = format!("Bearer {}", key.sign(&issuer.claims()));
    let mut client = binary.client(Http::One).await;
    for _ in 0..3 {
        let headers = [("authorization", &*bearer)];
        let answer = post_with(&mut client, CHAT.path, &headers, CHAT.body).await;
        assert_eq!(answer.status, 403, "{}", answer.text());
    }
    let log = binary.stop().await;
    let told = log.matches("gave a tenant that is not configured").count();
    assert_eq!((told, api.asked().len()), (1, 1), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_asks_its_own() {
    let (houses, acmes) = (Api::start().await, Api::start().await);
    let acme = format!(
        ", email_domains: [acme.test], authorization: {{api_url: \"{}\"}}",
        acmes.url
    );
    let place = Place::with(&tenants(&acme, &asks(&houses.url))).await;
    let of_acme = |claims: &mut Value| claims["email"] = "ada@acme.test".into();
    let served = (200, "sk-acme-own-1".to_owned());
    let ada = place.token_with("ada", of_acme);
    assert_eq!(place.served("localhost", &ada).await, served);
    assert_eq!((houses.asked().len(), acmes.asked().len()), (0, 1));
    // Who is acme's by the house's answer is let in as acme says, too.
    houses.says(200, r#"{"authorized":true,"tenant":"acme"}"#);
    assert_eq!(place.served("localhost", &place.token("bob")).await, served);
    assert_eq!((houses.asked().len(), acmes.asked().len()), (1, 2));
    acmes.says(200, NO);
    place.denied(&place.ask(&place.token("cyd")).await, "left the company");
    // And where acme asks nobody, nobody is asked.
    let acme = ", email_domains: [acme.test], authorization: {mode: single_user}";
    let place = Place::with(&tenants(acme, &asks(&houses.url))).await;
    let before = houses.asked().len();
    let ada = place.token_with("ada", of_acme);
    assert_eq!(place.served("localhost", &ada).await, served);
    assert_eq!(houses.asked().len(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_api_begins_with_nothing() {
    let (one, other) = (Api::start().await, Api::start().await);
    let place = Place::asking(&one).await;
    let token = place.token("ada");
    let asked = || (one.asked().len(), other.asked().len());
    for (url, expected) in [
        (&one.url, (1, 0)),
        (&one.url, (1, 0)),
        (&other.url, (1, 1)),
        (&one.url, (2, 1)),
    ] {
        place.reload(&asks(url));
        for _ in 0..2 {
            assert_eq!(place.status(&token).await, 200);
        }
        assert_eq!(asked(), expected);
        place.house.settled().await;
    }
}
