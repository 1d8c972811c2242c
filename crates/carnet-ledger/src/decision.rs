//! The record of a decision, as every room that decides writes it: what replays it, and what explains
//! it, reads one form.

use carnet_core::{
    Caller, Decision, DecisionId, DecisionKind, Document, Operation, Principal, Snapshot, Timestamp,
};
use serde_json::{Map, Value, json};

use crate::entry::{Entry, Kind, Sealed};

/// Who calls, in the header of a record.
pub fn caller_header(caller: &Caller) -> Map<String, Value> {
    let mut header = Map::new();
    header.insert("agent".into(), json!(caller.agent));
    header.insert("instance".into(), json!(caller.instance));
    header.insert("task".into(), json!(caller.task));
    header.insert("path".into(), json!(caller.path));
    header.insert("resource".into(), json!(caller.resource));
    header.insert("token".into(), json!(caller.token));
    header
}

/// The record of `decision` on `operation`, with the `arguments` as far as they are kept.
pub fn decision_entry(
    id: &DecisionId,
    operation: &Operation,
    caller: &Caller,
    decision: &Decision,
    arguments: Sealed,
    subject: String,
) -> Entry {
    let mut header = caller_header(caller);
    header.insert("decision".into(), json!(decision.kind));
    header.insert("reasons".into(), json!(decision.reasons));
    header.insert("action".into(), json!(operation.action()));
    header.insert("operation_path".into(), json!(operation.path()));
    header.insert("effect".into(), json!(operation.effect()));
    header.insert("pin".into(), json!(operation.pin()));
    header.insert("policy".into(), json!(decision.policy));
    header.insert("revision".into(), json!(decision.revision));
    header.insert("fresh_until_us".into(), json!(decision.fresh_until));
    if decision.marks && decision.kind == DecisionKind::Permit {
        header.insert("marks".into(), json!(true));
    }
    if let Some(cover) = &decision.cover {
        header.insert("grant".into(), json!(cover.grant));
        header.insert("approved_by".into(), json!(cover.approved_by));
    }
    if let Some(verdict) = &decision.verdict {
        header.insert("determining".into(), json!(verdict.determining));
    }
    let sealed = sealed(decision, arguments);
    operation_entry(Kind::Decision, id, decision.at, header, sealed, subject)
}

/// A record of `id`, which is a decision or what became of it.
pub fn operation_entry(
    kind: Kind,
    id: &DecisionId,
    at: Timestamp,
    header: Map<String, Value>,
    sealed: Vec<Sealed>,
    subject: String,
) -> Entry {
    let id = id.to_string();
    Entry { kind, id, at, header, sealed, subject, position: None, narrows: false }
}

/// Whose data key seals the values: the subject of the task, so that erasing a person reaches them.
pub fn decision_subject(snapshot: &Snapshot, caller: &Caller) -> String {
    let task = snapshot.task(&caller.task);
    task.map_or_else(
        || Principal::Agent(caller.agent.clone()).to_string(),
        |view| view.task.subject.to_string(),
    )
}

fn sealed(decision: &Decision, arguments: Sealed) -> Vec<Sealed> {
    let mut sealed = vec![arguments];
    let mut seal = |name: &str, value: Value| {
        if !value.is_null() {
            sealed.push(Sealed { name: name.into(), value });
        }
    };
    seal("document", decision.document.as_ref().map_or(Value::Null, inputs));
    seal("verdict", json!(decision.verdict));
    seal("cover", json!(decision.cover));
    seal("hops", hops(decision));
    seal("misses", if decision.misses.is_empty() { Value::Null } else { json!(decision.misses) });
    seal("terms", json!(decision.terms));
    sealed
}

/// The document without its arguments, which are sealed once, beside it.
fn inputs(document: &Document) -> Value {
    let Document { principal, verb, target, task, approvals, now, .. } = document;
    json!({
        "principal": principal, "verb": verb, "target": target, "task": task,
        "approvals": approvals, "now": now,
    })
}

/// What policy was asked of each hop, and its answer; nothing where nothing was handed on.
fn hops(decision: &Decision) -> Value {
    let hops = decision.hops.iter().map(|hop| {
        json!({
            "task": hop.task, "document": inputs(&hop.document), "verdict": hop.verdict,
            "permits": hop.permits,
        })
    });
    let hops: Vec<Value> = hops.collect();
    if hops.is_empty() { Value::Null } else { Value::Array(hops) }
}
