//! Slow and plain versions of what the crate does quickly; the property tests and the fuzz targets
//! hold one against the other.
#![allow(dead_code, reason = "each test uses its half")]

pub(crate) mod body;
pub(crate) mod events;
