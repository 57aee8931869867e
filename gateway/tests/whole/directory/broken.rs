//! Files that cannot be used, and what the operator and the callers are told.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use serde_json::json;
use turnpike::upstream::roll::Status;

use super::{Load, Place, key};
use crate::binary::replace;

const A: &str = "openai/openai-a.json";

/// Something wrong with a file: how it becomes so, and what is said of it.
type Wrong = (&'static str, fn(&Path), &'static str);

/// Everything that can be wrong with one.
const WRONGS: [Wrong; 9] = [
    (
        "cut short",
        |path| replace(path, r#"{"token": "sk-"#),
        "EOF while parsing",
    ),
    ("empty", |path| replace(path, ""), "empty"),
    ("no JSON", |path| replace(path, "token = sk-a"), "line 1"),
    (
        "without a secret",
        |path| replace(path, r#"{"type":"api_key"}"#),
        "holds no credential",
    ),
    (
        "a wrong type",
        |path| replace(path, r#"{"token":"sk-a","priority":"first"}"#),
        "priority",
    ),
    (
        "huge",
        |path| replace(path, &" ".repeat((1 << 20) + 1)),
        "larger than 1 MiB",
    ),
    (
        "a dangling link",
        |path| link(path, "nowhere"),
        "the link cannot be followed",
    ),
    (
        "a link to itself",
        |path| link(path, "openai-a.json"),
        "the link cannot be followed",
    ),
    ("a directory", directory, "is not a file"),
];

fn link(path: &Path, target: &str) {
    let beside = path.with_extension("link");
    symlink(target, &beside).unwrap();
    std::fs::rename(beside, path).unwrap();
}

/// By a link, which can take the file's place without a moment in which there is nothing.
fn directory(path: &Path) {
    std::fs::create_dir(path.with_extension("d")).unwrap();
    link(path, "openai-a.d");
}

fn remove(path: &Path) {
    std::fs::remove_file(path).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_breaks_is_used_as_it_was_last_good() {
    let place = Place::new().await;
    place.put("openai-a", &key("sk-good"));
    place.look();
    let load = Load::start(&place.house).await;
    let path = place.path("openai-a");
    for (what, spoil, said) in WRONGS {
        println!("{what}");
        spoil(&path);
        place.look();
        let report = place.report(A).unwrap();
        assert_eq!(report.status, Status::Error, "{report:?}");
        assert!(report.message.contains(said), "{report:?}");
        let kept = "the version read before stays in use";
        assert!(report.message.contains(kept), "{report:?}");
        assert!(!report.message.contains("sk-"), "{report:?}");
        assert_eq!(place.files(), (0, 1));
        let series = format!(
            "turnpike_credential_state{{credential=\"{A}\",provider=\"openai\",state=\"error\"}}"
        );
        assert_eq!(place.house.metric(&series), 1.0);
        place.provider.take_calls();
        assert_eq!(place.ask("gpt-4o").await.status, 200);
        assert!(place.keys().iter().all(|key| key == "sk-good"));
        place.put("openai-a", &key("sk-good"));
        place.look();
        assert_eq!(place.status(A), Some(Status::Active), "{what}");
        assert_eq!(place.files(), (1, 0));
    }
    assert!(load.stop().await > 0);
    place.house.settled().await;
}

/// What a file says may be good and yet make no credential.
#[tokio::test]
async fn a_file_that_makes_no_credential_is_used_as_it_was_last_good() {
    let place = Place::new().await;
    let account = json!({"type": "service_account"});
    for (what, said) in [
        (
            json!({"token": "sk-a", "proxy_url": "ftp://p:1"}),
            "proxy_url",
        ),
        (
            json!({"token": "sk-a", "provider": "opnai"}),
            "no provider is called `opnai`",
        ),
        (
            json!({"token": "sk-a", "headers": {"x": "\u{1}"}}),
            "header",
        ),
        (account, "private_key"),
    ] {
        place.put("openai-a", &key("sk-good"));
        place.look();
        assert_eq!(place.status(A), Some(Status::Active));
        place.put("openai-a", &what);
        place.look();
        let report = place.report(A).unwrap();
        assert_eq!(report.status, Status::Error, "{report:?}");
        assert!(report.message.contains(said), "{report:?}");
        let kept = "the version read before stays in use";
        assert!(report.message.contains(kept), "{report:?}");
        place.provider.take_calls();
        assert_eq!(place.ask("gpt-4o").await.status, 200);
        assert_eq!(place.keys(), ["sk-good"], "{what}");
    }
    std::fs::remove_file(place.path("openai-a")).unwrap();
    place.look();
    place.put("openai-a", &json!({"token": "sk-a", "provider": "opnai"}));
    place.look();
    assert_eq!(place.ask("gpt-4o").await.status, 503);
}

#[tokio::test]
async fn a_file_that_never_was_good_is_told_and_harms_nobody() {
    let place = Place::new().await;
    for (what, spoil, said) in WRONGS {
        println!("{what}");
        spoil(&place.path("openai-a"));
        place.look();
        let report = place.report(A).unwrap();
        assert_eq!(report.status, Status::Error);
        assert!(report.message.contains(said), "{report:?}");
        assert!(!report.message.contains("stays in use"), "{report:?}");
        let answer = place.ask("gpt-4o").await;
        assert_eq!(answer.status, 503, "{}", answer.text());
        let why = "No credentials for provider openai: the only one is in error";
        assert!(answer.text().contains(why), "{}", answer.text());
        place.put("openai-b", &key("sk-b"));
        place.look();
        assert_eq!(place.ask("gpt-4o").await.status, 200);
        assert_eq!(place.files(), (1, 1));
        std::fs::remove_file(place.path("openai-b")).unwrap();
        remove(&place.path("openai-a"));
        place.look();
        assert_eq!(place.report(A), None, "{what}");
    }
}

#[tokio::test]
async fn a_file_that_others_can_read_is_used_unless_private_ones_are_required() {
    for (auth, status, answered) in [
        ("", Status::Active, 200),
        ("require_private_files: true, ", Status::Error, 503),
    ] {
        let place = Place::with(auth, "").await;
        let mode = |mode| {
            let rights = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(place.path("openai-a"), rights).unwrap();
        };
        place.put("openai-a", &key("sk-a"));
        mode(0o640);
        place.look();
        let report = place.report(A).unwrap();
        assert_eq!(report.status, status, "{report:?}");
        assert_eq!(
            report.message.contains("chmod 600"),
            status == Status::Error
        );
        assert_eq!(place.ask("gpt-4o").await.status, answered);
        // It helps to do as one is told, and opening it again is noticed.
        mode(0o600);
        place.look();
        assert_eq!(place.status(A), Some(Status::Active));
        assert_eq!(place.ask("gpt-4o").await.status, 200);
        mode(0o604);
        place.look();
        assert_eq!(place.ask("gpt-4o").await.status, answered);
    }
}

#[tokio::test]
async fn a_file_of_a_provider_that_is_switched_off_or_unknown_says_so() {
    let place = Place::with("", "  mistral: {enabled: false}\n").await;
    place.put("mistral-a", &key("ms-a"));
    place.put("mistral-bad", &json!({"type": "api_key"}));
    place.put("nobody", &key("sk-nobody"));
    place.look();
    let report = place.report("mistral/mistral-a.json").unwrap();
    assert_eq!(report.status, Status::Disabled);
    assert!(report.message.contains("`enabled: false`"), "{report:?}");
    let report = place.report("nobody.json").unwrap();
    assert_eq!(report.status, Status::Error);
    assert!(
        report.message.contains("no provider is called `nobody`"),
        "{report:?}"
    );
    assert_eq!(place.files(), (1, 2));
    let answer = place.ask("mistral-large-latest").await;
    assert_eq!(
        answer.status,
        404,
        "its models are not served: {}",
        answer.text()
    );
}

#[tokio::test]
async fn the_same_token_twice_is_used_once() {
    let place = Place::with("", "openai_api_key: [{api-key: sk-configured}]\n").await;
    place.put("openai-a", &key("sk-twice"));
    place.put("openai-b", &key("sk-twice"));
    place.put("openai-c", &key("sk-configured"));
    place.put(
        "openai-off",
        &json!({"token": "sk-twice", "disabled": true}),
    );
    place.look();
    for (id, of) in [
        ("openai/openai-b.json", A),
        ("openai/openai-c.json", "openai/"),
    ] {
        let report = place.report(id).unwrap();
        assert_eq!(report.status, Status::Error);
        let said = format!("holds the same secret as {of}");
        assert!(report.message.contains(&said), "{report:?}");
        assert!(!report.message.contains("sk-"), "{report:?}");
    }
    assert_eq!(
        place.status("openai/openai-off.json"),
        Some(Status::Disabled)
    );
    // The one goes, the other takes its place. One that is switched off stands in nobody's way.
    place.put("openai-a", &json!({"token": "sk-twice", "disabled": true}));
    place.look();
    assert_eq!(place.status("openai/openai-b.json"), Some(Status::Active));
}

#[tokio::test]
async fn the_caller_is_told_why_there_is_nobody() {
    let place = Place::new().await;
    let expired = |token: &str| json!({"access_token": token, "expired": "2020-01-01T00:00:00Z"});
    let off = |token: &str| json!({"token": token, "disabled": true});
    let text = "No credentials for provider openai: ";
    for (files, why) in [
        (
            vec![("openai-a", json!({})), ("openai-b", json!([]))],
            vec!["all 2 are in error (file not readable)"],
        ),
        (
            vec![("openai-a", expired("at-a")), ("openai-b", expired("at-b"))],
            vec!["all 2 are expired (access token too old)"],
        ),
        (
            vec![("openai-a", off("sk-a")), ("openai-b", off("sk-b"))],
            vec!["all 2 are disabled"],
        ),
        (
            vec![
                ("openai-a", expired("at-a")),
                ("openai-b", json!({})),
                ("openai-c", off("sk-c")),
            ],
            vec!["1 is expired", "1 is disabled", "1 is in error"],
        ),
    ] {
        for (name, content) in &files {
            place.put(name, content);
        }
        place.look();
        let answer = place.ask("gpt-4o").await;
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert_eq!(answer.json()["error"]["code"], "no_credential");
        let message = answer.json()["error"]["message"].clone();
        let message = message.as_str().unwrap();
        assert!(message.starts_with(text), "{message}");
        for said in why {
            assert!(message.contains(said), "{message} does not say {said}");
        }
        for (name, _) in &files {
            std::fs::remove_file(place.path(name)).unwrap();
        }
        place.look();
    }
    assert_eq!(place.provider.count(), 0, "nobody was called");
}
