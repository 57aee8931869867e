//! What a file may hold, and that all of it takes effect.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use turnpike::upstream::roll::Status;
use turnpike_api::Clock;
use turnpike_loadtest::Behaviour;

use super::{Place, key};

const A: &str = "openai/openai-a.json";

/// RFC 3339, so many seconds from now.
fn in_seconds(place: &Place, seconds: i64) -> i64 {
    i64::try_from(place.time.now() / 1000).unwrap() + seconds
}

#[tokio::test]
async fn every_shape_of_a_token_is_used() {
    let place = Place::new().await;
    let later = in_seconds(&place, 3600);
    for file in [
        json!({"type": "openai", "access_token": "at-1"}),
        json!({"provider": "openai", "type": "oauth", "access_token": "at-1", "expiry": "2099-01-02T03:04:05Z"}),
        json!({"type": "oauth", "token": "at-1", "expired": "2099-01-02 03:04:05 +0000 UTC"}),
        json!({"type": "oauth", "token": "at-1", "expires_at": later}),
        json!({"type": "bearer", "token": "at-1", "expiry_date": later * 1000}),
        json!({"access_token": "at-1", "refresh_token": "rt-1", "token_type": "Bearer", "expires_at": later.to_string()}),
        json!({"tokens": {"access_token": "at-1", "account_id": "acc"}, "last_refresh": "2026-01-01T00:00:00Z"}),
        json!({"token": {"access_token": "at-1", "expiry": "0001-01-01T00:00:00Z"}}),
    ] {
        place.put("openai-a", &file);
        place.look();
        assert_eq!(
            place.status(A),
            Some(Status::Active),
            "{file}: {:?}",
            place.report(A)
        );
        assert_eq!(place.ask("gpt-4o").await.status, 200);
        let calls = place.provider.take_calls();
        assert_eq!(
            calls[0].header("authorization"),
            Some("Bearer at-1"),
            "{file}"
        );
    }
}

#[tokio::test]
async fn a_token_that_ends_is_skipped_from_then_on() {
    let place = Place::new().await;
    let ends = in_seconds(&place, 60);
    place.put(
        "openai-a",
        &json!({"access_token": "at-ends", "expires_at": ends, "priority": 0}),
    );
    place.put("openai-b", &key("sk-b"));
    place.put(
        "openai-old",
        &json!({"access_token": "at-old", "expired": "2020-01-01T00:00:00Z"}),
    );
    place.look();
    assert_eq!(
        place.status("openai/openai-old.json"),
        Some(Status::Expired)
    );
    for _ in 0..3 {
        assert_eq!(place.ask("gpt-4o").await.status, 200);
    }
    assert_eq!(place.keys(), ["at-ends"; 3], "the better priority");
    place.time.advance(Duration::from_secs(61));
    for _ in 0..3 {
        assert_eq!(place.ask("gpt-4o").await.status, 200);
    }
    assert_eq!(place.keys(), ["sk-b"; 3]);
    assert_eq!(place.status(A), Some(Status::Expired));
    // Somebody refreshes it.
    let ends = in_seconds(&place, 3600);
    place.put(
        "openai-a",
        &json!({"access_token": "at-new", "expires_at": ends, "priority": 0}),
    );
    place.look();
    assert_eq!(place.ask("gpt-4o").await.status, 200);
    assert_eq!(place.keys(), ["at-new"]);
}

/// A key that replaces a refused one does not serve the old one's sentence.
#[tokio::test]
async fn a_new_secret_begins_anew_and_the_same_one_does_not() {
    let place = Place::new().await;
    place.put("openai-a", &key("sk-revoked"));
    place.look();
    place
        .provider
        .always("sk-revoked", Behaviour::unauthorized());
    assert_eq!(place.ask("gpt-4o").await.status, 429);
    assert_eq!(place.status(A), Some(Status::Cooling));
    place.put(
        "openai-a",
        &json!({"token": "sk-revoked", "note": "edited"}),
    );
    place.look();
    assert_eq!(place.status(A), Some(Status::Cooling), "it is the same key");
    place.put("openai-a", &key("sk-new"));
    place.look();
    assert_eq!(place.ask("gpt-4o").await.status, 200);
    assert_eq!(place.status(A), Some(Status::Active));
}

