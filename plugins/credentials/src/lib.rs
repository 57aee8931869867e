//! Upstream credentials: one file a selection strategy.

mod priority;
mod round_robin;

use std::sync::Arc;

use turnpike_api::{Row, Selector};

pub use priority::Priority;
pub use round_robin::RoundRobin;

/// The strategies, by the name configuration gives them.
pub const SELECTORS: &[Row<dyn Selector, ()>] = &[
    Row {
        kind: "round_robin",
        build: |()| Arc::new(RoundRobin),
    },
    Row {
        kind: "priority",
        build: |()| Arc::new(Priority),
    },
];
