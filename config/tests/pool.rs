//! What the keys of the credential pool become: `auth`, quotas, cooldowns, weights, stand-ins.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use turnpike_config::{
    AuthPlan, CooldownPlan, Environment, Kinds, Plan, ProxyChoice, QuotaExceededPlan, Selection,
    load_str, print_redacted, proxy_choice, upstream_url,
};

const KINDS: Kinds<'_> = Kinds {
    providers: &[
        ("openai", true),
        ("claude", true),
        ("gemini", true),
        ("openai-compatible", false),
    ],
};

fn plan_with(text: &str, pairs: &[(&str, &str)]) -> Plan {
    let environment = Environment::from_pairs(pairs.iter().copied());
    match load_str(text, Path::new("conf"), &environment, &KINDS) {
        Ok(plan) => plan,
        Err(problems) => panic!("{problems}"),
    }
}

fn plan(text: &str) -> Plan {
    plan_with(text, &[])
}

/// As the reference writes them out, of what this release serves.
const REFERENCE: &str = "
state: {backend: embedded, path: turnpike.db, max_stale: 60s}
auth:
  dir: auths
  require_private_files: false
  selection_strategy: round_robin
  session_affinity: {enabled: false, ttl: 1h}
  quota: {reset_schedule: {claude: monthly, openai: monthly, gemini: daily}, zone: UTC}
  cooldown: {base: 1s, max: 30m, max_hint: 6h, transient: 60s, auth: 30m, not_found: 12h, probe_interval: 10s}
quota_exceeded: {switch_project: true, switch_preview_model: true}
max_retry_credentials: 3
max_retry_interval: 30
metering: {inject_usage: auto}
openai_api_key: [{api_key: key-a, weight: 1, quota: {limit: null}}]
";

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn the_defaults_are_those_of_the_reference() {
    let bare = plan("openai_api_key: [{api_key: key-a}]");
    let written = plan(REFERENCE);
    assert!(bare.auth == written.auth);
    assert!(bare.state == written.state);
    for plan in [bare, written] {
        let AuthPlan {
            dir,
            require_private_files,
            affinity,
            cooldown,
            quota,
            encryption,
        } = plan.auth;
        assert!(!encryption.enabled && encryption.keys.is_empty());
        assert_eq!(dir, Path::new("conf/auths"));
        assert_eq!((require_private_files, affinity), (false, None));
        let expected = CooldownPlan {
            base: Duration::from_secs(1),
            max: 30 * MINUTE,
            max_hint: 360 * MINUTE,
            transient: Some(MINUTE),
            auth: Some(30 * MINUTE),
            not_found: Some(720 * MINUTE),
            probe_interval: Duration::from_secs(10),
        };
        assert_eq!(cooldown, expected);
        let of = |name| quota.schedule(name, name).to_string();
        assert_eq!(quota.zone, "UTC");
        assert_eq!(
            ["claude", "openai", "gemini", "mistral"].map(of),
            ["monthly", "monthly", "daily", "monthly"]
        );
        assert_eq!(plan.state.path, Path::new("conf/turnpike.db"));
        assert_eq!(plan.selection, Selection::RoundRobin);
        assert_eq!(plan.max_retry_interval, Duration::from_secs(30));
        let switches = QuotaExceededPlan {
            switch_project: true,
            switch_preview_model: true,
        };
        assert_eq!(plan.quota_exceeded, switches);
        assert!(plan.inject_usage);
        let credential = &plan.providers[0].credentials[0];
        assert_eq!((credential.weight, credential.quota_limit), (1, None));
        assert!(plan.disabled_providers.is_empty());
    }
}

#[test]
fn the_example_has_the_defaults() {
    let text = include_str!("../turnpike.example.yaml");
    let environment = [
        ("CI_KEY", "ci-1234567890"),
        ("OPENAI_API_KEY", "sk-1234567890"),
    ];
    let (example, bare) = (plan_with(text, &environment), plan(""));
    assert!(example.auth == bare.auth);
    assert!(example.state == bare.state);
    assert_eq!(example.selection, bare.selection);
    assert_eq!(example.quota_exceeded, bare.quota_exceeded);
    assert_eq!(example.max_retry_credentials, bare.max_retry_credentials);
    assert_eq!(example.max_retry_interval, bare.max_retry_interval);
    assert_eq!(example.inject_usage, bare.inject_usage);
    for key in [
        "state:",
        "auth:",
        "dir:",
        "cooldown:",
        "quota_exceeded:",
        "metering:",
    ] {
        assert!(text.contains(key), "{key}");
    }
}

