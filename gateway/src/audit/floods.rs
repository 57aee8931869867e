//! What would fill the record: of refusals, which anybody can bring about, or a program that does not give
//! up, so many a second are told one by one; of what a dashboard looks at all the time, one a minute. The
//! others are counted, and told with the next. So are all while the spool is full: it would have no bound
//! otherwise, for none of them is refused for it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use turnpike_audit::events::ManagementRequest;

/// Of which `MOST` a second are told.
#[derive(Default)]
pub(super) struct Flood<const MOST: u32>(Mutex<Count>);

#[derive(Default)]
struct Count {
    second: u64,
    told: u32,
    untold: u64,
}

impl<const MOST: u32> Flood<MOST> {
    /// Whether one that comes now is told, and how many before were not. `now` is in milliseconds; where
    /// there is no room, none is.
    pub(super) fn may_tell(&self, now: u64, has_room: bool) -> Option<u64> {
        let mut count = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if count.second != now / 1000 {
            (count.second, count.told) = (now / 1000, 0);
        }
        if count.told >= MOST || !has_room {
            count.untold += 1;
            return None;
        }
        count.told += 1;
        Some(std::mem::take(&mut count.untold))
    }
}

/// Somebody looks at something, with this success. From another address it may be somebody else.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct Look {
    actor: Box<str>,
    tenant: Option<Box<str>>,
    client: Option<IpAddr>,
    route: Option<Box<str>>,
    status: u64,
}

impl Look {
    pub(super) fn of(request: &ManagementRequest<'_>) -> Self {
        Self {
            actor: request.actor.into(),
            tenant: request.tenant.map(Box::from),
            client: request.client,
            route: request.route.map(Box::from),
            status: request.status,
        }
    }
}

/// So many looks that differ are told a minute.
const LOOKS: usize = 4_096;

/// Of each of which one a minute is told.
#[derive(Default)]
pub(super) struct Looks(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    /// When each was told last, in minutes, and how many came since.
    told: HashMap<Look, (u64, u64)>,
    /// Those that came since one that is forgotten, or that were not known and had no room, here or in the spool.
    untold: u64,
}

impl Looks {
    /// Whether one that comes now is told, and how many before were not. `now` is in milliseconds; where
    /// there is no room, none is.
    pub(super) fn may_tell(&self, look: Look, now: u64, has_room: bool) -> Option<u64> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = now / 60_000;
        let Seen { told, untold } = &mut *seen;
        if let Some((told, since)) = told.get_mut(&look) {
            if *told == minute || !has_room {
                *since += 1;
                return None;
            }
            *told = minute;
            return Some(std::mem::take(since) + std::mem::take(untold));
        }
        if !has_room {
            *untold += 1;
            return None;
        }
        if seen.told.len() >= LOOKS {
            seen.forget(minute);
        }
        if seen.told.len() >= LOOKS {
            seen.untold += 1;
            return None;
        }
        seen.told.insert(look, (minute, 0));
        Some(std::mem::take(&mut seen.untold))
    }
}

impl Seen {
    /// Those of minutes before this one; what was counted of them is not.
    fn forget(&mut self, minute: u64) {
        let untold = &mut self.untold;
        self.told.retain(|_, (told, since)| {
            if *told != minute {
                *untold += *since;
            }
            *told == minute
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(actor: &str, status: u64) -> Look {
        Look::of(&ManagementRequest {
            actor,
            tenant: None,
            client: None,
            method: "GET",
            route: Some("/v0/management/tokens"),
            status,
            reason: None,
            untold: None,
        })
    }

    #[test]
    fn who_looks_all_the_time_is_told_once_a_minute() {
        let looks = Looks::default();
        let first = (0..60).map(|second| looks.may_tell(look("panel", 200), second * 1_000, true));
        assert_eq!(first.flatten().collect::<Vec<_>>(), [0]);
        assert_eq!(looks.may_tell(look("panel", 403), 59_000, true), Some(0));
        assert_eq!(looks.may_tell(look("ada", 200), 59_000, true), Some(0));
        assert_eq!(looks.may_tell(look("panel", 200), 60_000, true), Some(59));
        assert_eq!(looks.may_tell(look("panel", 200), 61_000, true), None);
    }

    #[test]
    fn however_many_look_memory_is_bounded_and_none_is_lost() {
        let looks = Looks::default();
        let (mut told, mut untold) = (0, 0);
        for minute in 0..3 {
            for nth in 0..LOOKS + 10 {
                let look = look(&format!("{minute} {nth}"), 200);
                if let Some(before) = looks.may_tell(look, minute * 60_000, true) {
                    (told, untold) = (told + 1, untold + before);
                }
            }
            assert_eq!(looks.0.lock().unwrap().told.len(), LOOKS);
        }
        assert_eq!((told, untold), (3 * LOOKS, 20));
        assert_eq!(looks.0.lock().unwrap().untold, 10);
    }

    #[test]
    fn all_of_a_flood_are_counted() {
        let flood = Flood::<100>::default();
        let told = (0..1000).filter_map(|_| flood.may_tell(5_000, true));
        assert_eq!(told.collect::<Vec<_>>(), [0; 100]);
        assert_eq!(flood.may_tell(6_000, true), Some(900));
        assert_eq!(flood.may_tell(6_001, true), Some(0));
    }

    #[test]
    fn none_is_told_while_there_is_no_room_and_all_are_after_it() {
        let flood = Flood::<100>::default();
        let told = (0..10).filter_map(|_| flood.may_tell(5_000, false));
        assert_eq!(told.count(), 0);
        assert_eq!(flood.may_tell(5_000, true), Some(10));

        let looks = Looks::default();
        let told = (0..10).filter_map(|_| looks.may_tell(look("panel", 200), 5_000, false));
        assert_eq!(told.count(), 0);
        assert_eq!(looks.may_tell(look("panel", 200), 5_000, true), Some(10));
        for who in ["panel", "ada", "panel"] {
            assert_eq!(looks.may_tell(look(who, 200), 65_000, false), None);
        }
        assert_eq!(looks.may_tell(look("panel", 200), 65_000, true), Some(3));
    }
}
