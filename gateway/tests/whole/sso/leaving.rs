//! What is kept of people: shown, removed when they leave, and removed when its time is over.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::process::Command;
use turnpike_api::{Clock, Directory, Expected, Store};
use turnpike_identity::sso::session::{self, Login};
use turnpike_identity::sso::{Person, renewal};
use turnpike_identity::{agent_tokens, people};

use super::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Runs `turnpike person …` beside the gateway; answers with its code and all it said.
async fn person(config: &Path, arguments: &[&str]) -> (i32, String) {
    let running = Command::new(env!("CARGO_BIN_EXE_turnpike"))
        .env_clear()
        .arg("person")
        .args(arguments)
        .arg("--config")
        .arg(config)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(crate::harness::PATIENCE, running).await;
    let output = output.expect("it ends").unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap(),
        String::from_utf8(said).unwrap(),
    )
}

async fn refused(place: &Place, token: &str) {
    let waiting = async { while place.status(token).await != 401 {} };
    tokio::time::timeout(crate::harness::PATIENCE, waiting)
        .await
        .expect("the gateway hears of it");
}

/// A gateway by the clock that the command beside it has.
async fn now() -> Place {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
    Place::at(now.try_into().unwrap(), "authorization: {mode: enterprise}").await
}

/// Whether a text stands in any of the store's files.
fn stands_in(directory: &Path, text: &str) -> Option<std::path::PathBuf> {
    let files = std::fs::read_dir(directory).unwrap();
    let mut files = files.map(|file| file.unwrap().path()).filter(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with("turnpike.db") && path.is_file()
    });
    files.find(|path| {
        let bytes = std::fs::read(path).unwrap();
        bytes
            .windows(text.len())
            .any(|found| found == text.as_bytes())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_is_forgotten_by_one_command() {
    let place = now().await;
    place.idp.does(|wrong| {
        wrong.renewal = Some((200, json!({"access_token": "a", "token_type": "Bearer"})));
    });
    let mut ada = place.signed_in().await;
    let (_, token) = make(&mut ada, "adas laptop").await;
    make(&mut ada, "adas server").await;
    *place.idp.subject.lock().unwrap() = "bob".into();
    let (_, bobs) = make(&mut place.signed_in().await, "bobs laptop").await;
    assert_eq!(place.status(&token).await, 200);
    turnpike::background::last_used::flush(&place.house.gateway.runtime).await;
    turnpike::background::usage::flush(&place.house.gateway.runtime).await;
    let config = place.house.config.clone();

    let (code, all) = person(&config, &["list"]).await;
    assert_eq!(code, 0, "{all}");
    assert!(
        all.contains("ada@example.com") && all.contains("bob@example.com"),
        "{all}"
    );
    let (code, shown) = person(&config, &["show", "ADA@example.com"]).await;
    assert_eq!(code, 0, "{shown}");
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let shown = &shown["people"][0];
    assert_eq!(shown["email"], "ada@example.com");
    assert_eq!(shown["renewable"], true);
    assert_eq!(shown["tokens"].as_array().unwrap().len(), 2);
    let used = |token: &Value| token["last_used_ip"] == "127.0.0.1";
    assert!(shown["tokens"].as_array().unwrap().iter().any(used));

    let (code, said) = person(&config, &["forget", "nobody@example.com"]).await;
    assert_eq!(code, 1);
    assert!(
        said.contains("nothing is kept of `nobody@example.com`"),
        "{said}"
    );
    let (code, said) = person(&config, &["forget", "ada@example.com"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("ada@example.com is forgotten: the session, and 2 agent tokens"));
    refused(&place, &token).await;
    assert_eq!(place.status(&bobs).await, 200, "another person's");
    assert_eq!(
        ada.get("/auth/tokens").await.header("location"),
        Some("/auth/login"),
        "the browser's session, too"
    );
    let (code, said) = person(&config, &["show", "ada@example.com"]).await;
    assert_eq!(code, 1, "{said}");

    // Not a byte is left, in pages that are free neither.
    let (dir, _) = place.house.left().await;
    for text in ["ada@example.com", "adas laptop", "adas server"] {
        assert_eq!(stands_in(dir.path(), text), None, "{text}");
    }
    assert!(stands_in(dir.path(), "bob@example.com").is_some());
}

fn somebody(issuer: &str, subject: &str) -> Login {
    Login {
        person: Person {
            issuer: issuer.into(),
            subject: subject.into(),
            email: Some("team@example.com".into()),
            ..Person::default()
        },
        provider: "test".into(),
        roles: Vec::new(),
        provider_of: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_of_several_people_removes_none_of_them() {
    let place = now().await;
    let store: &dyn Store = &*place.house.gateway.runtime.store;
    for issuer in ["https://one.example", "https://two.example"] {
        session::sign_in(store, &somebody(issuer, "1"), HOUR, place.time.now())
            .await
            .unwrap();
    }
    let config = place.house.config.clone();
    let (code, said) = person(&config, &["forget", "team@example.com"]).await;
    assert_eq!(code, 1);
    assert!(said.contains("may be 2 people"), "{said}");
    let key = somebody("https://one.example", "1").person.key();
    let (code, said) = person(&config, &["forget", &key, "--json"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("https://one.example"), "{said}");
    let left = people::find(store, "team@example.com").await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].person.issuer, "https://two.example");
}

/// Moves the clock on, hour by hour, until it is so.
async fn in_time(place: &Place, is_so: impl AsyncFn() -> bool) {
    let waiting = async {
        while !is_so().await {
            place.time.advance(HOUR);
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::harness::PATIENCE, waiting)
        .await
        .expect("it comes about");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_kept_for_long_enough_is_removed() {
    let place = Place::with(
        "authorization: {mode: enterprise}\n\
         state: {retention: {revoked_token_days: 30, absent_person_days: 60, usage_days: 10}}",
    )
    .await;
    let store = place.house.gateway.runtime.store.clone();
    let mut ada = place.signed_in().await;
    let (_, token) = make(&mut ada, "laptop").await;
    let (_, revoked) = make(&mut ada, "old").await;
    let id = |token: &str| token[3..].split('.').next().unwrap().to_owned();
    assert_eq!(place.status(&token).await, 200);
    agent_tokens::revoke(&*store, &id(&revoked), NOW)
        .await
        .unwrap();
    let today = u32::try_from(NOW / 86_400_000).unwrap();
    let usage = async || store.usage(0, u32::MAX).await.unwrap();
    assert_eq!(usage().await[0].day, today);
    let kept = async |token: &str| {
        let kept = Directory::get(&*store, "agent_token", &id(token)).await;
        kept.unwrap().is_some()
    };

    place.time.advance(DAY * 9);
    assert!(!usage().await.is_empty());
    in_time(&place, async || usage().await.is_empty()).await;
    let passed = |days: u64| place.time.now() >= NOW + days * 86_400_000;
    assert!(passed(10), "not before");
    assert!(kept(&revoked).await, "as a token that is revoked");
    in_time(&place, async || !kept(&revoked).await).await;
    assert!(passed(30) && kept(&token).await);
    in_time(&place, async || !kept(&token).await).await;
    assert!(passed(61), "the session ended a day after it began");
    in_time(&place, async || {
        people::all(&*store).await.unwrap().is_empty()
    })
    .await;
    assert!(store.list(renewal::KIND).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_took_anothers_place_is_found_after_that_one_is_over() {
    let rest = "authorization: {mode: enterprise}\n\
                state: {retention: {revoked_token_days: 1, absent_person_days: 60}}";
    let place = Place::with(rest).await;
    let store = place.house.gateway.runtime.store.clone();
    let mut ada = place.signed_in().await;
    let (_, token) = make(&mut ada, "laptop").await;
    let (_, witness) = make(&mut ada, "old").await;
    let id = |token: &str| token[3..].split('.').next().unwrap().to_owned();
    let costs = agent_tokens::Costs {
        memory_kib: 1024,
        iterations: 1,
        parallelism: 1,
    };
    let rotated = agent_tokens::rotate(&*store, &id(&token), HOUR, costs, NOW)
        .await
        .unwrap();
    let successor = rotated.token.expose().to_owned();
    agent_tokens::revoke(&*store, &id(&witness), NOW + 3_600_000)
        .await
        .unwrap();
    in_time(&place, async || {
        let kept = agent_tokens::look(&*store, &id(&witness)).await;
        kept.unwrap().is_none()
    })
    .await;
    assert_eq!(place.status(&successor).await, 401, "nobody is signed in");
    place.signed_in().await;
    assert_eq!(place.status(&successor).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_cannot_be_read_is_forgotten_all_the_same() {
    let place = Place::new().await;
    let store: &dyn Store = &*place.house.gateway.runtime.store;
    let (_, token) = make(&mut place.signed_in().await, "laptop").await;
    let kept = people::find(store, "ada@example.com").await.unwrap();
    let (session, version) = session::find(store, &kept[0].key).await.unwrap().unwrap();
    let damaged = store.put(session::KIND, &kept[0].key, b"{", None, Expected::Anything);
    damaged.await.unwrap();
    assert!(
        !session::end_if(store, &session, version, NOW)
            .await
            .unwrap(),
        "it is not the record that was looked at"
    );
    people::forget(store, &kept[0], NOW).await.unwrap();
    refused(&place, &token).await;
    assert!(people::all(store).await.unwrap().is_empty());
    assert!(store.list(session::KIND).await.unwrap().is_empty());
}
