//! What happens is on record: before it goes out, whole, in order, and without a secret.

mod beginning;
mod claimed;
mod killed;
mod otlp;
mod prompts;
mod receivers;
mod stdout;
mod usage;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpStream;
use turnpike::clock::Time;
use turnpike_loadtest::{Behaviour, FakeProvider, Options, Protocol};

use crate::calls::get_with;
use crate::harness::{Answer, Client, House, Http, KEY, chat, config, until};

const CHAT: &str = "/v1/chat/completions";

/// A time in 2026.
const NOW: u64 = 1_790_000_000_000;

async fn provider() -> FakeProvider {
    FakeProvider::start(Options::new(Protocol::Http1)).await
}

/// The records that a file has.
pub(crate) fn records(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Those of this event.
fn of<'r>(records: &'r [Value], event: &str) -> Vec<&'r Value> {
    records.iter().filter(|one| one["event"] == event).collect()
}

fn file(house: &House) -> PathBuf {
    house.dir.path().join("audit.jsonl")
}

/// What is written in the segments of the spool.
fn spooled(house: &House) -> String {
    let spool = house.dir.path().join("audit-spool");
    let files = std::fs::read_dir(spool).unwrap();
    let segments = files.map(|file| file.unwrap().path());
    let segments = segments.filter(|path| path.extension().is_some_and(|kind| kind == "seg"));
    let texts = segments.map(|path| std::fs::read_to_string(path).unwrap());
    texts.collect()
}

/// Stops the gateway, which hands on what there is.
pub(crate) async fn stopped(house: &House) -> Vec<Value> {
    house.gateway.stop().await;
    records(&file(house))
}

/// A gateway that has stopped after three calls, and what is on record.
async fn three_calls() -> (House, Vec<Value>) {
    let provider = provider().await;
    let house = House::before(&provider).await;
    let mut client = Client::connect(&house, Http::One).await;
    for _ in 0..3 {
        assert_eq!(client.post(CHAT, chat("gpt-4o")).await.status, 200);
    }
    house.settled().await;
    let all = stopped(&house).await;
    (house, all)
}

/// What `/ready` says.
async fn readiness(house: &House) -> Value {
    let admin = TcpStream::connect(house.gateway.admin).await.unwrap();
    let mut client = Client::on(admin, Http::One).await;
    get_with(&mut client, "/ready", &[]).await.json()
}

