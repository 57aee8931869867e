use fastrand::Rng;
use turnpike_api::{Attributes, Claim, ModelRules, Operation, Permission, testing};

use super::*;
use crate::{Binding, Matchers};

/// A role as it is written.
#[derive(Clone, Debug)]
struct Written {
    name: String,
    models: Vec<&'static str>,
    providers: Vec<&'static str>,
    permissions: Vec<Permission>,
}

impl Written {
    fn role(&self) -> Role {
        Role {
            name: self.name.as_str().into(),
            models: ModelRules::new(&self.models),
            providers: ModelRules::new(&self.providers),
            permissions: self.permissions.clone(),
            management: Vec::new(),
        }
    }
}

/// A role that everyone has.
fn everyones(role: Written) -> Roles {
    let binding = Binding {
        role: role.name.as_str().into(),
        matchers: Matchers {
            everyone: true,
            ..Matchers::default()
        },
    };
    let table = RoleTable::new(vec![role.role()], vec![binding]);
    Roles::new(Some(Arc::new(table)))
}

fn developer() -> Written {
    Written {
        name: "developer".into(),
        models: vec!["gpt-*", "!*-preview"],
        providers: vec!["*"],
        permissions: vec![Permission::Read, Permission::Write],
    }
}

fn anybody() -> Identity {
    Identity::new("anybody", ModelRules::any())
}

#[test]
fn conforms() {
    testing::conforming_authorizer(&Roles::new(None));
    let identities = [anybody()];
    for role in [
        developer(),
        Written {
            models: vec!["*"],
            ..developer()
        },
        Written {
            providers: vec!["openai", "!claude"],
            ..developer()
        },
        Written {
            permissions: Vec::new(),
            ..developer()
        },
    ] {
        testing::conforming_authorizer_of(&everyones(role), &identities);
    }
}

fn ask(operation: Operation, model: &str) -> Ask {
    Ask {
        operation,
        model: model.into(),
        stream: false,
        max_tokens: None,
        body_len: 0,
    }
}

fn decide(roles: &Roles, who: &Identity, ask: &Ask) -> Decision {
    match roles.authorize(who, ask) {
        Answer::Ready(decision) => decision,
        Answer::Pending(_) => panic!("roles need no waiting"),
    }
}

#[test]
fn a_call_that_names_no_model_needs_every_model() {
    for (models, may) in [
        (vec!["*"], true),
        (vec!["gpt-*"], false),
        (vec!["*", "!o1"], false),
    ] {
        let roles = everyones(Written {
            models: models.clone(),
            ..developer()
        });
        let decision = decide(&roles, &anybody(), &ask(Operation::PassThrough, ""));
        assert_eq!(decision != Decision::Deny(Denial::Model), may, "{models:?}");
    }
}

#[test]
fn two_roles_do_not_add_up_to_what_neither_grants() {
    let reads = Written {
        name: "reads".into(),
        models: vec!["claude-*"],
        permissions: vec![Permission::Read],
        ..developer()
    };
    let bindings = ["reads", "developer"].map(|role| Binding {
        role: role.into(),
        matchers: Matchers {
            everyone: true,
            ..Matchers::default()
        },
    });
    let table = RoleTable::new(vec![reads.role(), developer().role()], bindings.into());
    let roles = Roles::new(Some(Arc::new(table)));
    let may = |operation, model| decide(&roles, &anybody(), &ask(operation, model));
    assert_eq!(may(Operation::CountTokens, "claude-x"), Decision::AllowSome);
    assert_eq!(
        may(Operation::Messages, "claude-x"),
        Decision::Deny(Denial::Model)
    );
    assert_eq!(may(Operation::Messages, "gpt-x"), Decision::AllowSome);
    assert_eq!(
        may(Operation::Messages, "gpt-x-preview"),
        Decision::Deny(Denial::Model)
    );
}

