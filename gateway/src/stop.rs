//! How a process ends that is told to: the stages of [`drain`](crate::drain), and what has to be handed
//! back, told and written down afterwards.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval_at, sleep, sleep_until, timeout};
use tracing::warn;

use crate::background::{keep, limits, replicas, traces, usage, uses};
use crate::boot::{Gateway, Signals};
use crate::drain::Terms;
use crate::observe::events::{Draining, ProcessEnded};

/// How long those who are cut have to end: to be told, counted and put on record.
const CUT: Duration = Duration::from_secs(5);

/// How often is told what is still under way.
const TOLD: Duration = Duration::from_secs(10);

/// How long handing back may take of a process that is to end at once.
/// Who has connected and not asked yet has so long.
const TO_ASK: Duration = Duration::from_secs(1);

const AT_ONCE: Duration = Duration::from_secs(2);

impl Gateway {
    /// Serves until SIGTERM or SIGINT, and then for as long as `server.drain` says. Answers with how many
    /// requests were cut.
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
        let cut = tokio::select! {
            cut = self.end(terms) => cut,
            () = again => self.end_at_once().await,
        };
        ProcessEnded { cut }.tell();
        cut
    }

    /// Ends in good order, without a lame duck's time. Answers with how many requests were cut.
    pub async fn stop(&self) -> u64 {
        let terms = Terms {
            lame_duck: Duration::ZERO,
            limit: self.runtime.snapshot().drain.limit,
        };
        self.end(terms).await
    }

    async fn end(&self, terms: Terms) -> u64 {
        let cut = self.drain(terms).await;
        self.hand_back().await;
        cut
    }

    /// Ends serving. Answers with how many requests were cut.
    async fn drain(&self, terms: Terms) -> u64 {
        let (runtime, drain) = (&self.runtime, &self.runtime.drain);
        drain.begin();
        runtime.metrics.draining();
        self.tell(terms.lame_duck + terms.limit);
        sleep(terms.lame_duck).await;
        drain.close();
        let limit = Instant::now() + terms.limit;
        tokio::select! {
            () = self.finished() => return 0,
            () = self.tell_on(limit) => {}
            () = self.hurry() => {}
        }
        let cut = self.under_way();
        drain.cut();
        // Those that stay are noticed at the next start, as after a crash.
        let _ = timeout(CUT, until(|| self.under_way() == 0)).await;
        cut
    }

    /// Tells those who connected last that it ends; never returns.
    async fn hurry(&self) {
        sleep(TO_ASK).await;
        self.runtime.drain.hurry();
        std::future::pending().await
    }

    /// Waits until nobody is served any more.
    async fn finished(&self) {
        until(|| self.listener.is_finished() && self.under_way() == 0).await;
        // Who has connected and not asked yet, or asked by HTTP/2 before hearing of the end, is served.
        let open = &self.runtime.drain.open;
        let gone = until(|| open.count() == 0 && self.under_way() == 0);
        let _ = timeout(self.runtime.header_timeout(), gone).await;
        until(|| self.under_way() == 0).await;
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

    async fn end_at_once(&self) -> u64 {
        let cut = self.under_way();
        self.runtime.drain.cut();
        if timeout(AT_ONCE, self.hand_back()).await.is_err() {
            warn!("the store and the audit's sinks were not told all of it");
        }
        cut
    }

    /// Gives back what is held of what others share, and has written and told what is not yet. The admin
    /// listener answers until then.
    async fn hand_back(&self) {
        let runtime = &self.runtime;
        // Whoever comes now is refused.
        runtime.drain.cut();
        self.listener.abort();
        self.background.iter().for_each(JoinHandle::abort);
        until(|| self.background.iter().all(JoinHandle::is_finished)).await;
        limits::flush(runtime).await;
        keep::flush(runtime).await;
        uses::flush(runtime).await;
        usage::flush(runtime).await;
        replicas::leave(runtime).await;
        traces::flush(runtime).await;
        let audit = runtime.audit.clone();
        // It waits for what receives the last records.
        if tokio::task::spawn_blocking(move || audit.stop())
            .await
            .is_err()
        {
            warn!("the last records of what happened are handed on after the next start");
        }
        if let Some(admin) = &self.admin_listener {
            admin.abort();
        }
    }
}

/// Waits for what no event tells of.
async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        sleep(Duration::from_millis(10)).await;
    }
}

/// Tells systemd, where it has started the process and wants to know (`Type=notify`).
fn supervisor(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        warn!(%error, "systemd cannot be told how the process stands");
    }
}
