//! Chat completions, the legacy completions, models and errors.

use bytes::Bytes;

use super::{Answer, Ask, Event, Plan, Trouble, Wish};
use crate::ids::{now, quoted};
use crate::totals::Totals;

pub(super) const SSE: &str = "text/event-stream; charset=utf-8";

pub(super) fn chat(ask: &Ask) -> Result<Answer, u16> {
    let wish = Wish::of(&ask.body)?;
    let writer = Writer::new(ask, &wish, "chatcmpl-", "chat.completion.chunk");
    if ask.streams(&wish) {
        return Ok(writer.stream(ask, &wish, true));
    }
    let Writer {
        id, created, model, ..
    } = writer;
    let (text, usage) = (quoted(&ask.text()), usage(ask));
    let body = format!(
        "{{\"id\":\"{id}\",\"object\":\"chat.completion\",\"created\":{created},\"model\":{model},\
         \"choices\":[{{\"index\":0,\"message\":{{\"role\":\"assistant\",\"content\":{text},\
         \"refusal\":null,\"annotations\":[]}},\"logprobs\":null,\"finish_reason\":\"stop\"}}],\
         \"usage\":{usage},\"service_tier\":\"default\",\"system_fingerprint\":\"fp_44709d6fcb\"}}\n"
    );
    Ok(Answer::json(body, ask.told()))
}

pub(super) fn completions(ask: &Ask) -> Result<Answer, u16> {
    let wish = Wish::of(&ask.body)?;
    let writer = Writer::new(ask, &wish, "cmpl-", "text_completion");
    if ask.streams(&wish) {
        return Ok(writer.stream(ask, &wish, false));
    }
    let Writer {
        id, created, model, ..
    } = writer;
    let (text, usage) = (quoted(&ask.text()), usage(ask));
    let body = format!(
        "{{\"id\":\"{id}\",\"object\":\"text_completion\",\"created\":{created},\"model\":{model},\
         \"choices\":[{{\"text\":{text},\"index\":0,\"logprobs\":null,\"finish_reason\":\"stop\"}}],\
         \"usage\":{usage}}}\n"
    );
    Ok(Answer::json(body, ask.told()))
}

fn usage(ask: &Ask) -> String {
    let (input, output) = (ask.input(), ask.output());
    let total = input + output;
    format!(
        "{{\"prompt_tokens\":{input},\"completion_tokens\":{output},\"total_tokens\":{total},\
         \"prompt_tokens_details\":{{\"cached_tokens\":0,\"audio_tokens\":0}},\
         \"completion_tokens_details\":{{\"reasoning_tokens\":0,\"audio_tokens\":0,\
         \"accepted_prediction_tokens\":0,\"rejected_prediction_tokens\":0}}}}"
    )
}

/// What all chunks of one answer share.
struct Writer {
    id: String,
    created: u64,
    model: String,
    object: &'static str,
    /// `,"usage":null` in each chunk when usage was asked for.
    usage: &'static str,
}

impl Writer {
    fn new(ask: &Ask, wish: &Wish, prefix: &str, object: &'static str) -> Self {
        Self {
            id: ask.ids.id(prefix, 29),
            created: now(),
            model: quoted(wish.model()),
            object,
            usage: if wish.includes_usage() {
                ",\"usage\":null"
            } else {
                ""
            },
        }
    }

    fn stream(self, ask: &Ask, wish: &Wish, chat: bool) -> Answer {
        let mut events = Vec::with_capacity(ask.events + 4);
        if chat {
            events.push(self.delta(
                "{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}",
                "null",
            ));
        }
        for piece in ask.pieces() {
            events.push(if chat {
                self.delta(&format!("{{\"content\":{}}}", quoted(piece)), "null")
            } else {
                self.text(piece, "null")
            });
        }
        events.push(if chat {
            self.delta("{}", "\"stop\"")
        } else {
            self.text("", "\"stop\"")
        });
        if wish.includes_usage() {
            let usage = format!(",\"usage\":{}", usage(ask));
            events.push(Event::telling(self.chunk("[]", &usage), ask.told()));
        }
        let terminal = events.len();
        events.push(Event::new("data: [DONE]\n\n".to_owned()));
        Answer::Stream(Plan {
            content_type: SSE,
            events,
            terminal,
        })
    }

