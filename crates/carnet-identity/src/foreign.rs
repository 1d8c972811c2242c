//! Tokens of issuers that are not ours: what another authority says of a workload, a client, a
//! person, or of what became of them.
//!
//! They are read by the same strict reader as ours; only the keys differ. Each kind has its own
//! `typ`, its own place and its own set of claims that must be there, and none of them grants
//! anything.

use std::fmt;

use carnet_core::{Digest, Timestamp};
use serde_json::{Map, Value};

use crate::algorithm::Algorithm;
use crate::claims::Claims;
use crate::error::TokenError;
use crate::jws::{Kind, Unverified};
use crate::keyset::KeySet;
use crate::signing::KeyUse;
use crate::svid::sole_audience;
use crate::{ASSERTION_TTL_S_MAX, CLOCK_SKEW_S_MAX};

/// The longest life left of a token whose life its issuer chooses: a day, as Kubernetes gives at most
/// to a pod.
pub const FOREIGN_TTL_S_MAX: i64 = 24 * 3600;
/// How long ago an event may have been told of.
const EVENT_AGE_S_MAX: i64 = 3600;

const NOT_PRINTABLE: &str = "is not printable ASCII";
const NOT_ITS_OWN: &str = "is not the client that signed it";
const NOT_EVENTS: &str = "is not an object with an event in it";
const EVENTS_ELSEWHERE: &str = "is in a token that tells of no event";

/// Hints at the certificate of the key are passed over; everything else is refused.
const HEADERS: &[&str] = &["alg", "kid", "typ", "x5t", "x5t#S256"];
const ALGORITHMS: &[Algorithm] = &[
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
    Algorithm::Es256,
    Algorithm::Es384,
    Algorithm::Es512,
    Algorithm::Ed25519,
];

const PLAIN: Kind = Kind {
    name: "a token of another issuer",
    types: &["JWT"],
    type_optional: true,
    headers: HEADERS,
    algorithms: ALGORITHMS,
    key_use: KeyUse::Foreign,
    bytes_max: 16 * 1024,
};

/// What a token of another issuer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ForeignKind {
    /// Who a workload is, by the OIDC issuer of the place it runs in.
    WorkloadToken,
    /// Who an OAuth client is, signed by itself (RFC 7523 section 2.2).
    ClientAssertion,
    /// Who a person is, for one client (OpenID Connect Core section 2).
    IdToken,
    /// That a person's identity provider lets a client act for them here
    /// (`draft-ietf-oauth-identity-assertion-authz-grant`).
    IdJag,
    /// That something became of somebody (RFC 8417).
    SecurityEvent,
}

/// What this place demands of a token of another issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpectedForeign<'a> {
    /// What it is for.
    pub kind: ForeignKind,
    /// Its issuer, exactly.
    pub issuer: &'a str,
    /// Its only audience, exactly.
    pub audience: &'a str,
}

/// What a verified token of another issuer says.
#[derive(Clone, PartialEq)]
pub struct ForeignClaims {
    /// When it was issued, where it says so.
    pub issued: Option<Timestamp>,
    /// When it dies; an event need not.
    pub expires: Option<Timestamp>,
    /// The same for every form of this token that verifies, and for no other.
    pub token_digest: Digest,
    claims: Map<String, Value>,
}

impl ForeignKind {
    const fn form(self) -> Kind {
        match self {
            Self::WorkloadToken => PLAIN,
            Self::ClientAssertion => Kind {
                name: "a client assertion",
                types: &["JWT", "client-authentication+jwt"],
                ..PLAIN
            },
            Self::IdToken => Kind { name: "an ID token", ..PLAIN },
            Self::IdJag => Kind {
                name: "an identity assertion grant",
                types: &["oauth-id-jag+jwt"],
                type_optional: false,
                ..PLAIN
            },
            Self::SecurityEvent => Kind {
                name: "a security event",
                types: &["secevent+jwt"],
                type_optional: false,
                ..PLAIN
            },
        }
    }

    /// The names that must be there besides `iss` and `aud`.
    const fn names(self) -> &'static [&'static str] {
        match self {
            Self::WorkloadToken | Self::IdToken => &["sub"],
            Self::ClientAssertion => &["sub", "jti"],
            Self::IdJag => &["sub", "jti", "client_id"],
            Self::SecurityEvent => &["jti"],
        }
    }

    const fn ttl_s_max(self) -> i64 {
        match self {
            Self::ClientAssertion | Self::IdJag => ASSERTION_TTL_S_MAX,
            _ => FOREIGN_TTL_S_MAX,
        }
    }

    const fn needs_issued(self) -> bool {
        matches!(self, Self::IdToken | Self::IdJag | Self::SecurityEvent)
    }
}

