//! Who calls: tokens, proofs, hosts.

use carnet_core::Path;
use carnet_identity::{KeyUse, SigningKey, mint_access};
use serde_json::json;

use crate::agent::{MIDDLE, NEW};
use crate::answer::Answer;
use crate::control::NOW;
use crate::world::World;

fn challenge(answer: &Answer) -> String {
    assert_eq!(answer.status, 401, "{}", answer.text());
    let values = answer.headers.get_all("www-authenticate").iter();
    values.map(|value| value.to_str().unwrap()).collect::<Vec<_>>().join("\n")
}

fn list() -> String {
    json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }).to_string()
}

#[tokio::test]
async fn a_request_without_a_token_is_told_where_to_get_one() {
    let world = World::new().await;
    let answer = world.agent.bare("POST", Path::Read, list()).send().await;
    let challenge = challenge(&answer);
    let metadata = format!(
        "resource_metadata=\"{}/.well-known/oauth-protected-resource/read/mcp/desk\"",
        world.issuer
    );
    assert!(challenge.contains(&metadata), "{challenge}");
    assert!(!challenge.contains("error="), "{challenge}");
    assert!(answer.body.is_empty());
    assert_eq!(world.server.seen_at_all(), 0);
}

#[tokio::test]
async fn a_resource_that_does_not_exist_gives_the_same_challenge_as_one_that_does() {
    let world = World::new().await;
    let known = world.agent.bare("POST", Path::Read, list()).send().await;
    let address = format!("{}/read/mcp/atlantis", world.issuer);
    let draft = world.agent.bare("POST", Path::Read, list());
    let unknown = Answer::of(draft.begin_at(&address).await).await;
    assert_eq!(challenge(&known).replace("desk", "atlantis"), challenge(&unknown));
}

#[tokio::test]
async fn anything_but_a_token_of_ours_is_the_same_401() {
    let world = World::new().await;
    let stranger = SigningKey::generate(KeyUse::AccessToken).unwrap();
    let forged = mint_access(&stranger, &world.agent.claims(Path::Read)).unwrap();
    for token in ["x", "", "Bearer", "a.b.c", forged.as_str()] {
        let proof = world.agent.proof("POST", Path::Read, token);
        let draft = world.agent.bare("POST", Path::Read, list()).header("dpop", &proof);
        for scheme in ["Bearer", "DPoP", "Basic"] {
            let draft = draft.clone().header("authorization", &format!("{scheme} {token}"));
            let answer = draft.send().await;
            assert!(challenge(&answer).contains("error=\"invalid_token\""), "{scheme} {token}");
        }
    }
    assert_eq!(world.server.seen_at_all(), 0);
}

#[tokio::test]
async fn a_token_for_the_read_path_is_refused_on_the_write_path() {
    let world = World::new().await;
    let token = world.agent.token(Path::Read);
    let proof = world.agent.proof("POST", Path::Write, &token);
    let draft = world.agent.bare("POST", Path::Write, list());
    let draft = draft.header("authorization", &format!("DPoP {token}")).header("dpop", &proof);
    assert!(challenge(&draft.send().await).contains("invalid_token"));
    assert_eq!(world.server.seen_at_all(), 0);
}

#[tokio::test]
async fn a_bound_token_sent_as_a_bearer_is_refused() {
    let world = World::new().await;
    let token = world.agent.token(Path::Read);
    let draft = world.agent.bare("POST", Path::Read, list());
    let answer = draft.header("authorization", &format!("Bearer {token}")).send().await;
    assert!(challenge(&answer).contains("invalid_token"));
}

#[tokio::test]
async fn a_bearer_is_refused_unless_the_agent_may_be_one() {
    let world = World::new().await;
    let mut claims = world.agent.claims(Path::Read);
    claims.cnf = None;
    let token = mint_access(&world.signing, &claims).unwrap();
    let draft = world.agent.stateless(Path::Read, "tools/list", json!({}));
    let draft = draft.without("authorization").without("dpop");
    let draft = draft.header("authorization", &format!("Bearer {token}"));
    let answer = draft.send().await;
    assert_eq!(answer.status, 401);
    assert_eq!(world.server.seen_at_all(), 0);
}

#[tokio::test]
async fn a_replayed_proof_is_refused() {
    let world = World::new().await;
    let draft = world.agent.stateless(Path::Read, "tools/list", json!({}));
    assert_eq!(draft.clone().send().await.status, 200);
    let again = draft.send().await;
    assert!(challenge(&again).contains("invalid_dpop_proof"));
}

