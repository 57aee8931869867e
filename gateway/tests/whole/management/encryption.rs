//! Credentials that the gateway writes, encrypted with a key of the operator's.

use super::*;
use crate::canary;

fn encrypted(key: &str, previous: &str) -> String {
    format!("auth: {{encryption: {{enabled: true, key: {key}, previous_keys: [{previous}]}}}}\n")
}

/// The status of the credential of the file `name`, and why.
async fn status(place: &Place, name: &str) -> (String, String) {
    let listed = place.get("/auths").await.json();
    let entries = listed["auths"].as_array().unwrap();
    let of_file = |one: &&Value| one["file"] == *name;
    let one = entries.iter().find(of_file).unwrap().clone();
    let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
    (text("status"), text("status_message"))
}

#[tokio::test]
async fn an_added_credential_lies_encrypted_and_outlives_a_change_of_the_key() {
    let (old, new) = (SOME_KEY, "bmV2ZXIgdXNlIHRoaXMga2V5IGFueXdoZXJlIGVsc2U=");
    let place = Place::with(&(keys() + &encrypted(old, ""))).await;
    let body = json!({"provider": "claude", "type": "api_key", "token": "CANARY-added-2"});
    let added = place.post("/auths", &body.to_string()).await;
    assert_eq!(added.status, 201, "{}", added.text());
    let name = added.json()["file"].as_str().unwrap().to_owned();
    let path = place.house.dir.path().join("auths").join(&name);
    let written = std::fs::read_to_string(&path).unwrap();
    assert!(written.starts_with("tpe1."), "{written}");
    assert!(!written.contains("CANARY"));

    let text = std::fs::read_to_string(&place.house.config).unwrap();
    let reload = |encryption: &str| {
        let text = text.replace(&encrypted(old, ""), encryption);
        canary::know_all(&text, place.house.dir.path());
        std::fs::write(&place.house.config, text).unwrap();
        place.house.gateway.reloader.reload().unwrap();
    };
    reload(&encrypted(new, old));
    assert_eq!(status(&place, &name).await.0, "active");
    reload(&encrypted(new, ""));
    let (status_then, why) = status(&place, &name).await;
    assert_eq!(status_then, "error");
    assert!(why.contains("`auth.encryption.previous_keys`"), "{why}");
    assert_eq!(place.call("CANARY-of-a-client").await, 200, "others serve");
    // Switched off, the keys still open what was encrypted.
    reload(&encrypted(old, "").replace("enabled: true", "enabled: false"));
    assert_eq!(status(&place, &name).await.0, "active");
}

#[tokio::test]
async fn a_file_that_is_encrypted_is_changed_as_such_or_not_at_all() {
    let place = Place::with(&(keys() + &encrypted(SOME_KEY, ""))).await;
    let body = json!({"provider": "claude", "type": "api_key", "token": "CANARY-added-2"});
    let added = place.post("/auths", &body.to_string()).await.json();
    let (name, id) = (
        added["file"].as_str().unwrap(),
        added["id"].as_str().unwrap(),
    );
    let path = place.house.dir.path().join("auths").join(name);
    let put = async |body: &str| {
        let headers = [("x-management-key", ALL)];
        let path = format!("/auths/claude?id={id}");
        place.ask(Method::PUT, &path, &headers, body).await
    };
    let text = std::fs::read_to_string(&place.house.config).unwrap();
    let reload = |encryption: &str| {
        let text = text.replace(&encrypted(SOME_KEY, ""), encryption);
        std::fs::write(&place.house.config, text).unwrap();
        place.house.gateway.reloader.reload().unwrap();
    };

    // Switched off, with its key at hand.
    reload(&encrypted(SOME_KEY, "").replace("enabled: true", "enabled: false"));
    let changed = put(r#"{"weight":7}"#).await;
    assert_eq!(
        (changed.status, &changed.json()["weight"]),
        (200, &json!(7))
    );
    let written = std::fs::read_to_string(&path).unwrap();
    assert!(written.starts_with("tpe1."), "{written}");

    // Without it.
    reload("");
    let answer = put(r#"{"weight":8}"#).await;
    refused(&answer, 409, "unusable");
    let text = answer.text();
    assert!(text.contains("`auth.encryption.previous_keys`"), "{text}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), written);
}

/// Base64 of 32 bytes.
const SOME_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
