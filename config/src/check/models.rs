//! `models` and `excluded_models`.

use std::collections::BTreeMap;

use crate::document::ModelEntry;
use crate::locate::Path;
use crate::plan::ModelPlan;

use super::Context;

pub(super) fn models(
    written: &[ModelEntry],
    section: &Path,
    context: &mut Context<'_>,
) -> Vec<ModelPlan> {
    let models: Vec<ModelPlan> = written.iter().map(model).collect();
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
        let shown = model.alias.as_deref().unwrap_or(&model.name);
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
        },
        ModelEntry::Full(model) => ModelPlan {
            name: model.name.clone(),
            alias: model.alias.clone(),
        },
    }
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
