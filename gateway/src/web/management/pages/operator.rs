//! Who asks for a page.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponse, Response};
use turnpike_api::{Clock, Store};
use turnpike_identity::sso::operator::{self, Who};
use turnpike_identity::sso::{Purpose, Session, digest, random};

use super::super::access::Actor;
use super::Shared;
use super::entrance::Entrance;
use crate::runtime::Runtime;
use crate::snapshot::Snapshot;
use crate::web::cookies::{self, SameSite};
use crate::web::form::Form;
use crate::web::page::see_other;
use crate::web::problem::Problem;

/// The address of somebody who may ask from there.
#[derive(Clone, Copy)]
pub(super) struct Nearby(pub(super) IpAddr);

/// Cookies of ours are so long.
const COOKIE: usize = 43;

/// The cookie that ties a sign-in to a browser is kept for so many seconds.
const KEPT: i64 = 24 * 60 * 60;

/// Anybody who may ask from where they are.
pub(super) struct Visitor {
    pub(super) pages: Shared,
    pub(super) runtime: Arc<Runtime>,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) peer: IpAddr,
    /// Milliseconds since 1970.
    pub(super) now: u64,
    pub(super) headers: HeaderMap,
    /// What the browser was given when it first came.
    door: Option<String>,
    /// Of who is signed in.
    cookie: Option<String>,
}

/// Somebody who is signed in.
pub(super) struct Operator {
    pub(super) visitor: Visitor,
    pub(super) actor: Actor,
}

/// A form that somebody who is signed in sent from our page.
pub(super) struct Sent {
    pub(super) operator: Operator,
    pub(super) form: Form,
}

impl FromRequestParts<Shared> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, pages: &Shared) -> Result<Self, Problem> {
        let nearby = parts.extensions.get::<Nearby>().copied();
        let Nearby(peer) = nearby.ok_or_else(Problem::remote)?;
        let runtime = pages.office.runtime();
        let runtime = runtime.map_err(|_| Problem::stopped())?;
        let snapshot = runtime.snapshot();
        let is_secure = snapshot.management.entrance.is_secure;
        let cookie = |name| {
            let found = cookies::find(&parts.headers, name, is_secure);
            found.filter(|value| value.len() == COOKIE)
        };
        Ok(Self {
            pages: pages.clone(),
            peer,
            now: runtime.board.time.now(),
            door: cookie(cookies::DOOR),
            cookie: cookie(cookies::OPERATOR),
            headers: parts.headers.clone(),
            snapshot,
            runtime,
        })
    }
}

impl FromRequestParts<Shared> for Operator {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, pages: &Shared) -> Result<Self, Response> {
        let visitor = Visitor::from_request_parts(parts, pages).await;
        let visitor = visitor.map_err(IntoResponse::into_response)?;
        let actor = visitor.actor().await.map_err(IntoResponse::into_response)?;
        match actor {
            Some(actor) => Ok(Self { visitor, actor }),
            None if parts.method == Method::GET => Err(see_other("/admin/sign-in")),
            None => Err(Problem::operator_session_over().into_response()),
        }
    }
}

impl FromRequest<Shared> for Sent {
    type Rejection = Response;

    async fn from_request(request: Request, pages: &Shared) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let operator = Operator::from_request_parts(&mut parts, pages).await?;
        let request = Request::from_parts(parts, body);
        let form = Form::from_request(request, pages).await;
        let form = form.map_err(IntoResponse::into_response)?;
        match operator.is_ours(&form) {
            true => Ok(Self { operator, form }),
            false => Err(Problem::form().into_response()),
        }
    }
}

impl Visitor {
    pub(super) fn entrance(&self) -> &Entrance {
        &self.snapshot.management.entrance
    }

    pub(super) fn store(&self) -> &dyn Store {
        &*self.runtime.store
    }

    /// Who is signed in, if anybody: until their time is over, their key is gone from the
    /// configuration, or the person is signed out or may not manage any more.
    pub(super) async fn actor(&self) -> Result<Option<Actor>, Problem> {
        let Some(cookie) = &self.cookie else {
            return Ok(None);
        };
        let (store, terms) = (self.store(), &self.snapshot.management);
        let Some(who) = operator::signed_in(store, cookie, self.now).await? else {
            return Ok(None);
        };
        let actor = match who {
            Who::Key(mark) => terms.of_mark(&mark),
            Who::Person(_) if !terms.entrance.by_login => None,
            Who::Person(mark) => {
                let person = Session::of_mark(&mark, store, self.now).await?;
                person.and_then(|person| Actor::of_person(&person, &self.snapshot))
            }
        };
        Ok(actor.map(|actor| actor.at(self.peer)))
    }

    /// Gives the browser what it is known by, unless it has it.
    pub(super) fn name_browser(&mut self) -> Result<(), Problem> {
        if self.door.is_none() {
            self.door = Some(random().map_err(|error| {
                tracing::error!(%error, "no randomness");
                Problem::internal()
            })?);
        }
        Ok(())
    }

    /// Has the browser keep what it is known by. It comes along when a login sends the browser back,
    /// from whatever site.
    pub(super) fn keep_browser(&self, response: &mut Response) {
        if let Some(door) = &self.door {
            let cookie = (cookies::DOOR, &**door);
            let is_secure = self.entrance().is_secure;
            cookies::set_for_operator(response, cookie, KEPT, is_secure, SameSite::Lax);
        }
    }

    /// What the browser shows others that it is known by.
    pub(super) fn challenge(&self) -> Option<String> {
        self.door.as_deref().map(digest)
    }

    /// The seal of the forms of a browser that nobody is signed in with.
    pub(super) fn seal(&self) -> String {
        let door = self.door.as_deref().unwrap_or_default();
        self.entrance().seals.seal(Purpose::Form, door)
    }

    /// Whether a form was sent by the browser that it was made for, from our page.
    pub(super) fn is_ours(&self, form: &Form) -> bool {
        let door = self.door.as_deref();
        door.is_some_and(|door| self.is_sealed(door, form))
    }

    fn is_sealed(&self, of: &str, form: &Form) -> bool {
        let seals = &self.entrance().seals;
        seals.is_sealed(Purpose::Form, of, form.get("csrf"))
    }

    /// Begins or, with an empty value, ends what the browser is signed in by.
    pub(super) fn keep_session(&self, response: &mut Response, cookie: &str) {
        let lasts = match cookie {
            "" => 0,
            _ => i64::try_from(operator::LASTS.as_secs()).unwrap_or(i64::MAX),
        };
        let cookie = (cookies::OPERATOR, cookie);
        let is_secure = self.entrance().is_secure;
        cookies::set_for_operator(response, cookie, lasts, is_secure, SameSite::Strict);
    }
}

impl Operator {
    /// The seal of this operator's forms.
    pub(super) fn seal(&self) -> String {
        self.visitor
            .entrance()
            .seals
            .seal(Purpose::Form, self.cookie())
    }

    /// Forgets who is signed in.
    pub(super) async fn end(&self) -> Result<(), Problem> {
        Ok(operator::sign_out(self.visitor.store(), self.cookie()).await?)
    }

    fn is_ours(&self, form: &Form) -> bool {
        self.visitor.is_sealed(self.cookie(), form)
    }

    fn cookie(&self) -> &str {
        self.visitor.cookie.as_deref().unwrap_or_default()
    }
}
