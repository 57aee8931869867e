//! The section `prices`: the table that is built in, or the file that takes its place.

use std::collections::BTreeSet;
use std::sync::Arc;

use turnpike_api::{Limit, Measure, glob_matches};

use crate::document::{Amount, PriceEntry, PriceFile, Prices, Unfit, UnknownModel as Written};
use crate::locate::{Path, Report};
use crate::plan::{ModelPlan, PricePlan, PricesPlan, ProviderPlan, UnknownModel};
use crate::resolve::{self, Resolver};
use crate::{read_tree, schema, shape};

use super::Context;

const BUILT_IN: &str = include_str!("../../prices.yaml");

/// The version of the format that this release reads.
const VERSION: u32 = 1;

/// How many models a warning names.
const NAMED: usize = 8;

pub(super) fn prices(written: &Prices, context: &mut Context<'_>) -> PricesPlan {
    let key = Path::default().field("prices").field("file");
    let table = match &written.file {
        None => table(BUILT_IN, "prices.yaml (built in)", context),
        Some(file) => match text(file, &key, context) {
            Some((name, text)) => table(&text, &name, context),
            None => Vec::new(),
        },
    };
    PricesPlan {
        table,
        unknown_model: match written.unknown_model {
            Written::Count => UnknownModel::Count,
            Written::Refuse => UnknownModel::Refuse,
        },
    }
}

/// The name and the contents of the file.
fn text(file: &str, key: &Path, context: &mut Context<'_>) -> Option<(String, String)> {
    let path = context.readable(key, file);
    if context.report.is_broken(key) {
        return None;
    }
    let name = path.display().to_string();
    match std::fs::read_to_string(&path) {
        Ok(text) => Some((name, text)),
        Err(error) => {
            let why = resolve::reason(&error);
            let message = format!("cannot read the file {name}: {why}");
            context.report.at(key, message);
            None
        }
    }
}

/// The prices of a file; its mistakes are reported with their lines in it.
fn table(text: &str, name: &str, context: &mut Context<'_>) -> Vec<PricePlan> {
    let mut report = Report::new(name.to_owned());
    let table = read(text, &mut report, context).unwrap_or_default();
    context.report.join(report);
    table
}

fn read(text: &str, report: &mut Report, context: &Context<'_>) -> Option<Vec<PricePlan>> {
    let tree = read_tree(text, report)?;
    let mut resolver = Resolver {
        base_dir: context.base_dir,
        environment: context.environment,
        sources: Vec::new(),
    };
    let value = shape::fit(&tree, &schema::PRICES, &mut resolver, report);
    report.made_of(tree);
    let Ok(file) = serde_json::from_value::<PriceFile>(value?) else {
        report.nowhere(
            "",
            "does not fit the document types although it fits their schema",
        );
        return None;
    };
    if file.version != VERSION {
        let message = format!("this release reads version {VERSION} of the format");
        report.at(&Path::default().field("version"), message);
    }
    let mut table: Vec<PricePlan> = Vec::new();
    for (index, entry) in file.prices.iter().enumerate() {
        let at = Path::default().field("prices").item(index);
        let price = price(entry, &at, report);
        if let Some(earlier) = table.iter().position(|earlier| covers(earlier, &price)) {
            let earlier = Path::default().field("prices").item(earlier);
            let earlier = report.whereabouts(&earlier);
            let message = format!("{earlier} is for all of these already; write this one above it");
            report.at(&at, message);
        }
        table.push(price);
    }
    Some(table)
}

/// Whether nothing is left for `later`. A glob that matches another as a text matches whatever that
/// one matches.
fn covers(earlier: &PricePlan, later: &PricePlan) -> bool {
    let provider = match (&earlier.provider, &later.provider) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(earlier), Some(later)) => glob_matches(earlier, later),
    };
    provider && glob_matches(&earlier.model, &later.model)
}

fn price(entry: &PriceEntry, at: &Path, report: &mut Report) -> PricePlan {
    let provider = entry.provider.as_deref();
    let provider = provider.map(|name| glob(name, &at.field("provider"), report));
    let model = glob(&entry.model, &at.field("model"), report);
    let mut units = |field: &'static str, amount: &Amount| units(amount, &at.field(field), report);
    let input = units("input", &entry.input);
    let output = units("output", &entry.output);
    let mut cached = |field: &'static str, amount: &Option<Amount>| {
        let amount = amount.as_ref();
        amount.map_or(input, |amount| units(field, amount))
    };
    PricePlan {
        provider,
        model,
        input,
        output,
        cache_read: cached("cache_read", &entry.cache_read),
        cache_write: cached("cache_write", &entry.cache_write),
    }
}

fn glob(written: &str, key: &Path, report: &mut Report) -> Box<str> {
    let name = written.trim();
    if name.is_empty() || name.starts_with('!') {
        let message = "expected a name; `*` is any run of characters";
        report.at(key, message);
    }
    name.to_ascii_lowercase().into()
}

/// Millionths of a dollar.
fn units(amount: &Amount, key: &Path, report: &mut Report) -> u64 {
    let message = match amount.units(6) {
        Ok(units) => return units,
        Err(Unfit::TooFine) => "expected dollars per million tokens, with at most six places",
        Err(Unfit::TooMuch) => "expected at most 9007199254 dollars",
    };
    report.at(key, message);
    0
}

/// Models that a limit in money would not count, or would have refused to its callers.
pub(super) fn check_unpriced<'l>(
    prices: &PricesPlan,
    providers: &[ProviderPlan],
    mut limits: impl Iterator<Item = &'l Limit>,
    context: &mut Context<'_>,
) {
    let counts_money = limits.any(|limit| limit.measure == Measure::Usd);
    if !counts_money {
        return;
    }
    let key = Path::default().field("prices");
    for provider in providers {
        let unpriced = unpriced(prices, provider);
        if unpriced.is_empty() {
            continue;
        }
        let named: Vec<String> = unpriced
            .iter()
            .take(NAMED)
            .map(|name| format!("`{name}`"))
            .collect();
        let more = match unpriced.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let what = format!(
            "no price for {}{more} of the provider {}",
            named.join(", "),
            provider.name
        );
        match prices.unknown_model {
            UnknownModel::Count => {
                let message = format!(
                    "{what}, so limits in usd do not count them; write their prices into a file for \
                     `prices.file`, or `unknown_model: refuse`"
                );
                context.warn(&key, message);
            }
            UnknownModel::Refuse => {
                let message = format!(
                    "{what}, so it would refuse them to callers with limits in usd; write their prices \
                     into a file for `prices.file`, or take them out of its `models`"
                );
                context.report.at(&key.field("unknown_model"), message);
            }
        }
    }
}

/// Of the models that are listed here by name: those of patterns are not known.
fn unpriced<'p>(prices: &PricesPlan, provider: &'p ProviderPlan) -> BTreeSet<&'p str> {
    let credentials = provider.credentials.iter();
    let (lists, own) = (
        credentials.map(|one| &one.models),
        &provider.settings.models,
    );
    let others = lists.filter(|models| !Arc::ptr_eq(models, own));
    let models = others.chain([own]).flat_map(|models| models.iter());
    let names = models.map(|model: &ModelPlan| model.name.as_str());
    names
        .filter(|name| !name.contains('*'))
        .filter(|name| prices.price(&provider.kind, &provider.name, name).is_none())
        .collect()
}
