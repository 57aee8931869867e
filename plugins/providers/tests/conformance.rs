//! Every row of the table against the seam's conformance suite, with answers as vendors send them.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use turnpike_api::testing::{Sample, conforming_provider};
use turnpike_api::{Account, Call, Fault, Operation, Progress, Provider, Usage, find};
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
        failed(Responses, golden!("codex-limited.sse"), Fault::RateLimited),
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
        Sample {
            usage: Some(usage(4, 1)),
            ..failed(
                Messages,
                golden!("messages-overloaded-late.sse"),
                Fault::Overloaded,
            )
        },
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
        Sample {
            usage: Some(usage(11, 0)),
            ..failed(
                StreamGenerateContent,
                golden!("gemini-exhausted.sse"),
                Fault::RateLimited,
            )
        },
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
fn a_projects_vertex_conforms_too() {
    let account = Account {
        project: Some("project-1".to_owned()),
        ..Account::default()
    };
    let of_project = provider("vertex").of_project(&account, None);
    let (vertex, _) = of_project.expect("a project's place");
    conforming_provider(&*vertex, &gemini_samples());
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
fn every_vendor_is_asked_in_its_own_words() {
    let headers = HeaderMap::from_iter([
        (
            HeaderName::from_static("x-ratelimit-remaining-tokens"),
            HeaderValue::from_static("0"),
        ),
        (
            HeaderName::from_static("x-ratelimit-reset-tokens"),
            HeaderValue::from_static("6m0s"),
        ),
        (
            HeaderName::from_static("anthropic-ratelimit-unified-status"),
            HeaderValue::from_static("rejected"),
        ),
        (
            HeaderName::from_static("anthropic-ratelimit-unified-reset"),
            HeaderValue::from_static("1777936060"),
        ),
    ]);
    for row in PROVIDERS {
        let provider = (row.build)(&());
        let hint = provider.hint(1_777_936_000_000, 429, &headers, b"{}");
        let expected = match row.kind {
            "claude" => (Some(Duration::from_secs(60)), true),
            "gemini" | "vertex" => (None, false),
            _ => (Some(Duration::from_secs(360)), false),
        };
        assert_eq!((hint.wait, hint.whole_credential), expected, "{}", row.kind);
    }
    let broke = |kind: &str, status, body: &str| {
        let hint = provider(kind).hint(0, status, &HeaderMap::new(), body.as_bytes());
        (hint.wait, hint.whole_credential)
    };
    let credit = r#"{"type":"error","error":{"type":"invalid_request_error","message":
        "Your credit balance is too low to access the Anthropic API."}}"#;
    assert_eq!(broke("claude", 400, credit), (None, true));
    let quota = r#"{"error":{"code":"insufficient_quota","message":"try again in 2s"}}"#;
    assert_eq!(broke("openai", 429, quota), (None, true));
    let caller = r#"{"error":{"code":"bad","message":"x","retry_after":7}}"#;
    assert_eq!(broke("openai", 400, caller), (None, false));
}

#[test]
fn codex_answers_responses_only() {
    let codex = provider("codex");
    for operation in Operation::ALL {
        assert_eq!(codex.serves(operation), operation == Operation::Responses);
    }
    let call = Call {
        operation: Operation::Responses,
        method: &Method::POST,
        path: "/v1/responses",
        query: "",
        model: "gpt-5.5",
    };
    assert_eq!(codex.target(&call).path_and_query, "/responses");
    assert_eq!(codex.model_list(), None);
    assert!(codex.default_headers().is_empty());
}
