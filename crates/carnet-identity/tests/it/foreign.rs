//! Tokens of issuers that are not ours: each kind for its own place, and every way out of it.

use carnet_identity::{
    ExpectedForeign, ForeignClaims, ForeignKind, KeySet, TokenError, claimed_issuer, verify_foreign,
};
use serde_json::{Value, json};

use crate::forge::{NOW, encode, part, with};
use crate::stranger::{KINDS, OWN, PLACE, SHOP, STRANGER, Stranger, claims_of, type_of};
use crate::tokens::with_negated_s;

fn expected(kind: ForeignKind) -> ExpectedForeign<'static> {
    let issuer = if kind == ForeignKind::ClientAssertion { SHOP } else { STRANGER };
    let audience = if kind == ForeignKind::IdToken { OWN } else { PLACE };
    ExpectedForeign { kind, issuer, audience }
}

fn verify(
    stranger: &Stranger,
    token: &str,
    kind: ForeignKind,
) -> Result<ForeignClaims, TokenError> {
    verify_foreign(token, &stranger.keys(), &expected(kind), NOW)
}

/// The code a token of `kind` is refused with when `name` is `to`; no code when it is accepted.
fn claim(stranger: &Stranger, kind: ForeignKind, name: &str, to: Value) -> Option<&'static str> {
    let token = stranger.sign(type_of(kind), &with(&claims_of(kind), name, to));
    verify(stranger, &token, kind).err().map(|error| error.code())
}

#[test]
fn each_kind_is_read_with_what_it_says() {
    for stranger in Stranger::of_every_algorithm() {
        for kind in KINDS {
            let token = stranger.sign(type_of(kind), &claims_of(kind));
            let read = verify(&stranger, &token, kind).unwrap();
            let event = kind == ForeignKind::SecurityEvent;
            assert_eq!(read.expires, (!event).then(|| NOW.plus_s(240)), "{kind:?}");
            assert_eq!(read.text("jti"), Some("j1"), "{kind:?}");
            assert_eq!(read.get("iat"), Some(&json!(NOW.s())), "{kind:?}");
            assert_eq!(read.subject().is_empty(), event, "{kind:?}");
            assert_eq!(claimed_issuer(&token, kind).unwrap(), expected(kind).issuer);
        }
    }
}

#[test]
fn what_is_read_of_a_person_has_no_text_form() {
    let stranger = Stranger::new();
    let told = with(&claims_of(ForeignKind::IdToken), "email", "alice@people.example".into());
    let read = verify(&stranger, &stranger.sign(None, &told), ForeignKind::IdToken).unwrap();
    let shown = format!("{read:?}");
    assert!(shown.contains("email") && !shown.contains("alice"), "{shown}");
}

#[test]
fn every_claim_of_another_issuer_is_what_it_must_be() {
    let stranger = Stranger::new();
    let now = NOW.s();
    for kind in KINDS {
        let refused = |name: &str, to: Value| claim(&stranger, kind, name, to);
        let own = expected(kind);
        for (name, to, code) in [
            ("iss", Value::Null, "token_claim"),
            ("iss", json!("https://evil.example"), "token_wrong_issuer"),
            ("iss", json!(format!("{}/", own.issuer)), "token_wrong_issuer"),
            ("iss", json!([own.issuer]), "token_claim"),
            ("iss", json!("i".repeat(2049)), "token_claim"),
            ("aud", Value::Null, "token_claim"),
            ("aud", json!([]), "token_claim"),
            ("aud", json!([own.audience, "https://evil.example"]), "token_claim"),
            ("aud", json!([own.audience, own.audience]), "token_claim"),
            ("aud", json!(format!("{}/oauth/token", own.audience)), "token_wrong_audience"),
            ("aud", json!(own.audience.to_uppercase()), "token_wrong_audience"),
            ("iat", json!(now + 6), "token_not_yet_valid"),
            ("iat", json!("now"), "token_claim"),
            ("iat", json!(1.5), "token_claim"),
            ("nbf", json!(now + 6), "token_not_yet_valid"),
            ("nbf", json!(-1), "token_claim"),
            ("exp", json!(now), "token_expired"),
            ("exp", json!(u64::MAX), "token_claim"),
            ("exp", json!(true), "token_claim"),
        ] {
            assert_eq!(refused(name, to.clone()), Some(code), "{kind:?}: {name} {to}");
        }
        assert_eq!(refused("aud", json!([own.audience])), None, "{kind:?}: an array of one");
        assert_eq!(refused("nbf", json!(now + 5)), None, "{kind:?}: within the skew");
        assert_eq!(refused("unknown_to_us", json!({"a": [1]})), None, "{kind:?}");
    }
}

