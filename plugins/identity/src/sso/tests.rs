//! What of a login needs no gateway.

use url::Url;

use super::discovery;

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
