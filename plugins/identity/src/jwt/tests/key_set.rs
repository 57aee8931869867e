use serde_json::{Value, json};

use super::forge::{KEYS, decoded, encoded, token};
use crate::jwt::key_set::{MAX_BYTES, MAX_KEYS, Unsigned};
use crate::jwt::{Algorithm, KeySet, KeySetError};

fn parse(keys: Value) -> Result<KeySet, KeySetError> {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
}

#[derive(Debug, PartialEq, Eq)]
enum Signature {
    Good,
    Bad,
    UnknownKey,
}

/// With a token that is good, signed with the first RSA key, as key `kid`.
fn verify(keys: Value, kid: Option<&str>) -> Signature {
    let message = token().message();
    let signed = token().signed();
    let signature = decoded(signed.rsplit_once('.').unwrap().1);
    let keys = parse(keys).unwrap();
    match keys.verify(kid, Algorithm::Rs256, message.as_bytes(), &signature) {
        Ok(_) => Signature::Good,
        Err(Unsigned::Bad) => Signature::Bad,
        Err(Unsigned::UnknownKey) => Signature::UnknownKey,
    }
}

fn with(mut key: Value, name: &str, value: Value) -> Value {
    key[name] = value;
    key
}

#[test]
fn keys_that_are_not_for_this_are_passed_over() {
    let rsa = || KEYS.rsa.jwk("rsa");
    for (name, key) in [
        ("use: enc", with(rsa(), "use", json!("enc"))),
        ("another use", with(rsa(), "use", json!("SIG"))),
        (
            "key_ops: encrypt",
            with(rsa(), "key_ops", json!(["encrypt", "wrapKey"])),
        ),
        ("key_ops: none", with(rsa(), "key_ops", json!([]))),
        ("alg: RSA-OAEP", with(rsa(), "alg", json!("RSA-OAEP"))),
        ("alg: HS256", with(rsa(), "alg", json!("HS256"))),
        ("alg: RS512", with(rsa(), "alg", json!("RS512"))),
        ("alg: PS256", with(rsa(), "alg", json!("PS256"))),
        ("another kty", with(rsa(), "kty", json!("rsa"))),
        ("no kty", with(rsa(), "kty", Value::Null)),
        ("kid a number", with(rsa(), "kid", json!(1))),
        ("n not base64", with(rsa(), "n", json!("+++"))),
        ("n empty", with(rsa(), "n", json!(""))),
        ("n of 1024 bits", with(rsa(), "n", json!(number(128)))),
        ("n of 8192 bits", with(rsa(), "n", json!(number(1024)))),
        ("e 1", with(rsa(), "e", json!("AQ"))),
        ("e 0", with(rsa(), "e", json!("AA"))),
        ("e even", with(rsa(), "e", json!("AQAC"))),
        ("e endless", with(rsa(), "e", json!(number(64)))),
        ("no e", with(rsa(), "e", Value::Null)),
        (
            "a secret",
            json!({"kty": "oct", "kid": "rsa", "k": "c2VjcmV0"}),
        ),
        ("not a key", json!("rsa")),
        ("null", Value::Null),
    ] {
        assert_eq!(
            verify(json!([key]), Some("rsa")),
            Signature::UnknownKey,
            "{name}"
        );
        let beside = json!([key, rsa()]);
        assert_eq!(
            verify(beside, Some("rsa")),
            Signature::Good,
            "beside {name}"
        );
    }
}

/// Odd, of so many bytes, the first of them not zero.
fn number(bytes: usize) -> String {
    encoded(vec![0xff; bytes])
}

#[test]
fn keys_that_say_what_they_are_for_are_taken() {
    let rsa = || KEYS.rsa.jwk("rsa");
    for key in [
        with(rsa(), "alg", json!("RS256")),
        with(rsa(), "use", Value::Null),
        with(rsa(), "key_ops", json!(["sign", "verify"])),
        with(rsa(), "x5c", json!(["MIIB"])),
    ] {
        assert_eq!(verify(json!([key]), Some("rsa")), Signature::Good);
    }
}

