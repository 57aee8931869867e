//! A provider of many tenants, as Microsoft's `common` is: each of them is an issuer of its own.

use serde_json::{Value, json};
use turnpike_api::Directory;
use turnpike_identity::sso::Session;
use turnpike_identity::sso::session::KIND;

use super::Place;
use super::provider::Wrong;

const ONE: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
const OTHER: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

/// A gateway whose people come from the directories of a list, or from all.
async fn place(allowed: &str) -> Place {
    let place =
        Place::with("authorization: {mode: enterprise, rate_limit: {max_attempts: 1000}}").await;
    let text = std::fs::read_to_string(&place.house.config).unwrap();
    let one = format!("discovery_url: \"{}\"", place.idp.url);
    let many = format!(
        "preset: microsoft, allowed_tenants: [{allowed}], discovery_url: \"{}/common/v2.0\"",
        place.idp.url
    );
    std::fs::write(&place.house.config, text.replace(&one, &many)).unwrap();
    place.house.gateway.reloader.reload().unwrap();
    place
}

/// The provider does as Microsoft does, but for what `change` makes of a token of the first tenant.
fn does(
    place: &Place,
    change: impl Fn(&mut Value) + Send + 'static,
    rest: impl FnOnce(&mut Wrong),
) {
    let url = place.idp.url.clone();
    let document_url = url.clone();
    place.idp.does(|wrong| {
        wrong.document = Box::new(move |document| {
            document["issuer"] = format!("{document_url}/{{tenantid}}/v2.0").into();
            document["authorization_response_iss_parameter_supported"] = false.into();
        });
        wrong.back = Box::new(|back| back.retain(|(name, _)| name != "iss"));
        wrong.claims = Box::new(move |claims| {
            claims["iss"] = format!("{url}/{ONE}/v2.0").into();
            claims["tid"] = ONE.into();
            change(claims);
        });
        rest(wrong);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_of_the_tenant_that_they_come_from() {
    let place = place("").await;
    does(&place, |_| {}, |_| {});
    place.signed_in().await;
    let url = place.idp.url.clone();
    let other = format!("{url}/{OTHER}/v2.0");
    let issuer = other.clone();
    let moved = move |claims: &mut Value| {
        claims["iss"] = issuer.clone().into();
        claims["tid"] = OTHER.into();
    };
    does(&place, moved, |_| {});
    place.signed_in().await;
    let store: &dyn Directory = &*place.house.gateway.runtime.store;
    let sessions = store.list(KIND).await.unwrap().into_iter();
    let mut issuers: Vec<_> = sessions
        .map(|(_, record)| serde_json::from_slice::<Session>(&record.value).unwrap())
        .map(|session| (session.person.issuer, session.person.subject))
        .collect();
    issuers.sort();
    let mut expected = [format!("{url}/{ONE}/v2.0"), other].map(|issuer| (issuer, "ada".into()));
    expected.sort();
    assert_eq!(issuers, expected, "the same `sub`, and two people");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_whose_tenant_is_not_its_issuer_lets_nobody_in() {
    let place = place(ONE).await;
    let url = place.idp.url.clone();
    type Change = Box<dyn Fn(&mut Value) + Send>;
    let issuer = |name: &str| format!("{url}/{name}/v2.0");
    let (of_other, of_all) = (issuer(OTHER), issuer("{tenantid}"));
    let (of_common, bare) = (issuer("common"), url.clone());
    let set = |key: &'static str, value: Value| -> Change {
        Box::new(move |claims| claims[key] = value.clone())
    };
    let both = |name: String, tenant: Value| -> Change {
        Box::new(move |claims| {
            claims["iss"] = name.clone().into();
            claims["tid"] = tenant.clone();
        })
    };
    let cases: Vec<(&str, Change)> = vec![
        (
            "another tenant's issuer",
            set("iss", of_other.clone().into()),
        ),
        ("another tenant", set("tid", OTHER.into())),
        (
            "a tenant that may not",
            both(of_other.clone(), OTHER.into()),
        ),
        (
            "no tenant",
            Box::new(|claims| {
                claims.as_object_mut().unwrap().remove("tid");
            }),
        ),
        ("tenants in a list", set("tid", json!([ONE]))),
        ("a tenant that is none", both(of_common, "common".into())),
        ("the place of a tenant", both(of_all, "{tenantid}".into())),
        ("an empty tenant", set("tid", "".into())),
        ("the provider itself", set("iss", bare.into())),
    ];
    for (what, change) in cases {
        does(&place, change, |_| {});
        let answer = place.browser().log_in().await;
        assert_eq!(answer.status, 401, "{what}: {}", answer.text());
        assert!(answer.text().contains("&#39;test&#39; failed"), "{what}");
    }
    does(&place, |_| {}, |_| {});
    place.signed_in().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_own_key_signs_for_it_alone() {
    for (of, status) in [("{tenantid}", 303), (ONE, 303), (OTHER, 401)] {
        let place = place("").await;
        let mut key = place.idp.published();
        key["issuer"] = format!("{}/{of}/v2.0", place.idp.url).into();
        does(
            &place,
            |_| {},
            |wrong| wrong.published = Some(json!({"keys": [key]})),
        );
        let answer = place.browser().log_in().await;
        assert_eq!(answer.status, status, "{of}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_counts_where_the_provider_vouches_for_it() {
    let place = place("").await;
    let shown = async |email_verified: Value, vouched: Value| {
        let change = move |claims: &mut Value| {
            claims["email_verified"] = email_verified.clone();
            claims["xms_edov"] = vouched.clone();
        };
        does(&place, change, |_| {});
        let mut browser = place.signed_in().await;
        browser.accept = "application/json";
        browser.get("/auth/tokens").await.json()["email"].clone()
    };
    for (email_verified, vouched, counts) in [
        (Value::Null, Value::Null, false),
        (Value::Null, false.into(), false),
        (Value::Null, "0".into(), false),
        (Value::Null, json!([true]), false),
        (false.into(), true.into(), false),
        (Value::Null, true.into(), true),
        (Value::Null, 1.into(), true),
        (Value::Null, "1".into(), true),
        (true.into(), Value::Null, false),
        (true.into(), true.into(), true),
    ] {
        let what = format!("{email_verified} {vouched}");
        let email = shown(email_verified, vouched).await;
        let expected = counts.then(|| "ada@example.com".into());
        assert_eq!(email, expected.unwrap_or(Value::Null), "{what}");
    }
    // Userinfo says what a tenant wrote.
    let change = |claims: &mut Value| {
        claims.as_object_mut().unwrap().remove("email");
    };
    does(&place, change, |wrong| {
        wrong.userinfo = Some(json!({"sub": "ada", "email": "root@example.com"}));
    });
    let mut browser = place.signed_in().await;
    browser.accept = "application/json";
    assert!(browser.get("/auth/tokens").await.json()["email"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_has_to_be_that_of_all_tenants() {
    let place = place("").await;
    for named in ["common", ONE, ""] {
        let issuer = format!("{}/{named}/v2.0", place.idp.url);
        does(
            &place,
            |_| {},
            |wrong| {
                wrong.document =
                    Box::new(move |document| document["issuer"] = issuer.clone().into());
            },
        );
        let answer = place.browser().get("/auth/login/test").await;
        assert_eq!(answer.status, 502, "{named}");
        place.time.advance(std::time::Duration::from_secs(3));
    }
}
