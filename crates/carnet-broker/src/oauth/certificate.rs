//! Clients that prove who they are by the connection: mutual TLS with an X.509-SVID (RFC 8705, SPIFFE
//! client authentication). The listener verified the certificate and tells of it beside the request;
//! nothing a client can write into a request does.

use axum::http::request::Parts;
use carnet_core::{AgentName, Identity, Reason, Timestamp};
use carnet_identity::{SpiffeId, Thumbprint, X509Svid};

use crate::oauth::form::Form;
use crate::oauth::prove::{Caller, Credential, refuse_secret};
use crate::oauth::refusal::{Kind, Refusal};
use crate::oauth::surface::Surface;
use crate::work::BoundCertificate;

/// What a certificate of the caller's own can bind a token to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound {
    /// The key, the same in every certificate over it: it tells the running copy.
    pub(crate) key: Thumbprint,
    pub(crate) certificate: BoundCertificate,
}

impl Surface {
    /// The client of a request: by the assertion in the form where there is one, else by the
    /// connection. Tells the error that says it is not accepted, too.
    pub(crate) fn client_of(
        &self,
        parts: &Parts,
        form: &Form,
        now: Timestamp,
    ) -> Result<(Caller, Kind), Refusal> {
        let has_assertion = ["client_assertion", "client_assertion_type", "assertion"]
            .iter()
            .any(|name| form.get(name).is_some());
        if let Some(svid) = shown(parts)
            && !has_assertion
        {
            let caller = self.by_connection(svid, form, now)?;
            return Ok((caller, Kind::InvalidClient));
        }
        let credential = Credential::of_client(form)?;
        let caller = self.authenticate(&credential, form.get("client_id"), now)?;
        self.bound(parts, &caller, now)?;
        Ok((caller, credential.refused))
    }

    fn by_connection(
        &self,
        svid: &X509Svid,
        form: &Form,
        now: Timestamp,
    ) -> Result<Caller, Refusal> {
        refuse_secret(form)?;
        self.check_good(svid, now)?;
        match form.get("client_id") {
            Some(id) if id == svid.id.as_str() => {}
            Some(_) => {
                let advice = "client_id is not the SPIFFE ID of the connection's certificate";
                return Err(refused("client_id_differs", advice));
            }
            None => {
                let advice = "send the SPIFFE ID of the connection's certificate in client_id, or an assertion";
                return Err(refused("client_id_missing", advice));
            }
        }
        let unknown = Refusal::for_reason(Kind::InvalidClient, Reason::AgentUnknown);
        let agent = self.agent_named(&svid.id).ok_or(unknown)?;
        self.check_agent(&agent, Kind::InvalidClient)?;
        if !self.broker.is_attested_since(&agent, svid.issued()) {
            let advice = "the agent's registration changed since; connect with a fresh X.509-SVID";
            return Err(refused("assertion_before_change", advice));
        }
        Ok(Caller::of_connection(agent, svid.id.to_string()))
    }

    /// What a token of `caller` can be bound to. A connection that is another agent's is nobody's to
    /// ask over.
    pub(crate) fn bound(
        &self,
        parts: &Parts,
        caller: &Caller,
        now: Timestamp,
    ) -> Result<Option<Bound>, Refusal> {
        let Some(svid) = shown(parts) else { return Ok(None) };
        self.check_good(svid, now)?;
        if self.agent_named(&svid.id).as_ref() != Some(&caller.agent) {
            let advice =
                "the connection's certificate is another agent's; connect with your own, or none";
            return Err(refused("certificate_differs", advice));
        }
        let certificate = BoundCertificate { x5t: svid.certificate, expires: svid.expires };
        Ok(Some(Bound { key: svid.key, certificate }))
    }

    /// A connection outlives its handshake.
    fn check_good(&self, svid: &X509Svid, now: Timestamp) -> Result<(), Refusal> {
        match svid.is_good(&self.broker.x509_bundles(), now) {
            true => Ok(()),
            false => Err(refused("certificate_over", "connect again with a fresh X.509-SVID")),
        }
    }

    fn agent_named(&self, id: &SpiffeId) -> Option<AgentName> {
        if id.trust_domain() == self.broker.trust_domain() {
            return id.agent_name();
        }
        let identity = Identity::Spiffe { id: id.to_string() };
        self.broker.view().snapshot.agent_of(&identity).map(|agent| agent.name.clone())
    }
}

fn shown(parts: &Parts) -> Option<&X509Svid> {
    parts.extensions.get::<X509Svid>()
}

const fn refused(code: &'static str, advice: &'static str) -> Refusal {
    Refusal::new(Kind::InvalidClient, code, advice)
}
