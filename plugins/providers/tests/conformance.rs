//! Every row of the table against the seam's conformance suite, with answers as vendors send them.

use turnpike_api::testing::{Sample, conforming_provider};
use turnpike_api::{Fault, Operation, Progress, Provider, Usage, find};
use turnpike_providers::PROVIDERS;

macro_rules! golden {
    ($name:literal) => {
        include_bytes!(concat!("golden/", $name))
    };
}

fn sample(operation: Operation, body: &[u8], usage: Option<Usage>) -> Sample<'_> {
    let event_stream = !body.trim_ascii_start().starts_with(b"{") && !body.starts_with(b"[");
    Sample {
        operation,
        event_stream,
        body,
        progress: Progress::Finished,
        usage,
    }
}

fn failed(operation: Operation, body: &[u8], fault: Fault) -> Sample<'_> {
    Sample {
        progress: Progress::Failed(fault),
        ..sample(operation, body, None)
    }
}

fn usage(input: u64, output: u64) -> Usage {
    Usage {
        input,
        output,
        ..Usage::default()
    }
}

fn openai_samples() -> Vec<Sample<'static>> {
    let chat = Usage {
        cache_read: 1024,
        reasoning: 32,
        ..usage(1117, 46)
    };
    let responses = Usage {
        cache_read: 12,
        reasoning: 5,
        ..usage(37, 11)
    };
    let response = Usage {
        reasoning: 64,
        ..usage(36, 87)
    };
    use Operation::*;
    vec![
        sample(ChatCompletions, golden!("chat.sse"), Some(chat)),
        sample(ChatCompletions, golden!("chat.json"), Some(usage(19, 10))),
        sample(ChatCompletions, golden!("groq.sse"), Some(usage(18, 556))),
        failed(
            ChatCompletions,
            golden!("openrouter-failed.sse"),
            Fault::ServerError,
        ),
        failed(
            ChatCompletions,
            b"data: {\"error\":{\"message\":\"slow down\",\"type\":\"rate_limit_error\"}}\n\n",
            Fault::RateLimited,
        ),
        sample(
            ChatCompletions,
            b"data: {\"error\":{\"type\":\"invalid_request_error\",\"message\":\"no\"}}\n\n",
            None,
        ),
        sample(
            Completions,
            b"data: {\"choices\":[{\"text\":\"a\"}]}\n\ndata: [DONE]\n\n",
            None,
        ),
        sample(Responses, golden!("responses.sse"), Some(responses)),
        sample(Responses, golden!("responses.json"), Some(response)),
        failed(
            Responses,
            golden!("responses-failed.sse"),
            Fault::RateLimited,
        ),
        sample(Embeddings, golden!("embeddings.json"), Some(usage(8, 0))),
        sample(PassThrough, golden!("transcript.sse"), Some(usage(14, 31))),
        sample(PassThrough, b"{\"text\":\"I see\"}", None),
        Sample {
            progress: Progress::Open,
            ..Sample {
                event_stream: false,
                ..sample(PassThrough, b"ID3\x04{\"usage\":{}}", None)
            }
        },
    ]
}

fn anthropic_samples() -> Vec<Sample<'static>> {
    let stream = Usage {
        cache_read: 17820,
        cache_write: 456,
        ..usage(18280, 89)
    };
    let whole = Usage {
        cache_read: 100,
        ..usage(2195, 503)
    };
    use Operation::*;
    vec![
        sample(Messages, golden!("messages.sse"), Some(stream)),
        sample(Messages, golden!("messages.json"), Some(whole)),
        failed(
            Messages,
            golden!("messages-overloaded.sse"),
            Fault::Overloaded,
        ),
        sample(CountMessageTokens, b"{\"input_tokens\":2095}\n", None),
    ]
}

