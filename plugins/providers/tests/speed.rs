//! How long the parts on the path of every request take. A look, not a benchmark:
//! `cargo test --release -p turnpike-providers --test speed -- --ignored --nocapture`

use std::hint::black_box;
use std::time::Instant;

use turnpike_api::{Operation, Provider, find};
use turnpike_providers::{PROVIDERS, scan};

/// The best of some rounds, in nanoseconds a call.
fn best(calls: u32, mut call: impl FnMut()) -> f64 {
    let round = |_| {
        let start = Instant::now();
        (0..calls).for_each(|_| call());
        start.elapsed().as_nanos() as f64 / f64::from(calls)
    };
    (0..15).map(round).fold(f64::INFINITY, f64::min)
}

fn chat(len: usize, word: &str) -> String {
    let head = r#"{"model":"gpt-4o","stream":true,"max_tokens":256,"temperature":0.7,"messages":[{"role":"system","content":"You are a helpful assistant."},{"role":"user","content":""#;
    let tail = r#""}],"stream_options":{"include_usage":true},"user":"u-1"}"#;
    let mut body = head.to_owned();
    while body.len() + tail.len() < len {
        body += word;
    }
    body + tail
}

fn provider(kind: &str) -> std::sync::Arc<dyn Provider> {
    (find(PROVIDERS, kind).expect("a kind").build)(&())
}

#[test]
#[ignore = "a measurement"]
fn scans() {
    let turns: Vec<String> = (0..5)
        .map(|at| format!(r#"{{"role":"user","content":[{{"type":"text","text":"turn {at}"}}]}}"#))
        .collect();
    let turns = format!(r#"{{"model":"gpt-4o","messages":[{}]}}"#, turns.join(","));
    for (name, body) in [
        ("1 KiB, prose", chat(1 << 10, "plain words of a prompt, ")),
        (
            "256 KiB, prose",
            chat(256 << 10, "plain words of a prompt, "),
        ),
        (
            "256 KiB, code",
            chat(256 << 10, r#"    let x = \"a\";\n    call(x, 12, true);\n"#),
        ),
        ("256 KiB, Chinese", chat(256 << 10, "大型语言模型")),
        ("five short turns", turns),
    ] {
        let calls = (1 << 24) / body.len() as u32;
        let took = best(calls, || {
            black_box(scan(black_box(body.as_bytes())).unwrap());
        });
        println!(
            "{name}: {} B, {took:.0} ns, {:.1} GB/s",
            body.len(),
            body.len() as f64 / took
        );
    }
}

#[test]
#[ignore = "a measurement"]
fn meters() {
    let chat = br#"data: {"id":"chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG","object":"chat.completion.chunk","created":1741570283,"model":"gpt-4o-2024-08-06","system_fingerprint":"fp_fc9f1d7035","choices":[{"index":0,"delta":{"content":" words"},"logprobs":null,"finish_reason":null}],"usage":null}"#;
    let claude = b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\" words\"}}";
    let responses = b"event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":4,\"item_id\":\"msg_67c9\",\"output_index\":0,\"content_index\":0,\"delta\":\"Hi\"}";
    let gemini = br#"data: {"candidates": [{"content": {"parts": [{"text": " some more words of the answer, which come in larger pieces"}],"role": "model"},"index": 0}],"usageMetadata": {"promptTokenCount": 11,"candidatesTokenCount": 4,"totalTokenCount": 400,"promptTokensDetails": [{"modality": "TEXT","tokenCount": 11}],"thoughtsTokenCount": 385},"modelVersion": "gemini-2.5-flash","responseId": "r1"}"#;
    for (kind, operation, event) in [
        ("openai", Operation::ChatCompletions, &chat[..]),
        ("openai", Operation::Responses, &responses[..]),
        ("claude", Operation::Messages, &claude[..]),
        ("gemini", Operation::StreamGenerateContent, &gemini[..]),
    ] {
        let piece = [event, b"\n\n"].concat();
        let mut meter = provider(kind).meter(operation, true);
        let took = best(100_000, || {
            black_box(meter.read(black_box(&piece)));
        });
        println!(
            "{} delta: {} B, {took:.0} ns",
            operation.as_str(),
            piece.len()
        );
    }
}

#[test]
#[ignore = "a measurement"]
fn answers() {
    let openai = provider("openai");
    let numbers: String = (0..1536)
        .map(|at| format!("{},", -0.0123456789 * f64::from(at)))
        .collect();
    let vectors = format!(
        r#"{{"data":[{{"embedding":[{numbers}0]}}],"usage":{{"prompt_tokens":8,"total_tokens":8}}}}"#
    );
    let chat = include_str!("golden/chat.json");
    let text = chat.replace("He said", &"words of the answer ".repeat(12_000));
    for (name, operation, body) in [
        ("chat answer", Operation::ChatCompletions, chat),
        ("240 KB chat answer", Operation::ChatCompletions, &text),
        ("embedding", Operation::Embeddings, &vectors),
    ] {
        let took = best(1000, || {
            let mut meter = openai.meter(operation, false);
            meter.read(black_box(body.as_bytes()));
            black_box(meter.usage());
        });
        println!(
            "{name}: {} B, {took:.0} ns, {:.1} GB/s",
            body.len(),
            body.len() as f64 / took
        );
    }
}
