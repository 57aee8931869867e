//! The store that a command works on, beside a gateway or without one.

use std::sync::Arc;

use thiserror::Error;
use turnpike_api::{Clock, Store};
use turnpike_config::plan::StatePlan;
use turnpike_config::{Environment, Plan, Problems};
use turnpike_store::Embedded;

use super::blank::Blank;
use crate::cli::Asked;
use crate::clock::Time;
use crate::configuration;
use crate::store::{StoreOpenError, beside};

/// Why there is no store to work on.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error(transparent)]
    Configuration(#[from] Problems),
    #[error("cannot open the store")]
    Store(#[from] StoreOpenError),
}

/// The store of the configuration, opened in this way, and what time it is.
pub(super) fn opened(
    asked: &Asked,
    environment: &Environment,
    way: impl FnOnce(&StatePlan, Time) -> Result<Arc<dyn Store>, StoreOpenError>,
) -> Result<(Plan, Arc<dyn Store>, u64), OpenError> {
    let plan = configuration::load(&asked.config.path, environment)?;
    let time = Time::system();
    let now = time.now();
    let store = way(&plan.state, time)?;
    Ok((plan, store, now))
}

/// To look only. Where no gateway ever ran there is nothing, and nothing is made for a look.
pub(super) fn look(state: &StatePlan, clock: Time) -> Result<Arc<dyn Store>, StoreOpenError> {
    let here: Arc<dyn Store> = match state.path.exists() {
        true => Arc::new(Embedded::open_read_only(&state.path, Arc::new(clock))?),
        false => Arc::new(Blank),
    };
    beside(state, here)
}

/// To change what there is; where there is nothing, there is nothing to change.
pub(super) fn change(state: &StatePlan, clock: Time) -> Result<Arc<dyn Store>, StoreOpenError> {
    match state.path.exists() || state.redis.is_some() {
        true => open(state, clock),
        false => Ok(Arc::new(Blank)),
    }
}

/// To add something. It is made where there is none.
pub(super) fn open(state: &StatePlan, clock: Time) -> Result<Arc<dyn Store>, StoreOpenError> {
    match state.redis {
        // What a command changes is shared: of this replica's own file it needs nothing.
        Some(_) => look(state, clock),
        None => Ok(Arc::new(Embedded::open_beside(
            &state.path,
            Arc::new(clock),
        )?)),
    }
}
