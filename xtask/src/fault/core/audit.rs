//! What must hold after every case, whatever was done to Carnet.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use super::world::World;

/// The most leaves one case may write.
const LEAVES_MAX: usize = 1_000;

/// The leaves of one ledger.
#[derive(Debug)]
pub(super) struct Leaves(Vec<Value>);

/// Nothing signed may be missing or changed while Carnet is down: what was never signed may.
pub(super) fn at_rest(world: &World<'_>) -> anyhow::Result<()> {
    let ended = world.try_command(&["ledger", "verify"])?;
    match ended.code {
        0 | 2 => Ok(()),
        code => bail!("after the crash the ledger is not whole ({code}): {}", ended.out),
    }
}

/// Every promise, with Carnet running again.
pub(super) fn all(world: &World<'_>) -> anyhow::Result<Leaves> {
    world.operate(&["ledger", "checkpoint"])?;
    let ended = world.try_command(&["ledger", "verify"])?;
    ensure!(ended.code == 0, "the ledger is not whole ({}): {}", ended.code, ended.out);
    no_task_is_half_open(world)?;
    let leaves = Leaves::read(world)?;
    nothing_without_a_permit(world, &leaves)?;
    Ok(leaves)
}

fn no_task_is_half_open(world: &World<'_>) -> anyhow::Result<()> {
    let all = tasks(world, true)?;
    let open = tasks(world, false)?;
    for (task, state) in &all {
        match state.as_str() {
            "open" => ensure!(
                open.contains_key(task),
                "{task} is open in the store and nodes do not know it"
            ),
            "closed" => {
                ensure!(!open.contains_key(task), "{task} is closed and nodes still know it");
            }
            other => bail!("{task} is half open: {other}"),
        }
    }
    Ok(())
}

/// The tasks with their states; those that are over too, if `all`.
pub(super) fn tasks(world: &World<'_>, all: bool) -> anyhow::Result<BTreeMap<String, String>> {
    let args: &[&str] = if all { &["task", "list", "--all"] } else { &["task", "list"] };
    let listed = world.operate(args)?;
    let mut tasks = BTreeMap::new();
    for task in listed.as_array().context("tasks are a list")? {
        let id = task.get("id").and_then(Value::as_str).context("a task has an id")?;
        let state = task.get("state").context("a task has a state")?;
        // A state with more to tell is an object named after it.
        let word = state.as_str().or_else(|| state.as_object()?.keys().next().map(String::as_str));
        tasks.insert(id.to_owned(), word.context("a state is a word")?.to_owned());
    }
    Ok(tasks)
}

/// How often each grant of `task` on `action` was used.
pub(super) fn uses(world: &World<'_>, task: &str, action: &str) -> anyhow::Result<u64> {
    let shown = world.operate(&["task", "show", task])?;
    let grants = shown.get("grants").and_then(Value::as_array).context("a task has grants")?;
    let mine = grants
        .iter()
        .filter(|grant| grant.pointer("/allowance/action").and_then(Value::as_str) == Some(action));
    Ok(mine.filter_map(|grant| grant.get("uses_spent")?.as_u64()).max().unwrap_or(0))
}

/// What the desk carried out was permitted, each time.
fn nothing_without_a_permit(world: &World<'_>, leaves: &Leaves) -> anyhow::Result<()> {
    let mut done: BTreeMap<String, usize> = BTreeMap::new();
    for line in world.journal()? {
        let tool = line.get("tool").and_then(Value::as_str).context("a write has a tool")?;
        ensure!(
            line.get("credential").and_then(Value::as_str) == Some("write"),
            "a write travelled with another credential: {line}"
        );
        *done.entry(tool.to_owned()).or_default() += 1;
    }
    for (tool, count) in done {
        let permits = leaves.permits(&format!("desk.tool.{tool}")).len();
        ensure!(
            count <= permits,
            "{tool} was carried out {count} times and permitted {permits} times"
        );
    }
    Ok(())
}

impl Leaves {
    /// Every leaf there is.
    pub(super) fn read(world: &World<'_>) -> anyhow::Result<Self> {
        let tail = world.operate(&["ledger", "tail", "-n", &LEAVES_MAX.to_string()])?;
        let size = tail.get("size").and_then(Value::as_u64).context("a ledger has a size")?;
        let leaves = tail.get("leaves").and_then(Value::as_array).context("leaves are a list")?;
        ensure!(leaves.len() as u64 == size, "of {size} leaves only {} are seen", leaves.len());
        Ok(Self(leaves.clone()))
    }

    /// The permits of `action`: each decision's id, with its leaf.
    pub(super) fn permits(&self, action: &str) -> BTreeMap<String, u64> {
        let permits = self.0.iter().filter(|leaf| {
            is(leaf, "/kind", "decision")
                && is(leaf, "/header/decision", "permit")
                && is(leaf, "/header/action", action)
        });
        let named = permits.filter_map(|leaf| {
            Some((leaf.get("id")?.as_str()?.to_owned(), leaf.get("index")?.as_u64()?))
        });
        named.collect()
    }

    /// What became of each permit of `action` that has an outcome.
    pub(super) fn outcomes(&self, action: &str) -> Vec<String> {
        let permits = self.permits(action);
        let outcomes = self.0.iter().filter(|leaf| {
            is(leaf, "/kind", "outcome")
                && leaf.get("id").and_then(Value::as_str).is_some_and(|id| permits.contains_key(id))
        });
        outcomes
            .filter_map(|leaf| leaf.pointer("/header/outcome")?.as_str().map(str::to_owned))
            .collect()
    }

    /// How many leaves there are with this kind, id and transition.
    pub(super) fn count(&self, kind: &str, id: &str, transition: &str) -> usize {
        let same = |leaf: &&Value| {
            is(leaf, "/kind", kind)
                && is(leaf, "/id", id)
                && is(leaf, "/header/transition", transition)
        };
        self.0.iter().filter(same).count()
    }
}

fn is(leaf: &Value, pointer: &str, wanted: &str) -> bool {
    leaf.pointer(pointer).and_then(Value::as_str) == Some(wanted)
}
