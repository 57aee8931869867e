//! How a process ends that is told to: the stages of [`drain`](crate::drain), and what has to be handed
//! back, told and written down afterwards.

use std::pin::pin;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, interval_at, sleep, sleep_until, timeout};
use tracing::warn;

use crate::background::{cooldowns, last_used, limits, replicas, traces, usage};
use crate::boot::{Gateway, Signals};
use crate::drain::Terms;
use crate::observe::events::{Draining, ProcessEnded};
use crate::runtime::Runtime;

/// How long those who are cut have to read what they are told,
const TO_READ: Duration = Duration::from_secs(5);

/// and those who have not, to be counted and put on record.
const TO_END: Duration = Duration::from_secs(2);

/// How often is told what is still under way.
const TOLD: Duration = Duration::from_secs(10);

/// Who has connected and not asked yet has so long.
const TO_ASK: Duration = Duration::from_secs(1);

/// Who closes by HTTP/2, or reads the last of its answers, has so long from the end of the last call; who does
/// neither for as long as a request's head may take is not there.
const TO_CLOSE: Duration = Duration::from_secs(60);

/// How often is looked at what no event tells of.
const LOOK: Duration = Duration::from_millis(10);

/// How long handing back may take. The chart's grace period, and that of the units in
/// docs/operating.md, has room for all of these after the limit.
const TO_HAND_BACK: Duration = Duration::from_secs(8);

/// The same of a process that is to end at once.
const AT_ONCE: Duration = Duration::from_secs(2);

/// Why serving is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    /// Nothing is under way any more.
    Finished,
    /// It took too long.
    AtLimit,
    /// Somebody does not want to wait.
    AtOnce,
}

impl Gateway {
    /// Serves until SIGTERM or SIGINT, and then for as long as `server.drain` says, or until the next of
    /// them. Answers with how many requests were cut.
    pub async fn run(self, signals: Signals) -> u64 {
        let Signals {
            mut terminate,
            mut interrupt,
        } = signals;
        supervisor(NotifyState::Ready);
        let plan = |gateway: &Self| gateway.runtime.snapshot().drain;
        let terms = tokio::select! {
            _ = terminate.recv() => Terms::supervised(plan(&self)),
            _ = interrupt.recv() => Terms::at_a_terminal(plan(&self)),
        };
        supervisor(NotifyState::Stopping);
        let again = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        let cut = self.end(terms, again).await;
        ProcessEnded { cut }.tell();
        cut
    }

    /// Ends in good order, without a lame duck's time. Answers with how many requests were cut.
    pub async fn stop(&self) -> u64 {
        let terms = Terms {
            lame_duck: Duration::ZERO,
            limit: self.runtime.snapshot().drain.limit,
        };
        self.end(terms, std::future::pending()).await
    }

    /// Ends on these terms, and without waiting any more when that is said.
    async fn end(&self, terms: Terms, at_once: impl Future<Output = ()>) -> u64 {
        let mut at_once = pin!(at_once);
        let over = tokio::select! {
            over = self.serve_out(terms) => over,
            () = &mut at_once => Over::AtOnce,
        };
        let cut = match over {
            Over::Finished => 0,
            Over::AtLimit | Over::AtOnce => self.cut().await,
        };
        let long_enough = async {
            if over != Over::AtOnce && timeout(TO_HAND_BACK, at_once).await.is_err() {
                return;
            }
            sleep(AT_ONCE).await;
        };
        tokio::select! {
            () = self.hand_back() => {}
            () = long_enough => warn!("the store and the audit's sinks were not told all of it"),
        }
        cut
    }

    /// Serves what is under way, and whoever comes until it closes.
    async fn serve_out(&self, terms: Terms) -> Over {
        let (runtime, drain) = (&self.runtime, &self.runtime.drain);
        drain.begin();
        runtime.metrics.draining();
        self.tell(terms.lame_duck + terms.limit);
        sleep(terms.lame_duck).await;
        drain.close();
        let limit = Instant::now() + terms.limit;
        tokio::select! {
            () = self.finished(terms.limit / 2) => Over::Finished,
            () = self.tell_on(limit) => Over::AtLimit,
            () = self.hurry() => Over::AtLimit,
        }
    }

