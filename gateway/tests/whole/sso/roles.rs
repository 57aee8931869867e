//! What people may do who log in: by their groups, and by what the authorization API says.

use std::time::Duration;

use serde_json::{Value, json};

use turnpike_api::{Clock, Directory};
use turnpike_identity::sso::renewal::{KIND, Renewal};

use super::authorization::Api;
use super::renewal::{answered, granted, tried};
use super::{HOUR, Place, make};
use crate::harness::PATIENCE;

/// Who is of the group `eng`, or has the role by name, may use gpt-4o.
const ROLES: &str = "\
    roles: {developer: {models: [\"gpt-*\"]}, guest: {models: [none]}}\n\
    role_bindings:\n\
    - {role: developer, groups: [eng]}\n\
    - {role: developer, claims: {dept: lab}}\n";

async fn place(rest: &str) -> Place {
    Place::with(&format!("{ROLES}{rest}")).await
}

/// Has the provider say more of whoever logs in.
fn says(place: &Place, name: &'static str, value: Value) {
    place.idp.does(|wrong| {
        wrong.claims = Box::new(move |claims| claims[name] = value.clone());
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_follow_their_owners_groups_from_login_to_login() {
    let place = place(
        "- {role: guest, everyone: true}\n\
         authorization: {mode: enterprise}",
    )
    .await;
    says(&place, "groups", json!(["ops", "eng"]));
    let mut browser = place.signed_in().await;
    let (_, token) = make(&mut browser, "laptop").await;
    assert_eq!(place.status(&token).await, 200);
    says(&place, "groups", json!(["ops"]));
    place.signed_in().await;
    assert_eq!(place.status(&token).await, 403);
    let (_, other) = make(&mut browser, "other").await;
    assert_eq!(place.status(&other).await, 403);
    says(&place, "dept", json!(["lab", "hall"]));
    place.signed_in().await;
    assert_eq!(place.status(&token).await, 200);
    assert_eq!(place.status(&other).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_authorization_api_gives_roles_by_name() {
    let api = Api::start().await;
    let place = place(&format!(
        "authorization: {{mode: enterprise, api_url: \"{}\"}}",
        api.url
    ))
    .await;
    api.says(200, r#"{"authorized":true,"roles":["developer","nobody"]}"#);
    let (_, token) = make(&mut place.signed_in().await, "laptop").await;
    assert_eq!(place.status(&token).await, 200);
    api.says(200, r#"{"authorized":true,"roles":["guest","Developer"]}"#);
    place.signed_in().await;
    assert_eq!(place.status(&token).await, 403);
    api.says(200, r#"{"authorized":true}"#);
    place.signed_in().await;
    assert_eq!(place.status(&token).await, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_authorization_api_a_role_lets_in() {
    let place = place("authorization: {mode: enterprise}").await;
    says(&place, "groups", json!(["eng"]));
    let (_, token) = make(&mut place.signed_in().await, "laptop").await;
    assert_eq!(place.status(&token).await, 200);
    says(&place, "groups", json!(["sales"]));
    let denied = place.browser().log_in().await;
    assert_eq!(denied.status, 403);
    assert!(denied.text().contains("Access denied"), "{}", denied.text());
    assert!(denied.text().contains("No role is bound to you"));
    // Nor does what the session of before let them do go on.
    assert_eq!(place.status(&token).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_tells_groups_and_roles_anew() {
    let api = Api::start().await;
    let place = place(&format!(
        "authorization: {{mode: enterprise, api_url: \"{}\"}}",
        api.url
    ))
    .await;
    let renewal = json!({"access_token": "a", "token_type": "Bearer", "id_token": "signed"});
    let token = granted(&place, (200, renewal.clone())).await;
    assert_eq!(place.status(&token).await, 403);
    place.idp.does(|wrong| {
        wrong.renewal = Some((200, renewal));
        wrong.claims = Box::new(|claims| claims["groups"] = json!(["eng"]));
    });
    let due = HOUR * 24 - Duration::from_secs(600);
    renewed_after(&place, due, 1).await;
    answered(&place, &token, 200).await;
    // The API's roles, too.
    api.says(200, r#"{"authorized":true,"roles":["developer"]}"#);
    place.idp.does(|wrong| {
        let answer = json!({"access_token": "a", "token_type": "Bearer", "id_token": "signed"});
        wrong.renewal = Some((200, answer));
    });
    renewed_after(&place, due, 2).await;
    answered(&place, &token, 200).await;
    api.says(200, r#"{"authorized":true}"#);
    renewed_after(&place, due, 3).await;
    answered(&place, &token, 403).await;
}

/// Moves the clock on, and waits until the session is renewed for the so manyth time, and what it is to
/// be renewed with the next time is kept.
async fn renewed_after(place: &Place, time: Duration, times: usize) {
    place.time.advance(time);
    tried(place, times).await;
    let store = &*place.house.gateway.runtime.store;
    let kept = async {
        let ends = |renewal: &[u8]| {
            serde_json::from_slice::<Renewal>(renewal)
                .unwrap()
                .expires_at
        };
        let hour = 3_600_000;
        loop {
            let kept = Directory::list(store, KIND).await.unwrap();
            let last = kept.iter().map(|(_, record)| ends(&record.value)).max();
            if last > Some(place.time.now() + 23 * hour) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, kept).await.unwrap();
}
