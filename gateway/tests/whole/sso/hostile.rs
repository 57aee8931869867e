//! Logins that are not what they seem: each is refused, and nobody is signed in.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::browser::{Browser, back_of};
use super::provider::{Idp, MakeToken, jwk, message};
use super::{NOW, Place, configuration};
use crate::audit::stopped;
use crate::harness::Answer;
use turnpike_loadtest::{FakeProvider, Options};

type Change = Box<dyn Fn(&mut Value) + Send>;

fn set(key: &'static str, value: impl Into<Value>) -> Change {
    let value = value.into();
    Box::new(move |claims| claims[key] = value.clone())
}

fn without(key: &'static str) -> Change {
    Box::new(move |claims| {
        claims.as_object_mut().unwrap().remove(key);
    })
}

/// What `at_hash` says of an access token.
fn hash_of(access: &str) -> String {
    let hash = digest(&SHA256, access.as_bytes());
    URL_SAFE_NO_PAD.encode(&hash.as_ref()[..16])
}

/// Logs in, and says what came of it; who is refused is not signed in.
/// What people are told of an exchange that failed, as a page has it.
const FAILED: &str = "&#39;test&#39; failed";

async fn refused(place: &Place, what: &str) -> Answer {
    let mut browser = place.browser();
    let answer = browser.log_in().await;
    assert!(
        (400..600).contains(&answer.status),
        "{what}: {}",
        answer.status
    );
    assert!(!browser.cookies.contains_key("turnpike-session"), "{what}");
    assert_eq!(browser.get("/auth/tokens").await.status, 303, "{what}");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_token_that_does_not_say_what_it_should_lets_nobody_in() {
    let place =
        Place::with("authorization: {mode: enterprise, rate_limit: {max_attempts: 1000}}").await;
    let now = NOW / 1000;
    let cases: Vec<(&str, Change)> = vec![
        ("no nonce", without("nonce")),
        ("another login's nonce", set("nonce", "0123456789")),
        ("a nonce that is a number", set("nonce", 1)),
        ("another issuer", set("iss", "https://idp.evil.example")),
        (
            "the issuer with a slash",
            set("iss", format!("{}/", place.idp.url)),
        ),
        ("no issuer", without("iss")),
        ("issuers in a list", set("iss", json!([place.idp.url]))),
        ("another audience", set("aud", "other")),
        ("no audience", without("aud")),
        ("an empty list of audiences", set("aud", json!([]))),
        ("a list without us", set("aud", json!(["a", "b"]))),
        (
            "several audiences, made for nobody",
            set("aud", json!(["turnpike", "other"])),
        ),
        (
            "several audiences, made for another",
            Box::new(|claims| {
                claims["aud"] = json!(["turnpike", "other"]);
                claims["azp"] = "other".into();
            }),
        ),
        ("one audience, given to another party", set("azp", "other")),
        ("our name in other letters", set("aud", "Turnpike")),
        ("expired", set("exp", now - 60)),
        ("no expiry", without("exp")),
        ("an expiry that is a text", set("exp", "tomorrow")),
        ("an expiry in milliseconds", set("exp", NOW)),
        ("not valid yet", set("nbf", now + 61)),
        ("issued in the future", set("iat", now + 61)),
        ("nobody's", without("sub")),
        ("an empty subject", set("sub", "")),
        ("a subject that is a number", set("sub", 7)),
        ("a subject with a line break", set("sub", "ada\nadmin")),
        ("issued at no time", without("iat")),
        (
            "made beside another access token",
            set("at_hash", hash_of("another")),
        ),
        ("a hash that is none", set("at_hash", "")),
    ];
    for (what, change) in cases {
        place.idp.does(|wrong| wrong.claims = change);
        let answer = refused(&place, what).await;
        assert_eq!(answer.status, 401, "{what}");
        assert!(
            answer
                .text()
                .contains("Authentication with &#39;test&#39; failed"),
            "{what}: {}",
            answer.text()
        );
    }
    // A minute of difference between the clocks is none.
    for (what, change) in [
        ("just expired", set("exp", now - 59)),
        ("valid in a moment", set("nbf", now + 59)),
        ("issued in a moment", set("iat", now + 59)),
        ("a list of us", set("aud", json!(["turnpike"]))),
        ("made for us", set("azp", "turnpike")),
        ("a word for a boolean", set("email_verified", "true")),
        (
            "a date for seconds",
            set("updated_at", "2026-11-21T08:00:00.000Z"),
        ),
        (
            "made beside its access token",
            set("at_hash", hash_of("access-CANARY")),
        ),
    ] {
        place.idp.does(|wrong| wrong.claims = change);
        let answer = place.browser().log_in().await;
        assert_eq!(answer.status, 303, "{what}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_token_that_its_issuer_did_not_sign_lets_nobody_in() {
    let place =
        Place::with("authorization: {mode: enterprise, rate_limit: {max_attempts: 1000}}").await;
    let signed = |header: Value| -> MakeToken {
        Box::new(move |keys, claims| keys.sign(&keys.own, &header, claims))
    };
    let cases: Vec<(&str, MakeToken)> = vec![
        ("no token", Box::new(|_, _| String::new())),
        ("no JWT", Box::new(|_, _| "abc".into())),
        ("four parts", Box::new(|_, _| "a.b.c.d".into())),
        (
            "alg none",
            Box::new(|_, claims| format!("{}.", message(&json!({"alg": "none"}), claims))),
        ),
        (
            "alg None",
            Box::new(|_, claims| {
                format!(
                    "{}.",
                    message(&json!({"alg": "None", "kid": "own"}), claims)
                )
            }),
        ),
        (
            "HS256 with the public key",
            Box::new(|keys, claims| keys.confuse(claims)),
        ),
        (
            "no signature",
            Box::new(|_, claims| {
                format!(
                    "{}.",
                    message(&json!({"alg": "ES256", "kid": "own"}), claims)
                )
            }),
        ),
        (
            "another's signature under its key",
            Box::new(|keys, claims| {
                keys.sign(
                    &keys.foreign,
                    &json!({"alg": "ES256", "kid": "own"}),
                    claims,
                )
            }),
        ),
        (
            "another's key, brought along",
            Box::new(|keys, claims| {
                let header = json!({"alg": "ES256", "jwk": jwk(&keys.foreign, "x")});
                keys.sign(&keys.foreign, &header, claims)
            }),
        ),
        (
            "a key that it does not publish",
            Box::new(|keys, claims| {
                keys.sign(
                    &keys.foreign,
                    &json!({"alg": "ES256", "kid": "foreign"}),
                    claims,
                )
            }),
        ),
        (
            "another algorithm than was used",
            signed(json!({"alg": "RS256", "kid": "own"})),
        ),
        (
            "an algorithm that nobody knows",
            signed(json!({"alg": "ES257", "kid": "own"})),
        ),
        (
            "what must be understood and is not",
            signed(json!({"alg": "ES256", "kid": "own", "crit": ["x"], "x": 1})),
        ),
        (
            "a token of another kind",
            signed(json!({"alg": "ES256", "kid": "own", "typ": "logout+jwt"})),
        ),
        (
            "an access token",
            signed(json!({"alg": "ES256", "kid": "own", "typ": "at+jwt"})),
        ),
        (
            "a token within a token",
            signed(json!({"alg": "ES256", "kid": "own", "cty": "JWT"})),
        ),
        (
            "changed after it was signed",
            Box::new(|keys, claims| {
                let header = json!({"alg": "ES256", "kid": "own"});
                let signature = keys.sign(&keys.own, &header, claims);
                let mut claims = claims.clone();
                claims["sub"] = "root".into();
                let signature = signature.rsplit_once('.').unwrap().1;
                format!("{}.{signature}", message(&header, &claims))
            }),
        ),
    ];
    for (what, make) in cases {
        place.idp.does(|wrong| wrong.token = Some(make));
        let answer = refused(&place, what).await;
        assert_eq!(answer.status, 401, "{what}: {}", answer.text());
        assert!(answer.text().contains("&#39;test&#39; failed"), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_made_up_have_them_fetched_at_most_twice_a_minute() {
    let place =
        Place::with("authorization: {mode: enterprise, rate_limit: {max_attempts: 1000}}").await;
    for number in 0..20 {
        place.idp.does(|wrong| {
            wrong.token = Some(Box::new(move |keys, claims| {
                let header = json!({"alg": "ES256", "kid": format!("made-up-{number}")});
                keys.sign(&keys.foreign, &header, claims)
            }));
        });
        refused(&place, "an unknown key").await;
    }
    let fetches = place.idp.fetches.load(std::sync::atomic::Ordering::Relaxed);
    assert!(fetches <= 2, "{fetches} fetches");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_browser_brings_back_must_be_of_its_own_login() {
    let place =
        Place::with("authorization: {mode: enterprise, rate_limit: {max_attempts: 1000}}").await;
    let mut ada = place.browser();
    let back = ada.visit_provider("/auth/login/test").await;

    // Another browser, one that has a login of its own, and one that lost its cookie.
    let mut strangers = [place.browser(), place.browser(), ada.clone()];
    strangers[1].visit_provider("/auth/login/test").await;
    strangers[2].cookies.clear();
    for mut stranger in strangers {
        let answer = stranger.get(&back).await;
        assert_eq!(answer.status, 400);
        assert!(
            answer.text().contains("Invalid session"),
            "{}",
            answer.text()
        );
    }
    // Nobody ended it: its own browser goes on, once.
    assert_eq!(ada.get(&back).await.status, 303);
    let replayed = ada.get(&back).await;
    assert_eq!(replayed.status, 400);
    assert!(replayed.text().contains("Invalid session"));

    for (path, said) in [
        ("/auth/callback", "Missing parameters"),
        ("/auth/callback?code=x", "Missing parameters"),
        ("/auth/callback?state=x", "Missing parameters"),
        ("/auth/callback?code=&state=", "Missing parameters"),
        ("/auth/callback?code=a&code=b&state=x", "Missing parameters"),
        ("/auth/callback?code=x&state=made-up", "Invalid session"),
        (
            "/auth/callback?error=access_denied&error_description=She+said+%3Cb%3Eno",
            "access_denied: She said &#60;b&#62;no",
        ),
        (
            "/auth/callback?error=redirect_uri_mismatch",
            "/auth/callback",
        ),
        (
            "/auth/login/nobody",
            "Provider &#39;nobody&#39; not configured",
        ),
        (
            "/auth/login/%3Cscript%3E",
            "Provider &#39;&#60;script&#62;&#39; not configured",
        ),
        ("/auth/confirm", "Invalid session"),
    ] {
        let answer = ada.get(path).await;
        assert_eq!(answer.status, 400, "{path}");
        assert!(answer.text().contains(said), "{path}: {}", answer.text());
    }
    ada.accept = "application/json";
    let problem = ada.get("/auth/callback?code=x&state=made-up").await;
    assert_eq!(
        problem.header("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(problem.json()["title"], "Invalid session");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_takes_too_long_is_begun_anew() {
    let place = Place::new().await;
    let mut browser = place.browser();
    let back = browser.visit_provider("/auth/login/test").await;
    place.time.advance(std::time::Duration::from_secs(15 * 60));
    let late = browser.get(&back).await;
    assert!(late.status == 400 && late.text().contains("Invalid session"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_answers_wrongly_lets_nobody_in() {
    let place =
        Place::with("authorization: {mode: enterprise, rate_limit: {max_attempts: 1000}}").await;
    for (what, status, answer, expected) in [
        ("no", 400, r#"{"error":"invalid_grant"}"#, 401),
        ("not our secret", 401, r#"{"error":"invalid_client"}"#, 401),
        (
            "another redirect URI",
            400,
            r#"{"error":"redirect_uri_mismatch"}"#,
            400,
        ),
        ("broken", 500, "", 401),
        ("garbage", 200, "<html>", 401),
        ("nothing", 200, "", 401),
        ("elsewhere", 302, "", 401),
        ("elsewhere, with the code", 307, "", 401),
        (
            "no ID token",
            200,
            r#"{"access_token":"x","token_type":"Bearer"}"#,
            401,
        ),
    ] {
        place
            .idp
            .does(|wrong| wrong.exchange = Some((status, answer.into())));
        let answer = refused(&place, what).await;
        assert_eq!(answer.status, expected, "{what}: {}", answer.text());
        let said = match expected {
            400 => "Redirect URI mismatch",
            _ => FAILED,
        };
        assert!(answer.text().contains(said), "{what}: {}", answer.text());
        if expected == 400 {
            assert!(answer.text().contains("/auth/callback"), "{what}");
        }
    }
    for (what, change) in [
        ("no issuer (RFC 9207)", None),
        (
            "another issuer (RFC 9207)",
            Some("https://idp.evil.example"),
        ),
    ] {
        place.idp.does(|wrong| {
            wrong.back = Box::new(move |back| {
                back.retain(|(name, _)| name != "iss");
                back.extend(change.map(|issuer| ("iss".into(), issuer.into())));
            });
        });
        let answer = refused(&place, what).await;
        assert_eq!(answer.status, 401, "{what}");
        assert!(answer.text().contains(FAILED), "{what}: {}", answer.text());
    }
    place
        .idp
        .does(|wrong| wrong.back = Box::new(|back| back[0].1 = "code-of-another".into()));
    let answer = refused(&place, "a code that was not given").await;
    assert_eq!(answer.status, 401);
    assert!(answer.text().contains(FAILED), "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_of_another_login_is_of_no_use() {
    // The code of a login that the attacker began, brought to a login of the victim's browser.
    let place = Place::new().await;
    let mut attacker = place.browser();
    let begun = attacker.get("/auth/login/test").await;
    let stolen = back_of(begun.header("location").unwrap()).await;
    let stolen = stolen
        .split("code=")
        .nth(1)
        .unwrap()
        .split('&')
        .next()
        .unwrap()
        .to_owned();
    place.idp.does(|wrong| {
        wrong.back = Box::new(move |back| back[0].1.clone_from(&stolen));
    });
    assert_eq!(refused(&place, "PKCE").await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_cannot_be_reached_is_named_as_that() {
    let place = Place::new().await;
    type Document = Box<dyn Fn(&mut Value) + Send>;
    let changes: Vec<Document> = vec![
        set("issuer", "https://idp.evil.example"),
        set("token_endpoint", "not a url"),
        set("code_challenge_methods_supported", json!(["plain"])),
        without("jwks_uri"),
    ];
    let mut browser = place.browser();
    for change in changes {
        place.idp.does(|wrong| wrong.document = change);
        unreachable(&mut browser).await;
        place.time.advance(std::time::Duration::from_secs(3));
    }
    place.idp.does(|wrong| wrong.away = true);
    unreachable(&mut browser).await;
    place.idp.does(|_| {});
    place.time.advance(std::time::Duration::from_secs(3));
    assert_eq!(browser.log_in().await.status, 303, "it is back");
}

async fn unreachable(browser: &mut Browser) {
    let answer = browser.get("/auth/login/test").await;
    assert_eq!(answer.status, 502);
    assert!(
        answer
            .text()
            .contains("Failed to connect to identity provider")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_counts_only_if_it_is_the_persons_own() {
    let place = Place::new().await;
    let page = |what: &'static str, shown: &'static str| {
        let place = &place;
        async move {
            let text = place.signed_in().await.get("/auth/success").await;
            assert!(
                text.text().contains(&format!("<strong>{shown}</strong>")),
                "{what}"
            );
        }
    };
    place
        .idp
        .does(|wrong| wrong.claims = set("email_verified", false));
    page("not verified", "ada").await;
    let without_email = |said: Option<Value>| {
        place.idp.does(|wrong| {
            wrong.claims = without("email");
            wrong.userinfo = said;
        });
    };
    without_email(None);
    page("none", "ada").await;
    without_email(Some(
        json!({"sub": "ada", "email": "a@b.example", "email_verified": true}),
    ));
    page("of userinfo", "a@b.example").await;
    without_email(Some(json!({"sub": "bob", "email": "bob@b.example"})));
    page("another person's", "ada").await;
    without_email(Some(
        json!({"sub": "ada", "email": "a@b.example", "email_verified": false}),
    ));
    page("of userinfo, not verified", "ada").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_tries_again_and_again_waits() {
    let place = Place::with(
        "authorization: {mode: enterprise, rate_limit: {max_attempts: 2, max_backoff_seconds: 5}}",
    )
    .await;
    let attempt = async |address| {
        let mut browser = place.browser();
        browser.address = Some(address);
        browser.get("/auth/login/test").await
    };
    let mut waits = Vec::new();
    for _ in 0..5 {
        while attempt("203.0.113.1").await.status == 303 {}
        let slowed = attempt("203.0.113.1").await;
        assert_eq!(slowed.status, 429);
        assert!(slowed.text().contains("Please wait before trying again"));
        let seconds: u64 = slowed.header("retry-after").unwrap().parse().unwrap();
        waits.push(seconds);
        place.time.advance(std::time::Duration::from_secs(seconds));
    }
    assert_eq!(waits, [2, 4, 5, 5, 5]);
    assert_eq!(attempt("203.0.113.2").await.status, 303, "another address");
    // Two of each round had to wait.
    let failed = place
        .house
        .metric(r#"turnpike_logins_total{outcome="failed"}"#);
    assert_eq!(failed, 10.0);
    let mut told = stopped(&place.house).await;
    told.retain(|one| one["event"] == "login");
    assert_eq!(told.len(), 10);
    for login in told {
        assert_eq!(login["outcome"], "failed");
        assert_eq!(login["reason"], "rate_limited");
        assert_eq!(login["client"], "203.0.113.1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn providers_are_chosen_from_and_not_mixed_up() {
    let place = Place::new().await;
    let other = Idp::start(place.time.clone()).await;
    let models = FakeProvider::start(Options::default()).await;
    let text = configuration(&place.idp, &models, "authorization: {mode: enterprise}");
    let second = format!(
        "  providers:\n    other: {{label: Other & Co, client_id: turnpike, client_secret: x, discovery_url: \"{}\"}}\n",
        other.url
    );
    std::fs::write(&place.house.config, text.replace("  providers:\n", &second)).unwrap();
    place.house.gateway.reloader.reload().unwrap();
    let mut browser = place.browser();
    let chooser = browser.get("/auth/login").await;
    assert!(
        chooser
            .text()
            .contains("href=\"/auth/login/other\">Continue with Other &#38; Co<"),
        "{}",
        chooser.text()
    );
    assert!(chooser.text().contains("href=\"/auth/login/test\""));
    browser.accept = "application/json";
    assert_eq!(
        browser.get("/auth/login").await.json()["providers"][0]["name"],
        "other"
    );
    // What one provider gave, said to be of a login at the other.
    let theirs = browser.get("/auth/login/other").await;
    let state = theirs
        .header("location")
        .unwrap()
        .split("state=")
        .nth(1)
        .unwrap();
    let state = state.split('&').next().unwrap().to_owned();
    let ours = browser.visit_provider("/auth/login/test").await;
    let code = ours
        .split("code=")
        .nth(1)
        .unwrap()
        .split('&')
        .next()
        .unwrap();
    let issuer = url::form_urlencoded::byte_serialize(place.idp.url.as_bytes()).collect::<String>();
    let mixed = format!("/auth/callback?code={code}&state={state}&iss={issuer}");
    let answer = browser.get(&mixed).await;
    assert_eq!(answer.status, 401, "{}", answer.text());
    assert!(answer.json()["title"].as_str().unwrap().contains("'other'"));
}
