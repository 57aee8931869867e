//! How sinks reach receivers. The gateway has the ways there: proxies, trusted roots, addresses that are
//! refused. Sinks have threads of their own, so each call waits for its end.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::header::{InvalidHeaderValue, RETRY_AFTER};
use http::{HeaderValue, Request, Response, StatusCode};
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use thiserror::Error;
use turnpike_api::Secret;

use super::SinkError;

/// The world outside.
pub trait Outside: Send + Sync {
    /// Sends a request, and waits for the whole answer. Redirects are not followed.
    fn call(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, OutsideError>;
}

/// Why there is no answer, or no connection. It holds nothing of what was sent.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct OutsideError(pub String);

/// A way to one receiver that takes a stream of bytes.
pub trait Line: Send {
    /// A connection; over TLS where that is configured, and with its certificate checked.
    fn connect(&self) -> Result<Box<dyn Connection>, OutsideError>;
}

/// A connection to a receiver that answers nothing.
pub trait Connection: Read + Write + Send {
    /// That it is not broken, as far as is known here. An error says how it ended.
    fn check(&mut self) -> Result<(), OutsideError>;

    /// Says that nothing more comes, and waits a while for the receiver to close it.
    fn finish(&mut self);
}

pub(super) type World = Arc<dyn Outside>;

/// What a receiver knows the gateway by. Receivers are given another while the gateway runs, so it is read for
/// each request; whoever has a clone can replace it.
pub struct Renewable<T>(Arc<ArcSwap<T>>);

impl<T> Clone for Renewable<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Renewable<T> {
    pub fn new(first: T) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(first)))
    }

    /// The requests from now on have this one.
    pub fn renew(&self, next: T) {
        self.0.store(Arc::new(next));
    }

    pub(super) fn get(&self) -> Arc<T> {
        self.0.load_full()
    }
}

impl From<OutsideError> for SinkError {
    fn from(OutsideError(why): OutsideError) -> Self {
        Self::new(why)
    }
}

/// What a receiver knows the gateway by, so that nothing prints it.
pub(super) fn authorization(
    scheme: &str,
    token: &Secret,
) -> Result<HeaderValue, InvalidHeaderValue> {
    let mut value = HeaderValue::try_from(format!("{scheme} {}", token.expose()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Whether a receiver has taken what was sent. One that says that it never will is asked again all the
/// same: what it does not like may be its own configuration, and a record is not given up.
pub(super) fn taken(answer: &Response<Vec<u8>>, now: u64) -> Result<(), SinkError> {
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let why = match status {
        StatusCode::TOO_MANY_REQUESTS => format!("it answered {status}: too many at once"),
        status if status.is_client_error() => {
            format!("it answered {status}: look at its address, its key and what it accepts")
        }
        status if status.is_redirection() => {
            format!("it answered {status}: redirects are not followed")
        }
        status => format!("it answered {status}"),
    };
    let wait = answer.headers().get(RETRY_AFTER);
    let wait = wait.and_then(|value| value.to_str().ok());
    Err(SinkError {
        why,
        wait: wait.and_then(|text| retry_after(text, now)),
        is_lost: false,
    })
}

/// Seconds, or a date.
fn retry_after(text: &str, now: u64) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until: Timestamp = rfc2822::DateTimeParser::new()
        .parse_timestamp(text.trim())
        .ok()?;
    let until = u64::try_from(until.as_millisecond()).ok()?;
    Some(Duration::from_millis(until.saturating_sub(now)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_says_how_long_to_wait() {
        let now = 1_790_000_000_000;
        for (status, header, wait) in [
            (429, Some("7"), Some(7)),
            (503, Some("Mon, 21 Sep 2026 14:13:50 GMT"), Some(30)),
            (503, Some("soon"), None),
            (500, None, None),
            (400, None, None),
            (302, None, None),
        ] {
            let mut answer = Response::builder().status(status);
            if let Some(header) = header {
                answer = answer.header(RETRY_AFTER, header);
            }
            let error = taken(&answer.body(Vec::new()).unwrap(), now).unwrap_err();
            assert_eq!(error.wait.map(|wait| wait.as_secs()), wait, "{status}");
            assert!(error.why.contains(&status.to_string()), "{}", error.why);
        }
        assert!(taken(&Response::new(Vec::new()), now).is_ok());
    }
}
