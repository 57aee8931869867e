//! What models cost.

use turnpike_api::glob_matches;

/// The price table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PricesPlan {
    /// The first that is of a model has its price.
    pub table: Vec<PricePlan>,
    pub unknown_model: UnknownModel,
}

/// Calls of a model that has no price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownModel {
    /// They count nothing of limits in money, and are flagged.
    Count,
    /// They are refused where a limit in money is set.
    Refuse,
}

/// What a million tokens of a model cost, in millionths of a US dollar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PricePlan {
    /// Glob in lower case over the name and the kind of the provider; `None` = any.
    pub provider: Option<Box<str>>,
    /// Glob in lower case over what the provider calls the model.
    pub model: Box<str>,
    pub input: u64,
    pub output: u64,
    /// Of input that was read from the provider's prompt cache.
    pub cache_read: u64,
    /// Of input that was written to it.
    pub cache_write: u64,
}

impl PricesPlan {
    /// The price of what `provider`, of this kind, calls `model`.
    pub fn price(&self, kind: &str, provider: &str, model: &str) -> Option<&PricePlan> {
        let mut table = self.table.iter();
        table.find(|price| price.is_of(kind, provider, model))
    }
}

impl PricePlan {
    fn is_of(&self, kind: &str, provider: &str, model: &str) -> bool {
        let served = self.provider.as_deref();
        let served =
            served.is_none_or(|glob| glob_matches(glob, provider) || glob_matches(glob, kind));
        served && glob_matches(&self.model, model)
    }
}