const MODELS: &[&str] = &[
    "*", "gpt-*", "claude-*", "*-mini", "gpt-4o", "work/*", "FAST",
];
const DENIED: &[&str] = &["!*-preview", "!gpt-4o", "!o*", "!claude-*-mini", "!*"];
const PROVIDERS: &[&str] = &["*", "openai", "*router", "claude", "!openai", "!open*"];
const ASKED: &[&str] = &[
    "gpt-4o",
    "GPT-4o-mini",
    "work/gpt-4o",
    "fast",
    "work/fast",
    "o1",
    "gpt-5-preview",
    "claude-x-mini",
    "",
];
const VENDORS: &[&str] = &["openai", "openrouter", "claude"];
const GROUPS: &[&str] = &["eng", "ops", "sales"];

fn some<T: Clone>(rng: &mut Rng, of: &[T], most: usize) -> Vec<T> {
    let count = rng.usize(..=most);
    rng.choose_multiple(of.iter(), count)
        .into_iter()
        .cloned()
        .collect()
}

fn boxed(words: &[&'static str]) -> Vec<Box<str>> {
    words.iter().map(|&word| word.into()).collect()
}

fn random_role(rng: &mut Rng, at: usize) -> Written {
    let mut models = some(rng, MODELS, 4);
    if rng.u8(..4) == 0 {
        models.extend(some(rng, DENIED, 2));
    }
    let both = [Permission::Read, Permission::Write];
    Written {
        name: format!("role-{at}"),
        models,
        providers: match rng.bool() {
            true => vec!["*"],
            false => some(rng, PROVIDERS, 3),
        },
        permissions: match rng.u8(..4) {
            0 => some(rng, &both, 2),
            _ => both.into(),
        },
    }
}

fn random_matchers(rng: &mut Rng) -> Matchers {
    let mut matchers = Matchers {
        groups: boxed(&some(rng, GROUPS, 3)),
        ..Matchers::default()
    };
    if rng.u8(..4) == 0 {
        matchers.scopes = boxed(&some(rng, GROUPS, 2));
    }
    if rng.u8(..4) == 0 {
        matchers.claims = vec![("dept".into(), rng.choice(GROUPS).copied().unwrap().into())];
    }
    if rng.u8(..4) == 0 {
        matchers.email_domains = vec!["example.com".into()];
    }
    matchers.everyone = matchers == Matchers::default() && rng.bool();
    matchers
}

fn random_caller(rng: &mut Rng) -> Attributes {
    Attributes {
        groups: boxed(&some(rng, GROUPS, 3)),
        scopes: boxed(&some(rng, GROUPS, 2)),
        claims: vec![Claim {
            name: "dept".into(),
            values: boxed(&some(rng, GROUPS, 2)),
        }],
        email: rng.bool().then(|| "ada@example.com".into()),
        roles: match rng.u8(..4) {
            0 => vec!["role-0".into()],
            _ => Vec::new(),
        },
        ..Attributes::default()
    }
}

/// The rules once more, as a person would read them out, with nothing of the code above: which call
/// of whom may be served by whom.
mod naive {
    use super::*;

    fn glob(glob: &str, name: &str) -> bool {
        match glob.split_at_checked(1) {
            None => name.is_empty(),
            Some(("*", rest)) => (0..=name.len())
                .filter(|&at| name.is_char_boundary(at))
                .any(|at| self::glob(rest, &name[at..])),
            Some((letter, rest)) => {
                name.starts_with(letter) && self::glob(rest, &name[letter.len()..])
            }
        }
    }

    fn fits(rule: &str, name: &str) -> bool {
        glob(&rule.to_lowercase(), &name.to_lowercase())
    }

    fn has(matchers: &Matchers, caller: &Attributes) -> bool {
        let mut conditions: Vec<bool> = Vec::new();
        if matchers.everyone {
            conditions.push(true);
        }
        if !matchers.groups.is_empty() {
            let common = matchers.groups.iter();
            conditions.push(common.filter(|group| caller.groups.contains(group)).count() > 0);
        }
        if !matchers.scopes.is_empty() {
            let common = matchers.scopes.iter();
            conditions.push(common.filter(|scope| caller.scopes.contains(scope)).count() > 0);
        }
        for (_, value) in &matchers.claims {
            conditions.push(caller.claims[0].values.contains(value));
        }
        if !matchers.email_domains.is_empty() {
            conditions.push(caller.email.is_some());
        }
        !conditions.is_empty() && !conditions.contains(&false)
    }

    pub(super) fn may(
        roles: &[Written],
        bindings: &[(String, Matchers)],
        caller: &Attributes,
        (operation, asked): (Operation, &str),
        by: &Service<'_>,
    ) -> bool {
        let mine: Vec<&Written> = roles
            .iter()
            .filter(|role| {
                let bound = |(name, matchers): &(String, Matchers)| {
                    *name == role.name && has(matchers, caller)
                };
                caller.roles.iter().any(|given| **given == *role.name) || bindings.iter().any(bound)
            })
            .collect();
        let counts = [Operation::CountTokens, Operation::CountMessageTokens];
        let needed = match counts.contains(&operation) {
            true => Permission::Read,
            false => Permission::Write,
        };
        for role in &mine {
            for denied in role.models.iter().filter_map(|rule| rule.strip_prefix('!')) {
                if asked.is_empty()
                    || [asked, by.bare, by.model]
                        .iter()
                        .any(|name| fits(denied, name))
                {
                    return false;
                }
            }
            for denied in role
                .providers
                .iter()
                .filter_map(|rule| rule.strip_prefix('!'))
            {
                if fits(denied, by.provider) {
                    return false;
                }
            }
        }
        mine.iter().any(|role| {
            let model = match asked {
                "" => role.models.contains(&"*"),
                asked => role.models.iter().any(|rule| fits(rule, asked)),
            };
            role.permissions.contains(&needed)
                && model
                && role.providers.iter().any(|rule| fits(rule, by.provider))
        })
    }
}

/// What the asked name stands for at a provider.
fn service(asked: &'static str, provider: &'static str) -> Service<'static> {
    let bare = asked.strip_prefix("work/").unwrap_or(asked);
    let model = match (bare, provider) {
        ("fast", "openai") => "gpt-4o-mini",
        ("fast", _) => "o1-preview",
        _ => bare,
    };
    Service {
        provider,
        bare,
        model,
    }
}

