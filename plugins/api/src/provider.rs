use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::{Operation, Secret, Usage};

/// One call to a provider, as the path resolved it.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// What is asked.
    pub operation: Operation,
    /// The caller's method.
    pub method: &'a Method,
    /// The caller's path, normalised: one leading slash, a version segment always there, no
    /// trailing slash: `/v1/chat/completions`, `/v1beta/models/x:generateContent`.
    pub path: &'a str,
    /// The caller's query without `?`, credentials removed; empty when there is none.
    pub query: &'a str,
    /// The model's name at the provider, alias and prefix resolved; empty where the call names
    /// no model.
    pub model: &'a str,
}

/// Where a call goes below the credential's base URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Path and query, starting with `/`; appended to the base URL's path.
    pub path_and_query: String,
}

/// What was wrong with an attempt, when it was not the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// 429: asked too often; passes by itself.
    RateLimited,
    /// 401, or a 400 that says the key is not valid.
    Unauthorized,
    /// 402, or a 400 that says the account's credit is gone.
    PaymentRequired,
    /// 403.
    Forbidden,
    /// 404 for the model, which this credential cannot reach.
    ModelNotFound,
    /// 503, 529, or an in-stream event that says so.
    Overloaded,
    /// 408 or 504.
    Timeout,
    /// Any other 5xx, and what is no HTTP answer of an LLM API.
    ServerError,
    /// No connection could be made. No provider judges so: there was no answer.
    Unreachable,
}

impl Fault {
    /// As it stands in logs and metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RateLimited => "rate_limited",
            Self::Unauthorized => "unauthorized",
            Self::PaymentRequired => "payment_required",
            Self::Forbidden => "forbidden",
            Self::ModelNotFound => "model_not_found",
            Self::Overloaded => "overloaded",
            Self::Timeout => "timeout",
            Self::ServerError => "server_error",
            Self::Unreachable => "unreachable",
        }
    }

    /// Every fault, for tables, and to read them back from [`as_str`](Self::as_str).
    pub const ALL: [Self; 9] = [
        Self::RateLimited,
        Self::Unauthorized,
        Self::PaymentRequired,
        Self::Forbidden,
        Self::ModelNotFound,
        Self::Overloaded,
        Self::Timeout,
        Self::ServerError,
        Self::Unreachable,
    ];
}

/// Whose fault an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Nobody's: the caller gets it.
    Good,
    /// The caller's: it gets the provider's words; another credential would say the same.
    Caller,
    /// The credential's or the provider's: another credential may do better.
    Fault(Fault),
}

/// What a refusal says beyond whose fault it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hint {
    /// How long to stay away, counted from now. `None` when it does not say, or says what cannot
    /// be: a negative or unreadable time. A time that has passed is a wait of zero.
    pub wait: Option<Duration>,
    /// What ran out is the account's, not one model's.
    pub whole_credential: bool,
}

/// What a secret is, where a vendor wants each kind in another header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// A key that its owner made.
    #[default]
    Key,
    /// An OAuth access token.
    Bearer,
}

/// What a credential belongs to at its provider, where calls have to say so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Google Cloud's project.
    pub project: Option<String>,
    /// Google Cloud's location.
    pub location: Option<String>,
    /// The vendor's own name of the account (ChatGPT's account id).
    pub id: Option<String>,
}

/// What a [`Meter`] knows after a piece of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// No event with content yet: too early to commit a stream. Openings (a role, an empty
    /// message, a ping) are not content: an overloaded provider sends those too.
    Undecided,
    /// Content is under way.
    Open,
    /// The answer said of itself that it failed.
    Failed(Fault),
    /// The answer said of itself that it is complete, or that it ends because the caller asked
    /// what it may not. Answers that have no way to say so (audio, files) never get here: the end
    /// of their body is their end.
    Finished,
}

/// Reads an answer's body as it passes, to know its usage and whether it ended well. It never
/// changes a byte and keeps no more than one event of it.
pub trait Meter: Send {
    /// Reads the next piece and says how the whole answer stands after it: what was once
    /// [`Finished`](Progress::Finished) or [`Failed`](Progress::Failed) stays so. Pieces are cut
    /// anywhere, within characters too.
    fn read(&mut self, piece: &[u8]) -> Progress;

    /// The tokens counted so far, when the answer has said.
    fn usage(&self) -> Option<Usage>;

    /// Of an answer that [`Failed`](Progress::Failed): what its error says beyond that. `now` is
    /// in milliseconds since 1970.
    fn hint(&self, now: u64) -> Hint {
        let _ = now;
        Hint::default()
    }
}

/// How one vendor wants to be called, and what its answers mean. No I/O.
///
/// ```
/// # use turnpike_api::*;
/// fn path_of(provider: &dyn Provider) -> String {
///     let call = Call {
///         operation: Operation::ChatCompletions,
///         method: &http::Method::POST,
///         path: "/v1/chat/completions",
///         query: "",
///         model: "gpt-4o",
///     };
///     provider.target(&call).path_and_query
/// }
/// ```
pub trait Provider: Send + Sync {
    /// Whether it speaks this operation's protocol.
    fn serves(&self, operation: Operation) -> bool;

    /// Where it is reached when configuration names no `base_url`; `None` where it must.
    fn default_base_url(&self) -> Option<&'static str>;

    /// Globs, in lower case, of the models it serves when configuration names none.
    fn model_patterns(&self) -> &'static [&'static str];

    /// The models it lists when configuration names none, as of this release.
    fn known_models(&self) -> &'static [&'static str];

    /// Where a call goes. Total over the operations it [`serves`](Self::serves).
    fn target(&self, call: &Call<'_>) -> Target;

    /// The headers that carry a credential, its secret's value marked sensitive. `None` when the
    /// secret cannot stand in a header.
    fn credential_headers(
        &self,
        secret: &Secret,
        scheme: Scheme,
        account: &Account,
    ) -> Option<Vec<(HeaderName, HeaderValue)>>;

    /// How the provider is called for a Google Cloud project, and below which URL, which may
    /// begin with the configured `base_url`. `None` where it knows no projects.
    fn of_project(
        &self,
        account: &Account,
        base_url: Option<&str>,
    ) -> Option<(Arc<dyn Provider>, String)> {
        let _ = (account, base_url);
        None
    }

    /// The path of a `GET` that lists models and costs nothing, below the base URL: it tells
    /// whether a credential is good. `None` where there is none.
    fn model_list(&self) -> Option<&'static str>;

    /// Headers a call must have where the caller did not send them (`anthropic-version`).
    fn default_headers(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    /// Whether its streams of chat and text completions state their usage when the body asks for it
    /// by `stream_options.include_usage` (OpenAI's way), and only then.
    fn tells_usage_on_request(&self) -> bool {
        false
    }

    /// Whose fault an answer with this status is. `body` is as much of an error's body as was
    /// read (at least its first 64 KiB), empty for a status below 400.
    fn judge(&self, status: u16, headers: &HeaderMap, body: &[u8]) -> Judgement;

    /// What an answer that was judged a fault says beyond that, in its headers and its body. `now`
    /// is in milliseconds since 1970.
    fn hint(&self, now: u64, status: u16, headers: &HeaderMap, body: &[u8]) -> Hint;

    /// A meter for the answer: `event_stream` when its content type is `text/event-stream`.
    fn meter(&self, operation: Operation, event_stream: bool) -> Box<dyn Meter>;
}
