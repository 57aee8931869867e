//! Whatever is sent to the pages, in whatever form: somebody is told what is wrong, in the way that
//! they asked, nobody is let in, and what was typed is not lost.

use std::time::Duration;

use super::browser::{Browser, field};
use super::{HOUR, Place, make};
use crate::harness::Answer;

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// A form that would do something.
struct Good {
    path: &'static str,
    fields: Vec<(&'static str, String)>,
    /// Without these it is as good, or shows a page.
    optional: &'static [&'static str],
}

/// Somebody who can send it: nothing of what follows changes that.
struct Sender {
    browser: Browser,
    good: Vec<Good>,
}

impl Good {
    fn new(path: &'static str, fields: &[(&'static str, &str)]) -> Self {
        let fields = fields
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        Self {
            path,
            fields: fields.collect(),
            optional: &[],
        }
    }

    fn body(&self) -> String {
        encoded(&self.fields)
    }

    /// With another value, as it is, in place of one.
    fn with(&self, name: &str, raw: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        for (other, value) in &self.fields {
            body.extend_from_slice(other.as_bytes());
            body.push(b'=');
            match *other == name {
                true => body.extend_from_slice(raw),
                false => body.extend_from_slice(encode(value).as_bytes()),
            }
            body.push(b'&');
        }
        body.pop();
        body
    }

    fn without(&self, name: &str) -> Vec<u8> {
        let rest = self.fields.iter().filter(|(other, _)| *other != name);
        let rest: Vec<_> = rest.cloned().collect();
        encoded(&rest).into_bytes()
    }
}

fn encode(value: &str) -> String {
    url::form_urlencoded::byte_serialize(value.as_bytes()).collect()
}

fn encoded(fields: &[(&'static str, String)]) -> String {
    let fields = fields.iter();
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish()
}

/// A value that is none, as it is sent.
fn values() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("1 KiB", vec![b'x'; 1 << 10]),
        ("70 KiB", vec![b'x'; 70 << 10]),
        ("bytes of no text", vec![0xff, 0xfe]),
        ("percent-encoded bytes of no text", b"%ff%fe".to_vec()),
        ("Latin-1", b"caf%E9".to_vec()),
        ("overlong", b"%C0%AF".to_vec()),
        ("NUL", b"a%00b".to_vec()),
        ("control characters", b"a%07%1b%5b31m".to_vec()),
        ("a line's end", b"a%0d%0aset-cookie:%20x=y".to_vec()),
        ("half a percent", b"%".to_vec()),
        ("another site", b"//evil.example/".to_vec()),
        ("a script", b"%3Cscript%3Ealert(1)%3C/script%3E".to_vec()),
    ]
}

/// What is said of it, and how, whoever reads it.
fn assert_told(answer: &Answer, as_json: bool, what: &str) {
    let text = String::from_utf8_lossy(&answer.body);
    assert!(
        (400..500).contains(&answer.status),
        "{what}: {} {text}",
        answer.status
    );
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}");
    assert!(answer.header("content-security-policy").is_some(), "{what}");
    let kind = answer.header("content-type").unwrap();
    if as_json {
        assert!(kind.contains("json"), "{what}: {kind}");
        let body = answer.json();
        let said = body.get("title").or(body.get("error_description"));
        assert!(said.unwrap().as_str().unwrap().len() > 5, "{what}: {body}");
    } else {
        assert!(kind.starts_with("text/html"), "{what}: {kind}");
        assert_eq!(text.matches("<h1>").count(), 1, "{what}: {text}");
        assert!(!text.contains("<script"), "{what}: {text}");
    }
    // Nobody who was not signed in is from then on.
    let set = answer.headers.get_all("set-cookie").iter();
    let sets = set.filter(|cookie| cookie.to_str().unwrap().contains("session="));
    assert_eq!(sets.count(), 0, "{what}");
}

