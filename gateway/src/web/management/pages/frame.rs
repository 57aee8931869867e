//! What is around each page of somebody who is signed in.

use axum::response::Response;
use turnpike_config::plan::Scope;

use super::super::access::Actor;
use super::operator::Operator;
use crate::web::form::Form;
use crate::web::page::see_other;

/// For the layout of a page.
pub(super) struct Frame {
    /// Who is signed in.
    pub(super) name: String,
    pub(super) csrf: String,
    pub(super) tabs: Vec<Tab>,
    /// What was just done.
    pub(super) said: Option<&'static str>,
}

pub(super) struct Tab {
    pub(super) label: &'static str,
    pub(super) url: &'static str,
    pub(super) is_here: bool,
}

/// What there is to look at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Credentials,
    Tokens,
    Logins,
    Usage,
    Gateway,
}

/// What is said after something was done, by the word that stands in the address.
const DONE: &[(&str, &str)] = &[
    ("reset", "Quota and cooldowns are cleared."),
    ("removed", "The credential is removed."),
    ("revoked", "The agent token is revoked."),
    ("ended", "The session is over."),
    ("cleared", "The next attempt is let through."),
    ("reloaded", "The configuration was read and is in force."),
    ("level", "The level of the log is changed."),
];

impl Place {
    const ALL: [Self; 5] = [
        Self::Credentials,
        Self::Tokens,
        Self::Logins,
        Self::Usage,
        Self::Gateway,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::Credentials => "Credentials",
            Self::Tokens => "Agent tokens",
            Self::Logins => "Logins",
            Self::Usage => "Usage",
            Self::Gateway => "Gateway",
        }
    }

    fn url(self) -> &'static str {
        match self {
            Self::Credentials => "/admin/credentials",
            Self::Tokens => "/admin/tokens",
            Self::Logins => "/admin/logins",
            Self::Usage => "/admin/usage",
            Self::Gateway => "/admin/gateway",
        }
    }

    /// Whether somebody sees it. The management API says so, too.
    fn is_open(self, actor: &Actor) -> bool {
        match self {
            Self::Credentials => actor.may(Scope::CredentialsRead).is_ok(),
            Self::Tokens => actor.may(Scope::TokensRead).is_ok(),
            Self::Logins => actor.may(Scope::SessionsRead).is_ok(),
            Self::Usage => actor.may(Scope::UsageRead).is_ok(),
            Self::Gateway => true,
        }
    }
}

impl Frame {
    pub(super) fn of(operator: &Operator, here: Place, query: &Form) -> Self {
        let done = query.get("done");
        let said = DONE.iter().find(|(word, _)| *word == done);
        let actor = &operator.actor;
        let open = Place::ALL.into_iter().filter(|place| place.is_open(actor));
        Self {
            name: actor.name.to_string(),
            csrf: operator.seal(),
            tabs: open
                .map(|place| Tab {
                    label: place.label(),
                    url: place.url(),
                    is_here: place == here,
                })
                .collect(),
            said: said.map(|(_, text)| *text),
        }
    }
}

/// `GET /admin`: the first page that the operator may see.
pub(super) async fn first(operator: Operator) -> Response {
    let actor = &operator.actor;
    let open = Place::ALL.into_iter().find(|place| place.is_open(actor));
    see_other(open.unwrap_or(Place::Gateway).url())
}
