//! A person's new agent token: one place makes them, whether it is asked for on a page or by a device.

use std::sync::Arc;

use futures::executor::block_on;
use tracing::error;
use turnpike_identity::agent_tokens::{self, IssueError, Issued, NewToken};
use turnpike_identity::sso::{Session, session};

use super::desk::Desk;
use super::problem::Problem;

/// Why there is no new token.
pub(super) enum Failed {
    Name,
    Problem(Problem),
}

impl<E: Into<Problem>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Problem(error.into())
    }
}

/// Makes a token as the command line does, and has it be theirs.
pub(super) async fn issue(desk: &Desk, session: &Session, name: &str) -> Result<Issued, Failed> {
    let new = NewToken {
        name: name.to_owned(),
        owner: Some(session.person.owner()),
        tenant: session.person.tenant.clone(),
        auth_expires_at: Some(session.expires_at),
        ..NewToken::default()
    };
    let (store, costs, now) = (desk.runtime.store.clone(), desk.sso.costs, desk.now);
    session::has_room(desk.store(), session, now).await?;
    let making = move || block_on(agent_tokens::issue(&*store, new, costs, now));
    let made = desk.runtime.hash(making).await;
    let made = made.map_err(|error| {
        error!(%error, "an agent token cannot be made");
        Problem::new(500, "internal", "The gateway cannot do that now")
    })?;
    let issued = match made {
        Err(IssueError::Name) => return Err(Failed::Name),
        made => made.map_err(session::SessionError::from)?,
    };
    session::adopt(desk.store(), session, &issued.record, desk.now).await?;
    let book: &Arc<_> = &desk.runtime.agent_tokens;
    let known = book.read_one(&issued.record.id, desk.store()).await;
    // It is theirs already; the news of it come within a second.
    known.unwrap_or_else(|error| error!(%error, "a new agent token is not known yet"));
    Ok(issued)
}
