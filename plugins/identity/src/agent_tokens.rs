//! Agent tokens (F3, F4, F9): long-lived, one for each agent or device, good until they are
//! revoked or their owner's session ends.

mod book;
mod guesses;
mod hashing;
mod issue;
mod record;
mod text;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use turnpike_api::{Answer, Authenticator, Presented, Rejection, Verdict};

use crate::Settings;

pub use book::{Checks, LastUse, TokenBook};
pub use hashing::{Costs, HashError};
pub use issue::{
    IssueError, Issued, NewToken, TOPIC, USE, issue, keep_to_session, look, name, revoke,
    revoke_if, rotate, rotate_if,
};
pub use record::{AgentTokenRecord, Binding, KIND, Owner, TokenState};
use text::Text;

/// The id of the agent token that was presented, whether there is one or not.
pub fn id_of(presented: &str) -> Option<&str> {
    Text::read(presented)?.ok().map(|text| text.id)
}

/// Knows the tokens of the book.
pub struct AgentTokens {
    book: Arc<TokenBook>,
    checks: Checks,
}

impl AgentTokens {
    /// The tokens outlive the configuration; how they are checked is its.
    pub fn new(settings: &Settings) -> Self {
        Self {
            book: settings.agent_tokens.clone(),
            checks: settings.checks,
        }
    }
}

impl Authenticator for AgentTokens {
    fn authenticate<'a>(&'a self, presented: Presented<'a>) -> Answer<'a, Verdict> {
        let text = match Text::read(presented.token) {
            None => return Answer::Ready(Verdict::NotMine),
            Some(Err(why)) => return Answer::Ready(Verdict::Reject(Rejection::Malformed(why))),
            Some(Ok(text)) => text,
        };
        match self.book.at_once(&text, &presented, &self.checks) {
            Some(verdict) => Answer::Ready(verdict),
            None => Answer::Pending(Box::pin(self.book.prove(text, presented, self.checks))),
        }
    }
}
