//! Which events only open an answer, before its content: a role, an empty message, a ping. A
//! provider sends them before it knows whether it can answer.
//!
//! Asked of a stream's first events only, up to the first that is none. What is not understood is
//! content: nothing is held back for it.

use serde_json::{Map, Value};

use crate::event_stream::Event;
use crate::stream_events::kind_of;

/// Whether an event of one dialect is an opening.
pub(crate) type IsOpening = fn(&Event<'_>) -> bool;

/// OpenAI's chat and text completions: a chunk whose choices have nothing but a role and what is
/// empty.
pub(crate) fn opens_chat(event: &Event<'_>) -> bool {
    let Some(chunk) = object(event) else {
        return false;
    };
    let Some(choices) = chunk.get("choices").and_then(Value::as_array) else {
        return false;
    };
    let of_delta = |key: &str, value: &Value| key == "role" || is_empty(value);
    let of_choice = |key: &str, value: &Value| match (key, value) {
        ("index", _) => true,
        ("delta", Value::Object(delta)) => every(delta, of_delta),
        _ => is_empty(value),
    };
    choices.iter().all(|choice| matches(choice, of_choice))
        && ["usage", "error"]
            .iter()
            .all(|key| chunk.get(*key).is_none_or(Value::is_null))
}

/// OpenAI's images and transcriptions, whose first event has some of it.
pub(crate) fn opens_media(_: &Event<'_>) -> bool {
    false
}

/// OpenAI's Responses.
pub(crate) fn opens_response(event: &Event<'_>) -> bool {
    matches!(
        kind_of(event),
        b"response.created"
            | b"response.queued"
            | b"response.in_progress"
            | b"response.output_item.added"
            | b"response.content_part.added"
            | b"keepalive"
    )
}

/// Anthropic's Messages.
pub(crate) fn opens_message(event: &Event<'_>) -> bool {
    match kind_of(event) {
        b"message_start" | b"ping" => true,
        b"content_block_start" => object(event).is_some_and(|data| {
            let of_block = |key: &str, value: &Value| match key {
                "type" => value == "text" || value == "thinking",
                _ => is_empty(value),
            };
            data.get("content_block")
                .is_some_and(|block| matches(block, of_block))
        }),
        _ => false,
    }
}

/// Gemini: a chunk whose candidates have no end and nothing but empty parts.
pub(crate) fn opens_gemini(event: &Event<'_>) -> bool {
    let of_part = |key: &str, value: &Value| key == "thought" || is_empty(value);
    let of_content = |key: &str, value: &Value| match (key, value) {
        ("role", _) => true,
        ("parts", Value::Array(parts)) => parts.iter().all(|part| matches(part, of_part)),
        _ => is_empty(value),
    };
    let of_candidate = |key: &str, value: &Value| match (key, value) {
        ("index" | "safetyRatings", _) => true,
        ("content", Value::Object(content)) => every(content, of_content),
        _ => is_empty(value),
    };
    let of_chunk = |key: &str, value: &Value| match (key, value) {
        ("usageMetadata" | "modelVersion" | "responseId" | "createTime", _) => true,
        ("candidates", Value::Array(candidates)) => candidates
            .iter()
            .all(|candidate| matches(candidate, of_candidate)),
        _ => is_empty(value),
    };
    object(event).is_some_and(|chunk| !chunk.is_empty() && every(&chunk, of_chunk))
}

fn object(event: &Event<'_>) -> Option<Map<String, Value>> {
    serde_json::from_slice(event.data).ok()
}

fn matches(value: &Value, member: impl Fn(&str, &Value) -> bool) -> bool {
    value
        .as_object()
        .is_some_and(|members| every(members, member))
}

fn every(members: &Map<String, Value>, member: impl Fn(&str, &Value) -> bool) -> bool {
    members.iter().all(|(key, value)| member(key, value))
}

/// Whether a value says nothing.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(opens: IsOpening, data: &str) -> bool {
        opens(&Event {
            name: b"",
            data: data.as_bytes(),
            whole: true,
        })
    }

    #[test]
    fn a_chat_opens_with_a_role() {
        for data in [
            r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}],"usage":null}"#,
            r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":null,"reasoning_content":""}}]}"#,
            r#"{"choices":[{"delta":{}},{"delta":{"role":"assistant","tool_calls":[]}}]}"#,
            // Azure's first chunk.
            r#"{"choices":[],"id":"","prompt_filter_results":[{"prompt_index":0}]}"#,
            r#"{"object":"text_completion","choices":[{"text":"","index":0,"logprobs":null,"finish_reason":null}]}"#,
        ] {
            assert!(is(opens_chat, data), "{data}");
        }
        for data in [
            r#"{"choices":[{"delta":{"content":" "}}]}"#,
            r#"{"choices":[{"delta":{}},{"delta":{"content":"b"}}]}"#,
            r#"{"choices":[{"delta":{"role":"assistant","reasoning_content":"Hm"}}]}"#,
            r#"{"choices":[{"delta":{"refusal":"I"}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"c"}]}}]}"#,
            r#"{"choices":[{"delta":{"function_call":{"name":"f"}}}]}"#,
            r#"{"choices":[{"delta":{"audio":{"id":"a"}}}]}"#,
            r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#,
            r#"{"choices":[{"text":"a"}]}"#,
            r#"{"choices":[],"usage":{"prompt_tokens":1}}"#,
            r#"{"choices":[],"error":{"message":"no"}}"#,
            r#"{"choices":["unknown"]}"#,
            r#"{"choices":[{"delta":"unknown"}]}"#,
            r#"{"response":"unknown"}"#,
            "{}",
            "[]",
            "no json",
        ] {
            assert!(!is(opens_chat, data), "{data}");
        }
    }

    #[test]
    fn a_response_opens_until_its_first_delta() {
        for kind in [
            "response.created",
            "response.queued",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "keepalive",
        ] {
            let data = format!(r#"{{"type":"{kind}","sequence_number":0}}"#);
            assert!(is(opens_response, &data), "{kind}");
        }
        for kind in [
            "response.output_text.delta",
            "response.reasoning_summary_text.delta",
            "response.function_call_arguments.delta",
            "response.output_item.done",
            "response.unheard_of",
        ] {
            let data = format!(r#"{{"type":"{kind}","sequence_number":0}}"#);
            assert!(!is(opens_response, &data), "{kind}");
        }
        assert!(!is(opens_response, "{}"));
    }

    #[test]
    fn a_message_opens_until_its_first_delta() {
        for data in [
            r#"{"type":"message_start","message":{"content":[],"usage":{"input_tokens":3}}}"#,
            r#"{"type": "ping"}"#,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
        ] {
            assert!(is(opens_message, data), "{data}");
        }
        for data in [
            r#"{"type":"content_block_start","content_block":{"type":"text","text":"a"}}"#,
            r#"{"type":"content_block_start","content_block":{"type":"tool_use","id":"t","name":"f","input":{}}}"#,
            r#"{"type":"content_block_start","content_block":{"type":"redacted_thinking","data":"x"}}"#,
            r#"{"type":"content_block_start","content_block":{"type":"unheard_of","text":""}}"#,
            r#"{"type":"content_block_start"}"#,
            r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":""}}"#,
            r#"{"type":"content_block_stop","index":0}"#,
            r#"{"type":"message_delta","delta":{}}"#,
            r#"{"type":"unheard_of"}"#,
        ] {
            assert!(!is(opens_message, data), "{data}");
        }
    }

    #[test]
    fn gemini_opens_with_empty_parts() {
        for data in [
            r#"{"candidates":[{"content":{"parts":[{"text":""}],"role":"model"},"index":0}],"usageMetadata":{"promptTokenCount":3},"modelVersion":"g","responseId":"r"}"#,
            r#"{"candidates":[{"content":{"parts":[{"text":"","thought":true}]},"safetyRatings":[{"category":"C"}]}]}"#,
            r#"{"candidates":[{"content":{"role":"model"}}]}"#,
            r#"{"usageMetadata":{"promptTokenCount":3},"modelVersion":"g"}"#,
        ] {
            assert!(is(opens_gemini, data), "{data}");
        }
        for data in [
            r#"{"candidates":[{"content":{"parts":[{"text":"a"}]}}]}"#,
            r#"{"candidates":[{"content":{"parts":[{"text":""},{"functionCall":{"name":"f"}}]}}]}"#,
            r#"{"candidates":[{"content":{"parts":[{"text":"","thoughtSignature":"x"}]}}]}"#,
            r#"{"candidates":[{"content":{"parts":[{"inlineData":{"data":"x"}}]}}]}"#,
            r#"{"candidates":[{"content":{"parts":[{"text":""}]},"finishReason":"STOP"}]}"#,
            r#"{"promptFeedback":{"blockReason":"OTHER"}}"#,
            r#"{"candidates":"unknown"}"#,
            r#"{"unknown":1}"#,
            "{}",
            "",
        ] {
            assert!(!is(opens_gemini, data), "{data}");
        }
    }
}
