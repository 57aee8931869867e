use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue, Method};

use crate::{
    Account, Call, Fault, Hint, Judgement, Operation, Progress, Provider, Scheme, Secret, Usage,
};

/// Bodies of errors that say nothing.
const EMPTY: &[&[u8]] = &[
    b"",
    b"not json",
    b"[]",
    b"{}",
    b"{\"error\":null}",
    b"{\"error\":{\"details\":[null]}}",
    &[0xff, 0xfe, 0x00],
];

/// An answer of the vendor's, as recorded, and what a meter must make of it.
pub struct Sample<'a> {
    /// The operation it answers.
    pub operation: Operation,
    /// Whether it is an event stream.
    pub event_stream: bool,
    /// The body.
    pub body: &'a [u8],
    /// The progress after its last byte.
    pub progress: Progress,
    /// The usage it states.
    pub usage: Option<Usage>,
}

/// Checks a provider: its targets, that no credential is visible, its judgement of every status,
/// the hints every vendor gives, and that its meters do not care where the answer is cut.
pub fn conforming_provider(provider: &dyn Provider, samples: &[Sample<'_>]) {
    targets(provider);
    credentials(provider);
    judgements(provider);
    hints(provider);
    for sample in samples {
        meters(provider, sample);
    }
}

fn targets(provider: &dyn Provider) {
    if let Some(path) = provider.model_list() {
        assert!(path.starts_with('/'), "{path} does not start with /");
    }
    for operation in Operation::ALL
        .into_iter()
        .filter(|&operation| provider.serves(operation))
    {
        let path = match operation.dialect() {
            crate::Dialect::OpenAi => "/v1/chat/completions",
            crate::Dialect::Anthropic => "/v1/messages",
            crate::Dialect::Gemini => "/v1beta/models/alias:generateContent",
        };
        for query in ["", "beta=true"] {
            let call = Call {
                operation,
                method: &Method::POST,
                path,
                query,
                model: "real-model",
            };
            let target = provider.target(&call).path_and_query;
            assert!(
                target.starts_with('/'),
                "{operation:?}: {target} does not start with /"
            );
            assert!(
                !target.starts_with("//"),
                "{operation:?}: {target} starts with //"
            );
            assert!(
                target.ends_with(query),
                "{operation:?}: {target} lost its query"
            );
            assert_eq!(
                target.contains('?'),
                !query.is_empty(),
                "{operation:?}: {target}"
            );
            assert!(
                target.bytes().all(|byte| byte.is_ascii_graphic()),
                "{operation:?}: {target} has bytes that a request line must not",
            );
        }
        let hostile = Call {
            operation,
            method: &Method::POST,
            path,
            query: "",
            model: "../x?y#z \r\n",
        };
        let target = provider.target(&hostile).path_and_query;
        assert!(
            target
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'#'),
            "{operation:?}: a model's name broke out of the path: {target:?}",
        );
        assert!(
            !target.contains("/../"),
            "{operation:?}: a model's name climbed out: {target:?}"
        );
    }
}

fn credentials(provider: &dyn Provider) {
    let nobody = Account::default();
    let somebody = Account {
        project: Some("project-1".to_owned()),
        location: Some("location-1".to_owned()),
        id: Some("account-1".to_owned()),
    };
    for scheme in [Scheme::Key, Scheme::Bearer] {
        for account in [&nobody, &somebody] {
            credential(provider, scheme, account);
        }
    }
}

fn credential(provider: &dyn Provider, scheme: Scheme, account: &Account) {
    let headers_of =
        |secret: &str| provider.credential_headers(&Secret::new(secret), scheme, account);
    let headers = headers_of("sk-canary-1234").expect("a plain secret fits a header");
    let carries = |value: &HeaderValue| value.as_bytes().windows(6).any(|part| part == b"canary");
    assert!(
        headers.iter().any(|(_, value)| carries(value)),
        "{scheme:?}: no header carries the credential"
    );
    for (name, value) in &headers {
        assert!(
            value.is_sensitive() || !carries(value),
            "{scheme:?}: {name} is not marked sensitive"
        );
        assert!(
            !format!("{value:?}").contains("canary"),
            "{scheme:?}: {name} shows the credential"
        );
    }
    assert!(
        headers_of("line\r\nbreak").is_none(),
        "{scheme:?}: a secret with a line break was put in a header",
    );
}