#[test]
fn each_kind_names_what_it_has_to() {
    use ForeignKind::{ClientAssertion, IdJag, IdToken, SecurityEvent, WorkloadToken};
    let stranger = Stranger::new();
    let needed: [(ForeignKind, &[&str]); 5] = [
        (WorkloadToken, &["sub", "exp"]),
        (ClientAssertion, &["sub", "exp", "jti"]),
        (IdToken, &["sub", "exp", "iat"]),
        (IdJag, &["sub", "exp", "iat", "jti", "client_id"]),
        (SecurityEvent, &["iat", "jti", "events"]),
    ];
    for (kind, needed) in needed {
        for name in ["sub", "exp", "iat", "jti", "client_id", "events"] {
            let code = claim(&stranger, kind, name, Value::Null);
            let wanted = needed.contains(&name).then_some("token_claim");
            assert_eq!(code, wanted, "{kind:?} without {name}");
        }
    }
}

#[test]
fn a_name_that_looks_like_another_is_none() {
    let stranger = Stranger::new();
    let names = [
        "repo:shop/desk\0",
        "repo:shop/desk\n",
        "repo:shop/d\u{435}sk",
        "\u{200b}repo",
        "\u{202e}repo",
    ];
    for kind in [ForeignKind::WorkloadToken, ForeignKind::IdToken, ForeignKind::IdJag] {
        for name in names {
            let code = claim(&stranger, kind, "sub", name.into());
            assert_eq!(code, Some("token_claim"), "{kind:?}: {name:?}");
        }
        let spaced = "repo:shop/desk:environment:Main Site";
        assert_eq!(claim(&stranger, kind, "sub", spaced.into()), None, "as some issuers name jobs");
    }
    for name in names {
        let told = with(&claims_of(ForeignKind::WorkloadToken), "iss", name.into());
        let refused = claimed_issuer(&stranger.sign(None, &told), ForeignKind::WorkloadToken);
        assert_eq!(refused.unwrap_err().code(), "token_claim", "{name:?}");
    }
}

#[test]
fn a_client_vouches_for_itself_and_for_no_other() {
    let stranger = Stranger::new();
    let code = claim(&stranger, ForeignKind::ClientAssertion, "sub", "another-client".into());
    assert_eq!(code, Some("token_claim"));
}

#[test]
fn a_life_is_as_long_as_its_kind_allows() {
    use ForeignKind::{ClientAssertion, IdJag, IdToken, WorkloadToken};
    let stranger = Stranger::new();
    let exp = |kind, s: i64| claim(&stranger, kind, "exp", (NOW.s() + s).into());
    for (kind, ttl_s_max) in
        [(ClientAssertion, 300), (IdJag, 300), (IdToken, 86_400), (WorkloadToken, 86_400)]
    {
        assert_eq!(exp(kind, ttl_s_max + 5), None, "{kind:?}");
        assert_eq!(exp(kind, ttl_s_max + 6), Some("token_too_long_lived"), "{kind:?}");
        assert_eq!(exp(kind, 1), None, "{kind:?}");
        assert_eq!(exp(kind, 0), Some("token_expired"), "no leeway: {kind:?}");
    }
}

#[test]
fn an_event_is_told_of_within_an_hour_and_is_nothing_else() {
    let stranger = Stranger::new();
    let event = |name: &str, to: Value| claim(&stranger, ForeignKind::SecurityEvent, name, to);
    assert_eq!(event("iat", (NOW.s() - 3600).into()), None);
    assert_eq!(event("iat", (NOW.s() - 3601).into()), Some("token_expired"));
    for events in [json!({}), json!([]), json!("session-revoked"), json!(1)] {
        assert_eq!(event("events", events.clone()), Some("token_claim"), "{events}");
    }
    assert_eq!(event("exp", (NOW.s() + 10 * 86_400).into()), None, "events need not die soon");
}

#[test]
fn a_logout_token_is_no_id_token() {
    let stranger = Stranger::new();
    let logout = json!({ "http://schemas.openid.net/event/backchannel-logout": {} });
    for kind in KINDS.into_iter().filter(|kind| *kind != ForeignKind::SecurityEvent) {
        assert_eq!(
            claim(&stranger, kind, "events", logout.clone()),
            Some("token_claim"),
            "{kind:?}"
        );
    }
}