#[test]
fn ten_thousand_cases_agree_with_the_rules_read_out() {
    let mut rng = Rng::with_seed(0x0f30_0f31);
    let (mut yes, mut no) = (0, 0);
    for case in 0..2_000 {
        let roles: Vec<Written> = (0..rng.usize(1..4))
            .map(|at| random_role(&mut rng, at))
            .collect();
        let bindings: Vec<(String, Matchers)> = (0..rng.usize(..5))
            .map(|_| {
                let role = rng.usize(..roles.len());
                (roles[role].name.clone(), random_matchers(&mut rng))
            })
            .collect();
        let bound = bindings.iter().map(|(role, matchers)| Binding {
            role: role.as_str().into(),
            matchers: matchers.clone(),
        });
        let table = RoleTable::new(roles.iter().map(Written::role).collect(), bound.collect());
        let authorizer = Roles::new(Some(Arc::new(table)));
        let caller = random_caller(&mut rng);
        let who = Identity::new("caller", ModelRules::any()).with(caller.clone());
        for _ in 0..8 {
            let operation = rng.choice(Operation::ALL).unwrap();
            let asked = rng.choice(ASKED).copied().unwrap();
            let by = service(asked, rng.choice(VENDORS).copied().unwrap());
            let ask = ask(operation, asked);
            let found = match decide(&authorizer, &who, &ask) {
                Decision::Allow => true,
                Decision::AllowSome => authorizer.permits(&who, &ask, &by),
                Decision::Deny(_) => false,
                Decision::Abstain => panic!("there are roles"),
            };
            let expected = naive::may(&roles, &bindings, &caller, (operation, asked), &by);
            assert_eq!(
                found, expected,
                "case {case}: {operation:?} {asked:?} by {by:?}\n{roles:#?}\n{bindings:#?}\n{caller:#?}"
            );
            match expected {
                true => yes += 1,
                false => no += 1,
            }
        }
    }
    assert!(yes > 1_000 && no > 1_000, "{yes} yes, {no} no");
}