fn command(house: &House, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_turnpike"))
        .env_clear()
        .env("TURNPIKE_CONFIG", &house.config)
        .arg("audit")
        .args(arguments)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn a_call_is_on_record_with_what_it_was() {
    let provider = provider().await;
    let house = House::before(&provider).await;
    let mut client = Client::connect(&house, Http::One).await;
    let mut request = client.request(CHAT, chat("gpt-4o"));
    let agent = "agent/1 \"quoted\"".parse().unwrap();
    request.headers_mut().insert("user-agent", agent);
    let answer = Answer::read(client.send(request).await.unwrap()).await;
    assert_eq!(answer.status, 200);
    house.settled().await;
    let all = stopped(&house).await;

    let (start, end) = (of(&all, "request.start"), of(&all, "request.end"));
    assert_eq!((start.len(), end.len()), (1, 1));
    let (start, end) = (start[0], end[0]);
    assert_eq!(start["decision"], end["decision"]);
    assert_eq!(
        Some(start["request"].as_str().unwrap()),
        answer.header("x-request-id")
    );
    assert_eq!(
        Some(end["decision"].as_str().unwrap()),
        answer.header("x-turnpike-decision")
    );
    for (record, field, value) in [
        (start, "/who/api_key", "tests"),
        (start, "/client", "127.0.0.1"),
        (start, "/user_agent", "agent/1 \"quoted\""),
        (start, "/model", "gpt-4o"),
        (end, "/who/name", "tests"),
        (end, "/provider", "openai"),
        (end, "/credential", "openai/1"),
        (end, "/served", "gpt-4o"),
        (end, "/outcome", "answered"),
    ] {
        assert_eq!(record.pointer(field).unwrap(), value, "{field}");
    }
    assert_eq!((&end["status"], &end["attempts"]), (&200.into(), &1.into()));
    let usage = &answer.json()["usage"];
    assert_eq!(end["used"]["input"], usage["prompt_tokens"]);
    assert_eq!(end["used"]["output"], usage["completion_tokens"]);
    let text = std::fs::read_to_string(file(&house)).unwrap();
    for hidden in [KEY, "sk-openai-1", "hello"] {
        assert!(!text.contains(hidden), "{hidden} is on record");
    }
    let events: Vec<_> = all
        .iter()
        .map(|one| one["event"].as_str().unwrap())
        .collect();
    assert!(events.contains(&"gateway.started") && events.contains(&"configuration"));
    assert_eq!(events.last(), Some(&"checkpoint"));
}

#[tokio::test]
async fn the_start_is_with_the_system_before_the_provider_hears_of_the_call() {
    let provider = provider().await;
    provider.always("sk-openai-1", Behaviour::Hang);
    let house = House::before(&provider).await;
    let mut client = Client::connect(&house, Http::One).await;
    let request = client.request(CHAT, chat("gpt-4o"));
    let asking = tokio::spawn(async move { client.send(request).await.map(drop) });
    provider.wait_for_calls(1).await;
    let spooled = spooled(&house);
    assert_eq!(spooled.matches("\"event\":\"request.start\"").count(), 1);
    assert_eq!(spooled.matches("\"event\":\"request.end\"").count(), 0);
    asking.abort();
    house.settled().await;
    let all = stopped(&house).await;
    assert_eq!(of(&all, "request.end")[0]["outcome"], "client_gone");
}

#[tokio::test]
async fn refusals_say_who_and_why() {
    let provider = provider().await;
    let yaml = config(&provider.base_url(), 1).replace(
        "name: tests}",
        "name: tests, models: [gpt-4o], limits: {requests_per_minute: 1}}",
    );
    let house = House::serve(&yaml).await;
    let mut client = Client::connect(&house, Http::One).await;
    let mut request = client.request(CHAT, chat("gpt-4o"));
    let wrong = "Bearer wrong-key-0123456789".parse().unwrap();
    request.headers_mut().insert("authorization", wrong);
    let refused = client.send(request).await.unwrap();
    assert_eq!(refused.status(), 401);
    let _ = Answer::read(refused).await;
    // Its body was not read, so its connection is closed.
    let mut client = Client::connect(&house, Http::One).await;
    let denied = client.post(CHAT, chat("gpt-5")).await;
    assert_eq!(denied.status, 403);
    assert_eq!(client.post(CHAT, chat("gpt-4o")).await.status, 200);
    let limited = client.post(CHAT, chat("gpt-4o")).await;
    assert_eq!(limited.status, 429);
    house.settled().await;

    let all = stopped(&house).await;
    let refused = of(&all, "authentication.refused");
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0]["reason"], "credential_unknown");
    let denial = of(&all, "authorization.denied");
    assert_eq!(denial.len(), 1);
    assert_eq!(
        (&denial[0]["who"]["api_key"], &denial[0]["model"]),
        (&"tests".into(), &"gpt-5".into())
    );
    let decision = denied.header("x-turnpike-decision").unwrap();
    assert_eq!(denial[0]["decision"], decision);
    let hit = of(&all, "limit.hit");
    assert_eq!(hit.len(), 1);
    assert_eq!(hit[0]["limit"]["name"], "key:tests:requests_per_minute");
    assert_eq!(hit[0]["limit"]["measure"], "requests");
    assert_eq!(of(&all, "request.start").len(), 1, "only one was admitted");
}

