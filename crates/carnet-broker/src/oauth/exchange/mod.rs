//! Token exchange (RFC 8693): delegation only, never impersonation. One agent hands a part of its task
//! on and gets a token that only the other can use; the other redeems that token with its own identity
//! and key. Whatever else an exchange could be is refused.

pub(crate) mod details;
mod hand_on;
mod redeem;

use axum::http::HeaderMap;
use carnet_core::Reason;
use carnet_identity::{DpopProof, TokenError};
use serde_json::Value;

use crate::oauth::form::Form;
use crate::oauth::prove::Caller;
use crate::oauth::refusal::{Kind, Refusal};
use crate::oauth::surface::Surface;

/// The grant type.
pub(crate) const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// The longest form: an assertion, two tokens and an intent.
pub(crate) const EXCHANGE_BYTES_MAX: usize = 128 * 1024;
/// An access token of ours.
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// A delegation token, or an SVID.
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// An exchange, and who asks for it.
struct Exchange<'a> {
    caller: &'a Caller,
    /// The error that says who asks is not accepted.
    refused: Kind,
    form: &'a Form,
    /// The key that was proved: nothing is exchanged without.
    proof: DpopProof,
    subject_token: &'a str,
}

impl Surface {
    /// Exchanges a token, or says why not.
    pub(crate) async fn exchange(
        &self,
        caller: &Caller,
        refused_as: Kind,
        headers: &HeaderMap,
        form: &Form,
    ) -> Result<Value, Refusal> {
        let proof = self.prove(headers, &self.token_endpoint, self.broker.now().wall)?;
        let needed = Refusal::for_reason(Kind::InvalidProof, Reason::ProofRequired);
        let proof = proof.ok_or(needed)?;
        let subject_token = form.get("subject_token");
        let subject_token =
            subject_token.ok_or(refused("subject_missing", "send a token in subject_token"))?;
        let exchange = Exchange { caller, refused: refused_as, form, proof, subject_token };
        let exchanged = match form.get("subject_token_type") {
            Some(ACCESS_TOKEN) => self.exchange_to_hand_on(exchange).await,
            Some(JWT) => self.redeem(exchange).await,
            _ => Err(refused("token_type_unknown", TYPE_ADVICE)),
        };
        if let Err(refusal) = &exchanged {
            tracing::info!(agent = %caller.id, code = refusal.code, "an exchange was refused");
        }
        exchanged
    }
}

const TYPE_ADVICE: &str = "subject_token_type is access_token to hand a part of a task on, and jwt to redeem a delegation token";

const fn refused(code: &'static str, advice: &'static str) -> Refusal {
    Refusal::new(Kind::InvalidRequest, code, advice)
}

/// A subject token that does not verify.
fn of_subject(error: TokenError) -> Refusal {
    let advice = match error {
        TokenError::Expired => "the subject token has expired; get another",
        _ => {
            "the subject token was refused; it must be one of this issuer, of the type that is said"
        }
    };
    refused(error.code(), advice)
}

/// What the issued token may be: the one kind there is, named or not.
fn check_requested(form: &Form, kind: &str) -> Result<(), Refusal> {
    match form.get("requested_token_type") {
        None => Ok(()),
        Some(requested) if requested == kind => Ok(()),
        Some(_) => Err(refused(
            "requested_type_unknown",
            "leave requested_token_type out: an access token gives a delegation token (jwt), and that gives an access token",
        )),
    }
}
