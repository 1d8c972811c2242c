//! `carnet task`: bounded pieces of work, opened and ended.

use std::path::PathBuf;
use std::process::ExitCode;

use carnet_core::{AgentName, Closure, Grant, Lease, Task, TaskId, TaskState, Timestamp, UserName};
use clap::{Args, Subcommand, ValueEnum};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Session, delegation, exit, grant, intent_file, lease, suspension};
use crate::client::segment;
use crate::output::{Output, Tone, fields};
use crate::shown::{escaped, now, span, time, time_us};

/// Open tasks, look at them, end them
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  carnet task list")]
pub(crate) enum TaskCommand {
    Open(Open),
    Delegate(delegation::Delegate),
    Show(Show),
    List(List),
    Close(Close),
    Suspend(suspension::Suspend),
    Resume(suspension::Resume),
}

/// Open a task for an agent
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  carnet task open --agent support-agent --subject ana --intent refund.toml

The intent says what the task will do, and policy what it may; see docs/intent.md.")]
pub(crate) struct Open {
    /// The agent that is to work on it
    #[arg(long, value_name = "AGENT")]
    agent: AgentName,
    /// On whose behalf [default: you]
    #[arg(long, value_name = "USER")]
    subject: Option<UserName>,
    /// What it will do; `-` is standard input
    #[arg(long, value_name = "INTENT.toml")]
    intent: PathBuf,
}

/// Show a task and its grants
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  carnet task show task_01")]
pub(crate) struct Show {
    /// The task
    #[arg(value_name = "ID")]
    id: TaskId,
}

/// List the tasks
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  carnet task list --all")]
pub(crate) struct List {
    /// Those that are over too
    #[arg(long)]
    all: bool,
}

/// End a task: nothing of it, or below it, is permitted any more
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  carnet task close task_01 --as revoked")]
pub(crate) struct Close {
    /// The task
    #[arg(value_name = "ID")]
    id: TaskId,
    /// Why it ends
    #[arg(long = "as", value_enum, value_name = "WHY", default_value_t = Why::Completed)]
    why: Why,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Why {
    /// The work is done.
    Completed,
    /// The work failed.
    Failed,
    /// It must stop.
    Revoked,
}

/// The three instants of a change, as Carnet tells them.
#[derive(Debug, Deserialize)]
struct Instants {
    durable: bool,
    committed: Option<Timestamp>,
    effective: Option<Timestamp>,
    complete: Option<Timestamp>,
}

impl TaskCommand {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        match self {
            Self::Open(open) => open.run(session).await,
            Self::Delegate(delegate) => delegate.run(session).await,
            Self::Show(show) => show.run(session).await,
            Self::List(list) => list.run(session).await,
            Self::Close(close) => close.run(session).await,
            Self::Suspend(suspend) => suspend.run(session).await,
            Self::Resume(resume) => resume.run(session).await,
        }
    }
}

impl Open {
    async fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        let intent = intent_file::read(&self.intent)?;
        let body = json!({ "agent": self.agent, "subject": self.subject, "intent": intent });
        let answer: Value = session.client()?.post("/v1/tasks", &body).await?;
        session.output.print(&answer, || opened(session.output, &answer))?;
        exit::done()
    }
}

fn opened(output: Output, answer: &Value) -> String {
    let task = answer.get("task").and_then(Value::as_str).unwrap_or_default();
    let deadline: Option<Timestamp> = member(answer, "deadline");
    let grants: Vec<Grant> = member(answer, "grants").unwrap_or_default();
    let mut text = format!("opened {}\n", escaped(task));
    if let Some(deadline) = deadline {
        text.push_str(&fields(2, &[("deadline", time_and_left(deadline))]));
    }
    text.push('\n');
    text.push_str(&grant::table(output, &grants));
    if grants.iter().any(|grant| matches!(grant.state, carnet_core::GrantState::Pending(_))) {
        text.push_str("\n\nwhat is pending waits for a person: see `carnet approvals`");
    }
    text
}

fn member<T: serde::de::DeserializeOwned>(value: &Value, name: &str) -> Option<T> {
    serde_json::from_value(value.get(name)?.clone()).ok()
}

fn time_and_left(at: Timestamp) -> String {
    let left = at.s().saturating_sub(now().s());
    if left > 0 { format!("{} (in {})", time(at), span(left)) } else { time(at) }
}

impl Show {
    async fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        let path = format!("/v1/tasks/{}", segment(self.id.as_str()));
        let answer: Value = session.client()?.get(&path).await?;
        let task: Task = serde_json::from_value(answer.get("task").cloned().unwrap_or_default())?;
        let grants: Vec<Grant> = member(&answer, "grants").unwrap_or_default();
        let leases: Vec<Lease> = member(&answer, "leases").unwrap_or_default();
        let relatives = |name| member::<Vec<Task>>(&answer, name).unwrap_or_default();
        let (above, below) = (relatives("above"), relatives("below"));
        session.output.print(&answer, || {
            let about = about(session.output, &task, &above, &below);
            let grants = grant::table(session.output, &grants);
            let leases = match leases.is_empty() {
                true => String::new(),
                false => format!("\n\n{}", lease::table(session.output, &leases)),
            };
            format!("{about}\n{grants}{leases}")
        })?;
        exit::done()
    }
}

