//! The public documents.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use carnet_identity::KeySet;
use serde_json::json;

use crate::keys::KeyPurpose;
use crate::oauth::fixture::ana;

use super::Bench;

/// What an assertion may be signed with.
const ALGORITHMS: [&str; 10] =
    ["ES256", "ES384", "ES512", "EdDSA", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];

#[tokio::test]
async fn the_metadata_says_what_is_served_and_nothing_more() {
    let bench = Bench::new().await;
    let expected = json!({
        "issuer": "https://carnet.example",
        "token_endpoint": "https://carnet.example/oauth/token",
        "carnet_delegation_endpoint": "https://carnet.example/oauth/delegate",
        "introspection_endpoint": "https://carnet.example/oauth/introspect",
        "introspection_endpoint_auth_methods_supported": ["private_key_jwt", "spiffe_jwt"],
        "introspection_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
        "revocation_endpoint": "https://carnet.example/oauth/revoke",
        "revocation_endpoint_auth_methods_supported": ["private_key_jwt", "spiffe_jwt"],
        "revocation_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
        "authorization_endpoint": "https://carnet.example/oauth/authorize",
        "jwks_uri": "https://carnet.example/oauth/jwks",
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "code_challenge_methods_supported": ["S256"],
        "client_id_metadata_document_supported": true,
        "authorization_response_iss_parameter_supported": true,
        "grant_types_supported": ["authorization_code", "client_credentials",
            "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "urn:ietf:params:oauth:grant-type:token-exchange"],
        "authorization_grant_profiles_supported": ["urn:ietf:params:oauth:grant-profile:id-jag"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt", "spiffe_jwt", "none"],
        "token_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
        "dpop_signing_alg_values_supported": ["ES256", "EdDSA"],
        "authorization_details_types_supported": ["carnet_task", "carnet_delegation"],
        "carnet_authorization_details_schemas": {
            "carnet_task": "https://carnet.example/oauth/schemas/carnet_task.json",
            "carnet_delegation": "https://carnet.example/oauth/schemas/carnet_delegation.json",
        },
    });
    for name in ["oauth-authorization-server", "openid-configuration"] {
        let answer = bench.get(&format!("/.well-known/{name}")).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
        let mut said = answer.json();
        if name == "openid-configuration" {
            // What a relying party must know stands in the other's place, or beside it.
            said["jwks_uri"] = "https://carnet.example/oauth/jwks".into();
            said["response_types_supported"] = json!(["code"]);
            let more = [
                "subject_types_supported",
                "id_token_signing_alg_values_supported",
                "claims_supported",
            ];
            for name in more {
                assert!(said.as_object_mut().unwrap().remove(name).is_some(), "{name}");
            }
        }
        assert_eq!(said, expected);
    }
}

#[tokio::test]
async fn clouds_find_what_they_need_and_keys_of_their_own() {
    let bench = Bench::new().await;
    let answer = bench.get("/.well-known/openid-configuration").await.json();
    assert_eq!(answer["issuer"], "https://carnet.example");
    assert_eq!(answer["jwks_uri"], "https://carnet.example/oauth/federation-jwks");
    assert_eq!(answer["response_types_supported"], json!(["code", "id_token"]));
    assert_eq!(answer["subject_types_supported"], json!(["public"]));
    assert_eq!(answer["id_token_signing_alg_values_supported"], json!(["RS256"]));
    assert!(answer["claims_supported"].as_array().unwrap().contains(&json!("carnet_task")));
    // Before there is a target there is no key; then one of its own, in no other set.
    let keys = async |bench: &Bench| bench.get("/oauth/federation-jwks").await.json();
    assert_eq!(keys(&bench).await, json!({ "keys": [] }));
    bench.house.broker.rotate_key(KeyPurpose::Federation, true, &ana()).await.unwrap();
    let set = keys(&bench).await;
    let kid = bench.house.broker.signing_key(KeyPurpose::Federation).unwrap().kid().to_owned();
    assert_eq!([&set["keys"][0]["kid"], &set["keys"][0]["alg"]], [&kid, "RS256"]);
    assert_eq!(set["keys"].as_array().unwrap().len(), 1);
    assert!(bench.house.broker.access_keys().key(&kid).is_none());
    assert!(bench.house.broker.svid_keys().key(&kid).is_none());
}

#[tokio::test]
async fn a_resource_has_the_same_metadata_whether_it_exists_or_not() {
    let bench = Bench::new().await;
    for (path, bound) in [("read", false), ("write", true), ("admin", true)] {
        for name in ["desk", "nobody-registered-this"] {
            let address = format!("/.well-known/oauth-protected-resource/{path}/mcp/{name}");
            let expected = json!({
                "resource": format!("https://carnet.example/{path}/mcp/{name}"),
                "authorization_servers": ["https://carnet.example"],
                "bearer_methods_supported": ["header"],
                "dpop_signing_alg_values_supported": ["ES256", "EdDSA"],
                "dpop_bound_access_tokens_required": bound,
                "authorization_details_types_supported": ["carnet_task"],
            });
            assert_eq!(bench.get(&address).await.json(), expected);
        }
    }
    for rest in
        ["delete/mcp/desk", "read/mcp/Desk", "read/mcp/a%2Fb", "read/mcp/", "read/http/desk"]
    {
        let answer = bench.get(&format!("/.well-known/oauth-protected-resource/{rest}")).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{rest}");
    }
}

#[tokio::test]
async fn the_keys_are_those_that_sign_and_only_their_public_half() {
    let bench = Bench::new().await;
    let answer = bench.get("/oauth/jwks").await;
    assert_eq!(answer.header("content-type"), Some("application/jwk-set+json"));
    let keys = KeySet::from_jwks(answer.text.as_bytes()).unwrap();
    assert!(
        keys.key(bench.house.broker.signing_key(KeyPurpose::AccessToken).unwrap().kid()).is_some()
    );
    assert_eq!(keys.len(), 1);

    let answer = bench.get("/oauth/bundle").await;
    let bundle = KeySet::from_spiffe_bundle(answer.text.as_bytes()).unwrap();
    assert!(
        bundle
            .keys
            .key(bench.house.broker.signing_key(KeyPurpose::JwtSvid).unwrap().kid())
            .is_some()
    );
    assert_eq!(bundle.keys.len(), 1);
    assert!(bundle.sequence.unwrap() > 0);
    assert_eq!(bundle.refresh_hint_s, Some(300));
    let keys = answer.json()["keys"].as_array().unwrap().clone();
    let uses: Vec<&str> = keys.iter().map(|key| key["use"].as_str().unwrap()).collect();
    assert_eq!(uses, ["jwt-svid", "x509-svid"]);
    assert!(keys.iter().all(|key| key.get("d").is_none()));
    assert_eq!((keys[1]["x5c"].as_array().unwrap().len(), keys[1].get("kid")), (1, None));
    let authorities = carnet_identity::X509Bundle::from_spiffe_bundle(answer.text.as_bytes());
    let domain = bench.house.broker.trust_domain();
    assert_eq!(authorities.unwrap(), *bench.house.broker.x509_bundles()[domain]);
}

#[tokio::test]
async fn the_documents_too_are_for_our_own_host_and_not_for_browsers() {
    let bench = Bench::new().await;
    let other = Request::get("/oauth/jwks").header("host", "evil.example").body(Body::empty());
    assert_eq!(bench.answer(other.unwrap()).await.status, StatusCode::MISDIRECTED_REQUEST);
    let page = Request::get("/oauth/jwks")
        .header("host", "carnet.example")
        .header("origin", "https://evil.example")
        .body(Body::empty());
    assert_eq!(bench.answer(page.unwrap()).await.status, StatusCode::FORBIDDEN);
}
