//! Forwarding, whatever the two connections speak, however large the body is and however it is
//! framed, and whatever went wrong before.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use tokio::sync::Semaphore;
use turnpike_loadtest::{Behaviour, FakeProvider, Protocol};

use crate::caller::{Caller, chunked, origin, whole};
use crate::harness::{Answer, House, Http, KEY, NO_COOLDOWN};

/// Cases under way at a time: bodies of 5 MiB are held several times over.
const AT_ONCE: usize = 8;

const SIZES: [usize; 3] = [1024, 100 * 1024, 5 * 1024 * 1024];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_body_arrives_whole_over_every_pair_of_protocols() {
    let mut cases = Vec::new();
    for upstream in [Protocol::Http1, Protocol::H2c] {
        for size in SIZES {
            cases.extend(combinations(upstream, size, &Before::ALL));
        }
    }
    assert_eq!(cases.len(), 120);
    run(cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_body_arrives_whole_over_tls() {
    let mut cases = Vec::new();
    for upstream in [Protocol::Tls, Protocol::TlsH1] {
        for size in SIZES {
            cases.extend(combinations(
                upstream,
                size,
                &[Before::Nothing, Before::Status(429), Before::Cut],
            ));
        }
    }
    run(cases).await;
}

/// What happens with the first credential before the second one serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    /// The first one serves.
    Nothing,
    Status(u16),
    /// The connection, or the stream, ends before the first byte of an answer.
    Cut,
}

impl Before {
    const ALL: [Self; 5] = [
        Self::Nothing,
        Self::Status(429),
        Self::Status(401),
        Self::Status(500),
        Self::Cut,
    ];

    fn behaviour(self) -> Behaviour {
        match self {
            Self::Nothing => Behaviour::Echo,
            Self::Status(code) => Behaviour::status(code),
            Self::Cut => Behaviour::CutBeforeHead,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length,
    Chunked,
}

#[derive(Clone, Copy)]
struct Case {
    client: Http,
    upstream: Protocol,
    framing: Framing,
    size: usize,
    before: Before,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "client {:?}, upstream {:?}, {:?}, {} bytes, before: {:?}",
            self.client, self.upstream, self.framing, self.size, self.before
        )
    }
}

fn combinations(
    upstream: Protocol,
    size: usize,
    befores: &[Before],
) -> impl Iterator<Item = Case> + use<'_> {
    befores.iter().flat_map(move |&before| {
        [Http::One, Http::Two].into_iter().flat_map(move |client| {
            [Framing::Length, Framing::Chunked].map(|framing| Case {
                client,
                upstream,
                framing,
                size,
                before,
            })
        })
    })
}

/// One gateway for all cases. Each has a provider and a model of its own, so that its calls are
/// counted alone and its upstream connections are new: on one that had served before, a cut would
/// be repeated with the same credential.
async fn run(cases: Vec<Case>) {
    let mut stands = Vec::new();
    for (number, case) in cases.into_iter().enumerate() {
        let provider = FakeProvider::start(case.upstream).await;
        provider.script(&key(number, 1), [case.before.behaviour()]);
        provider.script(&key(number, 2), [Behaviour::Echo]);
        stands.push((number, case, provider));
    }
    let house = serve(&stands).await;
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let failures: Vec<String> = join_all(stands.iter().map(|(number, case, provider)| {
        let turns = turns.clone();
        let house = &house;
        async move {
            let _turn = turns.acquire().await.unwrap();
            let wrong = wrong_with(house, *number, *case, provider).await?;
            Some(format!("{case}: {wrong}"))
        }
    }))
    .await
    .into_iter()
    .flatten()
    .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    house.settled().await;
}

fn key(case: usize, credential: usize) -> String {
    format!("sk-{case}-{credential}")
}

