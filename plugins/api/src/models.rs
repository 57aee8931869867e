/// Which models a caller may use: globs with `*`, matched without regard to case, `!` in front of
/// one that denies. Any deny wins; no rule that allows means nothing is allowed.
///
/// ```
/// use turnpike_api::ModelRules;
/// let rules = ModelRules::new(["gpt-*", "!*-preview"]);
/// assert!(rules.allow("GPT-4o"));
/// assert!(!rules.allow("gpt-4o-preview"));
/// assert!(!rules.allow("claude-sonnet"));
/// assert!(ModelRules::any().allow("anything"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelRules {
    allow: Vec<Box<str>>,
    deny: Vec<Box<str>>,
}

impl ModelRules {
    /// Compiles the rules as written in configuration.
    pub fn new<S: AsRef<str>>(rules: impl IntoIterator<Item = S>) -> Self {
        let mut compiled = Self::default();
        for rule in rules {
            let rule = rule.as_ref().trim();
            match rule.strip_prefix('!') {
                Some(denied) => compiled.deny.push(denied.to_ascii_lowercase().into()),
                None => compiled.allow.push(rule.to_ascii_lowercase().into()),
            }
        }
        compiled
    }

    /// Everything is allowed.
    pub fn any() -> Self {
        Self::new(["*"])
    }

    /// Whether every model may be used, whatever its name.
    pub fn is_any(&self) -> bool {
        !self.has_denials() && self.grants_any()
    }

    /// Whether `model` may be used.
    pub fn allow(&self, model: &str) -> bool {
        self.grants(model) && !self.denies(model)
    }

    /// Whether a rule grants `model`, whatever others deny.
    pub fn grants(&self, model: &str) -> bool {
        self.allow.iter().any(|glob| glob_matches(glob, model))
    }

    /// Whether a rule denies `model`. Blanks around a name get around nothing: a provider may not mind
    /// them.
    pub fn denies(&self, model: &str) -> bool {
        let model = model.trim();
        self.deny.iter().any(|glob| glob_matches(glob, model))
    }

    /// Whether they grant every name, whatever they deny.
    pub fn grants_any(&self) -> bool {
        self.allow.iter().any(|glob| &**glob == "*")
    }

    /// Whether a rule denies something.
    pub fn has_denials(&self) -> bool {
        !self.deny.is_empty()
    }
}

/// Whether `glob` (lower case, `*` for any run of characters) matches all of `name`, ASCII case
/// aside. Linear: on a mismatch only the last `*` is extended, earlier ones never need to be.
pub fn glob_matches(glob: &str, name: &str) -> bool {
    let (glob, name) = (glob.as_bytes(), name.as_bytes());
    let (mut g, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if g < glob.len() && glob[g] == b'*' {
            star = Some((g, n));
            g += 1;
        } else if g < glob.len() && glob[g] == name[n].to_ascii_lowercase() {
            g += 1;
            n += 1;
        } else if let Some((at, from)) = star {
            star = Some((at, from + 1));
            g = at + 1;
            n = from + 1;
        } else {
            return false;
        }
    }
    glob[g..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        for (glob, name, expected) in [
            ("gpt-*", "gpt-4o", true),
            ("gpt-*", "GPT-4O", true),
            ("gpt-*", "gpt", false),
            ("*", "", true),
            ("", "", true),
            ("", "x", false),
            ("*-preview", "o1-preview", true),
            ("*-preview", "o1-preview-2", false),
            ("a*b*c", "aXXbYYc", true),
            ("a*b*c", "aXXbYY", false),
            ("a**c", "abc", true),
            ("work/*", "work/gpt-4o", true),
        ] {
            assert_eq!(glob_matches(glob, name), expected, "{glob} against {name}");
        }
    }

    #[test]
    fn blanks_get_around_no_denial() {
        let rules = ModelRules::new(["*", "!o1"]);
        for name in ["o1", " o1", "O1\u{a0}", "o1\t"] {
            assert!(!rules.allow(name), "{name:?}");
        }
        assert!(rules.allow("o1-mini"));
    }

    #[test]
    fn a_deny_alone_allows_nothing() {
        assert!(!ModelRules::new(["!x"]).allow("y"));
        assert!(!ModelRules::default().allow("y"));
    }
}
