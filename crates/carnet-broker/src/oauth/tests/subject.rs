//! Tokens on behalf of a person whose identity provider says so (ID-JAG), one case a line.

use carnet_core::{Agent, Identity, LockTarget, Login, Principal, TaskId, User};
use carnet_policy::PolicySource;
use serde_json::{Value, json};

use super::certificates::{over, svid_of};
use super::foreign::{Place, Signer, code, next_second, told_by, trusting, with};
use super::*;
use crate::oauth::fixture::ana;
use crate::trust::{AuthorityConfig, AuthorityKind};

const CLIENT: &str = "desk-client";
const DESK: &str = "spiffe://carnet.example/agent/desk-agent";
const ANA: &str = "ana@idp";
const BOB: &str = "bob@idp";

/// Carnet, an identity provider that knows ana and bob, an issuer of workloads, and a client with keys.
struct Lab {
    bench: Bench,
    idp: Place,
    key: Signer,
    workloads: Place,
    workload_key: Signer,
    client: Signer,
}

impl Lab {
    async fn new() -> Self {
        let (key, workload_key, client) = (Signer::new("i1"), Signer::new("w1"), Signer::new("c1"));
        let (idp, workloads) = (Place::new(&key, None).await, Place::new(&workload_key, None).await);
        let people = AuthorityConfig { kind: AuthorityKind::Idp, ..idp.config() };
        let bench = trusting(vec![people, workloads.config()]).await;
        let user = |name: &str, subject: &str| User {
            name: name.parse().unwrap(),
            teams: Default::default(),
            logins: vec![Login { issuer: idp.url.clone(), subject: subject.to_owned() }],
        };
        bench.house.broker.put_users(vec![user("ana", ANA), user("bob", BOB)]).await.unwrap();
        let keys = Some(json!({ "keys": [client.jwk()] }));
        told_by(&bench, Identity::Client { id: CLIENT.to_owned(), keys, redirect_uris: Vec::new() }).await;
        Self { bench, idp, key, workloads, workload_key, client }
    }

    /// What the provider says for `subject`.
    fn says(&self, subject: &str) -> Value {
        let now = self.bench.now().s();
        json!({ "iss": self.idp.url, "sub": subject, "aud": ISSUER, "client_id": CLIENT, "resource": READ,
            "jti": fresh(), "iat": now, "exp": now + 120 })
    }

    fn signed_by(&self, key: &Signer, claims: &Value) -> String {
        key.sign_as(&json!({ "alg": "ES256", "kid": key.kid, "typ": "oauth-id-jag+jwt" }), claims)
    }

    fn client_assertion(&self) -> String {
        let now = self.bench.now().s();
        self.client.sign(&json!({ "iss": CLIENT, "sub": CLIENT, "aud": ISSUER, "iat": now, "exp": now + 60, "jti": fresh() }))
    }

    /// A request by the client with `assertion`.
    fn with(&self, assertion: &str) -> Ask {
        Ask::new(&self.client_assertion())
            .set("client_assertion_type", BEARER_TYPE)
            .set("grant_type", BEARER_GRANT)
            .set("assertion", assertion)
            .set("resource", READ)
            .header("dpop", &self.bench.proof())
    }

    /// The same with what the provider says.
    fn saying(&self, claims: &Value) -> Ask {
        self.with(&self.signed_by(&self.key, claims))
    }

    /// The same for `subject`.
    fn for_(&self, subject: &str) -> Ask {
        self.saying(&self.says(subject))
    }

    /// The same with one claim another.
    fn but(&self, name: &str, value: Value) -> Ask {
        self.saying(&with(self.says(ANA), name, value))
    }

    /// The same with one claim left out.
    fn less(&self, name: &str) -> Ask {
        let mut claims = self.says(ANA);
        claims.as_object_mut().unwrap().remove(name);
        self.saying(&claims)
    }

    /// The task of the token that `ask` gets.
    async fn task(&self, ask: Ask) -> TaskId {
        let answer = self.bench.send(ask).await;
        assert_eq!(code(&answer), "granted", "{}", answer.text);
        answer.claims()["carnet_task"].as_str().unwrap().parse().unwrap()
    }

    async fn lock(&self, user: &str) {
        self.bench.house.lock(LockTarget::User(user.parse().unwrap())).await;
    }
}

fn task_scope(task: &TaskId) -> String {
    format!("task:{task}")
}

