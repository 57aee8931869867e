//! Waiting for a credential that is soon back.

use std::pin::pin;
use std::time::Instant;

use pingora::protocols::http::ServerSession;
use turnpike_api::Clock;

use super::Forwarding;
use super::exchange::{FOR_EVER, Waited, watching};
use crate::clock::millis;
use crate::context::Context;
use crate::request::{Stop, draining};
use crate::upstream::Pool;

/// What came of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Somebody {
    /// Who was not tried yet may be, now.
    Is,
    /// Somebody may be tried who could not when the wait began.
    CameBack,
    /// Nobody is back in time.
    IsNot,
}

/// One request's wait. There is one: how long it lasts is settled when it begins.
#[derive(Default)]
pub(super) struct Wait {
    until: Option<u64>,
    has_waited: bool,
}

impl Wait {
    /// Whether the request has waited.
    pub(super) fn has_waited(&self) -> bool {
        self.has_waited
    }

    /// Counts it, if there was one.
    pub(super) fn tell(&self, context: &Context<'_>, is_served: bool) {
        if self.has_waited {
            context.runtime.metrics.waited(is_served);
        }
    }

    /// Waits until one of the pool may be tried, when all of it are away. Members that failed for
    /// this call and may be asked all the same are nothing to wait for, and neither is anybody else
    /// while they are there. The caller is watched meanwhile.
    pub(super) async fn for_somebody(
        &mut self,
        session: &mut ServerSession,
        context: &mut Context<'_>,
        pool: &Pool,
        forwarding: &mut Forwarding<'_, '_>,
    ) -> Result<Somebody, Stop> {
        let board = &context.runtime.board;
        let left = forwarding
            .deadline
            .saturating_duration_since(Instant::now());
        let longest = millis(context.snapshot.max_retry_interval.min(left));
        let until = *self.until.get_or_insert_with(|| board.time.now() + longest);
        // Before the look: a change after it is not missed.
        let mut changes = board.watch();
        let began = Instant::now();
        let mut waited = false;
        let somebody = loop {
            let now = board.time.now();
            let outlook = pool.outlook(now, forwarding.call.operation);
            if outlook.ready > 0 && waited {
                // Also where the time is just over: it was waited for.
                break Somebody::CameBack;
            }
            if outlook.ready > 0 {
                let failed = forwarding.failed_and_ready(pool, now);
                break match failed.is_some_and(|failed| outlook.ready > failed) && now < until {
                    true => Somebody::Is,
                    false => Somebody::IsNot,
                };
            }
            let soonest = outlook.soonest.as_ref().map_or(u64::MAX, |(_, back)| *back);
            // Whoever tries one of them tells how it went long before it is given up.
            let in_time = soonest <= until || outlook.probing > 0;
            if now >= until || !in_time {
                break Somebody::IsNot;
            }
            let waking = async {
                tokio::select! {
                    () = board.time.sleep_until(soonest.min(until)) => {}
                    // The board is the runtime's: it does not go away.
                    _ = changes.changed() => {}
                }
            };
            waited = true;
            let drain = &context.runtime.drain;
            match watching(session, drain, FOR_EVER, pin!(waking)).await {
                Waited::Done(()) => {}
                Waited::ClientGone => return Err(Stop::ClientGone),
                Waited::Silent | Waited::Cut => return Err(draining().into()),
            }
        };
        if !waited {
            // Somebody has become ready since the round, or is not as ready as it seemed.
            tokio::task::yield_now().await;
        }
        self.has_waited |= waited;
        context.record.waited += began.elapsed();
        Ok(somebody)
    }
}
