//! The store that a command works on, beside a gateway or without one.

use std::path::Path;
use std::sync::Arc;

use turnpike_api::Store;
use turnpike_store::{Embedded, OpenError};

use super::blank::Blank;
use crate::clock::Time;

/// To look only. Where no gateway ever ran there is nothing, and nothing is made for a look.
pub(super) fn look(path: &Path, clock: Time) -> Result<Arc<dyn Store>, OpenError> {
    match path.exists() {
        true => Ok(Arc::new(Embedded::open_read_only(path, Arc::new(clock))?)),
        false => Ok(Arc::new(Blank)),
    }
}

/// To change what there is; where there is nothing, there is nothing to change.
pub(super) fn change(path: &Path, clock: Time) -> Result<Arc<dyn Store>, OpenError> {
    match path.exists() {
        true => open(path, clock),
        false => Ok(Arc::new(Blank)),
    }
}

/// To add something. It is made where there is none.
pub(super) fn open(path: &Path, clock: Time) -> Result<Arc<dyn Store>, OpenError> {
    Ok(Arc::new(Embedded::open_beside(path, Arc::new(clock))?))
}
