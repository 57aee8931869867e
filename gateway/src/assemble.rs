//! Plan and plugin tables to a snapshot. Pure but for reading certificates: it neither connects
//! nor spawns, so a configuration that fails here leaves nothing behind.

pub(crate) mod access;
pub mod egress;
mod files;
mod limits;
mod providers;
mod stock;
mod tenants;

use std::sync::{Arc, OnceLock};
use std::thread;

use futures::executor::block_on;
use http::HeaderValue;
use turnpike_config::plan::{CooldownPlan, Plan, ProxyChoice, SecretKey};
use turnpike_credentials::{BackOff, CredentialDirectory, Entry, Policy};
use turnpike_identity::jwt::SignatureChecks;
use turnpike_identity::{AUTHENTICATORS, Checks, Settings, TokenBook, TrustedIssuer};
use turnpike_limits::Book;
use turnpike_providers::PROVIDERS;
use turnpike_store::Embedded;

use crate::audit::Audit;
use crate::authorization::AllAnswers;
use crate::background::limits::LEASE;
use crate::boot::BootError;
use crate::clock::Time;
use crate::encryption;
use crate::jwks::{self, IssuersKeys};
use crate::observe::events;
use crate::observe::metrics::Metrics;
use crate::secret_key;
use crate::snapshot::Snapshot;
use crate::sso::{Logins, WayOut};
use crate::store::StoreOpenError;
use crate::tls;
use crate::traces::Traces;
use crate::upstream::mint::Purse;
use crate::upstream::resolve::Resolver;
use crate::upstream::{Board, Connections};
use crate::web::management::Terms;
pub use files::{GoodFiles, LastGood, no_such_provider};
use providers::Providers;
use stock::Shelves;
pub use tenants::redirect_uris;

/// What snapshots are made on: the handles that outlive them.
#[derive(Clone)]
pub struct Ground {
    pub metrics: Metrics,
    pub resolver: Arc<Resolver>,
    pub digest_key: [u8; 32],
    pub board: Arc<Board>,
    /// What may still be admitted of limits.
    pub limits: Arc<Book>,
    /// Access tokens of service accounts.
    pub tokens: Arc<Purse>,
    pub last_good: Arc<LastGood>,
    pub agent_tokens: Arc<TokenBook>,
    /// Those of signed tokens.
    pub signature_checks: Arc<SignatureChecks>,
    pub connections: Arc<Connections>,
    /// Keys of the issuers of signed tokens.
    pub issuers_keys: Arc<IssuersKeys>,
    /// What authorization APIs said of callers.
    pub answers: Arc<AllAnswers>,
    /// What is on record; opened once, at the start.
    pub audit: Arc<Audit>,
    /// What is sealed with, where the configuration names no key; set once, at the start.
    pub kept_key: Arc<OnceLock<SecretKey>>,
}

impl Ground {
    /// For one process, which computes so many hashes of tokens at once.
    pub fn new(time: Time, hashes: usize) -> Result<Self, BootError> {
        let mut digest_key = [0; 32];
        getrandom::fill(&mut digest_key).map_err(BootError::Random)?;
        Ok(Self {
            metrics: Metrics::new()?,
            resolver: Arc::default(),
            digest_key,
            connections: Arc::default(),
            issuers_keys: Arc::default(),
            answers: Arc::default(),
            kept_key: Arc::default(),
            audit: Arc::default(),
            agent_tokens: Arc::new(TokenBook::new(digest_key, hashes, Arc::new(time.clone()))),
            signature_checks: Arc::new(SignatureChecks::new(half_the_cores())),
            limits: Arc::new(Book::new(Arc::new(time.clone()), LEASE)),
            board: Arc::new(Board::new(time)),
            tokens: Arc::default(),
            last_good: Arc::default(),
        })
    }
}

/// What made-up signatures may take of the machine.
fn half_the_cores() -> usize {
    thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2))
}

