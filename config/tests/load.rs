//! What good files become.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use turnpike_config::{
    ClientAuth, Environment, Kinds, LogFormat, LogLevel, Plan, ProxyChoice, ProxyScheme, Scope,
    Selection, load, load_str, print_redacted,
};

const KINDS: Kinds<'_> = Kinds {
    providers: &[
        ("openai", true),
        ("claude", true),
        ("gemini", true),
        ("vertex", true),
        ("azure-openai", false),
        ("openai-compatible", false),
    ],
};

fn environment(pairs: &[(&str, &str)]) -> Environment {
    Environment::from_pairs(pairs.iter().copied())
}

fn plan_with(text: &str, pairs: &[(&str, &str)]) -> Plan {
    match load_str(text, Path::new("conf"), &environment(pairs), &KINDS) {
        Ok(plan) => plan,
        Err(problems) => panic!("{problems}"),
    }
}

fn plan(text: &str) -> Plan {
    plan_with(text, &[])
}

fn ids(plan: &Plan) -> Vec<&str> {
    plan.providers
        .iter()
        .flat_map(|p| &p.credentials)
        .map(|c| c.id.as_str())
        .collect()
}

#[test]
fn an_empty_file_is_all_defaults() {
    for text in [
        "",
        "# nothing\n",
        "server:\nproviders:\napi_keys: []\n",
        "{}",
        "~",
    ] {
        let plan = plan(text);
        assert_eq!(plan.server.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(plan.admin.to_string(), "127.0.0.1:8317");
        assert_eq!(plan.server.public_url.as_str(), "http://127.0.0.1:8080/");
        assert_eq!(plan.server.limits.max_body, 32 << 20);
        assert_eq!(plan.server.limits.max_buffered, 1 << 30);
        assert_eq!(plan.server.timeouts.connect, Duration::from_secs(5));
        assert_eq!(plan.server.timeouts.first_byte, Duration::from_secs(120));
        assert_eq!(plan.server.timeouts.idle, Duration::from_secs(60));
        assert_eq!(plan.server.timeouts.total, Duration::from_secs(1800));
        assert_eq!(plan.server.limits.body_timeout, Duration::from_secs(30));
        assert_eq!(plan.server.limits.header_timeout, Duration::from_secs(10));
        assert!(plan.server.threads > 0 && plan.server.limits.max_connections == 0);
        assert_eq!(
            (plan.logging.level, plan.logging.format),
            (LogLevel::Info, LogFormat::Text)
        );
        assert_eq!(
            (plan.selection, plan.max_retry_credentials),
            (Selection::RoundRobin, 3)
        );
        assert!(plan.client_keys.is_empty() && plan.providers.is_empty());
        assert_eq!(plan.warnings.len(), 1, "{:?}", plan.warnings);
    }
}

#[test]
fn the_example_and_the_scenarios_load() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let environment = environment(&[
        ("CI_KEY", "ci-1234567890"),
        ("AGENTS_KEY", "agents-1234567890"),
        ("OPENAI_API_KEY", "sk-1234567890"),
        ("OPENAI_SPARE_KEY", "sk-0987654321"),
        ("INHOUSE_KEY", "in-1234567890"),
    ]);
    for file in [
        "turnpike.example.yaml",
        "examples/laptop.yaml",
        "examples/team.yaml",
    ] {
        match load(&folder.join(file), &environment, &KINDS) {
            Ok(plan) => assert!(!plan.providers.is_empty(), "{file}"),
            Err(problems) => panic!("{problems}"),
        }
    }
}

#[test]
fn dashes_and_underscores_are_the_same_in_keys_but_not_in_names() {
    let plan = plan(
        "max-retry-credentials: 5\n\
         force-model-prefix: true\n\
         routing: {strategy: round-robin}\n\
         max_retry_credentials: 5\n\
         api-keys: [a-key-of-mine]\n\
         providers:\n  my-ai:\n    kind: openai-compatible\n    base-url: http://localhost:1/v1/\n    \
         excluded-models: [x]\n    headers: {X-My_Header: v}\n    credentials: [{api-key: k}]\n",
    );
    assert_eq!(plan.max_retry_credentials, 5);
    assert!(plan.force_model_prefix);
    let provider = &plan.providers[0];
    let credential = &provider.credentials[0];
    assert_eq!(provider.name, "my-ai");
    assert_eq!(
        credential.base_url.as_ref().unwrap().as_str(),
        "http://localhost:1/v1"
    );
    assert_eq!(credential.headers, [("x-my_header".into(), "v".into())]);
    assert_eq!(*credential.excluded_models, ["x"]);
}

