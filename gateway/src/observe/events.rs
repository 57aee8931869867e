//! A struct per thing that happens. `tell` writes the log line and moves the counters, so that
//! neither can be forgotten. No field ever holds a credential, a prompt or a completion.

use std::net::IpAddr;
use std::time::Duration;

use tracing::{Level, debug, error, info, warn};
use turnpike_api::{Fault, Operation, StoreError};
use turnpike_credentials::Cooldown;
use turnpike_identity::jwt::FetchError;

use turnpike_audit::{Action, events as audit};

use super::metrics::{Metrics, Request, TenantMetrics};
use crate::audit::Audit;
use crate::record::{Ending, Record};
use crate::trace_context::TraceContext;
use crate::upstream::call::Listed;
use crate::upstream::roll::Enrolled;
use crate::upstream::standing::Scope;
use crate::upstream::{Credential, roll};

/// The line of a record. The caller's own words (the model) are strings to the formatter, which
/// quotes and escapes them: they cannot forge a field or a line.
macro_rules! line {
    ($level:expr, $record:expr, $trace:expr, $status:expr, $reason:expr, $took:expr, $message:literal) => {
        tracing::event!(
            target: "turnpike::request",
            $level,
            request = $record.id.as_str(),
            // Where the caller chose the request's id.
            decision = Some($record.decision.as_str()).filter(|id| *id != $record.id.as_str()),
            trace = $trace.map(|trace| tracing::field::display(trace.digits())),
            status = $status,
            reason = Some($reason).filter(|reason| !reason.is_empty()),
            ms = u64::try_from($took.as_millis()).unwrap_or(u64::MAX),
            operation = $record.operation.map(Operation::as_str),
            client = $record.client.map(tracing::field::display),
            tenant = $record.identity.as_deref().and_then(|of| of.attributes.tenant.as_deref()),
            caller = $record.identity.as_deref().map(|identity| &*identity.name),
            model = $record.model.as_deref(),
            credential = $record.credential.as_deref(),
            attempts = $record.attempts,
            stream = $record.stream,
            tokens_in = $record.usage.map(|usage| usage.input),
            tokens_out = $record.usage.map(|usage| usage.output),
            $message
        )
    };
}

/// A request is over, however it ended.
pub struct RequestEnded<'a> {
    pub record: &'a Record,
    /// Where it is of more than this request.
    pub trace: Option<TraceContext>,
    pub metrics: &'a Metrics,
    /// Of the tenant that it was for, or at whose host it came.
    pub tenant: &'a TenantMetrics,
}

impl RequestEnded<'_> {
    pub fn tell(&self) {
        let (record, trace) = (self.record, self.trace);
        let took = record.started.elapsed();
        let status = record.ending.status();
        let reason = record.ending.wrong().unwrap_or_default();
        self.metrics.ended(&Request {
            operation: record.operation,
            status,
            reason,
            error: record.error(),
            took,
            first_chunk: record.first_chunk,
            usage: record.usage,
            model: record.model_metrics.as_ref(),
        });
        self.tenant
            .ended(record.usage.as_ref(), record.cost, record.ending);
        if let Some(overhead) = record.overhead() {
            self.metrics.overhead(overhead);
        }
        match record.ending {
            // One line a request is for finding something out; the audit streams are the record.
            Ending::Answered { .. } | Ending::ClientGone => {
                line!(Level::DEBUG, record, trace, status, reason, took, "request")
            }
            Ending::Refused { .. } => {
                line!(
                    Level::INFO,
                    record,
                    trace,
                    status,
                    reason,
                    took,
                    "request refused"
                )
            }
            Ending::Incomplete { .. } => line!(
                Level::WARN,
                record,
                trace,
                status,
                reason,
                took,
                "answer cut short"
            ),
            Ending::Aborted => line!(
                Level::ERROR,
                record,
                trace,
                status,
                reason,
                took,
                "request aborted inside the gateway"
            ),
        }
    }
}

/// The process is to end, and this is under way still.
pub struct Draining {
    pub requests: u64,
    pub connections: usize,
    /// Until it is cut.
    pub left: Duration,
}

impl Draining {
    pub fn tell(&self) {
        info!(
            requests = self.requests,
            connections = self.connections,
            cut_in_s = self.left.as_secs(),
            "stopping: requests under way are finished; a second signal cuts them"
        );
    }
}

/// The process ends now.
pub struct ProcessEnded {
    pub cut: u64,
}

