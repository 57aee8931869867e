//! Two releases on one Redis: replicas of the one before and of this one under load, through a rolling
//! upgrade and the way back. `make test-upgrade` builds the one before.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use serde_json::Value;
use tokio::process::Command;
use tokio::sync::RwLock;
use turnpike_loadtest::{Behaviour, FakeProvider, Options};

use super::server::Server;
use super::{openai, yaml};
use crate::binary::{Binary, THIS};
use crate::calls::post_with;
use crate::harness::{Answer, Http, KEY, PATIENCE, until};
use crate::pools::{OPENAI, seconds};

/// The requests that the fleet admits in all.
const LIMIT: usize = 6_000;

const CALLERS: usize = 4;

/// A pace that leaves something of the limit for the end: the slower, the less there is.
fn pause(admitted: usize) -> Duration {
    let left = LIMIT.saturating_sub(admitted).max(LIMIT / 50);
    Duration::from_millis(20 * LIMIT as u64 / left as u64)
}

/// Replicas of two releases, and what their callers have seen.
struct Mixed {
    yaml: String,
    redis: Server,
    provider: FakeProvider,
    replicas: RwLock<Vec<Arc<Binary>>>,
    admitted: AtomicUsize,
    refused: AtomicUsize,
    ends: AtomicBool,
}

impl Mixed {
    async fn new() -> Self {
        let redis = Server::running();
        let provider = FakeProvider::start(Options::default()).await;
        let limit = format!(
            "limits: [{{name: shared, scope: tenant, measure: requests, window: total, limit: {LIMIT}, on_unavailable: deny}}]\n"
        );
        let keys = [1, 2, 3].map(|n| {
            format!(
                "{{api_key: {}, label: \"{n}\", quota: {{limit: 100000000}}}}",
                key(n)
            )
        });
        let rest = format!("{limit}{}", openai(&keys.join(", ")));
        Self {
            yaml: yaml(
                &redis,
                &provider,
                "deadline: 10s, connect_timeout: 20s",
                &rest,
            ),
            redis,
            provider,
            replicas: RwLock::default(),
            admitted: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            ends: AtomicBool::new(false),
        }
    }

    async fn start(&self, release: &Path) {
        let replica = Binary::start_other(release, &self.yaml).await;
        self.replicas.write().await.push(Arc::new(replica));
    }

    /// As behind a load balancer: nobody is sent there any more, then it ends.
    async fn stop_first(&self) {
        let mut replica = self.replicas.write().await.remove(0);
        let stopped = async {
            loop {
                match Arc::try_unwrap(replica) {
                    Ok(last) => return last.stop().await,
                    Err(used) => replica = used,
                }
                tokio::task::yield_now().await;
            }
        };
        let log = tokio::time::timeout(PATIENCE, stopped)
            .await
            .expect("it ends");
        assert!(!log.contains("panicked"), "{log}");
    }

    async fn ask(&self, at: usize, credential: &str, turn: usize) -> Answer {
        let replica = {
            let replicas = self.replicas.read().await;
            replicas[at % replicas.len()].clone()
        };
        let mut client = replica.client(Http::One).await;
        let bearer = format!("Bearer {credential}");
        let headers = [("authorization", &*bearer)];
        let (path, body) = match turn % 2 {
            0 => (OPENAI.path, OPENAI.body),
            _ => (OPENAI.stream.path, OPENAI.stream.body),
        };
        let answer = post_with(&mut client, path, &headers, body).await;
        if answer.status == 200 {
            self.admitted.fetch_add(1, Ordering::SeqCst);
        }
        answer
    }

    /// Calls on, each time another replica. Nothing is refused before the limit is reached.
    async fn call_on(&self, credential: &str) {
        let mut turn = fastrand::usize(..1_000);
        while !self.ends.load(Ordering::SeqCst) {
            let answer = self.ask(turn, credential, turn / 3).await;
            if answer.status != 200 {
                let admitted = self.admitted.load(Ordering::SeqCst);
                panic!("{} after {admitted}: {}", answer.status, answer.text());
            }
            turn += 1;
            tokio::time::sleep(pause(self.admitted.load(Ordering::SeqCst))).await;
        }
    }

    async fn until_answered(&self, credential: &str, status: u16) {
        let replicas = self.replicas.read().await.len();
        for at in 0..replicas {
            let answered = async { while self.ask(at, credential, 0).await.status != status {} };
            let answered = tokio::time::timeout(PATIENCE, answered).await;
            answered.unwrap_or_else(|_| panic!("replica {at} never answers {status}"));
        }
    }

