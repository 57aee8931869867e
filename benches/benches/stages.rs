//! The stages of a request's path, each by itself; a group is named for its stage. What a change
//! to one stage costs shows here first; what it costs the whole, `bench-path` tells.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use http::Method;
use turnpike::observe::metrics::{Ended, Metrics};
use turnpike_api::{
    Answer, Authenticator, Identity, ModelRules, Operation, Presented, Provider, Secret, Usage,
    Verdict, find,
};
use turnpike_credentials::SELECTORS;
use turnpike_identity::ApiKeys;
use turnpike_providers::{PROVIDERS, Splitter};

#[path = "../stand/mod.rs"]
mod stand;
#[path = "../stand/tokens.rs"]
mod tokens;

use stand::{Stand, assembled, ground};
use tokens::{Tokens, settings};

criterion_group! {
    name = stages;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = path, identify, read, authorize, route, select, stream, answer, count
}
criterion_main!(stages);

fn path(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("path");
    for path in [
        "/v1/chat/completions",
        "/v1beta/models/gemini-2.5-flash:streamGenerateContent",
    ] {
        group.bench_function(path, |bencher| {
            bencher.iter(|| {
                let canonical = turnpike::path::canonical(black_box(path));
                black_box(turnpike::path::parse(&Method::POST, &canonical));
            });
        });
    }
}

fn identify(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("identify");
    for count in [1, 10_000] {
        let keys = keys(count);
        // The last one configured, so that a search through all of them would be seen.
        let token = key(count - 1);
        group.bench_function(BenchmarkId::new("api_key", count), |bencher| {
            bencher.iter(|| {
                let presented = Presented::new(black_box(&token));
                match keys.authenticate(presented) {
                    Answer::Ready(Verdict::Known(holder)) => holder,
                    _ => unreachable!("the key is configured"),
                }
            });
        });
    }
    for count in [1, 100_000] {
        let tokens = Tokens::new(count);
        let id = BenchmarkId::new("agent_token, proven", count);
        group.bench_function(id, |bencher| {
            bencher.iter(|| tokens.authenticate());
        });
    }
}

fn keys(count: usize) -> ApiKeys {
    let holder = Arc::new(Identity::new("bench", ModelRules::any()));
    let api_keys = (0..count).map(|nth| (Secret::new(key(nth)), holder.clone()));
    ApiKeys::new(&settings(api_keys.collect()))
}

fn key(nth: usize) -> String {
    format!("bench-client-key-{nth:032}")
}

fn read(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("read");
    for len in [1 << 10, 256 << 10] {
        let body = chat(len);
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(BenchmarkId::new("scan", len), |bencher| {
            bencher.iter(|| turnpike_providers::scan(black_box(body.as_bytes())).map(black_box));
        });
    }
}

fn chat(len: usize) -> String {
    let head = r#"{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":""#;
    let tail = r#""}],"temperature":0.7,"max_tokens":256}"#;
    let prose = "plain words of a prompt, ".repeat(len / 25 + 1);
    format!("{head}{}{tail}", &prose[..len - head.len() - tail.len()])
}

fn authorize(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("authorize");
    for (name, rules) in [
        ("any model", ModelRules::any()),
        (
            "eight rules",
            ModelRules::new([
                "claude-*",
                "gemini-*",
                "o1*",
                "o3*",
                "gpt-4.1*",
                "gpt-4o*",
                "!*-preview",
                "!ft:*",
            ]),
        ),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| rules.allow(black_box("gpt-4o-mini")));
        });
    }
}

fn route(criterion: &mut Criterion) {
    let snapshot = assembled(&ground(), "round_robin", 16, |_| String::new());
    let mut group = criterion.benchmark_group("route");
    // Listed ones were resolved when the configuration was read, others when first asked for.
    for (name, model) in [
        ("listed", "gpt-4o-mini"),
        ("by pattern", "gpt-4o-2024-08-06"),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| snapshot.tenants.house.catalogue().find(black_box(model)));
        });
    }
}