#[tokio::test]
async fn a_client_acts_for_a_person_whose_identity_provider_says_so() {
    let lab = Lab::new().await;
    let answer = lab.bench.send(lab.for_(ANA)).await;
    assert_eq!(code(&answer), "granted", "{}", answer.text);
    let claims = answer.claims();
    assert_eq!(claims["sub"], "user:ana");
    assert_eq!(claims["act"], json!({ "sub": DESK }));
    assert_eq!(claims["client_id"], DESK);
    assert_eq!(claims["cnf"], json!({ "jkt": lab.bench.key.thumbprint().to_string() }));
    let task: TaskId = claims["carnet_task"].as_str().unwrap().parse().unwrap();
    let view = lab.bench.house.broker.view();
    let opened = &view.snapshot.task(&task).unwrap().task;
    assert_eq!(opened.subject, Principal::User(ana()));
    assert_eq!(opened.opened_by, Principal::Agent(agent("desk-agent")));
    assert!(opened.standing);
    assert!(answer.json().get("refresh_token").is_none());
}

#[tokio::test]
async fn a_persons_task_is_never_the_agents_own_or_another_persons() {
    let lab = Lab::new().await;
    let anas = lab.task(lab.for_(ANA)).await;
    assert_eq!(lab.task(lab.for_(ANA)).await, anas, "one open task for each person");
    let bobs = lab.task(lab.for_(BOB)).await;
    let own = lab.task(lab.bench.good()).await;
    assert!(anas != bobs && anas != own && bobs != own);
    assert_eq!(lab.task(lab.for_(BOB)).await, bobs);
    assert_eq!(lab.task(lab.bench.good()).await, own);
    let opened = lab.bench.house.open_task("desk-agent").await;
    let named = |ask: Ask, task: &TaskId| ask.set("scope", &task_scope(task));
    let cases = [
        (1, named(lab.for_(ANA), &anas), "granted"),
        (2, named(lab.for_(ANA), &opened), "granted"),
        (3, named(lab.for_(BOB), &anas), "task_unknown"),
        (4, named(lab.for_(BOB), &opened), "task_unknown"),
        (5, named(lab.for_(ANA), &own), "task_unknown"),
        // Without the person's word the agent's own identity opens nothing of theirs.
        (6, named(lab.bench.good(), &anas), "task_unknown"),
        (7, named(lab.bench.good(), &own), "granted"),
        // What a person opened for it is the agent's to work on, as ever.
        (8, named(lab.bench.good(), &opened), "granted"),
    ];
    for (number, ask, wanted) in cases {
        let answer = lab.bench.send(ask).await;
        assert_eq!(code(&answer), wanted, "{number}: {}", answer.text);
    }
}

