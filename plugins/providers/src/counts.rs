//! The vendors' words for the tokens of a call, and what they come to.

use serde::Deserialize;
use turnpike_api::Usage;

/// OpenAI's, in both of its spellings, and what vendors after its model add.
#[derive(Deserialize)]
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

#[derive(Deserialize)]
struct InputDetails {
    cached_tokens: Option<u64>,
    /// OpenRouter's.
    cache_write_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct OutputDetails {
    reasoning_tokens: Option<u64>,
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
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GeminiCounts {
    prompt_token_count: Option<u64>,
    tool_use_prompt_token_count: Option<u64>,
    candidates_token_count: Option<u64>,
    thoughts_token_count: Option<u64>,
    cached_content_token_count: Option<u64>,
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

/// What an answer's `usage` object says, in any spelling of its dialect.
pub(crate) type ReadUsage = fn(&[u8]) -> Option<Usage>;

pub(crate) fn openai(object: &[u8]) -> Option<Usage> {
    leading::<OpenAiCounts>(object)?.usage()
}

pub(crate) fn anthropic(object: &[u8]) -> Option<Usage> {
    leading::<AnthropicCounts>(object)?.usage()
}

pub(crate) fn gemini(object: &[u8]) -> Option<Usage> {
    leading::<GeminiCounts>(object)?.usage()
}

/// The JSON value that `bytes` begin with, whatever follows it.
pub(crate) fn leading<'b, T: Deserialize<'b>>(bytes: &'b [u8]) -> Option<T> {
    T::deserialize(&mut serde_json::Deserializer::from_slice(bytes)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openai_spellings() {
        let chat = br#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,
            "prompt_tokens_details":{"cached_tokens":4,"audio_tokens":null},
            "completion_tokens_details":{"reasoning_tokens":3}},"and":"more"#;
        let expected = Usage {
            input: 10,
            output: 5,
            cache_read: 4,
            cache_write: 0,
            reasoning: 3,
        };
        assert_eq!(openai(chat), Some(expected));
        let responses = br#"{"input_tokens":10,"input_tokens_details":{"cached_tokens":4},
            "output_tokens":5,"output_tokens_details":{"reasoning_tokens":3}}"#;
        assert_eq!(openai(responses), Some(expected));
        let deepseek = br#"{"prompt_tokens":10,"completion_tokens":5,"prompt_cache_hit_tokens":4,
            "completion_tokens_details":{"reasoning_tokens":3}}"#;
        assert_eq!(openai(deepseek), Some(expected));
        assert_eq!(openai(br#"{"type":"duration","seconds":3}"#), None);
    }

    #[test]
    fn anthropic_caches_are_input() {
        let counts = br#"{"input_tokens":1,"cache_creation_input_tokens":20,
            "cache_read_input_tokens":300,"output_tokens":4}"#;
        let expected = Usage {
            input: 321,
            output: 4,
            cache_read: 300,
            cache_write: 20,
            reasoning: 0,
        };
        assert_eq!(anthropic(counts), Some(expected));
    }

    #[test]
    fn gemini_thoughts_are_output() {
        let counts = br#"{"promptTokenCount":10,"toolUsePromptTokenCount":2,
            "candidatesTokenCount":5,"thoughtsTokenCount":7,"cachedContentTokenCount":3}"#;
        let expected = Usage {
            input: 12,
            output: 12,
            cache_read: 3,
            cache_write: 0,
            reasoning: 7,
        };
        assert_eq!(gemini(counts), Some(expected));
    }
}
