//! The section `prices`, and the file that it names.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::amount::Amount;

/// What models cost, for limits in `usd`.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Prices {
    /// Takes the place of the table that is built in, `config/prices.yaml`.
    pub(crate) file: Option<String>,
    /// Calls of a model that the table does not have: `count` them as if they cost nothing, and flag
    /// it, or `refuse` them to whom a limit in `usd` is set, with calls whose answers say nothing of
    /// what they used. Where there are such limits, models that are listed by name must have a price.
    pub(crate) unknown_model: UnknownModel,
}

#[derive(Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
#[serde(rename_all = "snake_case")]
pub(crate) enum UnknownModel {
    #[default]
    Count,
    Refuse,
}

/// A file of prices.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PriceFile {
    /// Of the file's format.
    pub(crate) version: u32,
    /// The first entry that fits is the model's.
    pub(crate) prices: Vec<PriceEntry>,
}

/// In US dollars per million tokens.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PriceEntry {
    /// The name or the kind of the provider, with `*`; the default is any.
    #[serde(default)]
    pub(crate) provider: Option<String>,
    /// What the provider calls the model, with `*`.
    pub(crate) model: String,
    pub(crate) input: Amount,
    pub(crate) output: Amount,
    /// Of input that was in the provider's prompt cache; the default is as `input`.
    #[serde(default)]
    pub(crate) cache_read: Option<Amount>,
    /// Of input that was put there; the default is as `input`.
    #[serde(default)]
    pub(crate) cache_write: Option<Amount>,
}
