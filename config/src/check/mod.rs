//! From document to plan: every rule a schema cannot say, one file a subject.
//!
//! A check pushes what it finds onto the report and goes on; it answers `None` when it has nothing
//! to put into the plan. Nothing here stops at the first mistake.

mod access;
mod audit;
mod auth;
mod credential;
mod egress;
mod headers;
mod jwt;
mod keys;
mod limits;
mod lists;
mod management;
mod models;
mod owners;
mod prices;
mod providers;
mod proxy;
mod secret_key;
mod selection;
mod server;
mod sso;
mod state;
mod telemetry;
mod tenants;
mod tls;
mod url;

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::Kinds;
use crate::document::{AgentTokens, Document, Format, InjectUsage, Level, Logging};
use crate::environment::Environment;
use crate::locate::{Path, Report};
use crate::plan::{
    AgentTokensPlan, Argon2Plan, LogFormat, LogLevel, LoggingPlan, Plan, QuotaExceededPlan,
};
use crate::resolve;

pub(crate) use limits::Calendars;
pub use proxy::proxy_choice;
pub use url::upstream_url;

/// What the checks share.
pub(crate) struct Context<'a> {
    pub(crate) report: &'a mut Report,
    pub(crate) environment: &'a Environment,
    pub(crate) kinds: &'a Kinds<'a>,
    pub(crate) base_dir: &'a FilePath,
    pub(crate) sources: Vec<PathBuf>,
    pub(crate) warnings: Vec<String>,
    /// Which model stands in for which, of all providers.
    pub(crate) previews: Vec<models::Preview>,
    pub(crate) calendars: Calendars,
}

impl Context<'_> {
    /// A file that must be readable now; it is watched from then on.
    fn readable(&mut self, key: &Path, written: &str) -> PathBuf {
        let path = self.base_dir.join(written);
        if written.is_empty() {
            self.report
                .at(key, "empty; write a path or leave the key out");
        } else if let Err(error) = std::fs::File::open(&path).and_then(|file| is_file(&file)) {
            let why = resolve::reason(&error);
            self.report.at(
                key,
                format!("cannot read the file {}: {why}", path.display()),
            );
        }
        self.sources.push(path.clone());
        path
    }

    /// The value of a setting that two keys name, and the key it is from.
    fn either<T: PartialEq>(
        &mut self,
        (key, value): (&Path, Option<T>),
        (alias, other): (&Path, Option<T>),
    ) -> Option<(Path, T)> {
        // An environment variable for one wins over the other in the file.
        let (value, other) = match (self.report.is_variable(key), self.report.is_variable(alias)) {
            (true, false) => (value, None),
            (false, true) => (None, other),
            _ => (value, other),
        };
        if let (Some(value), Some(other)) = (&value, &other)
            && value != other
        {
            let place = self.report.whereabouts(key);
            let message = format!("differs from {place}, which is the same setting");
            self.report.at(alias, message);
        }
        let value = value.map(|value| (key.clone(), value));
        value.or(other.map(|other| (alias.clone(), other)))
    }

    fn warn(&mut self, key: &Path, message: impl std::fmt::Display) {
        self.warnings.push(format!("{key}: {message}"));
    }
}

fn is_file(file: &std::fs::File) -> std::io::Result<()> {
    match file.metadata()?.is_dir() {
        true => Err(std::io::ErrorKind::IsADirectory.into()),
        false => Ok(()),
    }
}

