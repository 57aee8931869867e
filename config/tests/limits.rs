//! What limits and prices become.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use turnpike_api::{Level, Limit, Measure, OnUnavailable, Window};
use turnpike_config::{Environment, Kinds, Plan, UnknownModel, load_str, print_redacted};

const KINDS: Kinds<'_> = Kinds {
    providers: &[("openai", true), ("claude", true), ("gemini", true)],
};

fn none() -> Environment {
    Environment::from_pairs::<&str, &str>([])
}

fn plan_in(dir: &Path, text: &str) -> Plan {
    match load_str(text, dir, &none(), &KINDS) {
        Ok(plan) => plan,
        Err(problems) => panic!("{problems}"),
    }
}

fn plan(text: &str) -> Plan {
    plan_in(Path::new("conf"), text)
}

/// Name, level, measure, window, most, and what becomes of calls without the store.
fn row(limit: &Limit) -> (&str, Level, Measure, &str, u64, OnUnavailable) {
    let window = limit.window.as_str();
    let Limit {
        level,
        measure,
        most,
        on_unavailable,
        ..
    } = *limit;
    (&limit.name, level, measure, window, most, on_unavailable)
}

#[test]
fn limits_of_all_levels_and_windows() {
    use OnUnavailable::{Allow, Deny, LocalShare};
    let plan = plan(
        "limits:\n\
         - {name: org-cap, scope: tenant, measure: usd, window: month, limit: 5000, zone: Europe/Berlin, on-unavailable: allow}\n\
         - {scope: user, measure: requests, window: second, limit: 5}\n\
         - {scope: token, measure: input-tokens, window: minute, limit: 100}\n\
         - {scope: model, measure: usd, window: day, limit: 0.25, only: [\"claude-opus*\", \"!*-fast\"]}\n\
         - {scope: credential, measure: concurrency, limit: 8}\n\
         - {scope: role, measure: output_tokens, window: total, limit: '9007199254740992', on_unavailable: local_share}\n",
    );
    let rows: Vec<_> = plan.limits.iter().map(|limit| row(limit)).collect();
    assert_eq!(
        rows,
        [
            (
                "org-cap",
                Level::Tenant,
                Measure::Usd,
                "month",
                5_000_000_000,
                Allow
            ),
            (
                "user-requests-second",
                Level::User,
                Measure::Requests,
                "second",
                5,
                LocalShare
            ),
            (
                "token-input_tokens-minute",
                Level::Token,
                Measure::InputTokens,
                "minute",
                100,
                LocalShare
            ),
            (
                "model-usd-day",
                Level::Model,
                Measure::Usd,
                "day",
                250_000,
                Deny
            ),
            (
                "credential-concurrency",
                Level::Credential,
                Measure::Concurrency,
                "running",
                8,
                LocalShare
            ),
            (
                "role-output_tokens-total",
                Level::Role,
                Measure::OutputTokens,
                "total",
                1 << 53,
                LocalShare
            ),
        ]
    );
    let sliding = &plan.limits[1].window;
    assert!(matches!(sliding, Window::Sliding(second) if *second == Duration::from_secs(1)));
    assert!(plan.limits[1].only.is_none());
    let only = plan.limits[3].only.as_ref().unwrap();
    assert!(only.allow("Claude-Opus-5") && !only.allow("claude-opus-5-fast"));
    assert!(!only.allow("gpt-5"));
}

