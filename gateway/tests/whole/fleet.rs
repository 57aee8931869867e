//! Several gateways with one Redis behave as one.

mod away;
mod caps;
mod commands;
mod cooldowns;
mod divided;
mod frozen;
mod limits;
mod partition;
mod quotas;
mod replicas;
pub(crate) mod server;
mod sessions;
mod skew;
mod tokens;
mod upgrade;
mod usage;

use turnpike::clock::Time;
use turnpike_api::Clock;
use turnpike_identity::agent_tokens::{Costs, Issued, NewToken, issue};
use turnpike_loadtest::{FakeProvider, Options};

use crate::binary::Binary;
use crate::calls::post_with;
use crate::canary;
use crate::harness::{Answer, Client, House, Http, KEY, PATIENCE};
use crate::pools::{OPENAI, START, is_look};
use server::Server;

/// What a replica seals with: the same on all.
pub(crate) const SEALED_WITH: &str = "secret-of-the-fleet-0123456789ab";

/// The provider's key.
const UPSTREAM: &str = "sk-openai-1";

/// What is proven here does not depend on what a hash costs.
const CHEAP: Costs = Costs {
    memory_kib: 8,
    iterations: 1,
    parallelism: 1,
};

/// Replicas by one clock, their Redis, and the provider behind them.
struct Fleet {
    time: Time,
    redis: Server,
    provider: FakeProvider,
    houses: Vec<House>,
}

impl Fleet {
    /// A Redis is waited for as long as it takes: what a test is not about must not fail for want
    /// of speed.
    async fn of(replicas: usize, rest: &str) -> Self {
        let patient = "deadline: 10s, connect_timeout: 20s";
        Self::with(replicas, Server::running(), patient, rest).await
    }

    /// As it is in operation.
    async fn hasty(replicas: usize, redis: Server, rest: &str) -> Self {
        Self::with(replicas, redis, "deadline: 50ms", rest).await
    }

    async fn with(replicas: usize, redis: Server, how: &str, rest: &str) -> Self {
        let provider = FakeProvider::start(Options::default()).await;
        let time = Time::simulated(START);
        let yaml = yaml(&redis, &provider, how, rest);
        let mut houses = Vec::new();
        for _ in 0..replicas {
            let dir = tempfile::tempdir().unwrap();
            houses.push(House::serve_by(time.clone(), dir, &yaml).await);
        }
        Self {
            time,
            redis,
            provider,
            houses,
        }
    }

    /// One more replica.
    async fn another(&self, rest: &str) -> House {
        self.another_by(self.time.clone(), rest).await
    }

    /// One more, which has a clock of its own.
    async fn another_by(&self, time: Time, rest: &str) -> House {
        let patient = "deadline: 10s, connect_timeout: 20s";
        let yaml = yaml(&self.redis, &self.provider, patient, rest);
        let dir = tempfile::tempdir().unwrap();
        House::serve_by(time, dir, &yaml).await
    }

