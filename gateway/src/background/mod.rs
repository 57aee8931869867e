//! What goes on beside the requests.

pub mod affinity;
pub mod keep;
pub mod keys;
pub mod limits;
pub mod news;
pub mod probe;
pub mod quotas;
pub mod replicas;
pub mod retention;
pub mod sessions;
pub mod traces;
pub mod usage;
pub mod uses;
