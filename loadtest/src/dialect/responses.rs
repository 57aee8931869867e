//! The Responses API.

use bytes::Bytes;
use serde_json::{Value, json};

use super::openai::SSE;
use super::{Answer, Ask, Event, Plan, Trouble, Wish};
use crate::ids::now;
use crate::totals::Totals;

pub(super) fn responses(ask: &Ask) -> Result<Answer, u16> {
    let wish = Wish::of(&ask.body)?;
    let made = Made::new(ask, wish.model());
    if ask.streams(&wish) {
        return Ok(Answer::Stream(made.stream(ask)));
    }
    Ok(Answer::json(
        made.response("completed").to_string(),
        ask.told(),
    ))
}

/// The parts of one response.
struct Made {
    id: String,
    item: String,
    created: u64,
    model: String,
    text: String,
    input: u64,
    output: u64,
}

impl Made {
    fn new(ask: &Ask, model: &str) -> Self {
        Self {
            id: ask.ids.hex("resp_", 48),
            item: ask.ids.hex("msg_", 48),
            created: now(),
            model: model.to_owned(),
            text: ask.text(),
            input: ask.input(),
            output: ask.output(),
        }
    }

    fn response(&self, status: &str) -> Value {
        let done = status == "completed";
        json!({
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "status": status,
            "background": false,
            "error": null,
            "incomplete_details": null,
            "instructions": null,
            "max_output_tokens": null,
            "max_tool_calls": null,
            "metadata": {},
            "model": self.model,
            "output": if done { vec![self.message("completed")] } else { Vec::new() },
            "parallel_tool_calls": true,
            "previous_response_id": null,
            "prompt_cache_key": null,
            "reasoning": {"effort": null, "summary": null},
            "safety_identifier": null,
            "service_tier": if done { "default" } else { "auto" },
            "store": true,
            "temperature": 1.0,
            "text": {"format": {"type": "text"}, "verbosity": "medium"},
            "tool_choice": "auto",
            "tools": [],
            "top_logprobs": 0,
            "top_p": 1.0,
            "truncation": "disabled",
            "usage": done.then(|| self.usage()),
            "user": null,
        })
    }

    fn usage(&self) -> Value {
        json!({
            "input_tokens": self.input,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": self.output,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": self.input + self.output,
        })
    }

    fn message(&self, status: &str) -> Value {
        let content = if status == "completed" {
            vec![part(&self.text)]
        } else {
            Vec::new()
        };
        json!({
            "id": self.item,
            "type": "message",
            "status": status,
            "content": content,
            "role": "assistant",
        })
    }

    fn stream(&self, ask: &Ask) -> Plan {
        let mut events = Vec::with_capacity(ask.events + 8);
        let mut push = |kind: &str, mut data: Value, told| {
            data["type"] = kind.into();
            data["sequence_number"] = events.len().into();
            events.push(Event::telling(
                format!("event: {kind}\ndata: {data}\n\n"),
                told,
            ));
        };
        for status in ["created", "in_progress"] {
            let data = json!({"response": self.response("in_progress")});
            push(&format!("response.{status}"), data, Totals::NONE);
        }
        let item = json!({"output_index": 0, "item": self.message("in_progress")});
        push("response.output_item.added", item, Totals::NONE);
        let added = self.at(json!({"part": part("")}));
        push("response.content_part.added", added, Totals::NONE);
        for piece in ask.pieces() {
            let delta = self.at(json!({"delta": piece, "logprobs": []}));
            push("response.output_text.delta", delta, Totals::NONE);
        }
        let text = self.at(json!({"text": self.text, "logprobs": []}));
        push("response.output_text.done", text, Totals::NONE);
        let done = self.at(json!({"part": part(&self.text)}));
        push("response.content_part.done", done, Totals::NONE);
        let item = json!({"output_index": 0, "item": self.message("completed")});
        push("response.output_item.done", item, Totals::NONE);
        push(
            "response.completed",
            json!({"response": self.response("completed")}),
            ask.told(),
        );
        let terminal = events.len() - 1;
        Plan {
            content_type: SSE,
            events,
            terminal,
        }
    }

    /// `data` with the place of the only text in the response.
    fn at(&self, mut data: Value) -> Value {
        data["item_id"] = self.item.as_str().into();
        data["output_index"] = 0.into();
        data["content_index"] = 0.into();
        data
    }
}

fn part(text: &str) -> Value {
    json!({"type": "output_text", "annotations": [], "logprobs": [], "text": text})
}

pub(super) fn error_event(sent: usize, trouble: Trouble) -> Bytes {
    let (code, message) = match trouble {
        Trouble::Failed => (
            "server_error",
            "The server had an error while processing your request. Sorry about that!",
        ),
        Trouble::Overloaded => (
            "server_is_overloaded",
            "Our servers are currently overloaded. Please try again later.",
        ),
    };
    let data = json!({
        "type": "error",
        "code": code,
        "message": message,
        "param": null,
        "sequence_number": sent,
    });
    format!("event: error\ndata: {data}\n\n").into()
}
