//! What a caller may do: one file an authorizer.

mod key_models;

use std::sync::Arc;

use turnpike_api::{Authorizer, Row};

pub use key_models::KeyModels;

/// The authorizers. All are asked; their order does not matter.
pub const AUTHORIZERS: &[Row<dyn Authorizer, ()>] = &[Row {
    kind: "key_models",
    build: |()| Arc::new(KeyModels),
}];