/// What a provider says of the old key while the new one is in force is not of the new one.
#[tokio::test]
async fn a_new_secret_does_not_serve_the_sentence_of_calls_with_the_old_one() {
    for refusal in [
        Behaviour::rate_limited_without_hint(),
        Behaviour::unauthorized(),
    ] {
        let place = Place::new().await;
        place.put("openai-a", &key("sk-old"));
        place.look();
        let held = Behaviour::held(refusal);
        place.provider.script("sk-old", [held]);
        let swapped = async {
            place.provider.wait_for_calls(1).await;
            place.put("openai-a", &key("sk-new"));
            place.look();
            place.provider.gate("sk-old").release(1);
        };
        let (answer, ()) = futures::join!(place.ask("gpt-4o"), swapped);
        assert_eq!(answer.status, 429);
        assert_eq!(place.status(A), Some(Status::Active));
        assert_eq!(place.ask("gpt-4o").await.status, 200);
    }
}

#[tokio::test]
async fn a_file_says_which_models_it_serves() {
    let place = Place::new().await;
    let file = |more: Value| {
        let mut file = key("sk-a");
        file.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        file
    };
    for (more, served, not_served) in [
        (json!({"prefix": "work"}), "work/gpt-4o", "home/gpt-4o"),
        (
            json!({"excluded_models": ["gpt-4o-m*", "GPT-4.1"]}),
            "gpt-4o",
            "gpt-4o-mini",
        ),
        (
            json!({"excluded_models": ["gpt-4o-m*", "GPT-4.1"]}),
            "gpt-4o",
            "gpt-4.1",
        ),
        (
            json!({"model_aliases": [{"name": "gpt-4o", "alias": "fast"}]}),
            "fast",
            "faster",
        ),
        (
            json!({"model_aliases": {"fast": "gpt-4o"}}),
            "gpt-4o-mini",
            "slow",
        ),
    ] {
        place.put("openai-a", &file(more.clone()));
        place.look();
        assert_eq!(place.ask(served).await.status, 200, "{more}");
        let model = place.provider.take_calls()[0].json()["model"].clone();
        let expected = if served.ends_with("mini") {
            "gpt-4o-mini"
        } else {
            "gpt-4o"
        };
        assert_eq!(model, expected, "{more}");
        let answer = place.ask(not_served).await;
        assert!(
            [404, 503].contains(&answer.status),
            "{more}: {}",
            answer.text()
        );
        assert_eq!(place.provider.count(), 0, "{more}");
    }
}

#[tokio::test]
async fn headers_and_the_way_out_are_the_files_own() {
    let place = Place::new().await;
    place.put(
        "openai-a",
        &json!({"token": "sk-a", "headers": {"X-Team": "blue"}}),
    );
    place.look();
    assert_eq!(place.ask("gpt-4o").await.status, 200);
    assert_eq!(
        place.provider.take_calls()[0].header("x-team"),
        Some("blue")
    );
    // Nobody listens there.
    place.put(
        "openai-a",
        &json!({"token": "sk-a", "proxy_url": "http://u:canary-password@127.0.0.1:9"}),
    );
    place.look();
    let answer = place.ask("gpt-4o").await;
    assert_eq!(answer.status, 502, "{}", answer.text());
    assert!(!answer.text().contains("canary"));
    assert_eq!(place.provider.count(), 0);
    place.time.advance(Duration::from_secs(2));
    place.put("openai-a", &json!({"token": "sk-a", "proxy_url": "direct"}));
    place.look();
    assert_eq!(place.ask("gpt-4o").await.status, 200);
    place.put(
        "openai-a",
        &json!({"token": "sk-a", "proxy_url": "ftp://u:canary-password@h"}),
    );
    place.look();
    let report = place.report(A).unwrap();
    assert_eq!(report.status, Status::Error);
    assert!(report.message.contains("proxy_url"), "{report:?}");
    assert!(!report.message.contains("canary"), "{report:?}");
}

