//! The work that is interrupted: a task for one ticket, with one small refund.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::world::{Agent, World};

/// The reads, and the one refund of at most 1.00; messages are not counted.
const INTENT: &str = r#"
purpose = "Resolve ticket T-1001"
deadline = "20m"

[[allow]]
action = "desk.tool.get_*"
path = "read"

[[allow]]
action = "desk.tool.issue_refund"
path = "write"
where.order_id = { equals = "O-6001" }
where.amount_cents = { at_most = 100 }
where.reason = { length = { max = 200 } }
uses = 1
APPROVE

[[allow]]
action = "desk.tool.send_message"
path = "write"
where.customer_id = { equals = "C-100" }
where.text = { length = { max = 200 } }
"#;

/// Whether a person must say yes to the refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Approve {
    /// Nobody is asked.
    Never,
    /// Somebody is asked when it is to be used.
    OnUse,
}

/// Opens a task.
pub(super) fn open(world: &World<'_>, approve: Approve) -> anyhow::Result<String> {
    let file = intent(world, approve)?;
    let opened = world.operate(&opening(&file))?;
    let task = opened.get("task").and_then(Value::as_str);
    task.map(str::to_owned).with_context(|| format!("no task was opened: {opened}"))
}

/// Writes the intent down.
pub(super) fn intent(world: &World<'_>, approve: Approve) -> anyhow::Result<String> {
    let file = world.dir().join(format!("{approve:?}.toml"));
    let line = match approve {
        Approve::Never => "",
        Approve::OnUse => "approve = \"on_use\"",
    };
    std::fs::write(&file, INTENT.replace("APPROVE", line))?;
    Ok(file.display().to_string())
}

/// The words that open a task with the intent in `file`.
pub(super) fn opening(file: &str) -> [&str; 8] {
    ["task", "open", "--agent", "support-agent", "--subject", "sam", "--intent", file]
}

/// A small refund.
pub(super) fn refund(agent: &mut Agent, reason: &str) -> anyhow::Result<Value> {
    agent.call("issue_refund", refund_arguments(reason))
}

/// What a small refund says.
pub(super) fn refund_arguments(reason: &str) -> Value {
    json!({ "order_id": "O-6001", "amount_cents": 100, "reason": reason })
}

/// A message to the customer.
pub(super) fn message(agent: &mut Agent, text: &str) -> anyhow::Result<Value> {
    agent.call("send_message", json!({ "customer_id": "C-100", "text": text }))
}

/// A read.
pub(super) fn read(agent: &mut Agent) -> anyhow::Result<Value> {
    agent.call("get_ticket", json!({ "ticket_id": "T-1001" }))
}

/// Whether the call did what it was to do.
pub(super) fn is_done(outcome: &Value) -> bool {
    outcome.get("ok") == Some(&json!(true))
}

/// It must have been done.
pub(super) fn done(outcome: &Value) -> anyhow::Result<()> {
    ensure!(is_done(outcome), "it should have been permitted: {outcome}");
    Ok(())
}

/// Carnet must have refused it; tells its words.
pub(super) fn refused(outcome: &Value) -> anyhow::Result<String> {
    let message = outcome.pointer("/error/message").and_then(Value::as_str).unwrap_or_default();
    ensure!(!is_done(outcome), "it should have been refused: {outcome}");
    ensure!(message.contains("Carnet"), "Carnet did not refuse it: {outcome}");
    Ok(message.to_owned())
}

/// Carnet must have asked a person.
pub(super) fn asked(outcome: &Value) -> anyhow::Result<()> {
    let message = outcome.pointer("/error/message").and_then(Value::as_str).unwrap_or_default();
    ensure!(
        !is_done(outcome) && message.contains("a person must approve"),
        "a person should have been asked: {outcome}"
    );
    Ok(())
}

/// The refunds the desk carried out, of those with this reason.
pub(super) fn refunds(world: &World<'_>, reason: &str) -> anyhow::Result<usize> {
    let journal = world.journal()?;
    let same = |line: &&Value| {
        line.pointer("/tool").and_then(Value::as_str) == Some("issue_refund")
            && line.pointer("/record/reason").and_then(Value::as_str) == Some(reason)
    };
    Ok(journal.iter().filter(same).count())
}

/// The questions that wait, by their ids.
pub(super) fn questions(world: &World<'_>) -> anyhow::Result<Vec<String>> {
    let waiting = world.operate(&["approvals"])?;
    let ids = waiting.as_array().context("approvals are a list")?.iter();
    Ok(ids.filter_map(|one| one.get("id")?.as_str().map(str::to_owned)).collect())
}

/// A whole run with a new task: read, refund once, refused the second time, closed, refused.
pub(super) fn whole_run(world: &World<'_>, reason: &str) -> anyhow::Result<()> {
    let task = open(world, Approve::Never).context("a new task")?;
    let mut agent = world.agent(&task)?;
    done(&read(&mut agent)?).context("a read in a new task")?;
    done(&refund(&mut agent, reason)?).context("a refund in a new task")?;
    refused(&refund(&mut agent, reason)?).context("a second refund in a new task")?;
    ensure!(refunds(world, reason)? == 1, "a new task did not refund once");
    world.operate(&["task", "close", &task])?;
    ensure!(!is_done(&read(&mut agent)?), "the task outlived its end");
    agent.end();
    Ok(())
}
