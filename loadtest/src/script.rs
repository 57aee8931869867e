//! What a provider can be told to do with a call, and the queue of it per key.

use std::collections::{HashMap, VecDeque};
use std::str::FromStr;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use bytes::Bytes;

use crate::gate::Gate;

/// What happens to one call.
///
/// `after_events` counts every event sent, the opening ones included, so
/// `after_events: 1` on an Anthropic stream sends `message_start` only. On a
/// call that asked for no stream, a behaviour of streams does the nearest
/// thing; each says which.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Behaviour {
    #[default]
    Ok,
    /// An error status. Without a body, the dialect's own for that code.
    Status {
        code: u16,
        body: Option<Bytes>,
        headers: Vec<(String, String)>,
    },
    /// Ok after a silence.
    Slow { before_head: Duration },
    /// Reads the request and never answers.
    Hang,
    /// Reads the request, then closes the connection (h1) or resets the stream (h2).
    CutBeforeHead,
    /// The same right after the request's head, its body unread.
    CutBeforeRead,
    /// Answers `code` after 1 KiB of the body and stops reading.
    AnswerEarly { code: u16 },
    /// Breaks the body off: no last chunk on h1, a reset on h2. Without a
    /// stream, half of the answer without a length, then the same.
    CutMidStream { after_events: usize },
    /// Promises the whole answer by `Content-Length`, sends half and breaks
    /// off. Never streams.
    TruncatedJson,
    /// The dialect's error event, then a clean HTTP end. Without a stream, a 500.
    InStreamError { after_events: usize },
    /// 200 and a stream whose first event is the dialect's "overloaded".
    /// Without a stream, the overloaded status.
    OverloadedEvent,
    /// The same "overloaded" behind this many events. Without a stream, the
    /// overloaded status.
    OverloadedAfter { after_events: usize },
    /// A clean HTTP end without `[DONE]`, `message_stop`, `finishReason` or
    /// `response.completed`. Without a stream, Ok.
    EndWithoutTerminal { after_events: usize },
    /// Ok with this many content events, `gap` apart.
    Events { count: usize, gap: Option<Duration> },
    /// The head at once; every event waits for the key's
    /// [`Gate`](crate::FakeProvider::gate). Without a stream, the body waits
    /// for one release.
    Gated,
    /// The same behind this many events, which come at once.
    GatedAfter { after_events: usize },
    /// Says nothing until the key's [`Gate`](crate::FakeProvider::gate)
    /// releases one, then does this. Not for what the gate itself is for.
    Held(Box<Self>),
    /// Exactly these bytes.
    Body {
        content_type: String,
        bytes: Bytes,
        chunked: bool,
    },
    /// Ok with trailers behind the body (h1 callers must send `TE: trailers`).
    Trailers,
    /// A 103 before an Ok answer. h1 only; plain Ok on h2.
    Informational,
    /// The request's body as the answer, `application/json`.
    Echo,
    /// Ok, and the connection ends: `Connection: close`, or GOAWAY on h2.
    NoKeepAlive,
    /// Ok with about 11 KiB of extra response headers.
    BigHeaders,
}

impl Behaviour {
    pub fn status(code: u16) -> Self {
        Self::Status {
            code,
            body: None,
            headers: Vec::new(),
        }
    }

    pub fn status_with(code: u16, headers: &[(&str, &str)]) -> Self {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()));
        Self::Status {
            code,
            body: None,
            headers: headers.collect(),
        }
    }

    /// 429 with `Retry-After` (whole seconds, rounded up); in Gemini's dialect
    /// the body's `RetryInfo` says it too.
    pub fn rate_limited(retry_after: Duration) -> Self {
        let seconds = retry_after.as_millis().div_ceil(1000).to_string();
        Self::status_with(429, &[("retry-after", &seconds)])
    }

    /// 429 that names no time to come back.
    pub fn rate_limited_without_hint() -> Self {
        Self::status(429)
    }

    /// An error status with this body.
    pub fn refusing(code: u16, body: impl Into<Bytes>) -> Self {
        Self::Status {
            code,
            body: Some(body.into()),
            headers: Vec::new(),
        }
    }

    /// Does this once the key's gate releases one.
    pub fn held(then: Self) -> Self {
        Self::Held(Box::new(then))
    }

    pub fn bad_request() -> Self {
        Self::status(400)
    }

    pub fn unauthorized() -> Self {
        Self::status(401)
    }

    pub fn payment_required() -> Self {
        Self::status(402)
    }

    pub fn forbidden() -> Self {
        Self::status(403)
    }

    pub fn not_found() -> Self {
        Self::status(404)
    }

    pub fn server_error(code: u16) -> Self {
        Self::status(code)
    }

    /// 529 in Anthropic's dialect, 503 in the others.
    pub fn overloaded() -> Self {
        Self::status(529)
    }
}

/// The short form that the command line takes; not every behaviour has one.
impl FromStr for Behaviour {
    type Err = UnknownBehaviour;

