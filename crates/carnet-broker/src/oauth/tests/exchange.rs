//! Token exchange: handing on, redeeming, and every way it is refused, numbered.

use axum::http::StatusCode;
use carnet_core::{Closure, LockTarget, Principal, TaskId};
use carnet_identity::{
    Act, DelegationClaims, DpopKey, KeyUse, MayAct, SigningKey, mint_delegation, verify_delegation,
};
use serde_json::{Value, json};

use super::refusals::{Case, check};
use super::{Answer, Ask, Bench, READ, TOKEN_ENDPOINT, WRITE};
use crate::keys::KeyPurpose;
use crate::oauth::OAuthOptions;
use crate::oauth::fixture::{ISSUER, agent, ana};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
pub(super) const ACCESS: &str = "urn:ietf:params:oauth:token-type:access_token";
pub(super) const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
pub(super) const DESK: &str = "spiffe://carnet.example/agent/desk-agent";
pub(super) const MAIL: &str = "spiffe://carnet.example/agent/mail-agent";

/// `desk-agent` with a task and a token for it, and `mail-agent` with a key of its own.
pub(super) struct Pair {
    pub(super) bench: Bench,
    pub(super) parent: TaskId,
    /// desk-agent's token.
    pub(super) token: String,
    /// mail-agent's key.
    pub(super) key: DpopKey,
}

impl Pair {
    pub(super) async fn new() -> Self {
        Self::of(Bench::new().await).await
    }

    pub(super) async fn of(bench: Bench) -> Self {
        let parent = bench.house.open_task("desk-agent").await;
        let scope = format!("task:{parent}");
        let token = token_in(&bench.send(bench.good().set("scope", &scope)).await);
        Self { bench, parent, token, key: DpopKey::generate().unwrap() }
    }

    /// A request that succeeds: desk-agent hands reading on to mail-agent.
    pub(super) fn hand_on(&self) -> Ask {
        Ask::new(&self.bench.svid("desk-agent"))
            .set("grant_type", GRANT)
            .set("subject_token", &self.token)
            .set("subject_token_type", ACCESS)
            .set("audience", MAIL)
            .set("authorization_details", &details(&intent()).to_string())
            .header("dpop", &self.bench.proof())
    }

    /// The delegation token mail-agent is told by, and the child task.
    pub(super) async fn handed_on(&self) -> (String, TaskId) {
        let answer = self.bench.send(self.hand_on()).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        let scope = answer.json()["scope"].as_str().unwrap().to_owned();
        (token_in(&answer), scope.strip_prefix("task:").unwrap().parse().unwrap())
    }

    /// A request that succeeds: mail-agent redeems `delegation` with its own identity and key.
    pub(super) fn redeem(&self, delegation: &str) -> Ask {
        Ask::new(&self.bench.svid("mail-agent"))
            .set("grant_type", GRANT)
            .set("subject_token", delegation)
            .set("subject_token_type", JWT)
            .set("resource", READ)
            .header("dpop", &self.proof())
    }

    pub(super) fn proof(&self) -> String {
        self.bench.proof_with(&self.key, TOKEN_ENDPOINT, None)
    }

    /// The claims of a delegation token as it should be.
    fn claims(&self, delegation: &str) -> DelegationClaims {
        let keys = self.bench.house.broker.delegation_keys();
        verify_delegation(delegation, &keys, ISSUER, self.bench.now()).unwrap().claims
    }

    /// A delegation token of ours that says something else.
    fn bent(&self, delegation: &str, bend: impl FnOnce(&mut DelegationClaims)) -> String {
        let mut claims = self.claims(delegation);
        bend(&mut claims);
        mint_delegation(&self.bench.house.broker.signing_key(KeyPurpose::Delegation).unwrap(), &claims).unwrap()
    }
}

pub(super) fn token_in(answer: &Answer) -> String {
    answer.json()["access_token"].as_str().unwrap_or_else(|| panic!("{}", answer.text)).to_owned()
}

fn intent() -> Value {
    let allow = json!([{ "action": "desk.tool.read_ticket", "path": "read" }]);
    json!({ "purpose": "support", "allow": allow })
}

fn details(intent: &Value) -> Value {
    json!([{ "type": "carnet_delegation", "intent": intent }])
}

