//! What tenants have of their own: credentials, models, limits, roles, sessions.

use serde_json::json;
use turnpike_loadtest::Behaviour;

use super::{
    ACME, ACME_HOST, ACME_OPS, HOUSE, OPS, Place, UMBRA, UMBRA_HOST, UMBRA_OPS, entries, yaml,
};
use crate::calls::CHAT;
use crate::harness::NO_COOLDOWN;

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_served_by_anothers_credential_over_many_calls_and_failures() {
    let rest =
        format!("{NO_COOLDOWN}max_retry_credentials: 9").replace("max_retry_interval: 0\n", "");
    let place = Place::with(&rest).await;
    place
        .provider
        .script("sk-acme-1", vec![Behaviour::server_error(500); 40]);
    place
        .provider
        .script("sk-umbra-1", vec![Behaviour::overloaded(); 15]);
    for round in 0..60 {
        for (key, of) in [
            (ACME, "sk-acme-"),
            (UMBRA, "sk-umbra-"),
            (HOUSE, "sk-house-"),
        ] {
            place.provider.take_calls();
            let status = place.chat("localhost", key).await.status;
            let calls = place.provider.take_calls();
            assert!(!calls.is_empty(), "{round}: {status}");
            for call in calls {
                assert!(call.key.starts_with(of), "{round}: {} for {key}", call.key);
            }
        }
    }
    // When all of its own fail, nobody else's is tried.
    for key in ["sk-acme-1", "sk-acme-2"] {
        place.provider.always(key, Behaviour::unauthorized());
    }
    place.provider.take_calls();
    let answer = place.chat("localhost", ACME).await;
    assert!(answer.status >= 500, "{}", answer.text());
    assert!(!answer.text().contains("umbra"), "{}", answer.text());
    let calls = place.provider.take_calls();
    assert!(calls.iter().all(|call| call.key.starts_with("sk-acme-")));
}

#[tokio::test(flavor = "multi_thread")]
async fn anothers_models_are_neither_listed_nor_served() {
    let place = Place::new().await;
    // Of a file that cannot be read nobody knows whose it is; its provider has none of the house.
    let auths = place.house.dir.path().join("auths");
    std::fs::create_dir_all(&auths).unwrap();
    std::fs::write(auths.join("umbras-broken.json"), "{").unwrap();
    place.house.gateway.reloader.reload().unwrap();
    for (host, key) in [("localhost", ACME), ("localhost", HOUSE), (ACME_HOST, ACME)] {
        let listed = place.models(host, key).await;
        assert!(!listed.is_empty());
        assert!(!listed.contains(&"umbras-own".to_owned()), "{listed:?}");
        let mut refusals = Vec::new();
        for model in ["umbras-own", "nobody-own"] {
            let path = format!("/v1/models/{model}");
            let shown = place.ask("GET", host, &path, key, "").await;
            let body = CHAT.body.replace("gpt-4o", model);
            let called = place.ask("POST", host, CHAT.path, key, &body).await;
            let told = [shown, called].map(|answer| {
                let (status, headers, text) = super::told(&answer);
                (status, headers, text.replace(model, "…"))
            });
            refusals.push(told);
        }
        assert_eq!(refusals[0][0], refusals[1][0]);
        assert_eq!(refusals[0][1], refusals[1][1]);
        assert_eq!(refusals[0][1].0, 404);
    }
    let umbras = place.models("localhost", UMBRA).await;
    assert!(umbras.contains(&"umbras-own".to_owned()), "{umbras:?}");
}

/// Another tenant's credential is no stand-in either.
#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_for_a_model_is_the_tenants_own() {
    let place = Place::new().await;
    let provider = place.provider.base_url();
    let text = yaml(&place.provider, "", "", "").replace(
        "credentials: [{api_key: sk-house-1, label: house}, ",
        "models: [{name: gpt-4o, fallback: [umbras-own]}], credentials: [{api_key: sk-house-1, label: house}, ",
    );
    assert!(text.contains("fallback"), "{provider}");
    place.reload(&text).await;
    for key in ["sk-acme-1", "sk-acme-2", "sk-umbra-1"] {
        place.provider.always(key, Behaviour::unauthorized());
    }
    place.provider.take_calls();
    let answer = place.chat("localhost", ACME).await;
    assert_eq!(answer.status, 429, "{}", answer.text());
    let calls = place.provider.take_calls();
    assert!(calls.iter().all(|call| call.key.starts_with("sk-acme-")));
    assert_eq!(
        place.served("localhost", UMBRA).await,
        (200, "sk-umbra-9".into())
    );
}

