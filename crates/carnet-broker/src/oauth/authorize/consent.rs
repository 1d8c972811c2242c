//! A person's yes: the task it makes, and the code for a token of it.

use std::sync::Arc;

use axum::response::Response;
use carnet_core::{
    Agent, Allowance, Digest, Intent, LockTarget, Principal, Reason, TaskId, UserName,
};
use serde::Serialize;
use serde_json::{Value, json};

use super::browser::Browser;
use super::codes::{Given, Used};
use super::flows::{self, Flow};
use super::redirect::RedirectUri;
use super::request::{Asked, Stop};
use super::{no_randomness, page, see_other};
use crate::broker::lock;
use crate::oauth::form::Form;
use crate::oauth::refusal::{Kind, NamedIn, Refusal};
use crate::oauth::surface::Surface;
use crate::work::{DEADLINE_S_DEFAULT, OpenTask};

/// A person's answer.
pub(crate) struct Answer {
    csrf: String,
    /// The digest of what they were shown.
    shown: String,
    is_yes: bool,
}

/// What a person is asked to agree to. Its digest is recorded with their answer.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Proposal {
    pub(crate) agent: String,
    pub(crate) client: String,
    pub(crate) client_calls_itself: Option<String>,
    pub(crate) answers_go_to: String,
    pub(crate) person: UserName,
    pub(crate) resource: String,
    pub(crate) path: carnet_core::Path,
    /// The task, where there is one already.
    pub(crate) task: Option<TaskId>,
    pub(crate) purpose: String,
    pub(crate) allow: Vec<Allowance>,
    pub(crate) lasts_s: i64,
}

impl Answer {
    pub(crate) fn read(form: &Form) -> Option<Self> {
        let is_yes = match form.get("answer")? {
            "yes" => true,
            "no" => false,
            _ => return None,
        };
        let (csrf, shown) = (form.get("csrf")?.to_owned(), form.get("shown")?.to_owned());
        Some(Self { csrf, shown, is_yes })
    }
}

impl Proposal {
    pub(crate) fn digest(&self) -> String {
        Digest::of_json(self).map(|digest| digest.to_string()).unwrap_or_default()
    }
}

impl Surface {
    /// The page that asks the person of `flow`.
    pub(crate) fn ask(&self, id: &str, flow: &Flow) -> Response {
        let Some(person) = &flow.person else { return page::gone() };
        match self.proposal(&flow.asked, person) {
            Ok(proposal) => page::consent(id, flow, &proposal),
            Err(refusal) => self.stopped(&flow.asked.stop(refusal)),
        }
    }

    /// Does as the person says, once.
    pub(crate) async fn decide(
        &self,
        id: &str,
        browser: &Browser,
        answer: &Answer,
    ) -> Result<Response, Stop> {
        let now = self.broker.now().wall;
        let waiting = lock(&self.broker.flows).of_browser(id, browser, now);
        let Some(Flow { asked, person: Some(person), .. }) = waiting else {
            return Ok(page::gone());
        };
        let proposal = self.proposal(&asked, &person).map_err(|refusal| asked.stop(refusal))?;
        let digest = proposal.digest();
        // What is agreed to is what was read.
        if answer.is_yes && (digest.is_empty() || digest != answer.shown) {
            return Ok(see_other(&format!("/oauth/login/{id}")));
        }
        let taken = lock(&self.broker.flows).take(id, browser, &answer.csrf, now);
        let Some((Flow { asked, .. }, person)) = taken else { return Ok(page::gone()) };
        let by = Principal::User(person.clone());
        if !answer.is_yes {
            let details = json!({ "client": asked.client.id, "shown": digest });
            self.record_agent(&by, &asked, "consent_denied", &details).await;
            let refusal = Refusal::new(Kind::AccessDenied, "person_refused", "the person said no");
            return Err(asked.stop(refusal));
        }
        self.agree(&asked, person, &digest).await.map_err(|refusal| asked.stop(refusal))
    }