#[test]
fn limits_of_roles_keys_and_credentials() {
    use OnUnavailable::{Deny, LocalShare};
    let plan = plan(
        "roles: {dev: {models: ['*'], limits: {usd-per-month: 0.000001, requests_per_minute: 60, concurrency: 8, tokens_per_day: null}}}\n\
         api_keys: [{key: a-key-of-mine, name: ci, limits: {requests_total: 5}}, another-key-of-mine]\n\
         openai_api_key: [{api_key: k, caps: {concurrency: 5, requests_per_minute: null, tokens_per_minute: 9}}]\n",
    );
    let rows = |limits: &[std::sync::Arc<Limit>]| -> Vec<_> {
        let rows = limits.iter().map(|limit| row(limit));
        rows.map(|row| {
            (
                row.0.to_owned(),
                row.1,
                row.2,
                row.3.to_owned(),
                row.4,
                row.5,
            )
        })
        .collect()
    };
    let expected = |name: &str, level, measure, window: &str, most, without| {
        (
            name.to_owned(),
            level,
            measure,
            window.to_owned(),
            most,
            without,
        )
    };
    assert_eq!(
        rows(&plan.roles[0].limits),
        [
            expected(
                "role:dev:concurrency",
                Level::User,
                Measure::Concurrency,
                "running",
                8,
                LocalShare
            ),
            expected(
                "role:dev:requests_per_minute",
                Level::User,
                Measure::Requests,
                "minute",
                60,
                LocalShare
            ),
            expected(
                "role:dev:usd_per_month",
                Level::User,
                Measure::Usd,
                "month",
                1,
                Deny
            ),
        ]
    );
    assert_eq!(
        rows(&plan.client_keys[0].limits),
        [expected(
            "key:ci:requests_total",
            Level::Token,
            Measure::Requests,
            "total",
            5,
            Deny
        )]
    );
    assert!(plan.client_keys[1].limits.is_empty());
    assert_eq!(
        rows(&plan.providers[0].credentials[0].caps),
        [
            expected(
                "cap:concurrency",
                Level::Credential,
                Measure::Concurrency,
                "running",
                5,
                LocalShare
            ),
            expected(
                "cap:tokens_per_minute",
                Level::Credential,
                Measure::Tokens,
                "minute",
                9,
                LocalShare
            ),
        ]
    );
}

#[test]
fn a_spent_budget_is_403_unless_told() {
    assert_eq!(plan("").spent_status.as_u16(), 403);
    assert_eq!(plan("spent_status: 402").spent_status.as_u16(), 402);
    assert_eq!(plan("spent-status: 429").spent_status.as_u16(), 429);
}

#[test]
fn the_table_that_is_built_in_is_sound() {
    let prices = plan("").prices;
    assert_eq!(prices.unknown_model, UnknownModel::Count);
    let of = |provider: &str, model: &str| prices.price(provider, provider, model).unwrap();
    let sonnet = of("claude", "claude-sonnet-5-5");
    assert_eq!((sonnet.input, sonnet.output), (2_000_000, 10_000_000));
    assert_eq!(
        (sonnet.cache_read, sonnet.cache_write),
        (100_000, 2_500_000)
    );
    // Without prices of their own, cached tokens are as dear as others.
    let llama = of("groq", "llama-3.1-8b-instant");
    assert_eq!((llama.cache_read, llama.cache_write), (50_000, 50_000));
    assert!(
        prices
            .price("openai", "openai", "gpt-4o-audio-preview")
            .is_none()
    );
    assert!(
        prices
            .price("openai-compatible", "inhouse", "gpt-5")
            .is_none()
    );
    assert!(prices.price("openai", "work", "GPT-5").is_some());
}

#[test]
fn a_file_takes_the_place_of_the_table() {
    let dir = tempfile::tempdir().unwrap();
    let file =
        "version: 1\nprices:\n- {provider: in*, model: 'Llama-*', input: 0.0375, output: 0.5}\n";
    std::fs::write(dir.path().join("prices.yaml"), file).unwrap();
    let plan = plan_in(
        dir.path(),
        "prices: {file: prices.yaml, unknown_model: refuse}",
    );
    assert_eq!(plan.prices.table.len(), 1);
    assert_eq!(plan.prices.unknown_model, UnknownModel::Refuse);
    let price = plan
        .prices
        .price("openai-compatible", "inhouse", "llama-4")
        .unwrap();
    assert_eq!((price.input, price.output), (37_500, 500_000));
    assert!(plan.sources.contains(&dir.path().join("prices.yaml")));
}

