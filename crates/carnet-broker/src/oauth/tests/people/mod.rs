//! A person at a browser, and their client.

mod codes;
mod documents;
mod provider;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use carnet_core::{Agent, Digest, Identity, LockTarget, Principal, UserName};
use serde_json::{Value, json};

use super::{Answer, Ask, Bench, READ, WRITE, encode};
use crate::broker::lock;
use crate::oauth::authorize::flows::CodeError;
use crate::oauth::fixture::{ISSUER, agent, ana, intent};
use crate::work::OpenTask;

const CLIENT: &str = "desk-editor";
const REDIRECT: &str = "https://app.example/cb";
const VERIFIER: &str = "a-verifier-of-at-least-forty-three-characters";

/// A bench with an agent whose client is a person's.
async fn people(keys: Option<Value>) -> Bench {
    let bench = Bench::new().await;
    let redirect_uris = vec![REDIRECT.to_owned(), "http://127.0.0.1/cb".to_owned()];
    let client = Identity::Client { id: CLIENT.to_owned(), keys, redirect_uris };
    register(&bench, "editor", client).await;
    bench
}

async fn register(bench: &Bench, name: &str, identity: Identity) {
    let agent = Agent {
        name: agent(name),
        owner: "user:ana".parse().unwrap(),
        environment: "production".to_owned(),
        selectors: None,
        identities: vec![identity],
        bearer_read: true,
        standing: Some(intent("reading <tickets>", &[("read", "read_ticket")])),
    };
    bench.house.broker.put_agent(agent, &ana()).await.unwrap();
}

fn challenge() -> String {
    URL_SAFE_NO_PAD.encode(Digest::of(VERIFIER.as_bytes()).as_bytes())
}

type Parameters = Vec<(String, String)>;