/// Makes the snapshot, or says everything that stands in its way.
///
/// `may_open` is whether a configuration without client keys opens the gateway: at start, and
/// when it was open before. A reload never opens a gateway that was closed.
pub fn assemble<'e>(
    plan: &Plan,
    files: impl Iterator<Item = &'e Entry>,
    ground: &Ground,
    generation: u64,
    may_open: bool,
) -> Result<Snapshot, Vec<String>> {
    let mut providers = Providers::new(plan, ground);
    providers.add_files(files);
    let tls = plan.server.tls.as_ref().map(tls::tls).transpose();
    let tls = tls.unwrap_or_else(|problem| {
        providers.problems.push(problem);
        None
    });
    let traces = traces(plan, &mut providers);
    let default_selector = providers.selector(plan.selection);
    providers.problems.extend(open_to_the_network(plan, ground));
    let jwt_issuers = issuers(plan, ground, &mut providers);
    let outside = Arc::new(WayOut::new(&providers.egress, ground));
    let logins = logins(plan, ground, &outside, &mut providers);
    if !providers.problems.is_empty() {
        return Err(providers.problems);
    }
    providers.roll.shrink_to_fit();
    let settings = Settings {
        api_keys: access::client_keys(plan),
        digest_key: ground.digest_key,
        jwt_issuers,
        signature_checks: ground.signature_checks.clone(),
        clock: Arc::new(ground.board.time.clone()),
        agent_tokens: ground.agent_tokens.clone(),
        checks: Checks {
            cache_ttl: plan.agent_tokens.cache_ttl,
            max_stale: plan.state.max_stale,
        },
    };
    let is_keyless = is_keyless(plan, ground);
    let shelves = Shelves {
        stock: providers.stock,
        force_prefix: plan.force_model_prefix,
        default_selector,
        prices: Arc::new(plan.prices.clone()),
        metrics: ground.metrics.clone(),
        board: ground.board.clone(),
    };
    Ok(Snapshot {
        generation,
        authenticators: AUTHENTICATORS
            .iter()
            .map(|row| (row.build)(&settings))
            .collect(),
        open: may_open && is_keyless && plan.server.listen.is_loopback(),
        tenants: tenants::tenants(plan, shelves, logins.as_ref(), (&outside, ground)),
        roll: providers.roll,
        good_files: Arc::new(providers.good_files),
        tls,
        claimed_headers: plan.claimed_headers.clone().into(),
        traces,
        max_attempts: plan.max_retry_credentials.max(1),
        max_retry_interval: plan.max_retry_interval,
        quota_exceeded: plan.quota_exceeded,
        back_off: back_off(&plan.auth.cooldown),
        probe_interval: plan.auth.cooldown.probe_interval,
        affinity: plan.auth.affinity,
        inject_usage: plan.inject_usage,
        limits: plan.server.limits.clone(),
        unknown_model: plan.prices.unknown_model,
        spent_status: plan.spent_status.as_u16(),
        timeouts: plan.server.timeouts.clone(),
        drain: plan.server.drain,
        trusted_proxies: plan.server.trusted_proxies.clone(),
        allowed_origins: allowed_origins(plan),
        retention: plan.state.retention,
        management: Terms::new(plan, ground),
        egress: providers.egress,
    })
}

/// Makes a snapshot only to see whether one can be made, and what there is to be said of it.
pub fn check(plan: &Plan) -> Result<Vec<String>, BootError> {
    let mut directory = credential_directory(plan);
    let scan = directory.scan();
    let ground = Ground::new(Time::system(), 1)?;
    // Nothing is sealed with it, and none is made for a look.
    let _ = ground.kept_key.set(secret_key::random()?);
    if plan.state.redis.is_some() {
        // It is not connected to for a look: there may be tokens, which close the gateway.
        ground.agent_tokens.cannot_be_read();
    } else if is_keyless(plan, &ground) && plan.state.path.exists() {
        // A token may be what makes it servable.
        let store = Embedded::open_read_only(&plan.state.path, Arc::new(Time::system()));
        let store = store.map_err(StoreOpenError::from)?;
        block_on(ground.agent_tokens.read(&store)).map_err(BootError::ReadStore)?;
    }
    let snapshot =
        assemble(plan, directory.entries(), &ground, 0, true).map_err(BootError::Assemble)?;
    let problems = snapshot.roll.iter().filter_map(|one| one.problem.clone());
    let open = events::open_files(&open_to_others(&directory));
    Ok(scan
        .problem
        .into_iter()
        .chain(problems)
        .chain(open)
        .collect())
}

