//! Sessions that are renewed without their people.

use std::time::Duration;

use serde_json::{Value, json};
use turnpike_api::Directory;
use turnpike_identity::agent_tokens::look;
use turnpike_identity::sso::renewal::KIND;

use super::{HOUR, NOW, Place, make};
use crate::harness::{PATIENCE, until};

/// So long before its end a session is renewed.
const LEAD: Duration = Duration::from_secs(600);

/// When the first session ends.
const END: u64 = NOW + 24 * 3_600_000;

fn another(number: u32, id_token: Value) -> (u16, Value) {
    let answer = json!({"access_token": "a", "token_type": "Bearer", "id_token": id_token,
        "refresh_token": format!("refresh-{number}-CANARY")});
    (200, answer)
}

/// Somebody's token, of a session whose provider granted a refresh token.
pub(super) async fn granted(place: &Place, renewal: (u16, Value)) -> String {
    place.idp.does(|wrong| wrong.renewal = Some(renewal));
    make(&mut place.signed_in().await, "laptop").await.1
}

/// Moves the clock on, up to the next look at the sessions, until the provider was asked so often.
pub(super) async fn tried(place: &Place, times: usize) {
    until(|| {
        let done = place.idp.refreshed.lock().unwrap().len() >= times;
        if !done {
            place.time.advance(Duration::from_millis(100));
        }
        done
    })
    .await;
}

async fn ends_at(place: &Place, token: &str) -> u64 {
    let id = token[3..].split('.').next().unwrap();
    let store = &*place.house.gateway.runtime.store;
    let token = look(store, id).await.unwrap().unwrap();
    token.auth_expires_at.unwrap()
}

/// Waits until the token ends at another time.
async fn renewed(place: &Place, token: &str, before: u64) -> u64 {
    let waiting = async {
        loop {
            let end = ends_at(place, token).await;
            if end != before {
                return end;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap()
}

/// Waits until the gateway has heard of what the store has.
pub(super) async fn answered(place: &Place, token: &str, status: u16) {
    let waiting = async {
        while place.status(token).await != status {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_goes_on_with_what_the_provider_granted() {
    let place = Place::new().await;
    let token = granted(&place, another(2, "signed".into())).await;
    place.time.advance(HOUR * 23);
    assert!(
        place.idp.refreshed.lock().unwrap().is_empty(),
        "not before it is time"
    );
    place.time.advance(HOUR - LEAD);
    tried(&place, 1).await;
    let end = renewed(&place, &token, END).await;
    assert!(end > END + 23 * 3_600_000);
    place.time.advance(HOUR);
    // Beyond the first end.
    answered(&place, &token, 200).await;
    // The next time with the token that it was given then.
    place.time.advance(HOUR * 23 - LEAD);
    tried(&place, 2).await;
    let refreshed = place.idp.refreshed.lock().unwrap()[..2].to_vec();
    assert_eq!(refreshed, ["refresh-1-CANARY", "refresh-2-CANARY"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_withdraws_its_grant_ends_the_session() {
    let place = Place::new().await;
    let token = granted(&place, (400, json!({"error": "invalid_grant"}))).await;
    place.time.advance(HOUR * 24 - LEAD);
    tried(&place, 1).await;
    assert!(
        renewed(&place, &token, END).await < END,
        "before the stated time"
    );
    answered(&place, &token, 401).await;
    let ended = r#"turnpike_session_renewals_total{outcome="ended"}"#;
    assert_eq!(place.house.metric(ended), 1.0);
    let answer = place.ask(&token).await;
    assert!(
        answer.text().contains("Session expired"),
        "{}",
        answer.text()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_answer_leaves_the_session_until_its_end() {
    for renewal in [
        (503, json!({"error": "temporarily_unavailable"})),
        another(2, "not-a-token".into()),
    ] {
        let place = Place::new().await;
        let token = granted(&place, renewal).await;
        place.time.advance(HOUR * 24 - LEAD);
        tried(&place, 2).await;
        assert_eq!(place.status(&token).await, 200, "it is tried again");
        assert_eq!(ends_at(&place, &token).await, END);
        place.time.advance(LEAD);
        assert_eq!(place.status(&token).await, 401, "at the stated time");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_another_person_renews_nothing() {
    let place = Place::new().await;
    let token = granted(&place, another(2, "signed".into())).await;
    *place.idp.subject.lock().unwrap() = "bob".into();
    place.time.advance(HOUR * 24 - LEAD);
    tried(&place, 2).await;
    assert_eq!(ends_at(&place, &token).await, END);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_session_is_renewed_with_is_hidden_and_goes_with_it() {
    let place = Place::new().await;
    let store: &dyn Directory = &*place.house.gateway.runtime.store;
    let kept = async || store.list(KIND).await.unwrap();
    granted(&place, another(2, "signed".into())).await;
    let one = kept().await;
    assert_eq!(one.len(), 1);
    assert!(!String::from_utf8_lossy(&one[0].1.value).contains("CANARY"));

    let session = &*place.house.gateway.runtime.store;
    turnpike_identity::sso::session::sign_out(session, &one[0].0, NOW)
        .await
        .unwrap();
    assert!(kept().await.is_empty(), "after a logout");
    place.signed_in().await;
    assert_eq!(kept().await.len(), 1);
    let text = std::fs::read_to_string(&place.house.config).unwrap();
    let off = "  enabled: true\n  silent_renewal: {enabled: false}\n";
    std::fs::write(&place.house.config, text.replace("  enabled: true\n", off)).unwrap();
    place.house.gateway.reloader.reload().unwrap();
    place.signed_in().await;
    assert!(kept().await.is_empty(), "where it is switched off");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_the_operators_takes_over_without_a_login() {
    let place = Place::new().await;
    let token = granted(&place, another(2, "signed".into())).await;
    let text = std::fs::read_to_string(&place.house.config).unwrap();
    let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let on = format!("auth: {{encryption: {{enabled: true, key: {key}}}}}\nsso:\n");
    crate::canary::know_all(&on, place.house.dir.path());
    std::fs::write(&place.house.config, text.replace("sso:\n", &on)).unwrap();
    place.house.gateway.reloader.reload().unwrap();
    place.time.advance(HOUR * 24 - LEAD);
    tried(&place, 1).await;
    let end = renewed(&place, &token, END).await;
    assert!(end > END, "what was kept with the gateway's own key opens");
    let store: &dyn Directory = &*place.house.gateway.runtime.store;
    let kept = store.list(KIND).await.unwrap();
    let keyring = turnpike_api::Keyring::new([&std::array::from_fn(|at| at as u8)]);
    let kept: Value = serde_json::from_slice(&kept[0].1.value).unwrap();
    assert!(keyring.is_current(kept["sealed"].as_str().unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_refresh_token_is_kept_whatever_else_is_wrong_with_the_answer() {
    let place = Place::new().await;
    granted(&place, another(2, "signed".into())).await;
    // The ID token that comes with it is another person's.
    *place.idp.subject.lock().unwrap() = "eve".into();
    place.time.advance(HOUR * 24 - LEAD);
    tried(&place, 2).await;
    let refreshed = place.idp.refreshed.lock().unwrap()[..2].to_vec();
    assert_eq!(refreshed, ["refresh-1-CANARY", "refresh-2-CANARY"]);
}
