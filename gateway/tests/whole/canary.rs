//! No secret gets out: beside every test of this binary, the gateway's log at its most verbose, its
//! metrics, its answers and the files of its store are searched for every secret there was.
//!
//! A leak ends the whole run at once, whatever the test that caused it wanted to know.

mod prompts;

use std::collections::{HashMap, VecDeque};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once, PoisonError, RwLock, Weak};

use http::HeaderMap;
use http_body_util::BodyExt;
use serde_yaml::Value;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use turnpike::boot::Gateway;
use turnpike::observe::logging;
use turnpike::runtime::Runtime;
use turnpike_config::plan::{LogFormat, LogLevel};
use turnpike_loadtest::{Behaviour, Options};

use crate::calls::{STREAMS, served};
use crate::harness::{Client, Http, KEY};

/// Whose a secret is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    /// Made for a caller, who is told it.
    Caller,
    /// Of the configuration, whosesoever it is: no answer has it.
    Gateway,
}

/// So many bytes of a secret are looked up; shorter ones are none.
const HEAD: usize = 8;

/// Of an answer this much is searched: the large ones are made up by the fake provider.
const ANSWER: usize = 64 * 1024;

/// Secrets by how they begin.
struct Secrets {
    by_head: HashMap<[u8; HEAD], Vec<(String, Owner)>>,
    /// Whether any begins with these two bytes: most places are passed over by that.
    beginnings: Box<[bool]>,
}

impl Default for Secrets {
    fn default() -> Self {
        Self {
            by_head: HashMap::new(),
            beginnings: vec![false; 1 << 16].into(),
        }
    }
}

static SECRETS: RwLock<Option<Secrets>> = RwLock::new(None);

impl Secrets {
    fn add(&mut self, secret: &str, owner: Owner) {
        let Some(head) = secret.as_bytes().first_chunk::<HEAD>() else {
            return;
        };
        self.beginnings[beginning(head)] = true;
        let known = self.by_head.entry(*head).or_default();
        match known.iter_mut().find(|(known, _)| known == secret) {
            // The same text may be a caller's in another test.
            Some((_, known)) => *known = owner.min(*known),
            None => known.push((secret.to_owned(), owner)),
        }
    }

    fn find(&self, bytes: &[u8], least: Owner) -> Option<&str> {
        bytes.windows(HEAD).enumerate().find_map(|(at, head)| {
            if !self.beginnings[beginning(head)] {
                return None;
            }
            let known = self.by_head.get(head)?;
            let stands = |(secret, owner): &&(String, Owner)| {
                *owner >= least && bytes[at..].starts_with(secret.as_bytes())
            };
            known.iter().find(stands).map(|(secret, _)| &**secret)
        })
    }
}

fn beginning(head: &[u8]) -> usize {
    usize::from(u16::from_le_bytes([head[0], head[1]]))
}

fn know(secret: &str, owner: Owner) {
    let mut secrets = SECRETS.write().unwrap_or_else(PoisonError::into_inner);
    secrets.get_or_insert_default().add(secret, owner);
}

/// Ends the run where a secret stands that must not stand there.
fn search(place: &str, bytes: &[u8], least: Owner) {
    let secrets = SECRETS.read().unwrap_or_else(PoisonError::into_inner);
    let known = secrets.as_ref();
    let found = known.and_then(|secrets| secrets.find(bytes, least));
    let words = [&b"CANARY"[..], b"canary"];
    let marked = words
        .iter()
        .find(|word| least == Owner::Caller && memchr::memmem::find(bytes, word).is_some());
    if let Some(found) = found.or(marked.map(|_| "CANARY")) {
        let thread = std::thread::current();
        let text = String::from_utf8_lossy(bytes);
        let text: String = text.chars().take(2000).collect();
        // Past what a test's output is captured by.
        let told = format!("\na secret got out: {found} in {place} ({thread:?}):\n{text}\n");
        let _ = io::stderr().write_all(told.as_bytes());
        std::process::abort();
    }
}

/// The log's latest lines: what is written of a request comes before its answer tells a secret.
static LATEST: Mutex<VecDeque<Vec<u8>>> = Mutex::new(VecDeque::new());

/// So many are kept.
const LINES: usize = 2000;

/// Knows a secret that an answer told; the log must not have had it before.
fn learn(secret: &str) {
    know(secret, Owner::Caller);
    let finder = memchr::memmem::Finder::new(secret);
    let latest = LATEST.lock().unwrap_or_else(PoisonError::into_inner);
    for line in latest.iter() {
        if finder.find(line).is_some() {
            search("a log line", line, Owner::Caller);
        }
    }
}