/// The status that somebody gets who lists models with a key that is made up.
async fn stranger(house: &House) -> u16 {
    let wrong = [("authorization", "Bearer wrong-key-0123456789")];
    let mut client = Client::connect(house, Http::One).await;
    get_with(&mut client, "/v1/models", &wrong).await.status
}

#[tokio::test]
async fn a_full_spool_refuses_calls_until_its_sink_is_back() {
    let provider = provider().await;
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("archive");
    let audit = "audit: {spool: {max: 1MiB}, sinks: [{kind: file, path: archive/audit.jsonl}]}\n";
    let yaml = format!("{audit}{}", config(&provider.base_url(), 1));
    let time = Time::simulated(NOW);
    let house = House::serve_by(time.clone(), dir, &yaml).await;
    let mut client = Client::connect(&house, Http::One).await;
    let mut served = 0;
    let refused = loop {
        let answer = client.post(CHAT, chat("gpt-4o")).await;
        match answer.status {
            200 => served += 1,
            _ => break answer,
        }
    };
    assert_eq!(refused.status, 503);
    assert_eq!(refused.json()["error"]["code"], "audit_unavailable");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(
        provider.count(),
        served,
        "nothing went out that is not on record"
    );
    let ready = readiness(&house).await;
    assert_eq!(ready["status"], "ready");
    let why = "the audit spool has no room: calls are refused";
    assert_eq!(ready["degraded"], why);
    assert_eq!(house.metric("turnpike_audit_refuses"), 1.0);
    // Anybody could fill the disk with refusals: while there is no room they are only counted.
    for _ in 0..10 {
        assert_eq!(stranger(&house).await, 401);
    }
    // Its body was not read, so its connection is closed.
    let mut client = Client::connect(&house, Http::One).await;
    std::fs::create_dir(&place).unwrap();
    until(|| {
        // It was told to wait after each failure.
        time.advance(Duration::from_secs(31));
        house.gateway.runtime.audit.has_room().is_ok()
    })
    .await;
    assert_eq!(client.post(CHAT, chat("gpt-4o")).await.status, 200);
    assert!(readiness(&house).await.get("degraded").is_none());
    assert_eq!(house.metric("turnpike_audit_refuses"), 0.0);
    assert_eq!(stranger(&house).await, 401);
    house.settled().await;
    house.gateway.stop().await;
    let all = records(&place.join("audit.jsonl"));
    let strangers = of(&all, "authentication.refused");
    let untold = strangers.iter().map(|one| &one["untold"]);
    assert_eq!(untold.collect::<Vec<_>>(), [&Value::from(10)]);
    assert_eq!(of(&all, "request.start").len(), served + 1);
    assert_eq!(of(&all, "request.end").len(), served + 1);
    let numbers = all.iter().map(|one| one["seq"].as_u64().unwrap());
    assert!(numbers.eq(1..=all.len() as u64), "each once, in order");
}