fn about(output: Output, task: &Task, above: &[Task], below: &[Task]) -> String {
    let calls = match task.calls_max {
        Some(max) => format!("{} of {max}", task.calls_spent),
        None => "not counted".to_owned(),
    };
    let mut lines = vec![
        ("state", output.paint(tone(&task.state), &state(&task.state))),
        ("agent", task.agent.to_string()),
        ("subject", task.subject.to_string()),
        ("purpose", escaped(&task.purpose)),
        ("opened", format!("{} by {}", time(task.opened_at), task.opened_by)),
        ("deadline", time_and_left(task.deadline)),
        ("calls", calls),
    ];
    if let Some(suspension) = &task.suspension {
        lines.insert(1, ("because", suspension::text(suspension)));
    }
    if task.standing {
        lines.push(("standing", "opened from the agent's standing intent".to_owned()));
    }
    let relative = |name, relative: &Task| {
        (name, format!("{} of {}, {}", relative.id, relative.agent, relative.state.as_str()))
    };
    lines.extend(above.iter().map(|task| relative("a part of", task)));
    lines.extend(below.iter().map(|task| relative("handed on", task)));
    if let Some(max) = task.children_max {
        lines.push(("child tasks", format!("{} of {max}", task.children)));
    }
    if task.marked {
        lines.push(("marked", "something untrusted was read in it".to_owned()));
    }
    format!("{}\n{}", task.id, fields(2, &lines))
}

const fn tone(state: &TaskState) -> Tone {
    match state {
        TaskState::Open => Tone::Good,
        TaskState::Proposed | TaskState::Suspended => Tone::Waiting,
        TaskState::Closing { .. } | TaskState::Closed { .. } => Tone::Bad,
    }
}

fn state(state: &TaskState) -> String {
    let word = state.as_str();
    match state {
        TaskState::Closing { closure, since } => {
            format!("{word} ({}) since {}", closure.as_str(), time(*since))
        }
        TaskState::Closed { closure, at } => format!("{word} ({}) {}", closure.as_str(), time(*at)),
        _ => word.to_owned(),
    }
}

/// The state; of a suspended task also why it is.
fn state_and_why(task: &Task) -> String {
    match (&task.state, &task.suspension) {
        (TaskState::Suspended, Some(suspension)) => {
            format!("suspended: {}", escaped(&suspension.why))
        }
        (other, _) => state(other),
    }
}

impl List {
    async fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        let tasks: Vec<Task> =
            session.client()?.get(&format!("/v1/tasks?all={}", self.all)).await?;
        let row = |task: &Task| {
            vec![
                task.id.to_string().into(),
                task.agent.to_string().into(),
                task.subject.to_string().into(),
                session.output.cell(tone(&task.state), state_and_why(task)),
                time(task.deadline).into(),
                escaped(&task.purpose).into(),
            ]
        };
        session.output.print(&tasks, || {
            if tasks.is_empty() {
                return "no task is open; see `carnet task open --help`".to_owned();
            }
            let head = ["task", "agent", "subject", "state", "deadline", "purpose"];
            session.output.table(&head, tasks.iter().map(row).collect())
        })?;
        exit::done()
    }
}

impl Close {
    async fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        let closure = match self.why {
            Why::Completed => Closure::Completed,
            Why::Failed => Closure::Failed,
            Why::Revoked => Closure::Revoked,
        };
        let path = format!("/v1/tasks/{}/close", segment(self.id.as_str()));
        let answer: Value = session.client()?.post(&path, &json!({ "closure": closure })).await?;
        session.output.print(&answer, || {
            let leases: Vec<Lease> = member(&answer, "leases").unwrap_or_default();
            let word = if leases.is_empty() { "closed" } else { "closing" };
            let (instants, left) = (instants(&answer), lease::left(&leases));
            format!("{word} {} ({})\n{instants}{left}", self.id, closure.as_str())
        })?;
        exit::done()
    }
}

/// The three instants in an answer of Carnet: durable, no node permits any more, every target
/// confirmed.
pub(crate) fn instants(answer: &Value) -> String {
    let told: Option<Instants> = member(answer, "instants");
    let Some(told) = told else { return String::new() };
    let at = |at: Option<Timestamp>| at.map_or_else(|| "not yet".to_owned(), time_us);
    let committed = if told.durable { at(told.committed) } else { "NOT DURABLE".to_owned() };
    fields(
        2,
        &[
            ("committed", committed),
            ("effective", at(told.effective)),
            ("complete", at(told.complete)),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(id: &str, agent: &str, parent: Option<&str>) -> Task {
        serde_json::from_value(json!({
            "id": id, "agent": agent, "subject": { "user": "ana" }, "opened_by": { "user": "ana" },
            "purpose": "p", "standing": false, "parent": parent, "depth": u8::from(parent.is_some()),
            "opened_at": 1_000_000, "deadline": 2_000_000, "calls_max": null, "calls_spent": 0,
            "children_max": 2, "children": 1, "marked": false, "state": "open",
        }))
        .unwrap()
    }

    #[test]
    fn the_whole_chain_above_and_what_was_handed_on_are_shown() {
        let (root, middle) = (task("task_1", "planner", None), task("task_2", "a", Some("task_1")));
        let (child, other) =
            (task("task_3", "b", Some("task_2")), task("task_4", "c", Some("task_2")));
        let text = about(Output::plain(), &middle, &[root], &[child, other]);
        for line in [
            "a part of    task_1 of planner, open",
            "handed on    task_3 of b, open",
            "handed on    task_4 of c, open",
            "child tasks  1 of 2",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }

    #[test]
    fn the_three_instants_are_told_and_what_is_not_durable_is_said() {
        let told = json!({ "instants": {
            "durable": true, "committed": 1_000_000, "effective": 1_000_250, "complete": null,
        }});
        let text = instants(&told);
        assert!(text.contains("effective  1970-01-01T00:00:01.000250Z"), "{text}");
        assert!(text.contains("complete   not yet"), "{text}");
        let told = json!({ "instants": { "durable": false, "committed": 1, "effective": 1, "complete": 1 }});
        assert!(instants(&told).contains("NOT DURABLE"));
    }
}
