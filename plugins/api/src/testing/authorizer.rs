use futures::executor::block_on;

use crate::{Ask, Authorizer, Decision, Identity, ModelRules, Operation};

/// Checks an authorizer: it answers every operation and odd model names without a panic, answers
/// the same twice, and never allows a model the identity's own rules deny.
pub fn conforming_authorizer(authorizer: &dyn Authorizer) {
    let models = [
        "gpt-4o",
        "",
        "*",
        "GPT-4O",
        "work/gpt-4o",
        "a\u{0}b",
        "Ünïcode",
    ];
    let identities = [
        ("all", ModelRules::any()),
        ("some", ModelRules::new(["gpt-*", "!*-preview"])),
        ("none", ModelRules::default()),
    ];
    for (name, rules) in identities {
        let identity = Identity {
            name: name.into(),
            models: rules,
        };
        for operation in Operation::ALL {
            for model in models {
                let ask = Ask {
                    operation,
                    model: model.into(),
                    stream: false,
                    max_tokens: None,
                    body_len: 2,
                };
                let decision = block_on(authorizer.authorize(&identity, &ask).get());
                let again = block_on(authorizer.authorize(&identity, &ask).get());
                assert_eq!(decision, again, "asked twice, it answered differently");
                if decision == Decision::Allow && !model.is_empty() {
                    assert!(identity.models.allow(model), "{name} was allowed {model:?}");
                }
            }
        }
    }
}
