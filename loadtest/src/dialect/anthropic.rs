//! Messages, models and errors of Anthropic's API.

use bytes::Bytes;

use super::{Answer, Ask, Dialect, Event, Plan, Trouble, Wish};
use crate::headers::request_id;
use crate::ids::{Ids, quoted};
use crate::totals::Totals;

const SSE: &str = "text/event-stream; charset=utf-8";

pub(super) fn messages(ask: &Ask, in_path: Option<&str>) -> Result<Answer, u16> {
    let wish = Wish::of(&ask.body)?;
    let model = quoted(in_path.unwrap_or(wish.model()));
    let id = ask.ids.id("msg_01", 22);
    if ask.streams(&wish) {
        return Ok(Answer::Stream(stream(ask, &id, &model)));
    }
    let (text, usage) = (quoted(&ask.text()), usage(ask.input(), ask.output()));
    let body = format!(
        "{{\"id\":\"{id}\",\"type\":\"message\",\"role\":\"assistant\",\"model\":{model},\
         \"content\":[{{\"type\":\"text\",\"text\":{text}}}],\"stop_reason\":\"end_turn\",\
         \"stop_sequence\":null,\"usage\":{usage}}}"
    );
    Ok(Answer::json(body, ask.told()))
}

fn usage(input: u64, output: u64) -> String {
    format!(
        "{{\"input_tokens\":{input},\"cache_creation_input_tokens\":0,\
         \"cache_read_input_tokens\":0,\"cache_creation\":{{\"ephemeral_5m_input_tokens\":0,\
         \"ephemeral_1h_input_tokens\":0}},\"output_tokens\":{output},\"service_tier\":\"standard\"}}"
    )
}

fn stream(ask: &Ask, id: &str, model: &str) -> Plan {
    let usage = usage(ask.input(), 1);
    let start = format!(
        "{{\"type\":\"message_start\",\"message\":{{\"id\":\"{id}\",\"type\":\"message\",\
         \"role\":\"assistant\",\"model\":{model},\"content\":[],\"stop_reason\":null,\
         \"stop_sequence\":null,\"usage\":{usage}}}}}"
    );
    let mut events = Vec::with_capacity(ask.events + 6);
    // Input and a first token of output are told at the start and all output,
    // cumulative, at the end: a stream cut between the two has told that much.
    events.push(event("message_start", &start, Totals::one(ask.input(), 1)));
    events.push(event(
        "content_block_start",
        "{\"type\":\"content_block_start\",\"index\":0,\
         \"content_block\":{\"type\":\"text\",\"text\":\"\"}}",
        Totals::NONE,
    ));
    events.push(event("ping", "{\"type\": \"ping\"}", Totals::NONE));
    for piece in ask.pieces() {
        let delta = format!(
            "{{\"type\":\"content_block_delta\",\"index\":0,\
             \"delta\":{{\"type\":\"text_delta\",\"text\":{}}}}}",
            quoted(piece)
        );
        events.push(event("content_block_delta", &delta, Totals::NONE));
    }
    let stop = "{\"type\":\"content_block_stop\",\"index\":0}";
    events.push(event("content_block_stop", stop, Totals::NONE));
    let output = ask.output();
    let delta = format!(
        "{{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":\"end_turn\",\
         \"stop_sequence\":null}},\"usage\":{{\"output_tokens\":{output}}}}}"
    );
    events.push(event(
        "message_delta",
        &delta,
        Totals::more(output.saturating_sub(1)),
    ));
    let terminal = events.len();
    events.push(event(
        "message_stop",
        "{\"type\":\"message_stop\"}",
        Totals::NONE,
    ));
    Plan {
        content_type: SSE,
        events,
        terminal,
    }
}

fn event(name: &str, data: &str, told: Totals) -> Event {
    Event::telling(format!("event: {name}\ndata: {data}\n\n"), told)
}

pub(super) fn models() -> String {
    let models = ["claude-opus-4-5", "claude-sonnet-4-5", "claude-haiku-4-5"];
    format!(
        "{{\"data\":[{}],\"has_more\":false,\"first_id\":\"{}\",\"last_id\":\"{}\"}}",
        models.map(model).join(","),
        models[0],
        models[models.len() - 1]
    )
}

pub(super) fn model(id: &str) -> String {
    let id = quoted(id);
    format!(
        "{{\"type\":\"model\",\"id\":{id},\"display_name\":{id},\
         \"created_at\":\"2025-09-29T00:00:00Z\"}}"
    )
}

pub(super) fn error(code: u16, ids: Ids) -> Bytes {
    let (kind, message) = match code {
        400 => ("invalid_request_error", "messages: Field required"),
        401 => ("authentication_error", "invalid x-api-key"),
        402 => (
            "billing_error",
            "Your credit balance is too low to access the Anthropic API.",
        ),
        403 => (
            "permission_error",
            "Your API key does not have permission to use the specified resource.",
        ),
        404 => ("not_found_error", "model: fake-model"),
        413 => ("request_too_large", "Request exceeds the maximum size"),
        429 => (
            "rate_limit_error",
            "This request would exceed your organization's rate limit of 50 requests per minute.",
        ),
        504 => ("timeout_error", "Request timed out"),
        529 => ("overloaded_error", "Overloaded"),
        500.. => ("api_error", "Internal server error"),
        _ => ("invalid_request_error", "The request was refused."),
    };
    body(kind, message, ids).into()
}

pub(super) fn error_event(trouble: Trouble, ids: Ids) -> Bytes {
    let data = match trouble {
        Trouble::Failed => body("api_error", "Internal server error", ids),
        Trouble::Overloaded => body("overloaded_error", "Overloaded", ids),
    };
    format!("event: error\ndata: {data}\n\n").into()
}

fn body(kind: &str, message: &str, ids: Ids) -> String {
    let (message, id) = (quoted(message), request_id(Dialect::Anthropic, ids));
    format!(
        "{{\"type\":\"error\",\"error\":{{\"type\":\"{kind}\",\"message\":{message}}},\
         \"request_id\":\"{id}\"}}"
    )
}