#[tokio::test]
async fn the_command_finds_what_was_tampered_with() {
    let (house, all) = three_calls().await;
    let good = command(&house, &["verify"]);
    assert!(good.status.success(), "{}", said(&good));
    assert!(said(&good).contains(&format!("{} records, all as they were written", all.len())));

    let path = file(&house);
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let without = |nth: usize| {
        let mut fewer = lines.clone();
        fewer.remove(nth);
        fewer.join("\n") + "\n"
    };
    let mut moved = lines.clone();
    moved.swap(3, 4);
    for (what, changed, told) in [
        (
            "changed",
            text.replacen("gpt-4o", "gpt-5o", 1),
            "was altered",
        ),
        ("removed", without(3), "record 4 is missing"),
        (
            "beheaded",
            without(0),
            "the chain begins with record 2: record 1 is missing",
        ),
        (
            "moved",
            moved.join("\n") + "\n",
            "record 4 stands behind record 5",
        ),
        ("cut", without(lines.len() - 1), "the last are missing"),
    ] {
        std::fs::write(&path, changed).unwrap();
        let found = command(&house, &["verify"]);
        assert_eq!(found.status.code(), Some(1), "{what}");
        assert!(said(&found).contains(told), "{what}: {}", said(&found));
    }
    // As somebody writes it who has no key: all of it is whole.
    let is_checkpoint = |line: &&str| line.contains("\"event\":\"checkpoint\"");
    let signed_at = lines.iter().position(is_checkpoint).unwrap();
    let copy = house.dir.path().join("copy.jsonl");
    std::fs::write(&copy, lines[..signed_at].join("\n") + "\n").unwrap();
    let copy = copy.to_str().unwrap();
    let unsigned = command(&house, &["verify", copy]);
    assert!(unsigned.status.success() && said(&unsigned).contains("not signed"));
    let unsigned = command(&house, &["verify", "--require-signature", copy]);
    assert_eq!(unsigned.status.code(), Some(1), "{}", said(&unsigned));
    assert!(said(&unsigned).contains("no checkpoint signs any of it"));

    std::fs::write(&path, &text).unwrap();
    let signed = command(&house, &["verify", "--require-signature"]);
    assert!(signed.status.success(), "{}", said(&signed));
    let last = command(&house, &["tail", "-n", "2"]);
    assert_eq!(said(&last), lines[lines.len() - 2..].join("\n") + "\n");
    let ends = command(&house, &["export", "--event", "request.end"]);
    assert_eq!(said(&ends).lines().count(), 3);
    let none = command(&house, &["export", "--until", "2020-01-01T00:00:00Z"]);
    assert_eq!(said(&none), "");
}

#[tokio::test]
async fn what_operators_do_is_on_record() {
    let provider = provider().await;
    let yaml = config(&provider.base_url(), 1).replace(
        "admin: {port: 0}",
        "admin: {port: 0, keys: [{name: ops, key: \"operator-key-0123456789\"}]}",
    );
    let house = House::serve(&yaml).await;
    let admin = TcpStream::connect(house.gateway.admin).await.unwrap();
    let mut client = Client::on(admin, Http::One).await;
    for (key, status) in [
        ("operator-key-0123456789", 200),
        ("no-operator-key-9876", 401),
    ] {
        let request = http::Request::post("/v0/management/reload")
            .header("host", "localhost")
            .header("authorization", format!("Bearer {key}"))
            .body(Default::default())
            .unwrap();
        let answer = Answer::read(client.send(request).await.unwrap()).await;
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    let all = stopped(&house).await;
    assert_eq!(of(&all, "managed")[0]["actor"], "ops");
    assert_eq!(of(&all, "management.refused")[0]["client"], "127.0.0.1");
    let read = of(&all, "configuration");
    assert_eq!(read.len(), 2);
    assert_eq!(read[1]["accepted"], true);
    assert_eq!(read[0]["digest"], read[1]["digest"]);
}

#[tokio::test]
async fn nothing_is_kept_where_that_is_configured() {
    let provider = provider().await;
    let yaml = format!(
        "audit: {{enabled: false}}\n{}",
        config(&provider.base_url(), 1)
    );
    let house = House::serve(&yaml).await;
    let mut client = Client::connect(&house, Http::One).await;
    assert_eq!(client.post(CHAT, chat("gpt-4o")).await.status, 200);
    house.settled().await;
    house.gateway.stop().await;
    assert!(!file(&house).exists() && !house.dir.path().join("audit-spool").exists());
}

/// Whether each call that was begun has one end, by their decisions.
fn assert_complete(all: &[Value]) -> usize {
    let mut calls: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    for record in all {
        let Some(decision) = record["decision"].as_str() else {
            continue;
        };
        match record["event"].as_str().unwrap() {
            "request.start" => calls.entry(decision).or_default().0 += 1,
            "request.end" | "request.aborted" => calls.entry(decision).or_default().1 += 1,
            _ => {}
        }
    }
    for (decision, call) in &calls {
        assert_eq!(*call, (1, 1), "starts and ends of {decision}");
    }
    calls.len()
}