impl ProcessEnded {
    pub fn tell(&self) {
        match self.cut {
            0 => info!("stopped"),
            // Also where little is logged: it is why the process ends with 1.
            cut => error!(cut, "stopped; requests that were under way were cut"),
        }
    }
}

/// A provider did not serve an attempt.
pub struct AttemptFailed<'a> {
    pub request: &'a str,
    pub credential: &'a str,
    pub fault: Fault,
    pub status: u16,
}

impl AttemptFailed<'_> {
    pub fn tell(&self) {
        warn!(
            request = self.request,
            credential = self.credential,
            fault = self.fault.as_str(),
            status = self.status,
            "provider refused a call"
        );
    }
}

/// A provider could not be reached, or broke off before it answered.
pub struct AttemptBroken<'a> {
    pub request: &'a str,
    pub credential: &'a str,
    pub outcome: &'static str,
    pub error: String,
}

impl AttemptBroken<'_> {
    pub fn tell(&self) {
        warn!(
            request = self.request,
            credential = self.credential,
            outcome = self.outcome,
            error = self.error,
            "provider did not answer"
        );
    }
}

/// A credential is left alone for a while.
pub struct CredentialCooled<'a> {
    pub credential: &'a Credential,
    pub model: &'a str,
    pub scope: Scope,
    pub cooldown: Cooldown,
    pub metrics: &'a Metrics,
    pub audit: &'a Audit,
}

impl CredentialCooled<'_> {
    pub fn tell(&self) {
        let (scope, model) = match self.scope {
            Scope::Credential => ("credential", None),
            Scope::Model => ("model", Some(self.model)),
        };
        self.metrics
            .cooled(&self.credential.vendor.name, self.cooldown.fault, scope);
        let until = roll::time(self.cooldown.until);
        self.audit.tell(&audit::CredentialCooled {
            credential: &self.credential.id,
            model,
            fault: self.cooldown.fault.as_str(),
            until: &until,
        });
        warn!(
            credential = &*self.credential.id,
            model,
            fault = self.cooldown.fault.as_str(),
            until,
            window = self.cooldown.level + 1,
            "credential cools down"
        );
    }
}

/// What was wrong with a credential is over.
pub struct CredentialRecovered<'a> {
    pub credential: &'a Credential,
    /// `None` = all of it.
    pub model: Option<&'a str>,
    /// What showed it: `call`, `probe`, `operator` or `new_secret`.
    pub by: &'static str,
    pub metrics: &'a Metrics,
    pub audit: &'a Audit,
}

impl CredentialRecovered<'_> {
    pub fn tell(&self) {
        self.metrics
            .recovered(&self.credential.vendor.name, self.by);
        self.audit.tell(&audit::CredentialRecovered {
            credential: &self.credential.id,
            model: self.model,
            by: self.by,
        });
        info!(
            credential = &*self.credential.id,
            model = self.model,
            by = self.by,
            "credential is back"
        );
    }
}

/// Somebody changed something over the management API, or on the pages that use it.
pub struct Managed<'a> {
    /// The name of the key, or the person.
    pub actor: &'a str,
    /// The tenant that they manage; `None` = the whole gateway.
    pub tenant: Option<&'a str>,
    pub client: Option<IpAddr>,
    pub action: Action,
    /// What it was done to.
    pub subject: &'a str,
    /// How it was, and how it is.
    pub before: Option<&'a str>,
    pub after: Option<&'a str>,
    pub audit: &'a Audit,
}

impl Managed<'_> {
    pub fn tell(&self) {
        self.audit.tell(&audit::Managed {
            actor: self.actor,
            tenant: self.tenant,
            client: self.client,
            action: self.action,
            subject: self.subject,
            before: self.before,
            after: self.after,
        });
        info!(
            actor = self.actor,
            tenant = self.tenant,
            action = self.action.words(),
            subject = self.subject,
            "managed"
        );
    }
}

/// An operator looked at something, or asked for what was not done.
pub struct ManagementRequested<'a> {
    /// Of which nothing is counted yet.
    pub request: audit::ManagementRequest<'a>,
    /// In milliseconds since 1970.
    pub now: u64,
    pub audit: &'a Audit,
}

impl ManagementRequested<'_> {
    pub fn tell(self) {
        let Self {
            request,
            now,
            audit,
        } = self;
        debug!(
            actor = request.actor,
            tenant = request.tenant,
            method = request.method,
            route = request.route,
            status = request.status,
            reason = request.reason,
            "asked of the management API"
        );
        audit.requested(request, now);
    }
}

