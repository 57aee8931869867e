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

impl Usage {
    /// Both together. Absurd numbers stay at the largest.
    pub fn plus(&self, more: &Self) -> Self {
        Self {
            input: self.input.saturating_add(more.input),
            output: self.output.saturating_add(more.output),
            cache_read: self.cache_read.saturating_add(more.cache_read),
            cache_write: self.cache_write.saturating_add(more.cache_write),
            reasoning: self.reasoning.saturating_add(more.reasoning),
        }
    }
}
