//! How a stream stands after each of its events, and what it says when it fails.

use std::time::Duration;

use turnpike_api::{Fault, Operation, Progress, Provider, Usage, find};
use turnpike_providers::PROVIDERS;

macro_rules! golden {
    ($name:literal) => {
        include_bytes!(concat!("golden/", $name))
    };
}

fn provider(kind: &str) -> std::sync::Arc<dyn Provider> {
    (find(PROVIDERS, kind).expect("a kind").build)(&())
}

fn usage(input: u64, output: u64) -> Usage {
    Usage {
        input,
        output,
        ..Usage::default()
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
    assert_eq!(meter.read(rest), Progress::Undecided, "an opening");
    assert_eq!(meter.usage(), Some(usage(3, 1)));
    let delta = b"event: content_block_delta\ndata: {\"delta\":{\"text\":\"a\"}}\n\n";
    assert_eq!(meter.read(delta), Progress::Open);
    let ping = b"event: ping\ndata: {\"type\":\"ping\"}\n\n";
    assert_eq!(meter.read(ping), Progress::Open, "what is open stays so");
    let error = b"event: error\ndata: {\"error\":{\"type\":\"api_error\"}}\n\n";
    assert_eq!(meter.read(error), Progress::Failed(Fault::ServerError));
    assert_eq!(
        meter.read(b"event: message_stop\ndata: {}\n\n"),
        Progress::Failed(Fault::ServerError),
        "what failed stays so",
    );
}

/// How the stream stands after each of its blocks, comments among them.
fn steps(kind: &str, operation: Operation, stream: &str) -> Vec<Progress> {
    let mut meter = provider(kind).meter(operation, true);
    let stream = stream.replace("\r\n", "\n");
    stream
        .split_inclusive("\n\n")
        .map(|block| meter.read(block.as_bytes()))
        .collect()
}

#[test]
fn openings_leave_a_stream_undecided() {
    use Operation::*;
    use Progress::*;
    let text = |golden: &'static [u8]| std::str::from_utf8(golden).expect("a text");
    let limited = Failed(Fault::RateLimited);
    let overloaded = Failed(Fault::Overloaded);
    for (kind, operation, stream, expected) in [
        (
            "openai",
            ChatCompletions,
            text(golden!("chat.sse")),
            &[Undecided, Open, Open, Open, Finished][..],
        ),
        (
            "groq",
            ChatCompletions,
            text(golden!("groq.sse")),
            &[Open, Open, Finished],
        ),
        (
            "openrouter",
            ChatCompletions,
            text(golden!("openrouter-failed.sse")),
            &[Undecided, Undecided, Failed(Fault::ServerError)],
        ),
        (
            "openai",
            Completions,
            "data: {\"choices\":[{\"text\":\"\"}]}\n\ndata:\n\ndata: [DONE]\n\n",
            &[Undecided, Undecided, Finished],
        ),
        (
            "openai",
            Responses,
            text(golden!("responses.sse")),
            &[Undecided, Open, Finished],
        ),
        (
            "openai",
            Responses,
            text(golden!("responses-failed.sse")),
            &[Undecided, limited],
        ),
        (
            "codex",
            Responses,
            text(golden!("codex-limited.sse")),
            &[Undecided, Undecided, limited],
        ),
        (
            "openai",
            PassThrough,
            text(golden!("transcript.sse")),
            &[Open, Finished],
        ),
        (
            "claude",
            Messages,
            text(golden!("messages.sse")),
            &[Undecided, Undecided, Undecided, Open, Open, Open, Finished],
        ),
        (
            "claude",
            Messages,
            text(golden!("messages-overloaded-late.sse")),
            &[Undecided, Undecided, Undecided, overloaded],
        ),
        (
            "gemini",
            StreamGenerateContent,
            text(golden!("gemini.sse")),
            &[Open, Finished],
        ),
        (
            "vertex",
            StreamGenerateContent,
            text(golden!("gemini-exhausted.sse")),
            &[Undecided, limited],
        ),
        (
            "gemini",
            StreamGenerateContent,
            text(golden!("gemini-blocked.sse")),
            &[Finished],
        ),
    ] {
        assert_eq!(steps(kind, operation, stream), expected, "{kind}: {stream}");
    }
}

#[test]
fn an_error_in_a_stream_says_when_to_come_back() {
    let hint = |kind: &str, operation, stream: &[u8]| {
        let mut meter = provider(kind).meter(operation, true);
        meter.read(stream);
        let hint = meter.hint(1_777_936_000_000);
        (hint.wait, hint.whole_credential)
    };
    let after = |seconds: f64| Some(Duration::from_secs_f64(seconds));
    let responses = |stream| hint("codex", Operation::Responses, stream);
    let gemini = |stream| hint("gemini", Operation::StreamGenerateContent, stream);
    assert_eq!(
        responses(golden!("codex-limited.sse")),
        (after(13_872.0), true)
    );
    assert_eq!(
        responses(golden!("responses-failed-later.sse")),
        (after(1.2), false)
    );
    assert_eq!(responses(golden!("responses-failed.sse")), (None, false));
    assert_eq!(
        gemini(golden!("gemini-exhausted.sse")),
        (after(34.074824224), false)
    );
    assert_eq!(gemini(golden!("gemini-failed.sse")), (None, false));
    let limited = b"data: {\"error\":{\"code\":429,\"message\":\"try again in 3s\"}}\n\n";
    assert_eq!(
        hint("openai", Operation::ChatCompletions, limited),
        (after(3.0), false)
    );
    let broke = b"data: {\"error\":{\"code\":\"insufficient_quota\",\"message\":\"x\"}}\n\n";
    assert_eq!(
        hint("openai", Operation::ChatCompletions, broke),
        (None, true)
    );
    // What the caller did is no failure, and what is good has no hint.
    let caller = b"data: {\"error\":{\"type\":\"invalid_request_error\",\"retry_after\":7}}\n\n";
    assert_eq!(
        hint("openai", Operation::ChatCompletions, caller),
        (None, false)
    );
    let second = b"data: {\"error\":{\"code\":503}}\n\ndata: {\"error\":{\"retry_after\":7}}\n\n";
    assert_eq!(gemini(second), (None, false), "the first end stands");
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
