//! A gateway with pools of keys before a programmed provider, by a clock that the test moves on.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use turnpike::clock::Time;
use turnpike::upstream::Credential;
use turnpike::upstream::credential::Source;
use turnpike::upstream::standing::Cooldowns;
use turnpike_api::{Clock, Fault, Spent};
use turnpike_credentials::Cooldown;
use turnpike_loadtest::{Behaviour, FakeProvider, Options, Recorded, Totals};

use crate::calls::{CHAT, GEMINI, MESSAGES, StreamCall};
use crate::harness::{Answer, Client, House, Http, KEY, until};

/// When the tests' clocks begin: 2026-03-01T00:00:00Z.
pub(crate) const START: u64 = 1_772_323_200_000;

/// One dialect: a provider of it in the gateway, and how its main call is made.
pub(crate) struct Speech {
    pub(crate) provider: &'static str,
    /// Before the number of a key.
    pub(crate) prefix: &'static str,
    pub(crate) model: &'static str,
    pub(crate) path: &'static str,
    pub(crate) body: &'static str,
    pub(crate) stream: StreamCall,
}

pub(crate) const OPENAI: Speech = Speech {
    provider: "openai",
    prefix: "sk-openai",
    model: "gpt-4o",
    path: "/v1/chat/completions",
    body: r#"{"model":"gpt-4o","messages":[{"role":"user","content":"hello"}]}"#,
    stream: CHAT,
};

pub(crate) const CLAUDE: Speech = Speech {
    provider: "claude",
    prefix: "sk-claude",
    model: "claude-sonnet-4-5",
    path: "/v1/messages",
    body: r#"{"model":"claude-sonnet-4-5","max_tokens":9,"messages":[{"role":"user","content":"hello"}]}"#,
    stream: MESSAGES,
};

pub(crate) const GOOGLE: Speech = Speech {
    provider: "gemini",
    prefix: "AIza-gemini",
    model: "gemini-2.5-pro",
    path: "/v1beta/models/gemini-2.5-pro:generateContent",
    body: r#"{"contents":[{"parts":[{"text":"hello"}]}]}"#,
    stream: GEMINI,
};

pub(crate) const SPEECHES: [&Speech; 3] = [&OPENAI, &CLAUDE, &GOOGLE];

impl Speech {
    /// Its `n`th key, from 1 on.
    pub(crate) fn key(&self, n: usize) -> String {
        format!("{}-{n}", self.prefix)
    }
}

/// Pools of the same number of keys for every dialect.
pub(crate) struct Pools {
    pub(crate) time: Time,
    pub(crate) provider: FakeProvider,
    pub(crate) house: House,
}

impl Pools {
    /// `keys` keys a dialect; `rest` is what else the configuration says. Nobody waits unless it
    /// says so.
    pub(crate) async fn of(keys: usize, rest: &str) -> Self {
        let provider = FakeProvider::start(Options::default()).await;
        let yaml = yaml(&provider.base_url(), keys, rest);
        Self::before(provider, &yaml).await
    }

    pub(crate) async fn before(provider: FakeProvider, yaml: &str) -> Self {
        Self::from(START, provider, yaml).await
    }

    /// By a clock that begins at `now`.
    pub(crate) async fn from(now: u64, provider: FakeProvider, yaml: &str) -> Self {
        let time = Time::simulated(now);
        let house = House::serve_by(time.clone(), tempfile::tempdir().unwrap(), yaml).await;
        Self {
            time,
            provider,
            house,
        }
    }

    /// Stops the gateway and starts another one with the same files.
    pub(crate) async fn restarted(self) -> Self {
        let Self {
            time,
            provider,
            house,
        } = self;
        let (dir, yaml) = house.left().await;
        let house = House::serve_by(time.clone(), dir, &yaml).await;
        Self {
            time,
            provider,
            house,
        }
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.time.advance(by);
    }

    pub(crate) fn now(&self) -> u64 {
        self.time.now()
    }

    /// Makes the dialect's call, on a connection of its own, and reads the whole answer.
    pub(crate) async fn ask(&self, speech: &Speech) -> Answer {
        self.post(speech.path, speech.body).await
    }

    pub(crate) async fn stream(&self, speech: &Speech) -> Answer {
        self.post(speech.stream.path, speech.stream.body).await
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<bytes::Bytes>) -> Answer {
        let mut client = Client::connect(&self.house, Http::One).await;
        client.post(path, body).await
    }

    /// `count` calls at once, every second one a stream.
    pub(crate) async fn burst(&self, speech: &Speech, count: usize) -> Vec<Answer> {
        let one = async |n: usize| match n % 2 {
            0 => self.ask(speech).await,
            _ => self.stream(speech).await,
        };
        join_all((0..count).map(one)).await
    }

    /// What every one of these keys gets from now on.
    pub(crate) fn always(&self, speech: &Speech, keys: &[usize], behaviour: &Behaviour) {
        for n in keys {
            self.provider.always(&speech.key(*n), behaviour.clone());
        }
    }

    /// The calls with a key that the provider may bill.
    pub(crate) fn billed(&self, key: &str) -> usize {
        let calls = self.provider.calls_with(key);
        calls.iter().filter(|call| !is_look(call)).count()
    }

