//! A fake provider that speaks the OpenAI, Anthropic and Gemini dialects, and
//! the load driver.
//!
//! [`FakeProvider`] is what the gateway's tests and the benches put where the
//! vendor would be. It is programmed per API key with [`Behaviour`]s, keeps a
//! [`Recorded`] of every call, sees when its caller goes away, and counts the
//! usage it told its callers. Nothing in it is random.
//!
//! ```no_run
//! # async fn demo() {
//! use std::time::Duration;
//! use turnpike_loadtest::{Behaviour, FakeProvider, Options, Protocol};
//!
//! let provider = FakeProvider::start(Options::new(Protocol::H2c)).await;
//! provider.script("key-1", [Behaviour::rate_limited(Duration::from_secs(2)), Behaviour::Ok]);
//! // … send calls to provider.base_url() …
//! provider.wait_for_calls(2).await;
//! assert_eq!(provider.calls()[0].key, "key-1");
//! # }
//! ```
//!
//! A call's way through: [`provider`] (the handle) → `serve` (sockets, TLS,
//! h1 and h2) → `handle` (key, behaviour, reading the body) → `dialect`
//! (what the vendor would say) → `answer` (how the behaviour bends it) →
//! `stream` (the body, step by step). [`raw`] is the much cheaper responder
//! for benches; [`drive`] is the driver, [`flood`] valid calls beside made-up ones, and [`timing`]
//! looks whether refusals tell by their time what is wrong. [`kills`] looks what is on record after a
//! gateway was killed, and [`series`] whether callers make any; both run a gateway of their own
//! ([`process`]).

mod answer;
mod call;
mod dialect;
pub mod drive;
pub mod flood;
mod gate;
mod handle;
mod headers;
mod ids;
mod key;
pub mod kills;
mod line;
pub mod metrics;
mod options;
pub mod process;
pub mod provider;
pub mod raw;
mod record;
mod script;
pub mod series;
mod serve;
mod stream;
pub mod timing;
mod tls;
mod token;
mod totals;

pub use dialect::{Dialect, error_body, gemini_quota_error, input_tokens};
pub use gate::Gate;
pub use options::{Options, Protocol};
pub use provider::FakeProvider;
pub use record::{Outcome, Recorded};
pub use script::{Behaviour, UnknownBehaviour};
pub use token::{Grant, TokenEndpoint};
pub use totals::Totals;
