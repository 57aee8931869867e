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
        }
    }
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

/// What a [`Meter`] knows after a piece of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// No complete event yet: too early to commit a stream.
    Undecided,
    /// The answer is under way.
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

    /// The headers that carry a credential, their values marked sensitive. `None` when the secret
    /// cannot stand in a header.
    fn credential_headers(&self, secret: &Secret) -> Option<Vec<(HeaderName, HeaderValue)>>;

    /// Headers a call must have where the caller did not send them (`anthropic-version`).
    fn default_headers(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    /// Whose fault an answer with this status is. `body` is as much of an error's body as was
    /// read (at least its first 64 KiB), empty for a status below 400.
    fn judge(&self, status: u16, headers: &HeaderMap, body: &[u8]) -> Judgement;

    /// A meter for the answer: `event_stream` when its content type is `text/event-stream`.
    fn meter(&self, operation: Operation, event_stream: bool) -> Box<dyn Meter>;
}
