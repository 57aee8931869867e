//! Limits: what is admitted, what is counted, and what callers are told.

mod caps;
mod exact;
mod models;
mod told;

use std::time::Duration;

use serde_json::Value;
use turnpike::clock::Time;
use turnpike_loadtest::{FakeProvider, Options};

use crate::calls::{client, get_with, post_with};
use crate::harness::{Answer, Client, House, Http, chat};

/// A key of the management API.
const MANAGER: &str = "key-of-the-manager";

/// 2027-01-15 08:00:10 UTC: ten seconds into a minute.
const NOW: u64 = 1_800_000_010_000;

/// What a call of [`Place::chat`] is answered with, in tokens.
const ANSWERED: u64 = 8;

/// A gateway before one provider of each dialect, by a clock that stands still.
struct Place {
    provider: FakeProvider,
    house: House,
    time: Time,
}

impl Place {
    /// `limits` is whatever the configuration has beside keys and providers. There are the keys
    /// `key-of-ada-0000000` and `key-of-bob-0000000`.
    async fn with(limits: &str) -> Self {
        Self::before(FakeProvider::start(options()).await, limits).await
    }

    async fn before(provider: FakeProvider, limits: &str) -> Self {
        let time = Time::simulated(NOW);
        let yaml = configuration(&provider, limits);
        let dir = tempfile::tempdir().unwrap();
        let house = House::serve_by(time.clone(), dir, &yaml).await;
        Self {
            provider,
            house,
            time,
        }
    }

    fn reload(&self, limits: &str) {
        let yaml = configuration(&self.provider, limits);
        std::fs::write(&self.house.config, yaml).unwrap();
        self.house.gateway.reloader.reload().unwrap();
    }

    /// The same files, another process.
    async fn restarted(self) -> Self {
        let Self {
            provider,
            house,
            time,
        } = self;
        let (dir, yaml) = house.left().await;
        let house = House::serve_by(time.clone(), dir, &yaml).await;
        Self {
            provider,
            house,
            time,
        }
    }

    async fn post(&self, who: &str, path: &str, body: &str) -> Answer {
        let mut client = client(&self.house, Http::One).await;
        let bearer = format!("Bearer key-of-{who}-0000000");
        let headers = [("authorization", &*bearer)];
        post_with(&mut client, path, &headers, body.to_owned()).await
    }

    async fn chat(&self, who: &str, model: &str) -> Answer {
        self.post(who, "/v1/chat/completions", &chat(model)).await
    }

    /// How many of so many calls are admitted, one after the other.
    async fn admitted(&self, who: &str, calls: usize) -> usize {
        let mut admitted = 0;
        for _ in 0..calls {
            let answer = self.chat(who, "gpt-4o").await;
            assert!(
                [200, 403, 429].contains(&answer.status),
                "{}",
                answer.text()
            );
            admitted += usize::from(answer.status == 200);
        }
        admitted
    }

    async fn manage(&self, path: &str) -> Answer {
        let admin = self.house.gateway.admin;
        let stream = tokio::net::TcpStream::connect(admin).await.unwrap();
        let mut client = Client::on(stream, Http::One).await;
        let headers = [("x-management-key", MANAGER)];
        get_with(&mut client, &format!("/v0/management{path}"), &headers).await
    }

    /// What the management API says of a limit's subject.
    async fn used(&self, limit: &str, subject: &str) -> Value {
        let limits = self.manage("/limits").await.json();
        let limits = limits["limits"].as_array().unwrap();
        let limit = limits.iter().find(|one| one["name"] == limit).unwrap();
        let subjects = limit["subjects"].as_array().unwrap();
        let found = subjects.iter().find(|one| one["subject"] == subject);
        found.unwrap_or_else(|| panic!("{limit}"))["used"].clone()
    }

    fn advance(&self, seconds: u64) {
        self.time.advance(Duration::from_secs(seconds));
    }
}

fn options() -> Options {
    Options {
        events: ANSWERED as usize,
        ..Options::default()
    }
}

fn configuration(provider: &FakeProvider, limits: &str) -> String {
    let url = provider.base_url();
    let keys = match limits.contains("api_keys:") {
        true => String::new(),
        false => "api_keys:\n  - {key: key-of-ada-0000000, name: ada}\n  - {key: key-of-bob-0000000, name: bob}\n".to_owned(),
    };
    let server = format!(
        "server: {{port: 0}}\nadmin: {{port: 0, keys: [{{name: m, key: {MANAGER}}}]}}\n{keys}{limits}\
         max_retry_interval: 0\n"
    );
    if limits.contains("providers:") {
        return server;
    }
    format!(
        "{server}providers:\n\
         \x20 openai: {{base_url: \"{url}/v1\", credentials: [{{api_key: sk-openai-1}}]}}\n\
         \x20 claude: {{base_url: \"{url}\", credentials: [{{api_key: sk-claude-1}}]}}\n\
         \x20 gemini: {{base_url: \"{url}\", credentials: [{{api_key: AIza-gemini-1}}]}}\n"
    )
}
