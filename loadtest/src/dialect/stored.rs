//! Files. Nothing is stored: every file exists and has the same content.

use http::Method;
use memchr::memmem;
use serde_json::{Value, json};

use super::media::form_field;
use super::{Answer, Ask};
use crate::totals::Totals;

const CONTENT: &str = "{\"custom_id\":\"request-1\",\"method\":\"POST\"}\n";

pub(super) fn upload(ask: &Ask) -> Answer {
    let name = file_name(&ask.body).unwrap_or_else(|| "upload.jsonl".to_owned());
    let purpose = form_field(&ask.body, "purpose").unwrap_or_else(|| "batch".to_owned());
    let id = ask.ids.id("file-", 22);
    answer(&object(&id, &name, &purpose, ask.body.len()))
}

pub(super) fn list() -> Answer {
    let file = object(
        "file-fakeProvider0000000001",
        "batch.jsonl",
        "batch",
        CONTENT.len(),
    );
    answer(&json!({
        "object": "list",
        "data": [file],
        "first_id": file["id"],
        "last_id": file["id"],
        "has_more": false,
    }))
}

pub(super) fn file(id: &str, method: &Method) -> Answer {
    if *method == Method::DELETE {
        return answer(&json!({"id": id, "object": "file", "deleted": true}));
    }
    answer(&object(id, "batch.jsonl", "batch", CONTENT.len()))
}

pub(super) fn content() -> Answer {
    let body = CONTENT.into();
    Answer::Whole {
        content_type: "application/octet-stream",
        body,
        told: Totals::NONE,
    }
}

fn object(id: &str, name: &str, purpose: &str, bytes: usize) -> Value {
    json!({
        "object": "file",
        "id": id,
        "purpose": purpose,
        "filename": name,
        "bytes": bytes,
        "created_at": 1_715_367_049,
        "expires_at": null,
        "status": "processed",
        "status_details": null,
    })
}

fn file_name(body: &[u8]) -> Option<String> {
    let from = memmem::find(body, b"filename=\"")? + 10;
    let to = from + memchr::memchr(b'"', &body[from..])?;
    std::str::from_utf8(&body[from..to])
        .ok()
        .map(ToOwned::to_owned)
}

fn answer(body: &Value) -> Answer {
    Answer::json(body.to_string(), Totals::NONE)
}
