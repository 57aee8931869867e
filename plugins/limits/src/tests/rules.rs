use std::sync::Arc;

use turnpike_api::{Level, Limit, Measure, ModelRules, OnUnavailable, Window};

use super::fleet::minutes;
use crate::rules::{Caller, Model, Rule, Rules};

fn limit(name: &str, level: Level, only: &[&str], most: u64) -> Rule {
    let limit = Limit {
        name: name.into(),
        level,
        only: (!only.is_empty()).then(|| ModelRules::new(only)),
        measure: Measure::Requests,
        window: minutes(),
        most,
        on_unavailable: OnUnavailable::Deny,
    };
    Rule::new("t", Arc::new(limit))
}

fn found(rules: &Rules, caller: &Caller<'_>) -> Vec<String> {
    let mut found = Vec::new();
    rules.of(caller, |rule, subject| {
        found.push(format!("{}={subject}", rule.limit.name));
    });
    found
}

const CALLER: Caller<'static> = Caller {
    roles: &[],
    user: "https://idp 7",
    user_name: "Ada@acme.com",
    token: "abc",
    token_name: "laptop",
    api_key: None,
    model: Some(OPUS),
};

const OPUS: Model<'static> = Model {
    counted: "claude-opus-4",
    names: ["work/best", "Claude-Opus-4"],
};

#[test]
fn each_level_has_its_subject() {
    let rules = Rules {
        general: vec![
            limit("all", Level::Tenant, &[], 1),
            limit("each", Level::User, &[], 1),
            limit("acme", Level::User, &["*@acme.com"], 1),
            limit("others", Level::User, &["*", "!*@acme.com"], 1),
            limit("token", Level::Token, &[], 1),
            limit("laptop", Level::Token, &["laptop"], 1),
            limit("phone", Level::Token, &["phone"], 1),
            limit("opus", Level::Model, &["claude-opus*"], 1),
            limit("gpt", Level::Model, &["gpt*"], 1),
            limit("teams", Level::Role, &[], 1),
            limit("guests", Level::Role, &["guest"], 1),
            limit("keys", Level::Credential, &[], 1),
        ],
        ..Rules::default()
    };
    let roles = ["dev".into(), "lead".into()];
    let caller = Caller {
        roles: &roles,
        ..CALLER
    };
    assert_eq!(
        found(&rules, &caller),
        [
            "all=",
            "each=https://idp 7",
            "acme=https://idp 7",
            "token=abc",
            "laptop=abc",
            "opus=claude-opus-4",
            "teams=dev",
            "teams=lead",
        ]
    );
}

#[test]
fn of_several_roles_the_highest_limit_counts() {
    let tier = |name: &str, most| limit(name, Level::User, &[], most);
    let of = |role: &str, rules| (Arc::from(role), rules);
    let in_all = Limit {
        window: Window::Total,
        ..(*tier("dev.total", 9).limit).clone()
    };
    let rules = Rules {
        of_roles: vec![
            of(
                "dev",
                vec![tier("dev", 60), Rule::new("t", Arc::new(in_all))],
            ),
            of("lead", vec![tier("lead", 600)]),
            of("twin", vec![tier("twin", 600)]),
            of("silent", Vec::new()),
        ],
        ..Rules::default()
    };
    for (roles, expected) in [
        (&["dev"][..], &["dev", "dev.total"][..]),
        (&["dev", "lead"], &["dev.total", "lead"]),
        (&["lead", "silent"], &["lead"]),
        (&["lead", "twin"], &["lead"]),
        (&["twin", "lead", "dev"], &["twin", "dev.total"]),
        (&["silent"], &[]),
        (&[], &[]),
    ] {
        let roles: Vec<Arc<str>> = roles.iter().map(|role| Arc::from(*role)).collect();
        let caller = Caller {
            roles: &roles,
            ..CALLER
        };
        let expected: Vec<_> = expected
            .iter()
            .map(|name| format!("{name}=https://idp 7"))
            .collect();
        assert_eq!(found(&rules, &caller), expected, "{roles:?}");
    }
}

#[test]
fn a_key_has_limits_of_its_own() {
    let rules = Rules {
        of_keys: vec![("ci".into(), vec![limit("ci", Level::Token, &[], 5)])],
        ..Rules::default()
    };
    assert_eq!(found(&rules, &CALLER), [""; 0]);
    let caller = Caller {
        api_key: Some("ci"),
        token: "key ci",
        ..CALLER
    };
    assert_eq!(found(&rules, &caller), ["ci=key ci"]);
}