fn judgements(provider: &dyn Provider) {
    let judge = |status| provider.judge(status, &HeaderMap::new(), b"{}");
    for status in 100..=599 {
        let judgement = judge(status);
        match status {
            200..=299 => assert_eq!(judgement, Judgement::Good, "status {status}"),
            400 | 409 | 413 | 415 | 422 => {
                assert_eq!(judgement, Judgement::Caller, "status {status}")
            }
            401 => assert_eq!(judgement, Judgement::Fault(Fault::Unauthorized)),
            402 => assert_eq!(judgement, Judgement::Fault(Fault::PaymentRequired)),
            403 => assert_eq!(judgement, Judgement::Fault(Fault::Forbidden)),
            429 => assert_eq!(judgement, Judgement::Fault(Fault::RateLimited)),
            500..=599 => assert!(matches!(judgement, Judgement::Fault(_)), "status {status}"),
            _ => {}
        }
    }
    for body in EMPTY {
        assert_eq!(
            provider.judge(400, &HeaderMap::new(), body),
            Judgement::Caller
        );
    }
}

fn hints(provider: &dyn Provider) {
    // A Saturday in 2026.
    let now = 1_798_000_000_000;
    for status in 100..=599 {
        for body in EMPTY {
            let hint = provider.hint(now, status, &HeaderMap::new(), body);
            assert_eq!(hint.wait, None, "status {status}: a wait from nothing");
        }
    }
    let after = |text: &'static str| -> Hint {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(text))]);
        provider.hint(now, 429, &headers, b"{}")
    };
    for (text, wait) in [
        ("7", Some(Duration::from_secs(7))),
        ("0", Some(Duration::ZERO)),
        ("Wed, 21 Oct 2015 07:28:00 GMT", Some(Duration::ZERO)),
        ("-7", None),
        ("soon", None),
        ("", None),
    ] {
        assert_eq!(after(text).wait, wait, "Retry-After: {text}");
    }
    for text in ["99999999999999999999", "1e999", "inf", "NaN"] {
        let wait = after(text).wait;
        assert!(
            wait.is_none_or(|wait| wait > Duration::from_secs(86_400)),
            "Retry-After: {text} is a wait of {wait:?}"
        );
    }
}

fn meters(provider: &dyn Provider, sample: &Sample<'_>) {
    let name = sample.operation.as_str();
    let read = |pieces: &[&[u8]]| {
        let mut meter = provider.meter(sample.operation, sample.event_stream);
        let mut progress = Progress::Undecided;
        for piece in pieces {
            let next = meter.read(piece);
            assert!(
                next == progress || may_follow(progress, next),
                "{name}: {progress:?} became {next:?}"
            );
            progress = next;
        }
        let failed = matches!(progress, Progress::Failed(_));
        assert!(
            failed || meter.hint(0) == Hint::default(),
            "{name}: a hint of what did not fail"
        );
        (progress, meter.usage())
    };
    let expected = (sample.progress, sample.usage);
    assert_eq!(read(&[sample.body]), expected, "{name}: read whole");
    for at in 1..sample.body.len() {
        let (head, tail) = sample.body.split_at(at);
        assert_eq!(read(&[head, tail]), expected, "{name}: cut at byte {at}");
    }
    let bytes: Vec<&[u8]> = sample.body.chunks(1).collect();
    assert_eq!(read(&bytes), expected, "{name}: byte by byte");
}

/// Content may be missing, but nothing is taken back.
fn may_follow(progress: Progress, next: Progress) -> bool {
    match progress {
        Progress::Undecided => true,
        Progress::Open => next != Progress::Undecided,
        Progress::Finished | Progress::Failed(_) => false,
    }
}