#[tokio::test]
async fn a_proof_of_another_key_or_method_or_path_or_token_is_refused() {
    let world = World::new().await;
    let (agent, neighbour) = (&world.agent, world.neighbour());
    let token = agent.token(Path::Read);
    let proofs = [
        neighbour.proof("POST", Path::Read, &token),
        agent.proof("GET", Path::Read, &token),
        agent.proof("POST", Path::Write, &token),
        agent.proof("POST", Path::Read, &agent.token(Path::Read)),
        String::new(),
    ];
    for proof in proofs {
        let draft = agent.bare("POST", Path::Read, list()).header("dpop", &proof);
        let answer = draft.header("authorization", &format!("DPoP {token}")).send().await;
        assert!(challenge(&answer).contains("invalid_dpop_proof"));
    }
    let twice = agent
        .bare("POST", Path::Read, list())
        .header("authorization", &format!("DPoP {token}"))
        .header("dpop", &agent.proof("POST", Path::Read, &token))
        .header("dpop", &agent.proof("POST", Path::Read, &token));
    assert!(challenge(&twice.send().await).contains("invalid_dpop_proof"));
}

#[tokio::test]
async fn a_foreign_host_or_origin_is_refused_before_anything_is_looked_at() {
    let world = World::new().await;
    let draft = world.agent.draft("POST", Path::Read, list());
    let foreign = draft.clone().header("host", "attacker.example").send().await;
    assert_eq!(foreign.status, 421);
    let longer = format!("{}.attacker.example", world.issuer);
    for origin in ["https://attacker.example", "null", "", &longer] {
        let answer = draft.clone().header("origin", origin).send().await;
        assert_eq!(answer.status, 403, "{origin}");
    }
    let twice = draft.clone().header("origin", &world.issuer).header("origin", "null");
    assert_eq!(twice.send().await.status, 403);
    assert_eq!(world.server.seen_at_all(), 0);
    let own = world.agent.stateless(Path::Read, "tools/list", json!({}));
    assert_eq!(own.header("origin", &world.issuer).send().await.status, 200);
}

#[tokio::test]
async fn a_token_in_the_query_is_refused() {
    let world = World::new().await;
    let address = format!("{}?access_token=x", world.agent.address(Path::Read));
    let response = world.agent.bare("POST", Path::Read, list()).begin_at(&address).await;
    assert_eq!(response.status(), 400);
}

#[tokio::test]
async fn a_session_of_another_caller_does_not_exist() {
    let world = World::new().await;
    let session = world.agent.open(Path::Read, MIDDLE).await;
    let neighbour = world.neighbour();
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }).to_string();
    for method in ["POST", "GET", "DELETE"] {
        let theirs = neighbour.draft(method, Path::Read, body.clone());
        let theirs = theirs.header("mcp-session-id", &session.id).send().await;
        let made_up = neighbour.draft(method, Path::Read, body.clone());
        let made_up = made_up.header("mcp-session-id", "0123").send().await;
        assert_eq!((theirs.status, theirs.text()), (made_up.status, made_up.text()), "{method}");
        assert_eq!(theirs.status, 404);
        let elsewhere = world.agent.draft(method, Path::Write, body.clone());
        let elsewhere = elsewhere.header("mcp-session-id", &session.id).send().await;
        assert_eq!(elsewhere.status, 404, "{method}");
    }
    assert_eq!(session.draft("POST", body).send().await.status, 200, "it is still its owner's");
}

#[tokio::test]
async fn a_session_has_no_part_in_a_request_of_the_revision_without_sessions() {
    let world = World::new().await;
    let session = world.agent.open(Path::Read, MIDDLE).await;
    let draft = world.agent.call(Path::Read, "get_ticket", json!({ "id": "T-1" }));
    let answer = draft.header("mcp-session-id", &session.id).send().await;
    assert_eq!(answer.said(), "done", "{}", answer.text());
    let seen = world.server.seen("tools/call").remove(0);
    assert_eq!(seen.header("mcp-session-id"), None);
    assert_eq!(seen.header("mcp-protocol-version"), Some(NEW));
}

#[tokio::test]
async fn a_proof_from_before_the_nodes_start_is_refused() {
    let world = World::new().await;
    let (token, url) = (world.agent.token(Path::Read), world.agent.address(Path::Read));
    for (s, is_good) in [(-1, false), (0, true)] {
        let made_at = NOW.wall.plus_s(s);
        let jti = format!("from-{s}");
        let proof = world.agent.dpop.prove("POST", &url, Some(&token), &jti, made_at, None);
        let draft = world.agent.call(Path::Read, "get_ticket", json!({ "id": "T-1" }));
        let draft = draft.without("authorization").without("dpop");
        let draft = draft.header("authorization", &format!("DPoP {token}"));
        let answer = draft.header("dpop", &proof.unwrap()).send().await;
        match is_good {
            true => assert_eq!(answer.status, 200, "{}", answer.text()),
            false => assert!(challenge(&answer).contains("invalid_dpop_proof")),
        }
    }
}
