//! What every dialect's tests share, and what holds in all of them.

use proptest::prelude::*;
use serde_json::Value;
use turnpike_api::{Operation, Progress, Usage};

use super::{Speech, Spoken, say};
use crate::event_stream::Splitter;
use crate::metering::meter;

pub(super) const TEXT: &str = "Say \"friend\"\nand enter. \u{1F6AA}";

pub(super) fn speech(operation: Operation) -> Speech<'static> {
    Speech {
        operation,
        model: "team/some-model",
        stream: false,
        include_usage: false,
        sse: false,
        text: TEXT,
        nonce: "n0Nce",
        now: 1_790_000_000,
    }
}

pub(super) fn streamed(operation: Operation) -> Speech<'static> {
    Speech {
        stream: true,
        sse: true,
        ..speech(operation)
    }
}

/// The answer's JSON document.
pub(super) fn document(speech: &Speech<'_>) -> Value {
    let spoken = say(speech).expect("an answer");
    assert_eq!(spoken.content_type, "application/json");
    serde_json::from_slice(&spoken.body).expect("a JSON document")
}

/// The names and the data of the answer's events, read in pieces.
pub(super) fn events(speech: &Speech<'_>) -> Vec<(String, String)> {
    let spoken = say(speech).expect("an answer");
    assert_eq!(spoken.content_type, "text/event-stream");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    let mut events = Vec::new();
    let mut splitter = Splitter::default();
    for piece in spoken.body.chunks(7) {
        splitter.feed(piece, |event| {
            assert!(event.whole);
            events.push((text(event.name), text(event.data)));
        });
    }
    events
}

/// The data of events that have no names, the last of them `[DONE]`.
pub(super) fn chunks(speech: &Speech<'_>) -> Vec<Value> {
    let mut events = events(speech);
    let done = (String::new(), "[DONE]".to_owned());
    assert_eq!(events.pop(), Some(done));
    let chunk = |(name, data): (String, String)| {
        assert_eq!(name, "");
        parsed(&data)
    };
    events.into_iter().map(chunk).collect()
}

/// The data of events whose name is also their `type`, which is taken out of it.
pub(super) fn named(speech: &Speech<'_>) -> Vec<(String, Value)> {
    let event = |(name, data): (String, String)| {
        let mut data = parsed(&data);
        let kind = data
            .as_object_mut()
            .and_then(|members| members.remove("type"));
        assert_eq!(kind, Some(name.as_str().into()));
        (name, data)
    };
    events(speech).into_iter().map(event).collect()
}

pub(super) fn parsed(data: &str) -> Value {
    serde_json::from_str(data).expect("JSON")
}

/// Every way in which a text can be asked for.
fn ways() -> Vec<Speech<'static>> {
    let mut ways = Vec::new();
    for operation in Operation::ALL {
        for asked in 0..8 {
            ways.push(Speech {
                stream: asked & 1 != 0,
                include_usage: asked & 2 != 0,
                sse: asked & 4 != 0,
                ..speech(operation)
            });
        }
    }
    ways.retain(|speech| say(speech).is_some());
    ways
}

/// What a client shows, and the names of the model that it reads on the way.
fn heard(speech: &Speech<'_>, spoken: &Spoken) -> (String, Vec<String>) {
    let mut values = Vec::new();
    if spoken.content_type == "application/json" {
        values.push(document(speech));
    } else {
        let events = events(speech).into_iter();
        let data = events.filter(|(_, data)| data != "[DONE]");
        values.extend(data.map(|(_, data)| parsed(&data)));
    }
    let (mut text, mut models) = (String::new(), Vec::new());
    for value in &values {
        for place in [
            "/choices/0/message/content",
            "/choices/0/delta/content",
            "/choices/0/text",
            "/output/0/content/0/text",
            "/delta",
            "/content/0/text",
            "/delta/text",
            "/candidates/0/content/parts/0/text",
            "/0/candidates/0/content/parts/0/text",
        ] {
            text.extend(value.pointer(place).and_then(Value::as_str));
        }
        for place in [
            "/model",
            "/response/model",
            "/message/model",
            "/modelVersion",
            "/0/modelVersion",
        ] {
            let model = value.pointer(place).and_then(Value::as_str);
            models.extend(model.map(str::to_owned));
        }
    }
    (text, models)
}

