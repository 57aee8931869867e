//! How long a credential stays away after a fault, and how it comes back. Pure: the time comes in.
//!
//! A cooldown is one window. All faults of calls that began before its end belong to it: a burst
//! of refusals counts once. A fault after its end, a probe's, begins the next window, which is
//! twice as long. What clears a cooldown is a success, a reset, or a probe that finds the
//! credential well; nothing else makes it end sooner.
//!
//! All times are milliseconds since 1970.

use std::time::Duration;

use turnpike_api::{Fault, Hint};

/// How long each kind of fault keeps a credential away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackOff {
    /// The first window of a rate limit that names no time.
    pub base: Duration,
    /// The longest such window.
    pub max: Duration,
    /// The longest wait that a provider's hint can ask for.
    pub max_hint: Duration,
    /// After 408 and 5xx; `None` = they cool nothing.
    pub transient: Option<Duration>,
    /// After 401, 402 and 403; `None` = they cool nothing.
    pub auth: Option<Duration>,
    /// After a model that is not found; `None` = that cools nothing.
    pub not_found: Option<Duration>,
}

/// A window during which a credential, or one model of it, is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cooldown {
    /// What began it, or made it last the longest.
    pub fault: Fault,
    /// When it began.
    pub since: u64,
    /// When it ends.
    pub until: u64,
    /// How many windows came before it without a success between.
    pub level: u32,
    /// Until when the one who probes it is waited for; 0 = nobody does.
    pub probing: u64,
    /// An unbilled probe found it well and a call then failed: such probes know no better here.
    pub misjudged: bool,
}

/// How a cooldown stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Left alone until this time.
    Cooling(u64),
    /// Its time is over: one call may try it.
    Due,
    /// That call is under way, and waited for until this time.
    Probing(u64),
}

impl BackOff {
    /// How long a window of this level is; `None` when the fault cools nothing.
    fn wait(&self, fault: Fault, level: u32, hint: Hint) -> Option<Duration> {
        let hinted = hint.wait.map(|wait| wait.min(self.max_hint));
        let doubled = self.base.saturating_mul(1u32.checked_shl(level.min(31))?);
        let backed_off = doubled.min(self.max);
        let own = match fault {
            Fault::RateLimited => backed_off,
            Fault::Unauthorized | Fault::PaymentRequired | Fault::Forbidden => self.auth?,
            Fault::ModelNotFound => self.not_found?,
            Fault::Overloaded | Fault::Timeout | Fault::ServerError => self.transient?,
            // A way that is cut for a second must not cost a minute.
            Fault::Unreachable => backed_off.min(self.transient?),
        };
        Some(match hinted {
            None => own,
            Some(hinted) if hinted >= self.base => hinted,
            // "At once" is no time to stay away from what has just refused, and less so each time.
            Some(_) => backed_off.min(own).max(self.base),
        })
    }

    /// The cooldown after a call that began at `began` failed, if there is to be one.
    ///
    /// `current` is the one that there is, if any. Its end is never moved forward.
    pub fn after(
        &self,
        current: Option<Cooldown>,
        began: u64,
        now: u64,
        fault: Fault,
        hint: Hint,
    ) -> Option<Cooldown> {
        let Some(current) = current.filter(|current| !self.is_forgotten(current, now)) else {
            return self.window(0, now, fault, hint);
        };
        if began < current.until {
            return Some(self.within(current, now, fault, hint));
        }
        let next = self.window(current.level.saturating_add(1), now, fault, hint)?;
        Some(Cooldown {
            misjudged: current.misjudged,
            until: next.until.max(current.until),
            // Whoever else tries it is still waited for.
            probing: current.probing,
            ..next
        })
    }

    fn window(&self, level: u32, now: u64, fault: Fault, hint: Hint) -> Option<Cooldown> {
        let wait = self.wait(fault, level, hint)?;
        Some(Cooldown {
            fault,
            since: now,
            until: now.saturating_add(millis(wait)),
            level,
            probing: 0,
            misjudged: false,
        })
    }

