//! Agent tokens: made, used, rotated and revoked, beside a gateway that runs.

use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;
use tokio::process::Command;
use turnpike_loadtest::{FakeProvider, Options};

use crate::binary::Binary;
use crate::calls::{CHAT, post_with};
use crate::harness::{Answer, Client, Http, PATIENCE};

/// A gateway of the real binary that knows one key, and a provider.
struct Place {
    provider: FakeProvider,
    binary: Binary,
}

impl Place {
    async fn new() -> Self {
        Self::with("api_keys: [{key: the-key-of-the-tests, name: tests}]").await
    }

    async fn with(rest: &str) -> Self {
        let provider = FakeProvider::start(Options::default()).await;
        let yaml = format!(
            "server: {{port: 0}}\nadmin: {{port: 0}}\n{CHEAP}{rest}\n\
             providers: {{openai: {{base_url: \"{}/v1\", credentials: [{{api_key: sk-upstream}}]}}}}\n",
            provider.base_url()
        );
        let binary = Binary::start(&yaml, &["--log-level", "trace"]).await;
        Self { provider, binary }
    }

    async fn token(&self, arguments: &[&str]) -> Value {
        let done = run(&self.binary.config, arguments).await;
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "{arguments:?}: {said}");
        serde_json::from_slice(&done.stdout).unwrap()
    }

    /// Makes one; answers with its id and itself.
    async fn create(&self, arguments: &[&str]) -> (String, String) {
        let made = self
            .token(&[&["create", "--name", "laptop"], arguments].concat())
            .await;
        let text = |key: &str| made[key].as_str().unwrap().to_owned();
        (text("id"), text("token"))
    }

    async fn ask(&self, credential: &str) -> Answer {
        self.ask_with(&[("authorization", &format!("Bearer {credential}"))])
            .await
    }

    async fn ask_with(&self, headers: &[(&str, &str)]) -> Answer {
        let mut client: Client = self.binary.client(Http::One).await;
        post_with(&mut client, CHAT.path, headers, CHAT.body).await
    }

    /// Waits until the gateway has heard of a change.
    async fn until_answered(&self, credential: &str, status: u16) -> Answer {
        let asked = async {
            loop {
                let answer = self.ask(credential).await;
                if answer.status == status {
                    return answer;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, asked)
            .await
            .expect("the gateway follows")
    }
}

/// What is proven here does not depend on what a hash costs.
const CHEAP: &str = "agent_tokens: {argon2: {memory_kib: 1024, iterations: 1}}\n";

async fn run(config: &Path, arguments: &[&str]) -> Output {
    let running = Command::new(env!("CARGO_BIN_EXE_turnpike"))
        .env_clear()
        .arg("token")
        .args(arguments)
        .args(["--json", "--config"])
        .arg(config)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let done = tokio::time::timeout(PATIENCE, running).await;
    done.expect("it ends").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_made_used_and_revoked_while_the_gateway_runs() {
    let place = Place::new().await;
    let (id, token) = place.create(&[]).await;
    assert!(token.starts_with(&format!("tp-{id}.")), "{id}");
    place.until_answered(&token, 200).await;
    // In every place for a credential, and as agents write it that insist on a mark.
    let tolerated = format!("sk-{token}");
    for header in ["x-api-key", "x-goog-api-key"] {
        assert_eq!(place.ask_with(&[(header, &tolerated)]).await.status, 200);
    }
    // The key of the configuration is as good as before.
    assert_eq!(place.ask("the-key-of-the-tests").await.status, 200);
    assert!(
        place
            .provider
            .calls()
            .iter()
            .all(|call| call.key == "sk-upstream")
    );

    let shown = place.token(&["show", &id]).await;
    assert_eq!(shown["state"], "active");
    let revoked = place.token(&["revoke", &id]).await;
    assert_eq!(revoked["state"], "revoked");
    let answer = place.until_answered(&token, 401).await;
    assert!(answer.text().contains("revoked"), "{}", answer.text());
    assert_eq!(answer.header("x-should-retry"), Some("false"));
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    let (log, kept) = (place.binary.log(), place.binary.kept());
    let secret = token.split_once('.').unwrap().1;
    for (what, text) in [("the log", &log), ("the store", &kept)] {
        assert!(!text.contains(secret), "{what} has the secret");
    }
    assert!(
        kept.contains("$argon2id$v=19$m=1024,t=1,p=1$"),
        "its hash is kept"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_token_goes_on_for_a_while() {
    let place = Place::new().await;
    let (id, old) = place.create(&[]).await;
    let rotated = place.token(&["rotate", &id]).await;
    let new = rotated["token"].as_str().unwrap().to_owned();
    assert_ne!(old, new);
    place.until_answered(&new, 200).await;
    assert_eq!(place.ask(&old).await.status, 200);
    let shown = place.token(&["show", &id]).await;
    assert_eq!(shown["rotated_to"], rotated["id"]);
    assert!(shown["ends_at"].is_string());
    // Once more, and at once: the one that was shortened is not lengthened again.
    place.token(&["rotate", &id, "--overlap", "0s"]).await;
    place.until_answered(&old, 401).await;
    assert_eq!(place.ask(&new).await.status, 200);
    let done = run(&place.binary.config, &["rotate", &id]).await;
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(
        !done.status.success() && said.contains("is revoked"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_refused_alike_whether_its_id_is_known_or_not() {
    let place = Place::new().await;
    let (id, token) = place.create(&[]).await;
    place.until_answered(&token, 200).await;
    let wrong = format!("tp-{id}.{}", "A".repeat(43));
    let unknown = format!("tp-{}.{}", "a".repeat(16), "A".repeat(43));
    let told = async |credential: &str| {
        let answer = place
            .ask_with(&[
                ("authorization", &format!("Bearer {credential}")),
                ("x-request-id", "same"),
            ])
            .await;
        assert_eq!(answer.status, 401);
        let of_each = ["date", "x-turnpike-decision"];
        let names = answer.headers.iter();
        let names = names.filter(|(name, _)| !of_each.contains(&name.as_str()));
        let mut headers: Vec<String> = names
            .map(|(name, value)| format!("{name}: {value:?}"))
            .collect();
        headers.sort();
        (headers, answer.text().to_owned())
    };
    let nothing = told(&unknown).await;
    assert_eq!(told(&wrong).await, nothing);
    assert_eq!(told("a-key-that-nobody-has").await, nothing);
    // A form that is wrong says how, and does not echo what came.
    for broken in [
        format!("tp-{id}"),
        token[..token.len() - 1].to_owned(),
        format!("{token}x"),
    ] {
        let answer = place.ask(&broken).await;
        assert_eq!(answer.status, 401);
        assert!(
            answer.text().contains("Invalid token format"),
            "{}",
            answer.text()
        );
        assert!(!answer.text().contains(&broken), "{}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_token_is_refused_elsewhere() {
    let place = Place::new().await;
    let (_, elsewhere) = place.create(&["--cidr", "10.0.0.0/8"]).await;
    let (_, certified) = place.create(&["--certificate", &"ab".repeat(32)]).await;
    let (_, here) = place
        .create(&["--cidr", "127.0.0.0/8", "--cidr", "::1/128"])
        .await;
    // The gateway hears of them in this order: by now it knows all three.
    place.until_answered(&here, 200).await;
    for bound in [&elsewhere, &certified] {
        let answer = place.until_answered(bound, 401).await;
        assert!(
            answer.text().contains("bound to other networks"),
            "{}",
            answer.text()
        );
    }
    // A header of the caller's is no address.
    let forged = [
        ("authorization", &*format!("Bearer {elsewhere}")),
        ("x-forwarded-for", "10.0.0.1"),
    ];
    assert_eq!(place.ask_with(&forged).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_token_closes_a_gateway_that_has_no_keys() {
    let mut place = Place::with("").await;
    assert_eq!(place.ask_with(&[]).await.status, 200, "open mode");
    let (_, token) = place.create(&[]).await;
    until_refused(&place).await;
    assert_eq!(place.ask(&token).await.status, 200);
    // And so does the next start.
    let yaml = std::fs::read_to_string(&place.binary.config).unwrap();
    let dir = place.binary.config.parent().unwrap().to_owned();
    let log = place.binary.stop_in_place().await;
    assert!(log.contains("open mode"));
    let left = tempfile::tempdir().unwrap();
    crate::pools::copy_files(&dir, left.path());
    let house = crate::harness::House::serve_in(left, &yaml).await;
    assert!(!house.gateway.runtime.snapshot().open);
}

async fn until_refused(place: &Place) {
    let refused = async {
        while place.ask_with(&[]).await.status != 401 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, refused)
        .await
        .expect("it closes");
}

#[tokio::test]
async fn a_network_is_served_only_with_keys_or_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("turnpike.yaml");
    let yaml = format!(
        "server: {{host: 0.0.0.0, port: 0, public_url: \"https://llm.example.com\"}}\nadmin: {{port: 0}}\n{CHEAP}"
    );
    std::fs::write(&config, yaml).unwrap();
    let validate = async || {
        let done = Command::new(env!("CARGO_BIN_EXE_turnpike"))
            .env_clear()
            .args(["--validate-only", "--config"])
            .arg(&config)
            .output();
        done.await.unwrap()
    };
    let done = validate().await;
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(!done.status.success());
    assert!(
        said.contains("open mode is only allowed on a loopback address"),
        "{said}"
    );
    assert!(said.contains("turnpike token create"), "{said}");
    // The first token may be made before the first start.
    let made = run(&config, &["create", "--name", "first"]).await;
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let done = validate().await;
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_listed_with_their_last_use() {
    let mut place = Place::new().await;
    let none = place.token(&["list"]).await;
    assert_eq!(none["tokens"], Value::Array(Vec::new()));
    let (id, token) = place.create(&[]).await;
    let bearer = format!("Bearer {token}");
    let user = [("authorization", &*bearer), ("user-agent", "agent/7")];
    let known = async { while place.ask_with(&user).await.status != 200 {} };
    let known = tokio::time::timeout(PATIENCE, known).await;
    known.expect("the gateway follows");
    let config = place.binary.config.clone();
    // Stopping writes down what is not written yet.
    let dir = config.parent().unwrap().to_owned();
    place.binary.stop_in_place().await;
    let listed = run(&dir.join("turnpike.yaml"), &["list"]).await;
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let one = &listed["tokens"][0];
    assert_eq!(
        (one["id"].as_str(), one["name"].as_str()),
        (Some(&*id), Some("laptop"))
    );
    assert_eq!(one["last_used_ip"], "127.0.0.1");
    assert_eq!(one["last_used_user_agent"], "agent/7");
    assert!(one["last_used_at"].is_string());
    assert!(one.get("hash").is_none() && one.get("token").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_made_for_a_tenant_that_there_is() {
    let rest =
        "api_keys: [{key: the-key-of-the-tests, name: tests}]\ntenants: {acme: {}, umbra: {}}";
    let place = Place::with(rest).await;
    let (id, token) = place.create(&["--tenant", "acme"]).await;
    place.until_answered(&token, 200).await;
    let shown = place.token(&["show", &id]).await;
    assert_eq!(shown["tenant"], "acme");
    // It stays so in the one that takes its place.
    let rotated = place.token(&["rotate", &id]).await;
    assert_eq!(rotated["tenant"], "acme");
    let (id, _) = place.create(&[]).await;
    let listed = place.token(&["list"]).await;
    let listed = listed["tokens"].as_array().unwrap();
    let nobodys = listed.iter().find(|one| one["id"] == *id).unwrap();
    assert_eq!(nobodys["tenant"], Value::Null);
    let arguments = ["create", "--name", "laptop", "--tenant", "acne"];
    let refused = run(&place.binary.config, &arguments).await;
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success());
    assert!(said.contains("no tenant `acne` is configured"), "{said}");
}