fn select(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("select");
    group.warm_up_time(Duration::from_millis(200));
    group.measurement_time(Duration::from_secs(1));
    for strategy in SELECTORS.iter().map(|row| row.kind) {
        for credentials in [10, 1_000, 10_000] {
            let stand = Stand::new(strategy, credentials);
            let id = |what| BenchmarkId::new(format!("{strategy}, {what}"), credentials);
            group.bench_function(id("all ready"), |bencher| bencher.iter(|| stand.tries(1)));
            group.bench_function(id("three tries"), |bencher| bencher.iter(|| stand.tries(3)));
            stand.cool_half();
            group.bench_function(id("half of them cooling"), |bencher| {
                bencher.iter(|| stand.tries(1));
            });
        }
    }
    // What the first request after one of them began or ceased to cool pays for all.
    for credentials in [10, 1_000, 10_000] {
        let stand = Stand::new("round_robin", credentials);
        stand.cool_half();
        let id = BenchmarkId::new("who is ready, worked out anew", credentials);
        group.bench_function(id, |bencher| {
            bencher.iter(|| stand.try_anew());
        });
    }
}

const CHUNK: &str = concat!(
    r#"data: {"id":"chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG","object":"chat.completion.chunk","#,
    r#""created":1741570283,"model":"gpt-4o-2024-08-06","system_fingerprint":"fp_fc9f1d7035","#,
    r#""choices":[{"index":0,"delta":{"content":" words"},"logprobs":null,"finish_reason":null}],"#,
    r#""usage":null}"#,
    "\n\n"
);

fn stream(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("stream");
    group.throughput(Throughput::Bytes(CHUNK.len() as u64));
    let mut splitter = Splitter::default();
    group.bench_function("split a chunk", |bencher| {
        bencher.iter(|| {
            splitter.feed(black_box(CHUNK.as_bytes()), |event| {
                black_box(event);
            });
        });
    });
    let mut meter = openai().meter(Operation::ChatCompletions, true);
    group.bench_function("meter a chunk", |bencher| {
        bencher.iter(|| meter.read(black_box(CHUNK.as_bytes())));
    });
}

fn answer(criterion: &mut Criterion) {
    let openai = openai();
    let mut group = criterion.benchmark_group("answer");
    for len in [600, 64 << 10] {
        let body = completion(len);
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(BenchmarkId::new("meter", len), |bencher| {
            bencher.iter(|| {
                let mut meter = openai.meter(Operation::ChatCompletions, false);
                meter.read(black_box(body.as_bytes()));
                meter.usage().expect("the answer says its usage")
            });
        });
    }
}

/// What is counted of a good stream from its first chunk on.
fn count(criterion: &mut Criterion) {
    let metrics = Metrics::new().expect("metrics");
    let model = metrics.model("openai", "gpt-4o");
    let credential = metrics.credential(&"openai".into(), &"openai/main".into());
    let usage = Usage {
        input: 1_200,
        output: 300,
        ..Usage::default()
    };
    let took = Duration::from_millis(4_000);
    let mut group = criterion.benchmark_group("count");
    group.bench_function("a stream", |bencher| {
        bencher.iter(|| {
            metrics.in_flight().inc();
            credential.answered(took / 8);
            model.first_chunk(Operation::ChatCompletions, took / 7);
            model.used(black_box(&usage));
            model.cost(6_000);
            credential.good();
            metrics.in_flight().dec();
            metrics.ended(&Ended {
                operation: Some(Operation::ChatCompletions),
                status: 200,
                reason: "",
                error: None,
                took: black_box(took),
                first_chunk: Some(took / 7),
                usage: Some(usage),
                model: Some(&model),
            });
            metrics.overhead(Duration::from_micros(40));
        });
    });
}

fn openai() -> Arc<dyn Provider> {
    (find(PROVIDERS, "openai").expect("a kind").build)(&())
}

fn completion(len: usize) -> String {
    let head = r#"{"id":"chatcmpl-bench","object":"chat.completion","created":1715367049,"model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":"assistant","content":""#;
    let tail = r#"","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":12,"completion_tokens":6,"total_tokens":18,"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}}"#;
    let words = "words of an answer, ".repeat(len / 20 + 1);
    format!("{head}{}{tail}", &words[..len - head.len() - tail.len()])
}
