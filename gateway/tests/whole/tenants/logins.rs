//! People of tenants: where they log in, whose they are, and where they are nobody.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use turnpike::clock::Time;
use turnpike_loadtest::{FakeProvider, Options};

use super::{ACME_HOST, NOON, UMBRA_HOST};
use crate::calls::CHAT;
use crate::harness::{Answer, Client, House, Http, PATIENCE, until};
use crate::sso::browser::{Browser, field};
use crate::sso::provider::{CLIENT, Idp, SECRET};

/// A gateway whose people log in through `idp`, and acme's through its own, which knows them by the
/// same issuer and subjects.
pub(super) struct Place {
    time: Time,
    idp: Arc<Idp>,
    pub(super) house: House,
    provider: FakeProvider,
}

impl Place {
    /// `acme` and `umbra` are what is said of each besides.
    pub(super) async fn of(rest: &str, acme: &str, umbra: &str) -> Self {
        let time = Time::simulated(NOON);
        let idp = Idp::start(time.clone()).await;
        let provider = FakeProvider::start(Options::default()).await;
        let test = test(&idp);
        let yaml = format!(
            "server: {{port: 0, public_url: \"http://gateway.example\", trusted_proxies: [127.0.0.1]}}\n\
             admin: {{port: 0, public_url: \"http://admin.example\"}}\n\
             agent_tokens: {{argon2: {{memory_kib: 1024, iterations: 1}}}}\n\
             sso: {{enabled: true, providers: {{{test}}}}}\n\
             tenants:\n\
             \x20 acme: {{hosts: [{ACME_HOST}], pools: [acme]{acme}}}\n\
             \x20 umbra: {{hosts: [{UMBRA_HOST}], pools: [umbra]{umbra}}}\n\
             providers: {{openai: {{base_url: \"{}/v1\", credentials: [{{api_key: sk-house-1}}, {{api_key: sk-acme-1, pool: acme}}, {{api_key: sk-umbra-1, pool: umbra}}]}}}}\n\
             {rest}\n",
            provider.base_url()
        );
        let dir = tempfile::tempdir().unwrap();
        let house = House::serve_by(time.clone(), dir, &yaml).await;
        Self {
            time,
            idp,
            house,
            provider,
        }
    }

    pub(super) fn at(&self, host: &'static str) -> Browser {
        let mut browser = Browser::of(self.house.gateway.proxy);
        browser.host = host;
        browser
    }

    async fn signed_in(&self, host: &'static str) -> Browser {
        let mut browser = self.at(host);
        let answer = browser.log_in().await;
        assert_eq!(
            answer.header("location"),
            Some("/auth/success"),
            "{}",
            answer.text()
        );
        browser
    }

    /// A call at a host: its status, and the credential that served it.
    pub(super) async fn served(&self, host: &str, token: &str) -> (u16, String) {
        self.provider.take_calls();
        let mut client = Client::connect(&self.house, Http::One).await;
        let mut request = client.request(CHAT.path, CHAT.body);
        let headers = request.headers_mut();
        headers.insert("host", host.parse().unwrap());
        headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
        let answer = Answer::read(client.send(request).await.unwrap()).await;
        let call = self.provider.take_calls().pop();
        (answer.status, call.map(|call| call.key).unwrap_or_default())
    }

    fn person(&self, subject: &str, email: Option<&'static str>) {
        *self.idp.subject.lock().unwrap() = subject.to_owned();
        self.idp.does(|wrong| {
            if let Some(email) = email {
                wrong.claims = Box::new(move |claims| claims["email"] = json!(email));
            }
        });
    }
}

pub(super) fn test(idp: &Idp) -> String {
    format!(
        "test: {{type: oidc, client_id: {CLIENT}, client_secret: {SECRET}, discovery_url: \"{}\"}}",
        idp.url
    )
}

const EVERYBODY: &str = "authorization: {mode: enterprise}";

