use zeroize::Zeroizing;

/// A secret value: an API key, a token, a private key.
///
/// It has no `Debug`, `Display` or `Serialize`, so it cannot reach a log line, an error or a page
/// by accident, and its memory is overwritten when it is dropped. Call [`expose`](Self::expose)
/// only where the bytes are used.
///
/// ```
/// let key = turnpike_api::Secret::new("sk-live-1234567890");
/// assert_eq!(key.tail(), "7890");
/// assert_eq!(key.expose(), "sk-live-1234567890");
/// ```
///
/// ```compile_fail
/// println!("{:?}", turnpike_api::Secret::new("sk-live"));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Box<str>>);

impl Secret {
    /// Takes ownership of the value.
    pub fn new(value: impl Into<Box<str>>) -> Self {
        Self(Zeroizing::new(value.into()))
    }

    /// The value itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether it is a value from an example, which somebody forgot to replace, in any case of
    /// letters and with `_` for `-`.
    ///
    /// ```
    /// use turnpike_api::Secret;
    /// assert!(Secret::new("YOUR_API_KEY_HERE").is_placeholder());
    /// assert!(Secret::new("YOUR_32_BYTE_ENCRYPTION_KEY_HERE").is_placeholder());
    /// assert!(!Secret::new("sk-your-own-9f3a").is_placeholder());
    /// ```
    pub fn is_placeholder(&self) -> bool {
        let text = Zeroizing::new(self.0.to_lowercase().replace('_', "-"));
        let starts = [
            "your-api-key",
            "sk-your-api-key",
            "your-token",
            "${",
            "<your",
        ];
        starts.iter().any(|start| text.starts_with(start))
            || (text.starts_with("your-") && text.ends_with("-here"))
            || matches!(text.as_str(), "changeme" | "change-me" | "replace-me")
    }

    /// The last four characters, the most a listing may show; empty for a value of fewer than
    /// twelve characters, of which four would say too much.
    pub fn tail(&self) -> &str {
        match self.0.char_indices().rev().nth(3) {
            Some((at, _)) if self.0.chars().count() >= 12 => &self.0[at..],
            _ => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tail_hides_short_values() {
        assert_eq!(Secret::new("short").tail(), "");
        assert_eq!(Secret::new("abcdefghijk").tail(), "");
        assert_eq!(Secret::new("abcdefghijkl").tail(), "ijkl");
        assert_eq!(Secret::new("äöüäöüäöüäöü").tail(), "üäöü");
    }
}
