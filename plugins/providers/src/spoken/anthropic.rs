//! Anthropic's Messages.

use serde_json::{Value, json};

use super::{Events, Speech, Spoken};

pub(super) fn message(speech: &Speech<'_>) -> Spoken {
    if speech.stream {
        return stream(speech);
    }
    let content = json!([{"type": "text", "text": speech.text}]);
    Spoken::json(&object(speech, content, Some("end_turn")))
}

fn stream(speech: &Speech<'_>) -> Spoken {
    let mut events = Events::default();
    let empty = json!({"message": object(speech, json!([]), None)});
    events.push_named("message_start", empty);
    let block = json!({"index": 0, "content_block": {"type": "text", "text": ""}});
    events.push_named("content_block_start", block);
    let delta = json!({"index": 0, "delta": {"type": "text_delta", "text": speech.text}});
    events.push_named("content_block_delta", delta);
    events.push_named("content_block_stop", json!({"index": 0}));
    let end = json!({
        "delta": {"stop_reason": "end_turn", "stop_sequence": null},
        "usage": no_usage(),
    });
    events.push_named("message_delta", end);
    events.push_named("message_stop", json!({}));
    events.spoken()
}

fn object(speech: &Speech<'_>, content: Value, stop_reason: Option<&str>) -> Value {
    json!({
        "id": format!("msg_sandbox_{}", speech.nonce),
        "type": "message",
        "role": "assistant",
        "model": speech.model,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": null,
        "usage": no_usage(),
    })
}

fn no_usage() -> Value {
    json!({
        "input_tokens": 0,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": 0,
    })
}

#[cfg(test)]
mod tests {
    use turnpike_api::Operation::Messages;

    use super::*;
    use crate::spoken::tests::{TEXT, document, named, speech, streamed};

    fn zeros() -> Value {
        json!({
            "input_tokens": 0,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 0,
        })
    }

    #[test]
    fn a_message() {
        let expected = json!({
            "id": "msg_sandbox_n0Nce",
            "type": "message",
            "role": "assistant",
            "model": "team/some-model",
            "content": [{"type": "text", "text": TEXT}],
            "stop_reason": "end_turn",
            "stop_sequence": null,
            "usage": zeros(),
        });
        assert_eq!(document(&speech(Messages)), expected);
    }

    #[test]
    fn a_streamed_message() {
        let message = json!({
            "id": "msg_sandbox_n0Nce",
            "type": "message",
            "role": "assistant",
            "model": "team/some-model",
            "content": [],
            "stop_reason": null,
            "stop_sequence": null,
            "usage": zeros(),
        });
        let expected = [
            ("message_start", json!({"message": message})),
            (
                "content_block_start",
                json!({"index": 0, "content_block": {"type": "text", "text": ""}}),
            ),
            (
                "content_block_delta",
                json!({"index": 0, "delta": {"type": "text_delta", "text": TEXT}}),
            ),
            ("content_block_stop", json!({"index": 0})),
            (
                "message_delta",
                json!({
                    "delta": {"stop_reason": "end_turn", "stop_sequence": null},
                    "usage": zeros(),
                }),
            ),
            ("message_stop", json!({})),
        ]
        .map(|(name, data)| (name.to_owned(), data));
        assert_eq!(named(&streamed(Messages)), expected);
    }
}