#[test]
fn the_environment_wins_over_the_file() {
    let plan = plan_with(
        "server: {port: 1, timeouts: {connect: 1s, idle: 2s}}\n\
         max-retry-credentials: 2\nrouting: {strategy: round_robin}\n\
         providers: {my-ai: {kind: openai, prefix: a, credentials: [{api_key: k}]}}\n\
         logging: info\n",
        &[
            ("TURNPIKE_SERVER__PORT", "9000"),
            ("TURNPIKE_SERVER__TIMEOUTS__CONNECT", "3s"),
            ("TURNPIKE_MAX_RETRY_CREDENTIALS", "7"),
            ("TURNPIKE_AUTH__SELECTION_STRATEGY", "priority"),
            ("TURNPIKE_PROVIDERS__MY_AI__PREFIX", "12"),
            ("TURNPIKE_LOGGING", "{level: debug}"),
            ("TURNPIKE_API_KEYS", "[key-one, {key: key-two, name: two}]"),
            ("TURNPIKE_ADMIN__PORT", ""),
            ("CLI_PROXY_API_KEY", "from-elsewhere"),
            ("SSO_ENABLED", "false"),
            ("TURNPIKE_SERVICE_HOST", "10.0.0.1"),
        ],
    );
    assert_eq!(plan.server.listen.port, 9000);
    assert_eq!(plan.server.timeouts.connect, Duration::from_secs(3));
    assert_eq!(plan.server.timeouts.idle, Duration::from_secs(2));
    assert_eq!(
        (plan.max_retry_credentials, plan.selection),
        (7, Selection::Priority)
    );
    assert_eq!(plan.logging.level, LogLevel::Debug);
    assert_eq!(plan.admin.port, 8317);
    assert_eq!(plan.providers[0].name, "my-ai");
    assert_eq!(
        plan.providers[0].credentials[0].prefix.as_deref(),
        Some("12")
    );
    let names: Vec<_> = plan
        .client_keys
        .iter()
        .map(|key| key.name.as_str())
        .collect();
    assert_eq!(names, ["key-1", "two", "CLI_PROXY_API_KEY"]);
}

#[test]
fn a_variable_that_the_file_refers_to_sets_no_key() {
    let plan = plan_with(
        "api_keys: [\"${TURNPIKE_CI_KEY}\"]",
        &[("TURNPIKE_CI_KEY", "secret-key")],
    );
    assert_eq!(plan.client_keys[0].key.expose(), "secret-key");
}

#[test]
fn a_missing_file_says_what_to_do() {
    let error = load(Path::new("absent.yaml"), &environment(&[]), &KINDS)
        .err()
        .unwrap();
    assert_eq!(
        error.to_string(),
        "absent.yaml: cannot read the configuration file: no such file or directory; \
         create it, or name another with --config"
    );
}

#[test]
fn lists_and_the_native_section_make_one_provider() {
    let plan = plan(
        "providers:\n  openai:\n    base_url: https://one.example.com/v1\n    prefix: work\n    \
         models: [gpt-4o, {name: gpt-5, alias: best}]\n    \
         credentials: [{api_key: key-a, label: main, priority: 2}, {api_key: key-b, disabled: true}]\n\
         openai-api-key: [{api-key: key-c, proxy-url: direct}]\n\
         codex-api-key: [{api-key: key-a}]\n\
         openai-compatibility:\n  - name: inhouse\n    base-url: https://two.example.com/v1\n    \
         api-key-entries: [{api-key: key-d, proxy-url: 'socks5://proxy'}, {api-key: key-e}]\n",
    );
    let names: Vec<_> = plan
        .providers
        .iter()
        .map(|p| (p.name.as_str(), p.kind.as_str()))
        .collect();
    assert_eq!(
        names,
        [
            ("codex", "openai"),
            ("inhouse", "openai-compatible"),
            ("openai", "openai")
        ]
    );
    let [main, disabled, listed] = plan.providers[2].credentials.as_slice() else {
        panic!()
    };
    assert_eq!(
        (main.id.as_str(), main.priority, main.models.len()),
        ("openai/main", 2, 2)
    );
    assert_eq!(main.models[1].alias.as_deref(), Some("best"));
    assert_eq!((disabled.disabled, disabled.priority), (true, 1));
    assert_eq!(disabled.prefix.as_deref(), Some("work"));
    assert!(listed.base_url.is_none() && listed.prefix.is_none());
    assert!(matches!(listed.proxy, ProxyChoice::Direct));
    let inhouse = &plan.providers[1].credentials;
    assert!(
        matches!(&inhouse[0].proxy, ProxyChoice::Url(url) if url.scheme == ProxyScheme::Socks5)
    );
    assert!(matches!(inhouse[1].proxy, ProxyChoice::Inherit));
}

