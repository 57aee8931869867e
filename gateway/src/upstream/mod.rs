//! What is on the other side: where a credential's calls go, how a connection to it is made, and
//! the credentials and models there are.

pub mod affinity;
pub mod allowance;
pub mod answers;
pub mod board;
pub mod call;
pub mod catalogue;
pub mod connections;
pub mod credential;
pub mod dial;
pub mod endpoint;
pub mod entry;
pub mod holder;
mod idle;
pub mod mint;
pub mod outlook;
pub mod pool;
pub mod quota;
mod reconcile;
pub mod resolve;
pub mod roll;
pub mod standing;

pub use board::Board;
pub use catalogue::{Catalogue, Served};
pub use connections::{Connection, Connections};
pub use credential::Credential;
pub use endpoint::Endpoint;
pub use holder::Holder;
pub use pool::{Member, Pool};
