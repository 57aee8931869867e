//! Who serves the model.

use std::sync::Arc;

use turnpike_api::Dialect;

use super::authorize::{Permit, shown};
use crate::context::Context;
use crate::refusal::{Reason, Refusal};
use crate::upstream::{Pool, Served};

/// The evidence that somebody serves what the permit asks for.
pub struct Route {
    pool: Arc<Pool>,
}

impl Route {
    /// Who serves it.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }
}

/// Finds the pool of the permit's model in its dialect.
pub fn route(permit: &Permit, context: &Context<'_>) -> Result<Route, Refusal> {
    let ask = permit.ask();
    let catalogue = &context.snapshot.catalogue;
    let dialect = ask.operation.dialect();
    let pool = if ask.model.is_empty() {
        catalogue
            .nameless()
            .pool(dialect)
            .cloned()
            .ok_or_else(no_single_provider)?
    } else {
        let served = catalogue
            .find(&ask.model)
            .ok_or_else(|| not_found(&ask.model))?;
        served
            .pool(dialect)
            .cloned()
            .ok_or_else(|| other_path(&ask.model, &served))?
    };
    if pool.members.is_empty() {
        return Err(no_credential(&pool));
    }
    if !pool
        .members
        .iter()
        .any(|member| member.credential.vendor.plugin.serves(ask.operation))
    {
        return Err(Refusal::new(
            Reason::UnsupportedPathForModel,
            format!(
                "{:?} is not served for {} calls",
                shown(&ask.model),
                ask.operation.as_str()
            ),
        ));
    }
    Ok(Route { pool })
}

pub fn not_found(model: &str) -> Refusal {
    Refusal::new(
        Reason::ModelNotFound,
        format!(
            "the model {:?} is not served here; GET /v1/models lists what is",
            shown(model)
        ),
    )
}

fn no_single_provider() -> Refusal {
    Refusal::new(
        Reason::UnsupportedPathForModel,
        "a call that names no model is passed on only where one provider alone is configured for this path",
    )
}

fn other_path(model: &str, served: &Served) -> Refusal {
    let paths: Vec<&str> = served.dialects().map(main_path).collect();
    Refusal::new(
        Reason::UnsupportedPathForModel,
        format!(
            "the model {:?} is served on {}, not on this path",
            shown(model),
            paths.join(" and ")
        ),
    )
}

fn main_path(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::OpenAi => "/v1/chat/completions",
        Dialect::Anthropic => "/v1/messages",
        Dialect::Gemini => "/v1beta/models/{model}:generateContent",
    }
}

/// A refusal that says why there is no credential.
fn no_credential(pool: &Pool) -> Refusal {
    let providers = pool.providers.join(", ");
    let why = match pool.disabled {
        0 => "none are configured".to_owned(),
        1 => "the only one is disabled".to_owned(),
        disabled => format!("all {disabled} are disabled"),
    };
    Refusal::new(
        Reason::NoCredential,
        format!("No credentials for provider {providers}: {why}"),
    )
}
