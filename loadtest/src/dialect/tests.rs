use http::Method;
use serde_json::Value;

use super::*;

fn ask(path: &str, body: &str) -> Ask {
    let method = if body.is_empty() {
        Method::GET
    } else {
        Method::POST
    };
    let (head, ()) = http::Request::builder()
        .method(method)
        .uri(path)
        .body(())
        .unwrap()
        .into_parts();
    Ask {
        route: Route::of(&head),
        ids: Ids(7),
        events: 3,
        body: body.to_owned().into(),
    }
}

fn whole(path: &str, body: &str) -> Value {
    match ask(path, body).answer().unwrap() {
        Answer::Whole { body, .. } => serde_json::from_slice(&body).unwrap(),
        Answer::Stream(_) => panic!("{path} streams"),
    }
}

fn stream(path: &str, body: &str) -> Vec<Event> {
    match ask(path, body).answer().unwrap() {
        Answer::Stream(plan) => plan.events,
        Answer::Whole { .. } => panic!("{path} does not stream"),
    }
}

fn data(event: &Event) -> &str {
    let text = std::str::from_utf8(&event.bytes).unwrap();
    text.split_once("data: ").unwrap().1.trim_end()
}

fn told(events: &[Event]) -> Totals {
    events.iter().fold(Totals::NONE, |mut sum, event| {
        sum += event.told;
        sum
    })
}

const STREAM: &str = r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#;

