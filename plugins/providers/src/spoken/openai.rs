//! OpenAI's chat completions, and the text completions before them.

use serde_json::{Value, json};

use super::{Events, Speech, Spoken};

/// What an answer and every chunk of a stream begin with.
struct Head {
    id: String,
    object: &'static str,
}

pub(super) fn chat(speech: &Speech<'_>) -> Spoken {
    let id = format!("chatcmpl-sandbox-{}", speech.nonce);
    if speech.stream {
        let object = "chat.completion.chunk";
        return stream(speech, &Head { id, object }, chat_pieces(speech.text));
    }
    let object = "chat.completion";
    let choice = json!({
        "index": 0,
        "message": {
            "role": "assistant",
            "content": speech.text,
            "refusal": null,
            "annotations": [],
        },
        "logprobs": null,
        "finish_reason": "stop",
    });
    whole(speech, &Head { id, object }, choice)
}

fn chat_pieces(text: &str) -> Vec<Value> {
    let piece = |delta: Value, finish_reason: Option<&str>| {
        json!({
            "index": 0,
            "delta": delta,
            "logprobs": null,
            "finish_reason": finish_reason,
        })
    };
    let role = json!({"role": "assistant", "content": "", "refusal": null});
    vec![
        piece(role, None),
        piece(json!({"content": text}), None),
        piece(json!({}), Some("stop")),
    ]
}

pub(super) fn completion(speech: &Speech<'_>) -> Spoken {
    let head = Head {
        id: format!("cmpl-sandbox-{}", speech.nonce),
        object: "text_completion",
    };
    let choice = |text: &str, finish_reason: Option<&str>| {
        json!({
            "index": 0,
            "text": text,
            "logprobs": null,
            "finish_reason": finish_reason,
        })
    };
    if speech.stream {
        let pieces = vec![choice(speech.text, None), choice("", Some("stop"))];
        return stream(speech, &head, pieces);
    }
    whole(speech, &head, choice(speech.text, Some("stop")))
}

fn whole(speech: &Speech<'_>, head: &Head, choice: Value) -> Spoken {
    let mut answer = head.with(speech, vec![choice]);
    answer["usage"] = no_usage();
    Spoken::json(&answer)
}

/// Who asks for the usage gets it in a chunk of its own, and `null` in those before it.
fn stream(speech: &Speech<'_>, head: &Head, pieces: Vec<Value>) -> Spoken {
    let mut events = Events::default();
    let mut push = |choices: Vec<Value>, usage: Value| {
        let mut chunk = head.with(speech, choices);
        if speech.include_usage {
            chunk["usage"] = usage;
        }
        events.push(&chunk);
    };
    for piece in pieces {
        push(vec![piece], Value::Null);
    }
    if speech.include_usage {
        push(Vec::new(), no_usage());
    }
    events.push_raw("[DONE]");
    events.spoken()
}

impl Head {
    fn with(&self, speech: &Speech<'_>, choices: Vec<Value>) -> Value {
        json!({
            "id": self.id,
            "object": self.object,
            "created": speech.now,
            "model": speech.model,
            "choices": choices,
        })
    }
}

fn no_usage() -> Value {
    json!({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0})
}

#[cfg(test)]
mod tests {
    use turnpike_api::Operation::{ChatCompletions, Completions};

    use super::*;
    use crate::spoken::tests::{TEXT, chunks, document, speech, streamed};

    #[test]
    fn a_chat() {
        let expected = json!({
            "id": "chatcmpl-sandbox-n0Nce",
            "object": "chat.completion",
            "created": 1_790_000_000,
            "model": "team/some-model",
            "choices": [{
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": TEXT,
                    "refusal": null,
                    "annotations": [],
                },
                "logprobs": null,
                "finish_reason": "stop",
            }],
            "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        });
        assert_eq!(document(&speech(ChatCompletions)), expected);
    }

    #[test]
    fn a_streamed_chat() {
        let chunk = |delta: Value, finish_reason: Option<&str>| {
            json!({
                "id": "chatcmpl-sandbox-n0Nce",
                "object": "chat.completion.chunk",
                "created": 1_790_000_000,
                "model": "team/some-model",
                "choices": [{
                    "index": 0,
                    "delta": delta,
                    "logprobs": null,
                    "finish_reason": finish_reason,
                }],
            })
        };
        let expected = [
            chunk(
                json!({"role": "assistant", "content": "", "refusal": null}),
                None,
            ),
            chunk(json!({"content": TEXT}), None),
            chunk(json!({}), Some("stop")),
        ];
        assert_eq!(chunks(&streamed(ChatCompletions)), expected);
    }

    #[test]
    fn a_completion() {
        let expected = json!({
            "id": "cmpl-sandbox-n0Nce",
            "object": "text_completion",
            "created": 1_790_000_000,
            "model": "team/some-model",
            "choices": [{"index": 0, "text": TEXT, "logprobs": null, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        });
        assert_eq!(document(&speech(Completions)), expected);
    }

    #[test]
    fn a_streamed_completion() {
        let chunk = |text: &str, finish_reason: Option<&str>| {
            json!({
                "id": "cmpl-sandbox-n0Nce",
                "object": "text_completion",
                "created": 1_790_000_000,
                "model": "team/some-model",
                "choices": [{
                    "index": 0,
                    "text": text,
                    "logprobs": null,
                    "finish_reason": finish_reason,
                }],
            })
        };
        let expected = [chunk(TEXT, None), chunk("", Some("stop"))];
        assert_eq!(chunks(&streamed(Completions)), expected);
    }

    #[test]
    fn usage_comes_last_and_only_when_asked_for() {
        for operation in [ChatCompletions, Completions] {
            let unasked = chunks(&streamed(operation));
            assert!(unasked.iter().all(|chunk| chunk.get("usage").is_none()));

            let mut asked = chunks(&Speech {
                include_usage: true,
                ..streamed(operation)
            });
            let mut usage = unasked[0].clone();
            usage["choices"] = json!([]);
            usage["usage"] = json!({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0});
            assert_eq!(asked.pop(), Some(usage));
            for chunk in &mut asked {
                let members = chunk.as_object_mut().expect("an object");
                assert_eq!(members.remove("usage"), Some(Value::Null));
            }
            assert_eq!(asked, unasked);
        }
    }
}
