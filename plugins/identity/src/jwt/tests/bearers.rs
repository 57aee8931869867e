use std::time::Instant;

use futures::executor::block_on;
use serde_json::{Value, json};
use turnpike_api::{Answer, Authenticator, Presented, Rejection, Verdict, testing};

use super::forge::{Answered, Bench, ISSUER, KEYS, NOW, Token, checks, issuer, token};
use crate::jwt::{ClaimNames, Claims, JwtBearers};

fn bearers(bench: &Bench) -> JwtBearers {
    JwtBearers::new(
        vec![bench.verifier()],
        bench.clock.clone(),
        [3; 32],
        checks(),
    )
}

fn verdict(bearers: &JwtBearers, token: &str) -> Verdict {
    block_on(bearers.authenticate(Presented::new(token)).get())
}

fn is_ready(bearers: &JwtBearers, token: &str) -> bool {
    matches!(
        bearers.authenticate(Presented::new(token)),
        Answer::Ready(_)
    )
}

fn name(verdict: Verdict) -> Box<str> {
    match verdict {
        Verdict::Known(identity) => identity.name.clone(),
        refused => panic!("{refused:?}"),
    }
}

#[test]
fn conforms() {
    let bench = Bench::new();
    let rsa = token().signed();
    let elliptic = token()
        .header("alg", json!("ES256"))
        .header("kid", json!("p256"));
    testing::conforming_authenticator(&bearers(&bench), &[&rsa, &elliptic.signed()]);
}

#[test]
fn what_is_no_token_or_anothers_is_not_claimed() {
    let bench = Bench::new();
    let bearers = bearers(&bench);
    let another = token().claim("iss", json!("https://other.example.com"));
    let nobody = token().without("iss").signed();
    let encrypted = format!("{}.{}.e", token().signed(), "e");
    for stranger in [
        "sk-proj-1234.5678.9abc",
        "eyJhbGciOiJSUzI1NiJ9",
        "e.e.e",
        "ey.J.x",
        &"e".repeat(100_000),
        &another.signed(),
        &nobody,
        &encrypted,
        &format!("{}=", token().signed()),
    ] {
        assert!(is_ready(&bearers, stranger));
        assert_eq!(verdict(&bearers, stranger), Verdict::NotMine);
    }
    assert_eq!(bench.endpoint.fetches(), 0);
}

#[test]
fn a_refusal_says_what_its_holder_can_do_and_nothing_of_the_token() {
    let bench = Bench::new();
    let bearers = bearers(&bench);
    let text = |token: &str| match verdict(&bearers, token) {
        Verdict::Reject(Rejection::Malformed(text) | Rejection::NotGood(text)) => text,
        other => panic!("{other:?}"),
    };
    let expired = token().claim("exp", json!(NOW - 100)).signed();
    assert_eq!(text(&expired), "the token has expired: get a new one");
    let long = token().claim("pad", json!("x".repeat(20_000))).signed();
    assert_eq!(text(&long), "the token is longer than 16 KiB");
    let forged = token().signed_with(&KEYS.other_rsa);
    assert_eq!(
        verdict(&bearers, &forged),
        Verdict::Reject(Rejection::Unknown)
    );
}

#[test]
fn a_token_that_was_found_good_is_known_at_once() {
    let bench = Bench::new();
    let bearers = bearers(&bench);
    let good = token().signed();
    assert!(!is_ready(&bearers, &good));
    let known = verdict(&bearers, &good);
    assert!(is_ready(&bearers, &good));
    assert_eq!(verdict(&bearers, &good), known);

    bench.clock.forward(5 * 60 - 1);
    assert!(is_ready(&bearers, &good));
    bench.clock.forward(1);
    assert!(
        !is_ready(&bearers, &good),
        "checked anew after five minutes"
    );
    assert_eq!(verdict(&bearers, &good), known);
}

