//! One call of each dialect gets through, on both HTTP versions.

use turnpike_loadtest::{FakeProvider, Options, Protocol};

use crate::harness::{Client, House, Http, chat};

#[tokio::test]
async fn each_dialect_gets_through() {
    let provider = FakeProvider::start(Options::new(Protocol::Http1)).await;
    let house = House::before(&provider).await;
    for http in [Http::One, Http::Two] {
        let mut client = Client::connect(&house, http).await;
        let openai = client.post("/v1/chat/completions", chat("gpt-4o")).await;
        assert_eq!(
            (openai.status, &openai.json()["object"]),
            (200, &"chat.completion".into())
        );
        let anthropic = client
            .post("/v1/messages", r#"{"model":"claude-sonnet-4-5","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}"#)
            .await;
        assert_eq!(
            (anthropic.status, &anthropic.json()["type"]),
            (200, &"message".into())
        );
        let gemini = client
            .post(
                "/v1beta/models/gemini-2.5-pro:generateContent",
                r#"{"contents":[{"parts":[{"text":"hi"}]}]}"#,
            )
            .await;
        assert_eq!(gemini.status, 200);
        assert!(gemini.json()["candidates"][0]["content"]["parts"][0]["text"].is_string());
    }
    house.settled().await;
    let keys: Vec<String> = provider.calls().into_iter().map(|call| call.key).collect();
    assert_eq!(
        keys,
        ["sk-openai-1", "sk-claude-1", "AIza-gemini-1"].repeat(2)
    );
}
