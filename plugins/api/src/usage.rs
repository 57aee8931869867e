/// Tokens of one call, as the provider counted them in its answer.
///
/// `input` and `output` are what quota and limits count; the others are parts of them that are
/// priced differently, and never added on top.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt, cached ones included.
    pub input: u64,
    /// Tokens of the answer, reasoning included.
    pub output: u64,
    /// Of `input`: read from the provider's prompt cache.
    pub cache_read: u64,
    /// Of `input`: written to the provider's prompt cache.
    pub cache_write: u64,
    /// Of `output`: spent on reasoning.
    pub reasoning: u64,
}