#[test]
fn every_json_answer_parses() {
    let chat = whole("/v1/chat/completions", r#"{"model":"a\"b"}"#);
    assert_eq!(chat["model"], "a\"b");
    assert_eq!(chat["choices"][0]["message"]["content"], "Hello from the");
    assert_eq!(chat["usage"]["completion_tokens"], 3);
    assert_eq!(
        whole("/v1/completions", "{}")["choices"][0]["text"],
        "Hello from the"
    );
    let response = whole("/v1/responses", "{}");
    assert_eq!(
        response["output"][0]["content"][0]["text"],
        "Hello from the"
    );
    let message = whole("/v1/messages?beta=true", r#"{"model":"claude"}"#);
    assert_eq!(message["content"][0]["text"], "Hello from the");
    let content = whole("/v1beta/models/gem:generateContent", "{}");
    assert_eq!(content["modelVersion"], "gem");
    assert_eq!(content["candidates"][0]["finishReason"], "STOP");
    for (path, body, field) in [
        ("/v1/models", "", "data"),
        ("/v1/models/gpt", "", "owned_by"),
        ("/v1/images/generations", "{}", "data"),
        ("/v1/audio/transcriptions", "--x", "text"),
        ("/v1/files", "--x", "filename"),
        ("/v1/files", "", "data"),
        ("/v1/files/file-1", "", "bytes"),
        ("/v1/moderations", r#"{"input":["a","b"]}"#, "results"),
        ("/v1/messages/count_tokens", "{}", "input_tokens"),
        ("/v1beta/models/m:countTokens", "{}", "totalTokens"),
        ("/v1beta/models/m:embedContent", "{}", "embedding"),
        (
            "/v1beta/models/m:batchEmbedContents",
            r#"{"requests":[{}]}"#,
            "embeddings",
        ),
        ("/v1beta/models", "", "models"),
        ("/v1beta/models/m", "", "supportedGenerationMethods"),
    ] {
        assert!(!whole(path, body)[field].is_null(), "{path} has no {field}");
    }
}

#[test]
fn embeddings_come_as_floats_and_as_base64_of_the_same_floats() {
    let floats = whole("/v1/embeddings", r#"{"input":["a","b"],"dimensions":4}"#);
    assert_eq!(floats["data"][1]["embedding"].as_array().unwrap().len(), 4);
    let encoded = whole(
        "/v1/embeddings",
        r#"{"input":"a","dimensions":4,"encoding_format":"base64"}"#,
    );
    assert_eq!(encoded["data"][0]["embedding"], "AAAAvwAA5L4AAMi+AACsvg==");
}

#[test]
fn a_chat_stream_ends_with_usage_and_done() {
    let events = stream("/v1/chat/completions", STREAM);
    assert_eq!(data(events.last().unwrap()), "[DONE]");
    let chunks: Vec<Value> = events[..events.len() - 1]
        .iter()
        .map(|e| serde_json::from_str(data(e)).unwrap())
        .collect();
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    assert!(chunks[0]["usage"].is_null() && chunks[0].get("usage").is_some());
    assert_eq!(chunks[4]["choices"][0]["finish_reason"], "stop");
    assert_eq!(chunks[5]["usage"]["completion_tokens"], 3);
    assert_eq!(told(&events), Totals::one(input_tokens(STREAM.len()), 3));
    let bare = stream("/v1/chat/completions", r#"{"stream":true}"#);
    assert_eq!(told(&bare), Totals::NONE);
    assert!(!bare.iter().any(|event| data(event).contains("usage")));
}

#[test]
fn a_responses_stream_is_numbered_and_complete() {
    let events = stream("/v1/responses", STREAM);
    for (n, event) in events.iter().enumerate() {
        let value: Value = serde_json::from_str(data(event)).unwrap();
        assert_eq!(value["sequence_number"], n);
        let named = format!("event: {}\n", value["type"].as_str().unwrap());
        assert!(event.bytes.starts_with(named.as_bytes()));
    }
    let last: Value = serde_json::from_str(data(events.last().unwrap())).unwrap();
    assert_eq!(last["type"], "response.completed");
    assert_eq!(last["response"]["usage"]["output_tokens"], 3);
}

#[test]
fn a_messages_stream_has_its_events_in_order() {
    let events = stream("/v1/messages", STREAM);
    let kinds: Vec<String> = events
        .iter()
        .map(|e| {
            serde_json::from_str::<Value>(data(e)).unwrap()["type"]
                .as_str()
                .unwrap()
                .into()
        })
        .collect();
    assert_eq!(kinds[..3], ["message_start", "content_block_start", "ping"]);
    assert_eq!(
        kinds[6..],
        ["content_block_stop", "message_delta", "message_stop"]
    );
    assert_eq!(told(&events), Totals::one(input_tokens(STREAM.len()), 3));
}

#[test]
fn a_gemini_stream_is_events_or_an_array() {
    let path = "/v1beta/models/m:streamGenerateContent";
    let events = stream(&format!("{path}?alt=sse"), "{}");
    assert!(
        events
            .iter()
            .all(|event| event.bytes.ends_with(b"\r\n\r\n"))
    );
    let last: Value = serde_json::from_str(data(&events[2])).unwrap();
    assert_eq!(last["candidates"][0]["finishReason"], "STOP");
    assert_eq!(told(&events), Totals::one(1, 3));
    let array: Vec<u8> = stream(path, "{}")
        .iter()
        .flat_map(|event| event.bytes.to_vec())
        .collect();
    let array: Value = serde_json::from_slice(&array).unwrap();
    assert_eq!(array.as_array().unwrap().len(), 3);
}

#[test]
fn errors_have_the_dialects_shape_for_every_code() {
    for code in [
        400, 401, 402, 403, 404, 413, 418, 429, 500, 502, 503, 504, 529,
    ] {
        let of = |dialect| -> Value { serde_json::from_slice(&error_body(dialect, code)).unwrap() };
        let openai = of(Dialect::OpenAi);
        assert!(openai["error"]["message"].is_string() && openai["error"].get("code").is_some());
        let anthropic = of(Dialect::Anthropic);
        assert_eq!(anthropic["type"], "error");
        assert!(anthropic["error"]["type"].is_string() && anthropic["request_id"].is_string());
        assert_eq!(of(Dialect::Gemini)["error"]["code"], code);
    }
    let quota: Value =
        serde_json::from_slice(&gemini_quota_error(Duration::from_secs(34))).unwrap();
    assert_eq!(quota["error"]["details"][2]["retryDelay"], "34s");
}

#[test]
fn gemini_wraps_errors_where_an_array_was_asked_for() {
    let path = "/v1beta/models/m:streamGenerateContent";
    let array: Value = serde_json::from_slice(&ask(path, "{}").error_body(503, None)).unwrap();
    assert_eq!(array[0]["error"]["status"], "UNAVAILABLE");
    let sse = ask(&format!("{path}?alt=sse"), "{}").error_body(503, None);
    let sse: Value = serde_json::from_slice(&sse).unwrap();
    assert_eq!(sse["error"]["code"], 503);
}

#[test]
fn what_is_no_json_is_a_bad_request() {
    assert_eq!(ask("/v1/chat/completions", "{").answer().err(), Some(400));
    assert_eq!(ask("/v1/nonsense", "{}").answer().err(), Some(404));
}
