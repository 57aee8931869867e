//! The process and its configuration.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::header::ETAG;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use turnpike_audit::Action;
use turnpike_config::plan::{LogLevel, Scope};
use utoipa::ToSchema;

use super::access::Actor;
use super::body::Body;
use super::change::Change;
use super::etag::{etag, if_match};
use super::office::Office;
use super::refusal::Refused;
use crate::upstream::roll::time;

type Shared = State<Arc<Office>>;

/// Whose the key is.
#[derive(Serialize, ToSchema)]
pub(super) struct Whoami {
    name: String,
    /// What it may do.
    scopes: Vec<&'static str>,
    /// The tenant that it is for; `null` = the whole gateway.
    tenant: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Effective {
    /// Grows with every configuration that is taken over.
    generation: u64,
    /// The file, the environment over it, the defaults filled in; of every secret at most the last
    /// four characters.
    #[schema(value_type = Object)]
    config: Box<RawValue>,
    last_read: LastRead,
}

/// What came of reading the configuration the last time.
#[derive(Serialize, ToSchema)]
pub(super) struct LastRead {
    at: String,
    /// Why what was read is not in force; `null` = it is.
    problem: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Reloaded {
    /// That of the configuration in force now.
    generation: u64,
}

#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LogSetting {
    level: Level,
}

#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Say whose the key is, and what it may do
#[utoipa::path(get, path = "/whoami", tag = "process", operation_id = "whoami",
    responses((status = 200, description = "The key's name and scopes", body = Whoami)))]
pub(super) async fn whoami(Extension(actor): Extension<Actor>) -> Json<Whoami> {
    Json(Whoami {
        name: actor.name.to_string(),
        scopes: actor.scopes.iter().copied().map(Scope::as_str).collect(),
        tenant: actor.tenant.as_deref().map(str::to_owned),
    })
}

/// Show the configuration in effect
#[utoipa::path(get, path = "/config", tag = "process", operation_id = "show_config",
    responses((status = 200, description = "Without its secrets", body = Effective,
        headers(("etag" = String, description = "Another one for each configuration")))))]
pub(super) async fn config(State(office): Shared) -> Result<Response, Refused> {
    let snapshot = office.runtime()?.snapshot();
    let last = office.reloader()?.last_read();
    let config = RawValue::from_string(snapshot.management.effective.to_string());
    let generation = snapshot.generation;
    let effective = Effective {
        generation,
        config: config.map_err(|error| Refused::Failed(error.to_string()))?,
        last_read: LastRead {
            at: time(last.at),
            problem: last.problem.clone(),
        },
    };
    Ok(([(ETAG, etag(generation))], Json(effective)).into_response())
}

/// Read the configuration again
///
/// The same as SIGHUP. A configuration that cannot be served changes nothing.
#[utoipa::path(post, path = "/reload", tag = "process", operation_id = "reload",
    responses((status = 200, description = "It is in force", body = Reloaded)))]
pub(super) async fn reload(
    State(office): Shared,
    Extension(actor): Extension<Actor>,
) -> Result<Json<Reloaded>, Refused> {
    let reloader = office.reloader()?;
    // Reading files, and compiling what they say, is no work for a thread that serves requests.
    let reloading = tokio::task::spawn_blocking(move || {
        let in_force = || {
            let snapshot = reloader.runtime.snapshot();
            snapshot.management.on_record(snapshot.generation)
        };
        let before = in_force();
        let generation = reloader.reload().map_err(Refused::Configuration)?;
        // Whoever asked may be gone by now.
        let change = Change::of(before, in_force());
        actor.changed(Action::ReadConfiguration, "configuration", change);
        Ok(Json(Reloaded { generation }))
    });
    let failed = |_| Refused::Failed("the gateway failed at this; its log says why".into());
    reloading.await.map_err(failed)?
}

/// Show the level of the log
#[utoipa::path(get, path = "/log-level", tag = "process", operation_id = "show_log_level",
    responses((status = 200, description = "The level in force", body = LogSetting,
        headers(("etag" = String, description = "For `If-Match`")))))]
pub(super) async fn log_level(State(office): Shared) -> Result<Response, Refused> {
    let level = level(&office)?;
    let tag = etag(level.as_str());
    Ok(([(ETAG, tag)], Json(LogSetting { level })).into_response())
}

/// Change the level of the log
///
/// Until the process ends, or takes over a configuration that says another.
#[utoipa::path(put, path = "/log-level", tag = "process", operation_id = "set_log_level",
    params(("if-match" = Option<String>, Header, description = "The `ETag` that it was looked at with")),
    request_body = LogSetting,
    responses((status = 200, description = "The level in force", body = LogSetting,
        headers(("etag" = String, description = "For `If-Match`")))))]
pub(super) async fn set_log_level(
    State(office): Shared,
    Extension(actor): Extension<Actor>,
    headers: HeaderMap,
    Body(setting): Body<LogSetting>,
) -> Result<Response, Refused> {
    let before = level(&office)?;
    if_match(&headers, &etag(before.as_str()))?;
    let reloader = office.reloader()?;
    let logging = reloader.logging.as_ref().ok_or(Refused::NoLog)?;
    logging.set_level(setting.level.into());
    let change = Change::of(before.as_str(), setting.level.as_str());
    actor.changed(Action::SetLogLevel, setting.level.as_str(), change);
    log_level(State(office)).await
}

fn level(office: &Office) -> Result<Level, Refused> {
    let reloader = office.reloader()?;
    let logging = reloader.logging.as_ref().ok_or(Refused::NoLog)?;
    Ok(logging.level().into())
}

impl Level {
    fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl From<Level> for LogLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::Error,
            Level::Warn => Self::Warn,
            Level::Info => Self::Info,
            Level::Debug => Self::Debug,
            Level::Trace => Self::Trace,
        }
    }
}

impl From<LogLevel> for Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::Error,
            LogLevel::Warn => Self::Warn,
            LogLevel::Info => Self::Info,
            LogLevel::Debug => Self::Debug,
            LogLevel::Trace => Self::Trace,
        }
    }
}
