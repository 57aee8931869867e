//! Telling the Redis what this replica counted, and reading what all did.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::lock::Mutex as Turn;
use turnpike_api::{Ledger, StoreError, UsagePage, UsagePlace};

use crate::Embedded;
use crate::embedded::usage::{ChangePlace, DayChange};
use crate::redis::Redis;
use crate::redis::usage::{PAGE, Told};

const DAY: u64 = 24 * 60 * 60 * 1000;

/// After so many rounds one looks whether the Redis still has what it was told.
const LOOK_AFTER: u32 = 12;

/// A replica's own part.
pub(super) struct Own {
    counters: Arc<Embedded>,
    /// Of each day, how far it was told by this process.
    told: Mutex<Rounds>,
    /// One at a time tells.
    turn: Turn<()>,
}

#[derive(Default)]
struct Rounds {
    count: u32,
    days: HashMap<u32, u64>,
}

impl Own {
    pub(super) fn new(counters: Arc<Embedded>) -> Self {
        Self {
            counters,
            told: Mutex::default(),
            turn: Turn::default(),
        }
    }

    /// Tells what changed since it was told last, day by day.
    pub(super) async fn share(
        &self,
        redis: &Redis,
        now: u64,
        keep: Option<u32>,
    ) -> Result<(), StoreError> {
        let _turn = self.turn.lock().await;
        let today = u32::try_from(now / DAY).unwrap_or(u32::MAX);
        let from = keep.map_or(0, |days| today.saturating_sub(days));
        let replica = self.counters.replica().await?;
        let days = self.counters.changed_days(from).await?;
        let days = self.untold(days);
        let numbers: Vec<u32> = days.iter().map(|day| day.day).collect();
        let told = redis.usage().how_far(&replica, &numbers).await?;
        for (day, told) in days.into_iter().zip(told) {
            if told != day.changed {
                // One that was told more than there is was told of a file that is gone.
                let from = if told > day.changed { 0 } else { told };
                let kept = keep.map(|days| kept_for(day.day, days, now));
                self.tell(redis.usage(), &replica, day, from, kept).await?;
            }
            self.rounds().days.insert(day.day, day.changed);
        }
        Ok(())
    }

    /// Those of which this process has not told everything, and every so often all of them.
    fn untold(&self, days: Vec<DayChange>) -> Vec<DayChange> {
        let mut rounds = self.rounds();
        rounds.count += 1;
        if rounds.count >= LOOK_AFTER {
            *rounds = Rounds::default();
        }
        let is_untold = |day: &DayChange| rounds.days.get(&day.day) != Some(&day.changed);
        days.into_iter().filter(is_untold).collect()
    }

    async fn tell(
        &self,
        redis: Told<'_>,
        replica: &str,
        day: DayChange,
        from: u64,
        kept: Option<Duration>,
    ) -> Result<(), StoreError> {
        redis.begin(replica, day.day).await?;
        let mut place = ChangePlace::behind(from);
        loop {
            let changes = self.counters.changes(day.day, place, PAGE).await?;
            redis.tell(replica, day.day, kept, &changes.rows).await?;
            match changes.next {
                Some(next) => place = next,
                None => break,
            }
        }
        // What changed meanwhile may be told, too, and is told again.
        redis.end(replica, day.day, kept, day.changed).await
    }

    fn rounds(&self) -> MutexGuard<'_, Rounds> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// From `now` on, until the day is not kept any more.
fn kept_for(day: u32, days: u32, now: u64) -> Duration {
    let end = (u64::from(day) + u64::from(days) + 2).saturating_mul(DAY);
    // A time to live of nought would be the end.
    Duration::from_millis(end.saturating_sub(now).max(DAY))
}

/// The days of which any replica has usage: this one as it counts, the others as they told.
pub(super) async fn days(
    own: Option<&Own>,
    redis: &Redis,
    from: u32,
    to: u32,
) -> Result<Vec<u32>, StoreError> {
    let mut days = match own {
        Some(own) => own.counters.usage_days(from, to).await?,
        None => Vec::new(),
    };
    let told = redis.usage().days(from, to).await?;
    days.extend(told.into_iter().map(|(day, _)| day));
    days.sort_unstable();
    days.dedup();
    Ok(days)
}

/// A part of a day: first one's own, then each other replica's as a whole.
pub(super) async fn page(
    own: Option<&Own>,
    redis: &Redis,
    day: u32,
    place: Option<UsagePlace>,
) -> Result<UsagePage, StoreError> {
    let place = place.map_or(Place::Own(None), |place| Place::read(&place.0));
    let behind = match (place, own) {
        (Place::Own(place), Some(own)) => {
            let page = own.counters.usage_of(day, place).await?;
            let next = match page.next {
                Some(place) => Place::Own(Some(place)),
                None => Place::Others(String::new()),
            };
            return Ok(UsagePage {
                rows: page.rows,
                next: Some(next.text()),
            });
        }
        (Place::Own(_), None) => String::new(),
        (Place::Others(behind), _) => behind,
    };
    let mine = match own {
        Some(own) => own.counters.replica().await?,
        None => String::new(),
    };
    let told = redis.usage().days(day, day).await?;
    let mut others = told.into_iter().map(|(_, replica)| replica);
    let other = others.find(|replica| *replica > behind && *replica != mine);
    let Some(replica) = other else {
        return Ok(UsagePage::default());
    };
    Ok(UsagePage {
        rows: redis.usage().of(&replica, day).await?,
        next: Some(Place::Others(replica).text()),
    })
}

enum Place {
    /// Within what this replica counted.
    Own(Option<UsagePlace>),
    /// Behind what this other replica told.
    Others(String),
}

impl Place {
    fn text(self) -> UsagePlace {
        UsagePlace(match self {
            Self::Own(None) => "own".to_owned(),
            Self::Own(Some(place)) => format!("own {}", place.0),
            Self::Others(behind) => format!("others {behind}"),
        })
    }

    fn read(text: &str) -> Self {
        match text.split_once(' ') {
            Some(("own", place)) => Self::Own(Some(UsagePlace(place.to_owned()))),
            Some((_, behind)) => Self::Others(behind.to_owned()),
            None => Self::Own(None),
        }
    }
}