/// The plan; `None` when something was reported.
pub(crate) fn plan(document: &Document, mut context: Context<'_>) -> Option<Plan> {
    let context = &mut context;
    let server = server::server(&document.server, context);
    let admin = server::admin(&document.admin, &document.server, context);
    let client_keys = keys::client_keys(&document.api_keys, context);
    let listeners = (server.as_ref(), &admin);
    let management = management::management(document, listeners, &client_keys, context);
    let mut jwt_issuers = jwt::issuers(&document.jwt, context);
    let logins = sso::logins(document, context);
    let owners = owners::Owners::of(document, &client_keys);
    let (roles, role_bindings) = access::access(document, &owners, context);
    access::warn_of_certificates(document, context);
    let (providers, disabled_providers) = providers::providers(document, context);
    let limits = limits::limits(document, &client_keys, &providers, context);
    let tenants = tenants::tenants(document, (&client_keys, &owners), &logins, context);
    tenants::check_credentials(document, context);
    tenants::assign_issuers(document, &mut jwt_issuers, context);
    let (sso, remote) = (logins.top, logins.remote);
    let own = tenants.iter().any(|tenant| tenant.sso.is_some());
    if let (true, Some(server)) = (own || sso.is_some(), &server) {
        sso::at_the_root(&server.public_url, context);
    }
    let has_logins = own || sso.is_some();
    management::warn_of_pages(document, (&roles, has_logins), listeners, context);
    let prices = prices::prices(&document.prices, context);
    let of_roles = roles.iter().flat_map(|role| &role.limits);
    let of_keys = client_keys.iter().flat_map(|key| &key.limits);
    let of_tenants = tenants.iter().flat_map(|tenant| &tenant.limits);
    let all = limits
        .iter()
        .chain(of_roles)
        .chain(of_keys)
        .chain(of_tenants);
    prices::check_unpriced(&prices, &providers, all.map(Arc::as_ref), context);
    let egress = egress::egress(&document.egress, context);
    let selection = selection::selection(document, context);
    let auth = auth::auth(document, &providers, context);
    let state = state::state(document, context);
    let claimed_headers = audit::claimed_headers(document, context);
    let prompts = audit::prompts(document, context);
    let audit = audit::audit(document, context);
    let telemetry = telemetry::telemetry(document, context);
    let logging = logging(&document.logging, context);
    if !context.report.is_clean() {
        return None;
    }
    Some(Plan {
        server: server?,
        admin,
        management: management?,
        logging,
        client_keys,
        agent_tokens: agent_tokens(&document.agent_tokens),
        jwt_issuers,
        sso,
        remote,
        roles,
        role_bindings,
        limits,
        spent_status: StatusCode::from_u16(document.spent_status.0).ok()?,
        prices,
        tenants,
        providers,
        disabled_providers,
        force_model_prefix: document.force_model_prefix,
        selection,
        max_retry_credentials: document.max_retry_credentials.0,
        max_retry_interval: Duration::from_secs(document.max_retry_interval.0.into()),
        quota_exceeded: QuotaExceededPlan {
            switch_project: document.quota_exceeded.switch_project,
            switch_preview_model: document.quota_exceeded.switch_preview_model,
        },
        inject_usage: document.metering.inject_usage == InjectUsage::Auto,
        auth: auth?,
        state: state?,
        claimed_headers,
        prompts,
        audit,
        telemetry,
        egress,
        effective: Arc::default(),
        warnings: std::mem::take(&mut context.warnings),
        sources: std::mem::take(&mut context.sources),
    })
}

fn logging(written: &Logging, context: &mut Context<'_>) -> LoggingPlan {
    let key = Path::default().field("logging").field("file");
    if written.file.as_deref() == Some("") {
        context.report.at(
            &key,
            "empty; write a path, or leave the key out for standard error",
        );
    }
    LoggingPlan {
        level: match written.level {
            Level::Error => LogLevel::Error,
            Level::Warn => LogLevel::Warn,
            Level::Info => LogLevel::Info,
            Level::Debug => LogLevel::Debug,
            Level::Trace => LogLevel::Trace,
        },
        format: match written.format {
            Format::Text => LogFormat::Text,
            Format::Json => LogFormat::Json,
        },
        file: written
            .file
            .as_ref()
            .map(|file| context.base_dir.join(file)),
    }
}

fn agent_tokens(written: &AgentTokens) -> AgentTokensPlan {
    AgentTokensPlan {
        cache_ttl: written.cache_ttl.0,
        rotation_overlap: written.rotation_overlap.0,
        argon2: Argon2Plan {
            memory_kib: written.argon2.memory_kib,
            iterations: written.argon2.iterations,
            parallelism: written.argon2.parallelism,
        },
        max_concurrent_hashes: written.max_concurrent_hashes as usize,
    }
}
