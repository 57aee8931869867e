use futures::executor::block_on;
use serde_json::{Value, json};
use turnpike_api::{Authenticator, Presented, Verdict};

use super::forge::{
    AUDIENCE, Bench, ISSUER, KEYS, NOW, Token, checks, decoded, encoded, issuer, token,
    with_signature,
};
use crate::jwt::token::MAX_BYTES;
use crate::jwt::{Algorithm, Issuer, JwtBearers, Refused};

/// What is tried, the token, and what comes of it.
type Case = (&'static str, String, Result<(), Refused>);

#[test]
fn every_case_ends_as_it_must() {
    let bench = Bench::new();
    let verifier = bench.verifier();
    let cases = [
        signatures(),
        headers(),
        keys(),
        parties(),
        times(),
        numbers(),
        subjects(),
        forms(),
    ]
    .concat();
    assert!(cases.len() >= 200, "only {} cases", cases.len());
    let wrong: Vec<_> = (cases.iter())
        .map(|(name, token, expected)| (name, block_on(verifier.verify(token)).map(drop), expected))
        .filter(|(_, outcome, expected)| outcome != *expected)
        .collect();
    assert!(wrong.is_empty(), "case, outcome, expected: {wrong:#?}");
    assert_eq!(bench.endpoint.fetches(), 1, "the cases caused more fetches");
}

#[test]
fn as_bearers_none_of_them_is_let_in_or_echoed() {
    let bench = Bench::new();
    let verifier = bench.verifier();
    let bearers = JwtBearers::new(vec![verifier], bench.clock.clone(), [3; 32], checks());
    for (name, token, expected) in [signatures(), headers(), keys(), parties(), forms()].concat() {
        for _ in 0..2 {
            let presented = Presented::new(&token);
            let verdict = block_on(bearers.authenticate(presented).get());
            let known = matches!(verdict, Verdict::Known(_));
            assert_eq!(known, expected.is_ok(), "{name}: {verdict:?}");
        }
    }
}

#[test]
fn no_letter_of_a_token_can_be_changed() {
    let bench = Bench::new();
    let verifier = bench.verifier();
    for algorithm in ["RS256", "ES256"] {
        let good = of(algorithm, if algorithm == "RS256" { "rsa" } else { "p256" }).signed();
        block_on(verifier.verify(&good)).unwrap();
        for at in 0..good.len() {
            let other = if good.as_bytes()[at] == b'A' {
                "B"
            } else {
                "A"
            };
            let mut changed = good.clone();
            changed.replace_range(at..=at, other);
            assert!(block_on(verifier.verify(&changed)).is_err(), "at {at}");
            let mut shorter = good.clone();
            shorter.remove(at);
            assert!(block_on(verifier.verify(&shorter)).is_err(), "without {at}");
            assert!(
                block_on(verifier.verify(&good[..at])).is_err(),
                "up to {at}"
            );
        }
    }
}

#[test]
fn an_algorithm_that_the_issuer_is_not_allowed_is_refused_though_the_key_is_its_own() {
    let bench = Bench::new();
    let only = Issuer::new(ISSUER, vec![AUDIENCE.into()], vec![Algorithm::Rs256]).unwrap();
    let verifier = bench.verifier_of(only);
    for (algorithm, kid) in [
        ("RS384", "rsa"),
        ("PS256", "rsa"),
        ("ES256", "p256"),
        ("EdDSA", "ed"),
    ] {
        let outcome = block_on(verifier.verify(&of(algorithm, kid).signed()));
        assert_eq!(outcome, Err(Refused::Algorithm), "{algorithm}");
    }
    assert_eq!(
        bench.endpoint.fetches(),
        0,
        "refused without asking for keys"
    );
    assert!(block_on(verifier.verify(&token().signed())).is_ok());
}

#[test]
fn another_leeway_moves_the_bounds() {
    let bench = Bench::new();
    let strict = issuer().with_leeway(std::time::Duration::ZERO).unwrap();
    let verifier = bench.verifier_of(strict);
    let verify =
        |claim, at| block_on(verifier.verify(&token().claim(claim, at).signed())).map(drop);
    assert_eq!(verify("exp", json!(NOW)), Err(Refused::Expired));
    assert_eq!(verify("exp", json!(NOW + 1)), Ok(()));
    assert_eq!(verify("exp", json!(NOW as f64 + 0.25)), Ok(()));
    assert_eq!(verify("nbf", json!(NOW)), Ok(()));
    assert_eq!(
        verify("nbf", json!(NOW as f64 + 0.25)),
        Err(Refused::NotYetValid)
    );
    assert_eq!(verify("iat", json!(NOW + 1)), Err(Refused::IssuedInFuture));
}

fn of(algorithm: &str, kid: &str) -> Token {
    token()
        .header("alg", json!(algorithm))
        .header("kid", json!(kid))
}

fn signatures() -> Vec<Case> {
    let good = token().signed();
    let (message, signature) = good.rsplit_once('.').unwrap();
    let other = token().claim("sub", json!("u-2"));
    let hmac = || token().header("alg", json!("HS256"));
    let none = |name: &str| token().header("alg", json!(name)).message() + ".";
    let rs_as_ps = of("PS256", "rsa").signed_with(&KEYS.rsa);
    let elliptic = of("ES256", "p256").signed();
    let (elliptic_message, s) = elliptic.rsplit_once('.').unwrap();
    let swapped = format!("{}.{signature}", other.message());
    let zeros = |bytes: usize| with_signature(elliptic_message, &vec![0; bytes]);
    let forged = Err(Refused::Signature);
    let not_allowed = Err(Refused::Algorithm);
    vec![
        ("RS256", of("RS256", "rsa").signed(), Ok(())),
        ("RS384", of("RS384", "rsa").signed(), Ok(())),
        ("RS512", of("RS512", "rsa").signed(), Ok(())),
        ("PS256", of("PS256", "rsa").signed(), Ok(())),
        ("PS384", of("PS384", "rsa").signed(), Ok(())),
        ("PS512", of("PS512", "rsa").signed(), Ok(())),
        ("ES256", of("ES256", "p256").signed(), Ok(())),
        ("ES384", of("ES384", "p384").signed(), Ok(())),
        ("EdDSA", of("EdDSA", "ed").signed(), Ok(())),
        ("none", none("none"), not_allowed),
        ("None", none("None"), not_allowed),
        ("nOnE", none("nOnE"), not_allowed),
        (
            "none, yet signed",
            token().header("alg", json!("none")).signed(),
            not_allowed,
        ),
        ("RS256 without a signature", format!("{message}."), forged),
        (
            "HS256 with the key's PEM",
            hmac().signed_with_secret(KEYS.rsa.pem.as_bytes()),
            not_allowed,
        ),
        (
            "HS256 with its PEM trimmed",
            hmac().signed_with_secret(KEYS.rsa.pem.trim().as_bytes()),
            not_allowed,
        ),
        (
            "HS256 with its DER",
            hmac().signed_with_secret(&KEYS.rsa.der),
            not_allowed,
        ),
        (
            "HS256 with its modulus",
            hmac().signed_with_secret(&KEYS.rsa.n),
            not_allowed,
        ),
        (
            "HS256 with its modulus as written",
            hmac().signed_with_secret(encoded_modulus().as_bytes()),
            not_allowed,
        ),
        (
            "HS256 with nothing",
            hmac().signed_with_secret(b""),
            not_allowed,
        ),
        (
            "HS512",
            of("HS512", "rsa").signed_with_secret(&KEYS.rsa.der),
            not_allowed,
        ),
        (
            "an HMAC called RS256",
            token().signed_with_secret(&KEYS.rsa.der),
            forged,
        ),
        ("rs256", of("rs256", "rsa").signed(), not_allowed),
        ("ES512", of("ES512", "p256").signed(), not_allowed),
        ("ES256K", of("ES256K", "p256").signed(), not_allowed),
        ("RS1", of("RS1", "rsa").signed(), not_allowed),
        ("PS256 in name only", rs_as_ps, forged),
        (
            "RS256 called RS512",
            of("RS512", "rsa").signed_with(&KEYS.rsa),
            forged,
        ),
        (
            "signed with another's key",
            token().signed_with(&KEYS.other_rsa),
            forged,
        ),
        ("another's payload", swapped, forged),
        (
            "a cut signature",
            with_signature(message, &decoded(signature)[..255]),
            forged,
        ),
        (
            "half a signature",
            with_signature(message, &decoded(signature)[..128]),
            forged,
        ),
        (
            "a longer signature",
            with_signature(message, &[7; 257]),
            forged,
        ),
        (
            "a signature of zeros",
            with_signature(message, &[0; 256]),
            forged,
        ),
        (
            "a signature of ones",
            with_signature(message, &[255; 256]),
            forged,
        ),
        (
            "the signature 1",
            with_signature(message, &[&[0; 255][..], &[1]].concat()),
            forged,
        ),
        ("ES256: r = s = 0", zeros(64), forged),
        ("ES256: nothing", zeros(0), forged),
        ("ES256: half", zeros(32), forged),
        ("ES256: of P-384's size", zeros(96), forged),
        (
            "ES256: r = s = n",
            with_signature(elliptic_message, &[P256_ORDER, P256_ORDER].concat()),
            forged,
        ),
        (
            "ES256: r = 1, s = 1",
            with_signature(elliptic_message, &one_one()),
            forged,
        ),
        (
            "ES256: as DER",
            with_signature(elliptic_message, &as_der(&decoded(s))),
            forged,
        ),
        (
            "ES256: r and s swapped",
            with_signature(elliptic_message, &swapped_halves(&decoded(s))),
            forged,
        ),
        // The other of the two signatures that every ECDSA signature is. Issuers write either
        // (RFC 7518 asks for none), and nothing here depends on a token's having one text only.
        (
            "ES256: s = n - s",
            with_signature(elliptic_message, &mirrored(&decoded(s))),
            Ok(()),
        ),
        (
            "EdDSA: zeros",
            with_signature(&of("EdDSA", "ed").message(), &[0; 64]),
            forged,
        ),
        (
            "EdDSA: half",
            with_signature(&of("EdDSA", "ed").message(), &[0; 32]),
            forged,
        ),
    ]
}

fn headers() -> Vec<Case> {
    let own = KEYS.other_rsa.jwk("rsa");
    let with_own_key = token().header("jwk", own.clone());
    let typ = |typ: Value| token().header("typ", typ).signed();
    let twice = format!(
        "{}.{}",
        encoded(r#"{"alg":"RS256","kid":"rsa","alg":"none"}"#),
        token().message().split_once('.').unwrap().1
    );
    vec![
        (
            "crit",
            token().header("crit", json!(["exp"])).signed(),
            Err(Refused::Critical),
        ),
        (
            "crit: b64",
            token()
                .header("crit", json!(["b64"]))
                .header("b64", json!(false))
                .signed(),
            Err(Refused::Critical),
        ),
        (
            "crit: []",
            token().header("crit", json!([])).signed(),
            Err(Refused::Critical),
        ),
        (
            "crit: null",
            token().header("crit", Value::Null).signed(),
            Err(Refused::Critical),
        ),
        (
            "its own key, named as ours",
            with_own_key.signed_with(&KEYS.other_rsa),
            Err(Refused::Signature),
        ),
        (
            "its own key, signed with ours",
            with_own_key.signed(),
            Ok(()),
        ),
        (
            "its own key, unnamed",
            with_own_key
                .clone()
                .without("kid")
                .signed_with(&KEYS.other_rsa),
            Err(Refused::UnknownKey),
        ),
        (
            "jku",
            token()
                .header("jku", json!("https://evil.example/keys"))
                .signed_with(&KEYS.other_rsa),
            Err(Refused::Signature),
        ),
        (
            "jku, signed with ours",
            token()
                .header("jku", json!("https://evil.example/keys"))
                .signed(),
            Ok(()),
        ),
        (
            "x5u",
            token()
                .header("x5u", json!("https://evil.example/cert"))
                .signed_with(&KEYS.other_rsa),
            Err(Refused::Signature),
        ),
        (
            "x5c",
            token()
                .header("x5c", json!(["MIIB"]))
                .signed_with(&KEYS.other_rsa),
            Err(Refused::Signature),
        ),
        ("typ at+jwt", typ(json!("at+jwt")), Ok(())),
        ("typ AT+JWT", typ(json!("AT+JWT")), Ok(())),
        (
            "typ application/at+jwt",
            typ(json!("application/at+jwt")),
            Ok(()),
        ),
        ("typ null", typ(Value::Null), Ok(())),
        ("no typ", token().without("typ").signed(), Ok(())),
        (
            "typ logout+jwt",
            typ(json!("logout+jwt")),
            Err(Refused::Type),
        ),
        ("typ dpop+jwt", typ(json!("dpop+jwt")), Err(Refused::Type)),
        ("typ empty", typ(json!("")), Err(Refused::Type)),
        ("typ a number", typ(json!(1)), Err(Refused::Form)),
        (
            "no alg",
            token().without("alg").message() + ".AAAA",
            Err(Refused::Form),
        ),
        (
            "alg null",
            token().header("alg", Value::Null).message() + ".AAAA",
            Err(Refused::Form),
        ),
        (
            "alg a list",
            token().header("alg", json!(["RS256"])).message() + ".AAAA",
            Err(Refused::Form),
        ),
        ("alg twice", twice + ".AAAA", Err(Refused::Form)),
    ]
}

fn keys() -> Vec<Case> {
    let kid = |kid: Value| token().header("kid", kid).signed();
    let unknown = Err(Refused::UnknownKey);
    vec![
        ("no kid", token().without("kid").signed(), Ok(())),
        (
            "no kid, another's key",
            token().without("kid").signed_with(&KEYS.other_rsa),
            unknown,
        ),
        ("kid null", kid(Value::Null), Ok(())),
        ("an unknown kid", kid(json!("new")), unknown),
        ("an empty kid", kid(json!("")), unknown),
        ("a kid of another case", kid(json!("RSA")), unknown),
        ("a kid with a blank", kid(json!("rsa ")), unknown),
        ("a kid that is a path", kid(json!("../../rsa")), unknown),
        ("a kid that is a query", kid(json!("' OR 1=1 --")), unknown),
        ("an endless kid", kid(json!("k".repeat(8000))), unknown),
        ("a kid that is a number", kid(json!(1)), Err(Refused::Form)),
        (
            "the kid of a key of another kind",
            of("RS256", "p256").signed(),
            unknown,
        ),
        (
            "the kid of a key of another curve",
            of("ES256", "p384").signed(),
            unknown,
        ),
        (
            "EdDSA with an RSA key's kid",
            of("EdDSA", "rsa").signed(),
            unknown,
        ),
    ]
}

fn parties() -> Vec<Case> {
    let iss = |iss: Value| token().claim("iss", iss).signed();
    let aud = |aud: Value| token().claim("aud", aud).signed();
    let several = |azp: Value| {
        let audiences = json!([AUDIENCE, "calendar"]);
        token().claim("aud", audiences).claim("azp", azp).signed()
    };
    let another = Err(Refused::Issuer);
    let not_us = Err(Refused::Audience);
    let not_ours = Err(Refused::AuthorizedParty);
    vec![
        (
            "iss with a slash",
            iss(json!("https://idp.example.com/")),
            another,
        ),
        (
            "iss without its s",
            iss(json!("http://idp.example.com")),
            another,
        ),
        (
            "iss of another case",
            iss(json!("https://IDP.example.com")),
            another,
        ),
        (
            "iss with a blank",
            iss(json!("https://idp.example.com ")),
            another,
        ),
        (
            "iss and more",
            iss(json!("https://idp.example.com.evil.example")),
            another,
        ),
        ("iss empty", iss(json!("")), another),
        ("iss null", iss(Value::Null), another),
        ("iss a list", iss(json!([ISSUER])), another),
        ("iss an object", iss(json!({"iss": ISSUER})), another),
        ("no iss", token().without("iss").signed(), another),
        ("aud another", aud(json!("calendar")), not_us),
        ("aud of another case", aud(json!("Turnpike")), not_us),
        ("aud and more", aud(json!("turnpike2")), not_us),
        (
            "aud ours among words",
            aud(json!("calendar turnpike")),
            not_us,
        ),
        ("aud empty", aud(json!("")), not_us),
        ("aud null", aud(Value::Null), not_us),
        ("aud []", aud(json!([])), not_us),
        ("aud a number", aud(json!(1)), not_us),
        ("aud an object", aud(json!({"turnpike": true})), not_us),
        ("aud a list in a list", aud(json!([[AUDIENCE]])), not_us),
        (
            "aud a list with a number",
            aud(json!([AUDIENCE, 1])),
            not_us,
        ),
        ("no aud", token().without("aud").signed(), not_us),
        ("aud the other of ours", aud(json!("turnpike-eu")), Ok(())),
        ("aud a list of one", aud(json!([AUDIENCE])), Ok(())),
        (
            "aud a list without us",
            aud(json!(["calendar", "mail"])),
            not_us,
        ),
        (
            "several audiences, no azp",
            aud(json!([AUDIENCE, "calendar"])),
            not_ours,
        ),
        (
            "several audiences, azp ours",
            several(json!(AUDIENCE)),
            Ok(()),
        ),
        (
            "several audiences, azp the other of ours",
            several(json!("turnpike-eu")),
            Ok(()),
        ),
        (
            "several audiences, azp another",
            several(json!("calendar")),
            not_ours,
        ),
        (
            "several audiences, azp a list",
            several(json!([AUDIENCE])),
            not_ours,
        ),
        ("several audiences, azp empty", several(json!("")), not_ours),
        (
            "one audience, azp another",
            token().claim("azp", json!("agent")).signed(),
            Ok(()),
        ),
    ]
}

fn times() -> Vec<Case> {
    let at = |claim: &str, time: u64| token().claim(claim, json!(time)).signed();
    vec![
        ("exp leeway ago", at("exp", NOW - 60), Err(Refused::Expired)),
        (
            "exp a second before that",
            at("exp", NOW - 61),
            Err(Refused::Expired),
        ),
        ("exp a second after that", at("exp", NOW - 59), Ok(())),
        ("exp now", at("exp", NOW), Ok(())),
        ("exp at the end of time", at("exp", 253_402_300_799), Ok(())),
        (
            "exp in milliseconds",
            at("exp", NOW * 1000),
            Err(Refused::Time),
        ),
        ("exp 0", at("exp", 0), Err(Refused::Expired)),
        (
            "no exp",
            token().without("exp").signed(),
            Err(Refused::NoExpiry),
        ),
        ("nbf now", at("nbf", NOW), Ok(())),
        ("nbf in leeway", at("nbf", NOW + 60), Ok(())),
        ("nbf a second before that", at("nbf", NOW + 59), Ok(())),
        (
            "nbf a second after that",
            at("nbf", NOW + 61),
            Err(Refused::NotYetValid),
        ),
        ("iat in leeway", at("iat", NOW + 60), Ok(())),
        ("iat a second before that", at("iat", NOW + 59), Ok(())),
        (
            "iat a second after that",
            at("iat", NOW + 61),
            Err(Refused::IssuedInFuture),
        ),
        ("iat long ago", at("iat", 0), Ok(())),
        ("no iat", token().without("iat").signed(), Ok(())),
    ]
}

fn numbers() -> Vec<Case> {
    let odd = [
        ("negative", json!(-1)),
        ("very negative", json!(i64::MIN)),
        ("the largest", json!(u64::MAX)),
        ("the largest signed", json!(i64::MAX)),
        ("1e300", json!(1e300)),
        ("a small negative", json!(-0.5)),
        ("text", json!((NOW + 600).to_string())),
        ("empty text", json!("")),
        ("a date", json!("2027-01-15T08:00:00Z")),
        ("a list", json!([NOW + 600])),
        ("an object", json!({})),
        ("true", json!(true)),
    ];
    let mut cases: Vec<Case> = Vec::new();
    for (name, value) in odd {
        for claim in ["exp", "nbf", "iat"] {
            let token = token().claim(claim, value.clone()).signed();
            cases.push((name, token, Err(Refused::Time)));
        }
    }
    let written = |number: &str| {
        let claims =
            format!(r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}","sub":"u-1","exp":{number}}}"#);
        let header = token().message().split_once('.').unwrap().0.to_owned();
        let message = format!("{header}.{}", encoded(&claims));
        KEYS.rsa.signed_message(&message)
    };
    cases.extend([
        (
            "exp null",
            token().claim("exp", Value::Null).signed(),
            Err(Refused::NoExpiry),
        ),
        (
            "nbf null",
            token().claim("nbf", Value::Null).signed(),
            Ok(()),
        ),
        (
            "exp with a fraction",
            token().claim("exp", json!(NOW as f64 + 0.5)).signed(),
            Ok(()),
        ),
        ("exp 1e400", written("1e400"), Err(Refused::Form)),
        (
            "exp of 400 digits",
            written(&"9".repeat(400)),
            Err(Refused::Form),
        ),
        (
            "exp of 30 digits",
            written(&"9".repeat(30)),
            Err(Refused::Time),
        ),
        ("exp NaN", written("NaN"), Err(Refused::Form)),
        ("exp Infinity", written("Infinity"), Err(Refused::Form)),
        ("exp -0", written("-0"), Err(Refused::Expired)),
        ("exp 18e8", written("18e8"), Ok(())),
        ("exp 0x7FFFFFFF", written("0x7FFFFFFF"), Err(Refused::Form)),
    ]);
    cases
}

fn subjects() -> Vec<Case> {
    let sub = |sub: Value| token().claim("sub", sub).signed();
    let nobody = Err(Refused::Subject);
    vec![
        ("no sub", token().without("sub").signed(), nobody),
        ("sub empty", sub(json!("")), nobody),
        ("sub null", sub(Value::Null), nobody),
        ("sub a number", sub(json!(42)), nobody),
        ("sub a list", sub(json!(["u-1"])), nobody),
        (
            "sub with a line break",
            sub(json!("u-1\nlevel=error")),
            nobody,
        ),
        ("sub with a NUL", sub(json!("u-1\0")), nobody),
        ("sub endless", sub(json!("u".repeat(4000))), nobody),
        ("sub in any script", sub(json!("ünï-サブ")), Ok(())),
    ]
}

fn forms() -> Vec<Case> {
    let good = token().signed();
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, claims) = message.split_once('.').unwrap();
    let form = Err(Refused::Form);
    let deep = format!("{}1{}", r#"{"a":"#.repeat(1000), "}".repeat(1000));
    let padding = "x".repeat(MAX_BYTES);
    vec![
        ("nothing", String::new(), form),
        ("dots", "..".into(), form),
        ("one part", header.into(), form),
        ("two parts", message.into(), form),
        ("four parts", format!("{good}.{signature}"), form),
        (
            "five parts, as an encrypted one",
            format!("{header}.{claims}.{claims}.{claims}.{claims}"),
            form,
        ),
        ("a dot in front", format!(".{good}"), form),
        ("no header", format!(".{claims}.{signature}"), form),
        ("no claims", format!("{header}..{signature}"), form),
        ("a blank in front", format!(" {good}"), form),
        ("a line break behind", format!("{good}\n"), form),
        (
            "a blank within",
            format!("{header}. {claims}.{signature}"),
            form,
        ),
        ("a NUL behind", format!("{good}\0"), form),
        ("padding", format!("{good}=="), form),
        (
            "the other alphabet",
            format!("{header}.{claims}.+/{signature}"),
            form,
        ),
        (
            "claims that are a list",
            format!("{header}.{}.{signature}", encoded("[]")),
            form,
        ),
        (
            "claims that are text",
            format!("{header}.{}.{signature}", encoded("\"x\"")),
            form,
        ),
        (
            "claims that are cut",
            format!("{header}.{}.{signature}", encoded("{\"iss\":")),
            form,
        ),
        (
            "claims and more",
            format!("{header}.{}.{signature}", encoded("{}{}")),
            form,
        ),
        (
            "claims a thousand deep",
            format!("{header}.{}.{signature}", encoded(&deep)),
            form,
        ),
        (
            "a header that is a list",
            format!("{}.{claims}.{signature}", encoded("[]")),
            form,
        ),
        (
            "a header that is empty",
            format!("{}.{claims}.{signature}", encoded("{}")),
            form,
        ),
        (
            "a header that is not text",
            format!("gICA.{claims}.{signature}"),
            form,
        ),
        ("Bearer in front", format!("Bearer {good}"), form),
        (
            "a token of its own length",
            token().claim("pad", json!("x".repeat(8000))).signed(),
            Ok(()),
        ),
        (
            "oversized",
            token().claim("pad", json!(padding)).signed(),
            Err(Refused::TooLong),
        ),
        (
            "oversized dots",
            ".".repeat(MAX_BYTES + 1),
            Err(Refused::TooLong),
        ),
    ]
}

const P256_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6,
    0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

fn mirrored(signature: &[u8]) -> Vec<u8> {
    let mut mirrored = signature.to_vec();
    let mut borrow = 0;
    for at in (0..32).rev() {
        let difference = i16::from(P256_ORDER[at]) - i16::from(signature[32 + at]) - borrow;
        borrow = i16::from(difference < 0);
        mirrored[32 + at] = difference.rem_euclid(256) as u8;
    }
    mirrored
}

fn swapped_halves(signature: &[u8]) -> Vec<u8> {
    [&signature[32..], &signature[..32]].concat()
}

fn one_one() -> Vec<u8> {
    let one = [&[0; 31][..], &[1]].concat();
    one.repeat(2)
}

fn as_der(signature: &[u8]) -> Vec<u8> {
    let integer = |number: &[u8]| [&[2, 33, 0][..], number].concat();
    let both = [integer(&signature[..32]), integer(&signature[32..])].concat();
    [&[0x30, both.len() as u8][..], &both].concat()
}

fn encoded_modulus() -> String {
    KEYS.rsa.jwk("rsa")["n"].as_str().unwrap().to_owned()
}