impl ForeignClaims {
    /// The claim `name`, where it is a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.claims.get(name).and_then(Value::as_str)
    }

    /// The claim `name`.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.claims.get(name)
    }

    /// Whom it speaks of; empty for an event, which says it otherwise.
    pub fn subject(&self) -> &str {
        self.text("sub").unwrap_or_default()
    }
}

/// Names the claims and tells none: they may be about a person.
impl fmt::Debug for ForeignClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.claims.keys()).finish()
    }
}

/// The issuer a token of `kind` *claims* to be of. Nobody has vouched for it: it is good for choosing
/// the keys to verify with, and for nothing else.
pub fn claimed_issuer(token: &str, kind: ForeignKind) -> Result<String, TokenError> {
    let claims = Unverified::parse(token, &kind.form())?.unverified_claims()?;
    name(&claims, "iss").map(ToOwned::to_owned)
}

/// Whom a token of `kind` *claims* to speak of. Nobody has vouched for it, as for [`claimed_issuer`].
pub fn claimed_subject(token: &str, kind: ForeignKind) -> Result<String, TokenError> {
    let claims = Unverified::parse(token, &kind.form())?.unverified_claims()?;
    claims.text("sub").map(ToOwned::to_owned)
}

/// Verifies a token of another issuer for this place at this moment.
pub fn verify_foreign(
    token: &str,
    keys: &KeySet,
    expected: &ExpectedForeign<'_>,
    now: Timestamp,
) -> Result<ForeignClaims, TokenError> {
    let token = Unverified::parse(token, &expected.kind.form())?;
    let key = token.key_or_only(keys)?;
    let token = token.verify(key)?;
    let claims = token.claims()?;
    if claims.text("iss")? != expected.issuer {
        return Err(TokenError::WrongIssuer);
    }
    if sole_audience(&claims)? != expected.audience {
        return Err(TokenError::WrongAudience);
    }
    for claim in expected.kind.names() {
        name(&claims, claim)?;
    }
    check_events(expected.kind, &claims)?;
    if expected.kind == ForeignKind::ClientAssertion && claims.text("sub")? != expected.issuer {
        return Err(TokenError::Claim { name: "sub", problem: NOT_ITS_OWN });
    }
    let expires = match expected.kind {
        ForeignKind::SecurityEvent => claims.optional_time("exp")?,
        _ => Some(claims.time("exp")?),
    };
    let issued = match expected.kind.needs_issued() {
        true => Some(claims.time("iat")?),
        false => claims.optional_time("iat")?,
    };
    check_times(expected.kind, &claims, issued, expires, now)?;
    let token_digest = Digest::of(&token.identity());
    Ok(ForeignClaims { issued, expires, token_digest, claims: claims.into_map() })
}

/// A name that must be there. It is compared and shown, so what looks like another is none: no
/// control character, no letter of another alphabet.
fn name<'a>(claims: &'a Claims, name: &'static str) -> Result<&'a str, TokenError> {
    let text = claims.text(name)?;
    match text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
        true => Ok(text),
        false => Err(TokenError::Claim { name, problem: NOT_PRINTABLE }),
    }
}

/// `events` is what makes a token tell of an event (RFC 8417 section 2.2). Logout tokens are often
/// `JWT` by their type and differ from an ID token in this claim alone.
fn check_events(kind: ForeignKind, claims: &Claims) -> Result<(), TokenError> {
    let problem = match (kind, claims.get("events")) {
        (ForeignKind::SecurityEvent, Some(Value::Object(events))) if !events.is_empty() => {
            return Ok(());
        }
        (ForeignKind::SecurityEvent, _) => NOT_EVENTS,
        (_, None) => return Ok(()),
        (_, Some(_)) => EVENTS_ELSEWHERE,
    };
    Err(TokenError::Claim { name: "events", problem })
}

fn check_times(
    kind: ForeignKind,
    claims: &Claims,
    issued: Option<Timestamp>,
    expires: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), TokenError> {
    if let Some(expires) = expires {
        if now >= expires {
            return Err(TokenError::Expired);
        }
        let ttl_s_max = kind.ttl_s_max();
        if kind != ForeignKind::SecurityEvent && expires > now.plus_s(ttl_s_max + CLOCK_SKEW_S_MAX)
        {
            return Err(TokenError::TooLongLived { ttl_s_max });
        }
    }
    let begins = claims.optional_time("nbf")?.max(issued);
    if begins.is_some_and(|begins| begins > now.plus_s(CLOCK_SKEW_S_MAX)) {
        return Err(TokenError::NotYetValid);
    }
    let is_old = issued.is_some_and(|issued| issued.plus_s(EVENT_AGE_S_MAX) < now);
    match kind {
        ForeignKind::SecurityEvent if is_old => Err(TokenError::Expired),
        _ => Ok(()),
    }
}
