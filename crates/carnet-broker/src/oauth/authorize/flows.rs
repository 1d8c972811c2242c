//! What waits for a person: authorizations begun and not yet answered. In memory only.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use carnet_core::{Digest, Principal, Timestamp, UserName};

use super::browser::Browser;
use super::request::{Asked, Stop};
use crate::oauth::refusal::{Kind, Refusal};

/// How long an authorization waits for its person, in seconds.
pub(crate) const FLOW_S: i64 = 600;
/// How long a login code can be confirmed, in seconds.
const CODE_S: i64 = 300;
/// The most authorizations that wait at once, and the most of them of one agent.
const FLOWS_MAX: usize = 1024;
const FLOWS_OF_AGENT_MAX: usize = 128;
/// The most wrong codes of one person within a minute.
const MISSES_MAX: u32 = 10;
const MISSES_S: i64 = 60;
/// What a code is written in: nothing that looks like something else. 32 letters are 5 bits each.
const LETTERS: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
const LETTERS_OF_CODE: usize = 10;

/// Authorizations that wait.
#[derive(Default)]
pub(crate) struct Flows {
    flows: HashMap<String, Flow>,
    misses: BTreeMap<UserName, (Timestamp, u32)>,
}

/// An authorization that waits.
#[derive(Clone)]
pub(crate) struct Flow {
    pub(crate) asked: Arc<Asked>,
    /// What the person's own form holds and no other page knows.
    pub(crate) csrf: String,
    /// What the person confirms; empty once it was.
    pub(crate) code: String,
    /// Who it is, once they said so.
    pub(crate) person: Option<UserName>,
    /// With what the browser was sent to the identity provider, until it comes back.
    sent: Option<Sent>,
    browser: Digest,
    begun: Timestamp,
}

/// What ties the answer of an identity provider to the browser that was sent there.
#[derive(Clone)]
pub(crate) struct Sent {
    pub(crate) state: String,
    pub(crate) nonce: String,
    pub(crate) verifier: String,
}

/// The unguessable parts of an authorization.
pub(crate) struct Secrets {
    pub(crate) id: String,
    pub(crate) browser: String,
    csrf: String,
    code: String,
}

/// Why a login code is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CodeError {
    /// There is no such code, or it is too late.
    Unknown,
    /// This person has tried too many.
    TooMany,
}

impl Secrets {
    /// Fresh ones, or none where there is no randomness.
    pub(crate) fn generate() -> Option<Self> {
        let code: [u8; LETTERS_OF_CODE] = random()?;
        let letter = |byte: &u8| LETTERS.get(usize::from(byte % 32)).copied().map(char::from);
        let code: String = code.iter().filter_map(letter).collect();
        Some(Self { id: id()?, browser: secret()?, csrf: secret()?, code })
    }
}

impl Sent {
    /// A fresh one, or none where there is no randomness.
    pub(crate) fn generate() -> Option<Self> {
        Some(Self { state: secret()?, nonce: secret()?, verifier: secret()? })
    }
}

/// 256 bits nobody can guess, as text.
pub(crate) fn secret() -> Option<String> {
    random::<32>().map(|bytes| URL_SAFE_NO_PAD.encode(bytes))
}

/// A name that is no secret, of letters that a cookie's name may have.
fn id() -> Option<String> {
    random::<12>().map(|bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).ok().map(|()| bytes)
}

impl Flows {
    /// Begins to wait for a person. When there is no room it refuses, and forgets nobody.
    pub(crate) fn begin(
        &mut self,
        asked: Asked,
        secrets: Secrets,
        now: Timestamp,
    ) -> Result<(), Stop> {
        self.flows.retain(|_, flow| flow.waits(now));
        let agent = &asked.client.agent;
        let alike = self.flows.values().filter(|flow| flow.asked.client.agent == *agent).count();
        if self.flows.len() >= FLOWS_MAX || alike >= FLOWS_OF_AGENT_MAX {
            let advice = "too many authorizations wait for their person; come again later";
            let refusal = Refusal::new(Kind::Unavailable, "authorizations_full", advice);
            return Err(asked.stop(refusal));
        }
        let Secrets { id, browser, csrf, code } = secrets;
        let (browser, asked) = (Digest::of(browser.as_bytes()), Arc::new(asked));
        let flow = Flow { asked, csrf, code, person: None, sent: None, browser, begun: now };
        self.flows.insert(id, flow);
        Ok(())
    }

    /// Forgets what waits for a person or for an agent's client.
    pub(crate) fn forget(&mut self, of: &Principal) {
        self.flows.retain(|_, flow| match of {
            Principal::Agent(agent) => flow.asked.client.agent != *agent,
            Principal::User(user) => flow.person.as_ref() != Some(user),
        });
    }