#[test]
fn the_header_of_another_issuer_is_read_as_strictly_as_ours() {
    let stranger = Stranger::new();
    for kind in KINDS {
        let token = stranger.sign(type_of(kind), &claims_of(kind));
        let head = part(&token, 0);
        let refused = |name: &str, to: Value| {
            let token = stranger.sign_under(&with(&head, name, to), &claims_of(kind).to_string());
            verify(&stranger, &token, kind).unwrap_err().code()
        };
        for (name, to, code) in [
            ("typ", json!("at+jwt"), "token_wrong_type"),
            ("typ", json!("dpop+jwt"), "token_wrong_type"),
            ("typ", json!(["JWT"]), "token_wrong_type"),
            ("typ", json!(""), "token_wrong_type"),
            ("alg", json!("none"), "token_algorithm_refused"),
            ("alg", json!("HS256"), "token_algorithm_refused"),
            ("alg", json!("ES384"), "token_algorithm_refused"),
            ("alg", json!("RS256"), "token_algorithm_refused"),
            ("alg", Value::Null, "token_algorithm_refused"),
            ("kid", json!(""), "token_key_missing"),
            ("kid", json!(7), "token_key_missing"),
            ("kid", json!("../../keys"), "token_key_unknown"),
            ("kid", json!(format!("{}\0", stranger.kid())), "token_key_unknown"),
            ("jwk", json!({}), "token_header_refused"),
            ("jku", json!("http://169.254.169.254/"), "token_header_refused"),
            ("x5u", json!("https://evil.example"), "token_header_refused"),
            ("x5c", json!(["MII"]), "token_header_refused"),
            ("crit", json!(["exp"]), "token_header_refused"),
            ("b64", json!(false), "token_header_refused"),
            ("zip", json!("DEF"), "token_header_refused"),
            ("cty", json!("JWT"), "token_header_refused"),
        ] {
            assert_eq!(refused(name, to.clone()), code, "{kind:?}: {name} {to}");
        }
        for name in ["x5t", "x5t#S256"] {
            let hint = with(&head, name, encode("a certificate").into());
            let token = stranger.sign_under(&hint, &claims_of(kind).to_string());
            verify(&stranger, &token, kind).unwrap();
        }
    }
}

