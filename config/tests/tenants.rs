//! What tenants become.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use turnpike_config::plan::{LoginModePlan, RemotePlan};
use turnpike_config::{Environment, Kinds, Plan, load_str};

const KINDS: Kinds<'_> = Kinds {
    providers: &[("openai", true)],
};

fn plan(text: &str) -> Plan {
    let environment = Environment::from_pairs::<&str, &str>([]);
    match load_str(text, Path::new("conf"), &environment, &KINDS) {
        Ok(plan) => plan,
        Err(problems) => panic!("{problems}"),
    }
}

#[test]
fn hosts_and_domains_are_kept_as_they_are_compared() {
    let plan = plan(
        "tenants:\n  acme: {hosts: [Acme.Example.COM, bücher.example., \"10.0.0.1\", \"[::1]\"], \
         email_domains: [Acme.COM], pools: [b, a]}\n",
    );
    let [acme] = &plan.tenants[..] else { panic!() };
    let hosts = [
        "acme.example.com",
        "xn--bcher-kva.example",
        "10.0.0.1",
        "[::1]",
    ];
    assert_eq!(acme.hosts, hosts);
    assert_eq!(acme.email_domains, ["acme.com"]);
    assert_eq!(acme.pools, ["a", "b"]);
    assert!(acme.sso.is_none() && acme.access.is_none() && acme.limits.is_empty());
}

#[test]
fn an_issuer_is_of_the_tenant_that_either_says_so() {
    let plan = plan(
        "jwt:\n  issuers:\n  - {issuer: \"https://a.example\", audience: [x], tenant: acme}\n\
         \x20 - {issuer: \"https://b.example\", audience: [x]}\n\
         \x20 - {issuer: \"https://c.example\", audience: [x]}\n\
         tenants: {acme: {issuers: [\"https://a.example\", \"https://b.example\"]}}\n",
    );
    let of = plan.jwt_issuers.iter().map(|one| one.tenant.as_deref());
    assert_eq!(of.collect::<Vec<_>>(), [Some("acme"), Some("acme"), None]);
}

#[test]
fn what_a_tenant_leaves_out_of_authorization_is_as_at_the_top_level() {
    let provider = |name: &str| {
        format!(
            "{{{name}: {{client_id: a, client_secret: b, discovery_url: \"https://{name}.example\"}}}}"
        )
    };
    let plan = plan(&format!(
        "server: {{secret_key: {}}}\n\
         authorization: {{mode: enterprise, api_url: \"https://top.example/ask\", api_timeout_seconds: 7}}\n\
         sso: {{enabled: true, providers: {}, session_lifetime_hours: 12}}\n\
         tenants:\n\
         \x20 code: {{hosts: [code.example], authorization: {{mode: single_user, max_confirmation_attempts: 9}}}}\n\
         \x20 own: {{hosts: [own.example], sso: {{providers: {}}}, authorization: {{api_url: \"https://own.example/ask\", session_lifetime_hours: 3}}}}\n\
         \x20 same: {{hosts: [same.example], authorization: {{}}, sso: {{providers: {{}}}}}}\n",
        "0123456789abcdef".repeat(4),
        provider("top"),
        provider("own")
    ));
    let [code, own, same] = &plan.tenants[..] else {
        panic!()
    };
    assert!(same.sso.is_none(), "it says nothing");
    let names = |sso: &turnpike_config::plan::TenantSsoPlan| {
        let names = sso.sso.providers.iter();
        names.map(|one| one.name.clone()).collect::<Vec<_>>()
    };
    let code = code.sso.as_ref().unwrap();
    assert_eq!(
        (names(code), code.has_own_providers),
        (vec!["top".into()], false)
    );
    let LoginModePlan::SingleUser { attempts, .. } = code.sso.authorization.mode else {
        panic!()
    };
    assert_eq!(attempts, 9);
    assert_eq!(code.sso.session_lifetime, Duration::from_secs(12 * 3600));
    let own = own.sso.as_ref().unwrap();
    assert_eq!(
        (names(own), own.has_own_providers),
        (vec!["own".into()], true)
    );
    let expected = LoginModePlan::Enterprise {
        api: Some("https://own.example/ask".parse().unwrap()),
        timeout: Duration::from_secs(7),
    };
    assert_eq!(own.sso.authorization.mode, expected);
    assert_eq!(own.sso.session_lifetime, Duration::from_secs(3 * 3600));
}