#[test]
fn it_is_known_no_longer_than_it_is_valid() {
    let bench = Bench::new();
    let bearers = bearers(&bench);
    let short = token().claim("exp", json!(NOW + 10)).signed();
    assert!(matches!(verdict(&bearers, &short), Verdict::Known(_)));
    bench.clock.forward(9);
    assert!(is_ready(&bearers, &short));
    bench.clock.forward(1);
    assert!(
        !is_ready(&bearers, &short),
        "within the leeway it is checked each time"
    );
    assert!(matches!(verdict(&bearers, &short), Verdict::Known(_)));
    bench.clock.forward(60);
    assert!(matches!(verdict(&bearers, &short), Verdict::Reject(_)));
}

#[test]
fn a_withdrawn_key_opens_nothing_after_five_minutes_more() {
    let bench = Bench::new();
    let bearers = bearers(&bench);
    let good = token().signed();
    assert!(matches!(verdict(&bearers, &good), Verdict::Known(_)));
    bench.endpoint.serve(&json!({"keys": []}));
    bench.clock.forward(31 * 60);
    block_on(bench.keys.keep_fresh()).unwrap();
    assert_eq!(
        verdict(&bearers, &good),
        Verdict::Reject(Rejection::Unknown)
    );
}

#[test]
fn a_known_token_does_not_need_the_issuer() {
    let bench = Bench::new();
    let bearers = bearers(&bench);
    let good = token().signed();
    assert!(matches!(verdict(&bearers, &good), Verdict::Known(_)));
    bench.endpoint.answer(Answered::Never);
    for _ in 0..100 {
        assert!(is_ready(&bearers, &good));
    }
}

#[test]
fn each_issuer_has_its_own_keys() {
    let (ours, theirs) = (
        Bench::new(),
        Bench::publishing(&json!({"keys": [KEYS.other_rsa.jwk("rsa")]})),
    );
    let url = "https://other.example.com";
    let other =
        crate::jwt::Issuer::new(url, vec!["turnpike".into()], vec!["RS256".parse().unwrap()]);
    let verifiers = vec![ours.verifier(), theirs.verifier_of(other.unwrap())];
    let bearers = JwtBearers::new(verifiers, ours.clock.clone(), [3; 32], checks());
    let known = |token: String| matches!(verdict(&bearers, &token), Verdict::Known(_));
    let of_theirs = token().claim("iss", json!(url));
    assert!(known(token().signed()));
    assert!(known(of_theirs.signed_with(&KEYS.other_rsa)));
    assert!(!known(of_theirs.signed()), "our key for their issuer");
    assert!(
        !known(token().signed_with(&KEYS.other_rsa)),
        "their key for our issuer"
    );
}

#[test]
fn the_name_is_the_email_unless_it_is_not_verified() {
    let bench = Bench::new();
    let bearers = bearers(&bench);
    let verified = |value: Value| {
        name(verdict(
            &bearers,
            &token().claim("email_verified", value).signed(),
        ))
    };
    assert_eq!(
        &*name(verdict(&bearers, &token().signed())),
        "ann@example.com"
    );
    assert_eq!(&*verified(json!(true)), "ann@example.com");
    assert_eq!(&*verified(json!("true")), "ann@example.com");
    for unverified in [
        json!(false),
        json!("false"),
        json!(1),
        json!("yes"),
        json!([]),
    ] {
        assert_eq!(&*verified(unverified), "u-1");
    }
    for odd in [
        json!(""),
        json!(7),
        json!("a\nb"),
        json!(["x@y"]),
        json!("x".repeat(400)),
    ] {
        let token = token().claim("email", odd).signed();
        assert_eq!(&*name(verdict(&bearers, &token)), "u-1");
    }
}

