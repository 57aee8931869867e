//! The gateways that serve by one store.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::office::Office;
use super::refusal::Refused;
use crate::background::replicas::{self, Replica};
use crate::upstream::roll::time;

#[derive(Serialize, ToSchema)]
pub(super) struct ReplicaList {
    replicas: Vec<ReplicaEntry>,
    /// Whether all have the same configuration in force.
    agree: bool,
}

#[derive(Serialize, ToSchema)]
pub(super) struct ReplicaEntry {
    /// Another one for each process.
    name: String,
    /// The machine's name, or the pod's.
    host: String,
    /// It is the one that answers.
    this: bool,
    version: String,
    /// How many configurations it has taken over since it started: replicas that started at different
    /// times count differently.
    generation: u64,
    /// A digest of the configuration in force, without its secrets: the same for the same one.
    configuration: String,
    /// What it read last is not in force; its own `/config` says why.
    has_problem: bool,
    /// It is stopping.
    draining: bool,
    /// When it was heard of last. One that is not heard of for 35 s is not listed any more.
    heard_at: String,
}

/// List the replicas, each with its configuration
#[utoipa::path(get, path = "/replicas", tag = "process", operation_id = "list_replicas",
    responses((status = 200, description = "All that serve by the same store; alone without a shared one", body = ReplicaList)))]
pub(super) async fn list(State(office): State<Arc<Office>>) -> Result<Json<ReplicaList>, Refused> {
    let (runtime, reloader) = (office.runtime()?, office.reloader()?);
    let all = replicas::all(&runtime, &reloader).await?;
    let mut configurations = all.iter().map(|(_, one)| &one.configuration);
    let first = configurations.next();
    let agree = configurations.all(|one| Some(one) == first);
    let entry = |(name, one): (String, Replica)| ReplicaEntry {
        this: name == runtime.name(),
        name,
        host: one.host,
        version: one.version,
        generation: one.generation,
        configuration: one.configuration,
        has_problem: one.has_problem,
        draining: one.draining,
        heard_at: time(one.at),
    };
    let replicas = all.into_iter().map(entry).collect();
    Ok(Json(ReplicaList { replicas, agree }))
}
