//! Which strategy chooses among credentials: `auth.selection_strategy`, or `routing.strategy`.

use crate::document::{Document, Strategy};
use crate::locate::Path;
use crate::plan::Selection;

use super::Context;

pub(super) fn selection(document: &Document, context: &mut Context<'_>) -> Selection {
    let key = Path::default().field("auth").field("selection_strategy");
    let alias = Path::default().field("routing").field("strategy");
    let written = context.either(
        (&key, document.auth.selection_strategy),
        (&alias, document.routing.strategy),
    );
    written.map_or(Selection::RoundRobin, |(_, strategy)| of(strategy))
}

pub(super) fn of(written: Strategy) -> Selection {
    match written {
        Strategy::RoundRobin => Selection::RoundRobin,
        Strategy::FillFirst => Selection::FillFirst,
        Strategy::Priority => Selection::Priority,
        Strategy::QuotaAware => Selection::QuotaAware,
        Strategy::Weighted => Selection::Weighted,
    }
}