    /// The authorization `id`, where it is this browser's.
    pub(crate) fn of_browser(&self, id: &str, browser: &Browser, now: Timestamp) -> Option<Flow> {
        self.flows.get(id).filter(|flow| flow.waits(now) && flow.is_of(browser)).cloned()
    }

    /// Takes the authorization `id` away to be answered: once, by the browser and the form that are
    /// its own, and by a person who is known.
    pub(crate) fn take(
        &mut self,
        id: &str,
        browser: &Browser,
        csrf: &str,
        now: Timestamp,
    ) -> Option<(Flow, UserName)> {
        let flow = self.of_browser(id, browser, now)?;
        let person = flow.person.clone()?;
        if verify_slices_are_equal(flow.csrf.as_bytes(), csrf.as_bytes()).is_err() {
            return None;
        }
        self.flows.remove(id).map(|flow| (flow, person))
    }

    /// The browser of the authorization `id` is sent to the identity provider, where nobody has said yet
    /// who is at it. What it was sent with before counts no more.
    pub(crate) fn send(
        &mut self,
        id: &str,
        browser: &Browser,
        sent: Sent,
        now: Timestamp,
    ) -> Option<()> {
        let flow = self.unknown(id, browser, now)?;
        flow.sent = Some(sent);
        Some(())
    }

    /// What the browser of the authorization `id` was sent with, where it comes back with `state`. Good once.
    pub(crate) fn returned(
        &mut self,
        id: &str,
        browser: &Browser,
        state: &str,
        now: Timestamp,
    ) -> Option<Sent> {
        let flow = self.unknown(id, browser, now)?;
        let sent = flow.sent.as_ref()?;
        verify_slices_are_equal(sent.state.as_bytes(), state.as_bytes()).ok()?;
        flow.sent.take()
    }

    /// The identity provider says that `person` is at the browser of the authorization `id`.
    pub(crate) fn log_in(
        &mut self,
        id: &str,
        browser: &Browser,
        person: UserName,
        now: Timestamp,
    ) -> Option<()> {
        let flow = self.unknown(id, browser, now)?;
        (flow.person, flow.code) = (Some(person), String::new());
        Some(())
    }

    /// The authorization `id` of this browser, where nobody has said yet who is at it.
    fn unknown(&mut self, id: &str, browser: &Browser, now: Timestamp) -> Option<&mut Flow> {
        let is_it =
            |flow: &&mut Flow| flow.waits(now) && flow.is_of(browser) && flow.person.is_none();
        self.flows.get_mut(id).filter(is_it)
    }

    /// What the code `code` is for, before `by` confirms it.
    pub(crate) fn look(
        &mut self,
        code: &str,
        by: &UserName,
        now: Timestamp,
    ) -> Result<Arc<Asked>, CodeError> {
        let id = self.of_code(code, by, now)?;
        self.flows.get(&id).map(|flow| Arc::clone(&flow.asked)).ok_or(CodeError::Unknown)
    }

    /// `by` says that they are at the browser that shows `code`. Good once.
    pub(crate) fn confirm(
        &mut self,
        code: &str,
        by: &UserName,
        now: Timestamp,
    ) -> Result<Arc<Asked>, CodeError> {
        let id = self.of_code(code, by, now)?;
        let flow = self.flows.get_mut(&id).ok_or(CodeError::Unknown)?;
        (flow.person, flow.code) = (Some(by.clone()), String::new());
        Ok(Arc::clone(&flow.asked))
    }

    fn of_code(&mut self, code: &str, by: &UserName, now: Timestamp) -> Result<String, CodeError> {
        self.misses.retain(|_, (since, _)| now < since.plus_s(MISSES_S));
        if self.misses.get(by).is_some_and(|(_, misses)| *misses >= MISSES_MAX) {
            return Err(CodeError::TooMany);
        }
        let code: String = code.chars().filter(|c| *c != '-').collect();
        let code = code.to_ascii_uppercase();
        let is_it = |flow: &Flow| {
            flow.person.is_none()
                && now < flow.begun.plus_s(CODE_S)
                && verify_slices_are_equal(flow.code.as_bytes(), code.as_bytes()).is_ok()
        };
        let found = self.flows.iter().find(|(_, flow)| is_it(flow)).map(|(id, _)| id.clone());
        if found.is_none() {
            self.misses.entry(by.clone()).or_insert((now, 0)).1 += 1;
        }
        found.ok_or(CodeError::Unknown)
    }
}

impl Flow {
    fn waits(&self, now: Timestamp) -> bool {
        now < self.begun.plus_s(FLOW_S)
    }

    fn is_of(&self, browser: &Browser) -> bool {
        verify_slices_are_equal(self.browser.as_bytes(), browser.0.as_bytes()).is_ok()
    }
}

/// A login code as it is shown.
pub(crate) fn shown(code: &str) -> String {
    match code.split_at_checked(LETTERS_OF_CODE / 2) {
        Some((first, second)) => format!("{first}-{second}"),
        None => code.to_owned(),
    }
}
