//! The request's body, bounded, and what it asks.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, TRANSFER_ENCODING};
use pingora::ErrorType;
use pingora::protocols::http::ServerSession;
use pingora::time::timeout;
use prometheus::IntGauge;
use turnpike_api::{Ask, Dialect, Operation};
use turnpike_providers::{MAX_MODEL, Model, ScanError, multipart_model, scan};

use super::Stop;
use crate::context::Context;
use crate::refusal::{Reason, Refusal};
use crate::runtime::Runtime;

/// A body, charged to the process's budget for as long as it is held.
pub struct Body<'r> {
    pub bytes: Bytes,
    _charge: Charge<'r>,
}

/// What was asked, and the body that asks it.
pub struct Asked<'r> {
    pub ask: Ask,
    /// Where the model's name stands in the body, for an alias.
    pub model_span: Option<ModelSpan>,
    pub body: Body<'r>,
}

/// The bytes that an alias rewrite replaces.
#[derive(Clone, Debug)]
pub struct ModelSpan {
    pub range: Range<usize>,
    /// The name stands there as a JSON string, quotes included.
    pub json: bool,
}

/// Reads the body and finds what it asks.
pub async fn read<'r>(
    session: &mut ServerSession,
    context: &mut Context<'r>,
    operation: Operation,
    model_in_path: Option<&str>,
) -> Result<Asked<'r>, Stop> {
    let began = Instant::now();
    let body = read_body(session, context).await?;
    context.record.waited += began.elapsed();
    let head = session.req_header();
    let content_type = head
        .headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("");
    let (ask, model_span) = ask(operation, model_in_path, content_type, &body.bytes)?;
    context.record.model = Some(ask.model.clone());
    context.record.stream = ask.stream;
    Ok(Asked {
        ask,
        model_span,
        body,
    })
}

async fn read_body<'r>(
    session: &mut ServerSession,
    context: &Context<'r>,
) -> Result<Body<'r>, Stop> {
    let limits = &context.snapshot.limits;
    let headers = &session.req_header().headers;
    if headers
        .get(CONTENT_ENCODING)
        .is_some_and(|encoding| encoding != "identity")
    {
        return Err(Refusal::new(
            Reason::InvalidBody,
            "compressed request bodies are not served: send it without Content-Encoding",
        )
        .into());
    }
    if !is_plainly_framed(headers) {
        return Err(Refusal::new(
            Reason::InvalidBody,
            "the request's Transfer-Encoding is not understood: only `chunked`, given once, is",
        )
        .into());
    }
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|len| len > limits.max_body) {
        return Err(too_large(limits.max_body).into());
    }
    let expects_continue = headers
        .get(EXPECT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    if expects_continue {
        session
            .write_continue_response()
            .await
            .map_err(|_| Stop::ClientGone)?;
    }
    match timeout(limits.body_timeout, collect(session, context, announced)).await {
        Ok(body) => body,
        Err(_) => Err(Refusal::new(
            Reason::RequestTimeout,
            "the request's body did not arrive in time",
        )
        .into()),
    }
}

/// Whether a proxy in front could not have read another transfer coding, and so another end of the
/// body, out of the same head. Pingora looks at the last coding only.
fn is_plainly_framed(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    }
}

/// Pingora's names for bodies whose chunks are not well-formed.
const MALFORMED: [&str; 2] = ["InvalidChunk", "InvalidTrailerEnd"];

async fn collect<'r>(
    session: &mut ServerSession,
    context: &Context<'r>,
    announced: Option<u64>,
) -> Result<Body<'r>, Stop> {
    let limits = &context.snapshot.limits;
    let mut charge = Charge {
        runtime: context.runtime,
        gauge: context.runtime.metrics.buffered(),
        bytes: 0,
    };
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    loop {
        let read = session.read_request_body().await;
        if read.is_err() {
            // Pingora counts a body that it could not read as done and would take what follows
            // for the next request: bytes whose place nobody knows must not become one.
            session.set_keepalive(None);
        }
        let piece = match read {
            Ok(Some(piece)) => piece,
            Ok(None) => break,
            Err(error) if MALFORMED.contains(&error.etype.as_str()) => {
                return Err(Refusal::new(
                    Reason::InvalidBody,
                    "the request's body is not well-formed chunked encoding",
                )
                .into());
            }
            // Who closed only its sending half is still there to be told.
            Err(error) if error.etype == ErrorType::ConnectionClosed => {
                return Err(Refusal::new(
                    Reason::InvalidBody,
                    "the request's body ended before it was whole",
                )
                .into());
            }
            Err(_) => return Err(Stop::ClientGone),
        };
        if charge.bytes + piece.len() as u64 > limits.max_body {
            return Err(too_large(limits.max_body).into());
        }
        charge.add(piece.len() as u64, limits.max_buffered)?;
        // Most bodies come in one piece, and are not copied.
        if first.is_empty() {
            first = piece;
            continue;
        }
        if rest.is_empty() {
            rest.reserve(announced.unwrap_or(0).min(limits.max_body) as usize);
            rest.extend_from_slice(&first);
        }
        rest.extend_from_slice(&piece);
    }
    let bytes = if rest.is_empty() {
        first
    } else {
        rest.freeze()
    };
    if announced.is_some_and(|len| len != bytes.len() as u64) {
        return Err(Refusal::new(
            Reason::InvalidBody,
            "the request's body ended before its Content-Length",
        )
        .into());
    }
    Ok(Body {
        bytes,
        _charge: charge,
    })
}

