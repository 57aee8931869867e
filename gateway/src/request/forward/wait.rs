//! Waiting for a credential that is soon back.

use std::pin::pin;
use std::time::Instant;

use pingora::protocols::http::ServerSession;
use turnpike_api::{Clock, Operation};

use super::exchange::watching;
use crate::clock::millis;
use crate::context::Context;
use crate::request::Stop;
use crate::upstream::Pool;

/// One request's wait. There is one: how long it lasts is settled when it begins.
#[derive(Default)]
pub(super) struct Wait {
    until: Option<u64>,
}

impl Wait {
    /// Whether the request has waited.
    pub(super) fn has_begun(&self) -> bool {
        self.until.is_some()
    }

    /// Waits until one of the pool may be tried; false when nobody is back in time. The caller is
    /// watched meanwhile.
    pub(super) async fn for_somebody(
        &mut self,
        session: &mut ServerSession,
        context: &mut Context<'_>,
        pool: &Pool,
        operation: Operation,
        deadline: Instant,
    ) -> Result<bool, Stop> {
        let board = &context.runtime.board;
        let left = deadline.saturating_duration_since(Instant::now());
        let longest = millis(context.snapshot.max_retry_interval.min(left));
        let until = *self.until.get_or_insert_with(|| board.time.now() + longest);
        // Before the look: a change after it is not missed.
        let mut changes = board.watch();
        let began = Instant::now();
        let mut waited = false;
        let somebody = loop {
            let now = board.time.now();
            let outlook = pool.outlook(now, operation);
            // Also where the time is just over: it was waited for.
            if outlook.ready > 0 && (waited || now < until) {
                break true;
            }
            let soonest = outlook.soonest.map_or(u64::MAX, |(_, back)| back);
            // Whoever tries one of them tells how it went long before it is given up.
            let in_time = soonest <= until || outlook.probing > 0;
            if now >= until || !in_time {
                break false;
            }
            let waking = async {
                tokio::select! {
                    () = board.time.sleep_until(soonest.min(until)) => {}
                    // The board is the runtime's: it does not go away.
                    _ = changes.changed() => {}
                }
            };
            waited = true;
            if watching(session, pin!(waking)).await.is_none() {
                return Err(Stop::ClientGone);
            }
        };
        match waited {
            true => context.runtime.metrics.waited(somebody),
            // Somebody has become ready since the round, or is not as ready as it seemed.
            false => tokio::task::yield_now().await,
        }
        context.record.waited += began.elapsed();
        Ok(somebody)
    }
}
