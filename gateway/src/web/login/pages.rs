//! The pages, as their templates know them.

use askama::Template;
use turnpike_identity::agent_tokens::{AgentTokenRecord, TokenState};

pub(super) use super::page::{When, html};
use crate::agents::{Agent, Part};

#[derive(Template)]
#[template(path = "auth/chooser.html")]
pub(super) struct ChooserPage<'p> {
    pub(super) renews: bool,
    /// A device waits for the person to be signed in.
    pub(super) for_device: bool,
    pub(super) choices: &'p [Choice],
}

/// A provider to log in by.
pub(super) struct Choice {
    pub(super) label: String,
    pub(super) url: String,
}

#[derive(Template)]
#[template(path = "auth/confirm.html")]
pub(super) struct ConfirmPage<'p> {
    pub(super) csrf: &'p str,
    pub(super) wrong: Option<&'p str>,
}

#[derive(Template)]
#[template(path = "auth/tokens.html")]
pub(super) struct TokensPage<'p> {
    pub(super) person: &'p str,
    pub(super) until: &'p When,
    pub(super) csrf: &'p str,
    pub(super) has_just_come: bool,
    /// The link that was opened renews somebody else's token.
    pub(super) is_anothers: bool,
    pub(super) works_again: bool,
    pub(super) rows: &'p [Row],
    pub(super) wrong: Option<&'p str>,
    /// A name that has to be mended.
    pub(super) typed: &'p str,
}

/// A token in a list.
pub(super) struct Row {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) created: When,
    pub(super) state: &'static str,
    pub(super) is_active: bool,
    pub(super) is_revoked: bool,
}

#[derive(Template)]
#[template(path = "auth/token.html")]
pub(super) struct TokenPage<'p> {
    pub(super) person: &'p str,
    pub(super) name: &'p str,
    pub(super) token: &'p str,
    pub(super) until: &'p When,
    pub(super) snippets: &'p [Snippet],
}

/// How an agent is told of its token.
pub(super) struct Snippet {
    pub(super) agent: &'static str,
    pub(super) parts: Vec<Part>,
}

#[derive(Template)]
#[template(path = "auth/device.html")]
pub(super) struct DevicePage<'p> {
    pub(super) csrf: &'p str,
    pub(super) typed: &'p str,
    pub(super) wrong: Option<&'p str>,
}

#[derive(Template)]
#[template(path = "auth/device_confirm.html")]
pub(super) struct DeviceConfirmPage<'p> {
    pub(super) person: &'p str,
    pub(super) csrf: &'p str,
    pub(super) code: &'p str,
    pub(super) client_id: &'p str,
    pub(super) address: &'p str,
    /// It asks from another address than the person's. That it is the same says little: behind one
    /// balancer all may have its address.
    pub(super) is_elsewhere: bool,
    pub(super) asked: &'p When,
    pub(super) name: &'p str,
    pub(super) wrong: Option<&'p str>,
}

#[derive(Template)]
#[template(path = "auth/device_done.html")]
pub(super) struct DeviceDonePage<'p> {
    /// The token's name; `None` = the person said no.
    pub(super) name: Option<&'p str>,
}

#[derive(Template)]
#[template(path = "auth/pass.html")]
pub(super) struct PassPage<'p> {
    pub(super) person: &'p str,
    pub(super) url: &'p str,
}

#[derive(Template)]
#[template(path = "auth/logout.html")]
pub(super) struct LogoutPage<'p> {
    pub(super) person: &'p str,
    pub(super) csrf: &'p str,
}

#[derive(Template)]
#[template(path = "auth/signed_out.html")]
pub(super) struct SignedOutPage {}

impl Row {
    pub(super) fn of(token: &AgentTokenRecord, now: u64) -> Self {
        let state = token.state(now);
        Self {
            id: token.id.clone(),
            name: token.name.clone(),
            created: When::at(token.created_at),
            state: state.as_str(),
            is_active: state == TokenState::Active,
            is_revoked: state == TokenState::Revoked,
        }
    }
}

impl Snippet {
    /// For the agents that people use.
    pub(super) fn all(url: &str, token: &str) -> Vec<Self> {
        let agents = Agent::ALL.into_iter();
        agents
            .map(|agent| Self {
                agent: agent.label(),
                parts: agent.parts(url, token),
            })
            .collect()
    }
}
