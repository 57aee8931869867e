//! Embeddings and moderations: one result an input.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::openai::input_only;
use super::{Answer, Ask};

pub(super) fn embeddings(ask: &Ask) -> Result<Answer, u16> {
    let request: Value = serde_json::from_slice(&ask.body).map_err(|_| 400_u16)?;
    let dimensions = request["dimensions"].as_u64().unwrap_or(16).min(4096) as usize;
    let base64 = request["encoding_format"] == "base64";
    let item = |n| {
        let vector = vector(n, dimensions);
        let embedding = if base64 {
            encoded(&vector).into()
        } else {
            Value::from(vector)
        };
        json!({"object": "embedding", "index": n, "embedding": embedding})
    };
    let tokens = ask.input();
    let body = json!({
        "object": "list",
        "data": (0..inputs(&request["input"])).map(item).collect::<Vec<_>>(),
        "model": request["model"].as_str().unwrap_or("fake-model"),
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    });
    Ok(input_only(ask, body.to_string()))
}

/// A string or a list of tokens is one input, a list of those is many.
fn inputs(input: &Value) -> usize {
    match input {
        Value::Array(items) if items.iter().any(|item| !item.is_number()) => items.len(),
        _ => 1,
    }
}

/// The `n`th vector: always the same, and exact in f32.
pub(super) fn vector(n: usize, dimensions: usize) -> Vec<f32> {
    let value = |at: usize| ((at * 7 + n * 13) % 128) as f32 / 128.0 - 0.5;
    (0..dimensions).map(value).collect()
}

fn encoded(vector: &[f32]) -> String {
    let bytes: Vec<u8> = vector
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    STANDARD.encode(bytes)
}

const CATEGORIES: [&str; 13] = [
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
];

pub(super) fn moderations(ask: &Ask) -> Result<Answer, u16> {
    let request: Value = serde_json::from_slice(&ask.body).map_err(|_| 400_u16)?;
    let each = |value: Value| {
        CATEGORIES
            .iter()
            .map(|name| ((*name).to_owned(), value.clone()))
            .collect::<Value>()
    };
    let result = json!({
        "flagged": false,
        "categories": each(false.into()),
        "category_scores": each(0.0001.into()),
        "category_applied_input_types": each(json!(["text"])),
    });
    let body = json!({
        "id": ask.ids.id("modr-", 29),
        "model": request["model"].as_str().unwrap_or("omni-moderation-latest"),
        "results": vec![result; inputs(&request["input"])],
    });
    // Moderation is free: it tells no usage.
    Ok(Answer::json(body.to_string(), crate::totals::Totals::NONE))
}
