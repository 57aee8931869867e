//! Who serves the model.

use std::sync::Arc;

use turnpike_api::{Ask, Denial, Dialect, Identity};

use super::authorize::{self, Permit, shown};
use crate::context::Context;
use crate::refusal::{Reason, Refusal};
use crate::upstream::catalogue::StandIns;
use crate::upstream::{Pool, Served};

/// The evidence that somebody serves what the permit asks for.
pub struct Route {
    pool: Arc<Pool>,
    /// Pools of other models that may serve in its place, in order. Nearly always none.
    stand_ins: Vec<StandIn>,
}

/// A pool that may serve in place of the asked one.
pub struct StandIn {
    /// The model's name, as callers use it.
    pub name: Box<str>,
    pub pool: Arc<Pool>,
    pub when: When,
}

/// When another model serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The asked one's quota is spent.
    OutOfQuota,
    /// The asked one cannot be served.
    Unserved,
}

impl Route {
    /// Who serves it.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Who may in their place.
    pub fn stand_ins(&self) -> &[StandIn] {
        &self.stand_ins
    }

    /// Whether more than one model may serve.
    pub fn has_several_models(&self) -> bool {
        let mut pairs = self.pool.parts().windows(2);
        !self.stand_ins.is_empty() || pairs.any(|pair| pair[0].counted != pair[1].counted)
    }
}

/// Finds the pool of the permit's model in its dialect: as much of it as the caller may be served by.
pub async fn route(
    identity: &Identity,
    permit: &Permit,
    context: &Context<'_>,
) -> Result<Route, Refusal> {
    let ask = permit.ask();
    let tenant = &context.tenant;
    let catalogue = tenant.catalogue();
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
    let pool = authorize::granted_pool(&pool, permit.granted(), identity, ask, tenant)
        .ok_or_else(|| authorize::refusal(&Denial::Model, &ask.model))?;
    if !pool.is_empty() && !pool.serves(ask.operation) {
        return Err(Refusal::new(
            Reason::UnsupportedPathForModel,
            format!(
                "{:?} is not served for {} calls",
                shown(&ask.model),
                ask.operation.as_str()
            ),
        ));
    }
    let stand_ins = match catalogue.stand_ins(&ask.model) {
        None => Vec::new(),
        Some(named) => stand_ins(named, identity, ask, context).await,
    };
    Ok(Route { pool, stand_ins })
}

/// Those of the stand-ins that the caller may use, and that are served on this path.
async fn stand_ins(
    named: &StandIns,
    identity: &Identity,
    ask: &Ask,
    context: &Context<'_>,
) -> Vec<StandIn> {
    let previews = named.previews.iter().map(|name| (name, When::OutOfQuota));
    let fallbacks = named.fallbacks.iter().map(|name| (name, When::Unserved));
    let mut stand_ins = Vec::new();
    for (name, when) in previews.chain(fallbacks) {
        let ask = Ask {
            model: name.as_str().into(),
            ..ask.clone()
        };
        let tenant = &context.tenant;
        let Ok(granted) = authorize::decide(identity, &ask, tenant).await else {
            continue;
        };
        let Some(served) = tenant.catalogue().find(name) else {
            continue;
        };
        let pool = served.pool(ask.operation.dialect());
        let pool = pool
            .and_then(|pool| authorize::granted_pool(pool, granted, identity, &ask, tenant))
            .filter(|pool| pool.serves(ask.operation));
        let stand_in = |pool| StandIn {
            name: name.as_str().into(),
            pool,
            when,
        };
        stand_ins.extend(pool.map(stand_in));
    }
    stand_ins
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
