//! Turnpike's nouns and the seams its plugins implement.
//!
//! A request becomes evidence, stage by stage. The types that plugins see live here; those that
//! only the gateway may make (`Permit`, `Route`, `Lease`) live with the stage that makes them.
//!
//! | seam | asked | implemented in |
//! |---|---|---|
//! | [`Authenticator`] | who presents this credential? | `plugins/identity` |
//! | [`Authorizer`] | may they ask this? | `plugins/access` |
//! | [`Selector`] | which credential of the tier is next? | `plugins/credentials` |
//! | [`Provider`] | how does this vendor want to be called, and what did it answer? | `plugins/providers` |
//! | [`Store`] | what do the replicas share, and what survives a restart? | `plugins/store` |
//!
//! A seam's crate lists its implementations in one constant table of [`Row`]s. To add one: write
//! one file, add its `mod` line and its row, and run the seam's conformance suite from
//! `testing` (feature `testing`) over it.
//!
//! Nothing here knows Pingora, a runtime, a store or the configuration file.

mod access;
mod answer;
mod ask;
mod clock;
mod grants;
mod identity;
mod keyring;
mod limits;
mod models;
mod provider;
mod registry;
mod reserved;
mod roles;
mod secret;
mod selection;
mod store;
mod usage;

#[cfg(feature = "testing")]
pub mod testing;

pub use access::{Authorizer, Decision, Denial, Service};
pub use answer::Answer;
pub use ask::{Ask, Dialect, Operation};
pub use clock::Clock;
pub use grants::{Draw, Drawn, Grant};
pub use identity::{
    Attributes, Authenticator, Claim, Counted, CountedSlot, Identity, LetIn, Presented, Rejection,
    Verdict,
};
pub use keyring::{Keyring, OpenError, SealError};
pub use limits::{Calendar, Level, Limit, Measure, OnUnavailable, Period, Window};
pub use models::{ModelRules, glob_matches};
pub use provider::{
    Account, Call, Fault, Hint, Judgement, Meter, Progress, Provider, Scheme, Target,
};
pub use registry::{Row, UnknownKind, find};
pub use reserved::Reserved;
pub use roles::{Grants, GrantsSlot, Permission, Role};
pub use secret::Secret;
pub use selection::{Selector, Slot, Tier};
pub use store::{
    Bulletin, DayUsage, Directory, Entry, Expected, Ledger, Mark, News, Notice, Payer, Record,
    Spent, Store, StoreError, Stored, UsagePage, UsagePlace, Used,
};
pub use usage::Usage;
