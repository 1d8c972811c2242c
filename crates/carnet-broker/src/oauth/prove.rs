//! Who asks, and with which key: the two proofs of a token request.

use std::sync::PoisonError;

use axum::http::HeaderMap;
use carnet_core::{AgentName, Reason, Timestamp};
use carnet_identity::{DpopProof, ExpectedDpop, ReplayError, SpiffeId, verify_dpop};

use crate::oauth::assertion::{AssertionError, Once};
use crate::oauth::exchange::TOKEN_EXCHANGE;
use crate::oauth::form::Form;
use crate::oauth::refusal::{Kind, Refusal};
use crate::oauth::surface::Surface;

pub(crate) const CLIENT_CREDENTIALS: &str = "client_credentials";
pub(crate) const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const JWT_SPIFFE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";
const ASSERTION_TYPES: [&str; 2] =
    [JWT_SPIFFE, "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"];
/// The header a proof travels in.
const DPOP: &str = "dpop";

/// An assertion as sent: a credential, never shown.
pub(crate) struct Credential<'a> {
    pub(crate) assertion: &'a str,
    /// Whether it can only be an SVID, by what its sender calls it.
    pub(crate) is_svid: bool,
    /// The error that says it is not accepted: the assertion authenticates, or is the grant.
    pub(crate) refused: Kind,
}

/// An agent that proved who it is.
pub(crate) struct Caller {
    pub(crate) agent: AgentName,
    /// By what name it proved that.
    pub(crate) id: String,
    /// What it proved that with is remembered, unless the connection itself did.
    pub(crate) once: Option<Once>,
}

impl Caller {
    /// A caller the connection proved: nothing is to be remembered.
    pub(crate) const fn of_connection(agent: AgentName, id: String) -> Self {
        Self { agent, id, once: None }
    }
}

impl<'a> Credential<'a> {
    /// The one credential in `form`.
    pub(crate) fn read(form: &'a Form) -> Result<Self, Refusal> {
        match form.get("grant_type") {
            Some(CLIENT_CREDENTIALS) => Self::of_client(form),
            Some(JWT_BEARER) => Self::of_grant(form),
            Some(TOKEN_EXCHANGE) => Self::of_client(form),
            Some(_) => Err(Refusal::new(
                Kind::UnsupportedGrantType,
                "grant_type_unknown",
                "use client_credentials with a client assertion, the JWT bearer grant or token exchange",
            )),
            None => Err(missing("grant_type_missing", "grant_type is missing")),
        }
    }

    /// The assertion the client authenticates with.
    pub(crate) fn of_client(form: &'a Form) -> Result<Self, Refusal> {
        refuse_secret(form)?;
        if form.get("assertion").is_some() {
            return Err(two());
        }
        match (form.get("client_assertion_type"), form.get("client_assertion")) {
            (Some(kind), Some(assertion)) if ASSERTION_TYPES.contains(&kind) => {
                let is_svid = kind == JWT_SPIFFE;
                Ok(Self { assertion, is_svid, refused: Kind::InvalidClient })
            }
            (Some(_), Some(_)) => {
                Err(unauthenticated("assertion_type_unknown", "use jwt-spiffe or jwt-bearer"))
            }
            _ => Err(unauthenticated(
                "assertion_missing",
                "send client_assertion_type and a JWT-SVID in client_assertion",
            )),
        }
    }

    /// An SVID that says who acts, beside the one the client authenticates with.
    pub(crate) fn of_actor(assertion: &'a str) -> Self {
        Self { assertion, is_svid: true, refused: Kind::InvalidRequest }
    }

    fn of_grant(form: &'a Form) -> Result<Self, Refusal> {
        refuse_secret(form)?;
        if form.get("client_assertion").is_some() || form.get("client_assertion_type").is_some() {
            return Err(two());
        }
        let assertion = form.get("assertion");
        let assertion = assertion.ok_or(missing("assertion_missing", "assertion is missing"))?;
        Ok(Self { assertion, is_svid: false, refused: Kind::InvalidGrant })
    }
}

pub(crate) fn refuse_secret(form: &Form) -> Result<(), Refusal> {
    let advice = "no client has a secret here; send an SVID";
    match form.get("client_secret") {
        Some(_) => Err(unauthenticated("client_secret", advice)),
        None => Ok(()),
    }
}

