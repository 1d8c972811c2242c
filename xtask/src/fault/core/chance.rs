//! Killed at random moments, again and again, under a loop of calls and while it starts.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::audit;
use super::work::{self, Approve};
use super::world::{self, Start, Template, World};
use super::{Case, Verdict};

/// How often Carnet is killed under calls.
const ROUNDS: u64 = 20;
/// How often it is killed while it starts.
const STARTS: u64 = 12;
/// The most calls of one round: the ledger is read whole in the end.
const CALLS_MAX: u32 = 24;
/// The latest moment of a round at which Carnet dies, in milliseconds.
const DEATH_MS_MAX: u64 = 900;
/// Where the moments come from, unless `CARNET_FAULT_SEED` says otherwise.
const SEED: u64 = 0x00ca_12e7;

/// A small generator, so that a run can be repeated (splitmix64).
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    /// Dice that fall the same way each time.
    pub(super) fn new() -> Self {
        let seed = std::env::var("CARNET_FAULT_SEED").ok().and_then(|seed| seed.parse().ok());
        Self(seed.unwrap_or(SEED))
    }

    /// A number below `sides`.
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % sides.max(1)
    }
}

/// Random moments.
pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(format!("killed {ROUNDS} times under a loop of calls"), under_calls),
        Case::new(format!("killed {STARTS} times while it starts"), while_starting),
    ]
}

/// What was acknowledged so far.
#[derive(Debug, Default)]
struct Acknowledged {
    open: BTreeSet<String>,
    closed: BTreeSet<String>,
    reads: usize,
    messages: BTreeSet<String>,
    refunds: BTreeSet<String>,
}

fn under_calls(template: &Template) -> anyhow::Result<Verdict> {
    let mut dice = Dice::new();
    let mut world = template.world("chance")?;
    let mut known = Acknowledged::default();
    for round in 0..ROUNDS {
        one_round(&mut world, round, &mut dice, &mut known)
            .with_context(|| format!("round {round}"))?;
    }
    let leaves = audit::all(&world)?;
    ensure!(
        leaves.permits("desk.tool.get_ticket").len() >= known.reads,
        "reads were answered that no permit is recorded for"
    );
    messages_were_permitted(&world, &leaves)?;
    work::whole_run(&world, "afterwards").context("afterwards")?;
    Ok(Verdict::Held)
}

fn one_round(
    world: &mut World<'_>,
    round: u64,
    dice: &mut Dice,
    known: &mut Acknowledged,
) -> anyhow::Result<()> {
    let task = work::open(world, Approve::Never)?;
    known.open.insert(task.clone());
    let mut agent = world.agent(&task)?;
    let dies_after = Duration::from_millis(dice.roll(DEATH_MS_MAX));
    let carnet = world.id()?;
    let reason = format!("round {round}");
    thread::scope(|scope| {
        let killed = scope.spawn(|| {
            thread::sleep(dies_after);
            world::kill(carnet)
        });
        for at in 0..CALLS_MAX {
            let text = format!("round {round} message {at}");
            let outcome = match at % 3 {
                0 => work::refund(&mut agent, &reason),
                1 => work::read(&mut agent),
                _ => work::message(&mut agent, &text),
            };
            let Ok(outcome) = outcome else { break };
            match (work::is_done(&outcome), at % 3) {
                (true, 0) => drop(known.refunds.insert(reason.clone())),
                (true, 1) => known.reads += 1,
                (true, _) => drop(known.messages.insert(text)),
                (false, _) if work::refused(&outcome).is_err() => break,
                (false, _) => {}
            }
        }
        killed.join().unwrap_or_else(|_| anyhow::bail!("the killer ended by a panic"))
    })?;
    agent.end();
    world.wait_for_death()?;
    audit::at_rest(world)?;
    world.start(&Start::default()).context("it does not start again")?;
    after_round(world, &task, &reason, known)?;
    if round.is_multiple_of(2) {
        world.operate(&["task", "close", &task])?;
        known.open.remove(&task);
        known.closed.insert(task);
    }
    Ok(())
}

/// What was acknowledged is there; the one use of the round is spent once at most.
fn after_round(
    world: &World<'_>,
    task: &str,
    reason: &str,
    known: &Acknowledged,
) -> anyhow::Result<()> {
    let tasks = audit::tasks(world, true)?;
    let is = |task: &String, state: &str| tasks.get(task).is_some_and(|known| known == state);
    ensure!(known.open.iter().all(|task| is(task, "open")), "a task that was opened is not open");
    ensure!(known.closed.iter().all(|task| is(task, "closed")), "a task that was ended is not");
    let mut agent = world.agent(task)?;
    for _ in 0..2 {
        // It may go through now, where it did not before.
        let _ = work::refund(&mut agent, reason)?;
    }
    agent.end();
    ensure!(work::refunds(world, reason)? <= 1, "one use was spent twice");
    for reason in &known.refunds {
        ensure!(
            work::refunds(world, reason)? == 1,
            "the refund of {reason} was answered, not made"
        );
    }
    let sent = texts(world)?;
    ensure!(known.messages.is_subset(&sent), "a message was answered that was not sent");
    audit::all(world).map(drop)
}

fn texts(world: &World<'_>) -> anyhow::Result<BTreeSet<String>> {
    let journal = world.journal()?;
    let texts = journal.iter().filter_map(|line| line.pointer("/record/text")?.as_str());
    Ok(texts.map(str::to_owned).collect())
}

/// Each message that was sent is exactly what some permit says, argument by argument.
fn messages_were_permitted(world: &World<'_>, leaves: &audit::Leaves) -> anyhow::Result<()> {
    let mut permitted = BTreeSet::new();
    for index in leaves.permits("desk.tool.send_message").values() {
        let leaf = world.operate(&["ledger", "show", &index.to_string()])?;
        let text = leaf.pointer("/values/arguments/text").and_then(Value::as_str);
        permitted.insert(text.context("a permit shows its arguments")?.to_owned());
    }
    let sent = texts(world)?;
    ensure!(!sent.is_empty(), "no message was ever sent: nothing was tried");
    ensure!(sent.is_subset(&permitted), "a message was sent that no permit says");
    Ok(())
}

fn while_starting(template: &Template) -> anyhow::Result<Verdict> {
    let mut dice = Dice::new();
    let mut world = template.world("starts")?;
    let task = work::open(&world, Approve::Never)?;
    let mut agent = world.agent(&task)?;
    work::done(&work::refund(&mut agent, "case")?)?;
    agent.end();
    world.kill();
    for _ in 0..STARTS {
        world.launch(&Start::default())?;
        thread::sleep(Duration::from_millis(dice.roll(160)));
        world.kill();
        audit::at_rest(&world)?;
    }
    world.start(&Start::default())?;
    audit::all(&world)?;
    let mut agent = world.agent(&task)?;
    work::refused(&work::refund(&mut agent, "case")?)?;
    agent.end();
    work::whole_run(&world, "afterwards").context("afterwards")?;
    Ok(Verdict::Held)
}
