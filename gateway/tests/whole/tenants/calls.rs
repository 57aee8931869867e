//! Every kind of call × what another tenant has that a call can name: its models, its host, its keys. It is as
//! if it were not there.

use http::Method;
use turnpike_api::{Dialect, Operation};

use super::{ACME, ACME_HOST, Place, UMBRA, UMBRA_HOST, told};

const NOBODYS: &str = "key-of-nobody-01234";

/// The question; `MODEL` stands for the model.
struct Row {
    method: Method,
    path: &'static str,
    body: &'static str,
}

fn post(path: &'static str, body: &'static str) -> Row {
    Row {
        method: Method::POST,
        path,
        body,
    }
}

fn rows(operation: Operation) -> Vec<Row> {
    match operation {
        Operation::ChatCompletions => vec![post(
            "/v1/chat/completions",
            r#"{"model":"MODEL","messages":[{"role":"user","content":"hello"}]}"#,
        )],
        Operation::Completions => vec![post(
            "/v1/completions",
            r#"{"model":"MODEL","prompt":"hello"}"#,
        )],
        Operation::Responses => vec![post(
            "/v1/responses",
            r#"{"model":"MODEL","input":"hello"}"#,
        )],
        Operation::Embeddings => vec![post(
            "/v1/embeddings",
            r#"{"model":"MODEL","input":"hello"}"#,
        )],
        Operation::Messages => vec![post(
            "/v1/messages",
            r#"{"model":"MODEL","max_tokens":9,"messages":[{"role":"user","content":"hello"}]}"#,
        )],
        Operation::CountMessageTokens => vec![post(
            "/v1/messages/count_tokens",
            r#"{"model":"MODEL","messages":[{"role":"user","content":"hello"}]}"#,
        )],
        Operation::GenerateContent => vec![
            gemini("/v1beta/models/MODEL:generateContent"),
            gemini("/v1/models/MODEL:generateContent"),
        ],
        Operation::StreamGenerateContent => {
            vec![gemini("/v1beta/models/MODEL:streamGenerateContent?alt=sse")]
        }
        Operation::CountTokens => vec![gemini("/v1beta/models/MODEL:countTokens")],
        Operation::EmbedContent => vec![
            post(
                "/v1beta/models/MODEL:embedContent",
                r#"{"content":{"parts":[{"text":"hello"}]}}"#,
            ),
            post(
                "/v1beta/models/MODEL:batchEmbedContents",
                r#"{"requests":[]}"#,
            ),
        ],
        Operation::PassThrough => vec![
            post(
                "/v1/images/generations",
                r#"{"model":"MODEL","prompt":"a bridge"}"#,
            ),
            post(
                "/v1/audio/speech",
                r#"{"model":"MODEL","input":"hello","voice":"alloy"}"#,
            ),
            post("/v1/moderations", r#"{"model":"MODEL","input":"hello"}"#),
        ],
    }
}

fn gemini(path: &'static str) -> Row {
    post(path, r#"{"contents":[{"parts":[{"text":"hello"}]}]}"#)
}

/// What only umbra has, and a name as long that nobody has.
fn models(dialect: Dialect) -> [&'static str; 2] {
    match dialect {
        Dialect::OpenAi => ["umbras-own", "nobody-own"],
        Dialect::Anthropic => ["umbras-claude", "nobody-claude"],
        Dialect::Gemini => ["umbras-gemini", "nobody-gemini"],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_of_any_kind_for_what_is_anothers_is_as_if_it_were_not_there() {
    let place = Place::new().await;
    let rest = "claude_api_key: [{api_key: sk-umbra-c, base_url: \"URL\", pool: umbra, models: [umbras-claude]}]\n\
                gemini_api_key: [{api_key: sk-umbra-g, base_url: \"URL\", pool: umbra, models: [umbras-gemini]}]";
    let rest = rest.replace("URL", &place.provider.base_url());
    place
        .reload(&super::yaml(&place.provider, &rest, "", ""))
        .await;
    for operation in Operation::ALL {
        for row in rows(operation) {
            let what = format!("{operation:?} {}", row.path);
            let [theirs, nobodys] = models(operation.dialect());
            let ask = async |host, key, model: &str| {
                let [path, body] = [row.path, row.body].map(|text| text.replace("MODEL", model));
                place.provider.take_calls();
                let answer = place
                    .ask(row.method.as_str(), host, &path, key, &body)
                    .await;
                let calls = place.provider.take_calls();
                let keys: Vec<_> = calls.into_iter().map(|call| call.key).collect();
                (answer, keys)
            };
            let refused = async |host, key, model: &str| {
                let (answer, keys) = ask(host, key, model).await;
                assert!(keys.is_empty(), "{what}: {keys:?}");
                let (status, headers, text) = told(&answer);
                (status, headers, text.replace(model, "…"))
            };
            for host in ["localhost", ACME_HOST] {
                let told = refused(host, ACME, theirs).await;
                assert_eq!(told, refused(host, ACME, nobodys).await, "{what}");
                assert_eq!(told.0, 404, "{what}");
            }
            // At its host, whoever is not its own is nobody; so are its own at another's.
            for (host, key) in [(UMBRA_HOST, ACME), (ACME_HOST, UMBRA)] {
                let told = refused(host, key, theirs).await;
                assert_eq!(told, refused(host, NOBODYS, theirs).await, "{what}");
                assert_eq!(told.0, 401, "{what}");
            }
            // The row is about something.
            for host in ["localhost", UMBRA_HOST] {
                let (_, keys) = ask(host, UMBRA, theirs).await;
                assert_eq!(keys.len(), 1, "{what}");
                assert!(keys[0].starts_with("sk-umbra-"), "{what}: {keys:?}");
            }
        }
    }
}
