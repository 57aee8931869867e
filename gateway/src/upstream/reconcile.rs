//! What replicas learnt of one credential, brought together.
//!
//! Each has what the store had when it last looked, what it has learnt since, and what the store
//! has by now. A side that has changed nothing since then takes over the other's. Where both have,
//! what keeps the credential away for longer counts; and what one found over that the other saw
//! begin anew has begun anew.

use std::collections::BTreeSet;

use turnpike_credentials::Cooldown;

use super::standing::{Cooldowns, MODELS};

/// What is so, seen from `before` on, where we have `ours` by now and the store has `theirs`.
pub(super) fn merged(before: &Cooldowns, ours: &Cooldowns, theirs: &Cooldowns) -> Cooldowns {
    let all = [before, ours, theirs].into_iter();
    let names: BTreeSet<&str> = all
        .flat_map(|cooldowns| cooldowns.models.iter().map(|(name, _)| &**name))
        .collect();
    let models = names.into_iter().filter_map(|name| {
        let sides = [before, ours, theirs].map(|cooldowns| of_model(cooldowns, name));
        Some((name.into(), merged_one(sides)?))
    });
    let mut models: Vec<(Box<str>, Cooldown)> = models.collect();
    // No more than one replica keeps of its own.
    models.sort_by_key(|(_, cooldown)| std::cmp::Reverse(cooldown.until));
    models.truncate(MODELS);
    Cooldowns {
        whole: merged_one([before.whole, ours.whole, theirs.whole]),
        models,
    }
}

fn of_model(cooldowns: &Cooldowns, name: &str) -> Option<Cooldown> {
    let mut models = cooldowns.models.iter();
    models
        .find(|(known, _)| **known == *name)
        .map(|(_, cooldown)| *cooldown)
}

fn merged_one([before, ours, theirs]: [Option<Cooldown>; 3]) -> Option<Cooldown> {
    let is = |one: Option<Cooldown>, other: Option<Cooldown>| {
        one.map(Cooldown::unprobed) == other.map(Cooldown::unprobed)
    };
    // Ours knows who tries it here.
    if is(ours, theirs) || is(before, theirs) {
        return ours;
    }
    if is(before, ours) {
        return theirs;
    }
    let is_anew = |cooldown: &Cooldown| before.is_none_or(|before| cooldown.since > before.since);
    match (ours, theirs) {
        (Some(ours), Some(theirs)) if theirs.until > ours.until => Some(theirs),
        (Some(ours), Some(_)) => Some(ours),
        (one, other) => one.or(other).filter(is_anew),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use turnpike_api::Fault;

    use super::*;

    fn cooldown(since: u64, until: u64) -> Cooldown {
        Cooldown {
            fault: Fault::RateLimited,
            since,
            until,
            level: 0,
            probing: 0,
            misjudged: false,
        }
    }

    #[test]
    fn who_changed_nothing_takes_over_the_others() {
        let (old, new) = (Some(cooldown(1, 10)), Some(cooldown(12, 20)));
        for (ours, theirs, merged) in [
            (old, new, new),
            (new, old, new),
            (old, None, None),
            (None, old, None),
            (old, old, old),
            (None, None, None),
        ] {
            assert_eq!(merged_one([old, ours, theirs]), merged);
        }
        assert_eq!(merged_one([None, new, None]), new);
        assert_eq!(merged_one([None, None, new]), new);
    }

    #[test]
    fn where_both_learnt_something_the_longer_one_counts() {
        let (short, long) = (Some(cooldown(2, 10)), Some(cooldown(1, 20)));
        for before in [None, Some(cooldown(0, 1))] {
            assert_eq!(merged_one([before, short, long]), long);
            assert_eq!(merged_one([before, long, short]), long);
        }
    }

    #[test]
    fn what_is_over_is_over_unless_it_began_anew() {
        let before = Some(cooldown(5, 10));
        let lengthened = Some(cooldown(5, 30));
        assert_eq!(merged_one([before, None, lengthened]), None);
        assert_eq!(merged_one([before, lengthened, None]), None);
        let anew = Some(cooldown(11, 12));
        assert_eq!(merged_one([before, None, anew]), anew);
        assert_eq!(merged_one([before, anew, None]), anew);
    }

    #[test]
    fn who_tries_it_here_is_still_known() {
        let tried = Cooldown {
            probing: 99,
            ..cooldown(1, 10)
        };
        let before = Some(cooldown(1, 10));
        assert_eq!(merged_one([before, Some(tried), before]), Some(tried));
        assert_eq!(merged_one([None, Some(tried), before]), Some(tried));
    }

    fn one() -> impl Strategy<Value = Option<Cooldown>> {
        prop::option::of((0u64..4, 0u64..4).prop_map(|(since, more)| cooldown(since, since + more)))
    }

    proptest! {
        /// Two replicas that write in turn end with the same, whatever each had learnt, and a
        /// third turn changes nothing more.
        #[test]
        fn replicas_agree(before in one(), first in one(), second in one()) {
            let stored = merged_one([before, first, before]);
            let both = merged_one([before, second, stored]);
            // The first one hears of it.
            prop_assert_eq!(merged_one([stored, stored, both]), both);
            prop_assert_eq!(merged_one([both, both, both]), both);
        }
    }
}
