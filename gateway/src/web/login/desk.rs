//! Who asks for a page, and what is at hand to answer.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use turnpike_api::{Clock, Store, StoreError};
use turnpike_audit::events as audit;
use turnpike_identity::sso::{LoginRate, Person, Purpose, Session, Wait, digest, random};

use super::form::Form;
use super::problem::Problem;
use super::{Shared, Visit, cookies};
use crate::audit::person as person_of;
use crate::observe::events::{LoginEnded, LoginRefused};
use crate::runtime::Runtime;
use crate::snapshot::Snapshot;
use crate::sso::Sso;
use crate::tenant::{Site, Tenant};

/// The browser's cookie is kept for so many seconds, so that a login that waits finds it again.
const KEPT: i64 = 24 * 60 * 60;

/// One request for a page.
pub(super) struct Desk {
    pub(super) runtime: Arc<Runtime>,
    /// As people log in at this host.
    pub(super) sso: Arc<Sso>,
    /// Whose host it is: the house, where it is no tenant's.
    pub(super) tenant: Arc<Tenant>,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) site: Site,
    pub(super) client: IpAddr,
    /// Milliseconds since 1970.
    pub(super) now: u64,
    pub(super) as_json: bool,
    /// What the browser was given when it first began a login.
    browser: Option<String>,
    session: Option<String>,
}

impl FromRequestParts<Shared> for Desk {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, runtime: &Shared) -> Result<Self, Problem> {
        let stopped = || Problem::new(503, "stopped", "The gateway is stopping");
        let runtime = runtime.upgrade().ok_or_else(stopped)?;
        let visit = parts
            .extensions
            .get::<Visit>()
            .cloned()
            .ok_or_else(stopped)?;
        let cookie = |name| cookies::find(&parts.headers, name, visit.sso.is_secure);
        // As long as ours are, or not ours.
        let browser = cookie(cookies::BROWSER).filter(|value| value.len() == 43);
        Ok(Self {
            client: visit.client.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            now: runtime.board.time.now(),
            as_json: wants_json(&parts.headers),
            browser,
            session: cookie(cookies::SESSION),
            sso: visit.sso,
            tenant: visit.tenant,
            snapshot: visit.snapshot,
            site: visit.site,
            runtime,
        })
    }
}

impl Desk {
    pub(super) fn store(&self) -> &dyn Store {
        &*self.runtime.store
    }

    /// What came of a login.
    pub(super) fn told(&self, login: audit::Login<'_>) {
        LoginEnded {
            login,
            metrics: &self.runtime.metrics,
            audit: &self.runtime.audit,
        }
        .tell();
    }

    /// An attempt that anybody can make, as often as they like, and that was no good.
    pub(super) fn refused(&self, who: audit::Who<'_>, reason: &'static str) {
        LoginRefused {
            who,
            client: self.client,
            reason,
            now: self.now,
            metrics: &self.runtime.metrics,
            audit: &self.runtime.audit,
        }
        .tell();
    }