/// A request to the management API came with a wrong key.
pub struct ManagementKeyRefused<'a> {
    pub peer: IpAddr,
    /// For how many seconds its address is refused now; 0 = not yet.
    pub refused_for: u64,
    /// In milliseconds since 1970.
    pub now: u64,
    pub audit: &'a Audit,
}

impl ManagementKeyRefused<'_> {
    pub fn tell(&self) {
        self.audit.wrong_key(self.peer, self.refused_for, self.now);
        warn!(peer = %self.peer, refused_for = self.refused_for, "wrong key for the management API");
    }
}

/// A credential that failed was looked at.
pub struct CredentialProbed<'a> {
    pub credential: &'a Credential,
    pub listed: &'a Listed,
    pub metrics: &'a Metrics,
}

impl CredentialProbed<'_> {
    pub fn tell(&self) {
        let provider = &self.credential.vendor.name;
        let credential = &*self.credential.id;
        match self.listed {
            Listed::Good(_) => self.metrics.probed(provider, "good"),
            Listed::Refused(status) => {
                self.metrics.probed(provider, "refused");
                debug!(credential, status, "a probe was refused");
            }
            Listed::Broken(error) => {
                self.metrics.probed(provider, "broken");
                debug!(credential, %error, "a probe was not answered");
            }
        }
    }
}

/// A credential's quota is spent.
pub struct QuotaSpent<'a> {
    pub credential: &'a Credential,
    pub metrics: &'a Metrics,
    pub audit: &'a Audit,
}

impl QuotaSpent<'_> {
    pub fn tell(&self) {
        self.metrics.exhausted(&self.credential.vendor.name);
        self.audit.tell(&audit::CredentialSpent {
            credential: &self.credential.id,
            quota: self.credential.quota.limit,
        });
        let end = self.credential.standing.allowance.running().end;
        let until = (end < u64::MAX).then(|| roll::time(end));
        warn!(
            credential = &*self.credential.id,
            limit = self.credential.quota.limit,
            until,
            "credential's quota is spent"
        );
    }
}

/// What calls used is not written down from now on, or is again. One line a change: each call
/// would have another.
pub struct UsageKept<'a> {
    /// Why it is not.
    pub error: Option<StoreError>,
    pub metrics: &'a Metrics,
}

impl UsageKept<'_> {
    pub fn tell(&self) {
        match &self.error {
            Some(error) => {
                error!(%error, "usage is not written down: quotas hold only until the process ends; make room on the disk");
            }
            None => info!("usage is written down again"),
        }
    }
}

/// The store did not do what was asked; it is asked again.
pub struct StoreFailed<'a> {
    /// What it was about.
    pub what: &'static str,
    pub error: &'a StoreError,
    pub metrics: &'a Metrics,
}

impl StoreFailed<'_> {
    pub fn tell(&self) {
        self.metrics.store_failed(self.what);
        error!(what = self.what, error = %self.error, "the store failed");
    }
}

/// The store can be read from now on, or cannot. One line a change; each look that failed is counted where it
/// is made.
pub struct StoreReached<'a> {
    /// Why it cannot.
    pub error: Option<&'a StoreError>,
}

impl StoreReached<'_> {
    pub fn tell(&self) {
        match self.error {
            Some(error) => error!(what = "news", %error, "the store failed"),
            None => info!("the store can be read again"),
        }
    }
}

/// The store can be asked about limits, or cannot be any more. One line a change; each time that it was asked
/// in vain is counted where that is done.
pub struct LimitsShared {
    /// Why not.
    pub error: Option<StoreError>,
    pub replicas: u32,
}

impl LimitsShared {
    pub fn tell(&self) {
        match &self.error {
            Some(error) => {
                error!(%error, "limits cannot be drawn from: what is held is spent, then each does as its on_unavailable says");
            }
            None => info!(
                replicas = self.replicas,
                "limits are drawn from the store again"
            ),
        }
    }
}

/// The directory of credential files was read, and something in it had changed.
pub struct CredentialFilesRead<'a> {
    /// What came of the files, among all credentials.
    pub roll: &'a [Enrolled],
    /// Names of files that others than their owners can read.
    pub open_to_others: Vec<&'a str>,
    /// Of the directory as a whole.
    pub problem: Option<&'a str>,
    pub metrics: &'a Metrics,
}

/// As many files are named in a warning.
const NAMED: usize = 5;

