//! The vendors' words for the tokens of a call, and what they come to.

mod cursor;

use serde::Deserialize;
use turnpike_api::Usage;

use cursor::{Counts, Cursor};

/// OpenAI's, in both of its spellings, and what vendors after its model add.
#[derive(Default, Deserialize)]
pub(crate) struct OpenAiCounts {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    prompt_tokens_details: Option<InputDetails>,
    input_tokens_details: Option<InputDetails>,
    completion_tokens_details: Option<OutputDetails>,
    output_tokens_details: Option<OutputDetails>,
    /// DeepSeek's word for cached tokens.
    prompt_cache_hit_tokens: Option<u64>,
}

#[derive(Default, Deserialize)]
struct InputDetails {
    cached_tokens: Option<u64>,
    /// OpenRouter's.
    cache_write_tokens: Option<u64>,
}

#[derive(Default, Deserialize)]
struct OutputDetails {
    reasoning_tokens: Option<u64>,
}

impl Counts for OpenAiCounts {
    #[inline(always)]
    fn member(&mut self, key: &[u8], cursor: &mut Cursor<'_>) -> Option<()> {
        match key {
            b"prompt_tokens" => self.prompt_tokens = cursor.count()?,
            b"completion_tokens" => self.completion_tokens = cursor.count()?,
            b"input_tokens" => self.input_tokens = cursor.count()?,
            b"output_tokens" => self.output_tokens = cursor.count()?,
            b"prompt_tokens_details" => self.prompt_tokens_details = cursor.maybe_object()?,
            b"input_tokens_details" => self.input_tokens_details = cursor.maybe_object()?,
            b"completion_tokens_details" => {
                self.completion_tokens_details = cursor.maybe_object()?
            }
            b"output_tokens_details" => self.output_tokens_details = cursor.maybe_object()?,
            b"prompt_cache_hit_tokens" => self.prompt_cache_hit_tokens = cursor.count()?,
            _ => cursor.skip()?,
        }
        Some(())
    }
}

impl Counts for InputDetails {
    #[inline(always)]
    fn member(&mut self, key: &[u8], cursor: &mut Cursor<'_>) -> Option<()> {
        match key {
            b"cached_tokens" => self.cached_tokens = cursor.count()?,
            b"cache_write_tokens" => self.cache_write_tokens = cursor.count()?,
            _ => cursor.skip()?,
        }
        Some(())
    }
}

impl Counts for OutputDetails {
    #[inline(always)]
    fn member(&mut self, key: &[u8], cursor: &mut Cursor<'_>) -> Option<()> {
        match key {
            b"reasoning_tokens" => self.reasoning_tokens = cursor.count()?,
            _ => cursor.skip()?,
        }
        Some(())
    }
}

impl OpenAiCounts {
    /// `None` when it counts no tokens (transcriptions may be counted in seconds).
    pub(crate) fn usage(&self) -> Option<Usage> {
        let input = self.prompt_tokens.or(self.input_tokens);
        let output = self.completion_tokens.or(self.output_tokens);
        input.or(output)?;
        let inputs = self
            .prompt_tokens_details
            .as_ref()
            .or(self.input_tokens_details.as_ref());
        let outputs = self
            .completion_tokens_details
            .as_ref()
            .or(self.output_tokens_details.as_ref());
        Some(Usage {
            input: input.unwrap_or(0),
            output: output.unwrap_or(0),
            cache_read: inputs
                .and_then(|details| details.cached_tokens)
                .or(self.prompt_cache_hit_tokens)
                .unwrap_or(0),
            cache_write: inputs
                .and_then(|details| details.cache_write_tokens)
                .unwrap_or(0),
            reasoning: outputs
                .and_then(|details| details.reasoning_tokens)
                .unwrap_or(0),
        })
    }
}

/// Anthropic's: what came of the cache, or went to it, is not within `input_tokens`.
#[derive(Clone, Copy, Default, Deserialize)]
pub(crate) struct AnthropicCounts {
    input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    output_tokens: Option<u64>,
}

impl Counts for AnthropicCounts {
    #[inline(always)]
    fn member(&mut self, key: &[u8], cursor: &mut Cursor<'_>) -> Option<()> {
        match key {
            b"input_tokens" => self.input_tokens = cursor.count()?,
            b"cache_creation_input_tokens" => self.cache_creation_input_tokens = cursor.count()?,
            b"cache_read_input_tokens" => self.cache_read_input_tokens = cursor.count()?,
            b"output_tokens" => self.output_tokens = cursor.count()?,
            _ => cursor.skip()?,
        }
        Some(())
    }
}

