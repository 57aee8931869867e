//! The stream `usage`: what each call used, told to whoever wants it, and held up by nobody.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use turnpike::clock::Time;
use turnpike_loadtest::{Behaviour, FakeProvider};

use super::killed::started;
use super::{CHAT, NOW, command, of, provider, records, said};
use crate::harness::{Answer, Client, House, Http, chat, config, until};
use crate::{calls, canary};

const SINKS: &str = "\
audit:
  sinks:
    - {kind: file, path: audit.jsonl}
    - {kind: file, path: usage.jsonl, stream: usage}
";

fn yaml(provider: &FakeProvider) -> String {
    format!("{SINKS}{}", config(&provider.base_url(), 1))
}

fn file(house: &House) -> PathBuf {
    house.dir.path().join("usage.jsonl")
}

/// Stops the gateway; answers with the records of calls in the stream.
async fn told(house: &House) -> Vec<Value> {
    house.settled().await;
    house.gateway.stop().await;
    calls_of(&file(house))
}

fn calls_of(path: &Path) -> Vec<Value> {
    let all = records(path);
    of(&all, "usage").into_iter().cloned().collect()
}

#[tokio::test]
async fn a_call_has_one_record_with_what_its_provider_counted() {
    let provider = provider().await;
    let house = House::serve(&yaml(&provider)).await;
    let mut client = Client::connect(&house, Http::One).await;
    let answer = client.post(CHAT, chat("gpt-4o")).await;
    assert_eq!(answer.status, 200);
    let told = told(&house).await;
    let [call] = &told[..] else {
        panic!("one call: {told:?}");
    };
    let usage = &answer.json()["usage"];
    assert_eq!(call["used"]["input"], usage["prompt_tokens"]);
    assert_eq!(call["used"]["output"], usage["completion_tokens"]);
    assert_eq!(
        call["decision"].as_str(),
        answer.header("x-turnpike-decision")
    );
    for (field, value) in [
        ("/who/api_key", "tests"),
        ("/operation", "chat"),
        ("/model", "gpt-4o"),
        ("/served", "gpt-4o"),
        ("/provider", "openai"),
        ("/credential", "openai/1"),
        ("/outcome", "answered"),
    ] {
        assert_eq!(call.pointer(field).unwrap(), value, "{field}");
    }
    assert_eq!(
        (&call["status"], &call["attempts"]),
        (&200.into(), &1.into())
    );
    assert!(call["took_ms"].is_u64() && call["overhead_us"].is_u64());
    let audit = records(&house.dir.path().join("audit.jsonl"));
    assert!(of(&audit, "usage").is_empty(), "each stream has its own");
    assert_eq!(of(&audit, "request.end").len(), 1);
    for stream in [&["verify"][..], &["verify", "--stream", "usage"]] {
        let verified = command(&house, stream);
        assert!(verified.status.success(), "{}", said(&verified));
    }
    let exported = command(&house, &["export", "--stream", "usage", "--event", "usage"]);
    assert_eq!(said(&exported).lines().count(), 1);
    let last = command(&house, &["tail", "--stream", "usage", "-n", "1"]);
    assert!(said(&last).contains("\"event\":\"checkpoint\""));
}

#[tokio::test]
async fn streams_are_told_with_their_first_piece() {
    let provider = provider().await;
    let house = House::serve(&yaml(&provider)).await;
    for call in &calls::STREAMS {
        let mut client = Client::connect(&house, Http::One).await;
        let answer = client.post(call.path, call.body).await;
        assert_eq!(answer.status, 200, "{call:?}");
    }
    let told = told(&house).await;
    assert_eq!(told.len(), calls::STREAMS.len());
    for call in told {
        assert_eq!(call["stream"], true);
        assert!(call["first_chunk_ms"].is_u64(), "{call}");
        assert!(call["used"]["input"].as_u64().unwrap() > 0, "{call}");
    }
}

#[tokio::test]
async fn only_what_reached_a_provider_is_told() {
    let provider = provider().await;
    let house = House::serve(&yaml(&provider)).await;
    let mut client = Client::connect(&house, Http::One).await;
    let mut request = client.request(CHAT, chat("gpt-4o"));
    let wrong = "Bearer wrong-key-0123456789".parse().unwrap();
    request.headers_mut().insert("authorization", wrong);
    let refused = Answer::read(client.send(request).await.unwrap()).await;
    assert_eq!(refused.status, 401);
    let mut client = Client::connect(&house, Http::One).await;
    assert_eq!(client.post(CHAT, chat("unknown")).await.status, 404);
    provider.always(
        "sk-openai-1",
        Behaviour::Status {
            code: 400,
            body: None,
            headers: Vec::new(),
        },
    );
    let mut client = Client::connect(&house, Http::One).await;
    assert_eq!(client.post(CHAT, chat("gpt-4o")).await.status, 400);
    let told = told(&house).await;
    assert_eq!(told.len(), 1, "the one that the provider refused");
    assert_eq!(told[0]["status"], 400);
    assert!(told[0].get("used").is_none());
}

