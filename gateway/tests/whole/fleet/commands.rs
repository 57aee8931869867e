//! Commands beside replicas, and what a replica says of its Redis.

use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;
use tokio::process::Command;
use turnpike_loadtest::{FakeProvider, Options};

use super::server::Server;
use super::{binary, yaml};
use crate::calls::post_with;
use crate::canary;
use crate::harness::{Http, PATIENCE};
use crate::pools::OPENAI;

async fn run(config: &Path, arguments: &[&str]) -> Output {
    let running = Command::new(env!("CARGO_BIN_EXE_turnpike"))
        .env_clear()
        .args(arguments)
        .arg("--config")
        .arg(config)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    tokio::time::timeout(PATIENCE, running)
        .await
        .expect("it ends")
        .unwrap()
}

async fn said(config: &Path, arguments: &[&str]) -> String {
    let done = run(config, arguments).await;
    let told = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{arguments:?}: {told}");
    String::from_utf8(done.stdout).unwrap()
}

/// A configuration beside which no gateway runs.
struct Desk {
    _directory: tempfile::TempDir,
    config: std::path::PathBuf,
}

impl Desk {
    fn new(yaml: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("turnpike.yaml");
        std::fs::write(&config, yaml).unwrap();
        Self {
            _directory: directory,
            config,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_made_beside_one_replica_works_on_another() {
    let redis = Server::running();
    redis.ask(&["CONFIG", "SET", "requirepass", "word-CANARY-of-the-redis"]);
    let provider = FakeProvider::start(Options::default()).await;
    let how = "deadline: 10s, connect_timeout: 20s, password: word-CANARY-of-the-redis";
    let gateway = binary(&redis, &provider, how).await;
    // Another machine, where no gateway ever ran.
    let desk = Desk::new(&yaml(&redis, &provider, how, ""));
    let made = said(
        &desk.config,
        &["token", "create", "--name", "laptop", "--json"],
    )
    .await;
    let made: Value = serde_json::from_str(&made).unwrap();
    let (id, token) = (
        made["id"].as_str().unwrap(),
        made["token"].as_str().unwrap(),
    );
    let bearer = format!("Bearer {token}");
    let answered = async |status: u16| {
        let asking = async {
            loop {
                let mut client = gateway.client(Http::One).await;
                let headers = [("authorization", &*bearer)];
                let answer = post_with(&mut client, OPENAI.path, &headers, OPENAI.body).await;
                if answer.status == status {
                    break;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, asking).await.unwrap();
    };
    answered(200).await;
    assert!(
        said(&desk.config, &["token", "list"])
            .await
            .contains("laptop")
    );
    said(&desk.config, &["credentials", "list"]).await;
    assert!(
        said(&desk.config, &["person", "list"])
            .await
            .contains("nobody")
    );
    said(&desk.config, &["token", "revoke", id]).await;
    answered(401).await;

    let log = gateway.log();
    canary::left("the log", log.as_bytes());
    assert!(
        log.contains(&format!("{} (keys tp1:…), counters in ", redis.url())),
        "{log}"
    );
    assert!(!log.contains("maxmemory-policy noeviction"), "{log}");
    canary::left("the Redis", &redis.written());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_may_lose_something_is_told() {
    let redis = Server::running();
    redis.ask(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    redis.ask(&["CONFIG", "SET", "appendonly", "no"]);
    let provider = FakeProvider::start(Options::default()).await;
    let how = "deadline: 10s, connect_timeout: 20s";
    let log = binary(&redis, &provider, how).await.log();
    for remedy in ["set `maxmemory-policy noeviction`", "set `appendonly yes`"] {
        assert!(log.contains(remedy), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_at_the_configuration_connects_to_nothing() {
    let redis = Server::absent();
    let provider = FakeProvider::start(Options::default()).await;
    let desk = Desk::new(&yaml(&redis, &provider, "deadline: 50ms", ""));
    let told = said(&desk.config, &["--validate-only"]).await;
    assert!(told.contains("is valid"), "{told}");
    let left: Vec<_> = std::fs::read_dir(desk.config.parent().unwrap())
        .unwrap()
        .collect();
    assert_eq!(left.len(), 1, "nothing is made for a look");

    let done = run(&desk.config, &["token", "list"]).await;
    assert!(!done.status.success());
    let told = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(told.contains("cannot be reached"), "{told}");
    assert!(told.contains("state.redis.url"), "{told}");
}
