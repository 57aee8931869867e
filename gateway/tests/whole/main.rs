//! The whole gateway on loopback, with the fake provider where the vendors would be. One file a
//! promise.

mod harness;
mod smoke;