fn assert_is_heard(text: &str) {
    for way in ways() {
        let speech = Speech {
            text,
            model: text,
            ..way
        };
        let spoken = say(&speech).expect("an answer");
        let (heard, models) = heard(&speech, &spoken);
        assert_eq!(heard, text, "{speech:?}");
        assert!(!models.is_empty(), "{speech:?}");
        assert!(models.iter().all(|model| model == text), "{speech:?}");
    }
}

#[test]
fn every_text_arrives_as_it_is() {
    for text in [
        "",
        "plain",
        r#"she said "\"no\"" \ and left"#,
        "lines\nof\r\nall\rkinds\n\ndata: none\n\nevent: none\n",
        "\u{0}\u{1}\u{8}\u{b}\u{c}\u{1b}\u{1f}\u{7f}\t",
        "\u{85}\u{2028}\u{2029}\u{feff}\\u2028",
        "ä, 漢字, \u{1F6AA}, e\u{301}",
        "</script> https://gateway.example/auth/login?token=a-b_c&d=e#f",
        "[DONE]",
    ] {
        assert_is_heard(text);
    }
}

proptest! {
    #[test]
    fn any_text_arrives_as_it_is(text in any::<String>()) {
        assert_is_heard(&text);
    }
}

#[test]
fn no_event_is_cut_by_readers_of_python_lines() {
    let text = "a\u{b}b\u{c}c\u{1c}d\u{1d}e\u{1e}f\u{85}g\u{2028}h\u{2029}i\rj";
    for way in ways() {
        let spoken = say(&Speech { text, ..way }).expect("an answer");
        if spoken.content_type == "text/event-stream" {
            let body = String::from_utf8(spoken.body).expect("UTF-8");
            let ends = |c: char| (c.is_control() && c != '\n') || "\u{2028}\u{2029}".contains(c);
            assert!(!body.contains(ends), "{way:?}");
        }
    }
}

#[test]
fn the_gateway_reads_it_as_a_whole_answer_without_usage() {
    for way in ways() {
        let spoken = say(&way).expect("an answer");
        let streamed = spoken.content_type == "text/event-stream";
        let mut meter = meter(way.operation, streamed);
        assert_eq!(meter.read(&spoken.body), Progress::Finished, "{way:?}");
        let asked = match way.operation {
            Operation::ChatCompletions | Operation::Completions => !streamed || way.include_usage,
            _ => true,
        };
        assert_eq!(meter.usage(), asked.then(Usage::default), "{way:?}");
    }
}

#[test]
fn the_way_it_was_asked_for_decides_the_form() {
    use Operation::*;
    let is_stream =
        |speech: &Speech<'_>| say(speech).expect("an answer").content_type == "text/event-stream";
    for operation in [ChatCompletions, Completions, Responses, Messages] {
        let sse = Speech {
            sse: true,
            ..speech(operation)
        };
        assert!(!is_stream(&sse));
        let stream = Speech {
            sse: false,
            ..streamed(operation)
        };
        assert!(is_stream(&stream));
    }
    assert!(!is_stream(&streamed(GenerateContent)));
    let array = Speech {
        sse: false,
        ..streamed(StreamGenerateContent)
    };
    assert!(!is_stream(&array));
    let by_path = Speech {
        stream: false,
        ..streamed(StreamGenerateContent)
    };
    assert!(is_stream(&by_path));
}

#[test]
fn operations_whose_answer_is_no_text_have_none() {
    use Operation::*;
    for operation in [
        Embeddings,
        CountMessageTokens,
        CountTokens,
        EmbedContent,
        PassThrough,
    ] {
        assert_eq!(say(&speech(operation)), None);
        assert_eq!(say(&streamed(operation)), None);
    }
}