async fn serve(stands: &[(usize, Case, FakeProvider)]) -> House {
    let dir = tempfile::tempdir().unwrap();
    let mut yaml = format!(
        "server: {{port: 0}}\n\
         admin: {{port: 0}}\n\
         routing: {{strategy: priority}}\n\
         api_keys: [{{key: {KEY}, name: tests}}]\n\
         {NO_COOLDOWN}"
    );
    let authorities: String = stands.iter().map(|stand| stand.2.ca_pem()).collect();
    if !authorities.is_empty() {
        std::fs::write(dir.path().join("ca.pem"), authorities).unwrap();
        yaml.push_str("egress: {ca_file: ca.pem}\n");
    }
    yaml.push_str("providers:\n");
    for (number, case, provider) in stands {
        yaml.push_str(&format!(
            "  case-{number}: {{kind: openai, base_url: \"{}/v1\", models: [model-{number}], \
             credentials: [{{api_key: {}}}, {{api_key: {}}}]}}\n",
            origin(&provider.base_url(), case.upstream),
            key(*number, 1),
            key(*number, 2),
        ));
    }
    House::serve_in(dir, &yaml).await
}

/// Runs a case; `None` when all is well.
async fn wrong_with(
    house: &House,
    number: usize,
    case: Case,
    provider: &FakeProvider,
) -> Option<String> {
    let body = body(number, case.size);
    let sent = blake3::hash(&body).to_hex().to_string();
    let mut caller = Caller::connect(house, case.client).await;
    let body = match case.framing {
        Framing::Length => whole(body),
        Framing::Chunked => chunked(body),
    };
    let request = caller.request("/v1/chat/completions", body);
    let answer = match caller.send(request).await {
        Ok(response) => Answer::read(response).await,
        Err(error) => return Some(format!("no answer: {error}")),
    };
    if answer.status != 200 {
        let text = String::from_utf8_lossy(&answer.body[..answer.body.len().min(300)]);
        return Some(format!("answered {}: {text}", answer.status));
    }
    if blake3::hash(&answer.body).to_hex().as_str() != sent {
        return Some(format!(
            "the answer is not the body: {} bytes",
            answer.body.len()
        ));
    }
    let length = case.size.to_string();
    if answer.header("content-length") != Some(&length) {
        return Some(format!(
            "the answer's length is {:?}",
            answer.header("content-length")
        ));
    }
    wrong_with_calls(number, case, provider, &sent)
}

/// One call an attempt, each with the right credential, protocol and body.
fn wrong_with_calls(
    number: usize,
    case: Case,
    provider: &FakeProvider,
    sent: &str,
) -> Option<String> {
    let calls = provider.calls();
    let expected = match case.before {
        Before::Nothing => vec![key(number, 1)],
        Before::Status(_) | Before::Cut => vec![key(number, 1), key(number, 2)],
    };
    let keys: Vec<&str> = calls.iter().map(|call| call.key.as_str()).collect();
    if keys != expected {
        return Some(format!("called with {keys:?}"));
    }
    let version = match case.upstream {
        Protocol::Http1 | Protocol::TlsH1 => http::Version::HTTP_11,
        Protocol::H2c | Protocol::Tls | Protocol::TlsH2 => http::Version::HTTP_2,
    };
    let length = case.size.to_string();
    calls.iter().find_map(|call| {
        if call.version != version {
            return Some(format!("called over {:?}", call.version));
        }
        if call.body_blake3 != sent {
            return Some(format!("another body was sent: {} bytes", call.body_len));
        }
        (call.header("content-length") != Some(&length))
            .then(|| format!("called with length {:?}", call.header("content-length")))
    })
}

/// A chat of exactly `size` bytes that no other case sends, and that does not repeat itself.
fn body(number: usize, size: usize) -> Bytes {
    let (head, tail) = (
        format!(r#"{{"model":"model-{number}","messages":[{{"role":"user","content":""#),
        r#""}]}"#,
    );
    let mut rng = fastrand::Rng::with_seed(number as u64);
    let mut body = head.into_bytes();
    body.resize_with(size - tail.len(), || b'a' + (rng.u8(..) & 15));
    body.extend_from_slice(tail.as_bytes());
    body.into()
}
