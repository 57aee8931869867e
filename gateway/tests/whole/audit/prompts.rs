//! What callers say to models is on record where that is switched on, and without their secrets.

use std::path::Path;

use serde_json::{Value, json};
use turnpike_loadtest::FakeProvider;

use super::{CHAT, of, provider, records};
use crate::calls::{self, post_with};
use crate::canary;
use crate::harness::{Client, House, Http, KEY, chat, config};

/// Where no other test's search looks for what must not be on record.
// What is said stands in them, and the search for secrets looks elsewhere.
const SINKS: &str = "spool: {path: native-spool}, sinks: [\
    {kind: file, path: native.jsonl}, {kind: file, path: ocsf.jsonl, format: ocsf}, \
    {kind: file, path: cef.log, format: cef}, {kind: file, path: ecs.jsonl, format: ecs}]";

const FILES: [&str; 4] = ["native.jsonl", "ocsf.jsonl", "cef.log", "ecs.jsonl"];

fn yaml(provider: &FakeProvider, prompts: &str) -> String {
    let rest = config(&provider.base_url(), 1);
    format!("audit: {{prompts: {prompts}, {SINKS}}}\n{rest}")
}

/// Stops the gateway; answers with the records of what was said.
async fn told(house: &House) -> Vec<Value> {
    house.settled().await;
    house.gateway.stop().await;
    let all = records(&house.dir.path().join("native.jsonl"));
    of(&all, "request.prompt").into_iter().cloned().collect()
}

#[tokio::test]
async fn each_dialects_prompt_is_on_record_and_nowhere_else() {
    let provider = provider().await;
    let house = House::serve(&yaml(&provider, "{enabled: true}")).await;
    for call in &calls::STREAMS {
        // A word that ends the run where it is in a log line, a metric or an answer.
        let body = call.body.replace("hello", "CANARY of a prompt");
        let mut client = Client::connect(&house, Http::One).await;
        assert_eq!(client.post(call.path, body).await.status, 200, "{call:?}");
    }
    let told = told(&house).await;
    let all = records(&house.dir.path().join("native.jsonl"));
    assert_eq!(told.len(), calls::STREAMS.len());
    for (start, prompt) in of(&all, "request.start").into_iter().zip(&told) {
        assert_eq!(prompt["decision"], start["decision"]);
        assert_eq!(prompt["request"], start["request"]);
        assert_eq!(prompt["who"]["api_key"], "tests");
        let said = prompt["prompt"].as_str().unwrap();
        assert!(said.ends_with("CANARY of a prompt"), "{said}");
        assert!(prompt["prompt_bytes"].as_u64().unwrap() >= 18);
    }
    assert_eq!(told[0]["prompt"], "[user]\nCANARY of a prompt");
    for event in ["request.start", "request.end"] {
        let text = format!("{:?}", of(&all, event));
        assert!(!text.contains("CANARY"), "{event}");
    }
}

#[tokio::test]
async fn nothing_is_kept_unless_it_is_switched_on() {
    let provider = provider().await;
    let house = House::serve(&yaml(&provider, "{max_bytes: 100}")).await;
    let mut client = Client::connect(&house, Http::One).await;
    let body = chat("gpt-4o").replace("hello", "CANARY");
    assert_eq!(client.post(CHAT, body).await.status, 200);
    assert_eq!(told(&house).await.len(), 0);
    for file in FILES {
        assert!(!read(&house, file).contains("CANARY"), "{file}");
    }
}

fn read(house: &House, file: &str) -> String {
    std::fs::read_to_string(house.dir.path().join(file)).unwrap()
}

#[tokio::test]
async fn only_calls_that_a_model_answers_with_a_text_have_a_prompt() {
    let provider = provider().await;
    let house = House::serve(&yaml(&provider, "{enabled: true}")).await;
    let mut client = Client::connect(&house, Http::One).await;
    let body = r#"{"model":"text-embedding-3-small","input":"CANARY"}"#;
    assert_eq!(client.post("/v1/embeddings", body).await.status, 200);
    let refused = client.post(CHAT, chat("unknown")).await;
    assert_eq!(refused.status, 404, "it was not admitted");
    assert_eq!(told(&house).await.len(), 0);
}

