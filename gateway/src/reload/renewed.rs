//! What a credential's past says of it when what is written of it has changed.

use crate::observe::events::CredentialRecovered;
use crate::observe::metrics::Metrics;
use crate::snapshot::Snapshot;
use crate::upstream::Board;

/// Puts the standings of the next snapshot's credentials in force. Where the secret is another one,
/// so is the standing: a key that replaces a refused one is used at once. Where the file says that
/// more or less was used, that much is counted.
pub(crate) fn carry_over(next: &Snapshot, board: &Board, metrics: &Metrics) {
    for credential in next.usable() {
        let standing = &credential.standing;
        if let Some(replaced) = board.enter(standing) {
            board.cooldowns_changed(standing);
            if standing.cooldowns().len() < replaced.cooldowns().len() {
                CredentialRecovered {
                    credential,
                    model: None,
                    by: "new_secret",
                    metrics,
                }
                .tell();
            }
        }
        let start = standing.allowance.running().start;
        let before = credential.quota.spent_before(start);
        standing.allowance.recount(start, before);
    }
}
