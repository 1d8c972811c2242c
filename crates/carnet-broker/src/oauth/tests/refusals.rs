//! Every way a token request is refused, numbered. A case bends one thing of a request that is
//! otherwise granted.

use axum::http::StatusCode;
use carnet_core::LockTarget;
use carnet_identity::{DpopKey, KeyUse, SigningKey, mint_svid};
use serde_json::json;

use super::{Ask, BEARER_GRANT, Bench, READ, TOKEN_ENDPOINT, WRITE, fresh};
use crate::oauth::OAuthOptions;
use crate::oauth::fixture::{ISSUER, agent};

/// A number, what is bent, the status, the OAuth error and the code.
pub(super) struct Case(pub(super) u32, pub(super) &'static str, pub(super) Ask, pub(super) u16, pub(super) &'static str, pub(super) &'static str);

pub(super) async fn check(bench: &Bench, cases: Vec<Case>) {
    for Case(number, title, ask, status, error, code) in cases {
        let answer = bench.send(ask).await;
        let found = (answer.status.as_u16(), answer.refusal());
        let wanted = (status, (error.to_owned(), code.to_owned()));
        assert_eq!(found, wanted, "{number} {title}: {}", answer.text);
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{number}");
        let challenged = answer.header("www-authenticate").is_some();
        assert_eq!(challenged, status == 401, "{number} {title}");
        assert_eq!(answer.header("retry-after").is_some(), status == 503, "{number} {title}");
    }
}

#[tokio::test]
async fn a_request_that_is_not_meant_for_us_or_not_a_form_is_refused() {
    let bench = Bench::new().await;
    let good = || bench.good();
    let long = "a".repeat(30_000);
    let mut many = good();
    (0..40).for_each(|n| many = many.clone().add(&format!("p{n}"), "1"));
    let mut query = good();
    query.uri = "/oauth/token?grant_type=client_credentials".to_owned();
    let mut absolute = good();
    absolute.uri = "https://evil.example/oauth/token".to_owned();
    let request = "invalid_request";
    check(
        &bench,
        vec![
            Case(1, "another host", good().header("host", "evil.example"), 421, request, "host_unknown"),
            Case(2, "a host that begins alike", good().header("host", "carnet.example.evil"), 421, request, "host_unknown"),
            Case(3, "another port", good().header("host", "carnet.example:8443"), 421, request, "host_unknown"),
            Case(4, "no host", good().no_header("host"), 400, request, "host_malformed"),
            Case(5, "two hosts", good().more_header("host", "carnet.example"), 400, request, "host_malformed"),
            Case(6, "another authority", absolute, 421, request, "host_unknown"),
            Case(7, "a browser", good().header("origin", "https://evil.example"), 403, request, "origin_refused"),
            Case(8, "our own page", good().header("origin", ISSUER), 403, request, "origin_refused"),
            Case(9, "JSON", good().header("content-type", "application/json"), 415, request, "media_type"),
            Case(10, "no media type", good().no_header("content-type"), 415, request, "media_type"),
            Case(11, "another charset", good().header("content-type", "application/x-www-form-urlencoded; charset=utf-16"), 415, request, "media_type"),
            Case(12, "compressed", good().header("content-encoding", "gzip"), 415, request, "media_type"),
            Case(13, "too long", good().set("x", &long), 413, request, "form_too_large"),
            Case(14, "too many parameters", many, 400, request, "form_malformed"),
            Case(15, "a parameter twice", good().add("grant_type", "client_credentials"), 400, request, "parameter_twice"),
            Case(16, "an unknown parameter twice", good().add("x", "1").add("x", "1"), 400, request, "parameter_twice"),
            Case(17, "a query", query, 400, request, "query_refused"),
            Case(18, "no grant type", good().without("grant_type"), 400, request, "grant_type_missing"),
            Case(19, "an empty grant type", good().set("grant_type", ""), 400, request, "grant_type_missing"),
            Case(20, "an authorization code", good().set("grant_type", "authorization_code"), 400, request, "code_incomplete"),
            Case(21, "a refresh token", good().set("grant_type", "refresh_token"), 400, "unsupported_grant_type", "grant_type_unknown"),
            Case(22, "a password", good().set("grant_type", "password"), 400, "unsupported_grant_type", "grant_type_unknown"),
            Case(23, "an exchange of nothing", good().set("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"), 400, request, "subject_missing"),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_client_that_does_not_prove_who_it_is_is_refused() {
    let bench = Bench::new().await;
    let (good, now) = (|| bench.good(), bench.now());
    let with = |svid: &str| bench.good().set("client_assertion", svid);
    let desk = "spiffe://carnet.example/agent/desk-agent";
    let other_key = SigningKey::generate(KeyUse::JwtSvid).unwrap();
    let forged = mint_svid(&other_key, &desk.parse().unwrap(), ISSUER, now, 300).unwrap();
    let svid = bench.svid("desk-agent");
    let (head, signature) = svid.rsplit_once('.').unwrap();
    let flipped = if signature.starts_with('A') { 'B' } else { 'A' };
    let tampered = format!("{head}.{flipped}{}", &signature[1..]);
    let token = bench.send(bench.good()).await.json()["access_token"].as_str().unwrap().to_owned();
    let grant = |svid: &str| {
        good().without("client_assertion").without("client_assertion_type").set("grant_type", BEARER_GRANT).set("assertion", svid)
    };
    let odd = |id: &str, audience: &str| bench.odd_svid(id, audience, now);
    let client = "invalid_client";
    check(
        &bench,
        vec![
            Case(30, "no assertion", good().without("client_assertion"), 401, client, "assertion_missing"),
            Case(31, "no assertion type", good().without("client_assertion_type"), 401, client, "assertion_missing"),
            Case(32, "another assertion type", good().set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"), 401, client, "assertion_type_unknown"),
            Case(33, "a client secret", good().set("client_secret", "hunter2"), 401, client, "client_secret"),
            Case(34, "basic authentication", good().header("authorization", "Basic YTpi"), 401, client, "authorization_header"),
            Case(35, "not a token", with("x"), 401, client, "token_malformed"),
            Case(36, "a forged signature", with(&tampered), 401, client, "token_signature"),
            Case(37, "another issuer's key", with(&forged), 401, client, "token_key_unknown"),
            Case(38, "an access token", with(&token), 401, client, "token_wrong_type"),
            Case(39, "for another audience", with(&odd(desk, "https://other.example")), 401, client, "token_wrong_audience"),
            Case(40, "for the token endpoint", with(&odd(desk, TOKEN_ENDPOINT)), 401, client, "token_wrong_audience"),
            Case(41, "expired", with(&bench.odd_svid(desk, ISSUER, now.plus_s(-400))), 401, client, "token_expired"),
            Case(42, "from the future", with(&bench.odd_svid(desk, ISSUER, now.plus_s(60))), 401, client, "token_not_yet_valid"),
            Case(43, "another trust domain", with(&odd("spiffe://other.example/agent/desk-agent", ISSUER)), 401, client, "token_wrong_trust_domain"),
            Case(44, "not an agent's identity", with(&odd("spiffe://carnet.example/node/desk-agent", ISSUER)), 401, client, "token_wrong_trust_domain"),
            Case(45, "an agent nobody registered", with(&odd("spiffe://carnet.example/agent/nobody", ISSUER)), 401, client, "agent_unknown"),
            Case(46, "another client id", good().set("client_id", "spiffe://carnet.example/agent/mail-agent"), 401, client, "client_id_differs"),
            Case(47, "issued before we started", with(&bench.odd_svid(desk, ISSUER, now.plus_s(-10))), 401, client, "assertion_before_start"),
            Case(48, "two credentials", good().set("assertion", &svid), 400, "invalid_request", "two_credentials"),
            Case(49, "two credentials the other way", grant(&svid).set("client_assertion", &svid), 400, "invalid_request", "two_credentials"),
            Case(50, "a grant without assertion", grant(""), 400, "invalid_request", "assertion_missing"),
            Case(51, "a grant of an expired SVID", grant(&bench.odd_svid(desk, ISSUER, now.plus_s(-400))), 400, "invalid_grant", "token_expired"),
            Case(52, "a grant of a forged SVID", grant(&forged), 400, "invalid_grant", "token_key_unknown"),
            Case(53, "a grant of nobody", grant(&odd("spiffe://carnet.example/agent/nobody", ISSUER)), 400, "invalid_grant", "agent_unknown"),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_proof_that_is_not_for_this_request_is_refused() {
    let bench = Bench::new().await;
    let with = |proof: &str| bench.good().header("dpop", proof);
    let (key, now) = (&bench.key, bench.now());
    let prove = |method, url, at| key.prove(method, url, None, &fresh(), at, None).unwrap();
    let proof = "invalid_dpop_proof";
    let with_token = key.prove("POST", TOKEN_ENDPOINT, Some("token"), &fresh(), now, None).unwrap();
    let used = bench.proof();
    assert_eq!(bench.send(with(&used)).await.status, StatusCode::OK);
    let pair = format!("{}, {}", bench.proof(), bench.proof());
    check(
        &bench,
        vec![
            Case(60, "not a proof", with("x"), 400, proof, "token_malformed"),
            Case(61, "an SVID", with(&bench.svid("desk-agent")), 400, proof, "token_header_refused"),
            Case(62, "for another method", with(&prove("GET", TOKEN_ENDPOINT, now)), 400, proof, "proof_method"),
            Case(63, "for a gateway", with(&prove("POST", READ, now)), 400, proof, "proof_url"),
            Case(64, "for another issuer", with(&prove("POST", "https://evil.example/oauth/token", now)), 400, proof, "proof_url"),
            Case(65, "too old", with(&prove("POST", TOKEN_ENDPOINT, now.plus_s(-90))), 400, proof, "proof_stale"),
            Case(66, "too new", with(&prove("POST", TOKEN_ENDPOINT, now.plus_s(90))), 400, proof, "proof_stale"),
            Case(67, "from before we started", with(&prove("POST", TOKEN_ENDPOINT, now.plus_s(-30))), 400, proof, "proof_before_start"),
            Case(68, "with a token in it", with(&with_token), 400, proof, "proof_token"),
            Case(69, "used before", with(&used), 400, proof, "proof_replayed"),
            Case(70, "two headers", with(&bench.proof()).more_header("dpop", &bench.proof()), 400, proof, "proof_twice"),
            Case(71, "two in one header", with(&pair), 400, proof, "token_malformed"),
            Case(72, "none, for an agent that must", Ask::new(&bench.svid("mail-agent")).set("resource", READ), 400, proof, "proof_required"),
            Case(73, "none, to write", bench.good().no_header("dpop").set("resource", WRITE), 400, proof, "proof_required"),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_request_for_anything_but_one_of_our_resources_is_refused() {
    let bench = Bench::new().await;
    let for_ = |resource: &str| bench.good().set("resource", resource);
    let target = "invalid_target";
    check(
        &bench,
        vec![
            Case(80, "no resource", bench.good().without("resource"), 400, target, "target_missing"),
            Case(81, "two resources", bench.good().add("resource", WRITE), 400, target, "target_twice"),
            Case(82, "the same resource twice", bench.good().add("resource", READ), 400, target, "target_twice"),
            Case(83, "an empty resource", for_(""), 400, target, "target_unknown"),
            Case(84, "another origin", for_("https://evil.example/read/mcp/desk"), 400, target, "target_unknown"),
            Case(85, "the issuer itself", for_(ISSUER), 400, target, "target_unknown"),
            Case(86, "no such path", for_("https://carnet.example/delete/mcp/desk"), 400, target, "target_unknown"),
            Case(87, "with a query", for_("https://carnet.example/read/mcp/desk?x"), 400, target, "target_unknown"),
            Case(88, "climbing", for_("https://carnet.example/read/mcp/../mcp/desk"), 400, target, "target_unknown"),
            Case(89, "an audience", bench.good().set("audience", READ), 400, target, "target_as_audience"),
            Case(90, "a resource that is not there", for_("https://carnet.example/read/mcp/vault"), 400, target, "not_covered"),
            Case(91, "a path the task has nothing on", for_("https://carnet.example/admin/mcp/desk"), 400, target, "not_covered"),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_task_that_is_not_the_agents_or_not_well_named_is_refused() {
    let bench = Bench::new().await;
    let task = bench.house.open_task("desk-agent").await;
    let others = bench.house.open_task("mail-agent").await;
    let scope = |scope: &str| bench.good().set("scope", scope);
    let details = |details: serde_json::Value| bench.good().set("authorization_details", &details.to_string());
    let ours = |task: &carnet_core::TaskId| json!([{ "type": "carnet_task", "task": task }]);
    let missing: carnet_core::TaskId = "task_0".parse().unwrap();
    let (in_scope, in_details) = ("invalid_scope", "invalid_authorization_details");
    check(
        &bench,
        vec![
            Case(100, "another scope", scope("openid"), 400, in_scope, "scope_unknown"),
            Case(101, "a bare id", scope(task.as_str()), 400, in_scope, "scope_unknown"),
            Case(102, "two scopes", scope(&format!("task:{task} task:{others}")), 400, in_scope, "scope_unknown"),
            Case(103, "not a task", scope("task:grant_1"), 400, in_scope, "scope_unknown"),
            Case(104, "no such task", scope("task:task_0"), 400, in_scope, "task_unknown"),
            Case(105, "another agent's task", scope(&format!("task:{others}")), 400, in_scope, "task_unknown"),
            Case(106, "details of no such task", details(ours(&missing)), 400, in_details, "task_unknown"),
            Case(107, "details of another agent's task", details(ours(&others)), 400, in_details, "task_unknown"),
            Case(108, "two tasks", details(ours(&task)).set("scope", &format!("task:{others}")), 400, "invalid_request", "task_ambiguous"),
            Case(109, "details that are no JSON", bench.good().set("authorization_details", "[{"), 400, in_details, "details_malformed"),
            Case(110, "details of another type", details(json!([{ "type": "payment" }])), 400, in_details, "details_malformed"),
            Case(111, "an unknown member", details(json!([{ "type": "carnet_task", "task": task, "actions": ["x"] }])), 400, in_details, "details_malformed"),
            Case(112, "another path", details(json!([{ "type": "carnet_task", "task": task, "path": "write" }])), 400, in_details, "details_malformed"),
            Case(113, "another place", details(json!([{ "type": "carnet_task", "task": task, "locations": [WRITE] }])), 400, in_details, "details_malformed"),
            Case(114, "no place", details(json!([{ "type": "carnet_task", "task": task, "locations": [] }])), 400, in_details, "details_malformed"),
            Case(115, "two places", details(json!([{ "type": "carnet_task", "task": task, "locations": [READ, READ] }])), 400, in_details, "details_malformed"),
            Case(116, "no task and none standing", bench.good().set("client_assertion", &bench.svid("mail-agent")), 400, "unauthorized_client", "task_unknown"),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_used_svid_is_good_with_its_own_key_only() {
    let bench = Bench::new().await;
    let bound = bench.svid("desk-agent");
    let ask = |svid: &str| Ask::new(svid).set("resource", READ);
    let first = ask(&bound).header("dpop", &bench.proof());
    assert_eq!(bench.send(first).await.status, StatusCode::OK);
    let unbound = bench.svid("desk-agent");
    assert_eq!(bench.send(ask(&unbound)).await.status, StatusCode::OK);
    let thief = bench.proof_with(&DpopKey::generate().unwrap(), TOKEN_ENDPOINT, None);
    let grant = ask(&bound)
        .without("client_assertion")
        .without("client_assertion_type")
        .set("grant_type", BEARER_GRANT)
        .set("assertion", &bound);
    check(
        &bench,
        vec![
            Case(120, "another key", ask(&bound).header("dpop", &thief), 401, "invalid_client", "assertion_used"),
            Case(121, "no key", ask(&bound), 401, "invalid_client", "assertion_used"),
            Case(122, "as a grant", grant, 400, "invalid_grant", "assertion_used"),
            Case(123, "again without a key", ask(&unbound), 401, "invalid_client", "assertion_used"),
            Case(124, "a key after none", ask(&unbound).header("dpop", &bench.proof()), 401, "invalid_client", "assertion_used"),
        ],
    )
    .await;
}

#[tokio::test]
async fn who_holds_a_used_svid_fills_no_room_with_keys_of_their_own() {
    let few = OAuthOptions { proofs_max: 4, ..OAuthOptions::default() };
    let bench = Bench::with(few, 0).await;
    let used = bench.svid("desk-agent");
    let ask = |svid: &str| Ask::new(svid).set("resource", READ);
    assert_eq!(bench.send(ask(&used).header("dpop", &bench.proof())).await.status, StatusCode::OK);
    for _ in 0..4 {
        let thief = bench.proof_with(&DpopKey::generate().unwrap(), TOKEN_ENDPOINT, None);
        let refused = bench.send(ask(&used).header("dpop", &thief)).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    }
    let next = ask(&bench.svid("desk-agent")).header("dpop", &bench.proof());
    assert_eq!(bench.send(next).await.status, StatusCode::OK);
}

#[tokio::test]
async fn bounds_are_told_as_come_again() {
    let full = OAuthOptions { assertions_max: 0, ..OAuthOptions::default() };
    let bench = Bench::with(full, 0).await;
    check(&bench, vec![Case(130, "too many SVIDs", bench.good(), 503, "temporarily_unavailable", "assertions_full")]).await;
    let full = OAuthOptions { proofs_max: 0, ..OAuthOptions::default() };
    let bench = Bench::with(full, 0).await;
    check(&bench, vec![Case(131, "too many proofs", bench.good(), 503, "temporarily_unavailable", "proof_cache_full")]).await;
    let full = OAuthOptions { requests_max: 0, ..OAuthOptions::default() };
    let bench = Bench::with(full, 0).await;
    check(&bench, vec![Case(132, "too many requests", bench.good(), 503, "temporarily_unavailable", "requests_full")]).await;
    let bench = Bench::with(OAuthOptions::default(), 10).await;
    check(&bench, vec![Case(133, "what it was used for is forgotten", bench.good(), 401, "invalid_client", "assertion_before_start")]).await;
}

#[tokio::test]
async fn a_locked_agent_gets_nothing() {
    let bench = Bench::new().await;
    let ask = bench.good();
    bench.house.lock(LockTarget::Agent(agent("desk-agent"))).await;
    check(&bench, vec![Case(140, "locked", ask, 400, "unauthorized_client", "locked")]).await;
    assert!(bench.house.broker.mint_svid(&agent("desk-agent"), ISSUER).is_err());
    assert!(bench.house.broker.mint_svid(&agent("mail-agent"), ISSUER).is_ok());
}

#[tokio::test]
async fn an_svid_from_before_the_agent_was_told_otherwise_is_refused() {
    let bench = Bench::new().await;
    let before = bench.good();
    let mut selectors = crate::oauth::fixture::own_selectors();
    selectors.executable = Some("/usr/bin/desk".into());
    bench.house.register("desk-agent", selectors, None).await;
    check(&bench, vec![Case(141, "told otherwise since", before, 401, "invalid_client", "assertion_before_change")]).await;
    let desk = "spiffe://carnet.example/agent/desk-agent";
    let svid = bench.odd_svid(desk, ISSUER, bench.now().plus_s(2));
    let after = bench.good().set("client_assertion", &svid);
    // The agent is itself again; what it lacks now is a task.
    check(&bench, vec![Case(142, "fetched since", after, 400, "unauthorized_client", "task_unknown")]).await;
}

#[tokio::test]
async fn other_methods_and_other_grants_by_other_doors_are_refused() {
    let bench = Bench::new().await;
    let mut get = bench.good();
    get.method = "GET";
    assert_eq!(bench.send(get).await.status, StatusCode::METHOD_NOT_ALLOWED);
    let authorize = bench.get("/oauth/authorize?response_type=code").await;
    assert_eq!(authorize.status, StatusCode::BAD_REQUEST);
    assert!(authorize.text.contains("client_id_missing"), "{}", authorize.text);
    for path in ["/oauth/register", "/oauth/schemas/x.json", "/oauth/token/", "/oauth"] {
        assert_eq!(bench.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}