impl Surface {
    /// Verifies the assertion and that its agent may ask at all.
    pub(crate) fn authenticate(
        &self,
        credential: &Credential<'_>,
        client_id: Option<&str>,
        now: Timestamp,
    ) -> Result<Caller, Refusal> {
        let proven = self.identify(credential, now)?;
        // What an assertion from before the start was used for is forgotten, so it is not taken again.
        if proven.issued.is_none_or(|issued| issued.s() < self.started.s()) {
            let advice = "the assertion is older than this node's start; fetch another";
            return Err(Refusal::new(credential.refused, "assertion_before_start", advice));
        }
        let agent = self.agent_of(&proven.who, credential.refused)?;
        let own = SpiffeId::agent(self.broker.trust_domain(), &agent);
        if client_id.is_some_and(|id| id != proven.id && id != own.as_str()) {
            let advice = "client_id is not what the assertion proves; leave it out, or send that";
            return Err(Refusal::new(credential.refused, "client_id_differs", advice));
        }
        self.check_agent(&agent, credential.refused)?;
        if !proven.issued.is_some_and(|issued| self.broker.is_attested_since(&agent, issued)) {
            let advice = "the agent's registration changed since; fetch another SVID";
            return Err(Refusal::new(credential.refused, "assertion_before_change", advice));
        }
        Ok(Caller { agent, id: proven.id, once: Some(proven.once) })
    }

    pub(crate) fn check_agent(&self, agent: &AgentName, refused: Kind) -> Result<(), Refusal> {
        if self.broker.agent(agent).is_none() {
            return Err(Refusal::for_reason(refused, Reason::AgentUnknown));
        }
        match self.broker.is_agent_locked(agent) {
            true => Err(Refusal::for_reason(Kind::UnauthorizedClient, Reason::Locked)),
            false => Ok(()),
        }
    }

    /// Verifies the proof for a request to `url`, where there is one.
    pub(crate) fn prove(
        &self,
        headers: &HeaderMap,
        url: &str,
        now: Timestamp,
    ) -> Result<Option<DpopProof>, Refusal> {
        let mut sent = headers.get_all(DPOP).iter();
        let proof = match (sent.next(), sent.next()) {
            (None, _) => return Ok(None),
            (Some(proof), None) => proof.to_str().unwrap_or_default(),
            (Some(_), Some(_)) => {
                let advice = "send exactly one DPoP header";
                return Err(Refusal::new(Kind::InvalidProof, "proof_twice", advice));
            }
        };
        let expected = ExpectedDpop { method: "POST", url, access_token: None, nonce: None };
        let proof = verify_dpop(proof, &expected, now).map_err(Refusal::of_proof)?;
        if proof.iat.s() < self.started.s() {
            let advice = "the proof is older than this node's start; make another";
            return Err(Refusal::new(Kind::InvalidProof, "proof_before_start", advice));
        }
        self.check_nonce(&proof, now)?;
        Ok(Some(proof))
    }

    fn check_nonce(&self, proof: &DpopProof, now: Timestamp) -> Result<(), Refusal> {
        let Some(nonces) = &self.nonces else {
            return Ok(());
        };
        match &proof.nonce {
            Some(nonce) if nonces.is_good(nonce, now) => Ok(()),
            _ => Err(Refusal::new(
                Kind::NonceNeeded,
                "proof_nonce",
                "make another proof with the nonce in the DPoP-Nonce header of this answer",
            )),
        }
    }

    /// Remembers both proofs, so that neither is good for anybody else. Called last before the
    /// broker is asked: a request refused for its form does not use up its assertion. The assertion
    /// comes first: who holds one that is not theirs fills no store of proofs with fresh keys.
    pub(crate) fn spend(
        &self,
        caller: &Caller,
        refused: Kind,
        proof: Option<&DpopProof>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let key = proof.map(|proof| &proof.thumbprint);
        if let Some(once) = caller.once {
            let mut assertions = self.assertions.lock().unwrap_or_else(PoisonError::into_inner);
            let admitted = assertions.admit(once, &caller.agent, key, now);
            admitted.map_err(|error| of_use(error, refused))?;
        }
        let Some(proof) = proof else { return Ok(()) };
        let mut proofs = self.proofs.lock().unwrap_or_else(PoisonError::into_inner);
        proofs.admit(&proof.thumbprint, &proof.jti, now).map_err(of_replay)
    }
}

pub(crate) fn of_use(error: AssertionError, refused: Kind) -> Refusal {
    match error {
        AssertionError::Used => {
            let advice = "the SVID was used with another key, or without one; fetch another";
            Refusal::new(refused, "assertion_used", advice)
        }
        AssertionError::Full => {
            let advice = "too many SVIDs are in use; come again later, and use each for longer";
            Refusal::new(Kind::Unavailable, "assertions_full", advice)
        }
    }
}

fn of_replay(error: ReplayError) -> Refusal {
    match error {
        ReplayError::Replayed => {
            let advice = "the proof was used before; make a fresh one for each request";
            Refusal::new(Kind::InvalidProof, error.code(), advice)
        }
        _ => Refusal::new(Kind::Unavailable, error.code(), "too many proofs; come again later"),
    }
}

const fn unauthenticated(code: &'static str, advice: &'static str) -> Refusal {
    Refusal::new(Kind::InvalidClient, code, advice)
}

const fn missing(code: &'static str, advice: &'static str) -> Refusal {
    Refusal::new(Kind::InvalidRequest, code, advice)
}

const fn two() -> Refusal {
    missing("two_credentials", "send one credential: client_assertion, or assertion as the grant")
}
