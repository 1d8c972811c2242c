//! On whose behalf a token is asked for: the JWT bearer grant with an identity assertion (ID-JAG,
//! `draft-ietf-oauth-identity-assertion-authz-grant`). A person's identity provider says that one client
//! may act for them here. It says whose task it is, and can only narrow what is asked for: the
//! client proves itself as ever, and the broker decides.

use std::sync::PoisonError;

use carnet_core::{AgentName, Digest, Identity, LockTarget, UserName};
use carnet_identity::{
    DpopProof, ExpectedForeign, ForeignClaims, ForeignKind, KeySet, SpiffeId, TokenError,
    claimed_issuer, verify_foreign,
};
use serde_json::Value;

use crate::oauth::assertion::{AssertionError, Once};
use crate::oauth::details::Details;
use crate::oauth::form::Form;
use crate::oauth::identify::{alike, once_of};
use crate::oauth::issuer::{Issuer, MCP};
use crate::oauth::prove::{Caller, JWT_BEARER, of_use};
use crate::oauth::refusal::{Kind, Refusal};
use crate::oauth::surface::Surface;
use crate::oauth::wanted::{SCOPE_PREFIX, Wanted, scope_of};
use crate::trust::AuthorityKind;

/// What says in the metadata that such grants are taken.
pub(crate) const ID_JAG_PROFILE: &str = "urn:ietf:params:oauth:grant-profile:id-jag";

/// An identity assertion as sent: a credential, never shown.
pub(crate) struct Asserted(String);

/// A person whose identity provider vouched for them, and what it said.
pub(crate) struct Vouched {
    pub(crate) user: UserName,
    once: Once,
    claims: ForeignClaims,
}

impl Asserted {
    /// Takes the assertion out of `form`, where its grant is an identity assertion by its type. What is
    /// left says who the client is.
    pub(crate) fn take(form: &mut Form) -> Option<Self> {
        let is_grant = form.get("grant_type") == Some(JWT_BEARER);
        let assertion = form.get("assertion").filter(|_| is_grant)?;
        match claimed_issuer(assertion, ForeignKind::IdJag) {
            Ok(_) | Err(TokenError::AlgorithmRefused | TokenError::Claim { .. }) => {
                form.take("assertion").map(Self)
            }
            Err(_) => None,
        }
    }
}

impl Surface {
    /// The person `asserted` lets `caller` act for.
    pub(crate) fn vouched(&self, asserted: &Asserted, caller: &Caller) -> Result<Vouched, Refusal> {
        let (claims, once) = self.verify_asserted(asserted).map_err(not_verified)?;
        if claims.issued.is_none_or(|issued| issued.s() < self.started.s()) {
            let advice = "the identity assertion is older than this node's start; get another";
            return Err(refused("assertion_before_start", advice));
        }
        if !self.is_named(caller, claims.text("client_id").unwrap_or_default()) {
            let advice = "the identity assertion is for another client than the one that sends it";
            return Err(refused("client_id_differs", advice));
        }
        let view = self.broker.view();
        let issuer = claims.text("iss").unwrap_or_default();
        let user = view.snapshot.user_of(issuer, claims.subject()).map(|user| user.name.clone());
        let user = user.filter(|it| !view.snapshot.is_locked(&LockTarget::User(it.clone())));
        // Whether they are unknown or locked is not for a client to learn.
        let user = user.ok_or(refused(
            "subject_unknown",
            "nobody here is known by that name, or may be acted for now; ask an operator",
        ))?;
        Ok(Vouched { user, once, claims })
    }

    /// Verifies it by the one identity provider it claims to be of.
    fn verify_asserted(&self, asserted: &Asserted) -> Result<(ForeignClaims, Once), TokenError> {
        let (token, kind, now) = (&asserted.0, ForeignKind::IdJag, self.broker.now());
        let issuer = claimed_issuer(token, kind)?;
        let expected = ExpectedForeign { kind, issuer: &issuer, audience: self.issuer.as_str() };
        let trust = self.broker.trust.load();
        let authority = trust.find(AuthorityKind::Idp, &issuer);
        let held = authority.and_then(|it| it.held(now.mono));
        // Which providers there are is not to be told from the answer either.
        let none = KeySet::default();
        let keys = held.as_ref().map_or(&none, |held| &held.keys);
        let claims = verify_foreign(token, keys, &expected, now.wall);
        if let (Err(TokenError::KeyUnknown), Some(authority)) = (&claims, authority) {
            authority.want();
        }
        let claims = claims.map_err(alike)?;
        let jti = claims.text("jti").unwrap_or_default();
        let digest = Digest::of(format!("identity assertion\0{issuer}\0{jti}").as_bytes());
        let once = once_of(&claims, digest, true)?;
        Ok((claims, once))
    }

