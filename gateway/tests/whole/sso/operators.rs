//! People whom a role lets manage come to the operator's pages by their login.

use std::time::Duration;

use serde_json::json;
use turnpike::clock::Time;
use turnpike_api::Store;
use turnpike_identity::people;
use turnpike_loadtest::{FakeProvider, Options};

use super::browser::{Browser, field};
use super::provider::Idp;
use super::{HOUR, NOW, Place, configuration, make};
use crate::harness::{Answer, House};

/// Whom the group `ops` is bound to may do everything, the group `desk` may look at tokens.
const ROLES: &str = "\
    authorization: {mode: enterprise}\n\
    roles: {operator: {permissions: [\"admin:*\"]}, desk: {permissions: [\"tokens:read\"]}, user: {models: [\"*\"]}}\n\
    role_bindings:\n\
    - {role: operator, groups: [ops]}\n\
    - {role: desk, groups: [desk]}\n\
    - {role: user, everyone: true}\n";

/// Where operators' browsers find the pages, whatever the port is.
const HOME: &str = "http://localhost";

impl Place {
    async fn with_operators(admin: &str) -> Self {
        let time = Time::simulated(NOW);
        let idp = Idp::start(time.clone()).await;
        let models = FakeProvider::start(Options::default()).await;
        let written = configuration(&idp, &models, ROLES);
        let yaml = written.replace("admin: {port: 0}", admin);
        let dir = tempfile::tempdir().unwrap();
        let house = House::serve_by(time.clone(), dir, &yaml).await;
        Self {
            time,
            idp,
            house,
            _models: models,
        }
    }

    /// Without a key of the management API.
    async fn of_people() -> Self {
        Self::with_operators(&format!("admin: {{port: 0, public_url: \"{HOME}\"}}")).await
    }

    fn groups(&self, groups: &[&'static str]) {
        let groups = groups.to_vec();
        self.idp.does(|wrong| {
            wrong.claims = Box::new(move |claims| claims["groups"] = json!(groups));
        });
    }
}

/// One person's browser, at both addresses.
struct Both {
    gateway: Browser,
    admin: Browser,
}

impl Both {
    fn of(place: &Place) -> Self {
        Self {
            gateway: place.browser(),
            admin: Browser::of(place.house.gateway.admin),
        }
    }

    /// From the operator's page to the gateway: the address there.
    async fn go(&mut self) -> String {
        let page = self.admin.get("/admin/sign-in").await;
        assert!(
            page.text().contains("/admin/sign-in/login"),
            "{}",
            page.text()
        );
        let sent = self.admin.get("/admin/sign-in/login").await;
        let to = sent.header("location").unwrap();
        let (_, path) = to.split_once("/auth/").unwrap();
        format!("/auth/{path}")
    }

    /// From there back: the address at the operator's pages.
    async fn back(&mut self, path: &str) -> String {
        let to = passed_on(&self.gateway.get(path).await);
        to.strip_prefix(HOME)
            .unwrap_or_else(|| panic!("{to}"))
            .to_owned()
    }

