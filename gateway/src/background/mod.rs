//! What goes on beside the requests.

pub mod affinity;
pub mod cooldowns;
pub mod keys;
pub mod last_used;
pub mod limits;
pub mod news;
pub mod probe;
pub mod quotas;
pub mod replicas;
pub mod retention;
pub mod sessions;
pub mod traces;
pub mod usage;