    /// Whether `client_id` is the name that `caller` proved, and one that its agent is registered by, or
    /// the agent's own. A subject of some issuer that looks like a client's name is none.
    fn is_named(&self, caller: &Caller, client_id: &str) -> bool {
        if client_id == SpiffeId::agent(self.broker.trust_domain(), &caller.agent).as_str() {
            return true;
        }
        let view = self.broker.view();
        let names = [Identity::client(client_id), Identity::Spiffe { id: client_id.to_owned() }];
        let is_its = |name: &Identity| {
            view.snapshot.agent_of(name).is_some_and(|agent| agent.name == caller.agent)
        };
        client_id == caller.id && names.iter().any(is_its)
    }

    /// Remembers the assertion: it is good once, whatever key is proved with it.
    pub(crate) fn spend_vouched(
        &self,
        vouched: &Vouched,
        agent: &AgentName,
    ) -> Result<(), Refusal> {
        let now = self.broker.now().wall;
        let mut assertions = self.assertions.lock().unwrap_or_else(PoisonError::into_inner);
        assertions.admit(vouched.once, agent, None, now).map_err(|error| match error {
            AssertionError::Used => {
                let advice = "the identity assertion was used before; get another";
                refused("assertion_used", advice)
            }
            AssertionError::Full => of_use(error, Kind::InvalidGrant),
        })
    }
}

impl Vouched {
    /// Whether `wanted` is within what the identity provider said, and comes with the key it named.
    pub(crate) fn check(
        &self,
        wanted: &Wanted,
        issuer: &Issuer,
        proof: Option<&DpopProof>,
    ) -> Result<(), Refusal> {
        self.check_resource(wanted, issuer)?;
        self.check_task(wanted, issuer)?;
        let Some(key) = self.claims.get("cnf") else { return Ok(()) };
        let named = key.get("jkt").and_then(Value::as_str);
        match (named, proof) {
            (Some(named), Some(proof)) if *named == proof.thumbprint.to_string() => Ok(()),
            _ => Err(refused(
                "assertion_key",
                "the identity assertion is bound to a key; send a DPoP proof of that key",
            )),
        }
    }

    fn check_resource(&self, wanted: &Wanted, issuer: &Issuer) -> Result<(), Refusal> {
        let named = match self.claims.get("resource") {
            None => return Ok(()),
            Some(Value::Array(list)) if list.len() == 1 => list.first().and_then(Value::as_str),
            Some(named) => named.as_str(),
        };
        let named = named.and_then(|named| issuer.target_of(named, MCP));
        match named {
            Some((path, resource)) if path == wanted.path && resource == wanted.resource => Ok(()),
            _ => Err(Refusal::new(
                Kind::InvalidTarget,
                "target_wider",
                "the identity assertion is for another resource; ask for that, or get another",
            )),
        }
    }

    /// A scope or details that name a task are of that task alone. Those that name none let nobody name
    /// one: the words of others grant nothing here.
    fn check_task(&self, wanted: &Wanted, issuer: &Issuer) -> Result<(), Refusal> {
        if let Some(scope) = self.claims.get("scope") {
            let mut words = scope.as_str().unwrap_or_default().split(' ');
            let is_within = match &wanted.task {
                Some(task) => words.any(|word| *word == scope_of(task)),
                None => scope.is_string() && words.all(|word| !word.starts_with(SCOPE_PREFIX)),
            };
            if !is_within {
                let advice = "the identity assertion's scope is of another task";
                return Err(Refusal::new(Kind::InvalidScope, "scope_wider", advice));
            }
        }
        let Some(said) = self.claims.get("authorization_details") else { return Ok(()) };
        let said = Details::parse(&said.to_string())?;
        if wanted.task.as_ref() == Some(&said.task) && said.is_for_mcp(wanted, issuer) {
            return Ok(());
        }
        let advice = "the identity assertion's authorization_details are of another task or place";
        Err(Refusal::new(Kind::InvalidDetails, "details_wider", advice))
    }
}

fn not_verified(error: TokenError) -> Refusal {
    let advice = match error {
        TokenError::Expired => "the identity assertion has expired; get another",
        TokenError::WrongAudience => "the identity assertion's only audience must be the issuer",
        _ => "the identity assertion was refused; see docs/identities.md",
    };
    refused(error.code(), advice)
}

const fn refused(code: &'static str, advice: &'static str) -> Refusal {
    Refusal::new(Kind::InvalidGrant, code, advice)
}
