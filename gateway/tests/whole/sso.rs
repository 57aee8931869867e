//! People log in through their provider, and their agents' tokens live by that.

mod authorization;
mod bad_forms;
pub(crate) mod browser;
mod device;
mod fleet;
mod github;
mod hostile;
mod leaving;
mod login_command;
mod managed;
mod operators;
pub(crate) mod provider;
mod renewal;
mod roles;
mod session;
mod signed_tokens;
mod tenants;

use std::sync::Arc;
use std::time::Duration;

use turnpike::clock::Time;
use turnpike_loadtest::{FakeProvider, Options};

use crate::calls::{CHAT, post_with};
use crate::harness::{Answer, Client, House, Http, until};
use browser::{Browser, field};
use provider::{CLIENT, Idp, SECRET};

/// A day in 2026, in milliseconds.
const NOW: u64 = 1_780_000_000_000;

const HOUR: Duration = Duration::from_secs(3600);

/// A gateway, whom it asks who people are, and a model provider.
struct Place {
    time: Time,
    idp: Arc<Idp>,
    house: House,
    _models: FakeProvider,
}

impl Place {
    /// Everybody whom the provider knows is let in.
    async fn new() -> Self {
        Self::with("authorization: {mode: enterprise}").await
    }

    async fn with(rest: &str) -> Self {
        Self::at(NOW, rest).await
    }

    async fn at(now: u64, rest: &str) -> Self {
        let time = Time::simulated(now);
        let idp = Idp::start(time.clone()).await;
        let models = FakeProvider::start(Options::default()).await;
        let yaml = configuration(&idp, &models, rest);
        let dir = tempfile::tempdir().unwrap();
        let house = House::serve_by(time.clone(), dir, &yaml).await;
        Self {
            time,
            idp,
            house,
            _models: models,
        }
    }

    fn browser(&self) -> Browser {
        Browser::of(self.house.gateway.proxy)
    }

    /// Somebody who is signed in.
    async fn signed_in(&self) -> Browser {
        let mut browser = self.browser();
        let answer = browser.log_in().await;
        assert_eq!(
            answer.header("location"),
            Some("/auth/success"),
            "{}",
            answer.text()
        );
        browser
    }

    async fn ask(&self, token: &str) -> Answer {
        let mut client = Client::connect(&self.house, Http::One).await;
        let bearer = format!("Bearer {token}");
        post_with(
            &mut client,
            CHAT.path,
            &[("authorization", &bearer)],
            CHAT.body,
        )
        .await
    }

    async fn status(&self, token: &str) -> u16 {
        self.ask(token).await.status
    }
}

fn configuration(idp: &Idp, models: &FakeProvider, rest: &str) -> String {
    format!(
        "server: {{port: 0, trusted_proxies: [127.0.0.1]}}\nadmin: {{port: 0}}\n\
         agent_tokens: {{argon2: {{memory_kib: 1024, iterations: 1}}}}\n\
         unauthenticated_response: unauthorized\nsso:\n  enabled: true\n  providers:\n\
         \x20   test: {{type: oidc, client_id: {CLIENT}, client_secret: {SECRET}, discovery_url: \"{}\"}}\n\
         {rest}\n\
         providers: {{openai: {{base_url: \"{}/v1\", credentials: [{{api_key: sk-upstream}}]}}}}\n",
        idp.url,
        models.base_url()
    )
}