impl Sender {
    /// Somebody who is signed in, before each page.
    async fn signed_in(place: &Place) -> (Self, String) {
        let mut browser = place.signed_in().await;
        let (_, token) = make(&mut browser, "kept").await;
        let id = token[3..].split('.').next().unwrap().to_owned();
        let csrf = field(&browser.get("/auth/tokens").await, "csrf");
        let mut program = place.browser();
        let asked = program.post(
            "/oauth/device_authorization",
            &[("client_id", "suite"), ("agent", "box")],
        );
        let asked = asked.await.json();
        let code = asked["user_code"].as_str().unwrap();
        let mut device = Good::new(
            "/auth/device",
            &[
                ("csrf", &csrf),
                ("user_code", code),
                ("name", "box"),
                ("decision", "allow"),
            ],
        );
        device.optional = &["decision"];
        let good = vec![
            Good::new("/auth/success", &[("csrf", &csrf), ("name", "laptop")]),
            Good::new("/auth/tokens/revoke", &[("csrf", &csrf), ("id", &id)]),
            device,
            Good::new("/auth/logout", &[("csrf", &csrf)]),
        ];
        (Self { browser, good }, token)
    }

    /// A program, whose forms need no seal.
    async fn program(place: &Place) -> Self {
        let mut browser = place.browser();
        browser.accept = "application/json";
        let mut begin = Good::new(
            "/oauth/device_authorization",
            &[("client_id", "suite"), ("agent", "box")],
        );
        begin.optional = &["agent"];
        let asked = browser.post(begin.path, &[("client_id", "suite")]).await;
        let asked = asked.json();
        let code = asked["device_code"].as_str().unwrap();
        let token = Good::new(
            "/oauth/token",
            &[
                ("grant_type", GRANT),
                ("client_id", "suite"),
                ("device_code", code),
            ],
        );
        Self {
            browser,
            good: vec![begin, token],
        }
    }

    async fn send(&mut self, nth: usize, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        let path = self.good[nth].path;
        let cookies = self.browser.cookies.clone();
        let answer = self.browser.send_as("POST", path, headers, body).await;
        assert_eq!(self.browser.cookies, cookies, "{path}");
        answer
    }

    /// Everything that can be wrong with each of its forms.
    async fn try_all(&mut self, place: &Place, as_json: bool) {
        for nth in 0..self.good.len() {
            let (path, fields) = (self.good[nth].path, self.good[nth].fields.clone());
            for (name, _) in &fields {
                for (what, value) in values() {
                    let body = self.good[nth].with(name, &value);
                    let what = format!("{path}, {name}: {what}");
                    place.time.advance(Duration::from_secs(1));
                    let answer = self.send(nth, &[FORM], body).await;
                    // Some names are odd and good, but none of these is anything else.
                    match is_odd_and_good(path, name, &what) {
                        true => assert!(answer.status < 500, "{what}"),
                        false => assert_told(&answer, as_json, &what),
                    }
                }
                if self.good[nth].optional.contains(name) {
                    continue;
                }
                let twice = format!("{}&{name}=x", self.good[nth].body());
                let answer = self.send(nth, &[FORM], twice.into_bytes()).await;
                assert_told(&answer, as_json, &format!("{path}, {name}: twice"));
                let body = self.good[nth].without(name);
                let answer = self.send(nth, &[FORM], body).await;
                assert_told(&answer, as_json, &format!("{path}, {name}: missing"));
            }
            let good = self.good[nth].body().into_bytes();
            for kind in [
                "",
                "text/plain",
                "application/json",
                "multipart/form-data; boundary=x",
                "application/x-www-form-urlencoded; charset=iso-8859-1",
            ] {
                let answer = self
                    .send(nth, &[("content-type", kind)], good.clone())
                    .await;
                assert_told(&answer, as_json, &format!("{path} as {kind:?}"));
            }
            for site in ["cross-site", "same-site"] {
                let headers = [
                    FORM,
                    ("sec-fetch-site", site),
                    ("origin", "https://evil.example"),
                ];
                let answer = self.send(nth, &headers, good.clone()).await;
                assert_told(&answer, as_json, &format!("{path} from {site}"));
            }
        }
    }
}