/// What stands with another tenant's credential is said of that one alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_stand_in_that_a_tenants_credential_names_is_nobody_elses() {
    let place = Place::new().await;
    let named = format!(
        "openai_api_key: [{{api_key: sk-umbra-1, base_url: \"{}/v1\", pool: umbra, \
         models: [{{name: gpt-4o, fallback: [gpt-4o-mini]}}, gpt-4o-mini]}}]",
        place.provider.base_url()
    );
    let bare = ", {api_key: sk-umbra-1, label: umbra-1, pool: umbra}";
    let text = yaml(&place.provider, &named, "", "").replace(bare, "");
    place.reload(&text).await;
    for (key, of, status) in [(HOUSE, "sk-house-1", 429), (UMBRA, "sk-umbra-1", 200)] {
        place
            .provider
            .script(of, [Behaviour::rate_limited_without_hint()]);
        place.provider.take_calls();
        let answer = place.chat("localhost", key).await;
        assert_eq!(answer.status, status, "{of}: {}", answer.text());
        let calls = place.provider.take_calls();
        assert!(calls.iter().all(|call| call.key == of));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_one_name_is_another_one_for_each_tenant() {
    let rest = "auth: {session_affinity: {enabled: true, ttl: 1h}}";
    let place = Place::with(rest).await;
    let body = CHAT.body.replacen('{', "{\"session_id\":\"one\",", 1);
    for _ in 0..10 {
        // One key, at two hosts.
        for (host, of) in [
            (ACME_HOST, "sk-acme-"),
            (UMBRA_HOST, "sk-umbra-"),
            ("localhost", "sk-house-"),
        ] {
            place.provider.take_calls();
            let answer = place.ask("POST", host, CHAT.path, HOUSE, &body).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            let call = place.provider.take_calls().pop().unwrap();
            assert!(call.key.starts_with(of), "{} at {host}", call.key);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_one_name_is_a_bucket_for_each_tenant() {
    let rest = "limits: [{name: all, scope: tenant, measure: requests, window: day, limit: 3}]";
    let acme = ", limits: [{name: own, scope: tenant, measure: requests, window: day, limit: 2}]";
    let umbra = ", limits: [{name: own, scope: tenant, measure: requests, window: day, limit: 1}]";
    let place = Place::of(rest, acme, umbra).await;
    let statuses = async |key: &str| {
        let mut statuses = Vec::new();
        for _ in 0..4 {
            statuses.push(place.chat("localhost", key).await.status);
        }
        statuses
    };
    assert_eq!(statuses(ACME).await, [200, 200, 403, 403]);
    assert_eq!(statuses(UMBRA).await, [200, 403, 403, 403]);
    assert_eq!(statuses(HOUSE).await, [200, 200, 200, 403]);
    let shown = async |key: &str, path: &str| {
        let limits = place.manage("GET", path, key, "").await.json();
        let limits = entries(&limits, "limits").clone();
        let of = |limit: &serde_json::Value| {
            let used = limit["subjects"][0]["used"].clone();
            json!([limit["tenant"], limit["name"], used])
        };
        limits.iter().map(of).collect::<Vec<_>>()
    };
    let acmes = [json!(["acme", "all", 2]), json!(["acme", "own", 2])];
    let umbras = [json!(["umbra", "all", 1]), json!(["umbra", "own", 1])];
    assert_eq!(shown(ACME_OPS, "/limits").await, acmes);
    assert_eq!(shown(UMBRA_OPS, "/limits").await, umbras);
    let none = shown(ACME_OPS, "/limits?tenant=umbra").await;
    assert!(none.is_empty(), "{none:?}");
    let all = shown(OPS, "/limits").await;
    assert_eq!(
        all,
        [&[json!([null, "all", 3])][..], &acmes, &umbras].concat()
    );
    assert_eq!(shown(OPS, "/limits?tenant=umbra").await, umbras);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_has_its_own_roles_or_those_of_the_top_level() {
    let rest =
        "roles: {reader: {models: [\"gpt-4o\"]}}\nrole_bindings: [{role: reader, everyone: true}]";
    let umbra = ", roles: {reader: {models: [\"umbras-*\"]}}, role_bindings: [{role: reader, api_keys: [umbra]}]";
    let place = Place::of(rest, "", umbra).await;
    assert_eq!(place.models("localhost", HOUSE).await, ["gpt-4o"]);
    assert_eq!(place.models("localhost", ACME).await, ["gpt-4o"]);
    assert_eq!(place.models("localhost", UMBRA).await, ["umbras-own"]);
    // One caller, whose roles are those of whom it acts for.
    assert_eq!(place.chat(ACME_HOST, HOUSE).await.status, 200);
    assert_eq!(place.chat(UMBRA_HOST, HOUSE).await.status, 403);
    assert_eq!(place.chat("localhost", HOUSE).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_a_reload_moves_serves_its_new_tenant_alone() {
    let place = Place::new().await;
    assert_eq!(
        place.served("localhost", UMBRA).await,
        (200, "sk-umbra-1".into())
    );
    let text = yaml(&place.provider, "", "", "")
        .replace("pools: [umbra]", "pools: [acme]")
        .replace(
            "hosts: [acme.example], pools: [acme]",
            "hosts: [acme.example], pools: [umbra]",
        );
    place.reload(&text).await;
    for _ in 0..4 {
        let (status, key) = place.served("localhost", UMBRA).await;
        assert!(status == 200 && key.starts_with("sk-acme-"), "{key}");
        assert_eq!(
            place.served("localhost", ACME).await,
            (200, "sk-umbra-1".into())
        );
    }
    let umbras = place.manage("GET", "/auths", UMBRA_OPS, "").await.json();
    let ids: Vec<_> = entries(&umbras, "auths")
        .iter()
        .map(|one| one["id"].clone())
        .collect();
    assert_eq!(ids, ["openai/acme-1", "openai/acme-2"]);
    // Two tenants that name one tag share it, and it is neither's to manage.
    let shared =
        yaml(&place.provider, "", "", "").replace("pools: [umbra]", "pools: [acme, umbra]");
    place.reload(&shared).await;
    let acmes = place.manage("GET", "/auths", ACME_OPS, "").await.json();
    assert_eq!(entries(&acmes, "auths").len(), 0, "{acmes}");
    let mut served = std::collections::BTreeSet::new();
    for _ in 0..9 {
        served.insert(place.served("localhost", UMBRA).await.1);
    }
    assert_eq!(served.len(), 3, "{served:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_file_names_its_pool() {
    let place = Place::new().await;
    let auths = place.house.dir.path().join("auths");
    std::fs::create_dir_all(&auths).unwrap();
    let write = |name: &str, text: serde_json::Value| {
        std::fs::write(auths.join(name), text.to_string()).unwrap();
    };
    write(
        "openai-a.json",
        json!({"type": "api_key", "provider": "openai", "token": "sk-acme-file", "pool": "acme", "priority": -1}),
    );
    write(
        "openai-b.json",
        json!({"type": "api_key", "provider": "openai", "token": "sk-umbra-file", "attributes": {"pool": "umbra"}, "priority": -1}),
    );
    write(
        "openai-c.json",
        json!({"type": "api_key", "provider": "openai", "token": "sk-nobodys-file", "pool": "acne", "priority": -1}),
    );
    let _ = place.house.gateway.reloader.reload();
    assert_eq!(place.served("localhost", ACME).await.1, "sk-acme-file");
    assert_eq!(place.served("localhost", UMBRA).await.1, "sk-umbra-file");
    assert_eq!(place.served("localhost", HOUSE).await.1, "sk-house-1");
    let all = place.manage("GET", "/auths", OPS, "").await.json();
    let nobodys = entries(&all, "auths")
        .iter()
        .find(|one| one["pool"] == "acne")
        .unwrap();
    assert_eq!(nobodys["status"], "error");
    assert_eq!(
        nobodys["status_message"],
        "no tenant names the pool `acne`, so it serves nobody"
    );
}
