//! What Prometheus is told: all of it stands in the catalogue, callers make no series of their own, and
//! what is told under several names is the same.

use std::collections::BTreeSet;

use serde_json::json;
use tempfile::TempDir;
use turnpike::observe::metrics::catalogue::{self, Metric};
use turnpike_loadtest::{FakeProvider, Options};

use crate::calls::{CHAT, MESSAGES, post_with};
use crate::harness::{Client, House, Http, KEY, chat, until};
use crate::jwt::{Issuer, Key};

/// Dollars for a million tokens of `gpt-4o`.
const PRICES: &str = "version: 1\nprices: [{model: \"gpt-4o\", input: 2.5, output: 10}]\n";

/// A gateway with limits, prices and an audit, which takes the issuer's tokens.
async fn served(provider: &FakeProvider, issuer: &Issuer) -> House {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("prices.yaml"), PRICES).unwrap();
    let yaml = configuration(&dir, provider, issuer, 5);
    House::serve_in(dir, &yaml).await
}

fn configuration(dir: &TempDir, provider: &FakeProvider, issuer: &Issuer, limit: u32) -> String {
    let (prices, url) = (dir.path().join("prices.yaml"), provider.base_url());
    format!(
        "server: {{port: 0}}\nadmin: {{port: 0}}\n\
         api_keys: [{{key: {KEY}, name: tests, limits: {{usd_per_day: {limit}}}}}]\n\
         prices: {{file: \"{}\"}}\n\
         jwt: {{issuers: [{{issuer: \"{}\", audience: [turnpike]}}]}}\n\
         limits: [{{name: pace, scope: user, measure: requests, window: day, limit: 1000}}]\n\
         audit: {{sinks: [{{kind: file, path: audit.jsonl}}, {{kind: file, path: usage.jsonl, stream: usage}}]}}\n\
         providers:\n\
         \x20 openai: {{base_url: \"{url}/v1\", credentials: [{{api_key: sk-openai-1}}]}}\n\
         \x20 claude: {{base_url: \"{url}\", credentials: [{{api_key: sk-claude-1}}]}}\n",
        prices.display(),
        issuer.url,
    )
}

fn series(house: &House) -> Vec<String> {
    let text = house.metrics();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let names = lines.map(|line| line.rsplit_once(' ').unwrap().0.to_owned());
    names.collect()
}

/// The sum of the series that begin so.
fn sum(house: &House, series: &str) -> f64 {
    let text = house.metrics();
    let lines = text.lines().filter(|line| line.starts_with(series));
    let values = lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>());
    values.map(Result::unwrap).sum()
}

/// `CALLERS=100000 cargo test … --test whole metrics::callers` makes as many.
fn callers() -> usize {
    let asked = std::env::var("CALLERS").ok();
    asked.map_or(1_000, |asked| asked.parse().unwrap())
}