/// A name for a token or a device may be a script's text: it is shown as that.
fn is_odd_and_good(path: &str, name: &str, what: &str) -> bool {
    let is_name = matches!(
        (path, name),
        ("/auth/success" | "/auth/device", "name") | ("/oauth/device_authorization", "agent")
    );
    let is_id = (path, name) == ("/oauth/device_authorization", "client_id");
    let is_plain = ["half a percent", "another site", "a script"];
    (is_name || is_id) && is_plain.iter().any(|plain| what.ends_with(plain))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_form_of_somebody_signed_in_does_what_it_should_not() {
    for as_json in [false, true] {
        let place = Place::with(RATE).await;
        let (mut sender, token) = Sender::signed_in(&place).await;
        if as_json {
            sender.browser.accept = "application/json";
        }
        // The last of the pages would end it all, would it be believed.
        sender.try_all(&place, as_json).await;
        assert_eq!(
            place.status(&token).await,
            200,
            "neither revoked nor signed out"
        );
        for good in &sender.good {
            let body = good.body().into_bytes();
            let done = sender
                .browser
                .send_as("POST", good.path, &[FORM], body)
                .await;
            // Its device may have been allowed by an odd name: then it is answered.
            let is_done = done.status < 400 || good.path == "/auth/device";
            assert!(is_done, "{}: {}", good.path, done.text());
        }
        assert_eq!(place.status(&token).await, 401);
        // Sent again by who is signed out by now.
        for good in &sender.good {
            let body = good.body().into_bytes();
            let again = sender
                .browser
                .send_as("POST", good.path, &[FORM], body)
                .await;
            let to_login = again
                .header("location")
                .is_some_and(|to| to.starts_with("/auth/login?"));
            if !(good.path == "/auth/device" && to_login) {
                assert_told(&again, as_json, &format!("{} again", good.path));
            }
        }
    }
}

/// Who waits would not be asked again.
const RATE: &str = "authorization: {mode: enterprise, rate_limit: {max_attempts: 1000}}";

#[tokio::test(flavor = "multi_thread")]
async fn no_program_gets_a_token_by_what_is_no_form() {
    let place = Place::with(RATE).await;
    let mut sender = Sender::program(&place).await;
    sender.try_all(&place, true).await;
    assert_eq!(place.house.gateway.runtime.agent_tokens.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_asked_for_again_whatever_was_sent() {
    for as_json in [false, true] {
        let rest =
            "authorization: {max_confirmation_attempts: 100, rate_limit: {max_attempts: 1000}}";
        let place = Place::with(rest).await;
        let mut browser = place.browser();
        let back = browser.log_in().await;
        assert_eq!(back.header("location"), Some("/auth/confirm"));
        let csrf = field(&browser.get("/auth/confirm").await, "csrf");
        if as_json {
            browser.accept = "application/json";
        }
        let good = vec![Good::new(
            "/auth/confirm",
            &[("csrf", &csrf), ("code", "none")],
        )];
        let mut sender = Sender { browser, good };
        sender.try_all(&place, as_json).await;
        // It still can be typed.
        sender.browser.accept = "text/html";
        let page = sender.browser.get("/auth/confirm").await;
        assert_eq!(page.status, 200);
        assert_eq!(field(&page, "csrf"), csrf);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_query_breaks_a_page_or_leads_away() {
    let place = Place::with(RATE).await;
    let mut signed_in = place.signed_in().await;
    let mut stranger = place.browser();
    let queries = [
        ("/auth/login", &["token", "for", "user_code"][..]),
        ("/auth/login/nope", &["token"]),
        (
            "/auth/callback",
            &["code", "state", "error", "error_description", "iss"],
        ),
        ("/auth/confirm", &["csrf"]),
        ("/auth/success", &["link", "name"]),
        ("/auth/tokens", &["name"]),
        ("/auth/logout", &["csrf"]),
        ("/auth/device", &["user_code", "name"]),
        ("/.well-known/oauth-authorization-server", &["x"]),
    ];
    for (path, names) in queries {
        for name in names {
            for (what, value) in values() {
                // A query is of visible characters; what is too long for a head is none of a page's.
                if value.len() > 2 << 10 || value.iter().any(|byte| !byte.is_ascii_graphic()) {
                    continue;
                }
                let value = String::from_utf8(value).unwrap();
                let asked = format!("{path}?{name}={value}&{name}2={value}");
                for browser in [&mut signed_in, &mut stranger] {
                    let answer = browser.get(&asked).await;
                    let what = format!("{path}, {name}: {what}");
                    assert!(answer.status < 500, "{what}");
                    let text = answer.text();
                    assert!(!text.contains("<script"), "{what}: {text}");
                    let leads = answer.header("location").unwrap_or("/");
                    assert!(
                        leads.starts_with('/') && !leads.starts_with("//"),
                        "{leads}"
                    );
                    assert!(!leads.contains("evil"), "{what}: {leads}");
                    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
                }
            }
        }
    }
    for name in [
        "%ff",
        "%00",
        "a%2fb",
        "..%2f..",
        "%C0%AF",
        "<script>",
        &"x".repeat(1000),
    ] {
        let asked = format!(
            "/auth/login/{}",
            name.replace('<', "%3C").replace('>', "%3E")
        );
        let answer = stranger.get(&asked).await;
        assert!(
            (400..500).contains(&answer.status),
            "{asked}: {}",
            answer.status
        );
        assert!(
            answer
                .header("content-type")
                .unwrap()
                .starts_with("text/html")
        );
        stranger.accept = "application/json";
        let answer = stranger.get(&asked).await;
        assert!(answer.header("content-type").unwrap().contains("json"));
        stranger.accept = "text/html";
    }
    assert!(
        stranger.get("/auth/tokens").await.status == 303,
        "not let in"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_a_provider_that_is_none_is_told_as_such() {
    let place = Place::with(RATE).await;
    for (what, value) in values() {
        let mut browser = place.browser();
        let begun = browser.get("/auth/login/test").await;
        assert_eq!(begun.status, 303);
        let good = Good::new("/auth/callback", &[("code", "c"), ("state", "s")]);
        let mut sender = Sender {
            browser,
            good: vec![good],
        };
        let body = sender.good[0].with("state", &value);
        let answer = sender
            .send(0, &[FORM, ("sec-fetch-site", "cross-site")], body)
            .await;
        let Some(next) = answer.header("location") else {
            assert_told(&answer, false, what);
            continue;
        };
        assert!(next.starts_with("/auth/callback?"), "{next}");
        let answer = sender.browser.get(next).await;
        assert_told(&answer, false, what);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_typed_is_there_to_be_mended() {
    let place = Place::new().await;
    let mut browser = place.signed_in().await;
    let csrf = field(&browser.get("/auth/tokens").await, "csrf");
    let long = format!("my laptop {}", "x".repeat(100));
    for (csrf, name, status) in [(&*csrf, &*long, 400), ("stale", "my laptop", 403)] {
        let fields = [("csrf", csrf), ("name", name)];
        let refused = browser.post("/auth/success", &fields).await;
        assert_eq!(refused.status, status);
        let shown = format!("value=\"{name}\"");
        assert!(refused.text().contains(&shown), "{}", refused.text());
        let again = field(&refused, "csrf");
        let fields = [("csrf", &*again), ("name", "my laptop")];
        assert_eq!(browser.post("/auth/success", &fields).await.status, 200);
    }
    place.time.advance(HOUR * 24);
    let fields = [("csrf", &*csrf), ("name", "my laptop")];
    let over = browser.post("/auth/success", &fields).await;
    assert_eq!(over.status, 401);
    assert!(over.text().contains("my laptop"), "{}", over.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_to_wait_is_told_how_long_and_has_a_way_on() {
    let place =
        Place::with("authorization: {mode: enterprise, rate_limit: {max_attempts: 1}}").await;
    let mut browser = place.browser();
    browser.get("/auth/login/test").await;
    let waiting = browser.get("/auth/login/test").await;
    assert_eq!(waiting.status, 429);
    assert_eq!(waiting.header("retry-after"), Some("2"));
    let text = waiting.text();
    assert!(text.contains("possible in 2 s"), "{text}");
    assert!(
        text.contains("href=\"/auth/login\">Try again</a>"),
        "{text}"
    );
}