#[tokio::test]
async fn no_secret_of_a_prompt_is_in_any_sink() {
    let provider = provider().await;
    let dir = tempfile::tempdir().unwrap();
    let secrets = [
        KEY,
        "sk-proj-Zq81Jd02kfYx7712ab",
        "tp-0190b3c15f6b7c3d.Zm9vYmFyYmF6cXV4",
        "ghp_0123456789abcdefABCDwxyz",
        "hunter2-of-the-database",
        "ada.lovelace@acme.example",
        "4111 1111 1111 1111",
        "MIIEpAIBAAKCAQEA7Zq81",
        "R0lGODlhAQABAIAAAPCanaryImage42",
    ];
    let list: Vec<String> = secrets
        .iter()
        .map(|secret| format!("{{key: \"{secret}\"}}"))
        .collect();
    // Known from here on: what finds one in the log, a metric or the store ends the run.
    canary::know_all(&format!("prompts: [{}]", list.join(", ")), dir.path());
    let house = House::serve_in(dir, &yaml(&provider, "{enabled: true}")).await;
    let said = format!(
        "my key {} and {}, {} or {}; DB_PASSWORD={} of {} with {}\n\
         -----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\nthanks",
        secrets[0],
        secrets[1],
        secrets[2],
        secrets[3],
        secrets[4],
        secrets[5],
        secrets[6],
        secrets[7]
    );
    let image = format!("data:image/png;base64,{}", secrets[8]);
    let body = json!({"model": "gpt-4o", "messages": [
        {"role": "user", "content": [
            {"type": "text", "text": said},
            {"type": "image_url", "image_url": {"url": image}}]},
        {"role": secrets[1], "content": "after it"}]});
    let mut client = Client::connect(&house, Http::One).await;
    let headers = [
        ("authorization", &*format!("Bearer {KEY}")),
        ("x-user-id", KEY),
        ("x-department", secrets[2]),
    ];
    let answer = post_with(&mut client, CHAT, &headers, body.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = told(&house).await;
    let shown = told[0]["prompt"].as_str().unwrap();
    assert!(
        shown.starts_with("[user]\nmy key [credential] and [credential]"),
        "{shown}"
    );
    assert!(
        shown.contains("thanks") && shown.ends_with("after it"),
        "{shown}"
    );
    let segments = std::fs::read_dir(house.dir.path().join("native-spool")).unwrap();
    let segments = segments.map(|file| file.unwrap().path());
    let sinks = FILES.map(|file| house.dir.path().join(file));
    for path in sinks.into_iter().chain(segments) {
        assert_has_none(&path, &secrets);
    }
}

fn assert_has_none(path: &Path, secrets: &[&str]) {
    let bytes = std::fs::read(path).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    for secret in secrets {
        assert!(!text.contains(secret), "{secret} is in {}", path.display());
    }
}

#[tokio::test]
async fn as_much_is_kept_as_is_configured() {
    let provider = provider().await;
    let house = House::serve(&yaml(&provider, "{enabled: true, max_bytes: 2000}")).await;
    let words = "so many words ä ".repeat(1000);
    let mut client = Client::connect(&house, Http::One).await;
    let body = chat("gpt-4o").replace("hello", &words);
    assert_eq!(client.post(CHAT, body).await.status, 200);
    let told = told(&house).await;
    let shown = told[0]["prompt"].as_str().unwrap();
    assert!(shown.len() <= 2000 && shown.len() > 1990, "{}", shown.len());
    assert!(format!("[user]\n{words}").starts_with(shown));
    assert_eq!(told[0]["prompt_bytes"], words.len());
}

const ACME: &str = "key-of-acme-with-prompts-1";
const UMBRA: &str = "key-of-umbra-with-prompts-1";

/// Two tenants, one of which says other than the house.
fn tenants(provider: &FakeProvider, house: bool) -> String {
    let keys = format!(
        "api_keys: [{{key: {KEY}, name: tests}}, {{key: {ACME}, name: a, tenant: acme}}, \
         {{key: {UMBRA}, name: u, tenant: umbra}}]"
    );
    let own = format!(
        "tenants: {{acme: {{prompts: {{enabled: {}}}}}, umbra: {{}}}}\n",
        !house
    );
    let yaml = yaml(provider, &format!("{{enabled: {house}}}"));
    own + &yaml.replace(&format!("api_keys: [{{key: {KEY}, name: tests}}]"), &keys)
}

#[tokio::test]
async fn a_tenant_may_say_other_than_the_house_and_a_reload_counts_at_once() {
    let provider = provider().await;
    let house = House::serve(&tenants(&provider, true)).await;
    let mut client = Client::connect(&house, Http::One).await;
    for on in [true, false] {
        std::fs::write(&house.config, tenants(&provider, on)).unwrap();
        house.gateway.reloader.reload().unwrap();
        for key in [KEY, ACME, UMBRA] {
            let bearer = format!("Bearer {key}");
            let headers = [("authorization", &*bearer)];
            let answer = post_with(&mut client, CHAT, &headers, chat("gpt-4o")).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    }
    let told = told(&house).await;
    let whose: Vec<_> = told
        .iter()
        .map(|one| one["who"]["api_key"].as_str().unwrap())
        .collect();
    assert_eq!(whose, ["tests", "u", "a"]);
}
