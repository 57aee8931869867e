//! What is on record of what happens: the gateway's side of `turnpike-audit`.
//!
//! [`calls`] tells of calls, `observe/events.rs` of all that has a line in the log as well. What is
//! not there is told where it happens.

pub mod calls;
mod floods;
pub mod metrics;
mod open;
mod outside;
pub mod prompts;
mod shown;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use turnpike_api::{Identity, Rejection};
use turnpike_audit::events::{Login, ManagementRefused, ManagementRequest, Stopped, Who};
use turnpike_audit::log::Status;
use turnpike_audit::{Event, Log};
use turnpike_identity::sso::Person;

use floods::{Flood, Look, Looks};
pub use open::{AuditError, signing_key, sink_name};
use shown::Shown;

use crate::assemble::egress::Egress;
use crate::refusal::{Reason, Refusal};
use crate::runtime::Runtime;

/// How long a stopping process waits for sinks. What they do not have then they get after the next
/// start.
const PATIENCE: Duration = Duration::from_secs(5);

/// The record; nothing is kept until it is opened, and where that is not configured.
#[derive(Default)]
pub struct Audit {
    log: OnceLock<Log>,
    /// What each call used; opened where a sink wants it.
    usage: OnceLock<Log>,
    /// Refusals of those who are not known, who are, and of wrong keys for the management API.
    strangers: Flood<100>,
    denials: Flood<1000>,
    wrong_keys: Flood<100>,
    /// What operators look at, and what else they ask for without a record of its own: what is not done.
    looks: Looks,
    asked: Flood<100>,
    /// Logins that have to wait, and codes of no device.
    refused_logins: Flood<100>,
    /// How its sinks reach what is outside, by the configuration in force.
    egress: Arc<ArcSwapOption<Egress>>,
    /// What its sinks show there.
    shown: OnceLock<Vec<Shown>>,
    is_stopped: AtomicBool,
}

impl Audit {
    /// Tells that something happened.
    pub fn tell<E: Event>(&self, event: &E) {
        if let Some(log) = self.log.get() {
            log.note(event);
        }
    }

    /// Tells that a request to the management API came with a wrong key, unless too many do. `now` is in
    /// milliseconds since 1970.
    pub fn wrong_key(&self, client: IpAddr, refused_for: u64, now: u64) {
        if let Some(untold) = self.may_tell(&self.wrong_keys, now) {
            self.tell(&ManagementRefused {
                client: Some(client),
                refused_for,
                untold: (untold > 0).then_some(untold),
            });
        }
    }

    /// Tells that somebody may not try to log in now, or tried in vain, unless too many do. `now` is in
    /// milliseconds since 1970.
    pub fn refused_login(&self, login: Login<'_>, now: u64) {
        if let Some(untold) = self.may_tell(&self.refused_logins, now) {
            self.tell(&Login {
                untold: (untold > 0).then_some(untold),
                ..login
            });
        }
    }

    /// Tells what an operator looked at, unless they do all the time, or what was not done, unless too much
    /// is not. `now` is in milliseconds since 1970.
    pub fn requested(&self, request: ManagementRequest<'_>, now: u64) {
        let may_tell = match request.method {
            "GET" | "HEAD" => self
                .looks
                .may_tell(Look::of(&request), now, !self.is_full()),
            _ => self.may_tell(&self.asked, now),
        };
        if let Some(untold) = may_tell {
            self.tell(&ManagementRequest {
                untold: (untold > 0).then_some(untold),
                ..request
            });
        }
    }

    /// Has its sinks take the ways of this configuration.
    pub fn leave_by(&self, egress: &Egress) {
        self.egress.store(Some(Arc::new(egress.clone())));
    }

    /// Whether anything is kept.
    pub fn is_kept(&self) -> bool {
        self.log.get().is_some()
    }

    /// That there is room for what will have to be told.
    pub fn has_room(&self) -> Result<(), Refusal> {
        match self.is_full() {
            true => Err(no_room()),
            false => Ok(()),
        }
    }

    /// Whether calls are refused because they could not be put on record.
    fn is_full(&self) -> bool {
        self.log.get().is_some_and(Log::refuses)
    }

    /// Whether one more of a flood is told, and how many before it were not.
    fn may_tell<const MOST: u32>(&self, flood: &Flood<MOST>, now: u64) -> Option<u64> {
        flood.may_tell(now, !self.is_full())
    }

    /// How it stands; `None` where nothing is kept.
    pub fn status(&self) -> Option<Status> {
        self.log.get().map(Log::status)
    }

    /// How the stream `usage` stands; `None` where nobody wants it.
    pub fn usage_status(&self) -> Option<Status> {
        self.usage.get().map(Log::status)
    }

    /// The process ends. That is told once.
    pub fn stop(&self) {
        if self.is_stopped.swap(true, Ordering::AcqRel) {
            return;
        }
        self.tell(&Stopped {});
        let begun = Instant::now();
        if let Some(log) = self.log.get() {
            log.stop(PATIENCE);
        }
        // Its sinks have gone on meanwhile.
        if let Some(usage) = self.usage.get() {
            usage.stop(PATIENCE.saturating_sub(begun.elapsed()));
        }
    }
}

/// How an agent token stands, in a word.
pub fn state_of(runtime: &Runtime, token_id: &str) -> &'static str {
    match runtime.agent_tokens.refuses(token_id) {
        None => "good",
        Some(Rejection::SessionExpired) => "session_expired",
        // Or it is not there.
        Some(_) => "revoked",
    }
}

fn no_room() -> Refusal {
    Refusal::new(
        Reason::AuditUnavailable,
        "the audit spool has no room: what happens could not be put on record; try again in a moment, or tell your platform team",
    )
}

/// Who it is, as events say it.
pub fn who(identity: &Identity) -> Who<'_> {
    let of = &identity.attributes;
    Who {
        name: Some(&identity.name),
        issuer: of.issuer.as_deref(),
        subject: of.subject.as_deref(),
        email: of.email.as_deref(),
        tenant: of.tenant.as_deref(),
        token_id: of.token_id.as_deref(),
        api_key: of.api_key.as_deref(),
    }
}

/// A person who logs in or is logged in.
pub fn person(person: &Person) -> Who<'_> {
    Who {
        name: Some(person.shown()),
        issuer: Some(&person.issuer),
        subject: Some(&person.subject),
        email: person.email.as_deref(),
        tenant: person.tenant.as_deref(),
        ..Who::default()
    }
}
