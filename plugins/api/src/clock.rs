/// Tells the time. The only way a plugin learns it, so that a test can be in any month.
///
/// Milliseconds since 1970-01-01 UTC, leap seconds not counted. It goes on evenly, and leaps only
/// where the machine's own time was wrong or stood still.
///
/// ```
/// use turnpike_api::Clock;
///
/// struct Stopped(u64);
///
/// impl Clock for Stopped {
///     fn now(&self) -> u64 {
///         self.0
///     }
/// }
/// ```
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> u64;
}
