//! A program without a browser gets its token by a code that a person types (RFC 8628).

use std::time::Duration;

use serde_json::Value;
use turnpike::clock::Time;
use turnpike_api::Expected;
use turnpike_identity::people;
use turnpike_loadtest::{FakeProvider, Options};

use super::browser::{Browser, back_of, field};
use super::provider::Idp;
use super::{HOUR, NOW, Place, configuration};
use crate::audit::stopped;
use crate::harness::{Answer, House};

pub(super) const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// What a device knows of its login.
pub(super) struct Asked {
    pub(super) device_code: String,
    pub(super) user_code: String,
}

impl Place {
    /// A program; its address is another one than people's.
    fn program(&self) -> Browser {
        let mut program = self.browser();
        program.accept = "application/json";
        program.address = Some("203.0.113.9");
        program
    }

    async fn device(&self) -> Asked {
        let fields = [("client_id", "turnpike-login"), ("agent", "build box")];
        let answer = self.program().post(BEGIN, &fields).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let text = |name: &str| answer.json()[name].as_str().unwrap().to_owned();
        Asked {
            device_code: text("device_code"),
            user_code: text("user_code"),
        }
    }

    async fn poll(&self, asked: &Asked) -> Answer {
        let fields = [
            ("grant_type", GRANT),
            ("device_code", &*asked.device_code),
            ("client_id", "turnpike-login"),
        ];
        self.program().post(TOKEN, &fields).await
    }

    async fn said(&self, asked: &Asked) -> String {
        error(&self.poll(asked).await)
    }
}

pub(super) const BEGIN: &str = "/oauth/device_authorization";
pub(super) const TOKEN: &str = "/oauth/token";

fn error(answer: &Answer) -> String {
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    answer.json()["error"].as_str().unwrap().to_owned()
}

fn page(asked: &Asked) -> String {
    format!("/auth/device?user_code={}", asked.user_code)
}

/// What a person says to a device, on the page that asks them.
pub(super) async fn decide(person: &mut Browser, asked: &Asked, decision: &str) -> Answer {
    let shown = person.get(&page(asked)).await;
    assert_eq!(shown.status, 200, "{}", shown.text());
    let (csrf, code) = (field(&shown, "csrf"), field(&shown, "user_code"));
    let fields = [
        ("csrf", &*csrf),
        ("user_code", &*code),
        ("name", "build box"),
        ("decision", decision),
    ];
    person.post("/auth/device", &fields).await
}

async fn allow(person: &mut Browser, asked: &Asked) {
    let done = decide(person, asked, "allow").await;
    assert_eq!(done.status, 200, "{}", done.text());
    assert!(done.text().contains("Your device is connected"));
}

