//! What a behaviour makes of the answer the dialect would give.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version};

use crate::call::Call;
use crate::dialect::{self, Answer, Ask, Event, Plan, Trouble};
use crate::gate::Gate;
use crate::headers;
use crate::line::Line;
use crate::record::Outcome;
use crate::script::Behaviour;
use crate::stream::{AnswerBody, Cut, Step};
use crate::totals::Totals;

/// Before a cut, so that what went before is on the wire: a reset on h2
/// throws away what the connection has not written yet.
const BEFORE_CUT: Duration = Duration::from_millis(20);

const EARLY_HINTS: &[u8] =
    b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload; as=style\r\n\r\n";

pub(crate) struct Answering<'a> {
    pub(crate) ask: Ask,
    pub(crate) call: Call,
    pub(crate) line: &'a Line,
    pub(crate) gap: Option<Duration>,
    pub(crate) gate: Option<Gate>,
    /// As many events do not wait for it.
    pub(crate) ungated: usize,
}

type Answered = Result<Response<AnswerBody>, Cut>;

impl Answering<'_> {
    pub(crate) async fn answer(mut self, behaviour: Behaviour) -> Answered {
        match behaviour {
            Behaviour::Ok | Behaviour::Gated | Behaviour::GatedAfter { .. } => self.ok(),
            Behaviour::Held(then) => {
                if let Some(gate) = self.gate.take() {
                    gate.pass().await;
                }
                Box::pin(self.answer(*then)).await
            }
            Behaviour::Status {
                code,
                body,
                headers,
            } => self.status(code, body, &headers),
            Behaviour::AnswerEarly { code } => self.status(code, None, &[]),
            Behaviour::Slow { before_head } => {
                tokio::time::sleep(before_head).await;
                self.ok()
            }
            Behaviour::Hang => std::future::pending().await,
            Behaviour::CutBeforeHead | Behaviour::CutBeforeRead => {
                self.call.finish(Outcome::Cut);
                Err(Cut)
            }
            Behaviour::CutMidStream { after_events } => self.cut_mid_stream(after_events),
            Behaviour::TruncatedJson => self.truncated_json(),
            Behaviour::InStreamError { after_events } => self.in_stream_error(after_events),
            Behaviour::OverloadedEvent => self.overloaded(0),
            Behaviour::OverloadedAfter { after_events } => self.overloaded(after_events),
            Behaviour::EndWithoutTerminal { after_events } => {
                self.end_without_terminal(after_events)
            }
            Behaviour::Events { count, gap } => {
                self.ask.events = count;
                self.gap = gap;
                self.ok()
            }
            Behaviour::Body {
                content_type,
                bytes,
                chunked,
            } => Ok(self.exactly(&content_type, bytes, chunked)),
            Behaviour::Trailers => self.trailers(),
            Behaviour::Informational => {
                if self.call.version == Version::HTTP_11 {
                    self.line.write_before(EARLY_HINTS);
                }
                self.ok()
            }
            Behaviour::Echo => {
                let body = self.ask.body.clone();
                Ok(self.exactly("application/json", body, false))
            }
            Behaviour::NoKeepAlive => self.no_keep_alive(),
            Behaviour::BigHeaders => {
                let mut response = self.ok()?;
                headers::big(response.headers_mut());
                Ok(response)
            }
        }
    }

    fn ok(self) -> Answered {
        if self.ask.route.method == Method::HEAD {
            return Ok(self.whole("application/json", Bytes::new(), Totals::NONE));
        }
        match self.ask.answer() {
            Err(code) => self.status(code, None, &[]),
            Ok(Answer::Whole {
                content_type,
                body,
                told,
            }) => Ok(self.whole(content_type, body, told)),
            Ok(Answer::Stream(plan)) => Ok(self.stream(plan.content_type, plan.events, [])),
        }
    }

    fn status(self, code: u16, body: Option<Bytes>, extra: &[(String, String)]) -> Answered {
        let code = if body.is_none() {
            self.dialect().status(code)
        } else {
            code
        };
        let body = body.unwrap_or_else(|| self.error_body(code, extra));
        let mut response = self.whole("application/json", body, Totals::NONE);
        *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_GATEWAY);
        append(response.headers_mut(), extra);
        Ok(response)
    }

    fn cut_mid_stream(mut self, after: usize) -> Answered {
        self.at_least(after);
        match self.ask.answer() {
            Ok(Answer::Stream(Plan {
                content_type,
                mut events,
                ..
            })) => {
                events.truncate(after);
                Ok(self.stream(content_type, events, [Step::Wait(BEFORE_CUT), Step::Abort]))
            }
            Ok(Answer::Whole {
                content_type, body, ..
            }) => {
                let half = body.slice(..body.len() / 2);
                let steps = broken_off(half);
                Ok(self.respond(content_type, |call| AnswerBody::steps(call, steps)))
            }
            Err(code) => self.status(code, None, &[]),
        }
    }

    fn truncated_json(mut self) -> Answered {
        self.ask.route.never_stream();
        match self.ask.answer() {
            Ok(Answer::Whole {
                content_type, body, ..
            }) => {
                let promised = body.len() as u64;
                let steps = broken_off(body.slice(..body.len() / 2));
                let body = |call| AnswerBody::steps(call, steps).promising(promised);
                Ok(self.respond(content_type, body))
            }
            Ok(Answer::Stream(_)) => self.status(500, None, &[]),
            Err(code) => self.status(code, None, &[]),
        }
    }

    fn in_stream_error(mut self, after: usize) -> Answered {
        self.at_least(after);
        let Ok(Answer::Stream(Plan {
            content_type,
            mut events,
            terminal,
        })) = self.ask.answer()
        else {
            return self.status(500, None, &[]);
        };
        events.truncate(after.min(terminal));
        let error = self.ask.error_event(events.len(), Trouble::Failed);
        Ok(self.stream(content_type, events, [Step::Data(error, Totals::NONE)]))
    }

    fn overloaded(mut self, after: usize) -> Answered {
        self.at_least(after);
        let Ok(Answer::Stream(Plan {
            content_type,
            mut events,
            terminal,
        })) = self.ask.answer()
        else {
            return self.status(529, None, &[]);
        };
        events.truncate(after.min(terminal));
        let error = self.ask.error_event(events.len(), Trouble::Overloaded);
        Ok(self.stream(content_type, events, [Step::Data(error, Totals::NONE)]))
    }

    fn end_without_terminal(mut self, after: usize) -> Answered {
        self.at_least(after);
        let Ok(Answer::Stream(Plan {
            content_type,
            mut events,
            terminal,
        })) = self.ask.answer()
        else {
            return self.ok();
        };
        events.truncate(after.min(terminal));
        Ok(self.stream(content_type, events, []))
    }

    fn trailers(self) -> Answered {
        let trailer = Step::Trailers(HeaderMap::from_iter([(
            HeaderName::from_static("x-fake-trailer"),
            HeaderValue::from_static("told-at-the-end"),
        )]));
        let mut response = match self.ask.answer() {
            Ok(Answer::Stream(plan)) => self.stream(plan.content_type, plan.events, [trailer]),
            Ok(Answer::Whole {
                content_type,
                body,
                told,
            }) => {
                let steps = [Step::Data(body, told), trailer];
                self.respond(content_type, |call| AnswerBody::steps(call, steps))
            }
            Err(code) => return self.status(code, None, &[]),
        };
        // hyper writes only trailers that were announced.
        let announced = HeaderValue::from_static("x-fake-trailer");
        response
            .headers_mut()
            .insert(http::header::TRAILER, announced);
        Ok(response)
    }

    fn no_keep_alive(self) -> Answered {
        let (line, version) = (self.line, self.call.version);
        let mut response = self.ok()?;
        if version == Version::HTTP_2 {
            line.retire.notify_one();
        } else {
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }

    fn exactly(self, content_type: &str, bytes: Bytes, chunked: bool) -> Response<AnswerBody> {
        if chunked {
            let steps = [Step::Data(bytes, Totals::NONE)];
            return self.respond(content_type, |call| AnswerBody::steps(call, steps));
        }
        self.whole(content_type, bytes, Totals::NONE)
    }

    fn whole(mut self, content_type: &str, body: Bytes, told: Totals) -> Response<AnswerBody> {
        let Some(gate) = self.gate.take() else {
            return self.respond(content_type, |call| AnswerBody::whole(call, body, told));
        };
        let length = body.len() as u64;
        let steps = [Step::Pass(gate), Step::Data(body, told)];
        self.respond(content_type, |call| {
            AnswerBody::steps(call, steps).promising(length)
        })
    }

    fn stream<const N: usize>(
        self,
        content_type: &str,
        events: Vec<Event>,
        last: [Step; N],
    ) -> Response<AnswerBody> {
        let mut steps = Vec::with_capacity(events.len() * 2 + N);
        for (nth, Event { bytes, told }) in events.into_iter().enumerate() {
            let gate = self.gate.as_ref().filter(|_| nth >= self.ungated);
            steps.extend(gate.cloned().map(Step::Pass));
            steps.extend(self.gap.filter(|gap| !gap.is_zero()).map(Step::Wait));
            steps.push(Step::Data(bytes, told));
        }
        steps.extend(last);
        self.respond(content_type, |call| AnswerBody::steps(call, steps))
    }

    fn respond(
        self,
        content_type: &str,
        body: impl FnOnce(Call) -> AnswerBody,
    ) -> Response<AnswerBody> {
        let mut headers = headers::vendor(self.dialect(), self.ask.ids);
        if let Ok(value) = HeaderValue::from_str(content_type) {
            headers.insert(CONTENT_TYPE, value);
        }
        let mut response = Response::new(body(self.call));
        *response.headers_mut() = headers;
        response
    }

    fn error_body(&self, code: u16, headers: &[(String, String)]) -> Bytes {
        let retry_after = headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("retry-after"));
        let retry_after = retry_after.and_then(|(_, seconds)| seconds.parse().ok());
        self.ask.error_body(code, retry_after)
    }

    /// Streams are as long as the script needs them.
    fn at_least(&mut self, events: usize) {
        self.ask.events = self.ask.events.max(events);
    }

    fn dialect(&self) -> dialect::Dialect {
        self.ask.route.dialect
    }
}

fn broken_off(half: Bytes) -> [Step; 3] {
    [
        Step::Data(half, Totals::NONE),
        Step::Wait(BEFORE_CUT),
        Step::Abort,
    ]
}

fn append(headers: &mut HeaderMap, extra: &[(String, String)]) {
    for (name, value) in extra {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.append(name, value);
        }
    }
}