    /// An agent token, made on this replica.
    async fn token(&self, at: usize) -> Issued {
        let new = NewToken {
            name: "laptop".into(),
            ..NewToken::default()
        };
        let runtime = &self.houses[at].gateway.runtime;
        let (store, now) = (&*runtime.store, runtime.board.time.now());
        let made = async {
            loop {
                // A machine may be too slow for what is normal.
                match issue(store, new.clone(), CHEAP, now).await {
                    Ok(issued) => return issued,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        };
        tokio::time::timeout(PATIENCE, made)
            .await
            .expect("it is made")
    }

    /// Asks a replica for a chat.
    async fn ask(&self, at: usize, credential: &str) -> Answer {
        let mut client = Client::connect(&self.houses[at], Http::One).await;
        let bearer = format!("Bearer {credential}");
        let headers = [("authorization", &*bearer)];
        post_with(&mut client, OPENAI.path, &headers, OPENAI.body).await
    }

    /// The same, with the client key of the configuration.
    async fn chat(&self, at: usize) -> Answer {
        self.ask(at, KEY).await
    }

    /// Waits until a replica has heard of what makes it answer so.
    async fn until_answered(&self, at: usize, credential: &str, status: u16) -> Answer {
        let asked = async {
            loop {
                let answer = self.ask(at, credential).await;
                if answer.status == status {
                    return answer;
                }
                tokio::task::yield_now().await;
            }
        };
        let answered = tokio::time::timeout(PATIENCE, asked).await;
        answered.unwrap_or_else(|_| panic!("replica {at} never answers {status}"))
    }

    /// What `/ready` says is not as it should be.
    async fn degraded(&self, at: usize) -> Option<String> {
        let admin = tokio::net::TcpStream::connect(self.houses[at].gateway.admin).await;
        let mut client = Client::on(admin.unwrap(), Http::One).await;
        let answer = crate::calls::get_with(&mut client, "/ready", &[]).await;
        assert_eq!(answer.status, 200, "it is still one to send traffic to");
        let degraded = answer.json()["degraded"].clone();
        degraded.as_str().map(str::to_owned)
    }

    async fn until_degraded(&self, at: usize, is_so: impl Fn(Option<&str>) -> bool) {
        let asked = async {
            loop {
                let degraded = self.degraded(at).await;
                if is_so(degraded.as_deref()) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        let told = tokio::time::timeout(PATIENCE, asked).await;
        if told.is_err() {
            panic!("replica {at} says {:?}", self.degraded(at).await);
        }
    }

    /// The calls that the provider may bill.
    fn billed(&self) -> usize {
        let calls = self.provider.calls();
        calls.iter().filter(|call| !is_look(call)).count()
    }

    /// The calls that only look.
    fn looks(&self) -> usize {
        let calls = self.provider.calls();
        calls.iter().filter(|call| is_look(call)).count()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            canary::left("the Redis", &self.redis.written());
        }
    }
}

/// A replica's configuration; `how` is what more is said of its Redis.
fn yaml(redis: &Server, provider: &FakeProvider, how: &str, rest: &str) -> String {
    yaml_at(&redis.url(), provider, how, rest)
}

fn yaml_at(url: &str, provider: &FakeProvider, how: &str, rest: &str) -> String {
    let default = |key: &str, value: &str| match rest.contains(key) {
        true => String::new(),
        false => format!("{key}: {value}\n"),
    };
    let one = format!("{{api_key: {UPSTREAM}, label: main}}");
    format!(
        "server: {{port: 0, secret_key: {SEALED_WITH}}}\n{}\
         {}{}api_keys: [{{key: {KEY}, name: tests}}]\n{}\n{}",
        default("admin", "{port: 0}"),
        default("state", &state_at(url, how, "")),
        default("max_retry_interval", "0"),
        rest.replace("PROVIDER", &provider.base_url()),
        match rest.contains("providers:") {
            true => String::new(),
            false => openai(&one).replace("PROVIDER", &provider.base_url()),
        },
    )
}

/// OpenAI with these credentials, in one line.
fn openai(credentials: &str) -> String {
    format!("providers: {{openai: {{base_url: \"PROVIDER/v1\", credentials: [{credentials}]}}}}\n")
}

/// The section `state`; `more` is what else is said there.
fn state(redis: &Server, how: &str, more: &str) -> String {
    state_at(&redis.url(), how, more)
}

fn state_at(url: &str, how: &str, more: &str) -> String {
    format!("{{backend: redis, redis: {{url: \"{url}\", {how}}}{more}}}")
}

/// A replica of the real binary beside those of a fleet.
async fn binary_of(fleet: &Fleet, rest: &str) -> Binary {
    let yaml = yaml(
        &fleet.redis,
        &fleet.provider,
        "deadline: 10s, connect_timeout: 20s",
        rest,
    );
    Binary::start(&yaml, &["--log-level", "trace"]).await
}

/// A replica of the real binary.
async fn binary(redis: &Server, provider: &FakeProvider, how: &str) -> Binary {
    Binary::start(&yaml(redis, provider, how, ""), &["--log-level", "trace"]).await
}