/// Whether there is nothing by which a caller could be known.
fn is_keyless(plan: &Plan, ground: &Ground) -> bool {
    plan.client_keys.is_empty()
        && plan.jwt_issuers.is_empty()
        && !tenants::have_logins(plan)
        && !ground.agent_tokens.had_any()
}

/// What logins have in common, where people log in.
fn logins<'p>(
    plan: &'p Plan,
    ground: &'p Ground,
    outside: &Arc<WayOut>,
    providers: &mut Providers<'_>,
) -> Option<Logins<'p>> {
    if !tenants::have_logins(plan) {
        return None;
    }
    let Some(key) = plan.server.secret_key.as_ref().or(ground.kept_key.get()) else {
        let problem = "server.secret_key: it was there at the start; put it back, or restart";
        providers.problems.push(problem.into());
        return None;
    };
    Some(Logins::new(plan, key, outside))
}

/// The issuers of signed tokens, with what is known of their keys.
fn issuers(plan: &Plan, ground: &Ground, providers: &mut Providers<'_>) -> Vec<TrustedIssuer> {
    let claims = access::claims(plan);
    let mut issuers = Vec::new();
    for written in &plan.jwt_issuers {
        match jwks::terms(written, &claims) {
            Ok(issuer) => issuers.push(TrustedIssuer {
                issuer: issuer.with_tenant(written.tenant.as_deref().map(Box::from)),
                keys: ground.issuers_keys.of(written, &providers.egress, ground),
            }),
            Err(error) => providers.problems.push(format!("jwt.issuers: {error}")),
        }
    }
    issuers
}

/// Where spans go.
fn traces(plan: &Plan, providers: &mut Providers<'_>) -> Option<Traces> {
    let telemetry = plan.telemetry.as_ref()?;
    let endpoint = providers
        .egress
        .endpoint(&telemetry.endpoint, &ProxyChoice::Inherit);
    match endpoint {
        Ok(endpoint) => Some(Traces::new(telemetry, endpoint)),
        Err(why) => {
            let problem = format!("telemetry.otlp_endpoint: {why}");
            providers.problems.push(problem);
            None
        }
    }
}

/// Without keys everyone is let in, so only this machine may reach the listener.
fn open_to_the_network(plan: &Plan, ground: &Ground) -> Option<String> {
    (is_keyless(plan, ground) && !plan.server.listen.is_loopback()).then(|| {
        "server.host: no client keys are configured and no agent token is stored: open mode is only allowed on a loopback address; add `api_keys`, make a token with `turnpike token create`, or bind `server.host` to 127.0.0.1".into()
    })
}

/// An origin as it was checked always is a header's value.
fn allowed_origins(plan: &Plan) -> Vec<HeaderValue> {
    let origins = plan.server.allowed_origins.iter();
    origins
        .filter_map(|origin| HeaderValue::from_str(origin).ok())
        .collect()
}

/// The files of a directory that others than their owners can read.
pub fn open_to_others(directory: &CredentialDirectory) -> Vec<&str> {
    let open = directory.entries().filter(|entry| entry.warning.is_some());
    open.map(|entry| entry.name.as_str()).collect()
}

/// The watched directory, of which nothing is read yet.
pub fn credential_directory(plan: &Plan) -> CredentialDirectory {
    let policy = Policy {
        require_private_files: plan.auth.require_private_files,
        keyring: Arc::new(encryption::of_files(plan)),
    };
    CredentialDirectory::new(&plan.auth.dir, policy)
}

/// The provider kinds there are, and whether each knows its own base URL.
pub fn provider_kinds() -> Vec<(&'static str, bool)> {
    PROVIDERS
        .iter()
        .map(|row| (row.kind, (row.build)(&()).default_base_url().is_some()))
        .collect()
}

fn back_off(plan: &CooldownPlan) -> BackOff {
    BackOff {
        base: plan.base,
        max: plan.max,
        max_hint: plan.max_hint,
        transient: plan.transient,
        auth: plan.auth,
        not_found: plan.not_found,
    }
}
