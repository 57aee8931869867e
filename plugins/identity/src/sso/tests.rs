//! What of a login needs no gateway.

use std::collections::HashMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use turnpike_api::Secret;
use url::Url;

use super::{Client, Offline, Outside, OutsideError, Provider, Seals, Way, discovery};
use crate::jwt::KeyCache;
use crate::tests::Noon;

#[test]
fn a_discovery_document_of_another_or_in_clear_text_is_refused() {
    let issuer = Url::parse("https://idp.example.com/realm").unwrap();
    let document = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut document = serde_json::json!({
            "issuer": "https://idp.example.com/realm",
            "authorization_endpoint": "https://idp.example.com/auth",
            "token_endpoint": "https://idp.example.com/token",
            "jwks_uri": "https://idp.example.com/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        });
        change(&mut document);
        discovery::read(document.to_string().as_bytes(), &issuer, None)
    };
    assert!(document(&|_| {}).is_ok());
    assert!(document(&|it| it["issuer"] = "https://idp.example.com/realm/".into()).is_ok());
    for (key, value) in [
        ("issuer", "https://idp.example.com/other"),
        ("issuer", "https://idp.example.com.evil.example/realm"),
        ("authorization_endpoint", "http://idp.example.com/auth"),
        ("token_endpoint", "http://idp.example.com/token"),
        ("jwks_uri", "http://idp.example.com/keys"),
        ("userinfo_endpoint", "http://idp.example.com/userinfo"),
        ("token_endpoint", "not a url"),
        ("authorization_endpoint", "javascript:alert(1)"),
    ] {
        let refused = document(&|it| it[key] = value.into());
        assert!(refused.is_err(), "{key}: {value}");
    }
    let plain =
        document(&|it| it["code_challenge_methods_supported"] = serde_json::json!(["plain"]));
    assert!(plain.unwrap_err().contains("S256"));
}

#[test]
fn what_providers_say_beyond_the_standard_is_passed_over() {
    let issuer = Url::parse("https://idp.example.com").unwrap();
    let document = serde_json::json!({
        "issuer": "https://idp.example.com",
        "authorization_endpoint": "https://idp.example.com/auth?realm=main",
        "token_endpoint": "https://idp.example.com/token",
        "jwks_uri": "https://idp.example.com/keys",
        "userinfo_endpoint": "https://graph.example.com/userinfo",
        "device_authorization_endpoint": "https://idp.example.com/device",
        "response_types_supported": ["code", "code id_token", "token id_token", "none"],
        "response_modes_supported": ["query", "form_post", "query.jwt", "okta_post_message"],
        "subject_types_supported": ["pairwise", "of-our-own"],
        "id_token_signing_alg_values_supported": ["RS256", "HS256", "ES256K", "of-our-own"],
        "id_token_encryption_alg_values_supported": ["RSA-OAEP-256", "of-our-own"],
        "token_endpoint_auth_methods_supported": ["client_secret_post", "tls_client_auth"],
        "grant_types_supported": ["authorization_code", "urn:ietf:params:oauth:grant-type:device_code"],
        "claim_types_supported": ["normal"],
        "claims_supported": ["sub", "https://example.com/team", "tid"],
        "display_values_supported": ["page", "of-our-own"],
        "request_uri_parameter_supported": false,
        "tenant_region_scope": null,
        "mtls_endpoint_aliases": {"token_endpoint": "https://mtls.example.com/token"},
        "dpop_signing_alg_values_supported": ["ES256"],
    });
    let read = discovery::read(document.to_string().as_bytes(), &issuer, None).unwrap();
    assert!(read.flow.secret_in_body && !read.names_itself);
    assert_eq!(read.flow.authorize.url().query(), Some("realm=main"));
}

/// What a browser is sent to a provider with.
fn asked(scopes: &[&str], offline: Offline) -> HashMap<String, String> {
    let client = Client {
        id: "us".into(),
        secret: Secret::new("secret"),
        scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
        offline,
        groups: "groups".into(),
        team: "team".into(),
        claims: Box::default(),
    };
    let url = |path: &str| Url::parse(&format!("https://idp.example.com{path}")).unwrap();
    let way = Way::Written {
        issuer: "https://idp.example.com".into(),
        authorize: url("/auth?realm=main"),
        token: url("/token"),
        jwks: url("/keys"),
    };
    let provider = Provider::new("test".into(), "Test".into(), client, way);
    let seals = Seals::new(&[1; 32]);
    let begun = ("the-state", "https://llm.example.com/auth/callback");
    let begun = provider.begin(begun, &seals, &Nothing, &Noon);
    let begun = futures::executor::block_on(begun).unwrap();
    begun.query_pairs().into_owned().collect()
}

/// Nobody is called.
struct Nothing;

impl Outside for Nothing {
    fn call(
        &self,
        _: http::Request<Vec<u8>>,
    ) -> BoxFuture<'_, Result<http::Response<Vec<u8>>, OutsideError>> {
        unreachable!("everything is written")
    }

    fn keys(&self, _: &str, _: &Url) -> Arc<KeyCache> {
        unreachable!("there is no token yet")
    }
}

#[test]
fn a_login_is_begun_with_a_code_challenge_a_state_and_a_nonce() {
    let asked = asked(&["openid", "email"], Offline::Consent);
    for (name, value) in [
        ("realm", "main"),
        ("response_type", "code"),
        ("client_id", "us"),
        ("redirect_uri", "https://llm.example.com/auth/callback"),
        ("scope", "openid email"),
        ("state", "the-state"),
        ("code_challenge_method", "S256"),
    ] {
        assert_eq!(asked[name], value, "{name}");
    }
    assert_eq!(asked["nonce"].len(), 43);
    assert_eq!(asked["code_challenge"].len(), 43);
    assert_ne!(asked["nonce"], asked["code_challenge"]);
    assert!(!asked.contains_key("prompt") && !asked.contains_key("access_type"));
}

#[test]
fn a_refresh_token_is_asked_for_as_the_provider_wants_it() {
    for (offline, scope, prompt, access_type) in [
        (Offline::Scope, "openid offline_access email", None, None),
        (
            Offline::Consent,
            "openid offline_access email",
            Some("consent"),
            None,
        ),
        (
            Offline::AccessType,
            "openid email",
            Some("consent"),
            Some("offline"),
        ),
    ] {
        let asked = asked(&["openid", "offline_access", "email"], offline);
        let said = |name| asked.get(name).map(String::as_str);
        assert_eq!(asked["scope"], scope, "{offline:?}");
        assert_eq!(said("prompt"), prompt, "{offline:?}");
        assert_eq!(said("access_type"), access_type, "{offline:?}");
    }
}
