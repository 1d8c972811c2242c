//! A code for a token (RFC 6749 section 4.1.3): everything it was given for must be shown again.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::http::HeaderMap;
use carnet_core::{Closure, Digest, LockTarget, Principal, Timestamp};
use carnet_identity::{DpopProof, ExpectedForeign, ForeignKind, verify_foreign};
use serde_json::json;

use super::client;
use super::codes::{Given, Used};
use crate::broker::lock;
use crate::oauth::assertion::Once;
use crate::oauth::form::Form;
use crate::oauth::prove::Caller;
use crate::oauth::refusal::{Kind, NamedIn, Refusal};
use crate::oauth::surface::Surface;
use crate::oauth::wanted::Wanted;
use crate::work::{IssuedToken, TokenRequest};

/// The grant.
pub(crate) const GRANT_TYPE: &str = "authorization_code";
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// How long what a client shows with its code may be (RFC 7636 section 4.1).
const VERIFIER_BYTES: std::ops::RangeInclusive<usize> = 43..=128;

impl Surface {
    /// Takes a code and issues the token it was given for, deciding anew.
    pub(crate) async fn redeem_code(
        &self,
        headers: &HeaderMap,
        form: &Form,
    ) -> Result<IssuedToken, Refusal> {
        let now = self.broker.now().wall;
        let needed = |name| form.get(name).ok_or(missing());
        let (code, client_id) = (needed("code")?, needed("client_id")?);
        let shown = Shown { verifier: needed("code_verifier")?, redirect: needed("redirect_uri")? };
        let proof = self.prove(headers, &self.token_endpoint, now)?;
        let wanted = Wanted::read(form, &self.issuer)?;
        let given = lock(&self.people.codes).look(code, client_id).ok_or(refused())?;
        let once = self.authenticate_client(form, &given, now)?;
        let caller = Caller { agent: given.agent.clone(), id: client_id.to_owned(), once };
        self.spend(&caller, Kind::InvalidClient, proof.as_ref(), now)?;
        self.use_up(code, &given).await?;
        if given.is_late(now)
            || !given.is_shown(&shown)
            || !given.is_for(&wanted, proof.as_ref())
            || !self.still_stands(&given)
        {
            return Err(refused());
        }
        let issued = self.issue_for(&given, proof).await?;
        lock(&self.people.codes).gave(code);
        tracing::info!(agent = %given.agent, task = %given.task, person = %given.person, "a code gave a token");
        Ok(issued)
    }

    /// Who has keys proves to hold one; who has none has nothing to show (RFC 7523 section 2.2).
    fn authenticate_client(
        &self,
        form: &Form,
        given: &Given,
        now: Timestamp,
    ) -> Result<Option<Once>, Refusal> {
        let refused = |code, advice| Refusal::new(Kind::InvalidClient, code, advice);
        if form.get("client_secret").is_some() {
            return Err(refused("client_secret", "no client has a secret here"));
        }
        let sent = (form.get("client_assertion_type"), form.get("client_assertion"));
        let (keys, assertion) = match (&given.keys, sent) {
            (None, (None, None)) => return Ok(None),
            (None, _) => {
                return Err(refused("assertion_needless", "the client has no keys to sign with"));
            }
            (Some(keys), (Some(ASSERTION_TYPE), Some(assertion))) => (keys, assertion),
            (Some(_), _) => {
                return Err(refused(
                    "assertion_missing",
                    "sign an assertion with the client's key",
                ));
            }
        };
        let kind = ForeignKind::ClientAssertion;
        let (issuer, audience) = (given.client_id.as_str(), self.issuer.as_str());
        let expected = ExpectedForeign { kind, issuer, audience };
        let claims = verify_foreign(assertion, keys, &expected, now)
            .map_err(|error| Refusal::of_assertion(Kind::InvalidClient, error))?;
        if claims.subject() != issuer {
            return Err(refused("client_id_differs", "an assertion is of its own client"));
        }
        let jti = claims.text("jti").unwrap_or_default();
        let digest = Digest::of(format!("client assertion\0{issuer}\0{jti}").as_bytes());
        let expires = claims.expires.unwrap_or(now);
        Ok(Some(Once { digest, expires, is_single: true }))
    }

    /// Uses the code up. One that gave a token before is somebody else's by now: what it gave ends.
    async fn use_up(&self, code: &str, given: &Given) -> Result<(), Refusal> {
        let before = lock(&self.people.codes).spend(code);
        match before {
            Some(Used::Not) => Ok(()),
            Some(Used::Well) => {
                tracing::warn!(agent = %given.agent, task = %given.task, "a code was used twice: its task is closed");
                let by = Principal::User(given.person.clone());
                self.record(
                    &by,
                    &given.task,
                    "code_used_twice",
                    &json!({ "client": given.client_id }),
                )
                .await;
                let closed = self.broker.close_task(&given.task, Closure::Revoked, &by).await;
                if let Err(error) = closed {
                    tracing::warn!(%error, "the task of a code that was used twice is not closed");
                }
                Err(refused())
            }
            _ => Err(refused()),
        }
    }

    /// Whether client and person are still who they were when it was given.
    fn still_stands(&self, given: &Given) -> bool {
        let view = self.broker.view();
        self.agent_asked_for(&given.asked).is_ok()
            && view.snapshot.users.contains_key(&given.person)
            && !view.snapshot.is_locked(&LockTarget::User(given.person.clone()))
    }

    async fn issue_for(
        &self,
        given: &Given,
        proof: Option<DpopProof>,
    ) -> Result<IssuedToken, Refusal> {
        let request = TokenRequest {
            agent: given.agent.clone(),
            thumbprint: proof.map(|proof| proof.thumbprint),
            certificate: None,
            task: Some(given.task.clone()),
            subject: None,
            resource: given.resource.clone(),
            path: given.path,
        };
        self.broker.issue_token(request).await.map_err(|error| {
            tracing::info!(agent = %given.agent, %error, "the broker refused a token");
            Refusal::of_broker(&error, client::unknown().kind, NamedIn::Nothing)
        })
    }
}

/// What is shown with a code.
struct Shown<'a> {
    verifier: &'a str,
    redirect: &'a str,
}

impl Given {
    fn is_shown(&self, shown: &Shown<'_>) -> bool {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let verifier = shown.verifier;
        let is_form = VERIFIER_BYTES.contains(&verifier.len()) && verifier.bytes().all(is_plain);
        let digest = Digest::of(verifier.as_bytes());
        is_form
            && verify_slices_are_equal(digest.as_bytes(), &self.challenge).is_ok()
            && shown.redirect == self.redirect_uri
    }

    fn is_for(&self, wanted: &Wanted, proof: Option<&DpopProof>) -> bool {
        let is_key = match (&self.dpop_jkt, proof) {
            (None, _) => true,
            (Some(jkt), Some(proof)) => *jkt == proof.thumbprint,
            (Some(_), None) => false,
        };
        let is_task = wanted.task.as_ref().is_none_or(|task| *task == self.task);
        is_key && is_task && wanted.path == self.path && wanted.resource == self.resource
    }
}

/// What is said of every code that is not taken: which part of it was wrong is for nobody to learn.
const fn refused() -> Refusal {
    Refusal::new(
        Kind::InvalidGrant,
        "code_refused",
        "the code is not good, or no more, or not for what was sent with it; begin again",
    )
}

const fn missing() -> Refusal {
    Refusal::new(
        Kind::InvalidRequest,
        "code_incomplete",
        "send code, code_verifier, redirect_uri, client_id and resource",
    )
}
