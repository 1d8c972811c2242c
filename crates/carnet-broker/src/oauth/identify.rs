//! What an assertion proves, by whoever vouches for it. Which authority that is follows from what it
//! claims to be, before anything is believed; then exactly one verifier runs, with that
//! authority's keys. None is tried after another.

use carnet_core::{AgentName, Digest, Identity, Reason, Timestamp};
use carnet_identity::{
    ExpectedForeign, ForeignClaims, ForeignKind, KeySet, Svid, TokenError, claimed_issuer,
    claimed_subject, claimed_trust_domain, verify_client_assertion, verify_foreign,
};

use crate::oauth::assertion::Once;
use crate::oauth::prove::Credential;
use crate::oauth::refusal::{Kind, Refusal};
use crate::oauth::surface::Surface;
use crate::trust::AuthorityKind;

/// Who an assertion says it is of, verified.
pub(crate) struct Proven {
    /// The name it proves.
    pub(crate) id: String,
    pub(crate) who: Who,
    pub(crate) issued: Option<Timestamp>,
    pub(crate) once: Once,
}

/// Whose name that is.
pub(crate) enum Who {
    /// The name we gave an agent.
    Own(AgentName),
    /// The name another authority gave it.
    Foreign(Identity),
}

impl Surface {
    /// Verifies the assertion by the one authority it claims to be of.
    pub(crate) fn identify(
        &self,
        credential: &Credential<'_>,
        now: Timestamp,
    ) -> Result<Proven, Refusal> {
        let refused = |error| Refusal::of_assertion(credential.refused, error);
        let token = credential.assertion;
        let problem = match claimed_trust_domain(token) {
            Ok(_) => return self.svid(token, now).map_err(refused),
            Err(problem) => problem,
        };
        // Not the form of an SVID. What has no issuer either is told what is wrong with the SVID.
        let kind = ForeignKind::ClientAssertion;
        let claimed = (claimed_issuer(token, kind), claimed_subject(token, kind));
        match claimed {
            (Ok(issuer), Ok(subject)) if !credential.is_svid && issuer == subject => {
                self.client_assertion(token, &issuer, now).map_err(refused)
            }
            (Ok(issuer), Ok(_)) if !credential.is_svid => {
                self.workload(token, &issuer, now).map_err(refused)
            }
            _ => Err(refused(problem)),
        }
    }

    /// The agent that is told by `who`.
    pub(crate) fn agent_of(&self, who: &Who, refused: Kind) -> Result<AgentName, Refusal> {
        match who {
            Who::Own(agent) => Ok(agent.clone()),
            Who::Foreign(identity) => {
                let view = self.broker.view();
                let agent = view.snapshot.agent_of(identity).map(|agent| agent.name.clone());
                agent.ok_or(Refusal::for_reason(refused, Reason::AgentUnknown))
            }
        }
    }

    /// An SVID, of our own trust domain or of another.
    fn svid(&self, token: &str, now: Timestamp) -> Result<Proven, TokenError> {
        let (issuer, domain) = (self.issuer.as_str(), claimed_trust_domain(token)?);
        if domain == *self.broker.trust_domain() {
            let svid = verify_client_assertion(token, &self.broker.trust_bundles(), issuer, now)?;
            let agent = svid.id.agent_name().ok_or(TokenError::WrongTrustDomain)?;
            return Ok(Proven::by_svid(&svid, Who::Own(agent)));
        }
        let trust = self.broker.trust.load();
        let authority = trust.find(AuthorityKind::Domain, domain.as_str());
        let authority = authority.ok_or(TokenError::WrongTrustDomain)?;
        let held = authority.held(self.broker.now().mono).ok_or(TokenError::KeyUnknown)?;
        let svid = verify_client_assertion(token, &held.bundles, issuer, now);
        if matches!(svid, Err(TokenError::KeyUnknown)) {
            authority.want();
        }
        let svid = svid?;
        let identity = Identity::Spiffe { id: svid.id.to_string() };
        Ok(Proven::by_svid(&svid, Who::Foreign(identity)))
    }

    /// A token of the issuer of the place a workload runs in.
    fn workload(&self, token: &str, issuer: &str, now: Timestamp) -> Result<Proven, TokenError> {
        let trust = self.broker.trust.load();
        let authority = trust.find(AuthorityKind::Issuer, issuer);
        let authority = authority.ok_or(TokenError::WrongIssuer)?;
        let held = authority.held(self.broker.now().mono).ok_or(TokenError::KeyUnknown)?;
        let expected = ExpectedForeign {
            kind: ForeignKind::WorkloadToken,
            issuer: &authority.name,
            audience: &authority.audience,
        };
        let claims = verify_foreign(token, &held.keys, &expected, now);
        if matches!(claims, Err(TokenError::KeyUnknown)) {
            authority.want();
        }
        let claims = claims?;
        let subject = claims.subject().to_owned();
        let identity = Identity::Oidc { issuer: authority.name.clone(), subject: subject.clone() };
        let once = once_of(&claims, claims.token_digest, false)?;
        Ok(Proven { id: subject, who: Who::Foreign(identity), issued: claims.issued, once })
    }

    /// What a registered client signed itself.
    fn client_assertion(
        &self,
        token: &str,
        id: &str,
        now: Timestamp,
    ) -> Result<Proven, TokenError> {
        let audience = self.issuer.as_str();
        let expected = ExpectedForeign { kind: ForeignKind::ClientAssertion, issuer: id, audience };
        // Whether a client of that name is registered is not to be told from the answer.
        let keys = self.client_keys(id).unwrap_or_default();
        let claims = verify_foreign(token, &keys, &expected, now).map_err(alike)?;
        if claims.subject() != id {
            return Err(TokenError::WrongIssuer);
        }
        let jti = claims.text("jti").unwrap_or_default();
        let digest = Digest::of(format!("client assertion\0{id}\0{jti}").as_bytes());
        let once = once_of(&claims, digest, true)?;
        let who = Who::Foreign(Identity::client(id));
        Ok(Proven { id: id.to_owned(), who, issued: claims.issued, once })
    }

    /// The keys the client `id` was registered with.
    fn client_keys(&self, id: &str) -> Option<KeySet> {
        let view = self.broker.view();
        let wanted = Identity::client(id);
        let agent = view.snapshot.agent_of(&wanted)?;
        let found = agent.identities.iter().find(|identity| identity.is_same(&wanted))?;
        match found {
            Identity::Client { keys: Some(keys), .. } => {
                KeySet::from_foreign_jwks(keys.to_string().as_bytes()).ok()
            }
            _ => None,
        }
    }
}

impl Proven {
    fn by_svid(svid: &Svid, who: Who) -> Self {
        let once = Once { digest: svid.token_digest, expires: svid.expires, is_single: false };
        Self { id: svid.id.to_string(), who, issued: svid.issued, once }
    }
}

/// What a verified token is remembered by: it always has an end.
pub(crate) fn once_of(
    claims: &ForeignClaims,
    digest: Digest,
    is_single: bool,
) -> Result<Once, TokenError> {
    let expires = claims.expires.ok_or(TokenError::Expired)?;
    Ok(Once { digest, expires, is_single })
}

/// Before a signature verifies, nothing tells a wrong key from a client that is none.
pub(crate) const fn alike(error: TokenError) -> TokenError {
    match error {
        TokenError::KeyMissing
        | TokenError::KeyUseRefused
        | TokenError::AlgorithmRefused
        | TokenError::Signature => TokenError::KeyUnknown,
        error => error,
    }
}