#[test]
fn a_document_of_another_issuer_has_one_reading() {
    let stranger = Stranger::new();
    let kind = ForeignKind::WorkloadToken;
    let (head, text) = (stranger.header(None), claims_of(kind).to_string());
    let good = stranger.sign_under(&head, &text);
    let twice = |extra: &str| text.replacen('{', &format!("{{{extra},"), 1);
    let parts: Vec<&str> = good.split('.').collect();
    for (what, token, code) in [
        ("claim twice", stranger.sign_under(&head, &twice(r#""sub":"x""#)), "token_malformed"),
        ("by escape", stranger.sign_under(&head, &twice(r#""\u0073ub":"x""#)), "token_malformed"),
        ("deeper", stranger.sign_under(&head, &twice(r#""x":{"a":1,"a":2}"#)), "token_malformed"),
        ("no object", stranger.sign_under(&head, "[]"), "token_malformed"),
        ("padding", format!("{}.{}=.{}", parts[0], parts[1], parts[2]), "token_malformed"),
        ("no signature", format!("{}.{}.", parts[0], parts[1]), "token_malformed"),
        ("four parts", format!("{good}.AA"), "token_malformed"),
        (
            "over-long",
            stranger.sign_under(&head, &twice(&format!(r#""x":"{}""#, "x".repeat(20_000)))),
            "token_too_large",
        ),
        (
            "of a zero signature",
            format!("{}.{}.{}", parts[0], parts[1], encode([0; 64])),
            "token_signature",
        ),
        (
            "of another payload",
            format!("{}.{}.{}", parts[0], encode("{}"), parts[2]),
            "token_signature",
        ),
    ] {
        let refused = verify(&stranger, &token, kind).unwrap_err();
        assert_eq!(refused.code(), code, "{what}");
    }
}

#[test]
fn another_issuers_key_never_speaks_for_this_one() {
    let (stranger, other) = (Stranger::new(), Stranger::new());
    for kind in KINDS {
        let own = other.sign(type_of(kind), &claims_of(kind));
        assert_eq!(verify(&stranger, &own, kind).unwrap_err().code(), "token_key_unknown");
        let head = with(&part(&own, 0), "kid", stranger.kid().into());
        let dressed = other.sign_under(&head, &claims_of(kind).to_string());
        assert_eq!(verify(&stranger, &dressed, kind).unwrap_err().code(), "token_signature");
    }
}

#[test]
fn a_token_that_names_no_key_is_read_where_there_is_one_key_and_nowhere_else() {
    let (stranger, other) = (Stranger::new(), Stranger::new());
    let kind = ForeignKind::WorkloadToken;
    let nameless = |signer: &Stranger| {
        let head = with(&signer.header(None), "kid", Value::Null);
        signer.sign_under(&head, &claims_of(kind).to_string())
    };
    let read = |token: &str, keys: &[Value]| {
        let document = json!({ "keys": keys }).to_string();
        let keys = KeySet::from_foreign_jwks(document.as_bytes()).unwrap();
        verify_foreign(token, &keys, &expected(kind), NOW).map(drop).map_err(|error| error.code())
    };
    let unnamed = with(&stranger.jwk(), "kid", Value::Null);
    assert_eq!(read(&nameless(&stranger), &[stranger.jwk()]), Ok(()));
    assert_eq!(read(&nameless(&stranger), std::slice::from_ref(&unnamed)), Ok(()));
    assert_eq!(read(&nameless(&other), &[stranger.jwk()]), Err("token_signature"));
    let two = [stranger.jwk(), other.jwk()];
    assert_eq!(read(&nameless(&stranger), &two), Err("token_key_missing"), "no key is tried out");
    let named = stranger.sign(None, &claims_of(kind));
    assert_eq!(read(&named, &[unnamed]), Err("token_key_unknown"));
}

#[test]
fn one_token_has_one_name_however_its_signature_is_dressed() {
    let stranger = Stranger::new();
    let kind = ForeignKind::ClientAssertion;
    let token = stranger.sign(None, &claims_of(kind));
    let again = with_negated_s(&token);
    assert_ne!(token, again);
    let digest = |token: &str| verify(&stranger, token, kind).unwrap().token_digest;
    assert_eq!(digest(&token), digest(&again), "a used assertion is not good again");
    let other = stranger.sign(None, &with(&claims_of(kind), "jti", "j2".into()));
    assert_ne!(digest(&token), digest(&other));
}

#[test]
fn keys_of_another_issuer_that_are_for_something_else_are_passed_over() {
    let stranger = Stranger::new();
    let key = stranger.jwk();
    let set = |keys: Vec<Value>| {
        let document = json!({ "keys": keys }).to_string();
        KeySet::from_foreign_jwks(document.as_bytes())
    };
    let passed_over = [
        with(&key, "use", "enc".into()),
        with(&key, "use", "jwt-svid".into()),
        with(&key, "use", json!(["sig"])),
        with(&key, "key_ops", json!(["verify", "encrypt"])),
        with(&key, "alg", "ECDH-ES".into()),
        with(&key, "alg", "RS256".into()),
        with(&key, "crv", "secp256k1".into()),
        with(&key, "kid", "a\0b".into()),
        with(&key, "kid", "k".repeat(257).into()),
        with(&key, "kid", 7.into()),
        with(&key, "x", key["y"].clone()),
        json!({"kty": "OKP", "crv": "X25519", "kid": "e", "x": encode([9; 32])}),
        json!({"kty": "AKP", "alg": "ML-DSA-44", "kid": "q", "pub": "AA"}),
        json!({"kty": "RSA", "kid": "r", "n": encode([0xc3; 128]), "e": "AQAB"}),
        json!({"kty": "RSA", "kid": "r", "n": encode([0xc3; 256]), "e": "Aw"}),
    ];
    for odd in passed_over {
        let read = set(vec![odd.clone(), key.clone()]).unwrap();
        assert_eq!(read.len(), 1, "{odd}");
        assert_eq!(set(vec![odd.clone()]).unwrap_err().code(), "keys_malformed", "{odd}");
    }
    assert_eq!(set(vec![key, Stranger::jwk_of_p521()]).unwrap().len(), 2);
}

#[test]
fn a_leaked_private_key_refuses_the_set_of_its_issuer_whole() {
    let key = Stranger::new().jwk();
    let good = Stranger::new().jwk();
    for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"] {
        let leaked = with(&with(&key, name, "AA".into()), "kty", "AKP".into());
        for leaked in [leaked, with(&key, name, "AA".into())] {
            let document = json!({ "keys": [good, leaked] }).to_string();
            let refused = KeySet::from_foreign_jwks(document.as_bytes()).unwrap_err();
            assert_eq!(refused.code(), "keys_refused", "{name}");
        }
    }
}

#[test]
fn a_set_of_another_issuer_is_strict_and_bounded() {
    let key = Stranger::new().jwk();
    let other = with(&Stranger::new().jwk(), "kid", key["kid"].clone());
    let code = |text: &str| KeySet::from_foreign_jwks(text.as_bytes()).unwrap_err().code();
    assert_eq!(code(&json!({ "keys": [key, other] }).to_string()), "keys_duplicate_kid");
    assert_eq!(code(r#"{"keys":[]}"#), "keys_malformed");
    assert_eq!(code(r#"{"keys":[],"keys":[]}"#), "keys_malformed");
    assert_eq!(code("{}"), "keys_malformed");
    assert_eq!(code(r#"{"keys":["key"]}"#), "keys_refused");
    assert_eq!(code(&" ".repeat(300_000)), "keys_too_large");
    assert_eq!(code(&json!({ "keys": vec![json!({}); 65] }).to_string()), "keys_too_many");
}
