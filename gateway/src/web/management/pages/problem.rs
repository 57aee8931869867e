//! What operators are told, and nobody else.

use crate::web::problem::Problem;

impl Problem {
    /// An operator, somewhere else than they may be.
    pub(super) fn remote() -> Self {
        Self::new(403, "remote_management_disabled", "Not from here").with(
            "These pages are for browsers on the gateway's own machine, unless the configuration says otherwise (`remote_management.allow_remote`).",
        )
    }

    /// An operator who is not signed in any more.
    pub(super) fn operator_session_over() -> Self {
        Self::new(401, "session_over", "Your session is over")
            .with("Sign in again. Nothing was changed.")
            .towards("Sign in", "/admin/sign-in")
    }

    /// Somebody guesses keys.
    pub(super) fn too_many_keys(seconds: u64) -> Self {
        Self::new(429, "too_many_attempts", "Please wait before trying again")
            .with(format!(
                "Too many wrong keys came from this address. The next one is looked at in {seconds} s."
            ))
            .towards("Try again", "/admin/sign-in")
            .after(seconds)
    }
}