fn token(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let said = answer.json();
    assert_eq!(said["token_type"], "Bearer");
    said["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_gets_an_ordinary_token_of_who_said_yes_once() {
    let place = Place::new().await;
    let asked = place.device().await;
    assert_eq!(place.said(&asked).await, "authorization_pending");

    // Nobody is signed in: the login comes first, and then the question about this device.
    let mut ada = place.browser();
    let sent = ada.get(&page(&asked)).await;
    let chooser = format!("/auth/login?for=device&user_code={}", asked.user_code);
    assert_eq!(sent.header("location"), Some(&*chooser));
    let begun = ada.get(&chooser).await;
    let login = begun.header("location").unwrap().to_owned();
    let back = ada.visit_provider(&login).await;
    let done = ada.get(&back).await;
    assert_eq!(done.header("location"), Some(&*page(&asked)));

    let shown = ada.get(&page(&asked)).await;
    for text in [
        "203.0.113.9",
        "turnpike-login",
        "build box",
        "ada@example.com",
    ] {
        assert!(shown.text().contains(text), "{text}: {}", shown.text());
    }
    assert!(shown.text().contains("Then refuse"), "of phishing");
    assert!(shown.text().contains("not the address that you are at"));
    place.time.advance(Duration::from_secs(5));
    assert_eq!(
        place.said(&asked).await,
        "authorization_pending",
        "a look is no yes"
    );

    allow(&mut ada, &asked).await;
    place.time.advance(Duration::from_secs(5));
    let given = place.poll(&asked).await;
    assert_eq!(given.json()["person"], "ada@example.com");
    assert_eq!(given.header("cache-control"), Some("no-store"));
    let token = token(&given);
    assert_eq!(place.status(&token).await, 200);
    let again = place.poll(&asked).await;
    assert_eq!(
        (again.status, &*error(&again)),
        (400, "invalid_grant"),
        "once"
    );

    // It is as any other of theirs.
    let list = ada.get("/auth/tokens").await;
    assert!(list.text().contains("build box"), "{}", list.text());
    place.time.advance(HOUR * 24);
    assert_eq!(place.status(&token).await, 401);
    place.signed_in().await;
    assert_eq!(place.status(&token).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metadata_leads_to_the_endpoints() {
    let place = Place::new().await;
    let metadata = place
        .program()
        .get("/.well-known/oauth-authorization-server")
        .await;
    let said = metadata.json();
    let issuer = said["issuer"].as_str().unwrap();
    let begin = format!("{issuer}{BEGIN}");
    assert_eq!(said["device_authorization_endpoint"], *begin);
    assert_eq!(said["token_endpoint"], format!("{issuer}{TOKEN}"));
    assert_eq!(said["grant_types_supported"], serde_json::json!([GRANT]));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_polls_too_quickly_waits_longer_from_then_on() {
    let place = Place::new().await;
    let asked = place.device().await;
    let pending = "authorization_pending";
    assert_eq!(place.said(&asked).await, pending);
    assert_eq!(place.said(&asked).await, "slow_down");
    place.time.advance(Duration::from_secs(5));
    assert_eq!(place.said(&asked).await, "slow_down", "10 s now");
    place.time.advance(Duration::from_secs(15));
    assert_eq!(place.said(&asked).await, pending);
    // A little early is the network's doing.
    place.time.advance(Duration::from_millis(14_200));
    assert_eq!(place.said(&asked).await, pending);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_no_and_an_end_are_told_as_such() {
    let place = Place::new().await;
    let mut ada = place.signed_in().await;
    let asked = place.device().await;
    let done = decide(&mut ada, &asked, "deny").await;
    assert!(done.text().contains("Refused"), "{}", done.text());
    assert_eq!(place.said(&asked).await, "access_denied");
    let late = ada.get(&page(&asked)).await;
    assert_eq!(late.status, 400, "it was answered");

    let asked = place.device().await;
    place.time.advance(Duration::from_secs(15 * 60));
    assert_eq!(place.said(&asked).await, "expired_token");
    let late = ada.get(&page(&asked)).await;
    assert_eq!(late.status, 400);
    assert!(
        late.text().contains("No device is waiting"),
        "{}",
        late.text()
    );
    place.time.advance(Duration::from_secs(5 * 60));
    assert_eq!(place.said(&asked).await, "invalid_grant", "it is forgotten");
    // A yes that nobody fetches ends, too.
    let asked = place.device().await;
    allow(&mut ada, &asked).await;
    place.time.advance(Duration::from_secs(15 * 60));
    assert_eq!(place.said(&asked).await, "expired_token");
    assert_eq!(place.house.gateway.runtime.agent_tokens.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_polls_at_once_one_has_the_token() {
    let place = Place::new().await;
    let asked = place.device().await;
    allow(&mut place.signed_in().await, &asked).await;
    let polls = (0..8).map(|_| place.poll(&asked));
    let answers = futures::future::join_all(polls).await;
    let given: Vec<_> = answers.iter().filter(|one| one.status == 200).collect();
    assert_eq!(given.len(), 1);
    for refused in answers.iter().filter(|one| one.status != 200) {
        assert_eq!(error(refused), "invalid_grant");
    }
    assert_eq!(place.house.gateway.runtime.agent_tokens.len(), 1);
    assert_eq!(place.status(&token(given[0])).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_user_codes_are_slowed_down_and_right_ones_are_not() {
    let place = Place::new().await;
    let mut ada = place.signed_in().await;
    for _ in 0..12 {
        // More than may be wrong, or begun in vain.
        let asked = place.device().await;
        allow(&mut ada, &asked).await;
        token(&place.poll(&asked).await);
    }
    let wrong = "/auth/device?user_code=BBBB-BBBB";
    for _ in 0..10 {
        let refused = ada.get(wrong).await;
        assert_eq!(refused.status, 400, "{}", refused.text());
        assert!(
            refused.text().contains("value=\"BBBB-BBBB\""),
            "it can be mended"
        );
    }
    let waiting = ada.get(wrong).await;
    assert_eq!(waiting.status, 429);
    assert!(waiting.text().contains("Please wait before trying again"));
    assert_eq!(waiting.header("retry-after"), Some("2"));
    // Elsewhere it is the same person; and a right code in between buys no more guesses.
    ada.address = Some("198.51.100.7");
    assert_eq!(ada.get(wrong).await.status, 429);
    place.time.advance(Duration::from_secs(2));
    allow_and_guess(&place, &mut ada).await;
    let mut told = stopped(&place.house).await;
    told.retain(|one| one["event"] == "login" && one["outcome"] == "failed");
    let of = |reason: &str| told.iter().filter(|one| one["reason"] == reason).count();
    assert_eq!((of("unknown_user_code"), of("rate_limited")), (11, 3));
    for login in &told {
        assert_eq!(login["who"]["subject"], "ada", "{login}");
    }
}

async fn allow_and_guess(place: &Place, ada: &mut Browser) {
    let asked = place.device().await;
    allow(ada, &asked).await;
    let wrong = "/auth/device?user_code=BBBB-BBBB";
    assert_eq!(ada.get(wrong).await.status, 400);
    let refused = ada.get(wrong).await;
    assert_eq!(refused.status, 429, "the wrong ones stay counted");
    assert_eq!(refused.header("retry-after"), Some("4"));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_for_codes_again_and_again_has_to_wait() {
    let place = Place::new().await;
    for _ in 0..10 {
        place.device().await;
    }
    let fields = [("client_id", "turnpike-login")];
    let waiting = place.program().post(BEGIN, &fields).await;
    assert_eq!(waiting.status, 429);
    assert_eq!(error(&waiting), "temporarily_unavailable");
    assert_eq!(waiting.header("retry-after"), Some("2"));
    let mut neighbour = place.program();
    neighbour.address = Some("203.0.113.10");
    assert_eq!(neighbour.post(BEGIN, &fields).await.status, 200);
    // People at that address log in as ever.
    let mut person = place.browser();
    person.address = Some("203.0.113.9");
    assert_eq!(person.get("/auth/login/test").await.status, 303);
    let mut told = stopped(&place.house).await;
    told.retain(|one| one["event"] == "login");
    let [login] = &told[..] else {
        panic!("one that waits: {told:?}");
    };
    assert_eq!(login["reason"], "rate_limited");
    assert_eq!(login["client"], "203.0.113.9");
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_devices_wait_and_no_more() {
    let place = Place::new().await;
    let store = place.house.gateway.runtime.store.clone();
    let ttl = Some(Duration::from_secs(60));
    let fill = (0..5_000).map(async |nth| {
        let key = format!("another {nth}");
        let put = store.put("device_login", &key, b"{}", ttl, Expected::Absent);
        put.await.unwrap();
    });
    futures::future::join_all(fill).await;
    let fields = [("client_id", "turnpike-login")];
    let full = place.program().post(BEGIN, &fields).await;
    assert_eq!(
        (full.status, &*error(&full)),
        (503, "temporarily_unavailable")
    );
    assert_eq!(full.header("retry-after"), Some("60"));
    place.time.advance(Duration::from_secs(60));
    place.device().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_said_as_it_should_be_is_refused_with_why() {
    let place = Place::new().await;
    let asked = place.device().await;
    let long = "x".repeat(101);
    type Fields<'f> = &'f [(&'f str, &'f str)];
    let begin: &[(Fields<'_>, u16, &str)] = &[
        (&[], 400, "invalid_request"),
        (
            &[("client_id", "a"), ("client_id", "b")],
            400,
            "invalid_request",
        ),
        (&[("client_id", "two words")], 401, "invalid_client"),
        (&[("client_id", &long)], 401, "invalid_client"),
        (
            &[("client_id", "a"), ("agent", &long)],
            400,
            "invalid_request",
        ),
        (
            &[("client_id", "a"), ("agent", "a\nb")],
            400,
            "invalid_request",
        ),
    ];
    for (fields, status, said) in begin {
        let answer = place.program().post(BEGIN, fields).await;
        assert_eq!(
            (answer.status, &*error(&answer)),
            (*status, *said),
            "{fields:?}"
        );
    }
    let (grant, client) = (("grant_type", GRANT), ("client_id", "turnpike-login"));
    let code = ("device_code", &*asked.device_code);
    let token: &[(Fields<'_>, &str)] = &[
        (&[], "invalid_request"),
        (&[grant, client], "invalid_request"),
        (&[grant, code], "invalid_request"),
        (
            &[("grant_type", "password"), client, code],
            "unsupported_grant_type",
        ),
        (&[grant, client, ("device_code", "none")], "invalid_grant"),
        (
            &[grant, client, ("device_code", &asked.device_code[..40])],
            "invalid_grant",
        ),
        (&[grant, ("client_id", "another"), code], "invalid_grant"),
        (&[grant, client, code], "authorization_pending"),
    ];
    for (fields, said) in token {
        let answer = place.program().post(TOKEN, fields).await;
        assert_eq!(
            (answer.status, &*error(&answer)),
            (400, *said),
            "{fields:?}"
        );
    }
    let got = place.program().get(TOKEN).await;
    assert_eq!((got.status, got.header("allow")), (405, Some("POST")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_yes_needs_the_persons_own_page() {
    let place = Place::new().await;
    let asked = place.device().await;
    let mut ada = place.signed_in().await;
    *place.idp.subject.lock().unwrap() = "bob".into();
    let mut bob = place.signed_in().await;
    let bobs = field(&bob.get(&page(&asked)).await, "csrf");
    for csrf in ["", "made-up", &bobs] {
        let fields = [
            ("csrf", csrf),
            ("user_code", &*asked.user_code),
            ("name", "x"),
            ("decision", "allow"),
        ];
        let refused = ada.post("/auth/device", &fields).await;
        assert_eq!(refused.status, 403, "{}", refused.text());
    }
    // By nobody at all: a link leads to where they sign in, and they are asked again.
    let fields = [("user_code", &*asked.user_code), ("decision", "allow")];
    let sent = place.browser().post("/auth/device", &fields).await;
    assert_eq!(sent.status, 401);
    let login = format!("/auth/login?for=device&#38;user_code={}", asked.user_code);
    assert!(sent.text().contains(&login), "{}", sent.text());
    let refused = place.program().post("/auth/device", &fields).await;
    assert_eq!(refused.json()["code"], "session_over");
    assert_eq!(place.said(&asked).await, "authorization_pending");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_takes_the_yes_back() {
    let place = Place::new().await;
    let asked = place.device().await;
    let mut ada = place.signed_in().await;
    allow(&mut ada, &asked).await;
    let csrf = field(&ada.get("/auth/logout").await, "csrf");
    ada.post("/auth/logout", &[("csrf", &csrf)]).await;
    // The next session is not the one that said yes.
    place.signed_in().await;
    assert_eq!(place.said(&asked).await, "access_denied");
    assert_eq!(place.house.gateway.runtime.agent_tokens.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_forgotten_has_said_nothing() {
    let place = Place::new().await;
    let (hers, his) = (place.device().await, place.device().await);
    let mut ada = place.signed_in().await;
    ada.get("/auth/device?user_code=BBBB-BBBB").await;
    allow(&mut ada, &hers).await;
    *place.idp.subject.lock().unwrap() = "bob".into();
    allow(&mut place.signed_in().await, &his).await;
    let store = place.house.gateway.runtime.store.clone();
    let kept = people::find(&*store, "ada").await.unwrap();
    assert_eq!(kept.len(), 1);
    people::forget(&*store, &kept[0], NOW).await.unwrap();
    for kind in ["device_login", "login_rate"] {
        for (key, record) in store.list(kind).await.unwrap() {
            let text = format!("{key} {}", String::from_utf8(record.value).unwrap());
            assert!(!text.contains(&kept[0].key), "{kind}: {text}");
        }
    }
    assert_eq!(place.said(&hers).await, "invalid_grant");
    token(&place.poll(&his).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_is_the_persons_to_choose_and_put_back_when_it_is_none() {
    let place = Place::new().await;
    let asked = place.device().await;
    let mut ada = place.signed_in().await;
    let shown = ada.get(&page(&asked)).await;
    let csrf = field(&shown, "csrf");
    let long = "y".repeat(101);
    let mut fields = [
        ("csrf", &*csrf),
        ("user_code", &*asked.user_code.to_lowercase()),
        ("name", &*long),
        ("decision", "allow"),
    ];
    let refused = ada.post("/auth/device", &fields).await;
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains(&long), "{}", refused.text());
    fields[2].1 = "the box";
    assert_eq!(ada.post("/auth/device", &fields).await.status, 200);
    let given = place.poll(&asked).await;
    assert_eq!(given.json()["token_name"], "the box");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_for_a_device_leads_nowhere_else() {
    let place = Place::new().await;
    for (query, leads) in [
        ("for=device", "/auth/device"),
        ("for=device&user_code=//evil.example", "/auth/device"),
        (
            "for=device&user_code=BCDF-GHJK%0d%0aset-cookie:x",
            "/auth/device",
        ),
        (
            "for=device&user_code=bcdf%20ghjk",
            "/auth/device?user_code=BCDF-GHJK",
        ),
        ("for=//evil.example&user_code=BCDFGHJK", "/auth/success"),
        ("for=device&for=device&user_code=BCDFGHJK", "/auth/success"),
    ] {
        let mut browser = place.browser();
        let begun = browser.get(&format!("/auth/login/test?{query}")).await;
        let back = back_of(begun.header("location").unwrap()).await;
        let done = browser.get(&back).await;
        assert_eq!(done.header("location"), Some(leads), "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_survives_a_restart_and_nothing_secret_is_kept() {
    let time = Time::simulated(NOW);
    let idp = Idp::start(time.clone()).await;
    let models = FakeProvider::start(Options::default()).await;
    let yaml = configuration(&idp, &models, "authorization: {mode: enterprise}");
    let dir = tempfile::tempdir().unwrap();
    let house = House::serve_by(time.clone(), dir, &yaml).await;
    let mut place = Place {
        time: time.clone(),
        idp,
        house,
        _models: models,
    };
    let asked = place.device().await;
    let mut ada = place.signed_in().await;

    let (dir, _) = place.house.left().await;
    place.house = House::serve_by(time.clone(), dir, &yaml).await;
    let cookies = ada.cookies.clone();
    ada = place.browser();
    ada.cookies = cookies;
    allow(&mut ada, &asked).await;

    let (dir, _) = place.house.left().await;
    let kept: Vec<u8> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.is_file())
        .flat_map(|path| std::fs::read(path).unwrap())
        .collect();
    let kept = String::from_utf8_lossy(&kept).into_owned();
    assert!(kept.contains("build box"));
    let secret = asked.device_code.split('.').nth(1).unwrap();
    let code = asked.user_code.replace('-', "");
    assert!(!kept.contains(secret) && !kept.contains(&code) && !kept.contains("tp-"));

    place.house = House::serve_by(time.clone(), dir, &yaml).await;
    let token = token(&place.poll(&asked).await);
    assert_eq!(place.status(&token).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_sso_there_is_none_of_it() {
    let models = FakeProvider::start(Options::default()).await;
    let house = House::before(&models).await;
    let mut browser = Browser::of(house.gateway.proxy);
    for path in [BEGIN, TOKEN] {
        assert_eq!(browser.post(path, &[("client_id", "a")]).await.status, 404);
    }
    for path in ["/.well-known/oauth-authorization-server", "/auth/device"] {
        let answer = browser.get(path).await;
        assert_eq!(answer.status, 404);
        assert_eq!(answer.json()["error"]["code"], Value::from("unknown_path"));
    }
}