#[test]
fn everything_may_be_written_otherwise() {
    let plan = plan(
        "state: {path: /var/lib/turnpike.db}\n\
         auth: {require-private-files: true, session-affinity: {enabled: true, ttl: 2h}, \
         cooldown: {base: 2s, max: 2s, transient: -1, auth: '-1', not-found: 1h}}\n\
         quota-exceeded: {switch-project: false, switch-preview-model: false}\n\
         max-retry-interval: 0\nmetering: {inject-usage: off}\n",
    );
    assert_eq!(plan.state.path, Path::new("/var/lib/turnpike.db"));
    assert!(plan.auth.require_private_files);
    assert_eq!(plan.auth.affinity, Some(120 * MINUTE));
    let cooldown = plan.auth.cooldown;
    assert_eq!(cooldown.base, cooldown.max);
    assert_eq!((cooldown.transient, cooldown.auth), (None, None));
    assert_eq!(cooldown.not_found, Some(60 * MINUTE));
    assert!(!plan.quota_exceeded.switch_project && !plan.quota_exceeded.switch_preview_model);
    assert_eq!(plan.max_retry_interval, Duration::ZERO);
    assert!(!plan.inject_usage);
}

#[test]
fn the_directory_of_credential_files() {
    let dir = |text: &str| plan_with(text, &[("HOME", "/home/me")]).auth.dir;
    assert_eq!(dir("auth-dir: keys"), Path::new("conf/keys"));
    assert_eq!(dir("auth: {dir: /keys}"), Path::new("/keys"));
    assert_eq!(
        dir("{auth: {dir: keys}, auth_dir: keys}"),
        Path::new("conf/keys")
    );
    assert_eq!(
        dir("auth-dir: ~/.turnpike"),
        Path::new("/home/me/.turnpike")
    );
    assert_eq!(dir("auth-dir: '~'"), Path::new("/home/me"));

    let pairs = [("TURNPIKE_AUTH_DIR", "/of/environment")];
    let of_environment = plan_with("auth: {dir: keys}", &pairs).auth.dir;
    assert_eq!(of_environment, Path::new("/of/environment"));
}

#[test]
fn every_strategy_is_known_in_both_spellings() {
    for (written, strategy) in [
        ("round-robin", Selection::RoundRobin),
        ("fill-first", Selection::FillFirst),
        ("priority", Selection::Priority),
        ("quota-aware", Selection::QuotaAware),
        ("weighted", Selection::Weighted),
    ] {
        let underscored = written.replace('-', "_");
        assert_eq!(strategy.as_str(), underscored);
        for word in [written, &underscored] {
            assert_eq!(
                plan(&format!("routing: {{strategy: {word}}}")).selection,
                strategy
            );
            let provider = format!("providers: {{openai: {{selection-strategy: {word}}}}}");
            assert_eq!(plan(&provider).providers[0].selection, Some(strategy));
        }
    }
}

#[test]
fn schedules_add_to_the_defaults() {
    let plan = plan(
        "auth: {quota: {reset_schedule: {openai: never, work: '0 6 1 * *', typo: daily}, \
         zone: Asia/Kathmandu}}\n\
         providers: {work: {kind: openai}, spare: {kind: openai, enabled: false}}\n",
    );
    let quota = &plan.auth.quota;
    let of = |name: &str, kind: &str| format!("{:?}", quota.schedule(name, kind));
    assert_eq!(of("work", "openai"), "0 6 1 * * (Asia/Kathmandu)");
    assert_eq!(of("codex", "openai"), "never (Asia/Kathmandu)");
    assert_eq!(of("gemini", "gemini"), "daily (Asia/Kathmandu)");
    assert_eq!(of("groq", "groq"), "monthly (Asia/Kathmandu)");
    let strangers: Vec<_> = plan
        .warnings
        .iter()
        .filter(|w| w.contains("reset_schedule"))
        .collect();
    assert_eq!(strangers.len(), 1, "{strangers:?}");
    assert!(strangers[0].starts_with("auth.quota.reset_schedule.typo: "));
}

#[test]
fn credentials_carry_weight_and_quota() {
    let plan = plan(
        "providers: {openai: {credentials: [{api_key: k1, weight: 1000, quota: {limit: 5000000000}}]}}\n\
         claude-api-key: [{api-key: k2, weight: 2, quota: {limit: 1}}]\n\
         openai-compatibility:\n  - {name: z, base-url: 'https://z.example.com', weight: 3, \
         quota: {limit: 7}, api-key: k3, api-key-entries: [{api-key: k4}]}\n",
    );
    let of = |plan: &Plan| -> Vec<(u32, Option<u64>)> {
        let credentials = plan.providers.iter().flat_map(|p| &p.credentials);
        credentials.map(|c| (c.weight, c.quota_limit)).collect()
    };
    assert_eq!(
        of(&plan),
        [
            (2, Some(1)),
            (1000, Some(5_000_000_000)),
            (3, Some(7)),
            (3, Some(7))
        ]
    );
}