#[test]
fn ids_follow_the_key_and_not_its_position() {
    let one = plan("openai_api_key: [{api_key: key-a}, {api_key: key-b}]");
    let other = plan("openai_api_key: [{api_key: key-b}, {api_key: key-a}]");
    let mut reversed = ids(&other);
    reversed.reverse();
    assert_eq!(ids(&one), reversed);
    // The same on every replica and in every release.
    assert_eq!(ids(&one)[0], "openai/88c1eac2");

    let prefixed = "openai_api_key: [{api_key: key-a}, {api_key: key-a, prefix: work}]";
    let prefixed = plan(prefixed);
    assert_ne!(ids(&prefixed)[0], ids(&prefixed)[1]);
}

#[test]
fn a_provider_that_is_switched_off_is_left_out() {
    let text = "providers: {openai: {enabled: false, credentials: [{api_key: k}]}, claude: }";
    let plan = plan(text);
    assert_eq!(
        plan.providers.iter().map(|p| &p.name).collect::<Vec<_>>(),
        ["claude"]
    );
}

#[test]
fn proxies_of_the_environment_win() {
    let text = "egress: {proxy_url: 'http://u:p@file:3128', allowed_hosts: [API.example.com]}";
    let egress = plan(text).egress;
    assert_eq!(egress.http_proxy.unwrap().host, "file");
    let proxy = egress.https_proxy.unwrap();
    assert_eq!(proxy.credentials.unwrap().1.expose(), "p");
    assert_eq!(egress.allowed_hosts, ["api.example.com"]);

    let pairs = [
        ("HTTPS_PROXY", "http://upper"),
        ("https_proxy", "http://lower"),
        ("no_proxy", "localhost, .Internal,,10.0.0.0/8"),
    ];
    let egress = plan_with(text, &pairs).egress;
    assert_eq!(egress.https_proxy.unwrap().host, "upper");
    assert_eq!(egress.http_proxy.unwrap().host, "file");
    assert_eq!(egress.no_proxy, ["localhost", ".internal", "10.0.0.0/8"]);
}

#[test]
fn values_that_ask_for_nothing_are_accepted() {
    plan(
        "sso: {enabled: false, session_lifetime_hours: 24}\nroles: {}\nlimits: []\ntenants:\n\
         jwt: null\nunauthenticated_response: unauthorized\nstate:\n  backend: embedded\n  \
         max_stale: 60s\n  redis: {url: 'redis://127.0.0.1:6379/0', nodes: []}\n\
         auth: {encryption: {enabled: false, key: ''}, refresh: {enabled: false}}\n\
         api_keys: [{key: a-key-of-mine, tenant: null, roles: [], limits: {}}]\n\
         providers: {openai: {credentials: [{api_key: k, pool: null, websockets: false, caps: {concurrency: null}}]}}\n",
    );
}

#[test]
fn every_file_read_is_a_source() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a.crt", "a.key", "ca.crt", "roots.pem"] {
        std::fs::write(dir.path().join(name), "pem").unwrap();
    }
    std::fs::write(dir.path().join("key"), "a-key-of-mine\n").unwrap();
    let file = dir.path().join("turnpike.yaml");
    let text = "server: {tls: {cert: a.crt, key: a.key, client_ca: ca.crt, client_auth: required}}\n\
                api_keys: ['file:key']\negress: {ca_file: roots.pem}\nlogging: {file: log}\n";
    std::fs::write(&file, text).unwrap();
    let plan = load(&file, &environment(&[]), &KINDS).ok().unwrap();
    let names = [
        "a.crt",
        "a.key",
        "ca.crt",
        "key",
        "roots.pem",
        "turnpike.yaml",
    ];
    assert_eq!(plan.sources, names.map(|name| dir.path().join(name)));
    assert_eq!(plan.logging.file, Some(dir.path().join("log")));
    assert_eq!(plan.server.public_url.scheme(), "https");
    let tls = plan.server.tls.unwrap();
    assert_eq!(tls.client_auth, ClientAuth::Required);
    assert_eq!(tls.certificates[0].cert, dir.path().join("a.crt"));
    assert_eq!(plan.client_keys[0].key.expose(), "a-key-of-mine");
}

