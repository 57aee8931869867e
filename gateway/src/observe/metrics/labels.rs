//! The labels of metrics, and where the values of each come from. No label has values that a caller
//! chooses: who asks for a hundred thousand models makes no series.

use turnpike_api::{Fault, Measure, Operation};

use super::model::{CallError, convention};
use crate::refusal::Reason;
use crate::upstream::roll::Status;

/// What a value is counted under that there was no room for.
pub const OTHER: &str = "other";

/// One label.
#[derive(Clone, Copy)]
pub struct Label {
    pub name: &'static str,
    /// What it says.
    pub what: &'static str,
    pub bound: Bound,
}

/// How many values there can be.
#[derive(Clone, Copy)]
pub enum Bound {
    /// These words.
    Words(fn() -> Vec<&'static str>),
    /// As many as there are: how many that is.
    There(&'static str),
    /// As many as another label has.
    As(&'static str),
    /// The first so many that were seen since the start; those that come after are [`OTHER`]. One that the
    /// configuration has no more keeps its place: its series go on. Gauges of what there is tell of all
    /// there are: the configuration bounds them.
    First(usize),
}

macro_rules! labels {
    ($( $label:ident = $name:literal, $bound:expr, $what:literal; )*) => {
        $( pub const $label: Label = Label { name: $name, what: $what, bound: $bound }; )*

        /// Every label there is.
        pub const LABELS: &[Label] = &[$($label),*];
    };
}

use Bound::{As, First, There, Words};

labels! {
    OPERATION = "operation", Words(operations), "what was called; `none` = a path that names no operation";
    STATUS = "status", Words(statuses), "the answer's status; 499 = the caller left first";
    REASON = "reason", Words(reasons), "why the gateway refused or cut the answer; empty = it did not";
    PROVIDER = "provider", First(1_000), "a provider of the configuration";
    MODEL = "model", First(256), "a model as its provider calls it; `other` = one that no listing names; `none` = a call that names none";
    TENANT = "tenant", First(1_000), "a tenant of the configuration; empty = of none";
    CREDENTIAL = "credential", First(10_000), "an upstream credential's id";
    OUTCOME = "outcome", Words(outcomes), "what became of the call";
    FAULT = "fault", Words(faults), "what the provider said";
    SCOPE = "scope", Words(|| vec!["credential", "model"]), "what of it is left alone";
    STATE = "state", Words(states), "how it stands";
    RECOVERED_BY = "by", Words(|| vec!["call", "probe", "operator", "new_secret"]), "what showed it";
    PROBED = "result", Words(|| vec!["good", "refused", "broken"]), "what the provider said";
    TOKEN_KIND = "kind", Words(|| vec!["input", "output", "cache_read", "cache_write", "reasoning"]), "what they were";
    USED_KIND = "kind", Words(|| vec!["input", "output"]), "of the prompt, or of the answer";
    COMPUTED = "kind", Words(|| vec!["agent_token", "jwt"]), "a token's hash, or a signature";
    DONE = "result", Words(|| vec!["ok", "failed"]), "whether it was done";
    SENT = "result", Words(|| vec!["sent", "refused", "no_room", "lost"]), "what became of them: `no_room` and `lost` = dropped";
    WAITED = "result", Words(|| vec!["served", "given_up"]), "whether one came back in time";
    SESSION = "result", Words(|| vec!["kept", "other"]), "whether it was the session's credential";
    FILE_STATE = "state", Words(|| vec!["good", "error"]), "whether it can be used";
    STORE_WHAT = "what", Words(|| STORE_WHAT_WORDS.to_vec()), "what it was about";
    GEN_AI_OPERATION = "gen_ai_operation_name", Words(conventions), "what was called";
    GEN_AI_PROVIDER = "gen_ai_provider_name", As("provider"), "a provider of the configuration";
    GEN_AI_MODEL = "gen_ai_request_model", As("model"), "a model as its provider calls it";
    ERROR_TYPE = "error_type", Words(errors), "how it ended, if not well; empty = well";
    TOKEN_TYPE = "gen_ai_token_type", Words(|| vec!["input", "output"]), "what they were";
    LOGIN = "outcome", Words(|| vec!["granted", "denied", "failed"]), "denied by a role or the authorization API, or failed before it was known who it is";
    RENEWAL = "outcome", Words(|| vec!["renewed", "ended", "not_renewed"]), "ended by its provider, or not renewed and tried again";
    MEASURE = "measure", Words(measures), "what the limits count";
    STORE_OPERATION = "operation", Words(|| STORE_OPERATIONS.to_vec()), "what was asked of it";
    VERSION = "version", There("one"), "the release";
    LABEL = "label", Words(capped), "which label";
    CERTIFICATE = "certificate", There("as many as are configured"), "its file, as configured";
    SINK = "sink", There("as many as are configured"), "an audit sink of the configuration";
}

/// What the store is asked.
const STORE_OPERATIONS: &[&str] = &[
    "claim",
    "draw",
    "forget_spent",
    "forget_usage",
    "get",
    "latest",
    "list",
    "post",
    "put",
    "release",
    "remove",
    "share_usage",
    "since",
    "spent",
    "usage_days",
    "usage_of",
];

/// What the store may fail at.
const STORE_WHAT_WORDS: &[&str] = &[
    "cooldown",
    "limits",
    "news",
    "retention",
    "session_renewal",
    "token_use",
    "usage",
    "usage_shared",
];

impl Label {
    /// Whether a value is one of its words, where it has words.
    pub fn has(&self, value: &str) -> bool {
        match self.bound {
            Words(words) => words().contains(&value),
            As(_) | There(_) | First(_) => true,
        }
    }
}

/// Labels that have a bound of their own.
fn capped() -> Vec<&'static str> {
    let capped = LABELS
        .iter()
        .filter(|label| matches!(label.bound, First(_)));
    capped.map(|label| label.name).collect()
}

fn operations() -> Vec<&'static str> {
    let all = Operation::ALL.map(Operation::as_str);
    all.into_iter().chain(["none"]).collect()
}

fn conventions() -> Vec<&'static str> {
    let mut words = Operation::ALL.map(convention).to_vec();
    words.sort_unstable();
    words.dedup();
    words
}

