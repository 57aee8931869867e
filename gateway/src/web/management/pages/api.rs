//! The management API, as the pages use it: by its own routes, with whoever is signed in.

use std::fmt::Display;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use http::{Method, Request, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tower::ServiceExt;

use super::super::access::Actor;
use crate::web::problem::Problem;

/// Its routes, behind the place where keys are asked for.
pub(super) struct Api(Router);

/// What it says when it does not do something.
#[derive(Deserialize)]
struct Answer {
    error: Detail,
}

#[derive(Deserialize)]
struct Detail {
    message: String,
}

impl Api {
    pub(super) fn new(routes: Router) -> Self {
        Self(routes)
    }

    /// What is at a path below the API's root.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        actor: &Actor,
        path: &str,
    ) -> Result<T, Problem> {
        let body = self.call(actor, Method::GET, path, None).await?;
        serde_json::from_slice(&body).map_err(|error| {
            tracing::error!(%error, path, "a page does not understand the management API");
            Problem::internal()
        })
    }

    /// What is at a path, as it is sent.
    pub(super) async fn text(&self, actor: &Actor, path: &str) -> Result<Bytes, Problem> {
        self.call(actor, Method::GET, path, None).await
    }

    /// Has something done.
    pub(super) async fn send(
        &self,
        actor: &Actor,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<(), Problem> {
        self.call(actor, method, path, body).await.map(drop)
    }

    async fn call(
        &self,
        actor: &Actor,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Bytes, Problem> {
        let body = body.map_or(Body::empty(), |body| Body::from(body.to_string()));
        let request = Request::builder().method(method).uri(path);
        // The evidence that somebody was let in, as a key's check leaves it there.
        let request = request.extension(actor.clone()).body(body);
        let request = request.map_err(|_| Problem::internal())?;
        let Ok(response) = self.0.clone().oneshot(request).await;
        let status = response.status();
        let body = to_bytes(response.into_body(), usize::MAX).await;
        let body = body.map_err(|_| Problem::internal())?;
        match status.is_success() {
            true => Ok(body),
            false => Err(refused(status, &body)),
        }
    }
}

/// A text as one segment of a path, or as a value of a query.
pub(super) fn encoded(text: &str) -> impl Display {
    utf8_percent_encode(text, NON_ALPHANUMERIC)
}

fn refused(status: StatusCode, body: &[u8]) -> Problem {
    let answer = serde_json::from_slice::<Answer>(body);
    let message = answer.map_or_else(|_| String::new(), |answer| answer.error.message);
    let (title, detail) = match status.as_u16() {
        400 | 413 | 422 => ("That cannot be taken", sentence(&message)),
        403 => ("You may not do that", lacking(&message)),
        // What the message names may be anybody's words: it stood in an address.
        404 => (
            "It is not there",
            "It may have been removed meanwhile.".into(),
        ),
        409 | 412 => ("That is not possible now", sentence(&message)),
        503 => ("The gateway's store is unavailable", sentence(&message)),
        _ => ("The gateway cannot do that now", sentence(&message)),
    };
    Problem::new(status.as_u16(), "refused", title).with(detail)
}

/// Of whom a scope is lacking: the message names it last, and speaks of keys, which a person has not.
fn lacking(message: &str) -> String {
    let scope = message.rsplit('`').nth(1).unwrap_or_default();
    format!("It takes the scope {scope}, which what you signed in with does not grant.")
}

/// As people read it.
pub(super) fn sentence(message: &str) -> String {
    let mut characters = message.chars();
    match characters.next() {
        None => String::new(),
        Some(first) => format!("{}{}.", first.to_uppercase(), characters.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_stays_within_its_segment() {
        assert_eq!(
            encoded("../auths?id=x#y").to_string(),
            "%2E%2E%2Fauths%3Fid%3Dx%23y"
        );
        assert_eq!(encoded("openai/é").to_string(), "openai%2F%C3%A9");
    }
}