#[test]
fn a_role_for_certificates_that_nobody_is_asked_for_is_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a.crt", "a.key", "ca.crt"] {
        std::fs::write(dir.path().join(name), "pem").unwrap();
    }
    let digest = "ab".repeat(32);
    let role = format!("{{models: [\"*\"], certificates: [{digest}]}}");
    let roles = format!(
        "roles: {{desk: {role}, all: {{models: [\"*\"]}}}}\n\
         role_bindings: [{{role: desk, everyone: true}}, {{role: all, everyone: true}}]\n\
         tenants: {{acme: {{hosts: [acme.example], roles: {{lab: {role}}}, role_bindings: [{{role: lab, everyone: true}}]}}}}\n"
    );
    let file = dir.path().join("turnpike.yaml");
    let warned = |tls: &str| {
        std::fs::write(&file, format!("{tls}{roles}")).unwrap();
        let plan = load(&file, &environment(&[]), &KINDS);
        let warnings = plan.ok().unwrap().warnings.into_iter();
        let keys = warnings.filter(|one| one.contains("asked for no certificate"));
        keys.map(|one| one.split(": ").next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let both = [
        "roles.desk.certificates",
        "tenants.acme.roles.lab.certificates",
    ];
    let tls = |more: &str| format!("server: {{tls: {{cert: a.crt, key: a.key{more}}}}}\n");
    assert_eq!(warned(""), both);
    assert_eq!(warned(&tls("")), both);
    assert_eq!(warned(&tls(", client_ca: ca.crt")), both);
    let asked = tls(", client_ca: ca.crt, client_auth: optional");
    assert!(warned(&asked).is_empty());
}

#[test]
fn equal_addresses_are_one_listener() {
    let plan = plan("server: {port: 9000}\nadmin: {port: 9000}\n");
    assert_eq!(plan.server.listen, plan.admin);
    let ephemeral = self::plan("server: {port: 0, host: '[::1]'}\nadmin: {port: 0}\n");
    assert_eq!(ephemeral.server.listen.to_string(), "[::1]:0");
}

#[test]
fn operators_find_their_pages_where_it_is_said() {
    for (yaml, url) in [
        ("", "http://127.0.0.1:8317/"),
        ("admin: {host: '::1', port: 9}", "http://[::1]:9/"),
        ("server: {port: 9}\nadmin: {port: 9}", "http://127.0.0.1:9/"),
        (
            "server: {port: 9, public_url: 'https://llm.example.com'}\nadmin: {port: 9}",
            "https://llm.example.com/",
        ),
        (
            "server: {public_url: 'https://llm.example.com'}",
            "http://127.0.0.1:8317/",
        ),
        (
            "admin: {public_url: 'https://ops.example.com/'}",
            "https://ops.example.com/",
        ),
    ] {
        assert_eq!(plan(yaml).management.public_url.as_str(), url, "{yaml}");
    }
}

#[test]
fn a_role_that_opens_the_operators_pages_to_nobody_is_told() {
    const SSO: &str = "sso: {enabled: true, providers: {github: {client_id: c, client_secret: a-secret-of-mine}}}\n";
    let roles = "roles: {operator: {permissions: [\"admin:*\"]}}\n\
                 role_bindings: [{role: operator, groups: [ops]}]\n";
    let told = |yaml: &str| {
        let warnings = plan(&format!("{yaml}\n{roles}")).warnings;
        let about = |warning: &&String| warning.contains("operator");
        let found = warnings.iter().find(about);
        found.map(|warning| warning.split(':').next().unwrap().to_owned())
    };
    assert_eq!(told("").as_deref(), Some("roles.operator.permissions"));
    assert_eq!(told(SSO), None);
    let far = format!("{SSO}admin: {{host: 0.0.0.0");
    assert_eq!(
        told(&format!("{far}}}")).as_deref(),
        Some("admin.public_url")
    );
    let url = "public_url: 'https://ops.example.com'";
    assert_eq!(told(&format!("{far}, {url}}}")), None);
}

#[test]
fn warnings_name_the_key() {
    let plan = plan(
        "server: {host: 0.0.0.0}\nadmin: {host: '::'}\n\
         api_keys: [{key: a-key-of-mine, models: ['!gpt-*']}]\n\
         providers: {openai: {base_url: 'http://far.example.com/v1'}}\n",
    );
    let starts: Vec<_> = plan
        .warnings
        .iter()
        .map(|w| w.split(':').next().unwrap())
        .collect();
    assert_eq!(
        starts[..5],
        [
            "server.public_url",
            "admin.host",
            "api_keys[0].models",
            "providers.openai.base_url",
            "no provider has a credential here, so no model is served but by credential files in \
             `auth.dir`; add one there or under `providers`"
        ]
    );
}

fn redacted(text: &str, pairs: &[(&str, &str)]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file: PathBuf = dir.path().join("turnpike.yaml");
    std::fs::write(dir.path().join("secret"), "CANARY-in-file-7890").unwrap();
    std::fs::write(&file, text).unwrap();
    match print_redacted(&file, &environment(pairs), &KINDS) {
        Ok(text) => text,
        Err(problems) => panic!("{problems}"),
    }
}

#[test]
fn nothing_secret_is_printed() {
    let text = redacted(
        "api_keys: [CANARY-plain-1234, {key: '${KEY}', name: env}, 'file:secret', CANARY-short]\n\
         providers:\n  openai:\n    credentials: [{api_key: CANARY-provider-5678}]\n    \
         headers: {X-Internal: CANARY-header-4321}\n    proxy_url: 'http://me:CANARYpass@proxy:1'\n\
         claude_api_key: [{api_key: CANARY-list-2468}]\n",
        &[
            ("KEY", "CANARY-env-1357"),
            (
                "TURNPIKE_EGRESS__PROXY_URL",
                "http://CANARYuser:CANARYpass@egress:1",
            ),
        ],
    );
    assert!(!text.contains("CANARY"), "{text}");
    for shown in [
        "***1234", "***1357", "***7890", "***5678", "***4321", "***2468", "@proxy:1",
    ] {
        assert!(text.contains(shown), "{shown} in {text}");
    }
    assert!(
        text.contains("max_body: 32MiB") && text.contains("total: 30m"),
        "{text}"
    );
}

#[test]
fn what_was_printed_is_a_configuration_again() {
    let text = redacted("server: {port: 9000}\nlogging: {level: trace}\n", &[]);
    let again = plan(&text);
    assert_eq!(
        (again.server.listen.port, again.logging.level),
        (9000, LogLevel::Trace)
    );
}

#[test]
fn ten_thousand_credentials_load_quickly() {
    let mut text = String::from("openai_api_key:\n");
    for index in 0..10_000 {
        text.push_str(&format!(
            "  - {{api_key: sk-{index:032}, prefix: p{index}}}\n"
        ));
    }
    let start = std::time::Instant::now();
    assert_eq!(plan(&text).providers[0].credentials.len(), 10_000);
    // Generous, for it is a debug build on a busy machine; what it catches is a quadratic check.
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "{:?}",
        start.elapsed()
    );
    println!("{:?}", start.elapsed());
}

