//! What a credential's past says of it when what is written of it has changed.

use std::collections::BTreeSet;
use std::sync::Arc;

use turnpike_audit::events::CredentialChanged;

use crate::audit::Audit;
use crate::observe::events::CredentialRecovered;
use crate::observe::metrics::Metrics;
use crate::snapshot::Snapshot;
use crate::upstream::Board;

/// Puts the standings of the next snapshot's credentials in force. Where the secret is another one,
/// so is the standing: a key that replaces a refused one is used at once. Where the file says that
/// more or less was used, that much is counted.
pub(crate) fn carry_over(next: &Snapshot, board: &Board, metrics: &Metrics, audit: &Audit) {
    audit.leave_by(&next.egress);
    for credential in next.usable() {
        let standing = &credential.standing;
        if let Some(replaced) = board.enter(standing) {
            board.cooldowns_changed(standing);
            audit.tell(&CredentialChanged {
                change: "new_secret",
                credential: &credential.id,
            });
            if standing.cooldowns().len() < replaced.cooldowns().len() {
                CredentialRecovered {
                    credential,
                    model: None,
                    by: "new_secret",
                    metrics,
                    audit,
                }
                .tell();
            }
        }
        let start = standing.allowance.running().start;
        let before = credential.quota.spent_before(start);
        standing.allowance.recount(start, before);
    }
}

/// Tells which credentials there are now and were not before, and the other way round.
pub(super) fn tell_who_came(before: &Snapshot, next: &Snapshot, audit: &Audit) {
    let ids = |snapshot: &Snapshot| -> BTreeSet<Arc<str>> {
        snapshot.usable().map(|one| one.id.clone()).collect()
    };
    let (before, next) = (ids(before), ids(next));
    for (change, ids) in [("added", &next - &before), ("removed", &before - &next)] {
        for credential in &ids {
            audit.tell(&CredentialChanged { change, credential });
        }
    }
}
