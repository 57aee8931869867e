//! What is on the other side: where a credential's calls go, how a connection to it is made, and
//! the credentials and models there are.

pub mod catalogue;
pub mod connections;
pub mod dial;
pub mod endpoint;
pub mod resolve;

pub use catalogue::{Catalogue, Credential, Member, Pool, Served};
pub use connections::{Connection, Connections};
pub use endpoint::Endpoint;