#[test]
fn claims_are_read_in_the_forms_issuers_write() {
    let bench = Bench::new();
    let names = ClaimNames {
        groups: "realm_access.roles".into(),
        scopes: "scp".into(),
        email: "https://acme.com/email".into(),
        team: "org.unit.team".into(),
        others: ["dept", "org.unit.level", "admin", "none", "odd"]
            .map(Box::from)
            .into(),
    };
    let usual = bench.verifier();
    let named = bench.verifier_of(issuer().with_claims(names));
    let read = |verifier: &crate::jwt::JwtVerifier, token: Token| -> Claims {
        block_on(verifier.verify(&token.signed())).unwrap()
    };
    let texts = |list: &[Box<str>]| list.join("|");

    let claims = read(
        &usual,
        token()
            .claim("groups", json!(["staff", "ml team", 7, "", null]))
            .claim("scope", json!("chat  models:read\tx"))
            .claim("team", json!("search"))
            .claim("azp", json!("agent")),
    );
    assert_eq!((&*claims.issuer, &*claims.subject), (ISSUER, "u-1"));
    assert_eq!(texts(&claims.groups), "staff|ml team");
    assert_eq!(texts(&claims.scopes), "chat|models:read|x");
    assert_eq!(claims.team.as_deref(), Some("search"));
    assert_eq!(claims.authorized_party.as_deref(), Some("agent"));
    assert_eq!(claims.expires_at, (NOW + 3600) * 1000);

    let claims = read(
        &named,
        token()
            .claim("realm_access", json!({"roles": ["admin"]}))
            .claim("scp", json!(["chat", "models"]))
            .claim("https://acme.com/email", json!("ann@acme.com"))
            .claim("org", json!({"unit": {"team": "ml", "level": 7}}))
            .claim("dept", json!(["lab", 3, null, {"a": 1}, ""]))
            .claim("admin", json!(true))
            .claim("odd", json!({"a": "b"})),
    );
    let others: Vec<String> = claims
        .others
        .iter()
        .map(|claim| format!("{}={}", claim.name, claim.values.join("|")))
        .collect();
    assert_eq!(others, ["dept=lab|3", "org.unit.level=7", "admin=true"]);
    assert_eq!(texts(&claims.groups), "admin");
    assert_eq!(texts(&claims.scopes), "chat|models");
    assert_eq!(claims.email.as_deref(), Some("ann@acme.com"));
    assert_eq!(claims.team.as_deref(), Some("ml"));

    let claims = read(
        &usual,
        token()
            .claim("groups", json!("ml team"))
            .claim("scope", json!(7)),
    );
    assert_eq!(texts(&claims.groups), "ml team");
    assert!(claims.scopes.is_empty() && claims.team.is_none());
}

/// `CARGO_PROFILE_DEV_OPT_LEVEL=3 cargo test -p turnpike-identity -- --ignored --nocapture costs`
#[test]
#[ignore = "prints what things cost"]
fn costs() {
    let bench = Bench::new();
    let bearers = bearers(&bench);
    let per = |name: &str, times: u32, work: &dyn Fn()| {
        work();
        let start = Instant::now();
        (0..times).for_each(|_| work());
        println!("{name}: {:.2?}", start.elapsed() / times);
    };
    let good = token()
        .claim("groups", json!(["staff", "ml", "search"]))
        .signed();
    println!("token: {} bytes", good.len());
    per("known", 200_000, &|| drop(verdict(&bearers, &good)));
    per("not mine", 1_000_000, &|| {
        drop(verdict(
            &bearers,
            "tp-0123456789.0123456789abcdef0123456789abcdef",
        ))
    });
    let expired = token().claim("exp", json!(1)).signed();
    per("expired", 20_000, &|| drop(verdict(&bearers, &expired)));
    let made_up = token().header("kid", json!("made-up")).signed();
    per("unknown key", 20_000, &|| drop(verdict(&bearers, &made_up)));
    let verifier = bench.verifier();
    for (algorithm, kid) in [
        ("RS256", "rsa"),
        ("PS256", "rsa"),
        ("ES256", "p256"),
        ("ES384", "p384"),
        ("EdDSA", "ed"),
    ] {
        let token = token()
            .header("alg", json!(algorithm))
            .header("kid", json!(kid))
            .signed();
        per(algorithm, 500, &|| {
            assert!(block_on(verifier.verify(&token)).is_ok())
        });
    }
}