/// Makes a token, and answers with the page that shows it and the token.
async fn make(browser: &mut Browser, name: &str) -> (Answer, String) {
    let page = browser.get("/auth/success").await;
    let csrf = field(&page, "csrf");
    let made = browser
        .post("/auth/success", &[("csrf", &csrf), ("name", name)])
        .await;
    assert_eq!(made.status, 200, "{}", made.text());
    let at = made.text().find("value=\"tp-").unwrap() + 7;
    let token = made.text()[at..].split('"').next().unwrap().to_owned();
    (made, token)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_works_while_its_owners_session_lasts_and_again_after_the_next_login() {
    let place = Place::new().await;
    let mut browser = place.browser();
    // The gateway's address, opened in a browser.
    let home = browser.get("/").await;
    assert_eq!(
        (home.status, home.header("location")),
        (303, Some("/auth/login"))
    );
    let login = browser.get("/auth/login").await;
    assert_eq!(
        login.header("location"),
        Some("/auth/login/test"),
        "there is one provider"
    );

    let back = browser.log_in().await;
    assert_eq!(
        back.header("location"),
        Some("/auth/success"),
        "{}",
        back.text()
    );
    let page = browser.get("/auth/success").await;
    assert!(page.text().contains("ada@example.com"), "{}", page.text());
    let (made, token) = make(&mut browser, "laptop").await;
    assert_eq!(made.header("cache-control"), Some("no-store"));
    assert!(made.text().contains("ANTHROPIC_BASE_URL"));
    assert_eq!(place.status(&token).await, 200);

    place.time.advance(HOUR * 23);
    assert_eq!(place.status(&token).await, 200);
    place.time.advance(HOUR);
    let expired = place.ask(&token).await;
    assert_eq!(expired.status, 401);
    assert!(
        expired.text().contains("Session expired"),
        "{}",
        expired.text()
    );
    let over = browser.get("/auth/tokens").await;
    assert_eq!(
        over.header("location"),
        Some("/auth/login"),
        "the browser's session, too"
    );

    place.signed_in().await;
    assert_eq!(place.status(&token).await, 200, "the same token");
    let page = place.signed_in().await.get("/auth/success").await;
    assert!(page.text().contains("work again") && page.text().contains("laptop"));
    let granted = r#"turnpike_logins_total{outcome="granted"}"#;
    assert_eq!(place.house.metric(granted), 3.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_ends_the_session_in_every_browser_and_stops_its_tokens() {
    let place = Place::new().await;
    let mut one = place.signed_in().await;
    let mut other = place.signed_in().await;
    let (_, token) = make(&mut one, "laptop").await;
    assert_eq!(place.status(&token).await, 200);
    *place.idp.subject.lock().unwrap() = "bob".into();
    let (_, bobs) = make(&mut place.signed_in().await, "laptop").await;

    let csrf = field(&one.get("/auth/logout").await, "csrf");
    let stolen = one.cookies.clone();
    let out = one.post("/auth/logout", &[("csrf", &csrf)]).await;
    assert_eq!(out.status, 200);
    assert_eq!(place.status(&token).await, 401);
    assert_eq!(place.status(&bobs).await, 200, "another person's");
    for browser in [&mut one, &mut other] {
        let page = browser.get("/auth/tokens").await;
        assert_eq!(page.header("location"), Some("/auth/login"));
    }
    // A cookie of before is worth nothing, also after the next login.
    *place.idp.subject.lock().unwrap() = "ada".into();
    place.signed_in().await;
    assert_eq!(place.status(&token).await, 200);
    one.cookies = stolen;
    assert_eq!(one.get("/auth/tokens").await.status, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_revokes_their_own_tokens_and_nobody_elses() {
    let place = Place::new().await;
    let mut ada = place.signed_in().await;
    let (_, token) = make(&mut ada, "laptop").await;
    *place.idp.subject.lock().unwrap() = "bob".into();
    let mut bob = place.signed_in().await;
    let (_, bobs) = make(&mut bob, "laptop").await;
    let id = token
        .strip_prefix("tp-")
        .unwrap()
        .split('.')
        .next()
        .unwrap();

    let csrf = field(&bob.get("/auth/tokens").await, "csrf");
    let refused = bob
        .post("/auth/tokens/revoke", &[("csrf", &csrf), ("id", id)])
        .await;
    assert_eq!(refused.status, 404);
    // A form of another person's page, and none.
    for csrf in ["", &csrf] {
        let refused = ada
            .post("/auth/tokens/revoke", &[("csrf", csrf), ("id", id)])
            .await;
        assert_eq!(refused.status, 403);
    }
    assert_eq!(place.status(&token).await, 200);

    let csrf = field(&ada.get("/auth/tokens").await, "csrf");
    let revoked = ada
        .post("/auth/tokens/revoke", &[("csrf", &csrf), ("id", id)])
        .await;
    assert_eq!(revoked.status, 303, "{}", revoked.text());
    assert_eq!(
        (place.status(&token).await, place.status(&bobs).await),
        (401, 200)
    );
    // A revocation is for good: no login brings it back.
    *place.idp.subject.lock().unwrap() = "ada".into();
    place.signed_in().await;
    assert!(place.ask(&token).await.text().contains("revoked"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_rotated_has_its_successor_live_by_the_session() {
    let place = Place::new().await;
    let (_, token) = make(&mut place.signed_in().await, "laptop").await;
    let id = token
        .strip_prefix("tp-")
        .unwrap()
        .split('.')
        .next()
        .unwrap();
    let costs = turnpike_identity::agent_tokens::Costs {
        memory_kib: 1024,
        iterations: 1,
        parallelism: 1,
    };
    let store = &*place.house.gateway.runtime.store;
    let rotated = turnpike_identity::agent_tokens::rotate(store, id, HOUR, costs, NOW);
    let successor = rotated.await.unwrap().token.expose().to_owned();
    place.time.advance(HOUR * 24);
    place.signed_in().await;
    let book = &place.house.gateway.runtime.agent_tokens;
    until(|| book.len() == 2).await;
    assert_eq!(
        (place.status(&token).await, place.status(&successor).await),
        (401, 200)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_link_is_for_its_token_and_used_once() {
    let place = Place::new().await;
    let (_, token) = make(&mut place.signed_in().await, "laptop").await;
    let id = token
        .strip_prefix("tp-")
        .unwrap()
        .split('.')
        .next()
        .unwrap();
    let sso = place
        .house
        .gateway
        .runtime
        .snapshot()
        .tenants
        .house
        .sso
        .clone()
        .unwrap();
    let link = sso.links.mint(Some(id), NOW).unwrap();
    let link = link
        .split_once("/auth")
        .map(|(_, rest)| format!("/auth{rest}"))
        .unwrap();

    *place.idp.subject.lock().unwrap() = "bob".into();
    let mut bob = place.browser();
    let chosen = bob.get(&link).await;
    let back = bob.visit_provider(chosen.header("location").unwrap()).await;
    let done = bob.get(&back).await;
    assert_eq!(done.header("location"), Some("/auth/success?link=other"));
    let page = bob.get("/auth/success?link=other").await;
    assert!(page.text().contains("not yours"), "{}", page.text());

    *place.idp.subject.lock().unwrap() = "ada".into();
    let link = sso.links.mint(Some(id), NOW).unwrap();
    let (_, text) = link.split_once("token=").unwrap();
    let read = sso.links.read(text, NOW).unwrap();
    let store = &*place.house.gateway.runtime.store;
    assert!(!read.is_used(store).await.unwrap());
    let mut ada = place.browser();
    let back = ada
        .visit_provider(&format!("/auth/login/test?token={text}"))
        .await;
    assert!(
        !read.is_used(store).await.unwrap(),
        "only a login that is done uses it up"
    );
    assert_eq!(
        ada.get(&back).await.header("location"),
        Some("/auth/success")
    );
    assert!(read.is_used(store).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_says_how_it_may_be_used_and_names_nobody_else() {
    let place = Place::new().await;
    let mut browser = place.signed_in().await;
    for path in [
        "/auth/success",
        "/auth/tokens",
        "/auth/logout",
        "/auth/confirm",
        "/auth/device",
        "/auth/nothing",
    ] {
        let page = browser.get(path).await;
        let policy = page.header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'")
        );
        assert_eq!(page.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(page.header("access-control-allow-origin"), None);
        let text = page.text();
        assert!(
            text.contains("<html lang=\"en\">") && text.matches("<h1>").count() == 1,
            "{text}"
        );
        assert!(
            !text.contains("<script") && !text.contains("http://idp"),
            "{text}"
        );
        assert!(!text.contains("style="), "the policy allows none");
    }
    let sheet = browser.get("/auth/style.css").await;
    assert_eq!(
        sheet.header("content-type"),
        Some("text/css; charset=utf-8")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_sso_there_is_no_login() {
    let models = FakeProvider::start(Options::default()).await;
    let house = House::before(&models).await;
    let mut browser = Browser::of(house.gateway.proxy);
    assert_eq!(browser.get("/auth/login").await.status, 404);
    assert_eq!(browser.get("/").await.text(), "Turnpike\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_tls_the_cookies_are_the_hosts_own() {
    let place = Place::new().await;
    let text = std::fs::read_to_string(&place.house.config).unwrap();
    let public = "server: {port: 0, public_url: \"https://llm.example.com/\"";
    std::fs::write(
        &place.house.config,
        text.replace("server: {port: 0", public),
    )
    .unwrap();
    place.house.gateway.reloader.reload().unwrap();
    let begun = place.browser().get("/auth/login/test").await;
    let cookie = begun.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-turnpike-login="), "{cookie}");
    assert!(cookie.contains("Secure") && cookie.contains("Path=/") && !cookie.contains("Domain"));
    let there = url::Url::parse(begun.header("location").unwrap()).unwrap();
    let asked: std::collections::HashMap<_, _> = there.query_pairs().into_owned().collect();
    assert_eq!(
        asked["redirect_uri"],
        "https://llm.example.com/auth/callback"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_none_makes_no_token() {
    let place = Place::new().await;
    let mut browser = place.signed_in().await;
    let csrf = field(&browser.get("/auth/tokens").await, "csrf");
    for name in ["", "   ", "a\nb", &"x".repeat(101)] {
        let fields = [("csrf", &*csrf), ("name", name)];
        let refused = browser.post("/auth/success", &fields).await;
        assert_eq!(refused.status, 400);
        assert!(refused.text().contains("1 to 100 printable characters"));
    }
    assert_eq!(place.house.gateway.runtime.agent_tokens.len(), 0);
    let large = "x".repeat(70_000);
    let fields = [("csrf", &*csrf), ("name", &*large)];
    assert_eq!(browser.post("/auth/success", &fields).await.status, 413);
    let name = "<script>alert(1)</script> & \"co\"";
    let fields = [("csrf", &*csrf), ("name", name)];
    let made = browser.post("/auth/success", &fields).await;
    assert!(!made.text().contains("<script"), "{}", made.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_and_logouts_at_once_leave_tokens_as_the_last_one_said() {
    use turnpike_api::Directory;
    use turnpike_identity::agent_tokens::look;
    use turnpike_identity::sso::session::{self, Login};
    let place = Place::new().await;
    let mut browser = place.signed_in().await;
    let mut ids = Vec::new();
    for name in ["laptop", "desktop", "phone"] {
        let (_, token) = make(&mut browser, name).await;
        ids.push(token[3..].split('.').next().unwrap().to_owned());
    }
    let store = place.house.gateway.runtime.store.clone();
    let directory: &dyn Directory = &*store;
    let (key, record) = directory.list(session::KIND).await.unwrap().remove(0);
    let person = serde_json::from_slice(&record.value).unwrap();
    let login = Login {
        person,
        provider: "test".into(),
        roles: Vec::new(),
        provider_of: None,
    };
    for round in 0..10 {
        let many = (0..8).map(|at| {
            let (store, login, key) = (store.clone(), login.clone(), key.clone());
            let now = NOW + round * 100 + at;
            tokio::spawn(async move {
                match at % 2 {
                    0 => session::sign_in(&*store, &login, HOUR, now).await.map(drop),
                    _ => session::sign_out(&*store, &key, now).await,
                }
            })
        });
        for done in futures::future::join_all(many.collect::<Vec<_>>()).await {
            done.unwrap().unwrap();
        }
        let (session, _) = session::find(&*store, &key).await.unwrap().unwrap();
        for id in &ids {
            let token = look(&*store, id).await.unwrap().unwrap();
            assert_eq!(
                token.auth_expires_at,
                Some(session.expires_at),
                "round {round}"
            );
        }
    }
}