pub(super) async fn make(browser: &mut Browser) -> String {
    let page = browser.get("/auth/success").await;
    let csrf = field(&page, "csrf");
    let made = browser
        .post("/auth/success", &[("csrf", &csrf), ("name", "laptop")])
        .await;
    assert_eq!(made.status, 200, "{}", made.text());
    let at = made.text().find("value=\"tp-").unwrap() + 7;
    made.text()[at..].split('"').next().unwrap().to_owned()
}

pub(super) fn id_of(token: &str) -> &str {
    token[3..].split('.').next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_person_of_one_provider_is_another_one_at_each_tenants_host() {
    let place = Place::of(EVERYBODY, "", "").await;
    let mut served = Vec::new();
    let mut browsers = Vec::new();
    for (host, key) in [
        (ACME_HOST, "sk-acme-1"),
        (UMBRA_HOST, "sk-umbra-1"),
        ("gateway.example", "sk-house-1"),
    ] {
        let mut browser = place.signed_in(host).await;
        let token = make(&mut browser).await;
        assert_eq!(
            place.served("gateway.example", &token).await,
            (200, key.to_owned())
        );
        // The page lists that one alone, and tells of this host.
        let list = browser.get("/auth/tokens").await;
        assert!(list.text().contains(id_of(&token)));
        browsers.push((host, browser, token.clone()));
        served.push(token);
    }
    for (host, browser, own) in &mut browsers {
        let list = browser.get("/auth/tokens").await;
        for token in &served {
            let is_own = token == own;
            assert_eq!(list.text().contains(id_of(token)), is_own, "{host}");
            if *host != "gateway.example" {
                // Who is not known is told where to sign in.
                let (_, served_by) = place.served(host, token).await;
                assert_eq!(!served_by.is_empty(), is_own, "{host}");
            }
        }
    }
    // Nobody revokes another's, not even one's own of another tenant; and who leaves one has not
    // left the others.
    let (_, acme, _) = &mut browsers[0];
    let csrf = field(&acme.get("/auth/success").await, "csrf");
    let revoked = acme
        .post(
            "/auth/tokens/revoke",
            &[("csrf", &csrf), ("id", id_of(&served[1]))],
        )
        .await;
    assert_eq!(revoked.status, 404, "{}", revoked.text());
    let csrf = field(&acme.get("/auth/logout").await, "csrf");
    acme.post("/auth/logout", &[("csrf", &csrf)]).await;
    for (token, expected) in served.iter().zip(["", "sk-umbra-1", "sk-house-1"]) {
        assert_eq!(place.served("gateway.example", token).await.1, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_signed_in_at_one_tenants_host_is_nobody_at_anothers() {
    let place = Place::of(EVERYBODY, "", "").await;
    let acme = place.signed_in(ACME_HOST).await;
    for path in ["/auth/success", "/auth/tokens", "/auth/device"] {
        let mut elsewhere = acme.clone();
        elsewhere.host = UMBRA_HOST;
        let answer = elsewhere.get(path).await;
        assert_eq!(answer.status, 303, "{path}");
        assert!(
            answer
                .header("location")
                .unwrap()
                .starts_with("/auth/login")
        );
    }
    let mut anywhere = acme.clone();
    anywhere.host = "gateway.example";
    assert_eq!(anywhere.get("/auth/tokens").await.status, 200);
    // A login goes on where it began.
    let mut begun = place.at(ACME_HOST);
    let back = begun.visit_provider("/auth/login/test").await;
    begun.host = UMBRA_HOST;
    let answer = begun.get(&back).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(answer.text().contains("Invalid session"));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_keep_the_host_that_they_were_asked_at() {
    let place = Place::of(EVERYBODY, "", "").await;
    for (host, url) in [
        (ACME_HOST, "http://acme.example"),
        (UMBRA_HOST, "http://umbra.example"),
        ("gateway.example", "http://gateway.example"),
    ] {
        let mut browser = place.at(host);
        let begun = browser.get("/auth/login/test").await;
        let to = url::Url::parse(begun.header("location").unwrap()).unwrap();
        let redirect = to
            .query_pairs()
            .find(|(name, _)| name == "redirect_uri")
            .unwrap()
            .1;
        assert_eq!(redirect, format!("{url}/auth/callback"));
        browser.accept = "application/json";
        let metadata = browser
            .get("/.well-known/oauth-authorization-server")
            .await
            .json();
        assert_eq!(metadata["issuer"], url);
        assert_eq!(metadata["token_endpoint"], format!("{url}/oauth/token"));
        let begun = browser
            .post("/oauth/device_authorization", &[("client_id", "x")])
            .await
            .json();
        assert_eq!(begun["verification_uri"], format!("{url}/auth/device"));
        // The sandbox's link, and what is said of unknown paths.
        let said = browser
            .send_as(
                "POST",
                CHAT.path,
                &[("content-type", "application/json")],
                CHAT.body.into(),
            )
            .await;
        assert!(
            said.text().contains(&format!("{url}/auth/login?token=")),
            "{}",
            said.text()
        );
        let unknown = browser.get("/v1/nothing").await;
        assert!(
            unknown.text().contains(&format!("{url}/v1")),
            "{}",
            unknown.text()
        );
        let mut person = place.signed_in(host).await;
        let page = person.get("/auth/success").await;
        let csrf = field(&page, "csrf");
        let made = person
            .post("/auth/success", &[("csrf", &csrf), ("name", "x")])
            .await;
        assert!(made.text().contains(url), "{}", made.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_asks_at_a_tenants_host_is_answered_by_its_people_alone() {
    let place = Place::of(EVERYBODY, "", "").await;
    let acme = place.signed_in(ACME_HOST).await;
    let umbra = place.signed_in(UMBRA_HOST).await;
    let mut program = place.at(UMBRA_HOST);
    program.accept = "application/json";
    let begun = program
        .post("/oauth/device_authorization", &[("client_id", "x")])
        .await
        .json();
    let (code, device) = (
        begun["user_code"].as_str().unwrap(),
        begun["device_code"].as_str().unwrap(),
    );
    let answer = async |mut browser: Browser| {
        // No tenant's host: everybody is who they are there.
        browser.host = "gateway.example";
        let page = browser.get("/auth/device").await;
        let csrf = field(&page, "csrf");
        let fields = [
            ("csrf", &*csrf),
            ("user_code", code),
            ("decision", "allow"),
            ("name", "box"),
        ];
        browser.post("/auth/device", &fields).await.status
    };
    assert_eq!(answer(acme).await, 400);
    assert_eq!(answer(umbra).await, 200);
    let grant = "urn:ietf:params:oauth:grant-type:device_code";
    let fields = [
        ("grant_type", grant),
        ("device_code", device),
        ("client_id", "x"),
    ];
    program.host = ACME_HOST;
    let elsewhere = program.post("/oauth/token", &fields).await;
    assert_eq!(elsewhere.json()["error"], "invalid_grant");
    program.host = UMBRA_HOST;
    let given = program.post("/oauth/token", &fields).await.json();
    let token = given["access_token"].as_str().unwrap();
    assert_eq!(
        place.served("gateway.example", token).await,
        (200, "sk-umbra-1".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_says_whose_a_person_is() {
    let acme = ", email_domains: [acme.example]";
    let place = Place::of(EVERYBODY, acme, "").await;
    place.person("ada", Some("ada@acme.EXAMPLE"));
    for host in ["gateway.example", ACME_HOST] {
        let mut ada = place.signed_in(host).await;
        let token = make(&mut ada).await;
        assert_eq!(
            place.served(host, &token).await,
            (200, "sk-acme-1".into()),
            "{host}"
        );
    }
    let refused = place.at(UMBRA_HOST).log_in().await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert!(
        refused.text().contains("You cannot sign in here"),
        "{}",
        refused.text()
    );
    assert!(!refused.text().contains("acme"), "{}", refused.text());
    // Somebody else is not acme's for its host alone.
    place.person("eve", Some("eve@elsewhere.example"));
    assert_eq!(place.at(ACME_HOST).log_in().await.status, 403);
    let mut eve = place.signed_in(UMBRA_HOST).await;
    let token = make(&mut eve).await;
    assert_eq!(
        place.served(UMBRA_HOST, &token).await,
        (200, "sk-umbra-1".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_own_provider_is_offered_at_its_hosts_alone() {
    let own = Idp::start(Time::simulated(NOON)).await;
    let acme = format!(
        ", email_domains: [acme.example], sso: {{providers: {{{}}}}}",
        test(&own).replace("test:", "acmes-own:")
    );
    let place = Place::of(EVERYBODY, &acme, "").await;
    let offered = async |host: &'static str| {
        let mut browser = place.at(host);
        browser.accept = "application/json";
        let list = browser.get("/auth/login").await.json();
        let names = list["providers"].as_array().unwrap().iter();
        names
            .map(|one| one["url"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        offered(ACME_HOST).await,
        ["http://acme.example/auth/login/acmes-own"]
    );
    assert_eq!(
        offered(UMBRA_HOST).await,
        ["http://umbra.example/auth/login/test"]
    );
    assert_eq!(
        offered("gateway.example").await,
        ["http://gateway.example/auth/login/test"]
    );
    for host in [UMBRA_HOST, "gateway.example"] {
        let answer = place.at(host).get("/auth/login/acmes-own").await;
        assert_eq!(answer.status, 400, "{host}");
    }
    assert_eq!(
        place.at(ACME_HOST).get("/auth/login/test").await.status,
        400
    );
    // Whoever comes through it is acme's, whatever their address.
    let mut ada = place.at(ACME_HOST);
    let back = ada.visit_provider("/auth/login/acmes-own").await;
    assert_eq!(
        ada.get(&back).await.header("location"),
        Some("/auth/success")
    );
    let token = make(&mut ada).await;
    assert_eq!(
        place.served("gateway.example", &token).await,
        (200, "sk-acme-1".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_a_provider_of_their_own_comes_in_by_nobody_elses() {
    let own = Idp::start(Time::simulated(NOON)).await;
    let acme = format!(
        ", email_domains: [example.com], sso: {{providers: {{{}}}}}",
        test(&own).replace("test:", "acmes-own:")
    );
    let place = Place::of(EVERYBODY, &acme, "").await;
    for host in ["gateway.example", UMBRA_HOST] {
        let mut ada = place.at(host);
        let back = ada.visit_provider("/auth/login/test").await;
        let answer = ada.get(&back).await;
        assert_ne!(answer.header("location"), Some("/auth/success"), "{host}");
        assert!(answer.text().contains("You cannot sign in here"), "{host}");
    }
    let mut ada = place.at(ACME_HOST);
    let back = ada.visit_provider("/auth/login/acmes-own").await;
    let answer = ada.get(&back).await;
    assert_eq!(answer.header("location"), Some("/auth/success"));

    let all = crate::audit::stopped(&place.house).await;
    let logins = all.iter().filter(|record| record["event"] == "login");
    let told: Vec<_> = logins
        .map(|login| (&login["outcome"], &login["provider"], &login["reason"]))
        .collect();
    let (denied, reason) = (&json!("denied"), &json!("not_of_this_tenant"));
    let test = &json!("test");
    assert_eq!(told[..2], [(denied, test, reason), (denied, test, reason)]);
    assert_eq!(told[2].0, "granted");
}

/// An authorization API that answers as it is told, and keeps what it was asked.
#[derive(Clone, Default)]
struct Api {
    answer: Arc<Mutex<Value>>,
    asked: Arc<Mutex<Vec<Value>>>,
}

impl Api {
    async fn start(answer: Value) -> (Self, String) {
        let api = Self::default();
        api.says(answer);
        let (own, listener) = (api.clone(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let url = format!("http://{}/ask", listener.local_addr().unwrap());
        let router = Router::new().route(
            "/ask",
            post(async move |axum::Json(asked): axum::Json<Value>| {
                own.asked.lock().unwrap().push(asked);
                axum::Json(own.answer.lock().unwrap().clone())
            }),
        );
        tokio::spawn(async move { axum::serve(listener, router).await });
        (api, url)
    }

    fn says(&self, answer: Value) {
        *self.answer.lock().unwrap() = answer;
    }

    fn asked(&self) -> usize {
        std::mem::take(&mut *self.asked.lock().unwrap()).len()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_authorization_api_may_say_whose_a_person_is() {
    let (api, url) = Api::start(json!({"authorized": true})).await;
    let rest = format!("authorization: {{mode: enterprise, api_url: \"{url}\"}}");
    let acme = ", email_domains: [acme.example]";
    let place = Place::of(&rest, acme, "").await;
    for (email, tenant, host, expected) in [
        (
            "a@x.example",
            json!(null),
            "gateway.example",
            Some("sk-house-1"),
        ),
        (
            "b@x.example",
            json!("umbra"),
            "gateway.example",
            Some("sk-umbra-1"),
        ),
        (
            "c@x.example",
            json!("umbra"),
            UMBRA_HOST,
            Some("sk-umbra-1"),
        ),
        ("d@x.example", json!("umbra"), ACME_HOST, None),
        ("e@x.example", json!("nobody"), "gateway.example", None),
        // Whom the API itself says to be acme's has any address.
        ("f@x.example", json!("acme"), ACME_HOST, Some("sk-acme-1")),
        ("g@x.example", json!(null), ACME_HOST, None),
        // It cannot give away whom their address says to be another's.
        ("h@acme.example", json!("umbra"), "gateway.example", None),
        (
            "i@acme.example",
            json!("acme"),
            "gateway.example",
            Some("sk-acme-1"),
        ),
    ] {
        api.says(json!({"authorized": true, "tenant": tenant}));
        place.person(&email[..1], Some(email));
        let mut browser = place.at(host);
        let answer = browser.log_in().await;
        match expected {
            None => assert_eq!(answer.status, 403, "{email}: {}", answer.text()),
            Some(key) => {
                assert_eq!(answer.header("location"), Some("/auth/success"), "{email}");
                let token = make(&mut browser).await;
                assert_eq!(
                    place.served(host, &token).await,
                    (200, key.into()),
                    "{email}"
                );
            }
        }
    }
    // Whom it does not let in any more is out of every tenant that it had named.
    api.says(json!({"authorized": true, "tenant": "umbra"}));
    place.person("b", Some("b@x.example"));
    let mut b = place.signed_in("gateway.example").await;
    let token = make(&mut b).await;
    api.says(json!({"authorized": false, "reason": "gone"}));
    assert_eq!(place.at("gateway.example").log_in().await.status, 403);
    assert_eq!(place.served("gateway.example", &token).await.1, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_has_a_say_of_its_own_wherever_its_people_log_in() {
    let (house, house_url) = Api::start(json!({"authorized": true})).await;
    let (acmes, acmes_url) = Api::start(json!({"authorized": true})).await;
    let rest = format!("authorization: {{mode: enterprise, api_url: \"{house_url}\"}}");
    let acme =
        format!(", email_domains: [acme.example], authorization: {{api_url: \"{acmes_url}\"}}");
    let place = Place::of(&rest, &acme, "").await;
    place.person("ada", Some("ada@acme.example"));
    for host in ["gateway.example", ACME_HOST] {
        place.signed_in(host).await;
        assert_eq!((house.asked(), acmes.asked()), (0, 1), "{host}");
    }
    place.person("bob", Some("bob@x.example"));
    place.signed_in(UMBRA_HOST).await;
    assert_eq!((house.asked(), acmes.asked()), (1, 0));
    // Whom the house's assigns to acme, acme is asked about, too.
    house.says(json!({"authorized": true, "tenant": "acme"}));
    acmes.says(json!({"authorized": false, "reason": "not one of us"}));
    let refused = place.at("gateway.example").log_in().await;
    assert_eq!((house.asked(), acmes.asked()), (1, 1));
    assert!(
        refused.text().contains("not one of us"),
        "{}",
        refused.text()
    );
    acmes.says(json!({"authorized": true}));
    let mut bob = place.signed_in("gateway.example").await;
    let token = make(&mut bob).await;
    assert_eq!(
        place.served(ACME_HOST, &token).await,
        (200, "sk-acme-1".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_operator_comes_to_the_pages_by_their_login_and_sees_their_tenant() {
    let rest = format!(
        "{EVERYBODY}\nroles: {{operator: {{models: [\"*\"], permissions: [\"admin:*\", \"llm:read\", \"llm:write\"]}}}}\n\
         role_bindings: [{{role: operator, everyone: true}}]"
    );
    let place = Place::of(&rest, "", "").await;
    let mut umbra = place.signed_in(UMBRA_HOST).await;
    let umbras = make(&mut umbra).await;
    let mut acme = place.signed_in(ACME_HOST).await;
    let acmes = make(&mut acme).await;
    let mut admin = Browser::of(place.house.gateway.admin);
    admin.host = "admin.example";
    let sent = admin.get("/admin/sign-in/login?tenant=acme").await;
    let to = sent.header("location").unwrap().to_owned();
    assert!(to.starts_with("http://acme.example/auth/operator?"), "{to}");
    let passed = acme.get(&to["http://acme.example".len()..]).await;
    let at = passed
        .text()
        .find("content=\"0; url=http://admin.example")
        .unwrap();
    let back = passed.text()[at + "content=\"0; url=http://admin.example".len()..]
        .split('"')
        .next()
        .unwrap()
        .to_owned();
    assert_eq!(admin.get(&back).await.status, 200);
    for page in [
        "/admin",
        "/admin/credentials",
        "/admin/tokens",
        "/admin/logins",
        "/admin/gateway",
    ] {
        let mut answer = admin.get(page).await;
        if answer.status == 303 {
            let to = answer.header("location").unwrap().to_owned();
            assert!(!to.contains("sign-in"), "{page}: {to}");
            answer = admin.get(&to).await;
        }
        assert_eq!(answer.status, 200, "{page}: {}", answer.text());
        assert!(!answer.text().contains("umbra"), "{page}");
        assert!(!answer.text().contains(id_of(&umbras)), "{page}");
    }
    let tokens = admin.get("/admin/tokens").await;
    assert!(tokens.text().contains(id_of(&acmes)));
    assert_eq!(admin.get("/admin/gateway/configuration").await.status, 403);
    let csrf = field(&tokens, "csrf");
    let path = "/admin/tokens/revoke";
    for (id, status) in [(id_of(&umbras), 404), (id_of(&acmes), 303)] {
        let answer = admin.post(path, &[("csrf", &csrf), ("id", id)]).await;
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    assert_eq!(place.served(UMBRA_HOST, &umbras).await.1, "sk-umbra-1");
    assert_eq!(place.served(ACME_HOST, &acmes).await.1, "");
}

/// A day, less the lead before a session's end at which it is renewed.
const UNTIL_RENEWAL: Duration = Duration::from_secs(24 * 3600 - 600);

/// Moves the clock on, until the provider was asked so often to renew a session.
async fn renewed(place: &Place, idp: &Idp, times: usize) {
    until(|| {
        let done = idp.refreshed.lock().unwrap().len() >= times;
        if !done {
            place.time.advance(Duration::from_millis(100));
        }
        done
    })
    .await;
}

/// Waits until the gateway has heard of what the store has.
async fn serves(place: &Place, host: &str, token: &str, key: &str) {
    let waiting = async {
        while place.served(host, token).await.1 != key {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_renewed_by_the_provider_that_it_came_from_and_by_no_other() {
    let own = Idp::start(Time::simulated(NOON)).await;
    // Called as the top level's is: a refresh token must not go to the wrong one.
    let acme = format!(", sso: {{providers: {{{}}}}}", test(&own));
    let place = Place::of(EVERYBODY, &acme, "").await;
    let grants =
        json!({"access_token": "a", "token_type": "Bearer", "refresh_token": "refresh-2-CANARY"});
    for idp in [&place.idp, &own] {
        let grants = grants.clone();
        idp.does(|wrong| wrong.renewal = Some((200, grants)));
    }
    let mut acme = place.signed_in(ACME_HOST).await;
    let token = make(&mut acme).await;
    place.time.advance(UNTIL_RENEWAL);
    renewed(&place, &own, 1).await;
    assert!(place.idp.refreshed.lock().unwrap().is_empty());
    place.time.advance(Duration::from_secs(3600));
    serves(&place, ACME_HOST, &token, "sk-acme-1").await;
    let mut umbra = place.signed_in(UMBRA_HOST).await;
    let token = make(&mut umbra).await;
    place.time.advance(UNTIL_RENEWAL);
    renewed(&place, &place.idp, 1).await;
    place.time.advance(Duration::from_secs(3600));
    serves(&place, UMBRA_HOST, &token, "sk-umbra-1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_the_houses_provider_ends_where_the_tenant_has_its_own_by_now() {
    let place = Place::of(EVERYBODY, "", "").await;
    let own = Idp::start(Time::simulated(NOON)).await;
    for idp in [&place.idp, &own] {
        let grants = json!({"access_token": "a", "token_type": "Bearer"});
        idp.does(|wrong| wrong.renewal = Some((200, grants)));
    }
    let acmes = make(&mut place.signed_in(ACME_HOST).await).await;
    let umbras = make(&mut place.signed_in(UMBRA_HOST).await).await;
    let text = std::fs::read_to_string(&place.house.config).unwrap();
    let sso = format!("pools: [acme], sso: {{providers: {{{}}}}}", test(&own));
    std::fs::write(&place.house.config, text.replace("pools: [acme]", &sso)).unwrap();
    place.house.gateway.reloader.reload().unwrap();
    serves(&place, ACME_HOST, &acmes, "sk-acme-1").await;

    place.time.advance(UNTIL_RENEWAL);
    renewed(&place, &place.idp, 1).await;
    place.time.advance(Duration::from_secs(3600));
    // Umbra's is renewed, and so acme's would have been.
    serves(&place, UMBRA_HOST, &umbras, "sk-umbra-1").await;
    serves(&place, ACME_HOST, &acmes, "").await;
    assert!(own.refreshed.lock().unwrap().is_empty());
}

/// That one tenant has no role for somebody ends what they have there, and nothing elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_no_role_of_one_tenant_any_more_stays_signed_in_at_another() {
    let place = Place::of(EVERYBODY, "", "").await;
    let acmes = make(&mut place.signed_in(ACME_HOST).await).await;
    let umbras = make(&mut place.signed_in(UMBRA_HOST).await).await;
    let text = std::fs::read_to_string(&place.house.config).unwrap();
    let reload = |text: &str| {
        std::fs::write(&place.house.config, text).unwrap();
        place.house.gateway.reloader.reload().unwrap();
    };
    let roles = "pools: [acme], roles: {desk: {models: [\"*\"]}}, \
                 role_bindings: [{role: desk, groups: [platform]}]";
    reload(&text.replace("pools: [acme]", roles));
    let refused = place.at(ACME_HOST).log_in().await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    let told = refused.text();
    assert!(told.contains("No role is bound to you"), "{told}");
    // That there is no such role any more brings no session back.
    reload(&text);
    let at = "gateway.example";
    assert_eq!(place.served(at, &acmes).await.1, "");
    assert_eq!(place.served(at, &umbras).await.1, "sk-umbra-1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_when_its_person_is_another_tenants_by_now() {
    let (api, url) = Api::start(json!({"authorized": true, "tenant": "umbra"})).await;
    let rest = format!("authorization: {{mode: enterprise, api_url: \"{url}\"}}");
    let place = Place::of(&rest, "", "").await;
    let grants = json!({"access_token": "a", "token_type": "Bearer"});
    place.idp.does(|wrong| wrong.renewal = Some((200, grants)));
    let mut person = place.signed_in("gateway.example").await;
    let token = make(&mut person).await;
    serves(&place, UMBRA_HOST, &token, "sk-umbra-1").await;
    api.says(json!({"authorized": true, "tenant": "acme"}));
    place.time.advance(UNTIL_RENEWAL);
    renewed(&place, &place.idp, 1).await;
    serves(&place, UMBRA_HOST, &token, "").await;
    serves(&place, ACME_HOST, &token, "").await;
}