#[tokio::test]
async fn what_is_handed_on_is_redeemed_by_the_other_agent_with_its_own_identity_and_key() {
    let pair = Pair::new().await;
    let answer = pair.bench.send(pair.hand_on()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let told = answer.json();
    assert_eq!((&told["token_type"], &told["issued_token_type"]), (&json!("N_A"), &json!(JWT)));
    assert!((1..=300).contains(&told["expires_in"].as_i64().unwrap()), "{told}");
    let granted = &told["authorization_details"][0];
    assert_eq!((&granted["type"], &granted["intent"]), (&json!("carnet_delegation"), &intent()));
    assert_eq!((&granted["parent"], &granted["agent"]), (&json!(pair.parent), &json!("mail-agent")));
    assert_eq!(granted["grants"][0]["state"], "active");

    let claims = answer.claims();
    let child = claims["carnet_task"].as_str().unwrap();
    assert_eq!(told["scope"], format!("task:{child}"));
    assert_eq!((&claims["sub"], &claims["aud"]), (&json!("user:ana"), &json!(ISSUER)));
    assert_eq!(claims["may_act"], json!({ "sub": MAIL }));
    assert_eq!(claims["act"], json!({ "sub": DESK }));

    let delegation = token_in(&answer);
    let actor = pair.bench.svid("mail-agent");
    for ask in [
        pair.redeem(&delegation),
        pair.redeem(&delegation).set("actor_token", &actor).set("actor_token_type", JWT),
        pair.redeem(&delegation).set("requested_token_type", ACCESS).set("scope", &format!("task:{child}")),
    ] {
        let redeemed = pair.bench.send(ask).await;
        assert_eq!(redeemed.status, StatusCode::OK, "{}", redeemed.text);
        let told = redeemed.json();
        assert_eq!((&told["token_type"], &told["issued_token_type"]), (&json!("DPoP"), &json!(ACCESS)));
        let claims = redeemed.claims();
        assert_eq!((&claims["client_id"], &claims["sub"]), (&json!(MAIL), &json!("user:ana")));
        assert_eq!(claims["act"], json!({ "sub": MAIL, "act": { "sub": DESK } }));
        assert_eq!(claims["carnet_task"], child);
        assert_eq!(claims["cnf"]["jkt"], pair.key.thumbprint().to_string());
    }
}

#[tokio::test]
async fn an_agent_that_works_for_itself_still_acts_in_what_it_hands_on() {
    let bench = Bench::new().await;
    let standing = bench.send(bench.good()).await;
    assert!(standing.claims().get("act").is_none());
    let (token, key) = (token_in(&standing), DpopKey::generate().unwrap());
    let parent = standing.claims()["carnet_task"].as_str().unwrap().parse().unwrap();
    let pair = Pair { bench, parent, token, key };
    let narrower = json!({ "purpose": "standing", "allow": intent()["allow"] });
    let answer = pair.bench.send(pair.hand_on().set("authorization_details", &details(&narrower).to_string())).await;
    assert_eq!((&answer.claims()["sub"], &answer.claims()["act"]), (&json!(DESK), &json!({ "sub": DESK })));
    let redeemed = pair.bench.send(pair.redeem(&token_in(&answer))).await;
    assert_eq!(redeemed.claims()["act"], json!({ "sub": MAIL }), "no exchange yields a token without an actor");
}

#[tokio::test]
async fn an_exchange_that_is_no_delegation_is_refused() {
    let pair = Pair::new().await;
    let (bench, ask) = (&pair.bench, || pair.hand_on());
    let other = bench.house.open_task("mail-agent").await;
    let theirs = Ask::new(&bench.svid("mail-agent")).set("resource", READ).set("scope", &format!("task:{other}"));
    let theirs = token_in(&bench.send(theirs.header("dpop", &pair.proof())).await);
    let bare = token_in(&bench.send(bench.good().no_header("dpop")).await);
    let (svid, (delegation, _)) = (bench.svid("mail-agent"), pair.handed_on().await);
    let with = |subject: &str| ask().set("subject_token", subject);
    let (head, signature) = pair.token.rsplit_once('.').unwrap();
    let flipped = if signature.starts_with('A') { 'B' } else { 'A' };
    let tampered = format!("{head}.{flipped}{}", &signature[1..]);
    let said = |details: Value| ask().set("authorization_details", &details.to_string());
    let wider = json!([{ "action": "desk.tool.*", "path": "read", "other": "any" }]);
    let one = details(&intent())[0].clone();
    let (request, target, wrong) = ("invalid_request", "invalid_target", "invalid_authorization_details");
    let id = |name: &str| format!("spiffe://carnet.example/agent/{name}");
    check(
        bench,
        vec![
            Case(200, "no subject token", ask().without("subject_token"), 400, request, "subject_missing"),
            Case(201, "no subject type", ask().without("subject_token_type"), 400, request, "token_type_unknown"),
            Case(202, "an ID token", ask().set("subject_token_type", ID_TOKEN), 400, request, "token_type_unknown"),
            Case(203, "an access token called a jwt", ask().set("subject_token_type", JWT).without("audience").without("authorization_details").set("resource", READ), 400, request, "token_wrong_type"),
            Case(204, "the other's SVID as subject", with(&svid), 400, request, "token_wrong_type"),
            Case(205, "a delegation token as subject", with(&delegation), 400, request, "token_wrong_type"),
            Case(206, "a tampered token", with(&tampered), 400, request, "token_signature"),
            Case(207, "another agent's token", with(&theirs), 400, request, "subject_of_another"),
            Case(208, "a token without a key", with(&bare), 400, request, "subject_unbound"),
            Case(209, "another key than the token's", ask().header("dpop", &pair.proof()), 400, request, "subject_wrong_key"),
            Case(210, "no proof", ask().no_header("dpop"), 400, "invalid_dpop_proof", "proof_required"),
            Case(211, "the other's SVID with the own key", ask().set("client_assertion", &svid), 400, request, "subject_of_another"),
            Case(212, "an access token is asked for", ask().set("requested_token_type", ACCESS), 400, request, "requested_type_unknown"),
            Case(213, "a refresh token is asked for", ask().set("requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token"), 400, request, "requested_type_unknown"),
            Case(214, "an actor", ask().set("actor_token", &svid).set("actor_token_type", JWT), 400, request, "actor_unexpected"),
            Case(215, "an actor type alone", ask().set("actor_token_type", JWT), 400, request, "actor_unexpected"),
            Case(216, "a resource", ask().set("resource", READ), 400, target, "target_unexpected"),
            Case(217, "a scope", ask().set("scope", "task:task_1"), 400, "invalid_scope", "scope_unexpected"),
            Case(218, "nobody", ask().without("audience"), 400, target, "audience_missing"),
            Case(219, "a resource as audience", ask().set("audience", READ), 400, target, "audience_unknown"),
            Case(220, "the issuer as audience", ask().set("audience", ISSUER), 400, target, "audience_unknown"),
            Case(221, "two audiences", ask().add("audience", MAIL), 400, request, "parameter_twice"),
            Case(222, "a bare name", ask().set("audience", "mail-agent"), 400, target, "audience_unknown"),
            Case(223, "no agent's identity", ask().set("audience", "spiffe://carnet.example/node/x"), 400, target, "audience_unknown"),
            Case(224, "a stranger of another trust domain", ask().set("audience", "spiffe://other.example/agent/mail-agent"), 400, "unauthorized_client", "policy_does_not_permit"),
            Case(225, "an agent nobody registered", ask().set("audience", &id("nobody")), 400, request, "agent_unknown"),
            Case(226, "no details", ask().without("authorization_details"), 400, wrong, "details_malformed"),
            Case(227, "a bare object", said(one.clone()), 400, wrong, "details_malformed"),
            Case(228, "two objects", said(json!([one, one])), 400, wrong, "details_malformed"),
            Case(229, "another type", said(json!([{ "type": "carnet_task", "task": pair.parent }])), 400, wrong, "details_malformed"),
            Case(230, "an unknown member", said(json!([{ "type": "carnet_delegation", "intent": intent(), "task": pair.parent }])), 400, wrong, "details_malformed"),
            Case(231, "no intent", said(json!([{ "type": "carnet_delegation" }])), 400, wrong, "details_malformed"),
            Case(232, "an intent in a text", said(json!([{ "type": "carnet_delegation", "intent": intent().to_string() }])), 400, wrong, "details_malformed"),
            Case(233, "an intent that is none", said(details(&json!({}))), 400, wrong, "intent_malformed"),
            Case(234, "a member twice", ask().set("authorization_details", &details(&intent()).to_string().replace("\"purpose\"", "\"purpose\":\"x\",\"purpose\"")), 400, wrong, "intent_malformed"),
            Case(235, "wider than the task", said(details(&json!({ "purpose": "support", "allow": wider }))), 400, wrong, "not_a_part"),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_token_that_is_not_live_hands_nothing_on() {
    let pair = Pair::new().await;
    pair.bench.house.broker.close_task(&pair.parent, Closure::Revoked, &Principal::User(ana())).await.unwrap();
    check(&pair.bench, vec![Case(240, "a closed task", pair.hand_on(), 400, "invalid_request", "task_unknown")]).await;
    let pair = Pair::new().await;
    let ask = pair.hand_on();
    pair.bench.house.lock(LockTarget::Task(pair.parent.clone())).await;
    check(&pair.bench, vec![Case(241, "a locked task", ask, 400, "invalid_request", "locked")]).await;
    let pair = Pair::new().await;
    let keys = pair.bench.house.broker.keys();
    let (key, _) = keys.iter().find(|(key, _)| key.purpose == KeyPurpose::AccessToken).unwrap();
    pair.bench.house.broker.remove_key(&key.kid, &ana()).await.unwrap();
    check(&pair.bench, vec![Case(242, "a removed key", pair.hand_on(), 400, "invalid_request", "token_key_unknown")]).await;
}

#[tokio::test]
async fn a_delegation_token_is_of_no_use_to_anybody_else_and_nowhere_else() {
    let pair = Pair::new().await;
    let (delegation, child) = pair.handed_on().await;
    let (bench, ask) = (&pair.bench, || pair.redeem(&delegation));
    let (own, svid) = (bench.svid("desk-agent"), bench.svid("mail-agent"));
    let stranger = SigningKey::generate(KeyUse::Delegation).unwrap();
    let forged = mint_delegation(&stranger, &pair.claims(&delegation)).unwrap();
    let own_key = || bench.proof();
    let actor = |token: &str| ask().set("actor_token", token).set("actor_token_type", JWT);
    let (request, target) = ("invalid_request", "invalid_target");
    check(
        bench,
        vec![
            Case(250, "by who handed it on", ask().set("client_assertion", &own).header("dpop", &own_key()), 400, request, "may_act_differs"),
            Case(251, "by the other with the key of who handed it on", ask().header("dpop", &own_key()), 400, request, "key_of_another"),
            Case(252, "by who handed it on with the other's key", ask().set("client_assertion", &own), 400, request, "may_act_differs"),
            Case(253, "without a proof", ask().no_header("dpop"), 400, "invalid_dpop_proof", "proof_required"),
            Case(254, "subject and actor exchanged", actor(&delegation).set("subject_token", &svid), 400, request, "token_wrong_type"),
            Case(255, "another actor", actor(&own), 400, request, "actor_differs"),
            Case(256, "an access token as actor", actor(&pair.token), 400, request, "token_wrong_type"),
            Case(257, "an actor without a type", ask().set("actor_token", &svid), 400, request, "actor_type"),
            Case(258, "a type without an actor", ask().set("actor_token_type", JWT), 400, request, "actor_type"),
            Case(259, "an actor of another type", actor(&svid).set("actor_token_type", ACCESS), 400, request, "actor_type"),
            Case(260, "a delegation token is asked for", ask().set("requested_token_type", JWT), 400, request, "requested_type_unknown"),
            Case(261, "no resource", ask().without("resource"), 400, target, "target_missing"),
            Case(262, "two resources", ask().add("resource", WRITE), 400, target, "target_twice"),
            Case(263, "an audience", ask().set("audience", MAIL), 400, target, "target_as_audience"),
            Case(264, "a wider path", ask().set("resource", WRITE), 400, target, "not_covered"),
            Case(265, "the task above", ask().set("scope", &format!("task:{}", pair.parent)), 400, request, "task_ambiguous"),
            Case(266, "a forged token", ask().set("subject_token", &forged), 400, request, "token_key_unknown"),
            Case(267, "a delegation called an access token", ask().set("subject_token_type", ACCESS).without("resource").set("audience", MAIL).set("authorization_details", &details(&intent()).to_string()), 400, request, "token_wrong_type"),
            Case(268, "as client assertion", ask().set("client_assertion", &delegation), 401, "invalid_client", "token_wrong_type"),
        ],
    )
    .await;
    let thief = DpopKey::generate().unwrap();
    assert_eq!(bench.send(ask()).await.status, StatusCode::OK, "{child}");
    let stolen = ask().header("dpop", &bench.proof_with(&thief, TOKEN_ENDPOINT, None));
    check(bench, vec![Case(269, "with another key than first", stolen, 400, request, "delegation_used")]).await;
    assert_eq!(bench.send(ask()).await.status, StatusCode::OK, "its own key may again");
}

#[tokio::test]
async fn a_chain_put_together_from_two_is_refused() {
    let pair = Pair::new().await;
    let (delegation, _) = pair.handed_on().await;
    let other = Pair { parent: pair.bench.house.open_task("desk-agent").await, token: String::new(), key: DpopKey::generate().unwrap(), bench: pair.bench };
    let again = other.bench.good().set("scope", &format!("task:{}", other.parent));
    let token = token_in(&other.bench.send(again).await);
    let pair = Pair { token, ..other };
    let (second, second_child) = pair.handed_on().await;
    let (first, second) = (delegation, pair.claims(&second));
    let act = |sub: &str, act: Option<Act>| Act { sub: sub.to_owned(), iss: None, act: act.map(Box::new) };
    let unrelated = pair.bench.house.open_task("mail-agent").await;
    let bent = |bend: fn(&mut DelegationClaims)| pair.redeem(&pair.bent(&first, bend));
    let request = "invalid_request";
    let of_second = pair.bent(&first, |claims| claims.task = second_child.clone());
    let parent_of_second = pair.bent(&first, |claims| claims.parent_jti.clone_from(&second.parent_jti));
    let of_no_parent = pair.bent(&first, |claims| claims.task = unrelated.clone());
    let longer = pair.bent(&first, |claims| claims.act = act(DESK, Some(act(MAIL, None))));
    check(
        &pair.bench,
        vec![
            Case(280, "the task of another chain", pair.redeem(&of_second), 400, request, "chain_broken"),
            Case(281, "the parent of another chain", pair.redeem(&parent_of_second), 400, request, "chain_broken"),
            Case(282, "a task nobody handed on", pair.redeem(&of_no_parent), 400, request, "chain_broken"),
            Case(283, "an actor more", pair.redeem(&longer), 400, request, "chain_broken"),
            Case(284, "another actor", bent(|claims| claims.act.sub = MAIL.to_owned()), 400, request, "chain_broken"),
            Case(285, "for somebody else", bent(|claims| claims.sub = "user:eve".to_owned()), 400, request, "chain_broken"),
            Case(286, "to somebody else", bent(|claims| claims.may_act = MayAct { sub: DESK.to_owned() }), 400, request, "may_act_differs"),
            Case(287, "a task that never was", bent(|claims| claims.task = "task_0".parse().unwrap()), 400, request, "task_unknown"),
        ],
    )
    .await;
    assert_eq!(pair.bench.send(pair.redeem(&first)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_ended_or_was_used_before_the_start_is_not_redeemed() {
    let pair = Pair::new().await;
    let (delegation, _) = pair.handed_on().await;
    pair.bench.house.broker.close_task(&pair.parent, Closure::Revoked, &Principal::User(ana())).await.unwrap();
    check(&pair.bench, vec![Case(290, "the task above is closed", pair.redeem(&delegation), 400, "invalid_request", "task_unknown")]).await;
    let pair = Pair::new().await;
    let (delegation, _) = pair.handed_on().await;
    let early = pair.bent(&delegation, |claims| {
        claims.iat = claims.iat.plus_s(-60);
        claims.exp = claims.exp.plus_s(-60);
    });
    check(&pair.bench, vec![Case(291, "older than the start", pair.redeem(&early), 400, "invalid_request", "delegation_before_start")]).await;
    let late = pair.bent(&delegation, |claims| {
        claims.iat = claims.iat.plus_s(-301);
        claims.exp = claims.iat.plus_s(300);
    });
    check(&pair.bench, vec![Case(292, "expired", pair.redeem(&late), 400, "invalid_request", "token_expired")]).await;
}

#[tokio::test]
async fn an_exchange_demands_a_nonce_where_tokens_do() {
    let bench = Bench::with(OAuthOptions { dpop_nonce: true, ..OAuthOptions::default() }, 0).await;
    let pair = Pair { parent: bench.house.open_task("desk-agent").await, token: "x".to_owned(), key: DpopKey::generate().unwrap(), bench };
    check(&pair.bench, vec![Case(295, "no nonce", pair.hand_on(), 400, "use_dpop_nonce", "proof_nonce")]).await;
}

#[test]
fn every_agent_in_the_fixture_is_named_as_its_spiffe_id_says() {
    for id in [DESK, MAIL] {
        let name = id.rsplit('/').next().unwrap();
        assert_eq!(agent(name).as_str(), name);
    }
}
