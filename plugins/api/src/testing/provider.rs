use http::{HeaderMap, Method};

use crate::{
    Account, Call, Fault, Judgement, Operation, Progress, Provider, Scheme, Secret, Usage,
};

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
/// and that its meters do not care where the answer is cut.
pub fn conforming_provider(provider: &dyn Provider, samples: &[Sample<'_>]) {
    targets(provider);
    credentials(provider);
    judgements(provider);
    for sample in samples {
        meters(provider, sample);
    }
}

fn targets(provider: &dyn Provider) {
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
    let headers_of = |secret: &str| {
        provider.credential_headers(&Secret::new(secret), Scheme::Key, &Account::default())
    };
    let headers = headers_of("sk-canary-1234").expect("a plain key fits a header");
    assert!(!headers.is_empty(), "no header carries the credential");
    for (name, value) in &headers {
        assert!(value.is_sensitive(), "{name} is not marked sensitive");
        assert!(
            !format!("{value:?}").contains("canary"),
            "{name} shows the credential"
        );
    }
    assert!(
        headers_of("line\r\nbreak").is_none(),
        "a secret with a line break was put in a header",
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
    for body in [
        &b""[..],
        b"not json",
        b"[]",
        b"{\"error\":null}",
        &[0xff, 0xfe, 0x00],
    ] {
        assert_eq!(
            provider.judge(400, &HeaderMap::new(), body),
            Judgement::Caller
        );
    }
}

fn meters(provider: &dyn Provider, sample: &Sample<'_>) {
    let read = |pieces: &[&[u8]]| {
        let mut meter = provider.meter(sample.operation, sample.event_stream);
        let progress = pieces.iter().map(|piece| meter.read(piece)).last();
        (progress, meter.usage())
    };
    let expected = (Some(sample.progress), sample.usage);
    let name = sample.operation.as_str();
    assert_eq!(read(&[sample.body]), expected, "{name}: read whole");
    for at in 1..sample.body.len() {
        let (head, tail) = sample.body.split_at(at);
        assert_eq!(read(&[head, tail]), expected, "{name}: cut at byte {at}");
    }
    let bytes: Vec<&[u8]> = sample.body.chunks(1).collect();
    assert_eq!(read(&bytes), expected, "{name}: byte by byte");
}
