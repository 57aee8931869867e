use futures::executor::block_on;

use crate::{Authenticator, Presented, Verdict};

/// Credentials that are nobody's, each near to something that is.
const STRANGERS: &[&str] = &[
    "x",
    "sk-",
    "tp-",
    "Bearer",
    "null",
    "undefined",
    "0",
    "a.b.c",
    "ÿ",
];

/// Checks an authenticator that knows every credential of `known`.
///
/// It knows them, again and again; it claims no stranger; and a known credential cut short,
/// lengthened, or of another case is a stranger.
pub fn conforming_authenticator(authenticator: &dyn Authenticator, known: &[&str]) {
    let verdict = |token: &str| block_on(authenticator.authenticate(Presented::new(token)).get());
    let is_known = |token: &str| matches!(verdict(token), Verdict::Known(_));

    for token in known {
        assert!(is_known(token), "a known credential was refused");
        assert_eq!(
            verdict(token),
            verdict(token),
            "asked twice, it answered differently"
        );

        let near = [
            token[..token.len() - 1].to_owned(),
            format!("{token}x"),
            format!("{token}{token}"),
            token.to_ascii_uppercase(),
            token.to_ascii_lowercase(),
            token.chars().rev().collect(),
        ];
        for stranger in near
            .iter()
            .filter(|near| !known.contains(&near.as_str()) && !near.is_empty())
        {
            assert!(
                !is_known(stranger),
                "a credential that only resembles a known one was let in"
            );
        }
    }
    for stranger in STRANGERS
        .iter()
        .filter(|stranger| !known.contains(stranger))
    {
        assert!(!is_known(stranger), "{stranger:?} was let in");
    }
    assert!(
        !is_known(&"k".repeat(1 << 20)),
        "a megabyte of nothing was let in"
    );
}