#[test]
fn models_name_their_stand_ins() {
    let plan = plan(
        "providers:\n  openai:\n    models:\n      \
         - {name: a, alias: best, fallback: [good, bad]}\n      \
         - {name: b, alias: good, fallback: [best]}\n      \
         - {name: a-preview, preview_of: best}\n      \
         - {name: a-beta, preview-of: a-preview}\n      \
         - {name: b-preview, preview_of: good}\n      \
         - plain\n",
    );
    let models = &plan.providers[0].settings.models;
    assert_eq!(models[0].fallback, ["good", "bad"]);
    assert_eq!(models[0].shown(), "best");
    assert_eq!(models[2].preview_of.as_deref(), Some("best"));
    assert!(models[5].preview_of.is_none() && models[5].fallback.is_empty());
}

#[test]
fn a_provider_keeps_its_own_settings_for_credential_files() {
    let plan = plan(
        "providers:\n  openai:\n    base_url: https://one.example.com/v1\n    prefix: work\n    \
         models: [gpt-5]\n    excluded_models: [o1]\n    headers: {X-Team: a}\n    \
         proxy_url: direct\n    credentials: []\n  claude: {enabled: false}\n\
         openai-api-key: [{api-key: k1, base-url: 'https://two.example.com/v1'}]\n\
         claude-api-key: [{api-key: k2}]\n\
         codex-api-key: [{api-key: k3, prefix: mine}]\n\
         openai-compatibility:\n  - {name: z, base-url: 'https://z.example.com', prefix: z, \
         api-key-entries: [{api-key: k4, proxy-url: direct}]}\n",
    );
    let [codex, openai, z] = plan.providers.as_slice() else {
        panic!()
    };
    assert_eq!(plan.disabled_providers, ["claude"]);
    let settings = &openai.settings;
    let base_url = |url: &Option<url::Url>| url.as_ref().map(ToString::to_string);
    assert_eq!(
        base_url(&settings.base_url).unwrap(),
        "https://one.example.com/v1"
    );
    assert_eq!(settings.prefix.as_deref(), Some("work"));
    assert_eq!(settings.models[0].name, "gpt-5");
    assert_eq!(*settings.excluded_models, ["o1"]);
    assert_eq!(settings.headers, [("x-team".into(), "a".into())]);
    assert!(matches!(settings.proxy, ProxyChoice::Direct));
    // An entry of a list is itself alone.
    assert!(codex.settings.prefix.is_none() && codex.settings.base_url.is_none());
    assert_eq!(codex.credentials[0].prefix.as_deref(), Some("mine"));
    assert_eq!(z.settings.prefix.as_deref(), Some("z"));
    assert!(matches!(z.settings.proxy, ProxyChoice::Inherit));
    assert!(matches!(z.credentials[0].proxy, ProxyChoice::Direct));
}

#[test]
fn a_provider_without_credentials_stays() {
    let plan = plan("providers: {openai: {credentials: []}, gemini: }");
    let names: Vec<_> = plan.providers.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["gemini", "openai"]);
}

#[test]
fn what_was_printed_is_the_same_again() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("turnpike.yaml");
    let text = "auth-dir: mine\n\
                auth: {cooldown: {transient: -1}, quota: {reset_schedule: {openai: '5 4 * * 1'}}}\n";
    std::fs::write(&file, text).unwrap();
    let printed = print_redacted(&file, &Environment::default(), &KINDS).unwrap();
    assert!(printed.contains("gemini: daily"), "{printed}");
    let (one, other) = (plan(text), plan(&printed));
    assert!(one.auth == other.auth);
    assert!(one.state == other.state);
}

#[test]
fn urls_of_credential_files_are_held_to_the_same_rules() {
    assert!(matches!(proxy_choice("direct"), Ok(ProxyChoice::Direct)));
    assert!(matches!(
        proxy_choice("socks5://proxy"),
        Ok(ProxyChoice::Url(_))
    ));
    assert!(proxy_choice("").is_err() && proxy_choice("https://proxy").is_err());
    let url = upstream_url("https://api.example.com/v1/").unwrap();
    assert_eq!(url.as_str(), "https://api.example.com/v1");
    let error = upstream_url("https://me:CANARY@host").unwrap_err();
    assert!(!error.contains("CANARY"));
}
