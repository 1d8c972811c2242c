//! The Wycheproof JWS and JWK vectors against the one reader. Each disagreement is listed with its
//! reason; one that no longer disagrees fails too.

use serde_json::Value;

use crate::algorithm::Algorithm;
use crate::jws::{Kind, Unverified};
use crate::keyset::KeySet;
use crate::signing::KeyUse;

const SIGNATURE: &str = include_str!("../tests/vectors/json_web_signature_test.json");
const KEY: &str = include_str!("../tests/vectors/json_web_key_test.json");
const CRYPTO: &str = include_str!("../tests/vectors/json_web_crypto_test.json");

/// The most liberal kind there can be: what it refuses, every kind refuses.
const ANY: Kind = Kind {
    name: "a vector",
    types: &[],
    type_optional: true,
    headers: &["alg", "kid", "typ"],
    algorithms: &[
        Algorithm::Rs256,
        Algorithm::Rs384,
        Algorithm::Rs512,
        Algorithm::Ps256,
        Algorithm::Ps384,
        Algorithm::Ps512,
        Algorithm::Es256,
        Algorithm::Es384,
        Algorithm::Es512,
        Algorithm::Ed25519,
    ],
    key_use: KeyUse::AccessToken,
    bytes_max: 16 * 1024,
};

/// Labelled valid, refused here.
const SYMMETRIC: &str = "an HMAC key: a symmetric algorithm does not exist here";
const EMPTY: &str = "an empty payload: a token always says something";
const OTHER_HASH: &str = "the key says PS256 and the header PS384: the key's word counts";
const ES521: &str = "the key says `ES521`, which is no algorithm (the vector means ES512)";

const SIGNATURE_EXCEPTIONS: &[(u64, &str)] = &[
    (1, SYMMETRIC),
    (259, EMPTY),
    (264, EMPTY),
    (268, EMPTY),
    (272, EMPTY),
    (320, EMPTY),
    (325, EMPTY),
    (346, OTHER_HASH),
    (347, ES521),
    (348, SYMMETRIC),
    (350, OTHER_HASH),
    (351, ES521),
    (352, SYMMETRIC),
    (357, SYMMETRIC),
    (358, SYMMETRIC),
    (359, SYMMETRIC),
    (372, SYMMETRIC),
    (373, SYMMETRIC),
    (376, SYMMETRIC),
    (377, SYMMETRIC),
];
const KEY_EXCEPTIONS: &[(u64, &str)] =
    &[(2, SYMMETRIC), (13, SYMMETRIC), (14, SYMMETRIC), (15, SYMMETRIC)];
const CRYPTO_EXCEPTIONS: &[(u64, &str)] = &[(1, SYMMETRIC), (48, SYMMETRIC)];

fn is_accepted(jwk: &Value, token: &str) -> bool {
    let set = match jwk.get("keys") {
        Some(_) => jwk.clone(),
        None => serde_json::json!({ "keys": [jwk] }),
    };
    let Ok(keys) = KeySet::from_jwks(set.to_string().as_bytes()) else { return false };
    let Ok(token) = Unverified::parse(token, &ANY) else { return false };
    let Ok(key) = token.key(&keys) else { return false };
    token.verify(key).is_ok_and(|token| !token.payload().is_empty())
}

/// Runs every JWS vector of `document`; gives back how many were accepted and refused.
fn run(document: &str, exceptions: &[(u64, &str)]) -> (usize, usize) {
    let document: Value = serde_json::from_str(document).unwrap();
    let (mut accepted, mut refused) = (0, 0);
    for group in document["testGroups"].as_array().unwrap() {
        let key = group.get("public").unwrap_or(&group["private"]);
        for case in group["tests"].as_array().unwrap() {
            // Encryption has no `jws`; a JSON serialisation is given to us as its text.
            let Some(jws) = case.get("jws") else { continue };
            let token = jws.as_str().map_or_else(|| jws.to_string(), str::to_owned);
            let id = case["tcId"].as_u64().unwrap();
            let got = is_accepted(key, &token);
            let agrees = got == (case["result"] == "valid");
            let excepted = exceptions.iter().any(|(excepted, _)| *excepted == id);
            assert_eq!(agrees, !excepted, "vector {id}: {}", case["comment"]);
            assert!(agrees || !got, "vector {id}: an exception may only refuse more");
            if got { accepted += 1 } else { refused += 1 }
        }
    }
    (accepted, refused)
}

#[test]
fn the_signature_vectors_agree() {
    assert_eq!(run(SIGNATURE, SIGNATURE_EXCEPTIONS), (26, 375));
}

#[test]
fn the_key_vectors_agree() {
    assert_eq!(run(KEY, KEY_EXCEPTIONS), (1, 25));
}

#[test]
fn the_signing_half_of_the_crypto_vectors_agrees() {
    assert_eq!(run(CRYPTO, CRYPTO_EXCEPTIONS), (2, 47));
}

fn group_of(document: &str, id: u64) -> (Value, String) {
    let document: Value = serde_json::from_str(document).unwrap();
    let groups = document["testGroups"].as_array().unwrap();
    let has = |group: &&Value| group["tests"].as_array().unwrap().iter().any(|t| t["tcId"] == id);
    let group = groups.iter().find(has).unwrap();
    let case = group["tests"].as_array().unwrap().iter().find(|t| t["tcId"] == id).unwrap();
    let key = group.get("public").unwrap_or(&group["private"]);
    (key.clone(), case["jws"].as_str().unwrap().to_owned())
}

#[test]
fn vectors_excepted_for_their_keys_algorithm_verify_once_it_is_corrected() {
    for (id, algorithm) in [(346, "PS384"), (350, "PS384"), (347, "ES512"), (351, "ES512")] {
        let (mut key, token) = group_of(SIGNATURE, id);
        key["alg"] = algorithm.into();
        assert!(is_accepted(&key, &token), "vector {id}");
    }
}

#[test]
fn a_modulus_of_the_broken_generator_is_refused_for_that_reason() {
    let (keys, _) = group_of(KEY, 7);
    let error = KeySet::from_jwks(keys.to_string().as_bytes()).unwrap_err();
    assert!(error.to_string().contains("CVE-2017-15361"), "{error}");
}
