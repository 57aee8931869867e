//! What is told of one provider's model.
//!
//! How long calls took, and what they used, is counted by operation, provider and model, once: what is
//! exposed of it under our names and OpenTelemetry's is [derived](super::derived).

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus::proto::MetricFamily;
use prometheus::{Counter, CounterVec, Error, Histogram, HistogramVec, IntCounter, IntCounterVec};
use turnpike_api::{Operation, Usage};

use super::catalogue::*;
use super::derived::{Labels, sum};
use super::family::{Families, Family};
use super::labels::*;

/// Handles by operation, in the order of [`Operation::ALL`].
type ByOperation<T> = [T; Operation::ALL.len()];

/// The metrics that tell models apart.
pub struct ModelFamilies {
    tokens: Family<IntCounterVec>,
    cost: Family<CounterVec>,
    usage_missing: Family<IntCounterVec>,
    calls: Family<HistogramVec>,
    first: Family<HistogramVec>,
    per_token: Family<HistogramVec>,
    used: Family<HistogramVec>,
    /// Requests that no model was called for.
    refused: Family<HistogramVec>,
    refused_of: ByOperation<Histogram>,
}

/// One provider's model. Its series are made when it is first used: a listing of a thousand models is
/// not ten thousand series of nought.
#[derive(Clone)]
pub struct ModelMetrics(Arc<OfModel>);

struct OfModel {
    families: Arc<ModelFamilies>,
    provider: Box<str>,
    model: Box<str>,
    tokens: OnceLock<Tokens>,
    cost: OnceLock<Counter>,
    operations: ByOperation<OnceLock<Box<OfOperation>>>,
}

struct Tokens {
    input: IntCounter,
    output: IntCounter,
    cache_read: IntCounter,
    cache_write: IntCounter,
    reasoning: IntCounter,
}

#[derive(Default)]
struct OfOperation {
    good: OnceLock<Histogram>,
    first: OnceLock<Histogram>,
    per_token: OnceLock<Histogram>,
    /// Input and output.
    used: OnceLock<[Histogram; 2]>,
}

/// How a call that a provider was asked for ended otherwise than well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallError {
    Client,
    Server,
    Incomplete,
    ClientGone,
}

impl CallError {
    pub const ALL: [Self; 4] = [
        Self::Client,
        Self::Server,
        Self::Incomplete,
        Self::ClientGone,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "4xx",
            Self::Server => "5xx",
            Self::Incomplete => "incomplete",
            Self::ClientGone => "client_gone",
        }
    }
}

/// What the sums are made of.
const CALLS: Metric = Metric {
    name: "calls",
    labels: &[OPERATION, PROVIDER, MODEL, ERROR_TYPE],
    ..GEN_AI_DURATION
};
const FIRST: Metric = Metric {
    name: "first",
    labels: &[OPERATION, PROVIDER, MODEL],
    ..GEN_AI_FIRST_TOKEN
};
const PER_TOKEN: Metric = Metric {
    name: "per_token",
    labels: &[OPERATION, PROVIDER, MODEL],
    ..GEN_AI_PER_TOKEN
};
const USED: Metric = Metric {
    name: "used",
    labels: &[OPERATION, PROVIDER, MODEL, TOKEN_TYPE],
    ..GEN_AI_USAGE
};
const REFUSED: Metric = Metric {
    name: "refused",
    ..DURATION_SECONDS
};

impl ModelFamilies {
    pub fn new(families: &Families) -> Result<Self, Error> {
        let refused: Family<HistogramVec> = families.hidden(&REFUSED)?;
        Ok(Self {
            tokens: families.family(&TOKENS)?,
            cost: families.family(&COST)?,
            usage_missing: families.family(&USAGE_MISSING)?,
            calls: families.hidden(&CALLS)?,
            first: families.hidden(&FIRST)?,
            per_token: families.hidden(&PER_TOKEN)?,
            used: families.hidden(&USED)?,
            refused_of: Operation::ALL.map(|operation| refused.with(&[operation.as_str()])),
            refused,
        })
    }

    /// A request is over that no model was called for.
    pub fn refused(&self, operation: Operation, took: Duration) {
        self.refused_of[operation as usize].observe(took.as_secs_f64());
    }

    /// What is made of what was counted.
    pub fn derived(&self) -> Vec<MetricFamily> {
        let (calls, refused) = (self.calls.series(), self.refused.series());
        let (first, per_token) = (self.first.series(), self.per_token.series());
        let used = self.used.series();
        vec![
            sum(&DURATION_SECONDS, &[calls, refused], by_operation),
            sum(&FIRST_CHUNK_SECONDS, &[first], by_operation),
            sum(&PER_TOKEN_SECONDS, &[per_token], by_operation),
            sum(&GEN_AI_DURATION, &[calls], |of| {
                gen_ai(of, Some("error_type"))
            }),
            sum(&GEN_AI_FIRST_TOKEN, &[first], |of| gen_ai(of, None)),
            sum(&GEN_AI_PER_TOKEN, &[per_token], |of| gen_ai(of, None)),
            sum(&GEN_AI_USAGE, &[used], |of| {
                gen_ai(of, Some("gen_ai_token_type"))
            }),
        ]
    }
}

