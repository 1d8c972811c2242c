//! The exact shape of what we mint. A change here is a change of a lasting format: see
//! `docs/decisions/0004-token-format.md`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use carnet_core::Path;
use carnet_identity::{Act, Confirmation, KeySet, Thumbprint, mint_access, mint_svid};
use serde_json::{Value, json};

use crate::forge::{ISSUER, NOW, World, agent, part};

fn payload_text(token: &str) -> String {
    let text = token.split('.').nth(1).unwrap();
    String::from_utf8(URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
}

fn header_text(token: &str, kid: &str) -> String {
    let text = token.split('.').next().unwrap();
    String::from_utf8(URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap().replace(kid, "KID")
}

#[test]
fn a_full_access_token_is_byte_for_byte_this() {
    let world = World::new();
    let mut claims = world.claims();
    let jkt: Thumbprint = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs".parse().unwrap();
    claims.cnf = Some(Confirmation::Key { jkt });
    let before = Act { sub: "spiffe://carnet.example/agent/lead".to_owned(), iss: None, act: None };
    claims.act = Some(Act {
        sub: agent().to_string(),
        iss: Some(ISSUER.to_owned()),
        act: Some(Box::new(before)),
    });
    claims.path = Path::Write;
    claims.exp = NOW.plus_s(120);
    claims.authorization_details = vec![json!({ "type": "carnet_operation" })];
    let token = mint_access(&world.access, &claims).unwrap();
    assert_eq!(
        header_text(&token, world.access.kid()),
        r#"{"alg":"ES256","kid":"KID","typ":"at+jwt"}"#
    );
    let expected = concat!(
        r#"{"iss":"https://carnet.example","sub":"user:alice","#,
        r#""client_id":"spiffe://carnet.example/agent/desk-agent","#,
        r#""aud":"https://gw.example/read/mcp/desk","#,
        r#""iat":1800000000,"nbf":1800000000,"exp":1800000120,"jti":"7d0c3a5e","#,
        r#""scope":"desk:read","#,
        r#""cnf":{"jkt":"NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"},"#,
        r#""act":{"sub":"spiffe://carnet.example/agent/desk-agent","iss":"https://carnet.example","#,
        r#""act":{"sub":"spiffe://carnet.example/agent/lead"}},"#,
        r#""carnet_task":"task_1","carnet_path":"write","carnet_resource":"desk","#,
        r#""carnet_instance":"inst_1","#,
        r#""authorization_details":[{"type":"carnet_operation"}]}"#,
    );
    assert_eq!(payload_text(&token), expected);
}

#[test]
fn a_token_bound_to_a_certificate_says_so_as_rfc_8705_has_it() {
    let world = World::new();
    let mut claims = world.claims();
    let x5t: Thumbprint = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs".parse().unwrap();
    claims.cnf = Some(Confirmation::Certificate { x5t });
    let token = mint_access(&world.access, &claims).unwrap();
    let expected = r#""cnf":{"x5t#S256":"NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"},"#;
    assert!(payload_text(&token).contains(expected), "{}", payload_text(&token));
}

#[test]
fn the_smallest_access_token_leaves_out_what_is_not_there() {
    let world = World::new();
    let mut claims = world.claims();
    (claims.scope, claims.cnf, claims.act) = (None, None, None);
    let token = mint_access(&world.access, &claims).unwrap();
    let expected = concat!(
        r#"{"iss":"https://carnet.example","sub":"user:alice","#,
        r#""client_id":"spiffe://carnet.example/agent/desk-agent","#,
        r#""aud":"https://gw.example/read/mcp/desk","#,
        r#""iat":1800000000,"nbf":1800000000,"exp":1800000300,"jti":"7d0c3a5e","#,
        r#""carnet_task":"task_1","carnet_path":"read","carnet_resource":"desk","#,
        r#""carnet_instance":"inst_1"}"#,
    );
    assert_eq!(payload_text(&token), expected);
}

#[test]
fn a_jwt_svid_has_three_headers_and_four_claims() {
    let world = World::new();
    let token = mint_svid(&world.svid, &agent(), ISSUER, NOW, 300).unwrap();
    let header = header_text(&token, world.svid.kid());
    assert_eq!(header, r#"{"alg":"ES256","kid":"KID","typ":"JWT"}"#);
    let expected = json!({
        "sub": "spiffe://carnet.example/agent/desk-agent",
        "aud": ["https://carnet.example"],
        "iat": 1_800_000_000,
        "exp": 1_800_000_300,
    });
    assert_eq!(part(&token, 1), expected);
}

#[test]
fn a_proof_has_these_headers_and_claims() {
    let world = World::new();
    let url = "HTTPS://gw.example:443/read/mcp/desk?x=1#y";
    let proof = world.instance.prove("POST", url, Some("token"), "j1", NOW, Some("n1")).unwrap();
    let header = part(&proof, 0);
    let names: Vec<&String> = header.as_object().unwrap().keys().collect();
    assert_eq!(names, ["alg", "jwk", "typ"]);
    let mut members: Vec<&String> = header["jwk"].as_object().unwrap().keys().collect();
    members.sort();
    assert_eq!(members, ["crv", "kty", "x", "y"]);
    let expected = json!({
        "jti": "j1", "htm": "POST", "htu": "https://gw.example/read/mcp/desk",
        "iat": 1_800_000_000, "ath": "PEaenWxYddN6Q_NT1PiOYfz4EsZu7jRXRlpAsNpBU-A", "nonce": "n1",
    });
    assert_eq!(part(&proof, 1), expected);
}

#[test]
fn the_published_sets_hold_each_use_apart() {
    let world = World::new();
    let shape = |set: &Value| -> Vec<(Value, bool, bool)> {
        let keys = set["keys"].as_array().unwrap();
        keys.iter()
            .map(|k| (k["use"].clone(), k.get("alg").is_some(), k.get("d").is_some()))
            .collect()
    };
    let jwks = world.keys.to_jwks();
    assert_eq!(shape(&jwks), [("sig".into(), true, false)]);
    assert_eq!(jwks["keys"][0]["kid"], world.access.kid());
    let bundle = world.keys.spiffe_bundle(7, 300);
    assert_eq!(shape(&bundle), [("jwt-svid".into(), false, false)]);
    assert_eq!(
        (&bundle["spiffe_sequence"], &bundle["spiffe_refresh_hint"]),
        (&7.into(), &300.into())
    );
    let read = KeySet::from_spiffe_bundle(bundle.to_string().as_bytes()).unwrap();
    assert_eq!((read.sequence, read.refresh_hint_s, read.keys.len()), (Some(7), Some(300), 1));
}
