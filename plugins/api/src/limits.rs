use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::ModelRules;

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Measure {
    /// Calls that were sent to a provider.
    Requests,
    /// Tokens, input and output.
    Tokens,
    /// Tokens of prompts, cached ones included.
    InputTokens,
    /// Tokens of answers, reasoning included.
    OutputTokens,
    /// Money by the price table, in millionths of a US dollar.
    Usd,
    /// Calls that run at the same time.
    Concurrency,
}

impl Measure {
    /// Every measure, for tables.
    pub const ALL: [Self; 6] = [
        Self::Requests,
        Self::Tokens,
        Self::InputTokens,
        Self::OutputTokens,
        Self::Usd,
        Self::Concurrency,
    ];

    /// Whether it counts what answers say they used.
    pub fn is_of_usage(self) -> bool {
        match self {
            Self::Requests | Self::Concurrency => false,
            Self::Tokens | Self::InputTokens | Self::OutputTokens | Self::Usd => true,
        }
    }

    /// As written in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::InputTokens => "input_tokens",
            Self::OutputTokens => "output_tokens",
            Self::Usd => "usd",
            Self::Concurrency => "concurrency",
        }
    }
}

/// Of what a limit counts each one apart: every user, every model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// All callers of a tenant together.
    Tenant,
    /// All callers together who may make the call by the same role.
    Role,
    /// A person, with all of their tokens and sessions. A caller who is none counts as itself.
    User,
    /// An agent token, a configured key, or the holder of signed tokens.
    Token,
    /// A model, whatever aliases and prefixes callers have for it.
    Model,
    /// An upstream credential.
    Credential,
}

impl Level {
    /// As written in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Role => "role",
            Self::User => "user",
            Self::Token => "token",
            Self::Model => "model",
            Self::Credential => "credential",
        }
    }
}

/// What becomes of calls while the store cannot be asked and nothing is left of what it granted
/// before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUnavailable {
    /// An equal share of the limit, by as many replicas as there last were.
    LocalShare,
    /// They are refused.
    Deny,
    /// They are admitted, and counted.
    Allow,
}

/// The time from one reset to the next, in milliseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Period {
    /// The reset that began it.
    pub start: u64,
    /// The next one: the first millisecond after it.
    pub end: u64,
}

impl Period {
    /// Without a beginning or an end.
    pub const ENDLESS: Self = Self {
        start: 0,
        end: u64::MAX,
    };

    /// Whether it is in it.
    pub fn contains(&self, now: u64) -> bool {
        (self.start..self.end).contains(&now)
    }
}

/// Where periods begin and end.
pub trait Calendar: Send + Sync {
    /// The period that `now` is in, in milliseconds since 1970.
    fn period(&self, now: u64) -> Period;
}

/// Over which time a limit counts.
#[derive(Clone)]
pub enum Window {
    /// As long as each call runs: for [`Measure::Concurrency`].
    Running,
    /// The last so many milliseconds, at every moment.
    Sliding(Duration),
    /// From one reset to the next.
    Calendar(&'static str, Arc<dyn Calendar>),
    /// For ever.
    Total,
}

impl Window {
    /// As written in the configuration.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Sliding(_) => "second",
            Self::Calendar(name, _) => name,
            Self::Total => "total",
        }
    }

    /// As the periods of credentials' quotas are called, which are kept as limits are.
    pub const QUOTA: &'static str = "quota";

    /// Whether who is refused may soon try again: it is a matter of pace, not of a budget.
    pub fn is_short(&self) -> bool {
        match self {
            Self::Running | Self::Sliding(_) => true,
            Self::Calendar(name, _) => *name == "minute",
            Self::Total => false,
        }
    }
}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A limit as it is configured. It counts each subject of its level apart.
#[derive(Clone, Debug)]
pub struct Limit {
    /// As refusals and the management API name it. Unique within a tenant.
    pub name: Arc<str>,
    /// Of what it counts each one apart.
    pub level: Level,
    /// The subjects it is for; `None` = all of its level.
    pub only: Option<ModelRules>,
    /// What it counts.
    pub measure: Measure,
    /// Over which time.
    pub window: Window,
    /// So much, in the measure's unit.
    pub most: u64,
    /// What becomes of calls while the store is away.
    pub on_unavailable: OnUnavailable,
}
