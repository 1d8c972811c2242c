//! What is recorded of what was refused: enough to explain it, and never more than a bound.

use carnet_core::{ActionName, Caller, DecisionId, DecisionKind, Digest, Reason};
use carnet_ledger::{Kind, Sealed};
use serde_json::{Map, Value, json};

use super::{caller_header, entry, subject_of, write_behind};
use crate::gateway::{Gateway, decision_id};
use crate::mcp::codec::Call;

/// The longest values of a refusal that are recorded whole, as they are written compactly.
const REFUSED_BYTES_MAX: usize = 8 << 10;
/// How much is recorded of longer ones, beside their digest.
const REFUSED_SHOWN_BYTES: usize = 1 << 10;
/// The most characters that are recorded of a method or a name.
const NAME_CHARS_MAX: usize = 256;

/// A message that never became an operation, with what is known of it.
#[derive(Debug)]
pub(crate) struct Rejection<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) reason: Reason,
    pub(crate) method: &'a str,
    /// What it was about, as far as it was understood.
    pub(crate) about: About<'a>,
    /// What is wrong with it, without its values.
    pub(crate) problem: Option<&'a str>,
}

/// What a rejected message was about.
#[derive(Debug, Clone, Copy)]
pub(crate) enum About<'a> {
    /// Nothing that could be read.
    Nothing,
    /// A request whose parameters were not understood.
    Parameters(&'a Map<String, Value>),
    /// A call; with its action's name where somebody reviewed it.
    Call(&'a Call, Option<&'a ActionName>),
}

impl<'a> Rejection<'a> {
    /// A rejection of which no more is known.
    pub(crate) const fn of(caller: &'a Caller, method: &'a str, reason: Reason) -> Self {
        Self { caller, reason, method, about: About::Nothing, problem: None }
    }
}

/// Records the refusal of a message that never became an operation. The caller is answered without
/// waiting for the disk.
pub(crate) fn rejection(gateway: &Gateway, decision: &DecisionId, rejection: &Rejection<'_>) {
    let Rejection { caller, reason, method, about, problem } = rejection;
    let mut header = caller_header(caller);
    header.insert("decision".into(), json!(DecisionKind::Deny));
    header.insert("reasons".into(), json!([reason]));
    let mut sealed = vec![text("method", method)];
    match about {
        About::Nothing => {}
        About::Parameters(parameters) => sealed.push(bounded("parameters", parameters)),
        About::Call(call, action) => {
            match action {
                Some(action) => drop(header.insert("action".into(), json!(action))),
                // What nobody reviewed has a name the agent chose.
                None => {
                    sealed.push(text("called", &format!("{}.{}", call.kind.as_str(), call.item)))
                }
            }
            sealed.push(bounded("arguments", &call.arguments));
        }
    }
    sealed.extend(problem.map(|problem| text("problem", problem)));
    deny(gateway, decision, caller, header, sealed);
}

/// Records that `count` requests of an agent were turned away unread, `caller`'s the last of them.
pub(crate) fn turned_away(gateway: &Gateway, caller: &Caller, count: u64) {
    let mut header = caller_header(caller);
    header.insert("decision".into(), json!(DecisionKind::Deny));
    header.insert("reasons".into(), json!([Reason::TooManyRefusals]));
    header.insert("count".into(), json!(count));
    deny(gateway, &decision_id(), caller, header, Vec::new());
}

fn deny(
    gateway: &Gateway,
    decision: &DecisionId,
    caller: &Caller,
    header: Map<String, Value>,
    sealed: Vec<Sealed>,
) {
    let subject = subject_of(&gateway.control.view().snapshot, caller);
    let at = gateway.control.now().wall;
    write_behind(&gateway.ledger, entry(Kind::Decision, decision, at, header, sealed, subject));
}

/// The values of a refusal under `name`; of long ones `<name>_cut`: their digest, their length and
/// how they begin, so that refusals fill no disk.
pub(super) fn bounded(name: &str, values: &Map<String, Value>) -> Sealed {
    let written = serde_json::to_string(values).unwrap_or_default();
    if written.len() <= REFUSED_BYTES_MAX {
        return Sealed { name: name.into(), value: json!(values) };
    }
    let begins = &written[..written.floor_char_boundary(REFUSED_SHOWN_BYTES)];
    let cut = json!({
        "digest": Digest::of_json(values).ok(),
        "bytes": written.len(),
        "begins": begins,
    });
    Sealed { name: format!("{name}_cut"), value: cut }
}

fn text(name: &str, text: &str) -> Sealed {
    let text: String = text.chars().take(NAME_CHARS_MAX).collect();
    Sealed { name: name.into(), value: json!(text) }
}
