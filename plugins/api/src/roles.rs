use std::fmt;
use std::sync::Arc;

use arc_swap::{ArcSwapOption, Guard};

use crate::{ModelRules, Operation};

/// A kind of call that a role grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permission {
    /// `llm:read`: listing models, counting tokens.
    Read,
    /// `llm:write`: generating.
    Write,
}

impl Permission {
    /// As written in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "llm:read",
            Self::Write => "llm:write",
        }
    }
}

impl Operation {
    /// What a caller's role has to grant for it.
    pub fn permission(self) -> Permission {
        match self {
            Self::CountMessageTokens | Self::CountTokens => Permission::Read,
            Self::ChatCompletions
            | Self::Completions
            | Self::Responses
            | Self::Embeddings
            | Self::Messages
            | Self::GenerateContent
            | Self::StreamGenerateContent
            | Self::EmbedContent
            | Self::PassThrough => Permission::Write,
        }
    }
}

/// A named set of what may be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// As bindings name it.
    pub name: Arc<str>,
    /// The models it grants, and those it denies.
    pub models: ModelRules,
    /// The same for names of providers.
    pub providers: ModelRules,
    /// The kinds of call it grants for these.
    pub permissions: Vec<Permission>,
    /// Scopes of the management API, as the configuration writes them.
    pub management: Vec<Box<str>>,
}

impl Role {
    /// Whether it grants such calls, of whatever models.
    pub fn grants(&self, permission: Permission) -> bool {
        self.permissions.contains(&permission)
    }

    /// Whether it denies something.
    pub fn has_denials(&self) -> bool {
        self.models.has_denials() || self.providers.has_denials()
    }
}

/// The roles in effect for a caller, by one configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grants {
    /// Whose bindings they were found by: another configuration finds its own.
    pub table: u64,
    /// In the configuration's order, each once.
    pub roles: Box<[Arc<Role>]>,
}

/// A place beside an identity for the roles in effect for it, so that bindings are gone through once
/// for an identity and a configuration. Reading it takes no lock and allocates nothing.
///
/// It is no part of who somebody is: identities are compared and cloned without it.
#[derive(Default)]
pub struct GrantsSlot(ArcSwapOption<Grants>);

impl GrantsSlot {
    /// What was kept last, if anything.
    pub fn load(&self) -> Guard<Option<Arc<Grants>>> {
        self.0.load()
    }

    /// Keeps it in the place of what was kept.
    pub fn keep(&self, grants: Arc<Grants>) {
        self.0.store(Some(grants));
    }
}

impl Clone for GrantsSlot {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for GrantsSlot {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for GrantsSlot {}

impl fmt::Debug for GrantsSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GrantsSlot")
    }
}
