//! What a credential's past says of it when what is written of it has changed.

use std::collections::HashMap;

use turnpike_api::Clock;

use crate::snapshot::Snapshot;
use crate::upstream::credential::Source;
use crate::upstream::{Board, Credential};

/// Credentials keep their standings by their ids. Where the secret is another one, what became of
/// the old one says nothing of it: a key that replaces a refused one is used at once. Where the
/// file says that more or less was used, that much is counted.
pub(super) fn carry_over(before: &Snapshot, next: &Snapshot, board: &Board) {
    let before: HashMap<&str, &Credential> = before
        .usable()
        .map(|credential| (&*credential.id, &**credential))
        .collect();
    let now = board.time.now();
    for credential in next.usable() {
        let Some(old) = before.get(&*credential.id) else {
            continue;
        };
        if is_same(&old.source, &credential.source) {
            // Nothing to forget.
        } else if credential.is_account() {
            if credential.standing.forgive(now) {
                board.cooldowns_changed(&credential.standing);
            }
        } else if credential.standing.reset(now) {
            board.cooldowns_changed(&credential.standing);
        }
        recount(old, credential);
    }
}

fn is_same(one: &Source, other: &Source) -> bool {
    match (one, other) {
        (Source::Fixed(one), Source::Fixed(other)) => one.secret.expose() == other.secret.expose(),
        (Source::Minted(one), Source::Minted(other)) => one.is_kin(other),
        (Source::Fixed(_), Source::Minted(_)) | (Source::Minted(_), Source::Fixed(_)) => false,
    }
}

/// What was used before this gateway counted, of the period that runs.
fn recount(old: &Credential, new: &Credential) {
    let allowance = &new.standing.allowance;
    let start = allowance.running().start;
    let (before, now) = (old.quota.spent_before(start), new.quota.spent_before(start));
    if before != now {
        allowance.set_spent((allowance.spent() + now).saturating_sub(before));
    }
}