fn too_large(max_body: u64) -> Refusal {
    Refusal::new(
        Reason::BodyTooLarge,
        format!("the request's body is larger than the {max_body} bytes allowed here"),
    )
}

/// A part of `server.limits.max_buffered`, given back when dropped.
struct Charge<'r> {
    runtime: &'r Runtime,
    gauge: &'r IntGauge,
    bytes: u64,
}

impl Charge<'_> {
    fn add(&mut self, bytes: u64, max_buffered: u64) -> Result<(), Refusal> {
        let before = self.runtime.buffered.fetch_add(bytes, Ordering::Relaxed);
        self.gauge.add(bytes.cast_signed());
        self.bytes += bytes;
        if before + bytes > max_buffered {
            return Err(Refusal::new(
                Reason::Overloaded,
                "the gateway holds as many request bodies as it may: try again shortly",
            ));
        }
        Ok(())
    }
}

impl Drop for Charge<'_> {
    fn drop(&mut self) {
        self.runtime
            .buffered
            .fetch_sub(self.bytes, Ordering::Relaxed);
        self.gauge.sub(self.bytes.cast_signed());
    }
}

fn ask(
    operation: Operation,
    model_in_path: Option<&str>,
    content_type: &str,
    body: &Bytes,
) -> Result<(Ask, Option<ModelSpan>), Refusal> {
    let mut ask = Ask {
        operation,
        model: Arc::default(),
        stream: false,
        max_tokens: None,
        body_len: body.len(),
    };
    if let Some(model) = model_in_path {
        ask.model = named_by_path(model)?;
    }
    if operation == Operation::PassThrough && body.is_empty() {
        return Ok((ask, None));
    }
    if operation == Operation::PassThrough && is_form(content_type) {
        let model = multipart_model(content_type, body).map_err(refused)?;
        return Ok(with_model(ask, model, false));
    }
    // JSON, whatever the content type says: a provider may not look at it either.
    let found = scan(body).map_err(refused)?;
    ask.max_tokens = found.max_tokens;
    if operation.dialect() == Dialect::Gemini {
        ask.stream = operation == Operation::StreamGenerateContent;
        return Ok((ask, None));
    }
    ask.stream = found.stream;
    if found.model.is_none() && operation != Operation::PassThrough {
        return Err(Refusal::new(
            Reason::InvalidModel,
            "'model' is missing from the body",
        ));
    }
    Ok(with_model(ask, found.model, true))
}

fn with_model(mut ask: Ask, model: Option<Model<'_>>, json: bool) -> (Ask, Option<ModelSpan>) {
    let span = model.map(|model| {
        ask.model = model.name.into();
        ModelSpan {
            range: model.span,
            json,
        }
    });
    (ask, span)
}

fn named_by_path(model: &str) -> Result<Arc<str>, Refusal> {
    match model.len() {
        0 => Err(Refusal::new(
            Reason::InvalidModel,
            "the path names no model",
        )),
        1..=MAX_MODEL => Ok(model.into()),
        _ => Err(Refusal::new(
            Reason::InvalidModel,
            "the model in the path is longer than 512 bytes",
        )),
    }
}

fn is_form(content_type: &str) -> bool {
    let kind = content_type.split('/').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("multipart")
}

fn refused(error: ScanError) -> Refusal {
    let reason = match error {
        ScanError::ModelNotAString
        | ScanError::ModelTooLong
        | ScanError::ModelEmpty
        | ScanError::DuplicateKey("model") => Reason::InvalidModel,
        _ => Reason::InvalidBody,
    };
    Refusal::new(reason, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(operation: Operation, content_type: &str, body: &'static str) -> Result<Ask, String> {
        let path = (operation.dialect() == Dialect::Gemini).then_some("g");
        ask(
            operation,
            path,
            content_type,
            &Bytes::from_static(body.as_bytes()),
        )
        .map(|(ask, _)| ask)
        .map_err(|refusal| format!("{} {}", refusal.reason.words().reason, refusal.message))
    }

    #[test]
    fn what_bodies_ask() {
        let chat = asked(
            Operation::ChatCompletions,
            "",
            r#"{"model":"m","stream":true,"max_tokens":7}"#,
        )
        .unwrap();
        assert_eq!(
            (&*chat.model, chat.stream, chat.max_tokens),
            ("m", true, Some(7))
        );
        let gemini = asked(
            Operation::StreamGenerateContent,
            "",
            r#"{"generationConfig":{"maxOutputTokens":9}}"#,
        )
        .unwrap();
        assert_eq!(
            (&*gemini.model, gemini.stream, gemini.max_tokens),
            ("g", true, Some(9))
        );
        let file = asked(Operation::PassThrough, "", "").unwrap();
        assert_eq!(&*file.model, "");
    }

    #[test]
    fn what_is_wrong_with_them() {
        let wrong = |body| asked(Operation::Messages, "application/json", body).unwrap_err();
        assert!(wrong("{}").starts_with("invalid_model 'model' is missing"));
        assert!(wrong(r#"{"model":7}"#).starts_with("invalid_model 'model' is not a string"));
        assert!(
            wrong(r#"{"model":"a","model":"b"}"#)
                .starts_with("invalid_model 'model' is given twice")
        );
        assert!(wrong(r#"{"model":"a""#).starts_with("invalid_body"));
        assert!(wrong("").starts_with("invalid_body"));
    }
}
