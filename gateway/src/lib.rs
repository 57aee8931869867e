//! Turnpike's gateway: Pingora's wiring and the path of a request.
//!
//! # The map
//!
//! A connection is accepted by [`listener`], which secures it and hands it to [`proxy`], the
//! application on Pingora's HTTP server. For each request `proxy` reads the head, makes a
//! [`context::Context`] (one [`snapshot::Snapshot`] of the configuration, one
//! [`record::Record`]), and walks [`request`]:
//!
//! 1. [`path`] says what is asked for; anything but a call of a provider is answered by
//!    [`listing`] or [`web`].
//! 2. [`request::identify`] asks the authenticators: an identity, and the [`tenant`] it acts for.
//! 3. [`request::read`] reads the body, bounded: an ask.
//! 4. [`request::authorize`] folds the authorizers: a permit.
//! 5. [`request::route`] finds who serves the model: a route.
//! 6. [`request::admit`] takes what it may use of all its limits: an admission.
//! 7. [`request::select`] and [`request::forward`] try credentials until an attempt is committed:
//!    an answer.
//! 8. [`request::stream`] passes it on, past the meter.
//! 9. What it used is settled, and the record told, when they are dropped, whatever happened.
//!
//! What a stage refuses becomes an HTTP answer in one place, [`refusal`].
//!
//! [`audit`] has each admitted call on record before step 7, and how it ended after step 9.
//!
//! [`boot`] starts it all, and ends it in the stages of [`drain`]: [`configuration`] reads the file to a plan, [`assemble`] makes a
//! snapshot of it, [`reload`] does so again when files change. [`runtime`] holds what outlives a
//! snapshot, [`upstream`] what is on the other side, [`observe`] tells what happened.

pub mod agents;
pub mod answer_head;
pub mod assemble;
pub mod audit;
pub mod authorization;
pub mod background;
pub mod boot;
pub mod cli;
pub mod clock;
pub mod command;
pub mod conduit;
pub mod configuration;
pub mod context;
pub mod decisions;
pub mod drain;
pub mod encryption;
pub mod jwks;
pub mod listener;
pub mod listing;
pub mod observe;
pub mod path;
pub mod proxy;
pub mod record;
pub mod refusal;
pub mod reload;
pub mod request;
pub mod runtime;
pub mod secret_key;
pub mod snapshot;
pub mod sockets;
pub mod sso;
pub mod stop;
pub mod store;
pub mod tenant;
pub mod tls;
pub mod token_entry;
pub mod trace_context;
pub mod traces;
pub mod upstream;
pub mod web;
pub mod within;