    fn from_str(text: &str) -> Result<Self, UnknownBehaviour> {
        let unknown = || UnknownBehaviour(text.to_owned());
        let (name, value) = text.split_once(':').unwrap_or((text, ""));
        let after_events = || value.parse().map_err(|_| unknown());
        Ok(match name {
            "ok" => Self::Ok,
            "hang" => Self::Hang,
            "cut" => Self::CutBeforeHead,
            "truncated" => Self::TruncatedJson,
            "overloaded-event" => Self::OverloadedEvent,
            "cut-mid" => Self::CutMidStream {
                after_events: after_events()?,
            },
            "stream-error" => Self::InStreamError {
                after_events: after_events()?,
            },
            "no-terminal" => Self::EndWithoutTerminal {
                after_events: after_events()?,
            },
            "slow" => {
                let before_head = humantime::parse_duration(value).map_err(|_| unknown())?;
                Self::Slow { before_head }
            }
            status => match status.parse() {
                Ok(code @ 400..=599) => Self::status(code),
                _ => return Err(unknown()),
            },
        })
    }
}

#[derive(Debug, thiserror::Error)]
#[error("unknown behaviour `{0}`")]
pub struct UnknownBehaviour(String);

#[derive(Default)]
struct Lane {
    queue: VecDeque<Behaviour>,
    always: Option<Behaviour>,
    /// For lists of models, where they differ from other calls.
    lists: Option<Behaviour>,
    gate: Gate,
}

/// The queues, by key.
#[derive(Default)]
pub(crate) struct Scripts {
    lanes: RwLock<HashMap<String, Lane>>,
}

impl Scripts {
    pub(crate) fn queue(&self, key: &str, behaviours: impl IntoIterator<Item = Behaviour>) {
        self.write()
            .entry(key.to_owned())
            .or_default()
            .queue
            .extend(behaviours);
    }

    pub(crate) fn always(&self, key: &str, behaviour: Behaviour) {
        self.write().entry(key.to_owned()).or_default().always = Some(behaviour);
    }

    pub(crate) fn lists(&self, key: &str, behaviour: Behaviour) {
        self.write().entry(key.to_owned()).or_default().lists = Some(behaviour);
    }

    pub(crate) fn clear(&self, key: &str) {
        if let Some(lane) = self.write().get_mut(key) {
            lane.queue.clear();
            lane.always = None;
            lane.lists = None;
        }
    }

    pub(crate) fn gate(&self, key: &str) -> Gate {
        self.write().entry(key.to_owned()).or_default().gate.clone()
    }

    /// What a list of models gets: it leaves the queue to other calls where
    /// the key has an answer of its own for lists.
    pub(crate) fn next_list(&self, key: &str) -> Behaviour {
        let own = self.read().get(key).and_then(|lane| lane.lists.clone());
        own.unwrap_or_else(|| self.next(key))
    }

    /// What this call gets. Keys without a script, all of them under load,
    /// only take the read lock.
    pub(crate) fn next(&self, key: &str) -> Behaviour {
        if !self.read().contains_key(key) {
            return Behaviour::Ok;
        }
        let mut lanes = self.write();
        let Some(lane) = lanes.get_mut(key) else {
            return Behaviour::Ok;
        };
        lane.queue
            .pop_front()
            .or_else(|| lane.always.clone())
            .unwrap_or_default()
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<String, Lane>> {
        self.lanes.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<String, Lane>> {
        self.lanes.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_comes_before_always_and_always_before_ok() {
        let scripts = Scripts::default();
        scripts.queue("k", [Behaviour::Hang, Behaviour::Echo]);
        assert_eq!(scripts.next("k"), Behaviour::Hang);
        assert_eq!(scripts.next("other"), Behaviour::Ok);
        scripts.always("k", Behaviour::unauthorized());
        assert_eq!(scripts.next("k"), Behaviour::Echo);
        assert_eq!(scripts.next("k"), Behaviour::unauthorized());
        scripts.queue("k", [Behaviour::Hang]);
        scripts.lists("k", Behaviour::Echo);
        assert_eq!(scripts.next_list("k"), Behaviour::Echo);
        assert_eq!(scripts.next("k"), Behaviour::Hang);
        scripts.clear("k");
        assert_eq!(scripts.next_list("k"), Behaviour::Ok);
        assert_eq!(scripts.next("k"), Behaviour::Ok);
    }

    #[test]
    fn the_short_form_of_the_command_line_is_read() {
        let read = |text: &str| text.parse::<Behaviour>();
        assert_eq!(read("429").unwrap(), Behaviour::status(429));
        assert_eq!(
            read("cut-mid:3").unwrap(),
            Behaviour::CutMidStream { after_events: 3 }
        );
        let before_head = Duration::from_millis(200);
        assert_eq!(read("slow:200ms").unwrap(), Behaviour::Slow { before_head });
        for wrong in ["", "200", "cut-mid", "slow:x", "nonsense"] {
            assert_eq!(
                read(wrong).unwrap_err().to_string(),
                format!("unknown behaviour `{wrong}`")
            );
        }
    }

    #[test]
    fn a_fraction_of_a_second_rounds_up_in_retry_after() {
        let Behaviour::Status { headers, .. } =
            Behaviour::rate_limited(Duration::from_millis(1200))
        else {
            panic!("not a status");
        };
        assert_eq!(headers, [("retry-after".to_owned(), "2".to_owned())]);
    }
}
