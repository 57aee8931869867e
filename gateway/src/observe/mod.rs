//! What happened, told once: a struct an event, which logs and counts together.

pub mod events;
pub mod logging;
pub mod metrics;