    /// In, for somebody who is logged in.
    async fn come_in(&mut self) -> Answer {
        let path = self.go().await;
        let back = self.back(&path).await;
        self.admin.get(&back).await
    }
}

/// Where a page sends its browser on to, at once and by a link.
fn passed_on(page: &Answer) -> String {
    assert_eq!(page.status, 200, "{}", page.text());
    let text = page.text();
    let at = text.find("content=\"0; url=");
    let at = at.unwrap_or_else(|| panic!("{text}"));
    let url = text[at + 16..].split('"').next().unwrap();
    assert!(text.contains(&format!("href=\"{url}\"")), "{text}");
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    url.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_whom_a_role_lets_manage_comes_in_by_their_login() {
    let place = Place::of_people().await;
    place.groups(&["ops"]);
    let mut ada = Both::of(&place);
    // Not logged in yet: the login leads on to where the person wanted to go.
    let path = ada.go().await;
    let login = ada.gateway.get(&path).await;
    let login = login.header("location").unwrap().to_owned();
    assert!(
        login.starts_with("/auth/login?for=operator&challenge="),
        "{login}"
    );
    let only = ada.gateway.get(&login).await;
    let only = only.header("location").unwrap().to_owned();
    let back = ada.gateway.visit_provider(&only).await;
    let logged_in = ada.gateway.get(&back).await;
    assert_eq!(logged_in.header("location"), Some(&*path));
    let back = ada.back(&path).await;
    let welcome = ada.admin.get(&back).await;
    assert_eq!(welcome.status, 200, "{}", welcome.text());
    assert!(
        welcome.text().contains("ada@example.com")
            && welcome.text().contains("http-equiv=\"refresh\"")
    );
    let set = welcome.header("set-cookie").unwrap();
    assert!(
        set.starts_with("turnpike-operator=") && set.contains("SameSite=Strict"),
        "{set}"
    );

    let (_, token) = make(&mut ada.gateway, "laptop").await;
    let page = ada.admin.get("/admin/tokens").await;
    assert!(
        page.status == 200 && page.text().contains("laptop"),
        "{}",
        page.text()
    );
    let logins = ada.admin.get("/admin/logins").await;
    assert!(
        logins.text().contains("ada@example.com"),
        "{}",
        logins.text()
    );
    assert!(
        !logins
            .text()
            .contains(&ada.gateway.cookies["turnpike-session"])
    );
    // There is no key, and so no API, and no form to type one.
    let api = ada.admin.get("/v0/management/whoami").await;
    assert_eq!(api.status, 404);
    let mut stranger = Browser::of(place.house.gateway.admin);
    let page = stranger.get("/admin/sign-in").await;
    assert!(!page.text().contains("password"), "{}", page.text());
    let typed = stranger.post("/admin/sign-in", &[("key", "x")]).await;
    assert_eq!(typed.status, 404);

    // Her own session is ended: she is out here, too.
    let id = logins.text().split("/admin/logins/end?id=").nth(1).unwrap();
    let id = id.split('"').next().unwrap();
    let csrf = field(&logins, "csrf");
    let ended = ada
        .admin
        .post("/admin/logins/end", &[("csrf", &csrf), ("id", id)])
        .await;
    assert_eq!(
        ended.header("location"),
        Some("/admin/logins?done=ended"),
        "{}",
        ended.text()
    );
    assert_eq!(place.status(&token).await, 401);
    assert_eq!(ada.admin.get("/admin/tokens").await.status, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_may_do_what_their_roles_grant_now() {
    let place = Place::of_people().await;
    place.groups(&["sales"]);
    let mut bob = Both::of(&place);
    bob.gateway = place.signed_in().await;
    let path = bob.go().await;
    let refused = bob.gateway.get(&path).await;
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("You may not manage this gateway"));

    place.groups(&["desk"]);
    bob.gateway = place.signed_in().await;
    assert_eq!(bob.come_in().await.status, 200);
    let first = bob.admin.get("/admin").await;
    assert_eq!(first.header("location"), Some("/admin/tokens"));
    assert_eq!(bob.admin.get("/admin/tokens").await.status, 200);
    assert_eq!(bob.admin.get("/admin/credentials").await.status, 403);

    // The next login says less.
    place.groups(&["sales"]);
    place.signed_in().await;
    assert_eq!(bob.admin.get("/admin/tokens").await.status, 303);
    place.groups(&["desk"]);
    place.signed_in().await;
    assert_eq!(bob.admin.get("/admin/tokens").await.status, 200);
    // So does the configuration.
    let written = std::fs::read_to_string(&place.house.config).unwrap();
    let reload = |yaml: &str| {
        crate::binary::replace(&place.house.config, yaml);
        place.house.gateway.reloader.reload().unwrap()
    };
    tokio::task::block_in_place(|| reload(&written.replace("groups: [desk]", "groups: [other]")));
    assert_eq!(bob.admin.get("/admin/tokens").await.status, 303);
    tokio::task::block_in_place(|| reload(&written));
    assert_eq!(bob.admin.get("/admin/tokens").await.status, 200);
    // A logout ends it, and so does the session's end.
    let csrf = field(&bob.gateway.get("/auth/logout").await, "csrf");
    bob.gateway.post("/auth/logout", &[("csrf", &csrf)]).await;
    assert_eq!(bob.admin.get("/admin/tokens").await.status, 303);
    bob.gateway = place.signed_in().await;
    assert_eq!(
        bob.admin.get("/admin/tokens").await.status,
        303,
        "another session"
    );
    assert_eq!(bob.come_in().await.status, 200);
    place.time.advance(HOUR * 8);
    assert_eq!(bob.admin.get("/admin/tokens").await.status, 303);
    assert_eq!(bob.come_in().await.status, 200, "the login goes on");
    place.time.advance(HOUR * 16);
    assert_eq!(bob.admin.get("/admin/tokens").await.status, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_good_once_for_a_minute_in_the_browser_that_asked() {
    let place = Place::of_people().await;
    place.groups(&["ops"]);
    let mut ada = Both::of(&place);
    ada.gateway = place.signed_in().await;
    let path = ada.go().await;
    let back = ada.back(&path).await;
    let refused = async |browser: &mut Browser, back: &str| {
        let answer = browser.get(back).await;
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert!(
            answer.text().contains("no longer good"),
            "{}",
            answer.text()
        );
        assert!(!browser.cookies.contains_key("turnpike-operator"));
    };
    // Stolen, in a browser that has no cookie and in one that has another.
    let mut thief = Browser::of(place.house.gateway.admin);
    refused(&mut thief, &back).await;
    thief.get("/admin/sign-in").await;
    refused(&mut thief, &back).await;
    // It can still be spent, once.
    let mut twin = ada.admin.clone();
    assert_eq!(ada.admin.get(&back).await.status, 200);
    refused(&mut twin, &back).await;
    // A minute is over.
    let late = ada.back(&path).await;
    place.time.advance(Duration::from_secs(60));
    refused(&mut twin, &late).await;
    for made_up in ["", "?ticket=", "?ticket=x", "?ticket=a&ticket=b"] {
        refused(&mut twin, &format!("/admin/sign-in/return{made_up}")).await;
    }
    // One of a thief's browser leads a victim nowhere.
    let mut thief = Both::of(&place);
    let begun = thief.go().await;
    let victims = ada.back(&begun).await;
    let mut victim = Browser::of(place.house.gateway.admin);
    refused(&mut victim, &victims).await;
    // The person was signed out between.
    let back = ada.back(&path).await;
    let csrf = field(&ada.gateway.get("/auth/logout").await, "csrf");
    ada.gateway.post("/auth/logout", &[("csrf", &csrf)]).await;
    assert_eq!(twin.get(&back).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_forgotten_is_no_operator_either() {
    let place = Place::of_people().await;
    place.groups(&["ops"]);
    let mut ada = Both::of(&place);
    ada.gateway = place.signed_in().await;
    let path = ada.go().await;
    ada.back(&path).await;
    assert_eq!(ada.come_in().await.status, 200);
    let mut bob = Both::of(&place);
    *place.idp.subject.lock().unwrap() = "bob".into();
    bob.gateway = place.signed_in().await;
    assert_eq!(bob.come_in().await.status, 200);

    let store: &dyn Store = &*place.house.gateway.runtime.store;
    let kept = async |kind: &'static str| store.list(kind).await.unwrap().len();
    assert_eq!(
        (
            kept("operator_session").await,
            kept("operator_ticket").await
        ),
        (2, 1)
    );
    let hers = people::all(store).await.unwrap();
    let hers = hers
        .iter()
        .find(|kept| kept.person.subject == "ada")
        .unwrap();
    people::forget(store, hers, NOW).await.unwrap();
    assert_eq!(
        (
            kept("operator_session").await,
            kept("operator_ticket").await
        ),
        (1, 0)
    );
    assert_eq!(ada.admin.get("/admin/tokens").await.status, 303);
    assert_eq!(bob.admin.get("/admin/tokens").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_browser_says_leads_elsewhere() {
    let place = Place::of_people().await;
    place.groups(&["ops"]);
    let mut browser = place.signed_in().await;
    let good = "a".repeat(64);
    for odd in [
        "",
        "x",
        "//evil.example",
        "https%3A%2F%2Fevil.example",
        "%0d%0alocation:x",
        &good.to_uppercase(),
    ] {
        let refused = browser
            .get(&format!("/auth/operator?challenge={odd}"))
            .await;
        assert_eq!(refused.status, 400, "{odd}");
        assert!(
            refused.text().contains(&format!("{HOME}/admin")),
            "{}",
            refused.text()
        );
        assert!(!refused.text().contains("evil"));
        let login = browser
            .get(&format!("/auth/login?for=operator&challenge={odd}"))
            .await;
        assert_eq!(login.header("location"), Some("/auth/login/test"), "{odd}");
    }
    for more in [
        "&next=https://evil.example",
        "&return=//evil.example",
        "&admin=evil",
    ] {
        let sent = browser
            .get(&format!("/auth/operator?challenge={good}{more}"))
            .await;
        let to = passed_on(&sent);
        assert!(
            to.starts_with(&format!("{HOME}/admin/sign-in/return?ticket=")),
            "{to}"
        );
        assert!(!to.contains("evil"), "{to}");
    }
    let headers = [
        ("host", "evil.example"),
        ("x-forwarded-host", "evil.example"),
    ];
    let sent = browser
        .send_as(
            "GET",
            &format!("/auth/operator?challenge={good}"),
            &headers[1..],
            Vec::new(),
        )
        .await;
    assert!(passed_on(&sent).starts_with(HOME));
}

#[tokio::test(flavor = "multi_thread")]
async fn at_another_address_the_right_one_is_told() {
    let admin = "admin: {port: 0, public_url: \"https://ops.example.com\", keys: [{key: CANARY-of-the-operator}]}";
    let place = Place::with_operators(admin).await;
    let mut browser = Browser::of(place.house.gateway.admin);
    let told = browser.get("/admin/sign-in/login").await;
    assert_eq!(told.status, 400);
    assert!(
        told.text().contains("https://ops.example.com/admin"),
        "{}",
        told.text()
    );
    assert!(told.text().contains("admin.public_url"));
    assert!(browser.cookies.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_role_lets_manage_nobody_is_sent_there() {
    let place = Place::managed("authorization: {mode: enterprise}").await;
    let mut browser = place.signed_in().await;
    let challenge = "a".repeat(64);
    let path = format!("/auth/operator?challenge={challenge}");
    assert_eq!(browser.get(&path).await.status, 404);
    let mut admin = Browser::of(place.house.gateway.admin);
    let page = admin.get("/admin/sign-in").await;
    assert!(
        !page.text().contains("/admin/sign-in/login"),
        "{}",
        page.text()
    );
    for path in ["/admin/sign-in/login", "/admin/sign-in/return?ticket=x"] {
        assert_eq!(admin.get(path).await.status, 404, "{path}");
    }
    // The cookie of a person is none of an operator.
    admin.cookies = browser.cookies.clone();
    let cookie = browser.cookies["turnpike-session"].clone();
    admin.cookies.insert("turnpike-operator".into(), cookie);
    assert_eq!(admin.get("/admin/gateway").await.status, 303);
}