    /// Of whom no more is known than at whose host they are.
    pub(super) fn somebody(&self) -> audit::Who<'_> {
        audit::Who {
            tenant: self.tenant.name(),
            ..audit::Who::default()
        }
    }

    /// What the browser is known by, if it has begun a login before.
    pub(super) fn browser(&self) -> Option<String> {
        let cookie = self.browser.as_deref()?;
        Some(digest(&self.bound(cookie)))
    }

    /// Gives the browser what it is known by, unless it has it.
    pub(super) fn name_browser(&mut self) -> Result<String, Problem> {
        let name = match self.browser.take() {
            Some(name) => name,
            None => random().map_err(|error| {
                tracing::error!(%error, "no randomness");
                Problem::new(500, "internal", "The gateway cannot do that now")
            })?,
        };
        let known_by = digest(&self.bound(&name));
        self.browser = Some(name);
        Ok(known_by)
    }

    /// A browser's cookie, as one of this host.
    fn bound(&self, cookie: &str) -> String {
        bound(cookie, self.tenant.name())
    }

    /// Has the browser keep what it is known by.
    pub(super) fn keep_browser(&self, response: &mut axum::response::Response) {
        if let Some(name) = &self.browser {
            cookies::set(response, cookies::BROWSER, name, KEPT, self.sso.is_secure);
        }
    }

    /// Who is signed in, if anybody.
    pub(super) async fn session(&self) -> Result<Option<Session>, Problem> {
        let Some(cookie) = &self.session else {
            return Ok(None);
        };
        let session = Session::of_cookie(cookie, &self.sso.seals, self.store(), self.now);
        Ok(session
            .await?
            .filter(|session| self.is_here(&session.person)))
    }

    /// Whether somebody may be at this host: nobody is at a tenant's who is not of it, and nobody
    /// anywhere whose tenant is gone.
    pub(super) fn is_here(&self, person: &Person) -> bool {
        let tenant = self.snapshot.tenants.find(person.tenant.as_deref());
        tenant.is_some_and(|of| self.tenant.name.is_none() || Arc::ptr_eq(of, &self.tenant))
    }

    /// For whom a person acts.
    pub(super) fn tenant_of(&self, person: &Person) -> &Arc<Tenant> {
        let tenants = &self.snapshot.tenants;
        tenants
            .find(person.tenant.as_deref())
            .unwrap_or(&tenants.house)
    }

    /// How a person logs in, wherever they do.
    pub(super) fn sso_of(&self, person: &Person) -> &Arc<Sso> {
        self.tenant_of(person).sso.as_ref().unwrap_or(&self.sso)
    }

    /// As [`session`](Self::session), for a form that only somebody signed in can send, with the
    /// seal that our pages put into their forms.
    pub(super) async fn signed_in(&self, form: &Form) -> Result<Session, Problem> {
        let over =
            || Problem::new(401, "session_over", "Your session is over").with("Sign in again.");
        let session = self.session().await?.ok_or_else(over)?;
        match self.is_ours(form) {
            true => Ok(session),
            false => Err(Problem::form()),
        }
    }

    /// Whether a form of who is signed in was sent from our page, as it is now.
    pub(super) fn is_ours(&self, form: &Form) -> bool {
        let cookie = self.session.as_deref().unwrap_or_default();
        self.check(form, cookie).is_ok()
    }

    /// The seal of the forms of who is signed in.
    pub(super) fn form_seal(&self) -> String {
        let cookie = self.session.as_deref().unwrap_or_default();
        self.sso.seals.seal(Purpose::Form, cookie)
    }

    /// The seal of the forms of a browser that nobody is signed in with.
    pub(super) fn browser_seal(&self) -> String {
        let cookie = self.browser.as_deref().unwrap_or_default();
        self.sso.seals.seal(Purpose::Form, &self.bound(cookie))
    }

    /// That a form was sent by the browser that it was made for, from our page.
    pub(super) fn check_browser(&self, form: &Form) -> Result<String, Problem> {
        let cookie = self.browser.as_deref().ok_or_else(Problem::session)?;
        let browser = self.bound(cookie);
        self.check(form, &browser)?;
        Ok(digest(&browser))
    }

    fn check(&self, form: &Form, of: &str) -> Result<(), Problem> {
        let seal = form.get("csrf");
        match self.sso.seals.is_sealed(Purpose::Form, of, seal) {
            true => Ok(()),
            false => Err(Problem::form()),
        }
    }

    /// What an attempt to log in is counted under.
    pub(super) fn counted_as(&self) -> String {
        counted_as(self.client)
    }

    /// Counts an attempt, of this address and of this browser.
    pub(super) async fn count(&self, browser: &str) -> Result<(), Problem> {
        self.count_one(&self.counted_as(), self.somebody())
            .await??;
        self.count_one(&format!("flow {browser}"), self.somebody())
            .await??;
        Ok(())
    }

    /// Counts a guess at something short, of this address and of this person.
    pub(super) async fn count_guess(&self, person: &Person) -> Result<(), Problem> {
        let who = person_of(person);
        self.count_one(&self.counted_as(), who.clone()).await??;
        self.count_one(&LoginRate::of_person(&person.key()), who)
            .await??;
        Ok(())
    }

    /// Counts an attempt under this; one that has to wait is on record.
    pub(super) async fn count_one(
        &self,
        counted_as: &str,
        who: audit::Who<'_>,
    ) -> Result<Result<(), Wait>, StoreError> {
        let rate = self.sso.rate;
        let counted = rate.count(self.store(), counted_as, self.now).await?;
        Ok(counted.inspect_err(|_| self.refused(who, "rate_limited")))
    }

    /// It was right.
    pub(super) async fn forgive_guess(&self, person: &Person) -> Result<(), Problem> {
        let (rate, store) = (self.sso.rate, self.store());
        rate.forgive(store, &self.counted_as(), self.now).await?;
        rate.forgive(store, &LoginRate::of_person(&person.key()), self.now)
            .await?;
        Ok(())
    }

    /// Forgets the attempts of one who was let in.
    pub(super) async fn clear_count(&self, browser: &str) -> Result<(), Problem> {
        let (rate, store) = (self.sso.rate, self.store());
        rate.clear(store, &self.counted_as()).await?;
        rate.clear(store, &format!("flow {browser}")).await?;
        Ok(())
    }
}

/// A browser's cookie together with whose host it came to: at another tenant's it is that of another
/// browser, which has begun nothing. At the house's it is alone, as in releases that did not bind it.
fn bound(cookie: &str, tenant: Option<&str>) -> String {
    match tenant {
        None => cookie.to_owned(),
        // All our cookies are of one length, and none has this character: no two of these are alike.
        Some(tenant) => format!("{cookie}\0{tenant}"),
    }
}

/// What an attempt of an address is counted under. Who has one of IPv6 has 2^64.
pub(super) fn counted_as(client: IpAddr) -> String {
    match client {
        IpAddr::V4(ip) => format!("ip {ip}"),
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            format!("ip {a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

/// Whether a program asks, and not a browser.
pub(super) fn wants_json(headers: &HeaderMap) -> bool {
    let accepts = headers.get(header::ACCEPT);
    let accepts = accepts
        .and_then(|accepts| accepts.to_str().ok())
        .unwrap_or_default();
    accepts.contains("json") && !accepts.contains("text/html")
}

#[cfg(test)]
mod tests {
    use super::bound;

    #[test]
    fn a_browser_is_another_one_at_each_tenants_host() {
        // The fleet's other release knows it by this, too.
        assert_eq!(bound("cookie", None), "cookie");
        let known = [None, Some(""), Some("acme"), Some("umbra")].map(|of| bound("cookie", of));
        for (at, one) in known.iter().enumerate() {
            assert!(!known[at + 1..].contains(one), "{one:?}");
        }
        assert_ne!(bound("cookie", Some("acme")), bound("cookieac", Some("me")));
    }
}
