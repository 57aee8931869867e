//! The commands beside `serve`: what they answer, whether a gateway runs or not.

pub mod audit;
pub mod credentials;
pub mod login;
pub mod person;
pub mod rewrite;
pub mod tokens;

mod blank;
mod store;
mod table;
