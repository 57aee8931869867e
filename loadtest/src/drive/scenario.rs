use bytes::Bytes;
use clap::ValueEnum;
use http::{HeaderValue, Request};
use http_body_util::Full;
use serde_json::{Value, json};

use super::Drive;

/// Which calls are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// Short chat completions.
    Chat,
    /// Short chat completions, streamed.
    Stream,
    /// Chat completions with bodies of 256 KiB.
    Large,
    /// Six chats, three streams and one large call in ten.
    Mixed,
    /// Chats and streams in turn, against a target some of whose credentials
    /// fail (`fake-provider --always KEY=429`): every call must be answered
    /// completely all the same.
    Failover,
}

impl Scenario {
    pub const ALL: [Self; 5] = [
        Self::Chat,
        Self::Stream,
        Self::Large,
        Self::Mixed,
        Self::Failover,
    ];

    fn kind(self, n: usize) -> Kind {
        match (self, n % 10) {
            (Self::Chat, _) | (Self::Mixed, 0..6) => Kind::Chat,
            (Self::Stream, _) | (Self::Mixed, 6..9) => Kind::Stream,
            (Self::Large, _) | (Self::Mixed, _) => Kind::Large,
            (Self::Failover, n) => {
                if n % 2 == 0 {
                    Kind::Chat
                } else {
                    Kind::Stream
                }
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Chat,
    Stream,
    Large,
}

const LARGE: usize = 256 * 1024;

/// One call to send.
pub(crate) struct Errand {
    pub(crate) request: Request<Full<Bytes>>,
    pub(crate) streams: bool,
}

/// The calls of a run, written once.
pub(super) struct Errands {
    scenario: Scenario,
    head: Request<()>,
    chat: Bytes,
    stream: Bytes,
    large: Bytes,
}

impl Errands {
    pub(super) fn new(drive: &Drive) -> Self {
        let question = json!([
            {"role": "system", "content": "You are a load test. Answer shortly."},
            {"role": "user", "content": "Say hello, please."},
        ]);
        let model = &drive.model;
        let usage = json!({"include_usage": true});
        let chat = json!({"model": model, "messages": question});
        let stream =
            json!({"model": model, "messages": question, "stream": true, "stream_options": usage});
        let long = "lorem ipsum ".repeat(LARGE / 12);
        let large = json!({"model": model, "messages": [{"role": "user", "content": long}]});
        let [chat, stream, large] = [chat, stream, large].map(|body| bounded(body, drive));
        Self {
            scenario: drive.scenario,
            head: head(drive),
            chat,
            stream,
            large,
        }
    }

    pub(super) fn nth(&self, n: usize, key: &str) -> Errand {
        let kind = self.scenario.kind(n);
        let body = match kind {
            Kind::Chat => &self.chat,
            Kind::Stream => &self.stream,
            Kind::Large => &self.large,
        };
        let mut request = self.head.clone().map(|()| Full::new(body.clone()));
        let headers = request.headers_mut();
        headers.insert(http::header::AUTHORIZATION, bearer(key));
        Errand {
            request,
            streams: matches!(kind, Kind::Stream),
        }
    }
}

fn bounded(mut body: Value, drive: &Drive) -> Bytes {
    if let Some(most) = drive.max_tokens {
        body["max_tokens"] = most.into();
    }
    body.to_string().into()
}

/// # Panics
/// When the target cannot stand in a header: a mistake of the command line that no call could be
/// sent with.
fn head(drive: &Drive) -> Request<()> {
    Request::post(drive.target.path("/v1/chat/completions"))
        .header(http::header::HOST, drive.target.authority())
        .header(
            http::header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        )
        .body(())
        .expect("a target that a header can hold")
}

/// # Panics
/// When the key cannot stand in a header, likewise.
fn bearer(key: &str) -> HeaderValue {
    let bearer = HeaderValue::try_from(format!("Bearer {key}"));
    bearer.expect("a key that a header can hold")
}