#[test]
fn keys_of_the_management_api() {
    let yaml = "admin:\n  keys:\n    - {name: ops, key: \"${OPS}\"}\n\
                \x20   - {key: second-0123456789, scopes: [\"tokens:read\", \"logs:write\"], tenant: null}\n\
                remote-management: {allow-remote: true, secret-key: third-0123456789}\n";
    let plan = plan_with(yaml, &[("OPS", "0123456789-of-the-environment")]).management;
    let keys = plan.keys.iter();
    let keys: Vec<_> = keys
        .map(|key| (key.name.as_str(), key.key.expose(), &*key.scopes))
        .collect();
    assert_eq!(
        keys,
        [
            ("ops", "0123456789-of-the-environment", &[Scope::All][..]),
            (
                "key-2",
                "second-0123456789",
                &[Scope::TokensRead, Scope::LogsWrite]
            ),
            ("remote_management", "third-0123456789", &[Scope::All]),
        ]
    );
    assert!(plan.allow_remote);
}

#[test]
fn without_keys_nobody_manages() {
    let yaml = "remote_management: {allow_remote: false, secret_key: \"\"}\n";
    let plan = plan(yaml);
    assert!(plan.management.keys.is_empty() && !plan.management.allow_remote);
}

#[test]
fn what_is_in_effect_holds_no_secret() {
    let yaml = "admin: {keys: [{key: CANARY-0123456789}]}\n\
                api_keys: [CANARY-9876543210]\n\
                egress: {proxy_url: \"http://user:CANARY@proxy.example.com:3128\"}\n\
                providers: {openai: {headers: {x-team: CANARY-of-the-team}, credentials: [{api_key: CANARY-upstream-1}]}}\n";
    let plan = plan(yaml);
    assert!(!plan.effective.contains("CANARY"), "{}", plan.effective);
    assert!(plan.effective.contains("***6789"), "{}", plan.effective);
}
