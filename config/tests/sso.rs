//! What the identity providers of a good file become.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use turnpike_config::plan::{LoginWayPlan, OfflinePlan, SsoProviderPlan};
use turnpike_config::{Environment, Kinds, load_str};

const DIRECTORY: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";

const KINDS: Kinds<'_> = Kinds {
    providers: &[("openai", true)],
};

/// A provider of this name, with this beside its client's id and secret.
fn provider(name: &str, rest: &str) -> SsoProviderPlan {
    let text = format!(
        "sso: {{enabled: true, providers: {{{name}: {{client_id: a, client_secret: b{rest}}}}}}}\n\
         server: {{secret_key: {}}}\n",
        "0123456789abcdef".repeat(4)
    );
    let environment = Environment::from_pairs::<&str, &str>([]);
    match load_str(&text, Path::new("conf"), &environment, &KINDS) {
        Ok(plan) => plan.sso.unwrap().providers.remove(0),
        Err(problems) => panic!("{rest}: {problems}"),
    }
}

#[test]
fn microsofts_directories_are_one_issuer_or_many() {
    for (rest, expected, tenants) in [
        (
            format!(", tenant: {DIRECTORY}"),
            format!("https://login.microsoftonline.com/{DIRECTORY}/v2.0"),
            None,
        ),
        (
            ", tenant: common".into(),
            "https://login.microsoftonline.com/common/v2.0".into(),
            Some(vec![]),
        ),
        (
            format!(", tenant: organizations, allowed_tenants: [{DIRECTORY}]"),
            "https://login.microsoftonline.com/organizations/v2.0".into(),
            Some(vec![DIRECTORY.to_owned()]),
        ),
        (
            ", discovery_url: \"https://login.microsoftonline.us/common/v2.0\"".into(),
            "https://login.microsoftonline.us/common/v2.0".into(),
            Some(vec![]),
        ),
    ] {
        for name in ["microsoft", "azure"] {
            let issuer = expected.parse().unwrap();
            let tenants = tenants.clone();
            let expected = LoginWayPlan::Discovered { issuer, tenants };
            assert_eq!(provider(name, &rest).way, expected, "{rest}");
        }
    }
    // Of nobody else is a path of that name many issuers.
    let rest = ", discovery_url: \"https://idp.example.com/common/v2.0\"";
    let LoginWayPlan::Discovered { tenants, .. } = provider("company", rest).way else {
        panic!("discovered");
    };
    assert_eq!(tenants, None);
}

#[test]
fn each_provider_is_asked_for_a_refresh_token_as_it_wants() {
    let discovered = ", discovery_url: \"https://idp.example.com\"";
    let plain = ", type: oauth2, authorize_url: \"https://i/a\", token_url: \"https://i/t\", \
                 userinfo_url: \"https://i/u\"";
    for (name, rest, expected) in [
        ("google", "", OfflinePlan::AccessType),
        ("microsoft", ", tenant: common", OfflinePlan::Scope),
        ("okta", ", domain: a.okta.com", OfflinePlan::Scope),
        ("gitlab", "", OfflinePlan::Scope),
        ("github", "", OfflinePlan::Scope),
        ("company", discovered, OfflinePlan::Consent),
        ("company", plain, OfflinePlan::Scope),
    ] {
        assert_eq!(provider(name, rest).offline, expected, "{name}{rest}");
    }
}

#[test]
fn every_preset_knows_where_its_provider_is() {
    for (name, rest, issuer) in [
        ("google", "", "https://accounts.google.com"),
        (
            "okta",
            ", domain: example.okta.com",
            "https://example.okta.com",
        ),
        (
            "auth0",
            ", domain: \"https://example.eu.auth0.com/\"",
            "https://example.eu.auth0.com",
        ),
        ("gitlab", "", "https://gitlab.com"),
        (
            "gitlab",
            ", domain: git.example.com",
            "https://git.example.com",
        ),
        (
            "onelogin",
            ", domain: example.onelogin.com",
            "https://example.onelogin.com/oidc/2",
        ),
        (
            "aws",
            ", region: eu-central-1, user_pool_id: eu-central-1_Ab12",
            "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Ab12",
        ),
    ] {
        let plan = provider(name, rest);
        let expected = LoginWayPlan::Discovered {
            issuer: issuer.parse().unwrap(),
            tenants: None,
        };
        assert_eq!(plan.way, expected, "{name}{rest}");
        assert_eq!(plan.scopes, ["openid", "email", "profile"], "{name}");
        // A name of one's own has it by `preset`.
        let named = provider("own", &format!(", preset: {name}{rest}"));
        assert_eq!(named.way, expected, "{name}{rest}");
    }
}