/// What a client was answered: the secrets of its own that are made there are known from then on.
pub fn answered(headers: &HeaderMap, body: &[u8]) {
    for cookie in headers.get_all("set-cookie") {
        let cookie = cookie.to_str().unwrap_or_default();
        let value = cookie.split(['=', ';']).nth(1).unwrap_or_default();
        if value.len() > 20 {
            learn(value);
        }
    }
    // A provider sends browsers back with a code.
    for address in headers.get_all("location") {
        learn_after("code=", 16, address.to_str().unwrap_or_default());
    }
    let body = &body[..body.len().min(ANSWER)];
    let text = String::from_utf8_lossy(body);
    // The id before the dot is no secret.
    for token in values_after("tp-", &text) {
        let secret = token.split_once('.').map_or("", |(_, secret)| secret);
        if secret.len() > 20 {
            learn(secret);
        }
    }
    learn_after("/auth/login?token=", 20, &text);
    learn_after("\"device_code\":\"", 20, &text);
    search("an answer", body, Owner::Gateway);
    for value in headers.values() {
        search("an answer's header", value.as_bytes(), Owner::Gateway);
    }
}

/// Knows what stands after these words, where it is as long as a secret.
fn learn_after(words: &str, least: usize, text: &str) {
    let values = values_after(words, text);
    values.filter(|value| value.len() >= least).for_each(learn);
}

fn values_after<'t>(words: &'t str, text: &'t str) -> impl Iterator<Item = &'t str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    text.split(words).skip(1).map(move |rest| {
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        // A sentence may end behind it.
        rest[..end].trim_end_matches('.')
    })
}

/// What a gateway of its own process wrote.
pub fn left(place: &str, bytes: &[u8]) {
    search(place, bytes, Owner::Caller);
}

/// Searches what a gateway leaves behind when a test has done with it.
pub struct Watch {
    runtime: Weak<Runtime>,
    directory: PathBuf,
}

