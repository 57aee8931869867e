//! What a caller may do: one file an authorizer.

mod bindings;
mod key_models;
mod matchers;
mod remote;
mod roles;

use std::sync::Arc;

use turnpike_api::{Authorizer, Row};

pub use bindings::{Binding, RoleTable};
pub use key_models::KeyModels;
pub use matchers::Matchers;
pub use remote::Remote;
pub use roles::Roles;

/// Everything the authorizers are built from.
#[derive(Default)]
pub struct Settings {
    /// The configured roles and who has them; `None` = there are none, and everything is allowed.
    pub roles: Option<Arc<RoleTable>>,
    /// The authorization API is asked about callers who have no login.
    pub asks: bool,
}

/// The authorizers. All are asked; their order does not matter.
pub const AUTHORIZERS: &[Row<dyn Authorizer, Settings>] = &[
    Row {
        kind: "key_models",
        build: |_| Arc::new(KeyModels),
    },
    Row {
        kind: "roles",
        build: |settings| Arc::new(Roles::new(settings.roles.clone())),
    },
    Row {
        kind: "remote",
        build: |settings| Arc::new(Remote::new(settings.asks)),
    },
];
