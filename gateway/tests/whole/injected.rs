//! A stream whose usage a quota needs is asked for it, and its caller sees nothing of that.

use serde_json::Value;
use turnpike_loadtest::{FakeProvider, Options};

use crate::harness::{Answer, KEY};
use crate::pools::{Pools, tokens};

const PLAIN: &str =
    r#"{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"hello"}]}"#;
const REFUSED: &str =
    r#"{"model":"gpt-4o","stream":true,"stream_options":{"include_usage":false},"messages":[]}"#;
const ASKED: &str =
    r#"{"model":"gpt-4o","stream":true,"stream_options":{"include_usage":true},"messages":[]}"#;
const KEYED: &str = "sk-openai-quota-1";

async fn pools(quota: &str, rest: &str) -> Pools {
    let provider = FakeProvider::start(Options::default()).await;
    let url = provider.base_url();
    let yaml = format!(
        "server: {{port: 0}}\nadmin: {{port: 0}}\napi_keys: [{{key: {KEY}, name: tests}}]\n\
         providers: {{openai: {{base_url: \"{url}/v1\", credentials: [{{api_key: {KEYED}, quota: {{limit: {quota}}}}}]}}}}\n{rest}"
    );
    Pools::before(provider, &yaml).await
}

async fn chat(pools: &Pools, body: &str) -> (Answer, Value) {
    let answer = pools.post("/v1/chat/completions", body.to_owned()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let sent = pools.provider.calls().last().unwrap().body.clone();
    (answer, serde_json::from_slice(&sent).unwrap())
}

/// The chunks that only say what was used.
fn usage_chunks(answer: &Answer) -> usize {
    let events = answer.text().split("\n\n");
    events
        .filter_map(|event| serde_json::from_str::<Value>(event.strip_prefix("data: ")?).ok())
        .filter(|chunk| chunk["choices"].as_array().is_some_and(Vec::is_empty))
        .filter(|chunk| chunk["usage"].is_object())
        .count()
}

#[tokio::test]
async fn the_chunk_with_the_usage_stays_here() {
    let pools = pools("1000000", "").await;
    for body in [PLAIN, REFUSED] {
        let (answer, sent) = chat(&pools, body).await;
        assert_eq!(sent["stream_options"]["include_usage"], true, "{body}");
        assert_eq!(usage_chunks(&answer), 0, "{}", answer.text());
        assert!(answer.text().ends_with("data: [DONE]\n\n"));
    }
    pools.house.settled().await;
    let spent = pools.spent(KEYED).await;
    assert_eq!(
        (spent.tokens, spent.estimated),
        (tokens(pools.provider.usage_of(KEYED)), 0)
    );
    assert_eq!(spent.calls, 2);
}

#[tokio::test]
async fn who_asks_for_it_gets_it() {
    let pools = pools("1000000", "").await;
    let (answer, sent) = chat(&pools, ASKED).await;
    assert_eq!(sent, serde_json::from_str::<Value>(ASKED).unwrap());
    assert_eq!(usage_chunks(&answer), 1, "{}", answer.text());
}

#[tokio::test]
async fn nobody_is_asked_without_need() {
    for (quota, rest) in [("null", ""), ("1000000", "metering: {inject_usage: off}\n")] {
        let pools = pools(quota, rest).await;
        let (answer, _) = chat(&pools, PLAIN).await;
        let sent = pools.provider.calls().last().unwrap().body.clone();
        assert_eq!(sent, PLAIN, "byte for byte");
        assert!(answer.text().contains("[DONE]"));
    }
}
