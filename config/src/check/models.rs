//! `models` and `excluded_models`.

use std::collections::{BTreeMap, BTreeSet};

use crate::document::ModelEntry;
use crate::locate::Path;
use crate::plan::ModelPlan;

use super::Context;

/// A model that stands in for another, as clients call them.
pub(crate) struct Preview {
    key: Path,
    model: String,
    stands_for: String,
}

pub(super) fn models(
    written: &[ModelEntry],
    section: &Path,
    context: &mut Context<'_>,
) -> Vec<ModelPlan> {
    let models: Vec<ModelPlan> = written.iter().map(model).collect();
    for (index, model) in models.iter().enumerate() {
        check_twins(model, &section.item(index), context);
    }
    let mut served: BTreeMap<&str, &str> = BTreeMap::new();
    for (index, model) in models.iter().enumerate() {
        let at = section.item(index);
        if model.name.trim().is_empty() {
            context.report.at(
                &at.field("name"),
                "empty; write what the provider calls the model",
            );
        }
        if model
            .alias
            .as_ref()
            .is_some_and(|alias| alias.trim().is_empty())
        {
            context.report.at(
                &at.field("alias"),
                "empty; write a name or leave the key out",
            );
        }
        if model.alias.as_deref() == Some("") || model.name.is_empty() {
            continue;
        }
        let shown = model.shown();
        let other = served
            .insert(shown, &model.name)
            .filter(|other| *other != model.name);
        if let Some(other) = other {
            let message = format!("`{shown}` already stands for the model `{other}` here");
            context.report.at(&at.field("alias"), message);
        }
    }
    models
}

fn model(written: &ModelEntry) -> ModelPlan {
    match written {
        ModelEntry::Plain(name) => ModelPlan {
            name: name.clone(),
            alias: None,
            preview_of: None,
            fallback: Vec::new(),
        },
        ModelEntry::Full(model) => ModelPlan {
            name: model.name.clone(),
            alias: model.alias.clone(),
            preview_of: model.preview_of.clone(),
            fallback: model.fallback.clone(),
        },
    }
}

/// `preview_of` and `fallback`. Whether somebody serves those models is not known here: kinds have
/// patterns of their own, and credential files bring more.
fn check_twins(model: &ModelPlan, at: &Path, context: &mut Context<'_>) {
    if let Some(stands_for) = &model.preview_of {
        let key = at.field("preview_of");
        match check_twin(stands_for, model) {
            Ok(()) => context.previews.push(Preview {
                key,
                model: model.shown().to_owned(),
                stands_for: stands_for.clone(),
            }),
            Err(message) => context.report.at(&key, message),
        }
    }
    for (index, name) in model.fallback.iter().enumerate() {
        let key = at.field("fallback").item(index);
        if let Err(message) = check_twin(name, model) {
            context.report.at(&key, message);
        } else if model.fallback[..index].contains(name) {
            context.report.at(&key, "written twice; remove one");
        }
    }
}

fn check_twin(name: &str, model: &ModelPlan) -> Result<(), &'static str> {
    if name.trim().is_empty() {
        Err("empty; write the name of a model as clients use it")
    } else if name.contains('*') {
        Err("expected the name of one model, without `*`")
    } else if name == model.shown() {
        Err("the model itself; write another or leave the key out")
    } else {
        Ok(())
    }
}

/// Models that stand in for one another would never let go of a request.
pub(super) fn refuse_preview_cycles(context: &mut Context<'_>) {
    let previews = std::mem::take(&mut context.previews);
    let mut by_model: BTreeMap<&str, Vec<&Preview>> = BTreeMap::new();
    for preview in &previews {
        let same_model = by_model.entry(&preview.model).or_default();
        // Every entry of a list may say the same.
        if same_model
            .iter()
            .all(|other| other.stands_for != preview.stands_for)
        {
            same_model.push(preview);
        }
    }
    let mut seen = BTreeSet::new();
    for model in by_model.keys() {
        follow(model, &by_model, &mut Vec::new(), &mut seen, context);
    }
}

fn follow<'a>(
    model: &'a str,
    by_model: &BTreeMap<&str, Vec<&'a Preview>>,
    above: &mut Vec<&'a str>,
    seen: &mut BTreeSet<&'a str>,
    context: &mut Context<'_>,
) {
    if !seen.insert(model) {
        return;
    }
    above.push(model);
    for preview in by_model.get(model).into_iter().flatten() {
        let start = above.iter().position(|name| *name == preview.stands_for);
        let Some(start) = start else {
            follow(&preview.stands_for, by_model, above, seen, context);
            continue;
        };
        let circle: Vec<String> = above[start..]
            .iter()
            .map(|name| format!("`{name}`"))
            .collect();
        let message = format!(
            "goes round in a circle: {} stand in for one another",
            circle.join(", ")
        );
        context.report.at(&preview.key, message);
    }
    above.pop();
}

pub(super) fn excluded(
    written: &[String],
    section: &Path,
    context: &mut Context<'_>,
) -> Vec<String> {
    for (index, name) in written.iter().enumerate() {
        if name.trim().is_empty() {
            context
                .report
                .at(&section.item(index), "empty; write the name of a model");
        }
    }
    written.to_vec()
}
