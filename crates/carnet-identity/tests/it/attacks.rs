//! The numbered list of attacks on signed tokens (RFC 8725, RFC 9449 and what tools try). Each row
//! is a token an attacker could send, and the reason it is refused for.

use carnet_identity::{KeyUse, SigningKey, TokenError, verify_access, verify_dpop, verify_svid};
use serde_json::{Value, json};

use crate::forge::{
    EXPECTED, ISSUER, NOW, World, agent, encode, expected_proof, pair, part, proof_claims,
    sign_es256, svid_claims, trust_domain, with,
};

/// Number, what is tried, the token, the code it must be refused with.
type Row = (&'static str, &'static str, String, &'static str);

fn check(rows: &[Row], verify: impl Fn(&str) -> Result<(), TokenError>) {
    for (number, what, token, code) in rows {
        let error = verify(token).expect_err(&format!("{number}: {what}"));
        assert_eq!(error.code(), *code, "{number}: {what}");
        let said = format!("{error} {error:?} {}", error.code());
        for part in token.split(['.', ' ', ',']).filter(|part| part.len() > 8) {
            assert!(!said.contains(part), "{number}: the error repeats the token");
        }
    }
    let mut numbers: Vec<_> = rows.iter().map(|row| row.0).collect();
    numbers.dedup();
    assert_eq!(numbers.len(), rows.len(), "numbers are unique");
}

fn payload(world: &World) -> Value {
    serde_json::to_value(world.claims()).unwrap()
}

fn hmac_token(header: &Value, payload: &Value, secret: &[u8]) -> String {
    let signed = format!("{}.{}", encode(header.to_string()), encode(payload.to_string()));
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
    let tag = aws_lc_rs::hmac::sign(&key, signed.as_bytes());
    format!("{signed}.{}", encode(tag))
}

#[test]
fn algorithms_and_keys_are_the_verifiers_and_not_the_tokens() {
    let world = World::new();
    let (head, claims) = (world.access_header(), payload(&world));
    let text = claims.to_string();
    let good = world.sign_access(&head, &text);
    verify_access(&good, &world.keys, &EXPECTED, NOW).unwrap();
    let tail = good.rsplit('.').next().unwrap();
    let alg = |name: &str| with(&head, "alg", name.into());
    let unsigned = |name: &str| format!("{}.{}.", encode(alg(name).to_string()), encode(&text));
    let stranger = SigningKey::generate(KeyUse::AccessToken).unwrap();
    let jwks = world.keys.to_jwks();
    let public = jwks["keys"][0].to_string();
    let kid = |value: Value| world.sign_access(&with(&head, "kid", value), &text);
    let head_with = |name: &str, value: Value| world.sign_access(&with(&head, name, value), &text);
    let forged =
        |header: &Value| sign_es256(&pair(&stranger), &header.to_string(), text.as_bytes());
    let rows: Vec<Row> = vec![
        ("A01", "none, no signature", unsigned("none"), "token_malformed"),
        (
            "A02",
            "none, old signature",
            format!("{}{tail}", unsigned("none")),
            "token_algorithm_refused",
        ),
        ("A03", "None", format!("{}{tail}", unsigned("None")), "token_algorithm_refused"),
        ("A04", "NONE", format!("{}{tail}", unsigned("NONE")), "token_algorithm_refused"),
        ("A05", "nOnE", format!("{}{tail}", unsigned("nOnE")), "token_algorithm_refused"),
        ("A06", "empty alg", head_with("alg", "".into()), "token_algorithm_refused"),
        ("A07", "no alg", head_with("alg", Value::Null), "token_algorithm_refused"),
        ("A08", "alg not a text", head_with("alg", json!(["ES256"])), "token_algorithm_refused"),
        (
            "A09",
            "HS256 with the public key as secret",
            hmac_token(&alg("HS256"), &claims, public.as_bytes()),
            "token_algorithm_refused",
        ),
        (
            "A10",
            "HS256 with an empty secret",
            hmac_token(&alg("HS256"), &claims, b""),
            "token_algorithm_refused",
        ),
        ("A11", "es256 in lower case", head_with("alg", "es256".into()), "token_algorithm_refused"),
        (
            "A12",
            "ES384 named for a P-256 key",
            head_with("alg", "ES384".into()),
            "token_algorithm_refused",
        ),
        (
            "A13",
            "RS256 named for a P-256 key",
            head_with("alg", "RS256".into()),
            "token_algorithm_refused",
        ),
        (
            "A14",
            "EdDSA, not allowed for access tokens",
            head_with("alg", "EdDSA".into()),
            "token_algorithm_refused",
        ),
        ("A15", "a stranger's key under our kid", forged(&head), "token_signature"),
        (
            "A16",
            "a stranger's key under its own kid",
            forged(&with(&head, "kid", stranger.kid().into())),
            "token_key_unknown",
        ),
        (
            "A17",
            "a stranger's key embedded as jwk",
            forged(&with(&head, "jwk", json!({"kty": "EC"}))),
            "token_header_refused",
        ),
        (
            "A18",
            "jku to an attacker's host",
            head_with("jku", "https://evil.example/jwks".into()),
            "token_header_refused",
        ),
        (
            "A19",
            "jku to an internal host",
            head_with("jku", "http://169.254.169.254/".into()),
            "token_header_refused",
        ),
        ("A20", "x5u", head_with("x5u", "https://evil.example/c".into()), "token_header_refused"),
        ("A21", "x5c", head_with("x5c", json!(["MII"])), "token_header_refused"),
        ("A22", "b64:false", head_with("b64", false.into()), "token_header_refused"),
        ("A23", "unknown crit", head_with("crit", json!(["exp"])), "token_header_refused"),
        ("A24", "empty crit", head_with("crit", json!([])), "token_header_refused"),
        ("A25", "zip", head_with("zip", "DEF".into()), "token_header_refused"),
        ("A26", "cty JWT, nested", head_with("cty", "JWT".into()), "token_header_refused"),
        ("A27", "no kid", kid(Value::Null), "token_key_missing"),
        ("A28", "empty kid", kid("".into()), "token_key_missing"),
        ("A29", "kid not a text", kid(json!(7)), "token_key_missing"),
        ("A30", "kid as a file path", kid("../../../../dev/null".into()), "token_key_unknown"),
        ("A31", "kid as SQL", kid("x' UNION SELECT 'k'--".into()), "token_key_unknown"),
        (
            "A32",
            "kid with NUL",
            kid(format!("{}\0", world.access.kid()).into()),
            "token_key_unknown",
        ),
        (
            "A33",
            "kid of the SVID key, signed by it",
            world.sign_svid(&with(&head, "kid", world.svid.kid().into()), &text),
            "token_key_use_refused",
        ),
        (
            "A34",
            "kid of the SVID key, signed by ours",
            kid(world.svid.kid().into()),
            "token_key_use_refused",
        ),
    ];
    check(&rows, |token| verify_access(token, &world.keys, &EXPECTED, NOW).map(drop));
}

#[test]
fn a_signature_is_whole_and_of_its_curve() {
    let world = World::new();
    let good = world.sign_access(&world.access_header(), &payload(&world).to_string());
    let (signed, tail) = good.rsplit_once('.').unwrap();
    let with_bytes = |bytes: &[u8]| format!("{signed}.{}", encode(bytes));
    let order = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
        0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let mut one = [0; 64];
    (one[31], one[63]) = (1, 1);
    let asn1 = {
        let pkcs8 = world.access.to_pkcs8().unwrap();
        let pair = aws_lc_rs::signature::EcdsaKeyPair::from_pkcs8(
            &aws_lc_rs::signature::ECDSA_P256_SHA256_ASN1_SIGNING,
            secrecy::ExposeSecret::expose_secret(&pkcs8),
        );
        let random = aws_lc_rs::rand::SystemRandom::new();
        pair.unwrap().sign(&random, signed.as_bytes()).unwrap()
    };
    let rows: Vec<Row> = vec![
        ("B01", "empty", format!("{signed}."), "token_malformed"),
        ("B02", "absent", signed.to_owned(), "token_malformed"),
        ("B03", "r = s = 0", with_bytes(&[0; 64]), "token_signature"),
        ("B04", "r = s = 1", with_bytes(&one), "token_signature"),
        ("B05", "r = s = n", with_bytes(&[order, order].concat()), "token_signature"),
        ("B06", "all ones", with_bytes(&[0xff; 64]), "token_signature"),
        ("B07", "one byte", with_bytes(&[0]), "token_signature"),
        ("B08", "63 bytes", with_bytes(&[7; 63]), "token_signature"),
        ("B09", "65 bytes", with_bytes(&[7; 65]), "token_signature"),
        ("B10", "ASN.1 instead of r and s", with_bytes(asn1.as_ref()), "token_signature"),
        ("B11", "cut short", good.get(..good.len() - 2).unwrap().to_owned(), "token_signature"),
        ("B12", "twice", format!("{good}{tail}"), "token_signature"),
        (
            "B13",
            "of another payload",
            format!("{}.{}.{tail}", signed.split('.').next().unwrap(), encode("{}")),
            "token_signature",
        ),
    ];
    check(&rows, |token| verify_access(token, &world.keys, &EXPECTED, NOW).map(drop));
}

#[test]
fn there_is_one_serialisation_and_one_reading_of_it() {
    let world = World::new();
    let (head, claims) = (world.access_header(), payload(&world));
    let good = world.sign_access(&head, &claims.to_string());
    let parts: Vec<&str> = good.split('.').collect();
    let raw = |header: &str, payload: &[u8]| sign_es256(&pair(&world.access), header, payload);
    let header = head.to_string();
    let text = claims.to_string();
    let inside = |extra: &str| text.replacen('{', &format!("{{{extra},"), 1);
    let json_form = json!({"payload": parts[1], "protected": parts[0], "signature": parts[2]});
    let bomb = "[".repeat(200);
    let rows: Vec<Row> = vec![
        ("C01", "JSON serialisation", json_form.to_string(), "token_malformed"),
        ("C02", "five parts, as encrypted", format!("{good}.AA.AA"), "token_malformed"),
        ("C03", "four parts", format!("{good}.AA"), "token_malformed"),
        ("C04", "empty", String::new(), "token_malformed"),
        ("C05", "two dots", "..".to_owned(), "token_malformed"),
        ("C06", "padding", format!("{}=.{}.{}", parts[0], parts[1], parts[2]), "token_malformed"),
        ("C07", "white space before", format!(" {good}"), "token_malformed"),
        ("C08", "line break after", format!("{good}\n"), "token_malformed"),
        (
            "C09",
            "NUL inside",
            format!("{}\0.{}.{}", parts[0], parts[1], parts[2]),
            "token_malformed",
        ),
        (
            "C10",
            "plain base64 alphabet",
            format!("{}+/.{}.{}", parts[0], parts[1], parts[2]),
            "token_malformed",
        ),
        ("C11", "two tokens joined by a comma", format!("{good},{good}"), "token_malformed"),
        ("C12", "with its scheme", format!("Bearer {good}"), "token_malformed"),
        ("C13", "over-long", "A".repeat(20_000), "token_too_large"),
        (
            "C14",
            "header member twice",
            raw(&header.replacen('{', r#"{"alg":"none","#, 1), text.as_bytes()),
            "token_malformed",
        ),
        (
            "C15",
            "kid twice",
            raw(&header.replacen('{', r#"{"kid":"x","#, 1), text.as_bytes()),
            "token_malformed",
        ),
        (
            "C16",
            "header member twice by escape",
            raw(&header.replacen('{', r#"{"\u0061lg":"none","#, 1), text.as_bytes()),
            "token_malformed",
        ),
        (
            "C17",
            "claim twice",
            raw(&header, inside(r#""aud":"https://evil.example""#).as_bytes()),
            "token_malformed",
        ),
        (
            "C18",
            "claim twice, deeper",
            raw(&header, inside(r#""x":{"a":1,"a":2}"#).as_bytes()),
            "token_malformed",
        ),
        ("C19", "payload not JSON", raw(&header, b"hello"), "token_malformed"),
        ("C20", "payload an array", raw(&header, b"[]"), "token_malformed"),
        ("C21", "payload not UTF-8", raw(&header, b"{\"sub\":\"\xff\xfe\"}"), "token_malformed"),
        ("C22", "payload UTF-16", raw(&header, b"{\0\"\0"), "token_malformed"),
        (
            "C23",
            "payload with a byte order mark",
            raw(&header, format!("\u{feff}{text}").as_bytes()),
            "token_malformed",
        ),
        (
            "C24",
            "payload with a lone surrogate",
            raw(&header, inside(r#""x":"\ud800""#).as_bytes()),
            "token_malformed",
        ),
        (
            "C25",
            "deep nesting",
            raw(&header, inside(&format!(r#""x":{bomb}"#)).as_bytes()),
            "token_malformed",
        ),
        (
            "C26",
            "something after the JSON",
            raw(&header, format!("{text}{text}").as_bytes()),
            "token_malformed",
        ),
        ("C27", "header not an object", raw(r#""ES256""#, text.as_bytes()), "token_malformed"),
        (
            "C28",
            "a member its reader takes for a command",
            raw(&header, br#"{"$serde_json::private::RawValue":"{}"}"#),
            "token_malformed",
        ),
        (
            "C29",
            "a number beyond all numbers",
            raw(&header, inside(r#""x":1e999"#).as_bytes()),
            "token_malformed",
        ),
    ];
    check(&rows, |token| verify_access(token, &world.keys, &EXPECTED, NOW).map(drop));
}

#[test]
fn every_claim_is_what_it_must_be() {
    let world = World::new();
    let (head, claims) = (world.access_header(), payload(&world));
    let set =
        |name: &str, to: Value| world.sign_access(&head, &with(&claims, name, to).to_string());
    // The names of numbers JSON can write and our value type cannot hold.
    let number = |name: &str, text: &str| {
        let marked = with(&claims, name, "MARK".into()).to_string();
        world.sign_access(&head, &marked.replace(r#""MARK""#, text))
    };
    let now = NOW.s();
    let long_act = (0..9).fold(json!({"sub": "a"}), |act, _| json!({"sub": "a", "act": act}));
    let rows: Vec<Row> = vec![
        ("D01", "no aud", set("aud", Value::Null), "token_claim"),
        (
            "D02",
            "aud an array of the right one",
            set("aud", json!([EXPECTED.audience])),
            "token_claim",
        ),
        (
            "D03",
            "aud an array with others",
            set("aud", json!([EXPECTED.audience, "x"])),
            "token_claim",
        ),
        (
            "D04",
            "aud of the write path",
            set("aud", "https://gw.example/write/mcp/desk".into()),
            "token_wrong_audience",
        ),
        (
            "D05",
            "aud with a slash more",
            set("aud", format!("{}/", EXPECTED.audience).into()),
            "token_wrong_audience",
        ),
        (
            "D06",
            "aud in another case",
            set("aud", "https://GW.example/read/mcp/desk".into()),
            "token_wrong_audience",
        ),
        (
            "D07",
            "iss of another, same key",
            set("iss", "https://evil.example".into()),
            "token_wrong_issuer",
        ),
        (
            "D08",
            "iss with a slash more",
            set("iss", format!("{ISSUER}/").into()),
            "token_wrong_issuer",
        ),
        ("D09", "no iss", set("iss", Value::Null), "token_claim"),
        ("D10", "no exp", set("exp", Value::Null), "token_claim"),
        ("D11", "exp a text", set("exp", format!("{}", now + 60).into()), "token_claim"),
        ("D12", "exp a fraction", number("exp", "1800000060.5"), "token_claim"),
        ("D13", "exp a whole fraction", number("exp", "1800000060.0"), "token_claim"),
        ("D14", "exp with an exponent", number("exp", "18e8"), "token_claim"),
        ("D15", "exp negative", set("exp", (-1).into()), "token_claim"),
        ("D16", "exp 2^63", number("exp", "9223372036854775808"), "token_claim"),
        ("D17", "exp 2^64", number("exp", "18446744073709551616"), "token_claim"),
        ("D18", "exp 2^63 - 1", number("exp", "9223372036854775807"), "token_claim"),
        (
            "D19",
            "exp in the year 9999",
            set("exp", 253_402_300_799_i64.into()),
            "token_too_long_lived",
        ),
        ("D20", "exp null", number("exp", "null"), "token_claim"),
        ("D21", "exp true", set("exp", true.into()), "token_claim"),
        ("D22", "iat ahead beyond the skew", set("iat", (now + 6).into()), "token_not_yet_valid"),
        ("D23", "nbf ahead beyond the skew", set("nbf", (now + 6).into()), "token_not_yet_valid"),
        ("D24", "no iat", set("iat", Value::Null), "token_claim"),
        ("D25", "no nbf", set("nbf", Value::Null), "token_claim"),
        ("D26", "iat after exp", set("iat", (now + 301).into()), "token_claim"),
        (
            "D27",
            "longer than the path allows",
            set("exp", (now + 301).into()),
            "token_too_long_lived",
        ),
        (
            "D28",
            "read life on the write path",
            set("carnet_path", "write".into()),
            "token_too_long_lived",
        ),
        ("D29", "unknown path", set("carnet_path", "superuser".into()), "token_claim"),
        ("D30", "no path", set("carnet_path", Value::Null), "token_claim"),
        ("D31", "no task", set("carnet_task", Value::Null), "token_claim"),
        ("D32", "task an id of another kind", set("carnet_task", "grant_1".into()), "token_claim"),
        ("D33", "no resource", set("carnet_resource", Value::Null), "token_claim"),
        (
            "D34",
            "resource with a file path in it",
            set("carnet_resource", "../x".into()),
            "token_claim",
        ),
        ("D35", "no instance", set("carnet_instance", Value::Null), "token_claim"),
        ("D36", "no jti", set("jti", Value::Null), "token_claim"),
        ("D37", "empty jti", set("jti", "".into()), "token_claim"),
        ("D38", "over-long jti", set("jti", "j".repeat(129).into()), "token_claim"),
        ("D39", "no sub", set("sub", Value::Null), "token_claim"),
        ("D40", "sub with a look-alike letter", set("sub", "user:аlice".into()), "token_claim"),
        (
            "D41",
            "sub with an invisible character",
            set("sub", "user:alice\u{200b}".into()),
            "token_claim",
        ),
        ("D42", "sub with a line break", set("sub", "user:alice\nuser:bob".into()), "token_claim"),
        ("D43", "client_id not a SPIFFE ID", set("client_id", "desk-agent".into()), "token_claim"),
        (
            "D44",
            "client_id in another spelling",
            set("client_id", "spiffe://carnet.example/agent/../x".into()),
            "token_claim",
        ),
        ("D45", "cnf by certificate hash", set("cnf", json!({"x5t#S256": "AA"})), "token_claim"),
        (
            "D46",
            "cnf with another beside jkt",
            set("cnf", with(&claims["cnf"], "jwk", json!({}))),
            "token_claim",
        ),
        ("D47", "cnf empty", set("cnf", json!({})), "token_claim"),
        ("D48", "cnf jkt not a thumbprint", set("cnf", json!({"jkt": "AA"})), "token_claim"),
        ("D49", "cnf null", number("cnf", "null"), "token_claim"),
        ("D50", "an over-long act chain", set("act", long_act), "token_claim"),
        ("D51", "act without sub", set("act", json!({"iss": ISSUER})), "token_claim"),
        (
            "D52",
            "act with an unknown member",
            set("act", json!({"sub": "a", "may": 1})),
            "token_claim",
        ),
        ("D53", "scope with two spaces", set("scope", "a  b".into()), "token_claim"),
        ("D54", "scope as an array", set("scope", json!(["a"])), "token_claim"),
        ("D55", "a claim nobody knows", set("carnet_admin", true.into()), "token_claim"),
        (
            "D56",
            "authorization_details not an array",
            set("authorization_details", json!({})),
            "token_claim",
        ),
        (
            "D57",
            "authorization_details without type",
            set("authorization_details", json!([{}])),
            "token_claim",
        ),
        (
            "D58",
            "too many authorization_details",
            set("authorization_details", vec![json!({"type": "t"}); 33].into()),
            "token_claim",
        ),
    ];
    check(&rows, |token| verify_access(token, &world.keys, &EXPECTED, NOW).map(drop));
    let unbound = with(&with(&claims, "carnet_path", "write".into()), "exp", (now + 60).into());
    let unbound = world.sign_access(&head, &with(&unbound, "cnf", Value::Null).to_string());
    let refused = verify_access(&unbound, &world.keys, &EXPECTED, NOW);
    assert_eq!(refused, Err(TokenError::Unbound), "D59");
}

#[test]
fn a_jwt_svid_is_read_as_strictly() {
    let world = World::new();
    let (head, claims) = (world.svid_header(), svid_claims());
    let text = claims.to_string();
    let good = world.sign_svid(&head, &text);
    let verify =
        |token: &str| verify_svid(token, &world.keys, &trust_domain(), ISSUER, NOW).map(drop);
    verify(&good).unwrap();
    let header = |name: &str, to: Value| world.sign_svid(&with(&head, name, to), &text);
    let claim =
        |name: &str, to: Value| world.sign_svid(&head, &with(&claims, name, to).to_string());
    let sub = |to: &str| claim("sub", to.into());
    let now = NOW.s();
    let rows: Vec<Row> = vec![
        ("E01", "typ at+jwt", header("typ", "at+jwt".into()), "token_wrong_type"),
        ("E02", "typ in lower case", header("typ", "jwt".into()), "token_wrong_type"),
        ("E03", "typ not a text", header("typ", json!(["JWT"])), "token_wrong_type"),
        ("E04", "another header", header("cty", "JWT".into()), "token_header_refused"),
        ("E05", "EdDSA", header("alg", "EdDSA".into()), "token_algorithm_refused"),
        ("E06", "HS256", header("alg", "HS256".into()), "token_algorithm_refused"),
        ("E07", "RS256 for a P-256 key", header("alg", "RS256".into()), "token_algorithm_refused"),
        ("E08", "no kid", header("kid", Value::Null), "token_key_missing"),
        (
            "E09",
            "the access-token key's kid",
            header("kid", world.access.kid().into()),
            "token_key_use_refused",
        ),
        ("E10", "no aud", claim("aud", Value::Null), "token_claim"),
        ("E11", "no audience", claim("aud", json!([])), "token_claim"),
        (
            "E12",
            "two audiences",
            claim("aud", json!([ISSUER, "https://evil.example"])),
            "token_claim",
        ),
        ("E13", "the same audience twice", claim("aud", json!([ISSUER, ISSUER])), "token_claim"),
        (
            "E14",
            "the token endpoint as audience",
            claim("aud", format!("{ISSUER}/token").into()),
            "token_wrong_audience",
        ),
        ("E15", "audience of a number", claim("aud", json!([7])), "token_claim"),
        ("E16", "no exp", claim("exp", Value::Null), "token_claim"),
        ("E17", "expired this second", claim("exp", now.into()), "token_expired"),
        ("E18", "a life beyond an hour", claim("exp", (now + 3606).into()), "token_too_long_lived"),
        ("E19", "issued ahead", claim("iat", (now + 6).into()), "token_not_yet_valid"),
        ("E20", "not before ahead", claim("nbf", (now + 6).into()), "token_not_yet_valid"),
        ("E21", "no sub", claim("sub", Value::Null), "token_claim"),
        ("E22", "sub not SPIFFE", sub("desk-agent"), "token_claim"),
        (
            "E23",
            "sub of another trust domain",
            sub("spiffe://evil.example/agent/desk-agent"),
            "token_wrong_trust_domain",
        ),
        (
            "E24",
            "sub of a longer trust domain",
            sub("spiffe://carnet.example.evil/agent/a"),
            "token_wrong_trust_domain",
        ),
        ("E25", "sub with port", sub("spiffe://carnet.example:1/agent/a"), "token_claim"),
        ("E26", "sub with user", sub("spiffe://u@carnet.example/agent/a"), "token_claim"),
        ("E27", "sub with dots", sub("spiffe://carnet.example/agent/../agent/a"), "token_claim"),
        ("E28", "sub percent-encoded", sub("spiffe://carnet.example/agent/%61"), "token_claim"),
        ("E29", "sub with a slash more", sub("spiffe://carnet.example/agent/a/"), "token_claim"),
        ("E30", "sub of the trust domain itself", sub("spiffe://carnet.example"), "token_claim"),
        (
            "E31",
            "sub with a look-alike letter",
            sub("spiffe://carnet.example/agent/dеsk"),
            "token_claim",
        ),
    ];
    check(&rows, verify);
    assert!(verify(&world.sign_svid(&with(&head, "typ", Value::Null), &text)).is_ok());
    assert!(verify(&header("typ", "JOSE".into())).is_ok());
    assert!(verify(&claim("aud", ISSUER.into())).is_ok(), "one audience as a text");
    assert!(verify(&claim("jti", "x".into())).is_ok(), "claims of other issuers are passed over");
    assert_eq!(part(&good, 1)["sub"], agent().as_str());
}

#[test]
fn a_proof_is_read_as_strictly() {
    let world = World::new();
    let (head, claims) = (world.proof_header(), proof_claims());
    let text = claims.to_string();
    let verify = |token: &str| verify_dpop(token, &expected_proof(), NOW).map(drop);
    let good = world.sign_proof(&head, &text);
    verify(&good).unwrap();
    let jwk = head["jwk"].clone();
    let header = |name: &str, to: Value| world.sign_proof(&with(&head, name, to), &text);
    let key = |name: &str, to: Value| header("jwk", with(&jwk, name, to));
    let claim =
        |name: &str, to: Value| world.sign_proof(&head, &with(&claims, name, to).to_string());
    let other = World::new().instance_jwk();
    let now = NOW.s();
    let rows: Vec<Row> = vec![
        ("F01", "another's public key", header("jwk", other.clone()), "token_signature"),
        ("F02", "no key", header("jwk", Value::Null), "proof_key"),
        ("F03", "key not an object", header("jwk", "x".into()), "proof_key"),
        ("F04", "key with its private half", key("d", jwk["x"].clone()), "proof_key"),
        ("F05", "symmetric key", header("jwk", json!({"kty": "oct", "k": "AAAA"})), "proof_key"),
        ("F06", "key off its curve", key("x", jwk["y"].clone()), "proof_key"),
        (
            "F07",
            "key of zeroes",
            header(
                "jwk",
                json!({"kty": "EC", "crv": "P-256", "x": encode([0; 32]), "y": encode([0; 32])}),
            ),
            "proof_key",
        ),
        ("F08", "key on another curve", key("crv", "P-384".into()), "proof_key"),
        ("F09", "key for encryption", key("use", "enc".into()), "proof_key"),
        ("F10", "key for signing", key("key_ops", json!(["sign"])), "proof_key"),
        (
            "F11",
            "key for more than verifying",
            key("key_ops", json!(["verify", "encrypt"])),
            "proof_key",
        ),
        ("F12", "key with another algorithm", key("alg", "ES384".into()), "proof_key"),
        ("F13", "key with a certificate", key("x5c", json!(["MII"])), "proof_key"),
        ("F14", "key with a URL", key("x5u", "https://evil.example".into()), "proof_key"),
        (
            "F15",
            "padded coordinate",
            key("x", format!("{}=", jwk["x"].as_str().unwrap()).into()),
            "proof_key",
        ),
        ("F16", "a kid beside the key", header("kid", "k".into()), "token_header_refused"),
        (
            "F17",
            "jku beside the key",
            header("jku", "https://evil.example".into()),
            "token_header_refused",
        ),
        ("F18", "none", header("alg", "none".into()), "token_algorithm_refused"),
        ("F19", "HS256", header("alg", "HS256".into()), "token_algorithm_refused"),
        (
            "F20",
            "EdDSA named for a P-256 key",
            header("alg", "EdDSA".into()),
            "token_algorithm_refused",
        ),
        ("F21", "RS256", header("alg", "RS256".into()), "token_algorithm_refused"),
        ("F22", "no typ", header("typ", Value::Null), "token_wrong_type"),
        ("F23", "typ JWT", header("typ", "JWT".into()), "token_wrong_type"),
        ("F24", "typ in other case", header("typ", "DPoP+jwt".into()), "token_wrong_type"),
        ("F25", "another method", claim("htm", "GET".into()), "proof_method"),
        ("F26", "method in other case", claim("htm", "post".into()), "proof_method"),
        ("F27", "no method", claim("htm", Value::Null), "token_claim"),
        ("F28", "no URL", claim("htu", Value::Null), "token_claim"),
        (
            "F29",
            "another path",
            claim("htu", "https://gw.example/write/mcp/desk".into()),
            "proof_url",
        ),
        (
            "F30",
            "another host",
            claim("htu", "https://evil.example/read/mcp/desk".into()),
            "proof_url",
        ),
        (
            "F31",
            "another scheme",
            claim("htu", "http://gw.example/read/mcp/desk".into()),
            "proof_url",
        ),
        (
            "F32",
            "another port",
            claim("htu", "https://gw.example:8443/read/mcp/desk".into()),
            "proof_url",
        ),
        ("F33", "a query", claim("htu", format!("{}?a=1", EXPECTED.audience).into()), "proof_url"),
        ("F34", "a fragment", claim("htu", format!("{}#a", EXPECTED.audience).into()), "proof_url"),
        ("F35", "dots", claim("htu", "https://gw.example/x/../read/mcp/desk".into()), "proof_url"),
        (
            "F36",
            "a user",
            claim("htu", "https://gw.example@evil.example/read/mcp/desk".into()),
            "proof_url",
        ),
        ("F37", "a prefix", claim("htu", "https://gw.example/read/mcp".into()), "proof_url"),
        (
            "F38",
            "percent-encoded",
            claim("htu", "https://gw.example/read/mcp/%64esk".into()),
            "proof_url",
        ),
        ("F39", "too old", claim("iat", (now - 61).into()), "proof_stale"),
        ("F40", "too new", claim("iat", (now + 61).into()), "proof_stale"),
        ("F41", "no iat", claim("iat", Value::Null), "token_claim"),
        ("F42", "iat in milliseconds", claim("iat", (now * 1000).into()), "token_claim"),
        ("F43", "expired by its own word", claim("exp", now.into()), "token_expired"),
        (
            "F44",
            "not valid yet by its own word",
            claim("nbf", (now + 6).into()),
            "token_not_yet_valid",
        ),
        ("F45", "no jti", claim("jti", Value::Null), "token_claim"),
        ("F46", "empty jti", claim("jti", "".into()), "token_claim"),
        ("F47", "over-long jti", claim("jti", "j".repeat(257).into()), "token_claim"),
        ("F48", "jti a number", claim("jti", 1.into()), "token_claim"),
        (
            "F49",
            "for a token where none is shown",
            claim("ath", encode([0; 32]).into()),
            "proof_token",
        ),
        ("F50", "nonce not plain", claim("nonce", "a b".into()), "token_claim"),
        ("F51", "two proofs joined", format!("{good}, {good}"), "token_malformed"),
        ("F52", "over-long", claim("x", "x".repeat(4096).into()), "token_too_large"),
    ];
    check(&rows, verify);
}
