//! The models a caller can really use, in its dialect.

use std::sync::Arc;

use http::HeaderValue;
use pingora::protocols::http::ServerSession;
use serde_json::{Value, json};
use turnpike_api::{Ask, Denial, Dialect, Identity, Operation};

use crate::context::Context;
use crate::refusal::Refusal;
use crate::request::{self, Connection, Stop, authorize, identify, route, sandbox};
use crate::tenant::Tenant;
use crate::upstream::{Pool, Served};

/// When a model was made is the provider's to know; clients want a number.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// `GET /v1/models` and `GET /v1beta/models`.
pub async fn models(
    session: &mut ServerSession,
    context: &mut Context<'_>,
    dialect: Dialect,
    query: &str,
) -> Result<Connection, Stop> {
    let identity = identified(session, query, context).await?;
    let tenant = context.tenant.clone();
    let mut usable = Vec::new();
    for (name, served) in tenant.catalogue().listed() {
        if let Some(pool) = usable_pool(&identity, name, served, dialect, &tenant).await? {
            usable.push(entry(name, &pool, dialect));
        }
    }
    respond(session, context, list(usable, dialect)).await
}

/// `GET /v1/models/{id}` and `GET /v1beta/models/{id}`.
pub async fn model(
    session: &mut ServerSession,
    context: &mut Context<'_>,
    dialect: Dialect,
    id: &str,
    query: &str,
) -> Result<Connection, Stop> {
    let identity = identified(session, query, context).await?;
    let tenant = context.tenant.clone();
    let served = tenant
        .catalogue()
        .find(id)
        .ok_or_else(|| route::not_found(id))?;
    match usable_pool(&identity, id, &served, dialect, &tenant).await? {
        Some(pool) => {
            let entry = entry(id, &pool, dialect);
            respond(session, context, entry).await
        }
        None => Err(route::not_found(id).into()),
    }
}

async fn identified(
    session: &ServerSession,
    query: &str,
    context: &mut Context<'_>,
) -> Result<Arc<Identity>, Refusal> {
    let identity = identify::identify(session.req_header(), query, context).await;
    identity.map_err(|stranger| sandbox::told(stranger, context))
}

/// The names that a caller's lists show, in whatever dialect.
pub async fn names(identity: &Identity, tenant: &Tenant) -> Vec<String> {
    let mut names = Vec::new();
    for (name, served) in tenant.catalogue().listed() {
        for dialect in served.dialects() {
            let usable = usable_pool(identity, name, served, dialect, tenant).await;
            if matches!(usable, Ok(Some(_))) {
                names.push(name.to_owned());
                break;
            }
        }
    }
    names
}

/// The pool, when the caller may use the model in this dialect and somebody would serve it. Who may
/// not look at any model is refused.
async fn usable_pool(
    identity: &Identity,
    name: &str,
    served: &Served,
    dialect: Dialect,
    tenant: &Tenant,
) -> Result<Option<Arc<Pool>>, Refusal> {
    let Some(pool) = served.pool(dialect) else {
        return Ok(None);
    };
    let ask = Ask {
        // A look at a model takes the permission that counting does, in every dialect.
        operation: Operation::CountTokens,
        model: name.into(),
        stream: false,
        max_tokens: None,
        body_len: 0,
    };
    let granted = match authorize::decide(identity, &ask, tenant).await {
        Ok(granted) => granted,
        Err(Denial::Model) => return Ok(None),
        Err(denial @ (Denial::Permission(_) | Denial::Authorization(_))) => {
            return Err(authorize::refusal(&denial, name));
        }
    };
    let pool = authorize::granted_pool(pool, granted, identity, &ask, tenant);
    Ok(pool.filter(|pool| !pool.is_empty()))
}

fn entry(name: &str, pool: &Pool, dialect: Dialect) -> Value {
    let owner = pool.providers.first().map_or("", |provider| provider);
    match dialect {
        Dialect::OpenAi => {
            json!({ "id": name, "object": "model", "created": 0, "owned_by": owner })
        }
        Dialect::Anthropic => {
            json!({ "type": "model", "id": name, "display_name": name, "created_at": CREATED })
        }
        Dialect::Gemini => json!({
            "name": format!("models/{name}"),
            "displayName": name,
            "version": "",
            "supportedGenerationMethods": ["generateContent", "streamGenerateContent", "countTokens", "embedContent"],
        }),
    }
}

fn list(entries: Vec<Value>, dialect: Dialect) -> Value {
    match dialect {
        Dialect::OpenAi => json!({ "object": "list", "data": entries }),
        Dialect::Anthropic => {
            let end =
                |entry: Option<&Value>| entry.map_or(Value::Null, |entry| entry["id"].clone());
            json!({
                "first_id": end(entries.first()),
                "last_id": end(entries.last()),
                "has_more": false,
                "data": entries,
            })
        }
        Dialect::Gemini => json!({ "models": entries }),
    }
}

async fn respond(
    session: &mut ServerSession,
    context: &mut Context<'_>,
    body: Value,
) -> Result<Connection, Stop> {
    request::respond(
        session,
        context,
        200,
        HeaderValue::from_static("application/json"),
        body.to_string().into(),
    )
    .await
}