#[test]
fn mistakes_of_a_price_file_have_its_lines() {
    let dir = tempfile::tempdir().unwrap();
    let name = dir.path().join("p.yaml");
    let file = "version: 2\nprices:\n\
                - {model: 'gpt-*', input: -1, output: 1}\n\
                - {model: 'gpt-*', input: 1, output: 1}\n\
                - {model: gpt-5, input: 1, output: 1}\n\
                - {model: '', input: 0.0000001, output: 1, cached: 5}\n\
                - {model: o3, output: 1e3}\n";
    std::fs::write(&name, file).unwrap();
    let text = "spent_status: 1\nprices: {file: p.yaml}\n";
    let problems = load_str(text, dir.path(), &none(), &KINDS).err().unwrap();
    let found: Vec<String> = problems.0.iter().map(|one| one.to_string()).collect();
    let found: Vec<&str> = found
        .iter()
        .map(|line| line.trim_start_matches(&name.display().to_string()))
        .collect();
    assert_eq!(
        found,
        [
            "config.yaml:1: spent_status: expected one of 403, 402, 429, found 1",
            ":1: version: this release reads version 1 of the format",
            ":3: prices[0].input: expected a number in digits, such as 200 or 0.5, found -1",
            ":5: prices[2]: `prices[1]` (line 4) is for all of these already; write this one above it",
            ":6: prices[3].cached: unknown key",
            ":6: prices[3].model: expected a name; `*` is any run of characters",
            ":6: prices[3].input: expected dollars per million tokens, with at most six places",
            ":7: prices[4].input: missing; this key is required",
            ":7: prices[4].output: expected a number in digits, such as 200 or 0.5, found 1e3",
        ]
    );
}

#[test]
fn what_is_probably_not_meant_is_a_warning() {
    let warnings = |text: &str| {
        let warnings = plan(text).warnings.into_iter();
        let of_limits = |one: &String| one.starts_with("limits") || one.starts_with("prices");
        warnings.filter(of_limits).collect::<Vec<_>>()
    };
    let limits = "limits: [{scope: role, measure: requests, window: day, limit: 1, only: [dve, 'd*']}, \
                  {scope: token, measure: requests, window: day, limit: 1, only: [ic]}, \
                  {scope: credential, measure: requests, window: day, limit: 1, only: ['openai/*']}]\n\
                  roles: {dev: {models: ['*']}}\napi_keys: [{key: a-key-of-mine, name: ci, roles: [dev]}]\n";
    assert_eq!(
        warnings(limits),
        [
            "limits[0].only[0]: no role is called so, so it is for nobody",
            "limits[1].only[0]: no entry of `api_keys` is called so; it is for agent tokens and signed \
             tokens only",
            "limits[2].only[0]: no credential here is called so; it is for credential files only",
        ]
    );
    let money = "api_keys: [{key: a-key-of-mine, limits: {usd_per_day: 5}}]\n\
                 openai_api_key: [{api_key: k, models: [gpt-5, {name: mine-1, alias: gpt-5-mini}, mine-2]}]\n";
    let found = warnings(money);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("prices: no price for `mine-1`, `mine-2` of the provider openai"));
    assert!(warnings(&money.replace("usd", "tokens")).is_empty());
}

#[test]
fn what_was_printed_is_the_same_again() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("turnpike.yaml");
    let text = "limits: [{scope: user, measure: usd, window: day, limit: 0.05}, {scope: user, measure: concurrency, limit: 8}]\n\
                roles: {dev: {models: ['*'], limits: {usd_per_day: 12.5, tokens_per_day: 7}}}\nspent_status: 402\n";
    std::fs::write(&file, text).unwrap();
    let printed = print_redacted(&file, &none(), &KINDS).unwrap();
    let (first, again) = (plan(text), plan(&printed));
    assert_eq!(row(&again.limits[0]), row(&first.limits[0]));
    assert_eq!(row(&again.limits[1]), row(&first.limits[1]));
    let most = |plan: &Plan| {
        plan.roles[0]
            .limits
            .iter()
            .map(|one| one.most)
            .collect::<Vec<_>>()
    };
    assert_eq!(most(&again), [7, 12_500_000]);
    assert_eq!(again.spent_status.as_u16(), 402);
}
