//! Gemini's API, as AI Studio and Vertex serve it.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::route::Generate;
use super::{Answer, Ask, Event, Plan, Trouble, Wish, vectors};
use crate::ids::quoted;
use crate::totals::Totals;

pub(super) fn generate(ask: &Ask, generate: &Generate) -> Result<Answer, u16> {
    Wish::of(&ask.body)?;
    let id = ask.ids.id("", 22);
    if generate.stream && !ask.route.never_streams {
        return Ok(Answer::Stream(stream(ask, generate, &id)));
    }
    let chunk = chunk(ask, generate, &id, &ask.text(), ask.output(), true);
    Ok(Answer::json(chunk, ask.told()))
}

/// Every chunk tells the usage so far.
fn chunk(ask: &Ask, generate: &Generate, id: &str, text: &str, output: u64, last: bool) -> String {
    let (input, model, text) = (ask.input(), quoted(&generate.model), quoted(text));
    let total = input + output;
    let finish = if last {
        ",\"finishReason\":\"STOP\""
    } else {
        ""
    };
    format!(
        "{{\"candidates\":[{{\"content\":{{\"parts\":[{{\"text\":{text}}}],\"role\":\"model\"}}\
         {finish},\"index\":0}}],\"usageMetadata\":{{\"promptTokenCount\":{input},\
         \"candidatesTokenCount\":{output},\"totalTokenCount\":{total},\"promptTokensDetails\":\
         [{{\"modality\":\"TEXT\",\"tokenCount\":{input}}}]}},\"modelVersion\":{model},\
         \"responseId\":\"{id}\"}}"
    )
}

/// One event a piece of text, the last with the `finishReason`.
fn stream(ask: &Ask, generate: &Generate, id: &str) -> Plan {
    let last = ask.events.saturating_sub(1);
    let mut pieces: Vec<&str> = ask.pieces().collect();
    if pieces.is_empty() {
        pieces.push("");
    }
    let mut events = Vec::with_capacity(pieces.len() + 1);
    for (n, piece) in pieces.into_iter().enumerate() {
        let output = (n as u64 + 1).min(ask.output());
        let chunk = chunk(ask, generate, id, piece, output, n == last);
        let more = output - (n as u64).min(output);
        let told = if n == 0 {
            Totals::one(ask.input(), more)
        } else {
            Totals::more(more)
        };
        events.push(Event::telling(framed(generate, n, &chunk), told));
    }
    if !generate.sse {
        events.push(Event::new("]\n".to_owned()));
    }
    Plan {
        content_type: content_type(generate),
        events,
        terminal: last,
    }
}

fn content_type(generate: &Generate) -> &'static str {
    if generate.sse {
        "text/event-stream"
    } else {
        "application/json; charset=UTF-8"
    }
}

/// The `n`th element of the stream.
fn framed(generate: &Generate, n: usize, json: &str) -> String {
    match (generate.sse, n) {
        (true, _) => format!("data: {json}\r\n\r\n"),
        (false, 0) => format!("[{json}\n"),
        (false, _) => format!(",\r\n{json}\n"),
    }
}

pub(super) fn embed() -> Result<Answer, u16> {
    let body = json!({"embedding": {"values": vectors::vector(0, 16)}});
    Ok(Answer::json(body.to_string(), Totals::NONE))
}

pub(super) fn batch_embed(ask: &Ask) -> Result<Answer, u16> {
    let request: Value = serde_json::from_slice(&ask.body).map_err(|_| 400_u16)?;
    let count = request["requests"].as_array().map_or(0, Vec::len);
    let values = |n| json!({"values": vectors::vector(n, 16)});
    let body = json!({"embeddings": (0..count).map(values).collect::<Vec<_>>()});
    Ok(Answer::json(body.to_string(), Totals::NONE))
}

pub(super) fn models() -> String {
    let models = ["gemini-2.5-pro", "gemini-2.5-flash", "gemini-embedding-001"];
    format!("{{\"models\":[{}]}}", models.map(model).join(","))
}

pub(super) fn model(id: &str) -> String {
    json!({
        "name": format!("models/{id}"),
        "version": "2.5",
        "displayName": id,
        "description": "A model of the fake provider",
        "inputTokenLimit": 1_048_576,
        "outputTokenLimit": 65_536,
        "supportedGenerationMethods": ["generateContent", "countTokens"],
        "temperature": 1,
        "topP": 0.95,
        "topK": 64,
    })
    .to_string()
}

pub(super) fn error(code: u16, retry_after: Option<u64>) -> Bytes {
    if let (429, Some(seconds)) = (code, retry_after) {
        return quota_error(Duration::from_secs(seconds));
    }
    let (status, message) = meaning(code);
    written(code, status, message, &json!([]))
}

pub(super) fn quota_error(retry_after: Duration) -> Bytes {
    let delay = format!("{}s", retry_after.as_secs_f64());
    let details = json!([
        {
            "@type": "type.googleapis.com/google.rpc.QuotaFailure",
            "violations": [{
                "quotaMetric": "generativelanguage.googleapis.com/generate_content_requests",
                "quotaId": "GenerateRequestsPerMinutePerProjectPerModel",
                "quotaDimensions": {"model": "fake-model", "location": "global"},
                "quotaValue": "15",
            }],
        },
        {
            "@type": "type.googleapis.com/google.rpc.Help",
            "links": [{
                "description": "Learn more about Gemini API quotas",
                "url": "https://ai.google.dev/gemini-api/docs/rate-limits",
            }],
        },
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay},
    ]);
    let (status, message) = meaning(429);
    written(429, status, message, &details)
}

fn meaning(code: u16) -> (&'static str, &'static str) {
    match code {
        400 => ("INVALID_ARGUMENT", "Request contains an invalid argument."),
        401 => (
            "UNAUTHENTICATED",
            "Request had invalid authentication credentials. Expected OAuth 2 access token, login \
             cookie or other valid authentication credential.",
        ),
        403 => ("PERMISSION_DENIED", "The caller does not have permission"),
        404 => (
            "NOT_FOUND",
            "models/fake-model is not found for API version v1beta.",
        ),
        402 | 413 => ("FAILED_PRECONDITION", "The request was refused."),
        429 => ("RESOURCE_EXHAUSTED", "You exceeded your current quota."),
        503 => (
            "UNAVAILABLE",
            "The model is overloaded. Please try again later.",
        ),
        504 => (
            "DEADLINE_EXCEEDED",
            "The service was unable to finish within the deadline.",
        ),
        _ => ("INTERNAL", "An internal error has occurred. Please retry."),
    }
}

fn written(code: u16, status: &str, message: &str, details: &Value) -> Bytes {
    let mut error = json!({"code": code, "message": message, "status": status});
    if details
        .as_array()
        .is_some_and(|details| !details.is_empty())
    {
        error["details"] = details.clone();
    }
    format!("{:#}\n", json!({"error": error})).into()
}

/// Where a JSON array was asked for, an error is an array of one too.
pub(super) fn error_in(generate: &Generate, error: Bytes) -> Bytes {
    if generate.stream && !generate.sse {
        return [b"[", error.trim_ascii_end(), b"\n]\n"].concat().into();
    }
    error
}

pub(super) fn error_event(generate: &Generate, sent: usize, trouble: Trouble) -> Bytes {
    let code: u16 = match trouble {
        Trouble::Failed => 500,
        Trouble::Overloaded => 503,
    };
    let (status, message) = meaning(code);
    let error = json!({"error": {"code": code, "message": message, "status": status}});
    let end = if generate.sse { "" } else { "]\n" };
    format!("{}{end}", framed(generate, sent, &error.to_string())).into()
}