#[tokio::test]
async fn callers_models_and_paths_are_no_series_of_their_own() {
    let provider = FakeProvider::start(Options::default()).await;
    let key = Key::new("one");
    let issuer = Issuer::publishing(&key).await;
    let house = served(&provider, &issuer).await;
    let mut known = None;
    for nth in 0..callers() {
        let mut client = Client::connect(&house, Http::One).await;
        let mut claims = issuer.claims();
        claims["sub"] = json!(format!("user-{nth}"));
        claims["email"] = json!(format!("user-{nth}@example.com"));
        let bearer = format!("Bearer {}", key.sign(&claims));
        let headers = [("authorization", &*bearer)];
        let body = chat(&format!("gpt-made-up-{nth}"));
        let answer = post_with(&mut client, CHAT.path, &headers, body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let unserved = chat(&format!("made-up-{nth}"));
        let answer = post_with(&mut client, CHAT.path, &headers, unserved).await;
        assert_eq!(answer.status, 404, "{}", answer.text());
        // What is refused before its body is read ends the connection.
        let path = format!("/v1/made-up/{nth}");
        let answer = post_with(&mut client, &path, &headers, "{}").await;
        assert_eq!(answer.status, 404, "{}", answer.text());
        if nth == 20 {
            house.settled().await;
            known = Some(series(&house));
        }
    }
    house.settled().await;
    let (known, now) = (known.unwrap(), series(&house));
    let before: BTreeSet<_> = known.iter().filter(|name| is_of_calls(name)).collect();
    let after: BTreeSet<_> = now.iter().filter(|name| is_of_calls(name)).collect();
    assert_eq!(before, after);
    assert!(now.len() < known.len() + 200, "{} series", now.len());
    let asked = r#"turnpike_requests_total{operation="chat",reason="",status="200"}"#;
    assert_eq!(house.metric(asked), callers() as f64);
    let buckets = house.metric(r#"turnpike_limit_buckets{measure="requests"}"#);
    assert_eq!(buckets, callers() as f64, "a number, where it were series");
}

/// What the gateway does beside calls, such as asking its store, begins in its own time.
fn is_of_calls(series: &str) -> bool {
    !series.starts_with("turnpike_store_")
}

#[tokio::test]
async fn all_that_is_exposed_is_in_the_catalogue_with_its_labels_and_words() {
    let provider = FakeProvider::start(Options::default()).await;
    let key = Key::new("one");
    let issuer = Issuer::publishing(&key).await;
    let house = served(&provider, &issuer).await;
    called(&house).await;
    let mut client = Client::connect(&house, Http::One).await;
    let stranger = [("authorization", "Bearer nobodys-key-0123456789")];
    post_with(&mut client, CHAT.path, &stranger, CHAT.body).await;
    house.settled().await;
    for one in series(&house) {
        let (name, labels) = one.split_once('{').unwrap_or((&one, "}"));
        let row = row(name).unwrap_or_else(|| panic!("{name} is not in the catalogue"));
        for pair in labels.trim_end_matches('}').split_terminator(',') {
            let (label, value) = pair.split_once('=').unwrap();
            if label == "le" {
                continue;
            }
            let known = row.labels.iter().find(|known| known.name == label);
            let known = known.unwrap_or_else(|| panic!("{name} has no label {label}"));
            assert!(known.has(value.trim_matches('"')), "{one}");
        }
    }
    let told: BTreeSet<_> = series(&house)
        .iter()
        .filter_map(|one| row(one.split('{').next().unwrap()))
        .map(|row| row.name)
        .collect();
    let silent = catalogue::all().map(|row| row.name);
    let silent: Vec<_> = silent.filter(|name| !told.contains(name)).collect();
    // These are told of what has not happened here.
    let rare = [
        "turnpike_usage_missing_total",
        "turnpike_credential_cooldowns_total",
        "turnpike_credential_recoveries_total",
        "turnpike_credential_probes_total",
        "turnpike_credential_quota_remaining_tokens",
        "turnpike_credential_quota_exhaustions_total",
        "turnpike_credential_refreshes_total",
        "turnpike_tls_certificate_expiry_timestamp_seconds",
    ];
    assert_eq!(silent, rare);
}

fn row(series: &str) -> Option<&'static Metric> {
    let suffixes = ["_bucket", "_sum", "_count"];
    let bare = suffixes.iter().find_map(|end| series.strip_suffix(end));
    catalogue::all().find(|row| row.name == series || bare == Some(row.name))
}

/// Two streams and an answer in one.
async fn called(house: &House) {
    let mut client = Client::connect(house, Http::One).await;
    for (path, body) in [
        (CHAT.path, CHAT.body.to_owned()),
        (MESSAGES.path, MESSAGES.body.to_owned()),
        (CHAT.path, chat("gpt-4o")),
    ] {
        let answer = client.post(path, body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    house.settled().await;
}

#[tokio::test]
async fn calls_are_told_by_model_with_tokens_and_cost() {
    let provider = FakeProvider::start(Options::default()).await;
    let key = Key::new("one");
    let issuer = Issuer::publishing(&key).await;
    let house = served(&provider, &issuer).await;
    called(&house).await;
    let of = |model: &str, provider: &str| {
        format!(
            "gen_ai_operation_name=\"chat\",gen_ai_provider_name=\"{provider}\",gen_ai_request_model=\"{model}\""
        )
    };
    for (model, provider, calls, streams) in [
        ("gpt-4o", "openai", 2.0, 1.0),
        ("claude-sonnet-4-5", "claude", 1.0, 1.0),
    ] {
        let labels = of(model, provider);
        let count = |name: &str, more: &str| {
            house.metric(&format!("gen_ai_{name}_count{{{more}{labels}}}"))
        };
        let duration = "server_request_duration_seconds";
        assert_eq!(count(duration, "error_type=\"\","), calls, "{model}");
        assert_eq!(count("server_time_to_first_token_seconds", ""), streams);
        assert_eq!(count("server_time_per_output_token_seconds", ""), streams);
        for kind in ["input", "output"] {
            let used =
                format!("gen_ai_client_token_usage_sum{{{labels},gen_ai_token_type=\"{kind}\"}}");
            let told = format!(
                "turnpike_tokens_total{{kind=\"{kind}\",model=\"{model}\",provider=\"{provider}\"}}"
            );
            assert!(house.metric(&told) > 0.0);
            assert_eq!(house.metric(&used), house.metric(&told), "{model} {kind}");
        }
    }
    assert_eq!(sum(&house, "turnpike_request_duration_seconds_count"), 3.0);
    let tokens = |kind| {
        let series = format!(
            "turnpike_tokens_total{{kind=\"{kind}\",model=\"gpt-4o\",provider=\"openai\"}}"
        );
        house.metric(&series)
    };
    let price = (tokens("input") * 2.5 + tokens("output") * 10.0) / 1e6;
    let cost = house.metric(r#"turnpike_cost_usd_total{model="gpt-4o",provider="openai"}"#);
    // Each call is rounded up to a millionth.
    assert!((price..=price + 3e-6).contains(&cost), "{cost}, {price}");
}

#[tokio::test]
async fn limits_and_the_record_are_told_of() {
    let provider = FakeProvider::start(Options::default()).await;
    let key = Key::new("one");
    let issuer = Issuer::publishing(&key).await;
    let house = served(&provider, &issuer).await;
    called(&house).await;
    let limit =
        |what, measure| house.metric(&format!("turnpike_limit_{what}{{measure=\"{measure}\"}}"));
    assert_eq!(limit("buckets", "usd"), 1.0);
    let (drawn, free) = (limit("drawn", "usd"), limit("free", "usd"));
    let cost = sum(&house, "turnpike_cost_usd_total");
    assert!(
        (drawn - free - cost).abs() < 1e-9,
        "{drawn} - {free} is {cost}"
    );
    assert!(drawn <= 5.0);
    assert_eq!(house.metric("turnpike_limit_replicas"), 1.0);
    let drawn = r#"turnpike_store_seconds_count{operation="draw",result="ok"}"#;
    assert!(house.metric(drawn) > 0.0);
    assert!(house.metric("turnpike_audit_records_total") >= 6.0);
    assert!(house.metric("turnpike_audit_spool_limit_bytes") > 0.0);
    until(|| house.metric("turnpike_fleet_replicas") == 1.0).await;
    // The sinks come to have all of it.
    until(|| {
        sum(&house, "turnpike_audit_waiting{") == 0.0
            && sum(&house, "turnpike_audit_delivered_total{") >= 6.0
    })
    .await;
    assert_eq!(sum(&house, "turnpike_audit_sink_behind_seconds{"), 0.0);
    assert_eq!(sum(&house, "turnpike_audit_sink_failures_total{"), 0.0);
}

#[tokio::test]
async fn the_hash_changes_with_the_configuration_in_force() {
    let provider = FakeProvider::start(Options::default()).await;
    let key = Key::new("one");
    let issuer = Issuer::publishing(&key).await;
    let house = served(&provider, &issuer).await;
    let hash = || house.metric("turnpike_config_hash");
    let first = hash();
    let write = |limit| {
        let yaml = configuration(&house.dir, &provider, &issuer, limit);
        std::fs::write(&house.config, yaml).unwrap();
        house.gateway.reloader.reload()
    };
    write(6).unwrap();
    let second = hash();
    assert_ne!(first, second);
    std::fs::write(&house.config, "nonsense: true\n").unwrap();
    house.gateway.reloader.reload().unwrap_err();
    assert_eq!(hash(), second, "it is not in force");
    write(5).unwrap();
    assert_eq!(hash(), first, "the same as at first");
}