fn by_operation(of: &Labels<'_>) -> Vec<String> {
    vec![of.get("operation").to_owned()]
}

/// As OpenTelemetry's conventions have it.
fn gen_ai(of: &Labels<'_>, more: Option<&str>) -> Vec<String> {
    let operation = of.get("operation");
    let is_it = |one: &Operation| one.as_str() == operation;
    let known = Operation::ALL.into_iter().find(is_it);
    let operation = match known {
        Some(known) => convention(known),
        None => operation,
    };
    let mut values = vec![
        operation.to_owned(),
        of.get("provider").to_owned(),
        of.get("model").to_owned(),
    ];
    values.extend(more.map(|name| of.get(name).to_owned()));
    values
}

/// What the conventions call an operation; our own word where they have none.
pub(super) fn convention(operation: Operation) -> &'static str {
    match operation {
        Operation::ChatCompletions | Operation::Responses | Operation::Messages => "chat",
        Operation::GenerateContent | Operation::StreamGenerateContent => "generate_content",
        Operation::Completions => "text_completion",
        Operation::Embeddings | Operation::EmbedContent => "embeddings",
        Operation::CountMessageTokens | Operation::CountTokens | Operation::PassThrough => {
            operation.as_str()
        }
    }
}

impl ModelMetrics {
    pub fn new(families: Arc<ModelFamilies>, provider: &str, model: &str) -> Self {
        Self(Arc::new(OfModel {
            families,
            provider: provider.into(),
            model: model.into(),
            tokens: OnceLock::new(),
            cost: OnceLock::new(),
            operations: Default::default(),
        }))
    }

    /// The provider has counted so many more tokens.
    pub fn used(&self, usage: &Usage) {
        let of = &*self.0;
        let handles = of.tokens.get_or_init(|| {
            let kind = |kind| of.families.tokens.with(&[&of.provider, &of.model, kind]);
            Tokens {
                input: kind("input"),
                output: kind("output"),
                cache_read: kind("cache_read"),
                cache_write: kind("cache_write"),
                reasoning: kind("reasoning"),
            }
        });
        let count = |counter: &IntCounter, tokens| {
            if tokens > 0 {
                counter.inc_by(tokens);
            }
        };
        count(&handles.input, usage.input);
        count(&handles.output, usage.output);
        count(&handles.cache_read, usage.cache_read);
        count(&handles.cache_write, usage.cache_write);
        count(&handles.reasoning, usage.reasoning);
    }

    /// A call cost so much more, in millionths of a US dollar.
    pub fn cost(&self, millionths: u64) {
        let of = &*self.0;
        let made = || of.families.cost.with(&[&of.provider, &of.model]);
        of.cost
            .get_or_init(made)
            .inc_by(millionths as f64 / 1_000_000.0);
    }

    /// A good answer said nothing of what it used.
    pub fn missing(&self) {
        let of = &*self.0;
        of.families
            .usage_missing
            .with(&[&of.provider, &of.model])
            .inc();
    }

    /// The first of a stream goes to the caller, so long after the request's head.
    pub fn first_chunk(&self, operation: Operation, after: Duration) {
        let of = &*self.0;
        let made = || of.families.first.with(&of.labels(operation));
        let first = &of.operation(operation).first;
        first.get_or_init(made).observe(after.as_secs_f64());
    }

    /// The request is over.
    pub fn ended(&self, operation: Operation, error: Option<CallError>, took: Duration) {
        let of = &*self.0;
        let series = |error| {
            let [operation, provider, model] = of.labels(operation);
            of.families.calls.with(&[operation, provider, model, error])
        };
        let took = took.as_secs_f64();
        match error {
            None => {
                let good = &of.operation(operation).good;
                good.get_or_init(|| series("")).observe(took);
            }
            Some(error) => series(error.as_str()).observe(took),
        }
    }

    /// It used this in all.
    pub fn usage(&self, operation: Operation, usage: &Usage) {
        let of = &*self.0;
        let used = of.operation(operation).used.get_or_init(|| {
            let [operation, provider, model] = of.labels(operation);
            ["input", "output"].map(|kind| {
                let used = &of.families.used;
                used.with(&[operation, provider, model, kind])
            })
        });
        used[0].observe(usage.input as f64);
        used[1].observe(usage.output as f64);
    }

    /// A good stream was over so long after its first chunk, with so many tokens.
    pub fn per_token(&self, operation: Operation, took: Duration, tokens: u64) {
        let of = &*self.0;
        // The first token came with the first chunk.
        let Some(more @ 1..) = tokens.checked_sub(1) else {
            return;
        };
        let made = || of.families.per_token.with(&of.labels(operation));
        let per_token = &of.operation(operation).per_token;
        per_token
            .get_or_init(made)
            .observe(took.as_secs_f64() / more as f64);
    }
}

impl OfModel {
    fn operation(&self, operation: Operation) -> &OfOperation {
        self.operations[operation as usize].get_or_init(Box::default)
    }

    fn labels(&self, operation: Operation) -> [&str; 3] {
        [operation.as_str(), &self.provider, &self.model]
    }
}