/// At the top the lower number is first, among the attributes the higher one.
#[tokio::test]
async fn priorities_count_as_their_writers_meant_them() {
    let place = Place::new().await;
    let by_attribute = |token: &str, priority: &str| json!({"type": "oauth", "access_token": token, "attributes": {"priority": priority}});
    for (a, b, first) in [
        (
            json!({"token": "sk-a", "priority": 2}),
            json!({"token": "sk-b", "priority": 5}),
            "sk-a",
        ),
        (json!({"token": "sk-a", "priority": 2}), key("sk-b"), "sk-b"),
        (
            by_attribute("at-a", "10"),
            by_attribute("at-b", "3"),
            "at-a",
        ),
        (by_attribute("at-a", "10"), key("sk-b"), "at-a"),
        (by_attribute("at-a", "-1"), key("sk-b"), "sk-b"),
    ] {
        place.put("openai-a", &a);
        place.put("openai-b", &b);
        place.look();
        for _ in 0..3 {
            assert_eq!(place.ask("gpt-4o").await.status, 200);
        }
        assert_eq!(place.keys(), [first; 3], "{a} and {b}");
    }
}

#[tokio::test]
async fn weights_are_shares_and_what_is_switched_off_has_none() {
    let place = Place::with("selection_strategy: weighted, ", "").await;
    place.put("openai-a", &json!({"token": "sk-a", "weight": 3}));
    place.put("openai-b", &json!({"token": "sk-b"}));
    place.put(
        "openai-c",
        &json!({"token": "sk-c", "weight": 9, "disabled": true}),
    );
    place.look();
    for _ in 0..8 {
        assert_eq!(place.ask("gpt-4o").await.status, 200);
    }
    let mut shares = BTreeMap::new();
    for key in place.keys() {
        *shares.entry(key).or_insert(0) += 1;
    }
    assert_eq!(
        shares,
        BTreeMap::from([("sk-a".into(), 6), ("sk-b".into(), 2)])
    );
    assert_eq!(place.status("openai/openai-c.json"), Some(Status::Disabled));
}

#[tokio::test]
async fn a_quota_is_kept_and_may_be_changed() {
    let place = Place::new().await;
    let quota =
        |limit: u64, used: u64| json!({"token": "sk-a", "quota": {"limit": limit, "used": used}});
    place.put("openai-a", &quota(1_000, 1_000));
    place.look();
    assert_eq!(place.status(A), Some(Status::Exhausted));
    let answer = place.ask("gpt-4o").await;
    assert_eq!(answer.status, 429, "{}", answer.text());
    assert!(
        answer.text().contains("exhausted (quota spent)"),
        "{}",
        answer.text()
    );
    assert_eq!(place.provider.count(), 0);
    // More is allowed.
    place.put("openai-a", &quota(100_000, 1_000));
    place.look();
    assert_eq!(place.ask("gpt-4o").await.status, 200);
    place.house.settled().await;
    let spent = || {
        let snapshot = place.house.gateway.runtime.snapshot();
        snapshot.usable().next().unwrap().standing.allowance.spent()
    };
    let of_the_call = spent() - 1_000;
    assert!(of_the_call > 0, "the call is counted on top");
    // Somebody corrects what was used before.
    place.put("openai-a", &quota(100_000, 99_999));
    place.look();
    assert_eq!(spent(), 99_999 + of_the_call);
    assert_eq!(place.ask("gpt-4o").await.status, 429);
    place.put("openai-a", &quota(100_000, 0));
    place.look();
    assert_eq!(spent(), of_the_call);
    assert_eq!(place.ask("gpt-4o").await.status, 200);
}