    async fn agree(
        &self,
        asked: &Arc<Asked>,
        person: UserName,
        shown: &str,
    ) -> Result<Response, Refusal> {
        if !lock(&self.people.codes).has_room(self.broker.now().wall) {
            let advice = "too many codes are out; come again later";
            return Err(Refusal::new(Kind::Unavailable, "codes_full", advice));
        }
        let code = flows::secret().ok_or_else(no_randomness)?;
        let task = self.task_for(asked, &person).await?;
        let by = Principal::User(person.clone());
        let details = json!({
            "client": asked.client.id, "redirect": asked.back.redirect.shown(),
            "resource": asked.wanted.resource, "path": asked.wanted.path, "shown": shown,
        });
        // Without its record there is no consent.
        self.try_record(&by, &task, "consented", &details).await.map_err(|error| {
            Refusal::of_broker(&error, Kind::UnauthorizedClient, NamedIn::Nothing)
        })?;
        tracing::info!(agent = %asked.client.agent, %person, %task, "a person agreed");
        lock(&self.people.codes).give(&code, self.given(asked, person, task));
        let address = asked.back.answer(&[("code", code.as_str())], self.issuer.as_str());
        Ok(see_other(&address))
    }

    fn given(&self, asked: &Arc<Asked>, person: UserName, task: TaskId) -> Given {
        Given {
            asked: Arc::clone(asked),
            client_id: asked.client.id.clone(),
            agent: asked.client.agent.clone(),
            keys: asked.client.keys.clone(),
            redirect_uri: asked.back.redirect.as_str().to_owned(),
            path: asked.wanted.path,
            resource: asked.wanted.resource.clone(),
            challenge: asked.challenge,
            dpop_jkt: asked.dpop_jkt,
            task,
            person,
            at: self.broker.now().wall,
            used: Used::Not,
        }
    }

    /// The task named, or one opened for the person from what the agent may always read.
    async fn task_for(&self, asked: &Asked, person: &UserName) -> Result<TaskId, Refusal> {
        if let Some(task) = &asked.wanted.task {
            return Ok(task.clone());
        }
        let intent = self.standing(asked)?;
        let request = OpenTask {
            agent: asked.client.agent.clone(),
            subject: Principal::User(person.clone()),
            opened_by: Principal::User(person.clone()),
            intent,
            // The agent's own standing task is on its own behalf; this one is the person's.
            standing: false,
        };
        let opened = self.broker.open_task(request).await;
        opened.map(|(task, _)| task).map_err(|error| {
            tracing::info!(agent = %asked.client.agent, %error, "a person's task is not opened");
            Refusal::of_broker(&error, Kind::UnauthorizedClient, NamedIn::Nothing)
        })
    }

    /// What `person` would agree to. A task that is not theirs is none.
    fn proposal(&self, asked: &Asked, person: &UserName) -> Result<Proposal, Refusal> {
        let (agent, wanted) = (self.agent_asked_for(asked)?, &asked.wanted);
        self.check_person(person)?;
        let proposal = Proposal {
            agent: agent.name.to_string(),
            client: asked.client.id.clone(),
            client_calls_itself: asked.client.name.clone(),
            answers_go_to: asked.back.redirect.as_str().to_owned(),
            person: person.clone(),
            resource: wanted.resource.to_string(),
            path: wanted.path,
            task: wanted.task.clone(),
            purpose: String::new(),
            allow: Vec::new(),
            lasts_s: 0,
        };
        match &wanted.task {
            Some(task) => self.of_task(proposal, task, person),
            None => {
                let intent = self.standing(asked)?;
                let lasts_s = i64::from(intent.deadline_s.unwrap_or(DEADLINE_S_DEFAULT));
                let purpose = intent.purpose.to_string();
                Ok(Proposal { purpose, allow: intent.allowances, lasts_s, ..proposal })
            }
        }
    }

