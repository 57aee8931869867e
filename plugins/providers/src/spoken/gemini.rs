//! Gemini's `generateContent` and `streamGenerateContent`.

use serde_json::{Value, json};

use super::{Events, Speech, Spoken};

pub(super) fn content(speech: &Speech<'_>) -> Spoken {
    Spoken::json(&object(speech))
}

/// A stream of one chunk, which is the whole answer.
pub(super) fn stream(speech: &Speech<'_>) -> Spoken {
    if !speech.sse {
        return Spoken::json(&json!([object(speech)]));
    }
    let mut events = Events::default();
    events.push(&object(speech));
    events.spoken()
}

fn object(speech: &Speech<'_>) -> Value {
    json!({
        "candidates": [{
            "content": {"parts": [{"text": speech.text}], "role": "model"},
            "finishReason": "STOP",
            "index": 0,
        }],
        "usageMetadata": {
            "promptTokenCount": 0,
            "candidatesTokenCount": 0,
            "totalTokenCount": 0,
        },
        "modelVersion": speech.model,
        "responseId": format!("sandbox-{}", speech.nonce),
    })
}

#[cfg(test)]
mod tests {
    use turnpike_api::Operation::{GenerateContent, StreamGenerateContent};

    use super::*;
    use crate::spoken::tests::{TEXT, document, events, parsed, speech, streamed};

    fn expected() -> Value {
        json!({
            "candidates": [{
                "content": {"parts": [{"text": TEXT}], "role": "model"},
                "finishReason": "STOP",
                "index": 0,
            }],
            "usageMetadata": {
                "promptTokenCount": 0,
                "candidatesTokenCount": 0,
                "totalTokenCount": 0,
            },
            "modelVersion": "team/some-model",
            "responseId": "sandbox-n0Nce",
        })
    }

    #[test]
    fn content_is_one_object() {
        assert_eq!(document(&speech(GenerateContent)), expected());
    }

    #[test]
    fn a_stream_is_one_frame() {
        let events = events(&streamed(StreamGenerateContent));
        let [(name, data)] = &events[..] else {
            panic!("{events:?}");
        };
        assert_eq!((name.as_str(), parsed(data)), ("", expected()));
    }

    #[test]
    fn a_stream_without_sse_is_an_array() {
        let array = document(&speech(StreamGenerateContent));
        assert_eq!(array, json!([expected()]));
    }
}