impl CredentialFilesRead<'_> {
    pub fn tell(self) {
        let (mut good, mut broken) = (0, 0);
        for (enrolled, file) in self
            .roll
            .iter()
            .filter_map(|one| Some((one, one.file.as_ref()?)))
        {
            match &enrolled.problem {
                None => good += 1,
                Some(problem) => {
                    broken += 1;
                    error!(file, problem, "credential file is not used as it stands");
                }
            }
        }
        self.metrics.credential_files(good, broken);
        if let Some(problem) = self.problem {
            error!(problem, "credential files cannot be read");
        }
        if let Some(files) = open_files(&self.open_to_others) {
            warn!("{files}");
        }
        if good + broken > 0 {
            info!(good, broken, "credential files read");
        }
    }
}

/// Says which files others can read, if there are any.
pub fn open_files(names: &[&str]) -> Option<String> {
    let first = names.get(..names.len().min(NAMED))?.join(", ");
    let more = match names.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (!names.is_empty()).then(|| {
        format!("others than their owners can read or write credential files; chmod 600 them: {first}{more}")
    })
}

/// A configuration was read.
pub struct ConfigurationRead<'a> {
    pub generation: u64,
    pub problems: Option<&'a str>,
    /// What is in effect, secrets blotted out.
    pub effective: &'a str,
    pub metrics: &'a Metrics,
    pub audit: &'a Audit,
}

impl ConfigurationRead<'_> {
    pub fn tell(&self) {
        let is_good = self.problems.is_none();
        self.metrics.reloaded(is_good, self.generation);
        self.audit.tell(&audit::Configuration {
            generation: self.generation,
            accepted: is_good,
            digest: &turnpike_audit::sha256(self.effective.as_bytes()),
            problems: self.problems,
        });
        match self.problems {
            None => info!(generation = self.generation, "configuration in force"),
            Some(problems) => error!(
                generation = self.generation,
                problems, "configuration not taken over; the one in force stays"
            ),
        }
    }
}

/// A person logged in, or did not.
pub struct LoginEnded<'a> {
    pub login: audit::Login<'a>,
    pub metrics: &'a Metrics,
    pub audit: &'a Audit,
}

impl LoginEnded<'_> {
    pub fn tell(&self) {
        self.metrics.login(self.login.outcome);
        self.audit.tell(&self.login);
    }
}

/// Somebody who was to log in has to wait, or typed the code of no device. Anybody can bring that about,
/// as often as they like.
pub struct LoginRefused<'a> {
    pub who: audit::Who<'a>,
    pub client: IpAddr,
    pub reason: &'static str,
    /// In milliseconds since 1970.
    pub now: u64,
    pub metrics: &'a Metrics,
    pub audit: &'a Audit,
}

impl LoginRefused<'_> {
    pub fn tell(self) {
        let outcome = "failed";
        self.metrics.login(outcome);
        let login = audit::Login {
            outcome,
            provider: None,
            who: self.who,
            client: Some(self.client),
            reason: Some(self.reason),
            untold: None,
        };
        self.audit.refused_login(login, self.now);
    }
}

/// A person's session was to be renewed.
pub struct SessionRenewed<'a> {
    pub session: audit::Session<'a>,
    pub metrics: &'a Metrics,
    pub audit: &'a Audit,
}

impl SessionRenewed<'_> {
    pub fn tell(&self) {
        self.metrics.session_renewed(self.session.outcome);
        self.audit.tell(&self.session);
    }
}

/// An access token was asked for with a credential.
pub struct CredentialRefreshed<'a> {
    pub provider: &'a str,
    pub credential: &'a str,
    /// Why there is none.
    pub error: Option<&'a str>,
    pub metrics: &'a Metrics,
    pub audit: &'a Audit,
}

impl CredentialRefreshed<'_> {
    pub fn tell(&self) {
        self.metrics.refreshed(self.provider, self.error.is_none());
        self.audit.tell(&audit::CredentialRefreshed {
            credential: self.credential,
            error: self.error,
        });
    }
}

/// The keys of an issuer of signed tokens were asked for.
pub struct IssuerKeysFetched<'a> {
    pub issuer: &'a str,
    pub problem: Option<&'a FetchError>,
    pub metrics: &'a Metrics,
}

impl IssuerKeysFetched<'_> {
    pub fn tell(&self) {
        let issuer = self.issuer;
        self.metrics.keys_fetched(self.problem.is_none());
        match self.problem {
            None => debug!(issuer, "the issuer's keys were fetched"),
            Some(error) => warn!(
                issuer,
                %error,
                "the issuer's keys cannot be fetched; tokens that they signed are refused unless they are known already"
            ),
        }
    }
}
