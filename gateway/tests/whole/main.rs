//! The whole gateway on loopback, with the fake provider where the vendors would be. One file a
//! promise.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests"
)]
#![allow(
    dead_code,
    unreachable_pub,
    reason = "not every test uses all of the harness"
)]

mod affinity;
mod agent_tokens;
mod audit;
mod bad_input;
mod binary;
mod bytes;
mod caller;
mod calls;
mod canary;
mod chaos;
mod collector;
mod command_line;
mod confusion;
mod cooldown;
mod cors;
mod credentials_command;
mod directory;
mod drain;
mod duties;
mod egress;
mod endings;
mod failover;
mod fleet;
mod handover;
mod harness;
mod identity;
mod injected;
mod jwt;
mod limits;
mod management;
mod matrix;
mod metrics;
mod observation;
mod operator;
mod outcomes;
mod pair;
mod pools;
mod quota;
mod refused;
mod reload;
mod roles;
mod rolling;
mod routing;
mod sandbox;
mod selection;
mod service_account;
mod smoke;
mod smuggling;
mod sso;
mod streams;
mod tenants;
mod tls;
mod traces;
mod usage;
mod wire;