    /// One more fault of the same window. A rate limit that names no time says nothing new.
    fn within(&self, current: Cooldown, now: u64, fault: Fault, hint: Hint) -> Cooldown {
        let says_nothing =
            fault == current.fault && fault == Fault::RateLimited && hint.wait.is_none();
        let until = match self.wait(fault, current.level, hint) {
            Some(wait) if !says_nothing => now.saturating_add(millis(wait)),
            _ => 0,
        };
        if until > current.until {
            Cooldown {
                fault,
                until,
                ..current
            }
        } else {
            current
        }
    }

    /// A window that ended long ago says nothing of the next one, once nobody tries it.
    pub fn is_forgotten(&self, cooldown: &Cooldown, now: u64) -> bool {
        now.saturating_sub(cooldown.until) > millis(self.max)
            && !matches!(cooldown.phase(now), Phase::Probing(_))
    }
}

impl Cooldown {
    /// How it stands.
    pub fn phase(&self, now: u64) -> Phase {
        if now < self.until {
            Phase::Cooling(self.until)
        } else if now < self.probing {
            Phase::Probing(self.probing)
        } else {
            Phase::Due
        }
    }

    /// Lets one call try it, which is waited for until `patience`; `None` when it is not due.
    pub fn probed(self, now: u64, patience: u64) -> Option<Self> {
        (self.phase(now) == Phase::Due).then_some(Self {
            probing: patience,
            ..self
        })
    }

    /// The call that tried it ended without a verdict: another one may.
    pub fn unprobed(self) -> Self {
        Self { probing: 0, ..self }
    }

    /// An unbilled probe found the credential well: one call may try it now, if none does already.
    pub fn found_well(self, now: u64) -> Self {
        Self {
            until: self.until.min(now),
            misjudged: true,
            ..self
        }
    }

