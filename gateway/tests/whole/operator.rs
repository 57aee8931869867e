//! The operator's pages, as a browser sees them.

mod bad_forms;
mod pages;

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use http::{Method, Request};
use tower::ServiceExt;
use turnpike::clock::Time;
use turnpike_loadtest::{FakeProvider, Options};

use crate::harness::{Answer, House};
use crate::sso::browser::{Browser, field};

pub(super) const ALL: &str = "CANARY-of-the-operator";
pub(super) const READER: &str = "CANARY-of-the-reader";
pub(super) const REVOKER: &str = "CANARY-of-the-revoker";

/// In the middle of a day.
const NOON: u64 = 1_800_014_400_000;

const HOUR: Duration = Duration::from_secs(3600);

pub(super) fn yaml(provider: &FakeProvider) -> String {
    format!(
        "server: {{port: 0}}\n\
         admin:\n\
         \x20 port: 0\n\
         \x20 keys:\n\
         \x20   - {{name: ops, key: {ALL}}}\n\
         \x20   - {{name: reader, key: {READER}, scopes: [\"tokens:read\", \"credentials:read\"]}}\n\
         \x20   - {{name: revoker, key: {REVOKER}, scopes: [\"tokens:write\"]}}\n\
         agent_tokens: {{argon2: {{memory_kib: 1024, iterations: 1}}}}\n\
         api_keys: [{{key: CANARY-of-a-client, name: tests}}]\n\
         max_retry_interval: 0\n\
         providers:\n\
         \x20 openai: {{base_url: \"{0}/v1\", credentials: [\
         {{api_key: CANARY-upstream-1, label: one, quota: {{limit: 1000}}}}, \
         {{api_key: CANARY-upstream-2, label: two}}]}}\n\
         \x20 claude: {{base_url: \"{0}\", credentials: [{{api_key: CANARY-upstream-3, label: main}}]}}\n",
        provider.base_url()
    )
}

/// A gateway with keys, by a clock that stands still.
pub(super) struct Place {
    pub(super) provider: FakeProvider,
    pub(super) house: House,
    pub(super) time: Time,
}

impl Place {
    pub(super) async fn new() -> Self {
        Self::with(|yaml| yaml).await
    }

    pub(super) async fn with(change: impl FnOnce(String) -> String) -> Self {
        let provider = FakeProvider::start(Options::default()).await;
        let yaml = change(yaml(&provider));
        let time = Time::simulated(NOON);
        let dir = tempfile::tempdir().unwrap();
        let house = House::serve_by(time.clone(), dir, &yaml).await;
        Self {
            provider,
            house,
            time,
        }
    }

    /// At the admin listener.
    pub(super) fn browser(&self) -> Browser {
        Browser::of(self.house.gateway.admin)
    }

    pub(super) async fn signed_in(&self, key: &str) -> Browser {
        let mut browser = self.browser();
        let answer = sign_in(&mut browser, key).await;
        let leads = answer.header("location");
        assert_eq!(leads, Some("/admin"), "{}", answer.text());
        browser
    }

    /// Over the API, with the key for everything.
    pub(super) async fn api(&self, method: &str, path: &str, body: &str) -> Answer {
        let mut browser = self.browser();
        let key = [("x-management-key", ALL)];
        let path = format!("/v0/management{path}");
        let body = body.as_bytes().to_vec();
        browser.send_as(method, &path, &key, body).await
    }

