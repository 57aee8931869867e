//! A request's way to its answer.

use std::sync::Arc;

use http::request::Parts;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::answer::Answering;
use crate::call::Call;
use crate::dialect::{Ask, Route};
use crate::ids::Ids;
use crate::key;
use crate::line::Line;
use crate::provider::Shared;
use crate::record::Outcome;
use crate::script::Behaviour;
use crate::stream::{AnswerBody, Cut};

/// Enough to say that the upload began.
const EARLY: usize = 1024;

pub(crate) async fn handle(
    shared: Arc<Shared>,
    line: Arc<Line>,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Cut> {
    let (head, incoming) = request.into_parts();
    let key = key::of(&head);
    let behaviour = behaviour(&shared, &head, &key);
    let mut call = Call::open(shared.clone(), line.id, key, &head);
    let body = match read(incoming, &mut call, &behaviour).await {
        Reading::Done => call.read(),
        Reading::CallerLeft => return Err(Cut),
        Reading::Cut => {
            call.finish(Outcome::Cut);
            return Err(Cut);
        }
    };
    let ask = Ask {
        route: Route::of(&head),
        ids: Ids(u64::from(shared.port) << 32 | call.id),
        events: shared.options.events,
        body,
    };
    let gap = shared.options.gap;
    let gate = || shared.scripts.gate(&call.key);
    let (gate, ungated) = match behaviour {
        Behaviour::Gated | Behaviour::Held(_) => (Some(gate()), 0),
        Behaviour::GatedAfter { after_events } => (Some(gate()), after_events),
        _ => (None, 0),
    };
    Answering {
        ask,
        call,
        line: &line,
        gap,
        gate,
        ungated,
    }
    .answer(behaviour)
    .await
}

fn behaviour(shared: &Shared, head: &Parts, key: &str) -> Behaviour {
    // Clients knock with an unauthenticated HEAD before they call.
    if head.method == Method::HEAD {
        return Behaviour::Ok;
    }
    if !shared.accepts(key) {
        return Behaviour::unauthorized();
    }
    match head.method == Method::GET && head.uri.path().ends_with("/models") {
        true => shared.scripts.next_list(key),
        false => shared.scripts.next(key),
    }
}

enum Reading {
    Done,
    CallerLeft,
    Cut,
}

async fn read(mut incoming: Incoming, call: &mut Call, behaviour: &Behaviour) -> Reading {
    let enough = match behaviour {
        Behaviour::CutBeforeRead => return Reading::Cut,
        Behaviour::AnswerEarly { .. } => EARLY,
        _ => usize::MAX,
    };
    while call.body_len() < enough {
        match incoming.frame().await {
            None => break,
            Some(Err(_)) => return Reading::CallerLeft,
            Some(Ok(frame)) => {
                if let Ok(piece) = frame.into_data() {
                    call.push(piece);
                }
            }
        }
    }
    Reading::Done
}