    /// Whether a call without cost can tell that it is over. A rate limit's end is known, and
    /// an account without credit lists models all the same.
    pub fn is_probed_early(&self) -> bool {
        !self.misjudged
            && match self.fault {
                Fault::Unauthorized
                | Fault::Forbidden
                | Fault::ModelNotFound
                | Fault::Overloaded
                | Fault::Timeout
                | Fault::ServerError
                | Fault::Unreachable => true,
                Fault::RateLimited | Fault::PaymentRequired => false,
            }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000;

    fn back_off() -> BackOff {
        BackOff {
            base: Duration::from_secs(1),
            max: Duration::from_secs(30 * 60),
            max_hint: Duration::from_secs(6 * 60 * 60),
            transient: Some(Duration::from_secs(60)),
            auth: Some(Duration::from_secs(30 * 60)),
            not_found: Some(Duration::from_secs(12 * 60 * 60)),
        }
    }

    fn hint(seconds: u64) -> Hint {
        Hint {
            wait: Some(Duration::from_secs(seconds)),
            whole_credential: false,
        }
    }

    const NONE: Hint = Hint {
        wait: None,
        whole_credential: false,
    };

    fn limited(current: Option<Cooldown>, began: u64, now: u64) -> Cooldown {
        back_off()
            .after(current, began, now, Fault::RateLimited, NONE)
            .unwrap()
    }

    #[test]
    fn a_burst_counts_once_and_a_window_doubles() {
        let first = limited(None, 0, 100);
        assert_eq!((first.until, first.level), (1_100, 0));
        let burst = limited(Some(first), 50, 600);
        assert_eq!(burst, first);
        // Late, but of a call that began within the window.
        let late = limited(Some(first), 1_099, 5_000);
        assert_eq!(late, first);
        let second = limited(Some(first), 1_100, 1_200);
        assert_eq!((second.until, second.level), (3_200, 1));
        let mut cooldown = second;
        for _ in 0..40 {
            cooldown = limited(Some(cooldown), cooldown.until, cooldown.until);
        }
        assert_eq!(cooldown.until - cooldown.since, 30 * 60 * SECOND);
    }

    #[test]
    fn a_window_long_ago_is_forgotten() {
        let first = Cooldown {
            level: 7,
            ..limited(None, 0, 0)
        };
        let later = first.until + 30 * 60 * SECOND + 1;
        assert_eq!(limited(Some(first), later, later).level, 0);
        assert_eq!(limited(Some(first), later - 1, later - 1).level, 8);
    }

    #[test]
    fn hints_win_within_bounds() {
        let until = |hint| {
            back_off()
                .after(None, 0, 0, Fault::RateLimited, hint)
                .unwrap()
                .until
        };
        assert_eq!(until(hint(20)), 20 * SECOND);
        assert_eq!(until(hint(0)), SECOND);
        assert_eq!(until(hint(7 * 24 * 60 * 60)), 6 * 60 * 60 * SECOND);
        assert_eq!(until(hint(u64::MAX)), 6 * 60 * 60 * SECOND);
        let overloaded = |hint| {
            back_off()
                .after(None, 0, 0, Fault::Overloaded, hint)
                .unwrap()
        };
        assert_eq!(overloaded(hint(5)).until, 5 * SECOND);
        assert_eq!(overloaded(hint(0)).until, SECOND);
    }

    #[test]
    fn a_hint_of_no_time_at_all_backs_off_all_the_same() {
        let mut at = 0;
        let mut cooldown = None;
        for level in 0..4 {
            let next = back_off().after(cooldown, at, at, Fault::RateLimited, hint(0));
            let next = next.unwrap();
            assert_eq!(next.until - at, SECOND << level);
            at = next.until;
            cooldown = Some(next);
        }
    }

    #[test]
    fn every_fault_has_its_time() {
        let until = |fault| back_off().after(None, 0, 0, fault, NONE).unwrap().until / SECOND;
        assert_eq!(
            Fault::ALL.map(until),
            [1, 1800, 1800, 1800, 43200, 60, 60, 60, 1]
        );
        let off = BackOff {
            transient: None,
            auth: None,
            not_found: None,
            ..back_off()
        };
        let cooling = Fault::ALL.map(|fault| off.after(None, 0, 0, fault, NONE).is_some());
        assert_eq!(cooling.iter().filter(|&&cools| cools).count(), 1);
    }

    #[test]
    fn one_probe_at_a_time() {
        let cooldown = limited(None, 0, 0);
        assert_eq!(cooldown.phase(999), Phase::Cooling(SECOND));
        assert_eq!(cooldown.probed(999, 9_000), None);
        let probed = cooldown.probed(SECOND, 9_000).unwrap();
        assert_eq!(probed.phase(SECOND), Phase::Probing(9_000));
        assert_eq!(probed.probed(8_999, 20_000), None);
        // Nobody heard of it any more.
        assert!(probed.probed(9_000, 20_000).is_some());
        assert_eq!(probed.unprobed().phase(SECOND), Phase::Due);
    }

    #[test]
    fn an_unbilled_probe_is_believed_once() {
        let dead = back_off()
            .after(None, 0, 0, Fault::Unauthorized, NONE)
            .unwrap();
        assert!(dead.is_probed_early());
        let well = dead.found_well(10 * SECOND);
        assert_eq!(well.phase(10 * SECOND), Phase::Due);
        let still_dead = back_off()
            .after(Some(well), 10_001, 10_002, Fault::Unauthorized, NONE)
            .unwrap();
        assert!(!still_dead.is_probed_early());
        assert_eq!(still_dead.until, 10_002 + 30 * 60 * SECOND);
    }

    fn faults() -> impl Strategy<Value = Fault> {
        prop::sample::select(Fault::ALL.to_vec())
    }

    proptest! {
        /// Whatever comes in whatever order: the end is never moved forward, a level is gained
        /// only by a call that began after the window's end, and nothing overflows.
        #[test]
        fn deadlines_are_never_shortened(
            faults in prop::collection::vec(
                (faults(), 0u64..100_000_000, 0u64..100_000_000, prop::option::of(any::<u64>())),
                1..40,
            ),
        ) {
            let mut now = 0;
            let mut current: Option<Cooldown> = None;
            for (fault, pause, age, wait) in faults {
                now += pause;
                let began = now.saturating_sub(age);
                let hint = Hint {
                    wait: wait.map(Duration::from_millis),
                    whole_credential: false,
                };
                let next = back_off().after(current, began, now, fault, hint);
                if let (Some(before), Some(after)) = (current, next) {
                    prop_assert!(after.until >= before.until);
                    if began < before.until && now <= before.until {
                        prop_assert_eq!(after.level, before.level);
                    }
                    prop_assert!(after.level <= before.level + 1);
                }
                current = next.or(current);
            }
        }
    }
}