fn request() -> Parameters {
    let challenge = challenge();
    [
        ("response_type", "code"),
        ("client_id", CLIENT),
        ("redirect_uri", REDIRECT),
        ("state", "the client's own & <word>"),
        ("code_challenge", challenge.as_str()),
        ("code_challenge_method", "S256"),
        ("resource", READ),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

fn set(mut parameters: Parameters, name: &str, value: &str) -> Parameters {
    parameters.retain(|(known, _)| known != name);
    if !value.is_empty() {
        parameters.push((name.to_owned(), value.to_owned()));
    }
    parameters
}

/// An authorization as a browser has it.
struct Visit {
    place: String,
    cookie: String,
}

async fn ask(bench: &Bench, parameters: &Parameters) -> Answer {
    bench.get(&format!("/oauth/authorize?{}", encode(parameters))).await
}

async fn visit(bench: &Bench, parameters: &Parameters) -> Visit {
    let answer = ask(bench, parameters).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
    let cookie = answer.header("set-cookie").unwrap();
    for needed in ["__Host-", "; Secure", "; HttpOnly", "; SameSite=Lax", "; Path=/"] {
        assert!(cookie.contains(needed), "{cookie}");
    }
    let cookie = cookie.split(';').next().unwrap().to_owned();
    Visit { place: answer.header("location").unwrap().to_owned(), cookie }
}

impl Visit {
    async fn look(&self, bench: &Bench) -> Answer {
        let request = Request::get(&self.place).header("host", "carnet.example");
        bench.answer(request.header("cookie", &self.cookie).body(Body::empty()).unwrap()).await
    }

    async fn code(&self, bench: &Bench) -> String {
        between(&self.look(bench).await.text, "carnet login ", "</code>")
    }

    /// The person says on the machine who they are.
    async fn log_in(&self, bench: &Bench) -> Answer {
        let code = self.code(bench).await;
        confirm(bench, &code, &ana()).unwrap();
        self.look(bench).await
    }

    /// The form of the page `page`, answered.
    fn form(&self, page: &Answer, answer: &str) -> Ask {
        let id = self.place.rsplit('/').next().unwrap();
        Ask {
            method: "POST",
            uri: format!("/oauth/consent/{id}"),
            headers: vec![
                ("host", "carnet.example".to_owned()),
                ("content-type", "application/x-www-form-urlencoded".to_owned()),
                ("origin", ISSUER.to_owned()),
                ("cookie", self.cookie.clone()),
            ],
            form: Vec::new(),
        }
        .set("csrf", &between(&page.text, "name=\"csrf\" value=\"", "\""))
        .set("shown", &between(&page.text, "name=\"shown\" value=\"", "\""))
        .set("answer", answer)
    }

    async fn agree(&self, bench: &Bench) -> String {
        let page = self.log_in(bench).await;
        let answer = bench.send(self.form(&page, "yes")).await;
        sent_back(&answer, "code")
    }
}

fn confirm(bench: &Bench, code: &str, by: &UserName) -> Result<(), CodeError> {
    lock(&bench.house.broker.flows).confirm(code, by, bench.now()).map(|_| ())
}

fn between(text: &str, before: &str, after: &str) -> String {
    let found = text.split_once(before).and_then(|(_, rest)| rest.split_once(after));
    found.unwrap_or_else(|| panic!("no {before} in {text}")).0.to_owned()
}

/// The parameter `name` of an answer that goes back to the client.
fn sent_back(answer: &Answer, name: &str) -> String {
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
    let location = answer.header("location").unwrap();
    let query =
        location.strip_prefix("https://app.example/cb?").unwrap_or_else(|| panic!("{location}"));
    assert!(query.contains("&state=the%20client%27s%20own%20%26%20%3Cword%3E"), "{query}");
    assert!(query.ends_with("&iss=https%3A%2F%2Fcarnet.example"), "{query}");
    let found = query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")));
    found.unwrap_or_else(|| panic!("{location}")).to_owned()
}

/// The client's request for its token.
fn redeem(bench: &Bench, code: &str) -> Ask {
    let ask = Ask::new("").without("client_assertion").without("client_assertion_type");
    ask.set("grant_type", "authorization_code")
        .set("code", code)
        .set("code_verifier", VERIFIER)
        .set("redirect_uri", REDIRECT)
        .set("client_id", CLIENT)
        .set("resource", READ)
        .header("dpop", &bench.proof())
}

async fn refused_at_the_token(bench: &Bench, ask: Ask) {
    let answer = bench.send(ask).await;
    let told = ("invalid_grant".to_owned(), "code_refused".to_owned());
    assert_eq!((answer.status, answer.refusal()), (StatusCode::BAD_REQUEST, told));
}

#[tokio::test]
async fn a_person_lets_their_client_act_for_them_within_one_task() {
    let bench = people(None).await;
    let visit = visit(&bench, &request()).await;
    let page = visit.look(&bench).await;
    assert!(page.text.contains("http-equiv=\"refresh\""), "{}", page.text);
    let code = visit.agree(&bench).await;

    let answer = bench.send(redeem(&bench, &code)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let (body, claims) = (answer.json(), answer.claims());
    assert_eq!((&body["token_type"], &body["expires_in"]), (&json!("DPoP"), &json!(300)));
    assert_eq!(body.get("refresh_token"), None);
    assert_eq!(claims["sub"], "user:ana");
    assert_eq!(claims["act"]["sub"], "spiffe://carnet.example/agent/editor");
    assert_eq!(claims["aud"], READ);
    let view = bench.house.broker.view();
    let task = claims["carnet_task"].as_str().unwrap().parse().unwrap();
    let task = &view.snapshot.task(&task).unwrap().task;
    let ana = Principal::User(ana());
    assert_eq!((&task.subject, &task.opened_by, task.standing), (&ana, &ana, false));
    assert_eq!(visit.look(&bench).await.status, StatusCode::NOT_FOUND, "it is answered once");
}

#[tokio::test]
async fn a_request_without_a_strong_challenge_is_refused_to_its_client() {
    let bench = people(None).await;
    for (name, value) in [
        ("code_challenge", ""),
        ("code_challenge", "short"),
        ("code_challenge_method", ""),
        ("code_challenge_method", "plain"),
        ("code_challenge_method", "s256"),
        ("response_mode", "fragment"),
        ("request", "eyJ"),
        ("request_uri", "https://app.example/r"),
        ("dpop_jkt", "x"),
    ] {
        let answer = ask(&bench, &set(request(), name, value)).await;
        assert_eq!(sent_back(&answer, "error"), "invalid_request", "{name}={value}");
    }
    for kind in ["token", "id_token", "code token", ""] {
        let answer = ask(&bench, &set(request(), "response_type", kind)).await;
        assert_eq!(sent_back(&answer, "error"), "unsupported_response_type", "{kind}");
    }
    for resource in ["", "https://evil.example/read/mcp/desk"] {
        let answer = ask(&bench, &set(request(), "resource", resource)).await;
        assert_eq!(sent_back(&answer, "error"), "invalid_target");
    }
    let two = [request(), vec![("resource".to_owned(), WRITE.to_owned())]].concat();
    assert_eq!(sent_back(&ask(&bench, &two).await, "error"), "invalid_target");
}

#[tokio::test]
async fn nothing_is_sent_to_an_address_that_is_not_known_to_be_the_clients() {
    let bench = people(None).await;
    for (name, value) in [
        ("client_id", "unknown"),
        ("client_id", "https://evil.example/client.json"),
        ("client_id", ""),
        ("redirect_uri", "https://evil.example/cb"),
        ("redirect_uri", "https://app.example/cb?x=1"),
        ("redirect_uri", "javascript:alert(1)"),
        ("redirect_uri", "//evil.example"),
        ("redirect_uri", ""),
    ] {
        let answer = ask(&bench, &set(request(), name, value)).await;
        assert!(answer.status.is_client_error(), "{name}={value}: {}", answer.status);
        assert_eq!(answer.header("location"), None, "{name}={value}");
        assert!(!answer.text.contains("evil.example"), "{}", answer.text);
    }
    let twice = [request(), vec![("redirect_uri".to_owned(), REDIRECT.to_owned())]].concat();
    assert_eq!(ask(&bench, &twice).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn only_the_browser_that_began_and_its_own_form_go_on() {
    let bench = people(None).await;
    let mine = visit(&bench, &request()).await;
    let theirs = visit(&bench, &request()).await;
    let page = mine.log_in(&bench).await;

    // Another browser has its own secret, and none for this authorization.
    let id = |visit: &Visit| visit.place.rsplit('/').next().unwrap().to_owned();
    let value = theirs.cookie.split_once('=').unwrap().1;
    for cookie in [
        theirs.cookie.clone(),
        format!("__Host-carnet-{}={value}", id(&mine)),
        format!("{0}; {0}", mine.cookie),
        String::new(),
    ] {
        let stranger = Visit { place: mine.place.clone(), cookie: cookie.clone() };
        assert_eq!(stranger.look(&bench).await.status, StatusCode::NOT_FOUND, "{cookie}");
        let answer = bench.send(mine.form(&page, "yes").header("cookie", &cookie)).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{cookie}");
    }
    for (name, value, status) in [
        ("origin", "https://evil.example", StatusCode::FORBIDDEN),
        ("origin", "null", StatusCode::FORBIDDEN),
        ("origin", "https://carnet.example.evil.example", StatusCode::FORBIDDEN),
        ("host", "evil.example", StatusCode::MISDIRECTED_REQUEST),
    ] {
        let answer = bench.send(mine.form(&page, "yes").header(name, value)).await;
        assert_eq!(answer.status, status, "{name}: {value}");
    }
    let answer = bench.send(mine.form(&page, "yes").no_header("origin")).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    for (name, value) in [("csrf", "guessed"), ("csrf", ""), ("answer", "maybe")] {
        let answer = bench.send(mine.form(&page, "yes").set(name, value)).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{name}");
    }
    // What was agreed to is not what would be given: it is asked again.
    let answer = bench.send(mine.form(&page, "yes").set("shown", "sha256:00")).await;
    assert_eq!(answer.header("location"), Some(mine.place.as_str()));
    let answer = bench.send(mine.form(&page, "yes")).await;
    assert_eq!(sent_back(&answer, "code").len(), 43);
    let answer = bench.send(mine.form(&page, "yes")).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "it is answered once");
}

#[tokio::test]
async fn a_person_who_says_no_gives_nothing() {
    let bench = people(None).await;
    let visit = visit(&bench, &request()).await;
    let page = visit.log_in(&bench).await;
    let before = bench.house.broker.view().snapshot.tasks.len();
    let answer = bench.send(visit.form(&page, "no")).await;
    assert_eq!(sent_back(&answer, "error"), "access_denied");
    assert_eq!(bench.house.broker.view().snapshot.tasks.len(), before);
}

#[tokio::test]
async fn nobody_answers_before_they_said_who_they_are_and_nobody_locked_at_all() {
    let bench = people(None).await;
    let (early, late) = (visit(&bench, &request()).await, visit(&bench, &request()).await);
    let page = late.log_in(&bench).await;
    let answer = bench.send(early.form(&page, "yes")).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    let code = late.agree_with(&bench, &page).await;
    bench.house.lock(LockTarget::User(ana())).await;
    refused_at_the_token(&bench, redeem(&bench, &code)).await;
    let answer = early.log_in(&bench).await;
    assert_eq!(sent_back(&answer, "error"), "access_denied");
}

impl Visit {
    async fn agree_with(&self, bench: &Bench, page: &Answer) -> String {
        sent_back(&bench.send(self.form(page, "yes")).await, "code")
    }
}

#[tokio::test]
async fn a_login_code_is_good_once_and_guessed_in_vain() {
    let bench = people(None).await;
    let (first, second) = (visit(&bench, &request()).await, visit(&bench, &request()).await);
    let code = first.code(&bench).await;
    assert_eq!(code.len(), 11, "50 bits and a dash");
    confirm(&bench, &code.to_lowercase().replace('-', ""), &ana()).unwrap();
    assert_eq!(confirm(&bench, &code, &ana()), Err(CodeError::Unknown));
    assert_eq!(confirm(&bench, "", &ana()), Err(CodeError::Unknown));
    let code = second.code(&bench).await;
    for _ in 0..8 {
        assert_eq!(confirm(&bench, "AAAAA-AAAAA", &ana()), Err(CodeError::Unknown));
    }
    assert_eq!(confirm(&bench, &code, &ana()), Err(CodeError::TooMany));
    // Another person is not kept out by that.
    confirm(&bench, &code, &"ben".parse().unwrap()).unwrap();
}

#[tokio::test]
async fn a_login_code_dies_after_five_minutes() {
    let bench = people(None).await;
    let code = visit(&bench, &request()).await.code(&bench).await;
    let at = |s| bench.now().plus_s(s);
    let mut flows = lock(&bench.house.broker.flows);
    assert!(flows.look(&code, &ana(), at(290)).is_ok());
    assert!(flows.look(&code, &ana(), at(301)).is_err());
}

#[tokio::test]
async fn a_named_task_is_the_persons_own_and_of_that_agent_or_none() {
    let bench = people(None).await;
    let theirs = bench.house.open_task("mail-agent").await;
    for task in [theirs.to_string(), "task_01a20a7031957442890c3571546c6eb5".to_owned()] {
        let asked = set(request(), "scope", &format!("task:{task}"));
        let answer = visit(&bench, &asked).await.log_in(&bench).await;
        assert_eq!(sent_back(&answer, "error"), "invalid_scope");
    }
    let opened = OpenTask {
        agent: agent("editor"),
        subject: Principal::User(ana()),
        opened_by: Principal::User(ana()),
        intent: intent("closing", &[("write", "close_ticket")]),
        standing: false,
    };
    let (task, _) = bench.house.broker.open_task(opened).await.unwrap();
    let asked = set(set(request(), "scope", &format!("task:{task}")), "resource", WRITE);
    let code = visit(&bench, &asked).await.agree(&bench).await;
    let unbound = redeem(&bench, &code).set("resource", WRITE).no_header("dpop");
    assert_eq!(bench.send(unbound).await.refusal().1, "proof_required");
    let code = visit(&bench, &asked).await.agree(&bench).await;
    let claims = bench.send(redeem(&bench, &code).set("resource", WRITE)).await.claims();
    assert_eq!(claims["carnet_task"], json!(task));
}

#[tokio::test]
async fn a_page_shows_what_is_asked_and_can_be_framed_or_scripted_by_nobody() {
    let bench = people(None).await;
    let page = visit(&bench, &request()).await.log_in(&bench).await;
    for shown in [
        "reading &#60;tickets&#62;",
        "desk.tool.read_ticket",
        "<strong>read</strong> path",
        "<strong>ana</strong>",
        "<strong>editor</strong>",
        "<code>app.example</code>",
    ] {
        assert!(page.text.contains(shown), "{shown} is not in {}", page.text);
    }
    let policy = page.header("content-security-policy").unwrap();
    for part in [
        "default-src 'none'",
        "form-action 'self' https://app.example;",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe") && !page.text.contains("<script"), "{policy}");
    assert_eq!(page.header("x-frame-options"), Some("DENY"));
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert_eq!(page.header("referrer-policy"), Some("same-origin"));

    let local = set(request(), "redirect_uri", "http://127.0.0.1:5123/cb");
    let page = visit(&bench, &local).await.log_in(&bench).await;
    assert!(page.text.contains("which one is not known"), "{}", page.text);
}

#[tokio::test]
async fn one_client_cannot_fill_what_waits_for_people() {
    let bench = people(None).await;
    let redirect_uris = vec![REDIRECT.to_owned()];
    let other = Identity::Client { id: "other".to_owned(), keys: None, redirect_uris };
    register(&bench, "other", other).await;
    let first = visit(&bench, &request()).await;
    for _ in 1..128 {
        visit(&bench, &request()).await;
    }
    let answer = ask(&bench, &request()).await;
    assert_eq!(sent_back(&answer, "error"), "temporarily_unavailable");
    visit(&bench, &set(request(), "client_id", "other")).await;
    assert_eq!(first.look(&bench).await.status, StatusCode::OK, "nobody is forgotten");
}

/// Registers another redirect URI in the place of the one that is asked with.
async fn withdraw(bench: &Bench) {
    let redirect_uris = vec!["https://other.example/cb".to_owned()];
    let client = Identity::Client { id: CLIENT.to_owned(), keys: None, redirect_uris };
    register(bench, "editor", client).await;
}

#[tokio::test]
async fn a_redirect_uri_that_was_withdrawn_gets_no_code_and_no_token() {
    let bench = people(None).await;
    let (early, late) = (visit(&bench, &request()).await, visit(&bench, &request()).await);
    let code = early.agree(&bench).await;
    let page = late.log_in(&bench).await;
    withdraw(&bench).await;
    let answer = bench.send(late.form(&page, "yes")).await;
    assert_eq!((answer.status, answer.header("location")), (StatusCode::NOT_FOUND, None));
    refused_at_the_token(&bench, redeem(&bench, &code)).await;
}

#[tokio::test]
async fn a_session_that_is_revoked_before_the_person_agreed_gives_nothing() {
    let bench = people(None).await;
    let visit = visit(&bench, &request()).await;
    let page = visit.log_in(&bench).await;
    let of = Principal::User(ana());
    let event = carnet_core::ContextEvent::SessionRevoked;
    let details = json!({});
    let change = crate::context::ContextChange { event, of, details, forgets_copies: false };
    bench.house.broker.change_context(&change, &Principal::User(ana())).await.unwrap();
    let answer = bench.send(visit.form(&page, "yes")).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}