#[test]
fn points_that_are_on_no_curve_are_passed_over() {
    let p256 = KEYS.p256.jwk("k");
    let point = [&p256["x"], &p256["y"]]
        .map(|part| decoded(part.as_str().unwrap()))
        .concat();
    let (short, long) = (encoded(&point[..31]), encoded(&point[31..]));
    let ed = KEYS.ed_jwk("k");
    for (name, key) in [
        ("x changed", with(p256.clone(), "x", p256["y"].clone())),
        ("x short", with(p256.clone(), "x", json!("AAAA"))),
        ("y missing", with(p256.clone(), "y", Value::Null)),
        (
            "nought",
            with(
                with(p256.clone(), "x", json!(zeros(32))),
                "y",
                json!(zeros(32)),
            ),
        ),
        (
            "cut elsewhere",
            with(with(p256.clone(), "x", json!(short)), "y", json!(long)),
        ),
        (
            "another curve's name",
            with(p256.clone(), "crv", json!("P-384")),
        ),
        (
            "a curve we do not know",
            with(p256.clone(), "crv", json!("secp256k1")),
        ),
        ("ed: short", with(ed.clone(), "x", json!("AAAA"))),
        ("ed: long", with(ed.clone(), "x", json!(zeros(33)))),
        ("ed: X25519", with(ed.clone(), "crv", json!("X25519"))),
    ] {
        assert!(parse(json!([key])).unwrap().is_empty(), "{name}");
    }
    assert_eq!(parse(json!([p256, ed])).unwrap().len(), 2);
}

fn zeros(bytes: usize) -> String {
    encoded(vec![0; bytes])
}

#[test]
fn of_several_keys_with_one_name_each_that_fits_is_tried() {
    let (mine, other, curve) = (
        KEYS.rsa.jwk("k"),
        KEYS.other_rsa.jwk("k"),
        KEYS.p256.jwk("k"),
    );
    assert_eq!(
        verify(json!([other, curve, mine]), Some("k")),
        Signature::Good
    );
    assert_eq!(verify(json!([other, curve]), Some("k")), Signature::Bad);
    assert_eq!(verify(json!([curve]), Some("k")), Signature::UnknownKey);
    // Of twenty there is no end: the fifth is not tried.
    let many: Vec<_> = std::iter::repeat_n(other, 4).chain([mine]).collect();
    assert_eq!(verify(json!(many), Some("k")), Signature::Bad);
}

#[test]
fn a_token_without_a_key_id_is_tried_with_all_that_fit() {
    let (mine, other) = (KEYS.rsa.jwk("a"), KEYS.other_rsa.jwk("b"));
    assert_eq!(verify(json!([other, mine]), None), Signature::Good);
    // It may be signed with a key that is newer than the set.
    assert_eq!(verify(json!([other]), None), Signature::UnknownKey);
    // A key without an id is not that of a token with one.
    let unnamed = with(mine, "kid", Value::Null);
    assert_eq!(verify(json!([unnamed]), Some("a")), Signature::UnknownKey);
    assert_eq!(verify(json!([unnamed]), None), Signature::Good);
}

#[test]
fn a_document_is_bounded_and_of_its_form() {
    for document in [
        "",
        "[]",
        "{}",
        "null",
        r#"{"keys":{}}"#,
        "<html>",
        r#"{"keys":[]"#,
    ] {
        assert_eq!(
            KeySet::parse(document.as_bytes()).err(),
            Some(KeySetError::Form),
            "{document}"
        );
    }
    assert_eq!(parse(json!([])).map(|keys| keys.len()), Ok(0));
    let keys = vec![KEYS.p256.jwk("k"); MAX_KEYS];
    assert_eq!(parse(json!(keys)).map(|keys| keys.len()), Ok(MAX_KEYS));
    let keys = vec![Value::Null; MAX_KEYS + 1];
    assert_eq!(parse(json!(keys)).err(), Some(KeySetError::TooMany));
    let blank = vec![b' '; MAX_BYTES + 1];
    assert_eq!(KeySet::parse(&blank).err(), Some(KeySetError::TooLong));
    let deep = "[".repeat(100_000);
    assert_eq!(
        KeySet::parse(deep.as_bytes()).err(),
        Some(KeySetError::Form)
    );
}
