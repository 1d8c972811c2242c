//! Federation targets: what may be one, and what a person is shown of it.

use std::collections::BTreeMap;

use carnet_core::{
    ActionName, ArgumentKind, Digest, EffectClass, FederationTarget, NameError, OperationKind,
    Path, Reach, Resource, ResourceName, Transport,
};
use carnet_identity::FEDERATION_TTL_S_MAX;

use crate::broker::Broker;
use crate::error::BrokerError;
use crate::keys::KeyPurpose;
use crate::operator::Offered;
use crate::registry::Review;

/// The longest audience.
const AUDIENCE_BYTES_MAX: usize = 255;
/// The longest that what a target gives for a token may live: what AWS gives at most.
const SESSION_S_MAX: u32 = 12 * 60 * 60;

impl Broker {
    /// The address tokens for `resource` on `path` are asked for under.
    pub fn address(&self, path: Path, resource: &Resource) -> String {
        match resource.upstream.transport {
            Transport::Federation(_) => self.federation_address(path, &resource.name),
            Transport::Http { .. } | Transport::Stdio { .. } => self.audience(path, &resource.name),
        }
    }

    /// The same of a federation target.
    pub(crate) fn federation_address(&self, path: Path, resource: &ResourceName) -> String {
        format!("{}/{path}/federation/{resource}", self.issuer)
    }

    /// Lets `resource` be registered as far as it is a federation target, with a key to sign for it:
    /// the target can learn it from then on.
    pub(crate) async fn admit_target(&self, resource: &Resource) -> Result<(), BrokerError> {
        let Transport::Federation(target) = &resource.upstream.transport else { return Ok(()) };
        check_target(&self.issuer, target)?;
        if !resource.upstream.credentials.is_empty() {
            let problem = "a federation target is sent nothing: it has no credential";
            return Err(BrokerError::invalid("upstream.credentials", problem));
        }
        self.ensure_key(KeyPurpose::Federation).await
    }
}

/// The action of a token for `resource` on `path`.
pub(crate) fn action(resource: &ResourceName, path: Path) -> Result<ActionName, NameError> {
    ActionName::of(resource, OperationKind::Federation.as_str(), path.as_str())
}

/// What `resource` offers, where it is a federation target: a token on each path. No agent's bytes
/// stay inside once it holds a credential of another place: reading with it can be sending.
pub(crate) fn offers(resource: &Resource) -> Option<Vec<Offered>> {
    let Transport::Federation(target) = &resource.upstream.transport else { return None };
    Some(Path::ALL.map(|path| offer(target, path)).to_vec())
}

fn offer(target: &FederationTarget, path: Path) -> Offered {
    let reach = if path == Path::Read { Reach::Inside } else { Reach::Egress };
    let suspicions = match path {
        Path::Read => vec![
            "reading can be sending: it is inside only where nothing the role may read is outside \
             of the organisation, and nothing outside can see what is asked for"
                .to_owned(),
        ],
        Path::Write | Path::Admin => Vec::new(),
    };
    Offered {
        kind: OperationKind::Federation,
        name: path.as_str().to_owned(),
        definition: target.definition(path),
        suggested_path: path,
        suggested_effect: EffectClass { reversible: false, reach },
        suggested_arguments: arguments(),
        suspicions,
    }
}

fn arguments() -> BTreeMap<String, ArgumentKind> {
    ["role", "session_name"].map(|name| (name.to_owned(), ArgumentKind::Text)).into()
}

/// A review of a federation target is of what the target would be told now, on the path its
/// operation is named for, with its arguments compared as text.
pub(crate) fn check_review(resource: &Resource, review: &Review) -> Result<(), BrokerError> {
    let Transport::Federation(target) = &resource.upstream.transport else { return Ok(()) };
    // Anything may be taken off.
    let Some(path) = review.path else { return Ok(()) };
    let refused = |field: &str, problem: &str| {
        Err(BrokerError::invalid(format!("{} {field}", review.action), problem))
    };
    if action(&resource.name, path).ok().as_ref() != Some(&review.action) {
        return refused("path", "a token is on the path it is named for, or on none");
    }
    if Digest::of_json(&target.definition(path))? != review.pin {
        return refused("pin", "it is not what the target is told now: look at it again");
    }
    if review.arguments != arguments() {
        return refused("arguments", "`role` and `session_name` are read as text, both of them");
    }
    Ok(())
}

/// A target has an audience of its own, and its tokens a bounded life.
fn check_target(issuer: &str, target: &FederationTarget) -> Result<(), BrokerError> {
    let field = |name: &str| format!("upstream.transport.federation.{name}");
    let audience = target.audience.as_str();
    let is_plain = audience.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\');
    if !(1..=AUDIENCE_BYTES_MAX).contains(&audience.len()) || !is_plain {
        let problem = "it is 1 to 255 printable ASCII characters without blanks and quotes";
        return Err(BrokerError::invalid(field("audience"), problem));
    }
    // Whatever the case: an audience of ours is nobody else's.
    let (lower, ours) = (audience.to_ascii_lowercase(), issuer.to_ascii_lowercase());
    if lower.strip_prefix(&ours).is_some_and(|rest| rest.is_empty() || !is_of_host(rest)) {
        let problem = "it is Carnet's own: a token for another place is good at that place only";
        return Err(BrokerError::invalid(field("audience"), problem));
    }
    if !(1..=FEDERATION_TTL_S_MAX).contains(&i64::from(target.ttl_s)) {
        let problem = format!("a token lives 1 to {FEDERATION_TTL_S_MAX} seconds");
        return Err(BrokerError::invalid(field("ttl_s"), problem));
    }
    if target.session_s > SESSION_S_MAX {
        let problem = format!("nothing handed out for a task lives longer than {SESSION_S_MAX} s");
        return Err(BrokerError::invalid(field("session_s"), problem));
    }
    Ok(())
}

/// Whether what follows the issuer makes its host another.
fn is_of_host(rest: &str) -> bool {
    rest.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(audience: &str, ttl_s: u32, session_s: u32) -> FederationTarget {
        let audience = audience.to_owned();
        FederationTarget { audience, ttl_s, session_s, aws_tags: false, subject_per_path: false }
    }

    #[test]
    fn an_audience_of_carnets_own_is_no_target() {
        let check =
            |audience: &str| check_target("https://carnet.example", &target(audience, 60, 0));
        for good in [
            "sts.amazonaws.com",
            "api://AzureADTokenExchange",
            "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/c",
            "https://carnet.example.org",
        ] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "a b",
            "a\"b",
            "é",
            "https://carnet.example",
            "https://carnet.example/",
            "https://carnet.example/write/mcp/desk",
            "HTTPS://Carnet.example/read/mcp/desk",
            "https://carnet.example:443/read/mcp/desk",
            &"a".repeat(256),
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lives_are_bounded() {
        let check =
            |ttl_s, session_s| check_target("https://c.example", &target("x", ttl_s, session_s));
        assert!(check(1, 0).is_ok() && check(300, 43_200).is_ok());
        assert!(check(0, 0).is_err() && check(301, 0).is_err() && check(60, 43_201).is_err());
    }
}
