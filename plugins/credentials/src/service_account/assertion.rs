//! The signed assertion: a JWT of RS256.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::RSA_PKCS1_SHA256;
use serde_json::{Value, json};
use turnpike_api::Secret;

use super::{GrantError, ServiceAccount};

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// The longest that Google takes.
const LIFETIME_SECONDS: u64 = 3600;

pub(super) fn signed(account: &ServiceAccount, now_ms: u64) -> Result<Secret, GrantError> {
    let claimed = format!(
        "{}.{}",
        encode(&header(account)),
        encode(&claims(account, now_ms))
    );
    let mut signature = vec![0; account.private_key.public().modulus_len()];
    account
        .private_key
        .sign(
            &RSA_PKCS1_SHA256,
            &SystemRandom::new(),
            claimed.as_bytes(),
            &mut signature,
        )
        .map_err(|_| GrantError::Signing)?;
    let signature = URL_SAFE_NO_PAD.encode(signature);
    Ok(Secret::new(format!("{claimed}.{signature}")))
}

/// Nothing of an assertion needs escaping.
pub(super) fn form(assertion: &Secret) -> Secret {
    Secret::new(format!(
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={}",
        assertion.expose()
    ))
}

fn header(account: &ServiceAccount) -> Value {
    match &account.private_key_id {
        Some(id) => json!({"alg": "RS256", "typ": "JWT", "kid": id}),
        None => json!({"alg": "RS256", "typ": "JWT"}),
    }
}

fn claims(account: &ServiceAccount, now_ms: u64) -> Value {
    let now = now_ms / 1000;
    json!({
        "iss": account.client_email,
        "scope": SCOPE,
        "aud": account.token_uri.as_str(),
        "iat": now,
        "exp": now + LIFETIME_SECONDS,
    })
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

#[cfg(test)]
mod tests {
    use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

    use super::*;
    use crate::{Material, parse};

    const NOW: u64 = 1_767_323_045_999;
    const PEM: &str = include_str!("../../tests/fixtures/test-only-rsa-key.pem");
    const PUBLIC: &[u8] = include_bytes!("../../tests/fixtures/test-only-rsa-key.pub.der");

    fn account(kid: Option<&str>) -> ServiceAccount {
        let file = json!({
            "type": "service_account",
            "client_email": "robot@project.iam.gserviceaccount.com",
            "private_key": PEM,
            "private_key_id": kid,
            "token_uri": "https://oauth2.googleapis.com/token",
        });
        let file = parse("robot", file.to_string().as_bytes()).ok().unwrap();
        let Material::ServiceAccount(account) = file.material else {
            panic!("not a service account");
        };
        *account
    }

    fn decoded(part: &str) -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    }

    #[test]
    fn says_who_asks_for_what_and_until_when() {
        let assertion = account(Some("abc123")).assertion(NOW).ok().unwrap();
        let parts: Vec<&str> = assertion.expose().split('.').collect();
        assert_eq!(parts.len(), 3);
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": "abc123"});
        assert_eq!(decoded(parts[0]), header);
        let claims = json!({
            "iss": "robot@project.iam.gserviceaccount.com",
            "scope": "https://www.googleapis.com/auth/cloud-platform",
            "aud": "https://oauth2.googleapis.com/token",
            "iat": 1_767_323_045,
            "exp": 1_767_326_645,
        });
        assert_eq!(decoded(parts[1]), claims);
        let without = account(None).assertion(NOW).ok().unwrap();
        let header = without.expose().split('.').next().unwrap();
        assert_eq!(decoded(header), json!({"alg": "RS256", "typ": "JWT"}));
    }

    #[test]
    fn the_account_signed_it() {
        let assertion = account(None).assertion(NOW).ok().unwrap();
        let (claimed, signature) = assertion.expose().rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, PUBLIC);
        assert!(key.verify(claimed.as_bytes(), &signature).is_ok());
        assert!(key.verify(&claimed.as_bytes()[1..], &signature).is_err());
    }

    #[test]
    fn the_form_carries_the_assertion() {
        let account = account(None);
        let request = account.token_request(NOW).ok().unwrap();
        let form: Vec<(String, String)> =
            url::form_urlencoded::parse(request.form_body.expose().as_bytes())
                .into_owned()
                .collect();
        let assertion = account.assertion(NOW).ok().unwrap();
        let grant = "urn:ietf:params:oauth:grant-type:jwt-bearer";
        assert_eq!(form[0], ("grant_type".into(), grant.into()));
        assert_eq!(form[1], ("assertion".into(), assertion.expose().into()));
        assert_eq!(form.len(), 2);
        assert_eq!(request.url.as_str(), "https://oauth2.googleapis.com/token");
    }
}
