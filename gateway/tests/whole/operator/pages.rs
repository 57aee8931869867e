//! What is shown and changed: as the management API does it, for whom it does it.

use serde_json::Value;
use turnpike_loadtest::Behaviour;

use super::{ALL, HOUR, Place, READER, REVOKER};
use crate::calls::{CHAT, post_with};
use crate::harness::{Client, Http};
use crate::sso::browser::{Browser, field};

async fn call(place: &Place, credential: &str) -> u16 {
    let mut client = Client::connect(&place.house, Http::One).await;
    let bearer = format!("Bearer {credential}");
    let headers = [("authorization", &*bearer)];
    post_with(&mut client, CHAT.path, &headers, CHAT.body)
        .await
        .status
}

/// Makes a token over the API; its id and itself.
async fn token(place: &Place, name: &str) -> (String, String) {
    let body = serde_json::json!({ "name": name }).to_string();
    let made = place.api("POST", "/tokens", &body).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let made = made.json();
    let text = |key: &str| made[key].as_str().unwrap().to_owned();
    (text("id"), text("token"))
}

/// Sends the form of a page.
async fn post(
    browser: &mut Browser,
    page: &str,
    to: &str,
    fields: &[(&str, &str)],
) -> (u16, String) {
    let csrf = field(&browser.get(page).await, "csrf");
    let fields: Vec<_> = fields.iter().copied().chain([("csrf", &*csrf)]).collect();
    let answer = browser.post(to, &fields).await;
    let leads = answer.header("location").unwrap_or_default().to_owned();
    (answer.status, leads)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_found_and_revoked() {
    let place = Place::new().await;
    let (id, secret) = token(&place, "<b>laptop & \"co\"</b>").await;
    let (other, others) = token(&place, "build server").await;
    assert_eq!(call(&place, &secret).await, 200);
    let mut browser = place.signed_in(ALL).await;
    let page = browser.get("/admin/tokens").await;
    let text = page.text();
    assert!(text.contains(&id) && text.contains(&other), "{text}");
    assert!(
        !text.contains("<b>") && text.contains("&#60;b&#62;laptop"),
        "{text}"
    );
    for kept in [&secret, &others] {
        assert!(!text.contains(kept.split_once('.').unwrap().1));
    }
    let found = browser.get("/admin/tokens?q=BUILD").await;
    assert!(found.text().contains(&other) && !found.text().contains(&id));

    let path = format!("/admin/tokens/revoke?id={id}");
    let asked = browser.get(&path).await;
    assert!(asked.status == 200 && asked.text().contains("cannot be undone"));
    assert_eq!(call(&place, &secret).await, 200, "it was only asked");
    let done = post(&mut browser, &path, "/admin/tokens/revoke", &[("id", &id)]).await;
    assert_eq!(done, (303, "/admin/tokens?done=revoked".into()));
    assert_eq!(
        (call(&place, &secret).await, call(&place, &others).await),
        (401, 200)
    );
    let page = browser.get("/admin/tokens?done=revoked").await;
    assert!(page.text().contains("The agent token is revoked."));
    let none = browser.get("/admin/tokens/revoke?id=nobody").await;
    assert!(none.status == 404 && none.text().contains("It is not there"));
    let odd = browser.get("/admin/tokens/revoke?id=..%2fauths").await;
    assert_eq!(odd.status, 404, "an id is no path");
}

#[tokio::test(flavor = "multi_thread")]
async fn quota_and_cooldowns_are_shown_and_cleared() {
    let place = Place::new().await;
    assert_eq!(call(&place, "CANARY-of-a-client").await, 200);
    place.house.settled().await;
    for key in ["CANARY-upstream-1", "CANARY-upstream-2"] {
        place
            .provider
            .script(key, [Behaviour::rate_limited_without_hint()]);
    }
    assert_eq!(call(&place, "CANARY-of-a-client").await, 429);
    place.house.settled().await;
    let mut browser = place.signed_in(ALL).await;
    let page = browser.get("/admin/credentials").await;
    let text = page.text();
    for shown in [
        "2 cooling",
        "1 active",
        "<meter",
        "rate limited",
        "begins anew",
    ] {
        assert!(text.contains(shown), "{shown}: {text}");
    }
    let to = "/admin/credentials/reset";
    let done = post(
        &mut browser,
        "/admin/credentials",
        to,
        &[("id", "openai/one")],
    )
    .await;
    assert_eq!(done, (303, "/admin/credentials?done=reset".into()));
    let listed = place.api("GET", "/auths/openai", "").await.json();
    let status: Vec<&Value> = (0..2).map(|n| &listed["auths"][n]["status"]).collect();
    assert_eq!(status, ["active", "cooling"]);
    // Without an id, or with two, it is not all of them.
    for ids in [
        &[][..],
        &[("id", "")],
        &[("id", "openai/two"), ("id", "openai/one")],
    ] {
        assert_eq!(
            post(&mut browser, "/admin/credentials", to, ids).await.0,
            404
        );
    }
    let listed = place.api("GET", "/auths/openai", "").await.json();
    assert_eq!(listed["auths"][1]["status"], "cooling");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_of_a_file_is_removed_and_one_of_the_configuration_is_not() {
    let place = Place::new().await;
    let body = r#"{"provider":"openai","type":"api_key","token":"CANARY-added-1","label":"late"}"#;
    let added = place.api("POST", "/auths", body).await;
    assert_eq!(added.status, 201, "{}", added.text());
    let id = added.json()["id"].as_str().unwrap().to_owned();
    let mut browser = place.signed_in(ALL).await;
    let page = browser.get("/admin/credentials").await;
    assert_eq!(
        page.text().matches("/admin/credentials/remove?id=").count(),
        1
    );
    assert!(!page.text().contains("CANARY"));
    let path = format!("/admin/credentials/remove?id={}", id.replace('/', "%2F"));
    let asked = browser.get(&path).await;
    assert!(
        asked.status == 200 && asked.text().contains("its file"),
        "{}",
        asked.text()
    );
    let to = "/admin/credentials/remove";
    let fields = [("provider", "openai"), ("id", &*id)];
    assert_eq!(
        post(&mut browser, &path, to, &fields).await.1,
        "/admin/credentials?done=removed"
    );
    assert!(!browser.get("/admin/credentials").await.text().contains(&id));
    assert_eq!(browser.get(&path).await.status, 404);
    let configured = [("provider", "openai"), ("id", "openai/one")];
    let page = "/admin/credentials";
    assert_eq!(post(&mut browser, page, to, &configured).await.0, 409);
    assert_eq!(
        browser
            .get("/admin/credentials/remove?id=openai/one")
            .await
            .status,
        404
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_sees_and_does_what_its_scopes_say() {
    let place = Place::new().await;
    let (id, secret) = token(&place, "laptop").await;
    let mut reader = place.signed_in(READER).await;
    for path in ["/admin/credentials", "/admin/tokens", "/admin/gateway"] {
        let page = reader.get(path).await;
        assert_eq!(page.status, 200, "{path}");
        // The one form is that by which one leaves.
        assert_eq!(
            page.text().matches("method=\"post\"").count(),
            1,
            "{}",
            page.text()
        );
        for hidden in [
            "Revoke",
            "Remove",
            "/admin/logins",
            "Configuration in effect",
        ] {
            assert!(
                !page.text().contains(hidden),
                "{path}, {hidden}: {}",
                page.text()
            );
        }
    }
    for path in ["/admin/logins", "/admin/gateway/configuration"] {
        let refused = reader.get(path).await;
        assert_eq!(refused.status, 403, "{path}");
        assert!(
            refused.text().contains("It takes the scope"),
            "{}",
            refused.text()
        );
    }
    for (to, fields) in [
        ("/admin/tokens/revoke", &[("id", &*id)][..]),
        ("/admin/credentials/reset", &[("id", "openai/one")]),
        (
            "/admin/credentials/remove",
            &[("provider", "openai"), ("id", "openai/one")],
        ),
        ("/admin/logins/end", &[("id", "x")]),
        ("/admin/logins/clear", &[("id", "x")]),
        ("/admin/gateway/reload", &[]),
        ("/admin/gateway/log-level", &[("level", "trace")]),
    ] {
        let (status, _) = post(&mut reader, "/admin/gateway", to, fields).await;
        assert_eq!(status, 403, "{to}");
    }
    assert_eq!(call(&place, &secret).await, 200);

    // To write does not include to read.
    let mut revoker = place.signed_in(REVOKER).await;
    assert_eq!(
        revoker.get("/admin").await.header("location"),
        Some("/admin/gateway")
    );
    assert_eq!(revoker.get("/admin/tokens").await.status, 403);
    let to = "/admin/tokens/revoke";
    assert_eq!(
        post(&mut revoker, "/admin/gateway", to, &[("id", &id)])
            .await
            .0,
        303
    );
    assert_eq!(call(&place, &secret).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_is_shown_and_read_again() {
    let place = Place::new().await;
    let mut browser = place.signed_in(ALL).await;
    let page = browser.get("/admin/gateway").await;
    for shown in [
        env!("CARGO_PKG_VERSION"),
        "generation 1",
        "in force",
        "admin:*",
        "/metrics",
    ] {
        assert!(page.text().contains(shown), "{shown}: {}", page.text());
    }
    let shown = browser.get("/admin/gateway/configuration").await;
    assert!(
        shown.text().contains("&#34;max_retry_interval&#34;: 0"),
        "{}",
        shown.text()
    );
    assert!(!shown.text().contains("CANARY"), "{}", shown.text());
    let document = browser.get("/admin/openapi.json").await;
    assert_eq!(document.json()["openapi"], "3.1.0");

    place.time.advance(HOUR);
    let to = "/admin/gateway/reload";
    let done = post(&mut browser, "/admin/gateway", to, &[]).await;
    assert_eq!(done, (303, "/admin/gateway?done=reloaded".into()));
    let page = browser.get("/admin/gateway?done=reloaded").await;
    assert!(page.text().contains("was read and is in force"));
    assert!(!page.text().contains("generation 1<"), "{}", page.text());

    crate::binary::replace(&place.house.config, "admin: {keys: [{key: short}]}\n");
    assert_eq!(post(&mut browser, "/admin/gateway", to, &[]).await.0, 422);
    let page = browser.get("/admin/gateway").await;
    assert!(page.text().contains("is not in force") && page.text().contains("admin.keys[0].key"));
    let effective = place.api("GET", "/config", "").await.json();
    assert!(
        effective["last_read"]["problem"]
            .as_str()
            .unwrap()
            .contains("admin.keys[0].key")
    );
    // This process has no log of its own.
    let level = [("level", "debug")];
    let set = post(
        &mut browser,
        "/admin/gateway",
        "/admin/gateway/log-level",
        &level,
    )
    .await;
    assert_eq!(set.0, 409);
}

#[tokio::test(flavor = "multi_thread")]
async fn long_lists_are_turned_page_by_page() {
    let place = Place::new().await;
    for n in 0..51 {
        token(&place, &format!("agent {n:02}")).await;
    }
    let mut browser = place.signed_in(READER).await;
    let first = browser.get("/admin/tokens").await;
    assert!(first.text().contains("51 in all") && first.text().contains("Page 1 of 2"));
    assert!(!first.text().contains("agent 50"));
    let next = browser.get("/admin/tokens?q=&page=2").await;
    assert!(next.text().contains("agent 50") && !next.text().contains("agent 49"));
    let found = browser.get("/admin/tokens?q=agent%2050&page=7").await;
    assert!(found.text().contains("agent 50") && found.text().contains("1 in all"));
    let none = browser.get("/admin/tokens?q=%3Cscript%3E").await;
    assert!(none.text().contains("No agent token is found"));
    assert!(!none.text().contains("<script>"));
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_is_shown_by_what_is_chosen() {
    let place = Place::new().await;
    let (_, secret) = token(&place, "<i>laptop</i>").await;
    for _ in 0..3 {
        assert_eq!(call(&place, &secret).await, 200);
    }
    place.house.settled().await;
    let mut browser = place.signed_in(ALL).await;
    let page = browser.get("/admin/usage").await;
    assert!(
        page.text()
            .contains("<th scope=\"row\"><bdi>2027-01-15</bdi></th><td class=\"number\">3</td>"),
        "{}",
        page.text()
    );
    let page = browser
        .get("/admin/usage?by=token&from=2027-01-15&to=2027-01-15")
        .await;
    let text = page.text();
    assert!(
        text.contains("&#60;i&#62;laptop") && !text.contains("<i>"),
        "{text}"
    );
    assert!(text.contains("<option value=\"token\" selected>"), "{text}");
    let page = browser
        .get("/admin/usage?by=model&from=2026-01-01&to=2026-01-02")
        .await;
    assert!(page.text().contains("Nothing was used"), "{}", page.text());
    let page = browser.get("/admin/usage?from=%3Ci%3Esoon").await;
    assert_eq!(page.status, 400);
    assert!(!page.text().contains("<i>"), "{}", page.text());

    let mut reader = place.signed_in(READER).await;
    assert!(
        !reader
            .get("/admin/tokens")
            .await
            .text()
            .contains("/admin/usage")
    );
    assert_eq!(reader.get("/admin/usage").await.status, 403);
}
