//! Whatever is sent to the operator's pages: somebody is told what is wrong, and nothing is done.

use super::{ALL, Place, sign_in};
use crate::harness::Answer;
use crate::sso::browser::{Browser, field};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// Where forms go, with the fields that they have beside the seal.
const FORMS: &[(&str, &[(&str, &str)])] = &[
    ("/admin/sign-out", &[]),
    ("/admin/tokens/revoke", &[("id", "TOKEN")]),
    ("/admin/credentials/reset", &[("id", "openai/one")]),
    (
        "/admin/credentials/remove",
        &[("provider", "openai"), ("id", "openai/one")],
    ),
    ("/admin/logins/end", &[("id", "nobody")]),
    ("/admin/logins/clear", &[("id", "ip 192.0.2.1")]),
    ("/admin/gateway/reload", &[]),
    ("/admin/gateway/log-level", &[("level", "debug")]),
];

/// What is no value, as it is sent.
fn values() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("empty", Vec::new()),
        ("1 KiB", vec![b'x'; 1 << 10]),
        ("70 KiB", vec![b'x'; 70 << 10]),
        ("bytes of no text", vec![0xff, 0xfe]),
        ("Latin-1", b"caf%E9".to_vec()),
        ("overlong", b"%C0%AF".to_vec()),
        ("NUL", b"a%00b".to_vec()),
        ("a line's end", b"a%0d%0aset-cookie:%20x=y".to_vec()),
        ("half a percent", b"%".to_vec()),
        ("another path", b"../../reload".to_vec()),
        ("another site", b"//evil.example/".to_vec()),
        ("a script", b"%3Cscript%3Ealert(1)%3C/script%3E".to_vec()),
    ]
}

fn told(answer: &Answer, what: &str) {
    let text = String::from_utf8_lossy(&answer.body);
    assert!(
        (400..500).contains(&answer.status),
        "{what}: {} {text}",
        answer.status
    );
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}");
    assert!(answer.header("content-security-policy").is_some(), "{what}");
    let kind = answer.header("content-type").unwrap();
    assert!(kind.starts_with("text/html"), "{what}: {kind}");
    assert_eq!(text.matches("<h1>").count(), 1, "{what}: {text}");
    assert!(
        !text.contains("<script") && !text.contains("evil"),
        "{what}: {text}"
    );
    let set = answer.headers.get_all("set-cookie").iter();
    let mut sets = set.filter(|cookie| cookie.to_str().unwrap().contains("operator="));
    assert!(sets.next().is_none(), "{what}");
}

/// A form's body; `change` is a field with another value, as it is.
fn body(fields: &[(&str, &str)], change: Option<(&str, &[u8])>) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in fields {
        body.extend_from_slice(format!("{name}=").as_bytes());
        match change {
            Some((changed, raw)) if changed == *name => body.extend_from_slice(raw),
            _ => body.extend(
                url::form_urlencoded::byte_serialize(value.as_bytes()).flat_map(str::bytes),
            ),
        }
        body.push(b'&');
    }
    body.pop();
    body
}

