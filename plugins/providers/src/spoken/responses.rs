//! OpenAI's Responses API.

use serde_json::{Value, json};

use super::{Events, RESPONSE_ID, Speech, Spoken};

pub(super) fn response(speech: &Speech<'_>) -> Spoken {
    if speech.stream {
        stream(speech)
    } else {
        Spoken::json(&object(speech, "completed"))
    }
}

fn stream(speech: &Speech<'_>) -> Spoken {
    let mut events = Numbered::default();
    for name in ["response.created", "response.in_progress"] {
        events.push(name, json!({"response": object(speech, "in_progress")}));
    }
    let started = json!({"output_index": 0, "item": message(speech, "in_progress")});
    events.push("response.output_item.added", started);
    let mut part = |name, data| events.push(name, in_part(speech, data));
    part(
        "response.content_part.added",
        json!({"part": output_text("")}),
    );
    part(
        "response.output_text.delta",
        json!({"delta": speech.text, "logprobs": []}),
    );
    part(
        "response.output_text.done",
        json!({"text": speech.text, "logprobs": []}),
    );
    part(
        "response.content_part.done",
        json!({"part": output_text(speech.text)}),
    );
    let ended = json!({"output_index": 0, "item": message(speech, "completed")});
    events.push("response.output_item.done", ended);
    let whole = json!({"response": object(speech, "completed")});
    events.push("response.completed", whole);
    events.events.spoken()
}

/// `data` with the place of the only text in the output.
fn in_part(speech: &Speech<'_>, mut data: Value) -> Value {
    data["item_id"] = message_id(speech).into();
    data["output_index"] = 0.into();
    data["content_index"] = 0.into();
    data
}

/// Events that tell their place.
#[derive(Default)]
struct Numbered {
    events: Events,
    next: u64,
}

impl Numbered {
    fn push(&mut self, name: &str, mut data: Value) {
        data["sequence_number"] = self.next.into();
        self.next += 1;
        self.events.push_named(name, data);
    }
}

/// The response. What it repeats of a request are the defaults: the request is not read for it.
/// Nothing keeps it (`store`), so there is nothing to go on from by its id.
fn object(speech: &Speech<'_>, status: &str) -> Value {
    let completed = status == "completed";
    json!({
        "id": format!("{RESPONSE_ID}{}", speech.nonce),
        "object": "response",
        "created_at": speech.now,
        "completed_at": completed.then_some(speech.now),
        "status": status,
        "background": false,
        "error": null,
        "incomplete_details": null,
        "instructions": null,
        "max_output_tokens": null,
        "max_tool_calls": null,
        "metadata": {},
        "model": speech.model,
        "output": completed.then(|| message(speech, status)).into_iter().collect::<Vec<_>>(),
        "parallel_tool_calls": true,
        "previous_response_id": null,
        "prompt_cache_key": null,
        "reasoning": {"effort": null, "summary": null},
        "safety_identifier": null,
        "service_tier": "default",
        "store": false,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": completed.then(no_usage),
        "user": null,
    })
}

/// The only item of the output.
fn message(speech: &Speech<'_>, status: &str) -> Value {
    let said = (status == "completed").then(|| output_text(speech.text));
    json!({
        "id": message_id(speech),
        "type": "message",
        "role": "assistant",
        "status": status,
        "content": said.into_iter().collect::<Vec<_>>(),
    })
}

fn message_id(speech: &Speech<'_>) -> String {
    format!("msg_sandbox_{}", speech.nonce)
}

fn output_text(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

fn no_usage() -> Value {
    json!({
        "input_tokens": 0,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 0,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 0,
    })
}

#[cfg(test)]
mod tests {
    use turnpike_api::Operation::Responses;

    use super::*;
    use crate::spoken::tests::{TEXT, document, named, speech, streamed};

    fn part(text: &str) -> Value {
        json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
    }

    fn item(status: &str, content: Value) -> Value {
        json!({
            "id": "msg_sandbox_n0Nce",
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": content,
        })
    }

    fn begun() -> Value {
        json!({
            "id": "resp_sandbox_n0Nce",
            "object": "response",
            "created_at": 1_790_000_000,
            "completed_at": null,
            "status": "in_progress",
            "background": false,
            "error": null,
            "incomplete_details": null,
            "instructions": null,
            "max_output_tokens": null,
            "max_tool_calls": null,
            "metadata": {},
            "model": "team/some-model",
            "output": [],
            "parallel_tool_calls": true,
            "previous_response_id": null,
            "prompt_cache_key": null,
            "reasoning": {"effort": null, "summary": null},
            "safety_identifier": null,
            "service_tier": "default",
            "store": false,
            "temperature": 1.0,
            "text": {"format": {"type": "text"}, "verbosity": "medium"},
            "tool_choice": "auto",
            "tools": [],
            "top_logprobs": 0,
            "top_p": 1.0,
            "truncation": "disabled",
            "usage": null,
            "user": null,
        })
    }

    fn ended() -> Value {
        let mut response = begun();
        response["status"] = json!("completed");
        response["completed_at"] = json!(1_790_000_000);
        response["output"] = json!([item("completed", json!([part(TEXT)]))]);
        response["usage"] = json!({
            "input_tokens": 0,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": 0,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 0,
        });
        response
    }

    #[test]
    fn a_response_is_complete() {
        assert_eq!(document(&speech(Responses)), ended());
    }

    #[test]
    fn a_streamed_response() {
        let in_part = |key: &str, value: Value| {
            let mut data = json!({
                "item_id": "msg_sandbox_n0Nce",
                "output_index": 0,
                "content_index": 0,
            });
            data[key] = value;
            data
        };
        let in_text = |key: &str| {
            let mut data = in_part(key, TEXT.into());
            data["logprobs"] = json!([]);
            data
        };
        let of_item = |item: Value| json!({"output_index": 0, "item": item});
        let started = item("in_progress", json!([]));
        let finished = item("completed", json!([part(TEXT)]));
        let mut expected = [
            ("response.created", json!({"response": begun()})),
            ("response.in_progress", json!({"response": begun()})),
            ("response.output_item.added", of_item(started)),
            ("response.content_part.added", in_part("part", part(""))),
            ("response.output_text.delta", in_text("delta")),
            ("response.output_text.done", in_text("text")),
            ("response.content_part.done", in_part("part", part(TEXT))),
            ("response.output_item.done", of_item(finished)),
            ("response.completed", json!({"response": ended()})),
        ]
        .map(|(name, data)| (name.to_owned(), data));
        for (n, (_, data)) in expected.iter_mut().enumerate() {
            data["sequence_number"] = json!(n);
        }
        assert_eq!(named(&streamed(Responses)), expected);
    }
}