    /// Ends what is under way. Answers with how many requests had no better end.
    async fn cut(&self) -> u64 {
        let drain = &self.runtime.drain;
        drain.cut();
        let is_told =
            || self.listener.is_finished() && self.under_way() == 0 && drain.open.count() == 0;
        let mut unread = 0;
        if timeout(TO_READ, until(is_told)).await.is_err() {
            let told = drain.were_cut();
            drain.leave();
            // Those that stay are noticed at the next start, as after a crash.
            let is_over = || self.under_way() == 0 && drain.open.stuck() == 0;
            let _ = timeout(TO_END, until(is_over)).await;
            // Of answers over HTTP/2 that are stuck the calls may be over; those that are not are counted.
            let stuck = u64::try_from(drain.open.stuck()).unwrap_or(u64::MAX);
            let counted = self.under_way() + drain.were_cut().saturating_sub(told);
            unread = stuck.saturating_sub(counted);
        }
        if unread > 0 {
            warn!(
                connections = unread,
                "answers of calls that were over are cut: their callers have not read them"
            );
        }
        // In this order: one that ends in between is not missed.
        let under_way = self.under_way();
        drain.were_cut() + under_way + unread
    }

    /// Tells those who connected last that it ends; never returns.
    async fn hurry(&self) {
        sleep(TO_ASK).await;
        self.runtime.drain.hurry();
        std::future::pending().await
    }

    /// Waits until nobody is served any more; no longer than this for who is silent.
    async fn finished(&self, patience: Duration) {
        until(|| self.listener.is_finished() && self.under_way() == 0).await;
        // Who has connected and not asked yet, or asked by HTTP/2 before hearing of the end, is served; and
        // an HTTP/2 call may be over before its caller has read all of its answer.
        let open = &self.runtime.drain.open;
        let patience = patience.min(self.runtime.header_timeout());
        let until = Instant::now() + patience.max(TO_CLOSE);
        let mut there = Instant::now();
        while open.count() > 0 || self.under_way() > 0 {
            let now = Instant::now();
            let is_reading = self.under_way() > 0 || open.stuck() > 0;
            if is_reading || open.lingering() > 0 {
                there = now;
            }
            if !is_reading && (now >= until || now >= there + patience) {
                return;
            }
            sleep(LOOK).await;
        }
    }

    fn under_way(&self) -> u64 {
        let requests = self.runtime.metrics.in_flight().get();
        requests.max(0).cast_unsigned()
    }

    /// Tells from time to time what is still under way, until the limit.
    async fn tell_on(&self, limit: Instant) {
        let mut turns = interval_at(Instant::now() + TOLD, TOLD);
        loop {
            tokio::select! {
                _ = turns.tick() => self.tell(limit - Instant::now()),
                () = sleep_until(limit) => return,
            }
        }
    }

    fn tell(&self, left: Duration) {
        Draining {
            requests: self.under_way(),
            connections: self.runtime.drain.open.count(),
            left,
        }
        .tell();
    }

    /// Gives back what is held of what others share, and has written and told what is not yet. The admin
    /// listener answers until then.
    async fn hand_back(&self) {
        let runtime = &self.runtime;
        // Whoever comes now is refused.
        runtime.drain.leave();
        self.listener.abort();
        self.background.iter().for_each(JoinHandle::abort);
        until(|| self.background.iter().all(JoinHandle::is_finished)).await;
        // At the same time: none of them may take from another what time there is.
        tokio::join!(
            hand_back_to_store(runtime),
            traces::flush(runtime),
            hand_on_audit(runtime),
        );
        if let Some(admin) = &self.admin_listener {
            admin.abort();
        }
    }
}

/// Limits, cooldowns, usage.
async fn hand_back_to_store(runtime: &Runtime) {
    limits::flush(runtime).await;
    cooldowns::flush(runtime).await;
    last_used::flush(runtime).await;
    usage::flush(runtime).await;
    replicas::leave(runtime).await;
}

async fn hand_on_audit(runtime: &Runtime) {
    let audit = runtime.audit.clone();
    // It waits for what receives the last records.
    if spawn_blocking(move || audit.stop()).await.is_err() {
        warn!("the last records of what happened are handed on after the next start");
    }
}

/// Waits for what no event tells of.
async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        sleep(LOOK).await;
    }
}

/// Tells systemd, where it has started the process and wants to know (`Type=notify`).
fn supervisor(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        warn!(%error, "systemd cannot be told how the process stands");
    }
}