#[tokio::test]
async fn nothing_is_written_that_nobody_wants() {
    let provider = provider().await;
    let house = House::before(&provider).await;
    let mut client = Client::connect(&house, Http::One).await;
    assert_eq!(client.post(CHAT, chat("gpt-4o")).await.status, 200);
    house.settled().await;
    assert!(!house.dir.path().join("audit-spool/usage").exists());
    assert!(!house.metrics().contains("turnpike_usage_records_total"));
}

#[tokio::test]
async fn a_full_spool_drops_the_oldest_and_counts_them() {
    let provider = provider().await;
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("archive");
    let audit = "audit: {usage: {max: 1MiB}, sinks: [{kind: file, path: audit.jsonl}, \
                 {kind: file, path: archive/usage.jsonl, stream: usage}]}\n";
    let yaml = format!("{audit}{}", config(&provider.base_url(), 1));
    let time = Time::simulated(NOW);
    let house = House::serve_by(time.clone(), dir, &yaml).await;
    let mut client = Client::connect(&house, Http::One).await;
    // The sink holds what its first batch is made of, which are the first two segments: more must be gone.
    let is_dropping = || {
        let fourth = house.dir.path().join("audit-spool/usage/0000000004.seg");
        let later = house.dir.path().join("audit-spool/usage/0000000005.seg");
        later.exists() && !fourth.exists()
    };
    let mut served = 0;
    while !is_dropping() {
        let answer = client.post(CHAT, chat("gpt-4o")).await;
        assert_eq!(answer.status, 200, "no call is refused for it");
        served += 1;
    }
    house.settled().await;
    std::fs::create_dir(&place).unwrap();
    let sink = format!("{{sink=\"file {}\"}}", place.join("usage.jsonl").display());
    until(|| {
        // It was told to wait after each failure.
        time.advance(Duration::from_secs(31));
        let waiting = house.metric(&format!("turnpike_usage_waiting{sink}"));
        place.join("usage.jsonl").exists() && waiting == 0.0
    })
    .await;
    let dropped = house.metric(&format!("turnpike_usage_dropped_total{sink}"));
    house.gateway.stop().await;
    let all = records(&place.join("usage.jsonl"));
    let numbers: Vec<u64> = all.iter().map(|one| one["seq"].as_u64().unwrap()).collect();
    assert!(numbers.is_sorted_by(|one, next| one < next));
    let missing = numbers[numbers.len() - 1] - numbers.len() as u64;
    assert!(missing > 0);
    assert_eq!(dropped as u64, missing, "each that is missing is counted");
    let tellings = of(&all, "audit.dropped").into_iter();
    let tellings = tellings.map(|one| one["count"].as_u64().unwrap());
    assert_eq!(tellings.sum::<u64>(), missing, "and told");
    assert!(of(&all, "usage").len() < served);
    let audit = records(&house.dir.path().join("audit.jsonl"));
    assert_eq!(
        of(&audit, "request.end").len(),
        served,
        "the audit misses none"
    );
}

#[tokio::test]
async fn a_killed_process_leaves_a_stream_that_goes_on() {
    let provider = provider().await;
    let yaml = yaml(&provider);
    let mut binary = started(&yaml, None).await;
    for round in 1..=2 {
        let tcp = tokio::net::TcpStream::connect(binary.proxy).await.unwrap();
        let mut client = Client::on(tcp, Http::One).await;
        assert_eq!(client.post(CHAT, chat("gpt-4o")).await.status, 200);
        let told = binary.config.with_file_name("usage.jsonl");
        until(|| calls_of(&told).len() >= round).await;
        binary.kill().await;
        binary = started(&yaml, binary.config.parent()).await;
    }
    let path = binary.config.clone();
    let told = path.with_file_name("usage.jsonl");
    binary.stop_in_place().await;
    canary::left_in(path.parent().unwrap());
    let calls = calls_of(&told);
    let mut decisions: Vec<_> = calls.iter().map(|call| call["decision"].as_str()).collect();
    decisions.dedup();
    assert_eq!(decisions.len(), 2);
    let all = records(&told);
    assert!(
        all.iter().all(|one| one["chain"] == all[0]["chain"]),
        "one chain"
    );
    let verified = std::process::Command::new(env!("CARGO_BIN_EXE_turnpike"))
        .args(["audit", "verify", "--stream", "usage", "--config"])
        .arg(&path)
        .output()
        .unwrap();
    assert!(verified.status.success(), "{}", said(&verified));
}
