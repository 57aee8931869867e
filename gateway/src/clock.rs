//! The time of day, by which cooldowns and quotas go.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;
use turnpike_api::Clock;

/// A clock, shared by everything in the process. Milliseconds since 1970.
#[derive(Clone)]
pub struct Time(Arc<Kind>);

enum Kind {
    /// The system's time at start, and what passed since by a clock that nobody sets: a cooldown
    /// does not change its length when the time is corrected by little and little. A leap of the
    /// system's time is followed: the machine slept, or was wrong before.
    System { start: AtomicU64, since: Instant },
    /// As a test says.
    Simulated(watch::Sender<u64>),
}

impl Time {
    /// The machine's.
    pub fn system() -> Self {
        let start = AtomicU64::new(wall());
        let since = Instant::now();
        Self(Arc::new(Kind::System { start, since }))
    }

    /// Follows the system's time where it has leapt.
    pub fn follow(&self) {
        if let Kind::System { start, since } = &*self.0 {
            let wall = wall();
            if wall.abs_diff(self.now()) > LEAP {
                start.store(
                    wall.saturating_sub(millis(since.elapsed())),
                    Ordering::Relaxed,
                );
            }
        }
    }

    /// One that stands still until it is advanced.
    pub fn simulated(now: u64) -> Self {
        Self(Arc::new(Kind::Simulated(watch::Sender::new(now))))
    }

    /// Moves a simulated clock on. The system's is not to be moved.
    pub fn advance(&self, by: Duration) {
        if let Kind::Simulated(now) = &*self.0 {
            now.send_modify(|now| *now += millis(by));
        }
    }

    /// Waits until it is `at`.
    pub async fn sleep_until(&self, at: u64) {
        match &*self.0 {
            Kind::System { .. } => {
                let wait = at.saturating_sub(self.now());
                tokio::time::sleep(Duration::from_millis(wait)).await;
            }
            Kind::Simulated(now) => {
                // The sender lives in self: it cannot be gone.
                let _ = now.subscribe().wait_for(|now| *now >= at).await;
            }
        }
    }
}

impl Clock for Time {
    fn now(&self) -> u64 {
        match &*self.0 {
            Kind::System { start, since } => {
                start.load(Ordering::Relaxed) + millis(since.elapsed())
            }
            Kind::Simulated(now) => *now.borrow(),
        }
    }
}

/// A difference between the two clocks that is no drift.
const LEAP: u64 = 2_000;

fn wall() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, millis)
}

/// As milliseconds; what does not fit lasts for ever.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_simulated_clock_wakes_sleepers_when_it_is_advanced() {
        let time = Time::simulated(1_000);
        let sleeper = tokio::spawn({
            let time = time.clone();
            async move {
                time.sleep_until(1_500).await;
                time.now()
            }
        });
        time.advance(Duration::from_millis(499));
        assert_eq!(time.now(), 1_499);
        time.advance(Duration::from_millis(1));
        assert_eq!(sleeper.await.unwrap(), 1_500);
    }
}
