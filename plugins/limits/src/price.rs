//! What calls cost.

use turnpike_api::Usage;

/// Tokens that a price is for.
const MILLION: u128 = 1_000_000;

/// Prices of a model, in millionths of a US dollar for a million tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Price {
    /// Of prompts, as far as they are not cached.
    pub input: u64,
    /// Of answers.
    pub output: u64,
    /// Of prompts that the provider read from its cache.
    pub cache_read: u64,
    /// Of prompts that it wrote to its cache.
    pub cache_write: u64,
}

impl Price {
    /// What `usage` costs, in millionths of a US dollar, rounded up once.
    pub fn of(&self, usage: &Usage) -> u64 {
        let cached = usage.cache_read.saturating_add(usage.cache_write);
        let plain = usage.input.saturating_sub(cached);
        let parts = [
            (plain, self.input),
            (usage.cache_read, self.cache_read),
            (usage.cache_write, self.cache_write),
            (usage.output, self.output),
        ];
        let cost: u128 = parts
            .iter()
            .map(|(tokens, price)| u128::from(*tokens) * u128::from(*price))
            .fold(0, u128::saturating_add);
        u64::try_from(cost.div_ceil(MILLION)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRICE: Price = Price {
        input: 2_500_000,
        output: 10_000_000,
        cache_read: 1_250_000,
        cache_write: 3_125_000,
    };

    #[test]
    fn each_token_has_one_price() {
        let usage = Usage {
            input: 1000,
            output: 100,
            cache_read: 600,
            cache_write: 100,
            reasoning: 40,
        };
        // 300 × 2.5 + 600 × 1.25 + 100 × 3.125 + 100 × 10 = 2812.5
        assert_eq!(PRICE.of(&usage), 2813);
        let one = Usage {
            input: 1,
            ..Usage::default()
        };
        assert_eq!(PRICE.of(&one), 3);
        assert_eq!(PRICE.of(&Usage::default()), 0);
        assert_eq!(Price::default().of(&usage), 0);
    }

    #[test]
    fn absurd_numbers_do_not_wrap() {
        let usage = Usage {
            input: u64::MAX,
            output: u64::MAX,
            cache_read: u64::MAX,
            cache_write: u64::MAX,
            reasoning: 0,
        };
        let dear = Price {
            input: u64::MAX,
            output: u64::MAX,
            cache_read: u64::MAX,
            cache_write: u64::MAX,
        };
        assert_eq!(dear.of(&usage), u64::MAX);
    }
}
