/// Index of a credential within its [`Tier`].
pub type Slot = usize;

/// The credentials of one pool that share the best priority still in play.
pub struct Tier<'a> {
    /// How many there are; slots run from 0 to `len - 1`, in configured order.
    pub len: usize,
    /// A number that grows by one with each request of the pool.
    pub turn: u64,
    /// Whether a slot may be chosen: not yet tried by this request, not disabled.
    pub eligible: &'a dyn Fn(Slot) -> bool,
}

/// A selection strategy: which credential of a tier serves next.
///
/// Pure and quick: it sees no clock and no store, and keeps no state of its own, so that the same
/// tier gives the same answer. It is total: it returns `None` only when no slot is eligible, and
/// never an ineligible one.
///
/// ```
/// use turnpike_api::{Selector, Slot, Tier};
///
/// struct Last;
///
/// impl Selector for Last {
///     fn pick(&self, tier: &Tier<'_>) -> Option<Slot> {
///         (0..tier.len).rev().find(|&slot| (tier.eligible)(slot))
///     }
/// }
///
/// assert_eq!(Last.pick(&Tier { len: 3, turn: 0, eligible: &|slot| slot != 2 }), Some(1));
/// ```
pub trait Selector: Send + Sync {
    /// The slot to try next.
    fn pick(&self, tier: &Tier<'_>) -> Option<Slot>;
}