#[tokio::test]
async fn an_identity_assertion_is_taken_for_what_it_says_and_nothing_wider() {
    let lab = Lab::new().await;
    let (now, other_key) = (lab.bench.now().s(), Signer::new("i1"));
    let own_jkt = lab.bench.key.thumbprint().to_string();
    let task = lab.bench.house.open_task("desk-agent").await;
    let details = json!([{ "type": "carnet_task", "task": task }]);
    let by = |key: &Signer, claims: &Value| lab.with(&lab.signed_by(key, claims));
    let (grant, client, target) = ("invalid_grant", "invalid_client", "invalid_target");
    let own_svid = |claims: Value| lab.saying(&claims).set("client_assertion", &lab.bench.svid("desk-agent"));
    let cases = [
        (1, lab.but("aud", json!([ISSUER])), "", "granted"),
        (2, lab.but("aud", json!([ISSUER, "x"])), grant, "token_claim"),
        (3, lab.but("aud", json!("https://elsewhere.example")), grant, "token_wrong_audience"),
        (4, lab.but("aud", json!(TOKEN_ENDPOINT)), grant, "token_wrong_audience"),
        // Whose key it is not and which provider is none are one answer.
        (5, by(&other_key, &lab.says(ANA)), grant, "token_key_unknown"),
        (6, lab.but("iss", json!("https://idp.example")), grant, "token_key_unknown"),
        (7, lab.but("iss", json!(format!("{}/", lab.idp.url))), grant, "token_key_unknown"),
        // An issuer of workloads speaks for no people.
        (8, by(&lab.workload_key, &with(lab.says(ANA), "iss", json!(lab.workloads.url))), grant, "token_key_unknown"),
        (9, lab.with(&lab.key.sign_as(&json!({ "alg": "none", "typ": "oauth-id-jag+jwt" }), &lab.says(ANA))), grant, "token_algorithm_refused"),
        (10, lab.but("exp", json!(now + 900)), grant, "token_too_long_lived"),
        (11, lab.but("exp", json!(now - 1)), grant, "token_expired"),
        (12, lab.but("iat", json!(now - 60)), grant, "assertion_before_start"),
        (13, lab.but("nbf", json!(now + 90)), grant, "token_not_yet_valid"),
        (14, lab.less("jti"), grant, "token_claim"),
        (15, lab.less("iat"), grant, "token_claim"),
        (16, lab.less("sub"), grant, "token_claim"),
        (17, lab.less("client_id"), grant, "token_claim"),
        (18, lab.but("events", json!({ "urn:x": {} })), grant, "token_claim"),
        (20, lab.but("client_id", json!("another-client")), grant, "client_id_differs"),
        (21, lab.but("client_id", json!(DESK)), "", "granted"),
        (22, lab.but("client_id", json!("spiffe://carnet.example/agent/mail-agent")), grant, "client_id_differs"),
        (23, own_svid(with(lab.says(ANA), "client_id", json!(DESK))), "", "granted"),
        (24, own_svid(lab.says(ANA)), grant, "client_id_differs"),
        (25, lab.for_(ANA).without("client_assertion").without("client_assertion_type"), client, "assertion_missing"),
        (26, lab.for_(ANA).set("client_secret", "x"), client, "client_secret"),
        (27, lab.for_(ANA).set("client_assertion", &lab.bench.svid("mail-agent")), grant, "client_id_differs"),
        // What is none by its type is a second credential, as ever.
        (28, lab.with(&lab.key.sign(&lab.says(ANA))), "invalid_request", "two_credentials"),
        (29, lab.for_(ANA).set("grant_type", "client_credentials"), "invalid_request", "two_credentials"),
        (30, lab.for_("nobody@idp"), grant, "subject_unknown"),
        (31, lab.for_("ANA@idp"), grant, "subject_unknown"),
        (32, lab.less("resource"), "", "granted"),
        (33, lab.but("resource", json!([READ])), "", "granted"),
        (34, lab.but("resource", json!([READ, WRITE])), target, "target_wider"),
        (35, lab.but("resource", json!(WRITE)), target, "target_wider"),
        (36, lab.but("resource", json!([])), target, "target_wider"),
        (37, lab.but("resource", json!({})), target, "target_wider"),
        (38, lab.for_(ANA).set("resource", &format!("{ISSUER}/read/federation/aws")), target, "target_unknown"),
        (40, lab.but("scope", json!("mail.read")), "", "granted"),
        (41, lab.but("scope", json!(task_scope(&task))), "invalid_scope", "scope_wider"),
        (42, lab.but("scope", json!(task_scope(&task))).set("scope", &task_scope(&task)), "", "granted"),
        (43, lab.but("scope", json!("mail.read task:task_1")).set("scope", &task_scope(&task)), "invalid_scope", "scope_wider"),
        (44, lab.but("scope", json!([task_scope(&task)])), "invalid_scope", "scope_wider"),
        (45, lab.but("authorization_details", details.clone()), "invalid_authorization_details", "details_wider"),
        (46, lab.but("authorization_details", details).set("scope", &task_scope(&task)), "", "granted"),
        (47, lab.but("authorization_details", json!([{ "type": "other" }])), "invalid_authorization_details", "details_malformed"),
        (50, lab.but("cnf", json!({ "jkt": own_jkt })), "", "granted"),
        (51, lab.but("cnf", json!({ "jkt": lab.key.kid })), grant, "assertion_key"),
        (52, lab.but("cnf", json!({})), grant, "assertion_key"),
        (53, lab.but("cnf", json!({ "jkt": own_jkt })).no_header("dpop"), grant, "assertion_key"),
        (54, lab.but("cnf", json!(null)), grant, "assertion_key"),
    ];
    let mut wrong = Vec::new();
    for (number, ask, error, wanted) in cases {
        let answer = lab.bench.send(ask).await;
        let is_refused = || answer.refusal().0 == error && !answer.text.contains("access_token");
        if code(&answer) != wanted || (wanted != "granted" && !is_refused()) {
            wrong.push(format!("{number}: {wanted} was wanted: {}", answer.text));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn an_identity_assertion_is_good_once_even_with_the_same_key() {
    let lab = Lab::new().await;
    let assertion = lab.signed_by(&lab.key, &lab.says(ANA));
    // A request that asks for nothing that could be given does not use it up.
    let refused = lab.bench.send(lab.with(&assertion).set("resource", "https://x.example")).await;
    assert_eq!(code(&refused), "target_unknown");
    assert_eq!(code(&lab.bench.send(lab.with(&assertion)).await), "granted");
    let again = lab.bench.send(lab.with(&assertion)).await;
    assert_eq!(again.refusal(), ("invalid_grant".to_owned(), "assertion_used".to_owned()));
    // The same `jti` in another token is the same assertion.
    let claims = lab.says(ANA);
    assert_eq!(code(&lab.bench.send(lab.saying(&claims)).await), "granted");
    let longer = with(claims, "exp", json!(lab.bench.now().s() + 200));
    assert_eq!(code(&lab.bench.send(lab.saying(&longer)).await), "assertion_used");
}

#[tokio::test]
async fn a_person_who_is_locked_is_told_as_one_who_is_unknown() {
    let lab = Lab::new().await;
    let unknown = lab.bench.send(lab.for_("nobody@idp")).await;
    assert_eq!(code(&lab.bench.send(lab.for_(ANA)).await), "granted");
    lab.lock("ana").await;
    let locked = lab.bench.send(lab.for_(ANA)).await;
    assert_eq!((locked.status, &locked.text), (unknown.status, &unknown.text));
    assert_eq!(code(&lab.bench.send(lab.for_(BOB)).await), "granted", "nobody else is stopped");
}

#[tokio::test]
async fn a_subject_that_is_spelled_like_a_client_is_not_that_client() {
    let lab = Lab::new().await;
    let known = lab.bench.house.broker.agent(&agent("mail-agent")).unwrap();
    let told = Identity::Oidc { issuer: lab.workloads.url.clone(), subject: CLIENT.to_owned() };
    let mail = Agent { identities: vec![told], standing: lab.bench.house.broker.agent(&agent("desk-agent")).unwrap().standing.clone(), ..(*known).clone() };
    lab.bench.house.broker.put_agent(mail, &ana()).await.unwrap();
    next_second(&lab.bench).await;
    let now = lab.bench.now().s();
    let token = lab.workload_key.sign(&json!({ "iss": lab.workloads.url, "sub": CLIENT, "aud": ISSUER, "iat": now, "exp": now + 60 }));
    let answer = lab.bench.send(lab.for_(ANA).set("client_assertion", &token)).await;
    assert_eq!(answer.refusal(), ("invalid_grant".to_owned(), "client_id_differs".to_owned()));
}

#[tokio::test]
async fn a_client_that_connects_with_its_svid_needs_no_assertion_of_its_own() {
    let lab = Lab::new().await;
    let svid = svid_of(&lab.bench, "desk-agent", 3600);
    let ask = |client_id: &str| {
        let ask = lab.but("client_id", json!(client_id)).no_header("dpop").set("client_id", DESK);
        ask.without("client_assertion").without("client_assertion_type")
    };
    let answer = lab.bench.answer(over(&svid, ask(DESK))).await;
    assert_eq!(code(&answer), "granted", "{}", answer.text);
    let claims = answer.claims();
    assert_eq!(claims["sub"], "user:ana");
    assert_eq!(claims["cnf"], json!({ "x5t#S256": svid.certificate.to_string() }));
    let other = lab.bench.answer(over(&svid, ask(CLIENT))).await;
    assert_eq!(code(&other), "client_id_differs");
}

#[tokio::test]
async fn policy_decides_for_whom_an_agent_may_open_a_task() {
    let lab = Lab::new().await;
    let text = r#"
@id("operate") permit(principal is Carnet::User, action, resource);
@id("agents-stand") permit(principal is Carnet::Agent, action == Carnet::Action::"task.open", resource is Carnet::Operation);
@id("agents-call") permit(principal is Carnet::Agent, action in Carnet::Action::"call", resource is Carnet::Operation);
"#;
    let forbid = r#"
@id("not-for-ana") forbid(principal is Carnet::Agent, action == Carnet::Action::"task.open", resource is Carnet::Operation)
when { context.task has subject_user && context.task.subject_user == Carnet::User::"ana" };
"#;
    let files = [("permit/all.cedar", text), ("forbid/ana.cedar", forbid)];
    let files = files.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
    let source = PolicySource::from_files(files).unwrap();
    lab.bench.house.broker.activate_policy(&source, &ana()).await.unwrap();
    let answer = lab.bench.send(lab.for_(ANA)).await;
    assert_eq!(answer.refusal(), ("unauthorized_client".to_owned(), "policy_forbids".to_owned()));
    assert_eq!(code(&lab.bench.send(lab.for_(BOB)).await), "granted");
    let view = lab.bench.house.broker.view();
    let of_ana = view.snapshot.tasks.values().filter(|it| it.task.subject == Principal::User(ana()));
    assert_eq!(of_ana.count(), 0);
}
