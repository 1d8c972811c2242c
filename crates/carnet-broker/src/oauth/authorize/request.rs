//! What a client asks a person for.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use carnet_core::Timestamp;
use carnet_identity::Thumbprint;

use super::client::Client;
use super::redirect::{Back, RedirectUri};
use crate::oauth::form::Form;
use crate::oauth::issuer::Issuer;
use crate::oauth::refusal::{Kind, Refusal};
use crate::oauth::wanted::Wanted;

/// The longest word a client may have given back.
const STATE_BYTES_MAX: usize = 1024;

/// A request for a person's authorization, every part of it read.
pub(crate) struct Asked {
    pub(crate) client: Client,
    pub(crate) back: Back,
    pub(crate) wanted: Wanted,
    /// The SHA-256 of what the client will show with the code.
    pub(crate) challenge: [u8; 32],
    /// The key the token must be bound to, where the client says so beforehand (RFC 9449 section 10).
    pub(crate) dpop_jkt: Option<Thumbprint>,
    /// When it was asked.
    pub(crate) at: Timestamp,
}

/// Why an authorization does not go on, and where that is said. Nothing is sent to an address before
/// it is known to be the client's.
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    pub(crate) refusal: Refusal,
    pub(crate) back: Option<Box<Back>>,
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, back: None }
    }
}

impl Asked {
    /// Reads what `client` asks for.
    pub(crate) fn read(
        form: &Form,
        client: Client,
        issuer: &Issuer,
        at: Timestamp,
    ) -> Result<Self, Stop> {
        let redirect = redirect(form, &client)?;
        let state = form.get("state").map(ToOwned::to_owned);
        if state.as_ref().is_some_and(|state| state.len() > STATE_BYTES_MAX) {
            return Err(malformed("state_too_long", "send a shorter state").into());
        }
        let back = Back { redirect, state };
        let stop = |refusal| Stop { refusal, back: Some(Box::new(back.clone())) };
        check_kind(form).map_err(stop)?;
        let challenge = challenge(form).map_err(stop)?;
        let dpop_jkt = dpop_jkt(form).map_err(stop)?;
        let wanted = Wanted::read(form, issuer).map_err(stop)?;
        Ok(Self { client, back, wanted, challenge, dpop_jkt, at })
    }

    /// What does not go on, told to the client.
    pub(crate) fn stop(&self, refusal: Refusal) -> Stop {
        Stop { refusal, back: Some(Box::new(self.back.clone())) }
    }
}

fn redirect(form: &Form, client: &Client) -> Result<RedirectUri, Refusal> {
    let asked = form.get("redirect_uri").and_then(RedirectUri::parse);
    let known = |asked: &RedirectUri| client.redirects.iter().any(|known| known.is_same(asked));
    asked.filter(known).ok_or(malformed(
        "redirect_unknown",
        "redirect_uri must be one of the client's own, exactly",
    ))
}

fn check_kind(form: &Form) -> Result<(), Refusal> {
    if form.get("response_type") != Some("code") {
        let advice = "the only response_type is code";
        let code = "response_type_unknown";
        return Err(Refusal::new(Kind::UnsupportedResponseType, code, advice));
    }
    if form.get("response_mode").is_some_and(|mode| mode != "query") {
        return Err(malformed("response_mode_unknown", "the only response_mode is query"));
    }
    if form.get("request").is_some() || form.get("request_uri").is_some() {
        return Err(malformed("request_object", "send the parameters themselves"));
    }
    Ok(())
}

/// What a code must be shown with: S256 and nothing weaker (RFC 7636).
fn challenge(form: &Form) -> Result<[u8; 32], Refusal> {
    let refused = malformed(
        "challenge_needed",
        "send code_challenge, the SHA-256 of a code_verifier, and code_challenge_method=S256",
    );
    if form.get("code_challenge_method") != Some("S256") {
        return Err(refused);
    }
    let challenge = form.get("code_challenge").and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    challenge.and_then(|bytes| bytes.try_into().ok()).ok_or(refused)
}

fn dpop_jkt(form: &Form) -> Result<Option<Thumbprint>, Refusal> {
    let refused = malformed("dpop_jkt_malformed", "dpop_jkt is the thumbprint of a key");
    form.get("dpop_jkt").map(|text| text.parse().map_err(|_| refused)).transpose()
}

const fn malformed(code: &'static str, advice: &'static str) -> Refusal {
    Refusal::new(Kind::InvalidRequest, code, advice)
}