impl Watch {
    /// Knows the secrets of this configuration and of the files beside it.
    pub fn over(gateway: &Gateway, config: &Path) -> Self {
        let directory = config.parent().unwrap().to_owned();
        Self {
            runtime: std::sync::Arc::downgrade(&gateway.runtime),
            directory,
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        if let Some(runtime) = self.runtime.upgrade() {
            search("the metrics", &runtime.exposition().unwrap(), Owner::Caller);
        }
        left_in(&self.directory);
    }
}

/// What a gateway keeps in its directory: the store, the records of both streams, and their spools.
pub fn left_in(directory: &Path) {
    let kept = ["turnpike.db", "audit.jsonl", "usage.jsonl", "audit-spool"];
    for path in within(directory) {
        let name = path.file_name().unwrap().to_string_lossy();
        if kept.iter().any(|kept| name.starts_with(kept)) && !name.ends_with(".key") {
            search_below(&path);
        }
    }
}

fn search_below(path: &Path) {
    if path.is_dir() {
        return within(path).iter().for_each(|path| search_below(path));
    }
    // It may be removed meanwhile: a journal, a log, a segment.
    let bytes = std::fs::read(path).unwrap_or_default();
    search(&path.to_string_lossy(), &bytes, Owner::Caller);
}

fn within(directory: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(directory).into_iter().flatten();
    files.map(|file| file.unwrap().path()).collect()
}

/// Knows the secrets of a configuration, and has the log searched from then on.
pub fn know_all(yaml: &str, directory: &Path) {
    static LISTEN: Once = Once::new();
    LISTEN.call_once(|| {
        let lines = logging::formatted(LogFormat::Json, || Searched);
        let filter = logging::filter(LogLevel::Trace)
            // The fake provider in this process, which is told secrets.
            .add_directive("turnpike_loadtest=off".parse().unwrap());
        let searched = tracing_subscriber::registry().with(lines.with_filter(filter));
        searched.try_init().unwrap();
    });
    if let Ok(document) = serde_yaml::from_str::<Value>(yaml) {
        know_written("", &document);
    }
    let files = std::fs::read_dir(directory.join("auths"))
        .into_iter()
        .flatten();
    for path in files.map(|file| file.unwrap().path()) {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        // JSON is YAML.
        if let Ok(document) = serde_yaml::from_str::<Value>(&text) {
            know_written("", &document);
        }
    }
}

fn know_written(key: &str, value: &Value) {
    if !matches!(
        key,
        "key"
            | "api_keys"
            | "api-keys"
            | "api_key"
            | "api-key"
            | "client_secret"
            | "secret"
            | "secret_key"
            | "secret-key"
            | "token"
            | "access_token"
            | "refresh_token"
            | "password"
            | "private_key"
            | "previous_keys"
            | "headers"
    ) {
        return know_below(value);
    }
    match value {
        Value::String(text) if !is_reference(text) => know(text, Owner::Gateway),
        Value::Sequence(all) => all.iter().for_each(|one| know_written(key, one)),
        Value::Mapping(_) => know_below(value),
        _ => {}
    }
}

fn know_below(value: &Value) {
    match value {
        Value::Sequence(all) => all.iter().for_each(know_below),
        Value::Mapping(entries) => entries.iter().for_each(|(key, value)| {
            match (key.as_str().unwrap_or_default(), value) {
                // Its `key` is the operator's.
                ("encryption", Value::Mapping(keys)) => keys
                    .values()
                    .for_each(|value| know_written("secret_key", value)),
                (key, value) => know_written(key, value),
            }
        }),
        _ => {}
    }
}

/// A file's name, or a variable's.
fn is_reference(text: &str) -> bool {
    ["/", "${", "file:"]
        .iter()
        .any(|start| text.starts_with(start))
        || text.ends_with(".pem")
}

/// Where the log's lines go: each is searched, and the latest are kept a while.
struct Searched;

impl Write for Searched {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        search("a log line", bytes, Owner::Caller);
        let mut latest = LATEST.lock().unwrap_or_else(PoisonError::into_inner);
        if latest.len() == LINES {
            latest.pop_front();
        }
        latest.push_back(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Every text of a conversation, where it might be quoted.
const PROMPT: &str = "CANARY-of-a-prompt";

#[tokio::test]
async fn no_prompt_is_told_of_whatever_becomes_of_its_call() {
    let (provider, house) = served(Options::default(), 1).await;
    let status = |code, body: Option<&'static str>| Behaviour::Status {
        code,
        body: body.map(Into::into),
        headers: Vec::new(),
    };
    // A provider may quote what it was sent.
    let quoted = r#"{"error":{"message":"Invalid value: 'CANARY-of-a-prompt'","code":"bad"}}"#;
    for call in &STREAMS {
        let body = call.body.replace("hello", PROMPT);
        assert!(body.contains(PROMPT));
        for behaviour in [
            Behaviour::Ok,
            Behaviour::Echo,
            status(400, Some(quoted)),
            status(401, Some(quoted)),
            status(429, Some(quoted)),
            status(500, Some(quoted)),
            Behaviour::InStreamError { after_events: 1 },
            Behaviour::CutMidStream { after_events: 1 },
            Behaviour::CutBeforeHead,
        ] {
            provider.always(call.key, behaviour);
            let mut client = Client::connect(&house, Http::One).await;
            let request = client.request(call.path, body.clone());
            // A stream that breaks off has no whole answer.
            if let Ok(answer) = client.send(request).await {
                let _ = answer.into_body().collect().await;
            }
        }
        // Bodies that are refused: cut, of a model that nobody has, with an escape that is none.
        let mut client = Client::connect(&house, Http::One).await;
        for broken in [
            body[..body.len() - 3].to_owned(),
            body.replace("\"model\":\"", "\"model\":\"unknown-"),
            body.replacen('{', &format!("{{\"{PROMPT}\":\"\\x\","), 1),
        ] {
            client.post(call.path, broken).await;
        }
    }
    house.settled().await;
}

#[tokio::test]
async fn the_search_finds_what_stands_anywhere() {
    know("a-secret-of-this-test", Owner::Gateway);
    know("a-secret-of-a-caller", Owner::Caller);
    let secrets = SECRETS.read().unwrap();
    let find = |text: &str, least| secrets.as_ref().unwrap().find(text.as_bytes(), least);
    for text in [
        "a-secret-of-this-test",
        "xa-secret-of-a-secret-of-this-testx",
    ] {
        assert_eq!(find(text, Owner::Gateway), Some("a-secret-of-this-test"));
    }
    assert_eq!(find("to a-secret-of-a-caller", Owner::Gateway), None);
    let found = find("to a-secret-of-a-caller", Owner::Caller);
    assert_eq!(found, Some("a-secret-of-a-caller"));
    assert_eq!(find("a-secret-of-this-tes", Owner::Caller), None);
}

#[tokio::test]
#[ignore = "it leaks: the test below runs it in a process of its own"]
async fn a_leak() {
    let (_provider, _house) = served(Options::default(), 1).await;
    tracing::trace!(target: "turnpike::request", key = KEY, "a slip");
}

#[test]
#[ignore = "it leaks: the test below runs it in a process of its own"]
fn a_leak_in_a_spool() {
    know(KEY, Owner::Gateway);
    let directory = tempfile::tempdir().unwrap();
    let spool = directory.path().join("audit-spool/usage");
    std::fs::create_dir_all(&spool).unwrap();
    std::fs::write(spool.join("0000000001.seg"), format!("a slip: {KEY}")).unwrap();
    left_in(directory.path());
}

#[test]
fn a_leak_ends_the_run() {
    use std::os::unix::process::ExitStatusExt;
    for (test, place) in [
        ("canary::a_leak", " in a log line"),
        ("canary::a_leak_in_a_spool", "/usage/0000000001.seg"),
    ] {
        let mut run = std::process::Command::new(std::env::current_exe().unwrap());
        let output = run.args(["--exact", test, "--ignored"]).output().unwrap();
        assert_eq!(output.status.signal(), Some(6), "{test}");
        let told = String::from_utf8_lossy(&output.stderr);
        let leak = format!("a secret got out: {KEY} in ");
        assert!(told.contains(&leak) && told.contains(place), "{told}");
    }
}
