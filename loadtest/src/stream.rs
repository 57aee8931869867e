//! An answer's body: steps taken one after the other.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Frame, SizeHint};

use crate::call::Call;
use crate::gate::Gate;
use crate::record::Outcome;
use crate::totals::Totals;

pub(crate) enum Step {
    /// Bytes, and the usage they tell.
    Data(Bytes, Totals),
    Wait(Duration),
    Pass(Gate),
    Trailers(HeaderMap),
    /// hyper closes the connection on h1 and resets the stream on h2.
    Abort,
}

/// The behaviour broke the answer off.
#[derive(Debug, thiserror::Error)]
#[error("cut by the script")]
pub(crate) struct Cut;

/// Runs inside hyper's own poll: no task, and a caller that leaves drops it
/// at whatever step it waits.
pub(crate) struct AnswerBody {
    steps: VecDeque<Step>,
    /// For `Content-Length`; chunked without.
    length: Option<u64>,
    waiting: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    call: Option<Call>,
}

impl AnswerBody {
    pub(crate) fn whole(call: Call, body: Bytes, told: Totals) -> Self {
        let length = body.len() as u64;
        Self::steps(call, [Step::Data(body, told)]).promising(length)
    }

    pub(crate) fn steps(call: Call, steps: impl Into<VecDeque<Step>>) -> Self {
        let mut body = Self {
            steps: steps.into(),
            length: None,
            waiting: None,
            call: Some(call),
        };
        if body.steps.is_empty() {
            body.close(Outcome::Delivered);
        }
        body
    }

    pub(crate) fn promising(mut self, length: u64) -> Self {
        self.length = Some(length);
        // hyper asks a body that is empty from the start for no frame.
        if length == 0 {
            self.steps.clear();
            self.close(Outcome::Delivered);
        }
        self
    }

    fn close(&mut self, outcome: Outcome) {
        if let Some(call) = self.call.take() {
            call.finish(outcome);
        }
    }

    /// hyper does not poll again after the last frame.
    fn close_if_last(&mut self) {
        if self.steps.is_empty() {
            self.close(Outcome::Delivered);
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        loop {
            if let Some(waiting) = &mut self.waiting {
                ready!(waiting.as_mut().poll(cx));
                self.waiting = None;
            }
            match self.steps.pop_front() {
                Some(Step::Data(bytes, told)) => {
                    if let Some(call) = &self.call {
                        call.tell(told);
                    }
                    self.close_if_last();
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Some(Step::Trailers(trailers)) => {
                    self.close_if_last();
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                Some(Step::Wait(time)) => self.waiting = Some(Box::pin(tokio::time::sleep(time))),
                Some(Step::Pass(gate)) => self.waiting = Some(Box::pin(gate.pass())),
                Some(Step::Abort) => {
                    self.close(Outcome::Cut);
                    return Poll::Ready(Some(Err(Cut)));
                }
                None => {
                    self.close(Outcome::Delivered);
                    return Poll::Ready(None);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.steps.is_empty() && self.waiting.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map(SizeHint::with_exact).unwrap_or_default()
    }
}
