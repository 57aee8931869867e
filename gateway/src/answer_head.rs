//! The heads of answers. They are `http`'s own parts until they are sent: Pingora's head reads every
//! name anew that is put into it.

use http::response::Parts;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use pingora::http::ResponseHeader;
use turnpike_api::Dialect;

/// Under which an answer names its request, and a caller may.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The same, where Anthropic's clients look for it.
const ANTHROPIC_REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// Under which an answer names what was decided about its request.
pub const DECISION: HeaderName = HeaderName::from_static("x-turnpike-decision");

/// With room for the headers that most answers have of us, so that the map seldom grows.
const OURS: usize = 12;

/// The head of an answer to the request of this id, with room for `more` headers.
pub fn answer_head(status: StatusCode, id: &HeaderValue, dialect: Dialect, more: usize) -> Parts {
    let (mut head, ()) = Response::new(()).into_parts();
    head.status = status;
    head.headers.reserve(OURS + more);
    head.headers.insert(REQUEST_ID, id.clone());
    if dialect == Dialect::Anthropic {
        head.headers.insert(ANTHROPIC_REQUEST_ID, id.clone());
    }
    head
}

/// The head, ready to be sent.
pub fn ready(head: Parts) -> Box<ResponseHeader> {
    Box::new(head.into())
}
