//! What a security event says (RFC 8417, OpenID CAEP 1.0): one thing that became of one subject.

use carnet_core::ContextEvent;
use carnet_identity::ForeignClaims;
use serde_json::{Map, Value};

const CAEP: &str = "https://schemas.openid.net/secevent/caep/event-type/";
/// The longest name of a subject that is looked for.
const NAME_BYTES_MAX: usize = 2048;
/// The most of an event's type that is recorded.
const TYPE_CHARS_MAX: usize = 200;

/// A security event, read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Signal {
    /// Its type, as it names it.
    pub(crate) kind: String,
    /// What the rules speak of, where it is something they speak of.
    pub(crate) event: Option<ContextEvent>,
    /// Whom it is about, where that is said in a way that is understood.
    pub(crate) subject: Option<Subject>,
    /// Whom it is about, as it came: for the sealed part of the record.
    pub(crate) sub_id: Value,
}

/// Whom an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subject {
    /// Whom an issuer calls so.
    Issued {
        /// The issuer.
        issuer: String,
        /// The name.
        subject: String,
    },
    /// A SPIFFE ID.
    Workload(String),
}

/// The event in `claims`, or what is wrong with its form.
pub(crate) fn read(claims: &ForeignClaims) -> Result<Signal, &'static str> {
    if ["sub", "exp"].iter().any(|name| claims.get(name).is_some()) {
        return Err("a security event has neither sub nor exp");
    }
    let events = claims.get("events").and_then(Value::as_object);
    let events = events.ok_or("events is missing or no object")?;
    let mut events = events.iter();
    let (Some((kind, body)), None) = (events.next(), events.next()) else {
        return Err("events holds exactly one event");
    };
    let body = body.as_object().ok_or("the event is no object")?;
    let sub_id = claims.get("sub_id").cloned().unwrap_or(Value::Null);
    let subject = match &sub_id {
        Value::Object(sub_id) => subject(sub_id),
        Value::Null if event_name(kind).is_none() => None,
        _ => return Err("sub_id is missing or no object"),
    };
    let event = event_name(kind).map(|name| event(name, body)).transpose()?.flatten();
    Ok(Signal { kind: kind.chars().take(TYPE_CHARS_MAX).collect(), event, subject, sub_id })
}

/// The CAEP name of an event type; others are none of ours.
fn event_name(kind: &str) -> Option<&str> {
    kind.strip_prefix(CAEP)
}

fn event(name: &str, body: &Map<String, Value>) -> Result<Option<ContextEvent>, &'static str> {
    let text = |member: &str| body.get(member).and_then(Value::as_str);
    let event = match name {
        "session-revoked" => Some(ContextEvent::SessionRevoked),
        "credential-change" => Some(ContextEvent::CredentialChange),
        "risk-level-change" => match text("current_level") {
            Some("HIGH") => Some(ContextEvent::RiskLevelHigh),
            Some("MEDIUM") => Some(ContextEvent::RiskLevelMedium),
            Some("LOW") => Some(ContextEvent::RiskLevelLow),
            _ => return Err("current_level is not HIGH, MEDIUM or LOW"),
        },
        "device-compliance-change" => match text("current_status") {
            Some("not-compliant") => Some(ContextEvent::DeviceNotCompliant),
            Some("compliant") => None,
            _ => return Err("current_status is neither compliant nor not-compliant"),
        },
        "assurance-level-change" => match text("change_direction") {
            Some("decrease") => Some(ContextEvent::AssuranceDecrease),
            Some("increase") => None,
            // Not to say is allowed; what may have become less counts as less.
            None => Some(ContextEvent::AssuranceDecrease),
            _ => return Err("change_direction is neither increase nor decrease"),
        },
        _ => None,
    };
    Ok(event)
}

/// The subject, in the formats of RFC 9493 that name a person or a workload here.
fn subject(sub_id: &Map<String, Value>) -> Option<Subject> {
    let text = |member: &str| {
        let text = sub_id.get(member).and_then(Value::as_str);
        text.filter(|text| text.len() <= NAME_BYTES_MAX).map(ToOwned::to_owned)
    };
    let workload =
        |id: Option<String>| id.filter(|id| id.starts_with("spiffe://")).map(Subject::Workload);
    match text("format")?.as_str() {
        "iss_sub" => Some(Subject::Issued { issuer: text("iss")?, subject: text("sub")? }),
        "opaque" => workload(text("id")),
        "uri" => workload(text("uri")),
        // One level: what is inside is a simple subject.
        "complex" => match sub_id.get("user") {
            Some(Value::Object(user)) if !is_complex(user) => subject(user),
            _ => None,
        },
        _ => None,
    }
}

fn is_complex(sub_id: &Map<String, Value>) -> bool {
    sub_id.get("format").and_then(Value::as_str) == Some("complex")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(name: &str, body: Value) -> Result<Option<ContextEvent>, &'static str> {
        event(name, body.as_object().unwrap())
    }

    fn who(sub_id: Value) -> Option<Subject> {
        subject(sub_id.as_object().unwrap())
    }

    #[test]
    fn only_what_narrows_is_an_event_of_ours() {
        assert_eq!(of("session-revoked", json!({})), Ok(Some(ContextEvent::SessionRevoked)));
        let risk = |level: &str| of("risk-level-change", json!({ "current_level": level }));
        assert_eq!(risk("HIGH"), Ok(Some(ContextEvent::RiskLevelHigh)));
        assert_eq!(risk("LOW"), Ok(Some(ContextEvent::RiskLevelLow)));
        assert!(risk("high").is_err());
        let device = |status| of("device-compliance-change", json!({ "current_status": status }));
        assert_eq!(device("not-compliant"), Ok(Some(ContextEvent::DeviceNotCompliant)));
        assert_eq!(device("compliant"), Ok(None));
        let assurance = |way| of("assurance-level-change", json!({ "change_direction": way }));
        assert_eq!(assurance("decrease"), Ok(Some(ContextEvent::AssuranceDecrease)));
        assert_eq!(assurance("increase"), Ok(None));
        assert_eq!(of("session-established", json!({})), Ok(None));
    }

    #[test]
    fn a_subject_is_read_in_each_format_and_no_deeper_than_one_level() {
        let ana = json!({ "format": "iss_sub", "iss": "https://idp.example", "sub": "7" });
        let issued = Subject::Issued { issuer: "https://idp.example".into(), subject: "7".into() };
        assert_eq!(who(ana.clone()), Some(issued.clone()));
        assert_eq!(who(json!({ "format": "complex", "user": ana })), Some(issued));
        let deep = json!({ "format": "complex", "user": { "format": "complex", "user": ana } });
        assert_eq!(who(deep), None);
        let id = "spiffe://prod.example/a";
        let workload = Some(Subject::Workload(id.into()));
        assert_eq!(who(json!({ "format": "opaque", "id": id })), workload);
        assert_eq!(who(json!({ "format": "uri", "uri": id })), workload);
        assert_eq!(who(json!({ "format": "opaque", "id": "7" })), None);
        assert_eq!(who(json!({ "format": "email", "email": "a@b.example" })), None);
    }
}
