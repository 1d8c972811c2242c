//! What an agent may be told by, checked when it is registered: what could never be proven, or would
//! be proven by everybody, is refused then.

use carnet_core::{Agent, Identity};
use carnet_identity::{KeySet, SpiffeId, TrustDomain};
use serde_json::Value;

use crate::error::BrokerError;

/// The longest name another authority has for an agent.
const NAME_BYTES_MAX: usize = 2048;
/// The longest key set of a client, as JSON.
const KEYS_BYTES_MAX: usize = 16 * 1024;
/// The most keys of a client: the present one, the next, and some to spare.
const KEYS_MAX: usize = 8;

/// Checks each identity of `agent`, registered in the trust domain `own` under `issuer`.
pub(crate) fn check(own: &TrustDomain, issuer: &str, agent: &Agent) -> Result<(), BrokerError> {
    for (n, identity) in agent.identities.iter().enumerate() {
        let refused = |problem: String| BrokerError::invalid(format!("identities[{n}]"), problem);
        if agent.identities.iter().take(n).any(|it| it.is_same(identity)) {
            return Err(refused("it is there twice".to_owned()));
        }
        check_one(own, issuer, identity).map_err(refused)?;
    }
    Ok(())
}

fn check_one(own: &TrustDomain, own_issuer: &str, identity: &Identity) -> Result<(), String> {
    match identity {
        Identity::Spiffe { id } => {
            let id: SpiffeId = id.parse().map_err(|error| format!("{error}"))?;
            match id.trust_domain() == own {
                true => {
                    Err(format!("`{own}` is Carnet's own trust domain: it names agents itself"))
                }
                false => Ok(()),
            }
        }
        Identity::Oidc { issuer, .. } if issuer == own_issuer => {
            Err("it is Carnet's own issuer, which vouches for no agent".to_owned())
        }
        Identity::Oidc { issuer, subject } => check_name(issuer).and_then(|()| check_name(subject)),
        Identity::Client { id, .. } if id.starts_with("spiffe:") => {
            Err("a SPIFFE ID is no `client_id` with keys: register it as a SPIFFE ID".to_owned())
        }
        Identity::Client { id, keys, .. } => {
            check_name(id)?;
            keys.as_ref().map_or(Ok(()), check_keys)
        }
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let is_plain = name.chars().all(|c| !c.is_control());
    match (1..=NAME_BYTES_MAX).contains(&name.len()) && is_plain {
        true => Ok(()),
        false => Err(format!("a name is 1 to {NAME_BYTES_MAX} bytes without control characters")),
    }
}

/// The public keys of a client: usable ones, and few.
fn check_keys(keys: &Value) -> Result<(), String> {
    let text = keys.to_string();
    if text.len() > KEYS_BYTES_MAX {
        return Err(format!("its keys are longer than {KEYS_BYTES_MAX} bytes"));
    }
    let set = KeySet::from_foreign_jwks(text.as_bytes())
        .map_err(|error| format!("its keys: {error}: write a JSON Web Key Set of public keys"))?;
    let listed = keys.get("keys").and_then(Value::as_array).map_or(0, Vec::len);
    match set.len() == listed && listed <= KEYS_MAX {
        true => Ok(()),
        false => Err(format!("its keys: at most {KEYS_MAX}, each for verifying signatures")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn checked(identity: &Identity) -> Result<(), String> {
        check_one(&"carnet.example".parse().unwrap(), "https://carnet.example", identity)
    }

    fn client(id: &str, keys: Option<Value>) -> Identity {
        Identity::Client { id: id.to_owned(), keys, redirect_uris: Vec::new() }
    }

    #[test]
    fn what_could_never_be_proven_is_not_registered() {
        let spiffe = |id: &str| Identity::Spiffe { id: id.to_owned() };
        let oidc = |issuer: &str, subject: &str| Identity::Oidc {
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
        };
        checked(&spiffe("spiffe://cluster.example/ns/a/sa/b")).unwrap();
        checked(&oidc("https://idp.example", "repo:o/r:ref:refs/heads/main")).unwrap();
        checked(&client("https://desk.example/client.json", None)).unwrap();
        for refused in [
            spiffe("spiffe://carnet.example/agent/a"),
            spiffe("spiffe://Cluster.example/a"),
            oidc("https://carnet.example", "a"),
            oidc("", "a"),
            oidc("https://idp.example", ""),
            oidc("https://idp.example", "a\nb"),
            client("", None),
            client("spiffe://carnet.example/agent/a", None),
            client("a", Some(json!({ "keys": [] }))),
            client("a", Some(json!({ "keys": [{ "kty": "oct", "k": "AAAA" }] }))),
            client("a", Some(json!({ "keys": "a".repeat(20_000) }))),
        ] {
            assert!(checked(&refused).is_err(), "{refused}");
        }
    }
}
