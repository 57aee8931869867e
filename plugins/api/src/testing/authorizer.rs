use futures::executor::block_on;

use crate::{Ask, Authorizer, Decision, Identity, ModelRules, Operation, Service};

/// Checks an authorizer: it answers every operation and odd model names without a panic, answers
/// the same twice, and never allows a model the identity's own rules deny, be it by its name, without
/// its prefix, or as what an alias stands for.
pub fn conforming_authorizer(authorizer: &dyn Authorizer) {
    let identities = [
        ("all", ModelRules::any()),
        ("some", ModelRules::new(["gpt-*", "!*-preview"])),
        ("none", ModelRules::default()),
    ];
    let identities = identities.map(|(name, rules)| Identity::new(name, rules));
    conforming_authorizer_of(authorizer, &identities);
}

/// The same, of these identities.
pub fn conforming_authorizer_of(authorizer: &dyn Authorizer, identities: &[Identity]) {
    let models = [
        "gpt-4o",
        "",
        "*",
        "GPT-4O",
        "work/gpt-4o",
        "gpt-5-preview",
        "a\u{0}b",
        "Ünïcode",
    ];
    for identity in identities {
        for operation in Operation::ALL {
            for model in models {
                let ask = Ask {
                    operation,
                    model: model.into(),
                    stream: false,
                    max_tokens: None,
                    body_len: 2,
                };
                check(authorizer, identity, &ask);
            }
        }
    }
}

fn check(authorizer: &dyn Authorizer, identity: &Identity, ask: &Ask) {
    let decide = || block_on(authorizer.authorize(identity, ask).get());
    let (decision, model) = (decide(), &*ask.model);
    assert_eq!(decision, decide(), "asked twice, it answered differently");
    assert_eq!(
        decision,
        block_on(authorizer.authorize(&identity.clone(), ask).get()),
        "of the same identity, seen for the first time, it answered differently"
    );
    let name = &identity.name;
    let allows = matches!(decision, Decision::Allow | Decision::AllowSome);
    if allows && !model.is_empty() {
        assert!(identity.models.allow(model), "{name} was allowed {model:?}");
    }
    for other in ["gpt-4o", "gpt-5-preview", "claude-x"] {
        let service = Service {
            provider: "openai",
            bare: model.rsplit('/').next().unwrap_or(model),
            model: other,
        };
        let permits = authorizer.permits(identity, ask, &service);
        assert_eq!(permits, authorizer.permits(identity, ask, &service));
        match decision {
            Decision::Allow => assert!(permits, "{name}: it allowed all, and then did not"),
            Decision::AllowSome if permits => assert!(
                !identity.models.denies(service.bare) && !identity.models.denies(other),
                "{name} was allowed {other:?} as {model:?}"
            ),
            Decision::AllowSome | Decision::Abstain | Decision::Deny(_) => {}
        }
    }
}