fn errors() -> Vec<&'static str> {
    let all = CallError::ALL.map(CallError::as_str);
    [""].into_iter().chain(all).collect()
}

fn measures() -> Vec<&'static str> {
    Measure::ALL.map(Measure::as_str).to_vec()
}

fn reasons() -> Vec<&'static str> {
    let refusals = Reason::ALL.map(|reason| reason.words().reason);
    let others = ["", "client_gone", "aborted"];
    others.into_iter().chain(refusals).collect()
}

fn faults() -> Vec<&'static str> {
    Fault::ALL.map(Fault::as_str).to_vec()
}

fn outcomes() -> Vec<&'static str> {
    let others = [
        "ok",
        "client_gone",
        "cut",
        "cut_here",
        "incomplete",
        "late",
        "no_token",
        "stale",
        "timed_out",
    ];
    others.into_iter().chain(faults()).collect()
}

fn states() -> Vec<&'static str> {
    Status::ALL.map(Status::as_str).to_vec()
}

/// Statuses as labels without formatting; what no gateway or vendor sends is `other`.
pub fn status(status: u16) -> &'static str {
    let known = STATUSES.iter().find(|(number, _)| *number == status);
    known.map_or(OTHER, |(_, word)| word)
}

fn statuses() -> Vec<&'static str> {
    let known = STATUSES.iter().map(|(_, word)| *word);
    known.chain([OTHER]).collect()
}

const STATUSES: &[(u16, &str)] = &[
    (200, "200"),
    (201, "201"),
    (202, "202"),
    (204, "204"),
    (400, "400"),
    (401, "401"),
    (402, "402"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (408, "408"),
    (409, "409"),
    (413, "413"),
    (415, "415"),
    (422, "422"),
    (429, "429"),
    (499, "499"),
    (500, "500"),
    (502, "502"),
    (503, "503"),
    (504, "504"),
    (529, "529"),
];
