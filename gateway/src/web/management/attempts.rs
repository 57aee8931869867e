//! Wrong keys, by the address they came from: who guesses is made to wait, longer each time.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::refusal::Refused;
use crate::audit::Audit;
use crate::observe::events::ManagementKeyRefused;

/// So many are taken for typing errors.
const FREE: u32 = 5;

/// The first wait, in milliseconds. Each wrong key after it doubles it.
const FIRST: u64 = 30_000;

/// The longest.
const LONGEST: u64 = 30 * 60_000;

/// Who has kept away so long begins anew.
const FORGOTTEN: u64 = 60 * 60_000;

/// As many addresses are remembered. Then the one that was wrong the longest ago gives way.
const ADDRESSES: usize = 4_096;

/// The wrong keys of late.
#[derive(Default)]
pub(super) struct Attempts(Mutex<HashMap<IpAddr, Wrong>>);

/// Times are milliseconds since 1970.
#[derive(Clone, Copy)]
struct Wrong {
    times: u32,
    last: u64,
    /// Until when nothing is taken from there, the right key neither: guessing would go on.
    until: u64,
}

impl Attempts {
    /// Judges one key of `peer`: `look` says whose it is. One after the other, so that those who
    /// send many at once do not have more of them looked at.
    pub(super) fn judge<T>(
        &self,
        peer: IpAddr,
        now: u64,
        audit: &Audit,
        look: impl FnOnce() -> Result<Option<T>, Refused>,
    ) -> Result<T, Refused> {
        let mut all = self.lock();
        let blocked = all.get(&network(peer)).filter(|wrong| now < wrong.until);
        if let Some(wrong) = blocked {
            let seconds = (wrong.until - now).div_ceil(1000);
            return Err(Refused::TooMany { seconds });
        }
        if let Some(found) = look()? {
            all.remove(&network(peer));
            return Ok(found);
        }
        let refused_for = note_wrong(&mut all, network(peer), now);
        drop(all);
        ManagementKeyRefused {
            peer,
            refused_for,
            now,
            audit,
        }
        .tell();
        Err(Refused::WrongKey)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Wrong>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A wrong key came. Answers with the seconds that its address is refused from now on.
fn note_wrong(all: &mut HashMap<IpAddr, Wrong>, peer: IpAddr, now: u64) -> u64 {
    if all.len() >= ADDRESSES && !all.contains_key(&peer) {
        give_way(all, now);
    }
    let wrong = all.entry(peer).or_insert(Wrong {
        times: 0,
        last: now,
        until: 0,
    });
    if is_forgotten(wrong, now) {
        wrong.times = 0;
    }
    wrong.times = wrong.times.saturating_add(1);
    wrong.last = now;
    if wrong.times < FREE {
        return 0;
    }
    let wait = FIRST.saturating_mul(1 << (wrong.times - FREE).min(16));
    wrong.until = now.saturating_add(wait.min(LONGEST));
    wait.min(LONGEST) / 1000
}

fn is_forgotten(wrong: &Wrong, now: u64) -> bool {
    now.saturating_sub(wrong.last.max(wrong.until)) > FORGOTTEN
}

fn give_way(all: &mut HashMap<IpAddr, Wrong>, now: u64) {
    all.retain(|_, wrong| !is_forgotten(wrong, now));
    let oldest = all.iter().min_by_key(|(_, wrong)| wrong.last);
    let oldest = oldest.map(|(peer, _)| *peer);
    if let Some(oldest) = oldest.filter(|_| all.len() >= ADDRESSES) {
        all.remove(&oldest);
    }
}

/// Whoever has one IPv6 address has 2^64 of them.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64)).into(),
        ip => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// The seconds that its address is refused after a wrong key; `None` = it was refused before.
    fn wrong(attempts: &Attempts, peer: &str, now: u64) -> Option<u64> {
        let judged = attempts.judge(ip(peer), now, &Audit::default(), || Ok(None::<()>));
        let until = attempts.lock()[&network(ip(peer))].until;
        matches!(judged, Err(Refused::WrongKey)).then(|| until.saturating_sub(now) / 1000)
    }

    fn is_let_in(attempts: &Attempts, peer: &str, now: u64) -> bool {
        attempts
            .judge(ip(peer), now, &Audit::default(), || Ok(Some(())))
            .is_ok()
    }

    #[test]
    fn the_fifth_wrong_key_makes_its_address_wait_and_each_after_it_twice_as_long() {
        let attempts = Attempts::default();
        let peer = "192.0.2.1";
        let waits: Vec<_> = (0..5).map(|_| wrong(&attempts, peer, 0)).collect();
        assert_eq!(waits, [Some(0), Some(0), Some(0), Some(0), Some(30)]);
        assert_eq!(wrong(&attempts, peer, 29_999), None);
        assert!(!is_let_in(&attempts, peer, 29_999));
        assert!(is_let_in(&attempts, "192.0.2.2", 0));
        let mut now = 30_000;
        for wait in [60, 120, 240, 480, 960, 1800, 1800, 1800] {
            assert_eq!(wrong(&attempts, peer, now), Some(wait));
            now += wait * 1000;
        }
        assert!(is_let_in(&attempts, peer, now));
    }

    #[test]
    fn the_right_key_and_a_long_time_make_it_good() {
        let attempts = Attempts::default();
        let peer = "192.0.2.1";
        for _ in 0..3 {
            (0..4).for_each(|_| assert_eq!(wrong(&attempts, peer, 0), Some(0)));
            assert!(is_let_in(&attempts, peer, 0));
        }
        (0..4).for_each(|_| assert_eq!(wrong(&attempts, peer, 0), Some(0)));
        assert_eq!(wrong(&attempts, peer, 62 * MINUTE), Some(0));
    }

    #[test]
    fn many_addresses_are_bounded_and_one_network_is_one() {
        let attempts = Attempts::default();
        for n in 0..2 * ADDRESSES {
            let peer = IpAddr::V4(u32::try_from(n).unwrap().into());
            wrong(&attempts, &peer.to_string(), n as u64);
        }
        assert_eq!(attempts.lock().len(), ADDRESSES);
        for n in 1..=5 {
            wrong(&attempts, &format!("2001:db8::{n}"), 10_000);
        }
        assert!(!is_let_in(&attempts, "2001:db8::ffff", 10_000));
        assert!(is_let_in(&attempts, "2001:db8:0:1::1", 10_000));
    }
}
