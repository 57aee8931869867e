//! One conformance suite a seam. Every implementation's own tests run it; a failure panics with
//! the rule that was broken.

mod authenticator;
mod authorizer;
mod provider;
mod selector;
mod store;

pub use authenticator::conforming_authenticator;
pub use authorizer::{conforming_authorizer, conforming_authorizer_of};
pub use provider::{Sample, conforming_provider};
pub use selector::conforming_selector;
pub use store::{StoreBench, conforming_bulletin, conforming_directory, conforming_store};