    fn of_task(
        &self,
        proposal: Proposal,
        task: &TaskId,
        person: &UserName,
    ) -> Result<Proposal, Refusal> {
        let unknown = || Refusal::for_reason(Kind::InvalidScope, Reason::TaskUnknown);
        let (view, now) = (self.broker.view(), self.broker.now().wall);
        let held = view.snapshot.task(task).ok_or_else(unknown)?;
        let is_theirs = held.task.subject == Principal::User(person.clone())
            && held.task.agent.as_str() == proposal.agent;
        if !is_theirs || !held.task.is_live(now) {
            return Err(unknown());
        }
        Ok(Proposal {
            purpose: held.task.purpose.clone(),
            allow: held.grants.iter().map(|grant| grant.allowance.clone()).collect(),
            // The whole of it, so that a page read for a while still says the same.
            lasts_s: held.task.deadline.s() - held.task.opened_at.s(),
            ..proposal
        })
    }

    /// The agent whose client asks, as it is registered now: told by nothing else since, with the
    /// keys it asked with and the redirect URI among its own.
    pub(super) fn agent_asked_for(&self, asked: &Asked) -> Result<Arc<Agent>, Refusal> {
        let still = self.registered(&asked.client.id);
        let is_its = still.is_some_and(|(agent, keys, redirects)| {
            agent == asked.client.agent
                && keys == asked.client.registered.0
                && is_still_its(asked, &redirects)
        }) && self.broker.is_attested_since(&asked.client.agent, asked.at);
        let agent = self.broker.agent(&asked.client.agent).filter(|_| is_its);
        let agent = agent.ok_or(super::client::unknown())?;
        match self.broker.is_agent_locked(&agent.name) {
            true => Err(Refusal::for_reason(Kind::UnauthorizedClient, Reason::Locked)),
            false => Ok(agent),
        }
    }

    fn check_person(&self, person: &UserName) -> Result<(), Refusal> {
        let view = self.broker.view();
        let is_known = view.snapshot.users.contains_key(person);
        match is_known && !view.snapshot.is_locked(&LockTarget::User(person.clone())) {
            true => Ok(()),
            false => Err(Refusal::for_reason(Kind::AccessDenied, Reason::Locked)),
        }
    }

    fn standing(&self, asked: &Asked) -> Result<Intent, Refusal> {
        let standing = self.agent_asked_for(asked)?.standing.clone();
        standing.ok_or(Refusal::for_reason(Kind::InvalidScope, Reason::TaskUnknown))
    }

    /// Records what became of a person's task; that it could not be recorded is in the log.
    pub(crate) async fn record(&self, by: &Principal, task: &TaskId, what: &str, details: &Value) {
        if let Err(error) = self.try_record(by, task, what, details).await {
            tracing::error!(%error, %task, what, "it could not be recorded");
        }
    }

    async fn try_record(
        &self,
        by: &Principal,
        task: &TaskId,
        what: &str,
        details: &Value,
    ) -> Result<(), crate::error::BrokerError> {
        let recorded = self.broker.transact(by, |_, draft, _| {
            draft.widens();
            draft.record(carnet_ledger::Kind::Task, task.as_str(), what, false, details, None);
            Ok(())
        });
        recorded.await.map(|_| ())
    }

    async fn record_agent(&self, by: &Principal, asked: &Asked, what: &str, details: &Value) {
        let agent = asked.client.agent.as_str();
        let recorded = self.broker.transact(by, |_, draft, _| {
            draft.widens();
            draft.record(carnet_ledger::Kind::Agent, agent, what, false, details, None);
            Ok(())
        });
        if let Err(error) = recorded.await {
            tracing::error!(%error, agent, what, "it could not be recorded");
        }
    }
}

/// Whether the answer still goes to the client. Where a document names its redirect URIs, none is
/// registered, then and now.
fn is_still_its(asked: &Asked, redirects: &[String]) -> bool {
    let is_it = |text: &String| {
        RedirectUri::parse(text).is_some_and(|known| known.is_same(&asked.back.redirect))
    };
    let is_documented = asked.client.registered.1.is_empty() && redirects.is_empty();
    is_documented || redirects.iter().any(is_it)
}