    fn delta(&self, delta: &str, finish: &str) -> Event {
        let choices = format!(
            "[{{\"index\":0,\"delta\":{delta},\"logprobs\":null,\"finish_reason\":{finish}}}]"
        );
        Event::new(self.chunk(&choices, self.usage))
    }

    fn text(&self, text: &str, finish: &str) -> Event {
        let text = quoted(text);
        let choices = format!(
            "[{{\"text\":{text},\"index\":0,\"logprobs\":null,\"finish_reason\":{finish}}}]"
        );
        Event::new(self.chunk(&choices, self.usage))
    }

    fn chunk(&self, choices: &str, usage: &str) -> String {
        let Self {
            id,
            created,
            model,
            object,
            ..
        } = self;
        format!(
            "data: {{\"id\":\"{id}\",\"object\":\"{object}\",\"created\":{created},\
             \"model\":{model},\"service_tier\":\"default\",\
             \"system_fingerprint\":\"fp_44709d6fcb\",\"choices\":{choices}{usage}}}\n\n"
        )
    }
}

pub(super) fn models() -> String {
    let models = [
        "gpt-4o",
        "gpt-4o-mini",
        "gpt-4.1",
        "text-embedding-3-small",
        "fake-model",
    ];
    format!(
        "{{\"object\":\"list\",\"data\":[{}]}}",
        models.map(model).join(",")
    )
}

pub(super) fn model(id: &str) -> String {
    let id = quoted(id);
    format!("{{\"id\":{id},\"object\":\"model\",\"created\":1715367049,\"owned_by\":\"system\"}}")
}

pub(super) fn error(code: u16) -> Bytes {
    let (message, kind, reason) = match code {
        400 => (
            "Invalid value for 'messages'.",
            "invalid_request_error",
            "\"invalid_value\"",
        ),
        401 => (
            "Incorrect API key provided: sk-fake****cret. You can find your API key at \
             https://platform.openai.com/account/api-keys.",
            "invalid_request_error",
            "\"invalid_api_key\"",
        ),
        402 => (
            "Insufficient Balance",
            "unknown_error",
            "\"invalid_request_error\"",
        ),
        403 => (
            "Country, region, or territory not supported",
            "request_forbidden",
            "\"unsupported_country_region_territory\"",
        ),
        404 => (
            "The model `fake-model` does not exist or you do not have access to it.",
            "invalid_request_error",
            "\"model_not_found\"",
        ),
        413 => (
            "Request body is too large.",
            "invalid_request_error",
            "\"request_too_large\"",
        ),
        429 => (
            "Rate limit reached for fake-model in organization org-fake-provider on requests per \
             min (RPM): Limit 500, Used 500, Requested 1. Please try again in 120ms.",
            "requests",
            "\"rate_limit_exceeded\"",
        ),
        503 => (
            "The engine is currently overloaded, please try again later",
            "service_unavailable_error",
            "null",
        ),
        500.. => (
            "The server had an error while processing your request. Sorry about that!",
            "server_error",
            "null",
        ),
        _ => ("The request was refused.", "invalid_request_error", "null"),
    };
    body(message, kind, reason)
}

pub(super) fn error_event(trouble: Trouble) -> Bytes {
    let code = match trouble {
        Trouble::Failed => 500,
        Trouble::Overloaded => 503,
    };
    let error = String::from_utf8_lossy(&error(code)).replace('\n', "");
    format!("data: {error}\n\n").into()
}

fn body(message: &str, kind: &str, code: &str) -> Bytes {
    let message = quoted(message);
    format!(
        "{{\n  \"error\": {{\n    \"message\": {message},\n    \"type\": \"{kind}\",\n    \
         \"param\": null,\n    \"code\": {code}\n  }}\n}}\n"
    )
    .into()
}

/// For the routes that answer one JSON object and tell no output.
pub(super) fn input_only(ask: &Ask, body: String) -> Answer {
    Answer::json(body, Totals::one(ask.input(), 0))
}