#[test]
fn callers_without_a_login_are_asked_about_whether_people_log_in_or_not() {
    let plan = plan(
        "authorization: {mode: enterprise, api_url: \"https://top.example/ask\"}\n\
         tenants:\n\
         \x20 code: {authorization: {mode: single_user}}\n\
         \x20 own: {authorization: {api_url: \"https://own.example/ask\", session_lifetime_hours: 3}}\n\
         \x20 same: {}\n",
    );
    let of = |url: &str, hours: u64| {
        Some(RemotePlan {
            api: url.parse().unwrap(),
            timeout: Duration::from_secs(5),
            lifetime: Duration::from_secs(hours * 3600),
        })
    };
    let top = of("https://top.example/ask", 24);
    let tenants = plan.tenants.iter().map(|tenant| tenant.remote.clone());
    let expected = [None, of("https://own.example/ask", 3), top.clone()];
    assert_eq!(tenants.collect::<Vec<_>>(), expected);
    assert_eq!(plan.remote, top);
    assert!(plan.sso.is_none() && plan.tenants.iter().all(|tenant| tenant.sso.is_none()));
}

#[test]
fn a_key_that_acts_for_whoevers_host_is_called_is_warned_of() {
    let warned = |tenants: &str| {
        let plan = plan(&format!(
            "api_keys: [{{key: a-key-of-mine-1, tenant: acme}}, a-key-of-mine-2]\ntenants: {tenants}\n"
        ));
        let warnings = plan.warnings.into_iter();
        let mut of_keys = warnings.filter(|warning| warning.contains("names no `tenant`"));
        let found = of_keys.next();
        assert_eq!(of_keys.next(), None);
        found
    };
    let warning = warned("{acme: {hosts: [acme.example]}}").unwrap();
    assert!(warning.starts_with("api_keys[1]: `key-2`"), "{warning}");
    assert_eq!(warned("{acme: {}}"), None);
}

/// Whatever is looked for per tenant is looked for among its own keys: by as many steps as there are pairs
/// of keys, this would take minutes.
#[test]
fn many_tenants_have_many_keys() {
    use std::fmt::Write;
    const TENANTS: usize = 1_000;
    const KEYS: usize = 20;
    let (mut keys, mut tenants) = (String::new(), String::new());
    for tenant in 0..TENANTS {
        for key in 0..KEYS {
            let name = format!("key-{key}-of-{tenant}");
            writeln!(
                keys,
                "- {{key: secret-{name}-000000, name: {name}, tenant: t{tenant}, roles: [own]}}"
            )
            .unwrap();
        }
        writeln!(
            tenants,
            "  t{tenant}: {{roles: {{own: {{models: [\"*\"], permissions: [llm:write]}}, bound: {{models: [\"*\"], permissions: [llm:write]}}}}, \
             role_bindings: [{{role: bound, api_keys: [key-0-of-{tenant}, key-19-of-{tenant}]}}], \
             limits: [{{name: one, scope: token, only: [key-0-of-{tenant}], measure: requests, window: day, limit: 9}}]}}"
        )
        .unwrap();
    }
    let plan = plan(&format!("api_keys:\n{keys}tenants:\n{tenants}"));
    assert_eq!(plan.client_keys.len(), TENANTS * KEYS);
    assert_eq!(plan.tenants.len(), TENANTS);
    let of_tenants = |warning: &&String| warning.starts_with("tenants");
    assert_eq!(plan.warnings.iter().find(of_tenants), None);
}
