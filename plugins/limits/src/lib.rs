//! Limits: what may still be admitted of them, and what calls cost.
//!
//! A limit counts each subject of its level apart: a *bucket* ([`Bucket`]). What was granted of a
//! bucket's running period to this replica is its *account* ([`Account`]); calls are admitted from
//! it, by one atomic operation each. The [`Book`] has all buckets, and exchanges with the store in
//! rounds: what was used goes there, what is needed comes from there. A call takes from all of its
//! buckets or from none ([`Reservation`]), and gives back what it did not use.
//!
//! Which limits a call is subject to is told by the [`Rules`]; what it costs, by its [`Price`].
//!
//! Nothing here waits for a store: whoever has one carries the rounds to it.

mod account;
mod book;
mod bucket;
mod price;
mod reservation;
mod rules;
#[cfg(test)]
mod tests;

pub use account::Account;
pub use book::{Book, HAND_BACK, Leased, Round, TICK};
pub use bucket::Bucket;
pub use price::Price;
pub use reservation::{Expected, Fallen, Reservation, Spent, Why};
pub use rules::{Caller, Model, Rule, Rules};