    pub(super) async fn reload(&self, change: impl FnOnce(String) -> String) -> Answer {
        let yaml = change(yaml(&self.provider));
        crate::binary::replace(&self.house.config, &yaml);
        self.api("POST", "/reload", "").await
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
}

/// Types a key into the page that asks for it.
pub(super) async fn sign_in(browser: &mut Browser, key: &str) -> Answer {
    let page = browser.get("/admin/sign-in").await;
    assert_eq!(page.status, 200, "{}", page.text());
    let csrf = field(&page, "csrf");
    let fields = [("csrf", &*csrf), ("key", key)];
    browser.post("/admin/sign-in", &fields).await
}

/// Goes to another gateway with what it keeps.
fn moved(browser: &Browser, to: SocketAddr) -> Browser {
    let mut moved = Browser::of(to);
    moved.cookies = browser.cookies.clone();
    moved
}

pub(super) fn leads_to_sign_in(answer: &Answer) -> bool {
    answer.status == 303 && answer.header("location") == Some("/admin/sign-in")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_lets_in_and_a_wrong_one_does_not() {
    let place = Place::new().await;
    let mut browser = place.browser();
    let home = browser.get("/").await;
    assert_eq!(
        (home.status, home.header("location")),
        (303, Some("/admin"))
    );
    for path in [
        "/admin",
        "/admin/credentials",
        "/admin/gateway",
        "/admin/openapi.json",
    ] {
        assert!(leads_to_sign_in(&browser.get(path).await), "{path}");
    }
    for wrong in ["CANARY-of-a-client", "made-up", "x"] {
        let refused = sign_in(&mut browser, wrong).await;
        assert_eq!(refused.status, 401);
        assert!(refused.text().contains("This is no key"));
        assert!(
            !refused.text().contains(wrong) || wrong == "x",
            "{}",
            refused.text()
        );
        assert!(!browser.cookies.contains_key("turnpike-operator"));
    }
    assert_eq!(sign_in(&mut browser, "  ").await.status, 400);
    let begun = sign_in(&mut browser, &format!(" {ALL}\n")).await;
    assert_eq!(begun.header("location"), Some("/admin"));
    let set = begun.header("set-cookie").unwrap();
    for part in [
        "turnpike-operator=",
        "HttpOnly",
        "SameSite=Strict",
        "Path=/admin",
        "Max-Age=28800",
    ] {
        assert!(set.contains(part), "{set}");
    }
    assert!(!set.contains("Secure") && !set.contains("Domain"), "{set}");

    let first = browser.get("/admin").await;
    assert_eq!(first.header("location"), Some("/admin/credentials"));
    let page = browser.get("/admin/credentials").await;
    assert_eq!(page.status, 200);
    for shown in [
        "openai/one",
        "claude/main",
        "0 of 1,000 tokens used",
        ">ops<",
    ] {
        assert!(page.text().contains(shown), "{shown}: {}", page.text());
    }
    assert!(!page.text().contains("CANARY"), "{}", page.text());
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert_eq!(page.header("access-control-allow-origin"), None);
    let again = browser.get("/admin/sign-in").await;
    assert_eq!(
        again.header("location"),
        Some("/admin"),
        "who is in already"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_signs_out_is_out_everywhere() {
    let place = Place::new().await;
    let mut browser = place.signed_in(ALL).await;
    let mut twin = browser.clone();
    let csrf = field(&browser.get("/admin/gateway").await, "csrf");
    let out = browser.post("/admin/sign-out", &[("csrf", &csrf)]).await;
    assert!(out.status == 200 && out.text().contains("You are signed out"));
    assert!(!browser.cookies.contains_key("turnpike-operator"));
    assert!(leads_to_sign_in(&twin.get("/admin/gateway").await));
    let late = twin.post("/admin/sign-out", &[("csrf", &csrf)]).await;
    assert_eq!(late.status, 401);
    assert!(late.text().contains("Your session is over"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_lasts_a_working_day_and_over_a_restart() {
    let place = Place::new().await;
    let browser = place.signed_in(ALL).await;
    place.time.advance(HOUR * 8 - Duration::from_secs(1));
    let place = place.restarted().await;
    let mut browser = moved(&browser, place.house.gateway.admin);
    assert_eq!(browser.get("/admin/gateway").await.status, 200);
    place.time.advance(Duration::from_secs(1));
    assert!(leads_to_sign_in(&browser.get("/admin/gateway").await));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_is_made_to_wait_here_and_at_the_api() {
    let place = Place::new().await;
    let mut browser = place.browser();
    for _ in 0..4 {
        assert_eq!(sign_in(&mut browser, "made-up").await.status, 401);
    }
    let key = [("x-management-key", "made-up")];
    let fifth = browser.send_as("GET", "/v0/management/whoami", &key, Vec::new());
    assert_eq!(fifth.await.status, 401);
    for key in ["made-up", ALL] {
        let waits = sign_in(&mut browser, key).await;
        assert_eq!(
            (waits.status, waits.header("retry-after")),
            (429, Some("30"))
        );
        assert!(waits.text().contains("in 30 s"), "{}", waits.text());
    }
    assert_eq!(place.api("GET", "/whoami", "").await.status, 429);
    place.time.advance(Duration::from_secs(30));
    assert_eq!(sign_in(&mut browser, ALL).await.status, 303);
    // What is sent without a key counts for nothing.
    for _ in 0..6 {
        assert_eq!(sign_in(&mut place.browser(), "").await.status, 400);
    }
    assert_eq!(sign_in(&mut place.browser(), ALL).await.status, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_leaves_the_configuration_takes_its_sessions_along() {
    let place = Place::new().await;
    let mut ops = place.signed_in(ALL).await;
    let mut reader = place.signed_in(READER).await;
    assert_eq!(reader.get("/admin/tokens").await.status, 200);
    let other = "another-key-of-the-reader";
    assert_eq!(
        place
            .reload(|yaml| yaml.replace(READER, other))
            .await
            .status,
        200
    );
    assert!(leads_to_sign_in(&reader.get("/admin/tokens").await));
    let csrf = "any";
    assert_eq!(
        reader
            .post("/admin/sign-out", &[("csrf", csrf)])
            .await
            .status,
        401
    );
    assert_eq!(ops.get("/admin/tokens").await.status, 200, "another key's");

    // What a key may do is what it may do now.
    let scopes = |yaml: String| {
        yaml.replace(
            &format!("key: {ALL}}}"),
            &format!("key: {ALL}, scopes: [\"config:write\"]}}"),
        )
    };
    let reloaded = place.reload(scopes).await;
    assert_eq!(reloaded.status, 200, "{}", reloaded.text());
    assert_eq!(ops.get("/admin/tokens").await.status, 403);
    let first = ops.get("/admin").await;
    assert_eq!(first.header("location"), Some("/admin/gateway"));
    let page = ops.get("/admin/gateway").await;
    assert!(page.text().contains("Read the configuration again"));
    assert!(!page.text().contains("/admin/tokens"), "{}", page.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_keys_and_roles_there_are_no_pages() {
    let place = Place::with(|yaml| {
        let (before, rest) = yaml.split_once("  keys:").unwrap();
        let (_, after) = rest.split_once("agent_tokens").unwrap();
        format!("{before}agent_tokens{after}")
    })
    .await;
    let mut browser = place.browser();
    let nothing = browser.get("/nothing-here").await;
    assert_eq!(nothing.status, 404);
    let paths = [
        "/",
        "/admin",
        "/admin/",
        "/admin/sign-in",
        "/admin/style.css",
        "/admin/no-page",
    ];
    for path in paths {
        let answer = browser.get(path).await;
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
    let posted = browser.post("/admin/sign-in", &[("key", "x")]).await;
    assert_eq!((posted.status, &posted.body), (404, &nothing.body));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_machines_see_nothing_unless_that_is_said() {
    let ask = async |place: &Place, peer: &str, forwarded: bool| {
        let pages = place.house.gateway.runtime.pages.get().unwrap().clone();
        let mut request = Request::builder().uri("/admin/sign-in");
        if forwarded {
            request = request.header("x-forwarded-for", "127.0.0.1");
        }
        let mut request = request.body(Body::empty()).unwrap();
        let peer: SocketAddr = peer.parse().unwrap();
        request.extensions_mut().insert(ConnectInfo(peer));
        pages.oneshot(request).await.unwrap().status().as_u16()
    };
    let place = Place::new().await;
    for peer in ["10.0.0.9:5000", "[2001:db8::1]:5000"] {
        for forwarded in [false, true] {
            assert_eq!(ask(&place, peer, forwarded).await, 403, "{peer}");
        }
    }
    assert_eq!(ask(&place, "[::1]:5000", false).await, 200);
    let open =
        Place::with(|yaml| format!("{yaml}remote_management: {{allow_remote: true}}\n")).await;
    assert_eq!(ask(&open, "10.0.0.9:5000", false).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_cookies_are_of_this_host_alone() {
    let place = Place::with(|yaml| {
        yaml.replacen(
            "  port: 0\n",
            "  port: 0\n  public_url: https://ops.example.com\n",
            1,
        )
    })
    .await;
    let mut browser = place.browser();
    let begun = sign_in(&mut browser, ALL).await;
    let set = begun.header("set-cookie").unwrap();
    for part in [
        "__Host-turnpike-operator=",
        "Secure",
        "HttpOnly",
        "SameSite=Strict",
        "Path=/;",
    ] {
        assert!(set.contains(part), "{set}");
    }
    assert_eq!(browser.get("/admin/gateway").await.status, 200);
    // Set by somebody else, without the prefix, it is none.
    let cookie = browser.cookies.remove("__Host-turnpike-operator").unwrap();
    browser.cookies.insert("turnpike-operator".into(), cookie);
    assert!(leads_to_sign_in(&browser.get("/admin/gateway").await));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_listener_serves_the_pages_to_operators_beside_callers() {
    let host = format!("127.{}.{}.7", fastrand::u8(1..255), fastrand::u8(1..255));
    let place = Place::with(|yaml| {
        yaml.replace(
            "server: {port: 0}",
            &format!("server: {{host: {host}, port: 8317}}"),
        )
        .replacen("  port: 0\n", &format!("  host: {host}\n  port: 8317\n"), 1)
    })
    .await;
    assert_eq!(place.house.gateway.admin, place.house.gateway.proxy);
    let mut browser = place.signed_in(ALL).await;
    let page = browser.get("/admin/credentials").await;
    assert!(page.status == 200 && page.text().contains("openai/one"));
    assert_eq!(browser.get("/admin/").await.status, 303);
    let csrf = field(&page, "csrf");
    let huge = "x".repeat(70 << 10);
    let fields = [("csrf", &*csrf), ("id", &*huge)];
    let refused = browser.post("/admin/credentials/reset", &fields).await;
    assert_eq!(refused.status, 413);
    assert!(refused.text().contains("<h1>This is too large</h1>"));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_listeners_do_not_mix() {
    let place = Place::new().await;
    let mut browser = Browser::of(place.house.gateway.proxy);
    for method in [Method::GET, Method::POST] {
        for path in ["/admin", "/admin/sign-in", "/admin/style.css"] {
            let answer = browser
                .send_as(method.as_str(), path, &[], Vec::new())
                .await;
            assert_eq!(answer.status, 404, "{path}");
        }
    }
}