    /// The looks at a key: the gateway's own calls, which cost nothing.
    pub(crate) fn looks(&self, key: &str) -> usize {
        let calls = self.provider.calls_with(key);
        calls.iter().filter(|call| is_look(call)).count()
    }

    /// The credential that a key is.
    pub(crate) fn credential(&self, key: &str) -> Arc<Credential> {
        let snapshot = self.house.gateway.runtime.snapshot();
        let is_it = |credential: &&Arc<Credential>| match &credential.source {
            Source::Fixed(access) => access.secret.expose() == key,
            Source::Minted(_) => false,
        };
        let found = snapshot.usable().find(is_it).cloned();
        found.unwrap_or_else(|| panic!("no credential {key}"))
    }

    /// All cooldowns of a key.
    pub(crate) fn cooldowns(&self, key: &str) -> Vec<(Option<String>, Cooldown)> {
        let cooldowns = self.credential(key).standing.cooldowns();
        let whole = cooldowns.whole.map(|cooldown| (None, cooldown));
        let models = cooldowns.models.into_iter();
        whole
            .into_iter()
            .chain(models.map(|(name, cooldown)| (Some(name.into()), cooldown)))
            .collect()
    }

    /// The one cooldown that a key has.
    pub(crate) fn cooldown(&self, key: &str) -> Cooldown {
        match self.cooldowns(key).as_slice() {
            [(_, cooldown)] => *cooldown,
            others => panic!("{key} has these cooldowns: {others:?}"),
        }
    }

    pub(crate) fn is_well(&self, key: &str) -> bool {
        self.cooldowns(key).is_empty()
    }

    /// How long a key's cooldown lasts from now, in milliseconds, and what began it.
    pub(crate) fn cools_for(&self, key: &str) -> (Fault, u64) {
        let cooldown = self.cooldown(key);
        (cooldown.fault, cooldown.until - self.now())
    }

    /// Forgets what is wrong with a key.
    pub(crate) fn reset(&self, key: &str) {
        self.credential(key).standing.restore(Cooldowns::default());
        self.house.gateway.runtime.board.changed();
    }

    /// What is recorded for a key of the period that runs.
    pub(crate) async fn spent(&self, key: &str) -> Spent {
        let credential = self.credential(key);
        let period = credential.quota.schedule.period(self.now()).start_ms;
        let store = &self.house.gateway.runtime.store;
        store.spent(&credential.id, period).await.unwrap()
    }

    /// Waits until so many requests wait for a credential.
    pub(crate) async fn waiting(&self, requests: usize) {
        let board = &self.house.gateway.runtime.board;
        until(|| board.watchers() == requests).await;
    }
}

/// The gateway of `keys` keys a dialect.
pub(crate) fn yaml(base_url: &str, keys: usize, rest: &str) -> String {
    let list = |speech: &Speech| {
        let keys: Vec<String> = (1..=keys)
            .map(|n| format!("{{api_key: {}}}", speech.key(n)))
            .collect();
        keys.join(", ")
    };
    let mut yaml = server(rest);
    yaml.push_str("providers:\n");
    for speech in SPEECHES {
        let version = if speech.provider == "openai" {
            "/v1"
        } else {
            ""
        };
        yaml.push_str(&format!(
            "  {}: {{base_url: \"{base_url}{version}\", credentials: [{}]}}\n",
            speech.provider,
            list(speech),
        ));
    }
    yaml
}

/// Everything but the providers. Nobody waits, and everything may be tried, unless `rest` says
/// otherwise.
pub(crate) fn server(rest: &str) -> String {
    let default = |key: &str, value: &str| match rest.contains(key) {
        true => String::new(),
        false => format!("{key}: {value}\n"),
    };
    format!(
        "server: {{port: 0}}\n\
         admin: {{port: 0}}\n\
         {}{}{}{rest}\n",
        default("api_keys", &format!("[{{key: {KEY}, name: tests}}]")),
        default("max_retry_interval", "0"),
        default("max_retry_credentials", "10"),
    )
}

/// The files of one directory that no process has open any more, but for what only the one that made
/// them may have.
pub(crate) fn copy_files(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            std::fs::create_dir(to.join(name)).unwrap();
            copy_files(&path, &to.join(name));
        } else if !name.ends_with("-shm") && !name.ends_with("lock") {
            std::fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

/// Whether a call is one that the gateway makes to look at a key.
pub(crate) fn is_look(call: &Recorded) -> bool {
    call.method == http::Method::GET
}

/// Input and output.
pub(crate) fn tokens(totals: Totals) -> u64 {
    totals.input_tokens + totals.output_tokens
}

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A stream or a document that is whole.
pub(crate) fn assert_whole(speech: &Speech, answer: &Answer) {
    assert_eq!(answer.status, 200, "{}: {}", speech.provider, answer.text());
    let is_stream = answer
        .header("content-type")
        .is_some_and(|kind| kind.starts_with("text/event-stream"));
    match is_stream {
        true => assert!(answer.text().contains(speech.stream.terminal)),
        false => assert!(answer.json().is_object()),
    }
}
