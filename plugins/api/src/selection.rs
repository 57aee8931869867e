/// A credential's position within its [`Tier`], counted over the ready ones only.
pub type Slot = usize;

/// The ready credentials of one pool that share the best priority still in play.
///
/// Ready are those that are neither disabled nor cooling, serve the model, and have quota left.
/// Slots run from 0 to `ids.len() - 1`, in configured order.
pub struct Tier<'a> {
    /// Which credentials they are, ascending: a number that stays a credential's own while others
    /// come and go.
    pub ids: &'a [u32],
    /// Sums of the weights up to and with each slot; empty when all weights are the same.
    pub weights: &'a [u64],
    /// A number that grows by one with each request of the pool.
    pub turn: u64,
    /// The id of the credential that was chosen last, by any request.
    pub last: u32,
    /// Whether this request has tried a slot already. True for few.
    pub tried: &'a dyn Fn(Slot) -> bool,
    /// Tokens left of a slot's quota, running requests taken off; `u64::MAX` where it has none.
    pub remaining: &'a dyn Fn(Slot) -> u64,
}

impl Tier<'_> {
    /// The first slot that was not tried, from `slot` on and round the end.
    ///
    /// ```
    /// # use turnpike_api::Tier;
    /// let tier = Tier {
    ///     ids: &[4, 5, 9],
    ///     weights: &[],
    ///     turn: 0,
    ///     last: 4,
    ///     tried: &|slot| slot == 2,
    ///     remaining: &|_| u64::MAX,
    /// };
    /// assert_eq!(tier.untried_from(1), Some(1));
    /// assert_eq!(tier.untried_from(2), Some(0));
    /// ```
    pub fn untried_from(&self, slot: Slot) -> Option<Slot> {
        let len = self.ids.len();
        (slot..len)
            .chain(0..slot.min(len))
            .find(|&slot| !(self.tried)(slot))
    }
}

/// A selection strategy: which credential of a tier serves next.
///
/// Pure and quick: it sees no clock and no store, and keeps no state of its own, so that the same
/// tier gives the same answer. It is total: it returns `None` only when every slot was tried, and
/// never a tried one. Its cost does not grow with the tier.
///
/// ```
/// use turnpike_api::{Selector, Slot, Tier};
///
/// struct Last;
///
/// impl Selector for Last {
///     fn pick(&self, tier: &Tier<'_>) -> Option<Slot> {
///         (0..tier.ids.len()).rev().find(|&slot| !(tier.tried)(slot))
///     }
/// }
/// ```
pub trait Selector: Send + Sync {
    /// The slot to try next.
    fn pick(&self, tier: &Tier<'_>) -> Option<Slot>;
}