fn gemini_samples() -> Vec<Sample<'static>> {
    let stream = Usage {
        cache_read: 3,
        reasoning: 385,
        ..usage(11, 405)
    };
    let whole = Usage {
        reasoning: 30,
        ..usage(18, 50)
    };
    use Operation::*;
    vec![
        sample(StreamGenerateContent, golden!("gemini.sse"), Some(stream)),
        sample(
            StreamGenerateContent,
            golden!("gemini-array.json"),
            Some(usage(4, 9)),
        ),
        sample(
            StreamGenerateContent,
            golden!("gemini-blocked.sse"),
            Some(usage(7, 0)),
        ),
        failed(
            StreamGenerateContent,
            golden!("gemini-failed.sse"),
            Fault::Overloaded,
        ),
        sample(GenerateContent, golden!("gemini.json"), Some(whole)),
        sample(
            CountTokens,
            b"{\"totalTokens\":31,\"promptTokensDetails\":[]}",
            None,
        ),
        sample(
            EmbedContent,
            b"{\"embedding\":{\"values\":[0.01,-0.02]}}",
            None,
        ),
    ]
}

fn provider(kind: &str) -> std::sync::Arc<dyn Provider> {
    (find(PROVIDERS, kind).expect("a kind").build)(&())
}

#[test]
fn every_provider_conforms() {
    for row in PROVIDERS {
        let samples = match row.kind {
            "claude" => anthropic_samples(),
            "gemini" | "vertex" => gemini_samples(),
            _ => openai_samples(),
        };
        conforming_provider(&*(row.build)(&()), &samples);
    }
}

#[test]
fn patterns_are_lower_case_and_each_known_model_matches_one() {
    for row in PROVIDERS {
        let provider = (row.build)(&());
        for pattern in provider.model_patterns() {
            assert_eq!(
                *pattern,
                pattern.to_ascii_lowercase(),
                "globs are compared in lower case"
            );
        }
        for model in provider.known_models() {
            let own = provider.model_patterns();
            assert!(
                own.is_empty()
                    || own
                        .iter()
                        .any(|glob| turnpike_api::glob_matches(glob, model)),
                "{}: {model}",
                row.kind,
            );
        }
    }
}

#[test]
fn a_stream_stands_as_its_events_say() {
    let claude = provider("claude");
    let mut meter = claude.meter(Operation::Messages, true);
    assert_eq!(
        meter.read(b": hello\n\nevent: message_start\ndata: {\"mess"),
        Progress::Undecided
    );
    let rest = b"age\":{\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\n";
    assert_eq!(meter.read(rest), Progress::Open);
    assert_eq!(meter.usage(), Some(usage(3, 1)));
    let error = b"event: error\ndata: {\"error\":{\"type\":\"api_error\"}}\n\n";
    assert_eq!(meter.read(error), Progress::Failed(Fault::ServerError));
    assert_eq!(
        meter.read(b"event: message_stop\ndata: {}\n\n"),
        Progress::Failed(Fault::ServerError),
        "what failed stays so",
    );
}

#[test]
fn usage_is_read_after_the_end() {
    let gemini = provider("gemini");
    let mut meter = gemini.meter(Operation::StreamGenerateContent, true);
    let end = b"data: {\"candidates\":[{\"finishReason\":\"STOP\"}]}\n\n";
    assert_eq!(meter.read(end), Progress::Finished);
    assert_eq!(meter.usage(), None);
    meter
        .read(b"data: {\"usageMetadata\":{\"promptTokenCount\":2,\"candidatesTokenCount\":3}}\n\n");
    assert_eq!(meter.usage(), Some(usage(2, 3)));
}

#[test]
fn an_event_too_large_still_counts() {
    let padding = "x".repeat(2 << 20);
    let responses = format!(
        "event: response.completed\ndata: {{\"type\":\"response.completed\",\"response\":{{\
         \"output\":[\"{padding}\"],\"usage\":{{\"input_tokens\":3,\"output_tokens\":4}}}}}}\n\n",
    );
    let gemini = format!(
        "data: {{\"candidates\":[{{\"content\":\"{padding}\",\"finishReason\":\"STOP\"}}],\
         \"usageMetadata\":{{\"promptTokenCount\":3,\"candidatesTokenCount\":4}}}}\n\n",
    );
    for (kind, operation, body) in [
        ("openai", Operation::Responses, responses),
        ("gemini", Operation::StreamGenerateContent, gemini),
    ] {
        let mut meter = provider(kind).meter(operation, true);
        let progress = body
            .as_bytes()
            .chunks(16_384)
            .map(|piece| meter.read(piece))
            .last();
        assert_eq!(progress, Some(Progress::Finished), "{kind}");
        assert_eq!(meter.usage(), Some(usage(3, 4)), "{kind}");
    }
}