    /// Which a command of this release makes.
    async fn token(&self, release: &Path) -> (String, String) {
        let made = self
            .command(release, &["token", "create", "--name", "laptop", "--json"])
            .await;
        let made: Value = serde_json::from_str(&made).unwrap();
        let text = |field: &str| made[field].as_str().unwrap().to_owned();
        (text("id"), text("token"))
    }

    async fn command(&self, release: &Path, arguments: &[&str]) -> String {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("turnpike.yaml");
        std::fs::write(&config, &self.yaml).unwrap();
        let run = Command::new(release)
            .env_clear()
            .args(arguments)
            .arg("--config")
            .arg(config)
            .kill_on_drop(true)
            .output();
        let done = tokio::time::timeout(PATIENCE, run).await.unwrap().unwrap();
        let told = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "{arguments:?}: {told}");
        String::from_utf8(done.stdout).unwrap()
    }

    /// A token that `one` makes is good on all; revoked by `other`, it is on none.
    async fn tokens_are_all_replicas(&self, one: &Path, other: &Path) {
        let (id, token) = self.token(one).await;
        self.until_answered(&token, 200).await;
        self.command(other, &["token", "revoke", &id]).await;
        self.until_answered(&token, 401).await;
    }

    /// What a replica of either release learns of a credential, all know.
    async fn cooldowns_are_all_replicas(&self, n: usize) {
        // To the end, for one answer of it to a replica that has yet to hear says that it is over.
        self.provider
            .always(&key(n), Behaviour::rate_limited(seconds(600)));
        let asked = || self.provider.calls_with(&key(n)).len();
        let before = asked();
        until(|| asked() > before).await;
        // First come the calls that were under way, and those before the news of it.
        let left_alone = async {
            loop {
                let known = asked();
                self.calls(60).await;
                if asked() == known {
                    break;
                }
            }
        };
        let left_alone = tokio::time::timeout(PATIENCE, left_alone).await;
        left_alone.expect("it is left alone by all");
    }

    /// Waits for so many calls more.
    async fn calls(&self, more: usize) {
        let until_then = self.admitted.load(Ordering::SeqCst) + more;
        until(|| self.admitted.load(Ordering::SeqCst) >= until_then).await;
    }

    /// All that is left of the limit is admitted, and nothing beyond.
    async fn spend_the_rest(&self) {
        let caller = async |at: usize| {
            let mut refused = 0;
            while refused < 20 {
                let answer = self.ask(at, KEY, 0).await;
                match answer.status {
                    200 => continue,
                    403 => refused += 1,
                    // Of a call that runs, something may be left.
                    429 => {}
                    _ => panic!("{}", answer.text()),
                }
                // What another replica holds goes back by and by.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            self.refused.fetch_add(refused, Ordering::SeqCst);
        };
        let spent = tokio::time::timeout(6 * PATIENCE, join_all((0..CALLERS).map(caller))).await;
        spent.expect("there is an end to it");
    }
}

fn key(n: usize) -> String {
    format!("sk-openai-{n}")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the release before this one: make test-upgrade"]
async fn replicas_of_two_releases_are_one_fleet() {
    let before = std::env::var_os("TURNPIKE_BEFORE").expect("make test-upgrade names the binary");
    let (before, this) = (PathBuf::from(before), PathBuf::from(THIS));
    let fleet = Mixed::new().await;
    fleet.start(&before).await;
    fleet.start(&before).await;
    let (_, token) = fleet.token(&before).await;
    fleet.until_answered(&token, 200).await;
    let callers = (0..CALLERS).map(|n| fleet.call_on(if n % 2 == 0 { KEY } else { &token }));
    let upgrading = async {
        // One after the other to this release, and back.
        for (n, release, other) in [(1, &this, &before), (2, &before, &this)] {
            fleet.start(release).await;
            fleet.calls(50).await;
            fleet.tokens_are_all_replicas(release, other).await;
            fleet.cooldowns_are_all_replicas(n).await;
            fleet.stop_first().await;
            fleet.tokens_are_all_replicas(other, release).await;
            fleet.start(release).await;
            fleet.stop_first().await;
            fleet.calls(50).await;
        }
        // And once more, to end with one of each.
        fleet.start(&this).await;
        fleet.stop_first().await;
        fleet.ends.store(true, Ordering::SeqCst);
    };
    futures::join!(join_all(callers), upgrading);
    fleet.spend_the_rest().await;
    let admitted = fleet.admitted.load(Ordering::SeqCst);
    assert_eq!(admitted, LIMIT, "neither more nor less");
    assert!(fleet.refused.load(Ordering::SeqCst) > 0);
    while !fleet.replicas.read().await.is_empty() {
        fleet.stop_first().await;
    }
    drop(fleet.redis);
}