impl AnthropicCounts {
    /// Takes in later counts of the same answer. They are cumulative, and some servers send zeros
    /// first or last: the larger one counts.
    pub(crate) fn merge(&mut self, later: Self) {
        self.input_tokens = self.input_tokens.max(later.input_tokens);
        self.cache_creation_input_tokens = self
            .cache_creation_input_tokens
            .max(later.cache_creation_input_tokens);
        self.cache_read_input_tokens = self
            .cache_read_input_tokens
            .max(later.cache_read_input_tokens);
        self.output_tokens = self.output_tokens.max(later.output_tokens);
    }

    pub(crate) fn usage(&self) -> Option<Usage> {
        self.input_tokens.or(self.output_tokens)?;
        let cache_read = self.cache_read_input_tokens.unwrap_or(0);
        let cache_write = self.cache_creation_input_tokens.unwrap_or(0);
        let input = self.input_tokens.unwrap_or(0);
        Some(Usage {
            input: input.saturating_add(cache_read).saturating_add(cache_write),
            output: self.output_tokens.unwrap_or(0),
            cache_read,
            cache_write,
            reasoning: 0,
        })
    }
}

/// Google's.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GeminiCounts {
    prompt_token_count: Option<u64>,
    tool_use_prompt_token_count: Option<u64>,
    candidates_token_count: Option<u64>,
    thoughts_token_count: Option<u64>,
    cached_content_token_count: Option<u64>,
}

impl Counts for GeminiCounts {
    #[inline(always)]
    fn member(&mut self, key: &[u8], cursor: &mut Cursor<'_>) -> Option<()> {
        match key {
            b"promptTokenCount" => self.prompt_token_count = cursor.count()?,
            b"toolUsePromptTokenCount" => self.tool_use_prompt_token_count = cursor.count()?,
            b"candidatesTokenCount" => self.candidates_token_count = cursor.count()?,
            b"thoughtsTokenCount" => self.thoughts_token_count = cursor.count()?,
            b"cachedContentTokenCount" => self.cached_content_token_count = cursor.count()?,
            _ => cursor.skip()?,
        }
        Some(())
    }
}

impl GeminiCounts {
    pub(crate) fn usage(&self) -> Option<Usage> {
        self.prompt_token_count.or(self.candidates_token_count)?;
        let reasoning = self.thoughts_token_count.unwrap_or(0);
        let tool_use = self.tool_use_prompt_token_count.unwrap_or(0);
        Some(Usage {
            input: self
                .prompt_token_count
                .unwrap_or(0)
                .saturating_add(tool_use),
            output: self
                .candidates_token_count
                .unwrap_or(0)
                .saturating_add(reasoning),
            cache_read: self.cached_content_token_count.unwrap_or(0),
            cache_write: 0,
            reasoning,
        })
    }
}

/// Reads the `usage` object that the bytes begin with, in any spelling of its dialect: what it
/// says, and how long it is. `None` when it says nothing.
pub(crate) type ReadUsage = fn(&[u8]) -> Option<(Usage, usize)>;

pub(crate) fn read_openai(bytes: &[u8]) -> Option<(Usage, usize)> {
    read(bytes, OpenAiCounts::usage)
}

pub(crate) fn read_anthropic(bytes: &[u8]) -> Option<(Usage, usize)> {
    read(bytes, AnthropicCounts::usage)
}

pub(crate) fn read_gemini(bytes: &[u8]) -> Option<(Usage, usize)> {
    read(bytes, GeminiCounts::usage)
}

fn read<C: Counts>(bytes: &[u8], usage: fn(&C) -> Option<Usage>) -> Option<(Usage, usize)> {
    let mut cursor = Cursor::new(bytes);
    let usage = usage(&cursor.object()?)?;
    Some((usage, bytes.len() - cursor.rest().len()))
}

pub(crate) fn openai(object: &[u8]) -> Option<Usage> {
    read_openai(object).map(|(usage, _)| usage)
}

pub(crate) fn gemini(object: &[u8]) -> Option<Usage> {
    read_gemini(object).map(|(usage, _)| usage)
}

/// The JSON value that `bytes` begin with, whatever follows it.
pub(crate) fn leading<'b, T: Deserialize<'b>>(bytes: &'b [u8]) -> Option<T> {
    T::deserialize(&mut serde_json::Deserializer::from_slice(bytes)).ok()
}

#[cfg(test)]
mod tests;
