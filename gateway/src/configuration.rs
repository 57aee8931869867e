//! Reading the configuration with what this binary knows of provider kinds.

use std::path::Path;

use turnpike_config::{Environment, Kinds, Plan, Problems};

use crate::assemble::provider_kinds;

/// Reads and checks the file.
pub fn load(path: &Path, environment: &Environment) -> Result<Plan, Problems> {
    turnpike_config::load(
        path,
        environment,
        &Kinds {
            providers: &provider_kinds(),
        },
    )
}

/// The configuration in effect, every secret blotted out.
pub fn redacted(path: &Path, environment: &Environment) -> Result<String, Problems> {
    turnpike_config::print_redacted(
        path,
        environment,
        &Kinds {
            providers: &provider_kinds(),
        },
    )
}
