//! What the request's body asks.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use pingora::protocols::http::ServerSession;
use turnpike_api::{Ask, Dialect, Operation};
use turnpike_providers::{MAX_MODEL, Model, ScanError, multipart_model, scan};

use super::Stop;
use super::body::{Body, Share, receive};
use super::sandbox;
use crate::context::Context;
use crate::refusal::{Reason, Refusal};

/// What was asked, and the body that asks it.
pub struct Asked<'r> {
    pub ask: Ask,
    /// Where the model's name stands in the body, for an alias.
    pub model_span: Option<ModelSpan>,
    /// Set for a stream that would not say what it used.
    pub usage: Option<UnaskedUsage>,
    pub body: Body<'r>,
}

/// The bytes that an alias rewrite replaces.
#[derive(Clone, Debug)]
pub struct ModelSpan {
    pub range: Range<usize>,
    /// The name stands there as a JSON string, quotes included.
    pub json: bool,
}

/// Usage that the body does not ask for, though it could.
#[derive(Clone, Debug)]
pub struct UnaskedUsage {
    /// Where the value of its `stream_options` stands, if it has any.
    pub options: Option<Range<usize>>,
}

/// What a body asks, and where.
#[derive(Default)]
struct Found {
    model_span: Option<ModelSpan>,
    usage: Option<UnaskedUsage>,
}

/// Reads the body and finds what it asks.
pub async fn read<'r>(
    session: &mut ServerSession,
    context: &mut Context<'r>,
    operation: Operation,
    model_in_path: Option<&str>,
    share: Share,
) -> Result<Asked<'r>, Stop> {
    let began = Instant::now();
    let mut body = receive(session, context, share).await?;
    body.bytes = sandbox::unsaid(std::mem::take(&mut body.bytes), context);
    context.record.waited += began.elapsed();
    let head = session.req_header();
    let content_type = head
        .headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("");
    let (ask, found) = ask(operation, model_in_path, content_type, &body.bytes)?;
    context.record.model = Some(ask.model.clone());
    context.record.stream = ask.stream;
    Ok(Asked {
        ask,
        model_span: found.model_span,
        usage: found.usage,
        body,
    })
}

fn ask(
    operation: Operation,
    model_in_path: Option<&str>,
    content_type: &str,
    body: &Bytes,
) -> Result<(Ask, Found), Refusal> {
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
        return Ok((ask, Found::default()));
    }
    if operation == Operation::PassThrough && is_form(content_type) {
        let model = multipart_model(content_type, body).map_err(refused)?;
        let (ask, model_span) = with_model(ask, model, false);
        let usage = None;
        return Ok((ask, Found { model_span, usage }));
    }
    // JSON, whatever the content type says: a provider may not look at it either.
    let found = scan(body).map_err(refused)?;
    ask.max_tokens = found.max_tokens;
    if operation.dialect() == Dialect::Gemini {
        ask.stream = operation == Operation::StreamGenerateContent;
        return Ok((ask, Found::default()));
    }
    ask.stream = found.stream;
    if found.model.is_none() && operation != Operation::PassThrough {
        return Err(Refusal::new(
            Reason::InvalidModel,
            "'model' is missing from the body",
        ));
    }
    let can_ask = matches!(
        operation,
        Operation::ChatCompletions | Operation::Completions
    );
    let usage = (can_ask && found.stream && !found.include_usage).then_some(UnaskedUsage {
        options: found.stream_options,
    });
    let (ask, model_span) = with_model(ask, found.model, true);
    Ok((ask, Found { model_span, usage }))
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