async fn token(place: &Place) -> String {
    let made = place.api("POST", "/tokens", r#"{"name":"laptop"}"#).await;
    made.json()["id"].as_str().unwrap().to_owned()
}

/// What would have changed, if anything had.
async fn state(place: &Place) -> String {
    let mut state = String::new();
    for path in ["/tokens", "/auths", "/config", "/sessions"] {
        state += place.api("GET", path, "").await.text();
    }
    state
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_is_not_of_our_page_does_nothing() {
    let place = Place::new().await;
    let id = token(&place).await;
    let mut ops = place.signed_in(ALL).await;
    let mut twin = place.signed_in(ALL).await;
    let own = field(&ops.get("/admin/gateway").await, "csrf");
    let others = field(&twin.get("/admin/gateway").await, "csrf");
    let outside = field(&place.browser().get("/admin/sign-in").await, "csrf");
    let before = state(&place).await;
    for (path, fields) in FORMS {
        let fields: Vec<(&str, &str)> = fields
            .iter()
            .map(|(name, value)| (*name, if *value == "TOKEN" { &*id } else { *value }))
            .collect();
        let send = async |browser: &mut Browser, headers: &[(&str, &str)], csrf: &str| {
            let all: Vec<_> = fields.iter().copied().chain([("csrf", csrf)]).collect();
            browser
                .send_as("POST", path, headers, body(&all, None))
                .await
        };
        for csrf in ["", "x", &others, &outside, &format!("{own}x")] {
            told(&send(&mut ops, &[FORM], csrf).await, path);
        }
        told(&send(&mut ops, &[], &own).await, path);
        let latin = (
            "content-type",
            "application/x-www-form-urlencoded; charset=iso-8859-1",
        );
        told(&send(&mut ops, &[latin], &own).await, path);
        for site in ["cross-site", "same-site"] {
            told(
                &send(&mut ops, &[FORM, ("sec-fetch-site", site)], &own).await,
                path,
            );
        }
        let stranger = send(&mut place.browser(), &[FORM], &own).await;
        assert_eq!(stranger.status, 401, "{path}");
        told(&stranger, path);
        let doubled: Vec<_> = fields
            .iter()
            .copied()
            .chain([("csrf", &*own), ("csrf", &*own)])
            .collect();
        told(
            &ops.send_as("POST", path, &[FORM], body(&doubled, None))
                .await,
            path,
        );
        assert_eq!(
            ops.get(path).await.status,
            if path.ends_with("revoke") || path.ends_with("remove") || path.ends_with("end") {
                404
            } else {
                405
            }
        );
    }
    assert_eq!(state(&place).await, before);
    assert_eq!(
        ops.get("/admin/gateway").await.status,
        200,
        "nobody is signed out"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_value_of_a_field_breaks_a_page_or_means_something_else() {
    let place = Place::new().await;
    token(&place).await;
    let mut ops = place.signed_in(ALL).await;
    let csrf = field(&ops.get("/admin/gateway").await, "csrf");
    let before = state(&place).await;
    for (path, fields) in FORMS.iter().filter(|(_, fields)| !fields.is_empty()) {
        let all: Vec<_> = fields.iter().copied().chain([("csrf", &*csrf)]).collect();
        for (field, _) in &all {
            for (what, value) in values() {
                let sent = body(&all, Some((field, &value)));
                let answer = ops.send_as("POST", path, &[FORM], sent).await;
                told(&answer, &format!("{path}, {field}: {what}"));
            }
        }
    }
    assert_eq!(state(&place).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_that_is_typed_breaks_the_page() {
    let place = Place::new().await;
    for (what, value) in values() {
        let mut browser = place.browser();
        let page = browser.get("/admin/sign-in").await;
        let csrf = field(&page, "csrf");
        for changed in ["key", "csrf"] {
            let fields = [("csrf", &*csrf), ("key", "made-up")];
            let sent = body(&fields, Some((changed, &value)));
            let answer = browser
                .send_as("POST", "/admin/sign-in", &[FORM], sent)
                .await;
            told(&answer, what);
            // So that nobody has to wait meanwhile.
            assert_eq!(place.api("GET", "/whoami", "").await.status, 200);
        }
        let fields = [("csrf", &*csrf), ("key", ALL), ("key", ALL)];
        let doubled = browser.send_as("POST", "/admin/sign-in", &[FORM], body(&fields, None));
        told(&doubled.await, "twice");
    }
    // A form of another browser.
    let csrf = field(&place.browser().get("/admin/sign-in").await, "csrf");
    let mut browser = place.browser();
    browser.get("/admin/sign-in").await;
    let stale = browser
        .post("/admin/sign-in", &[("csrf", &csrf), ("key", ALL)])
        .await;
    assert_eq!(stale.status, 403);
    told(&stale, "a form of another browser");
    let fields = [("csrf", &*csrf), ("key", ALL)];
    let sent = body(&fields, None);
    let headers = [FORM, ("sec-fetch-site", "cross-site")];
    let foreign = browser
        .send_as("POST", "/admin/sign-in", &headers, sent)
        .await;
    told(&foreign, "another site's");
    assert_eq!(sign_in(&mut browser, ALL).await.status, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_query_breaks_a_page_or_leads_away() {
    let place = Place::new().await;
    let mut ops = place.signed_in(ALL).await;
    let mut stranger = place.browser();
    for (path, names) in [
        ("/admin", &["next"][..]),
        ("/admin/sign-in", &["next", "key", "csrf"]),
        ("/admin/sign-in/login", &["challenge", "next"]),
        ("/admin/sign-in/return", &["ticket", "next"]),
        ("/admin/credentials", &["q", "page", "done"]),
        ("/admin/credentials/remove", &["id"]),
        ("/admin/tokens", &["q", "page", "done"]),
        ("/admin/tokens/revoke", &["id"]),
        ("/admin/logins", &["q", "page", "done"]),
        ("/admin/logins/end", &["id"]),
        ("/admin/gateway", &["done"]),
        ("/admin/gateway/configuration", &["done"]),
    ] {
        for name in names {
            for (what, value) in values() {
                // A query is of visible characters.
                if value.len() > 2 << 10 || value.iter().any(|byte| !byte.is_ascii_graphic()) {
                    continue;
                }
                let value = String::from_utf8(value).unwrap();
                for browser in [&mut ops, &mut stranger] {
                    let answer = browser
                        .get(&format!("{path}?{name}={value}&x={value}"))
                        .await;
                    let what = format!("{path}, {name}: {what}");
                    assert!(answer.status < 500, "{what}");
                    assert!(
                        !answer.text().contains("<script"),
                        "{what}: {}",
                        answer.text()
                    );
                    let leads = answer.header("location").unwrap_or("/admin");
                    assert!(
                        leads.starts_with("/admin") && !leads.contains("evil"),
                        "{what}: {leads}"
                    );
                    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
                }
            }
        }
    }
}
