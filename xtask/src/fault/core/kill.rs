//! Killed at a named step of a task's life, just before and just after it is durable.

use anyhow::{Context as _, ensure};

use super::audit;
use super::work::{self, Approve, done, refused};
use super::world::{Agent, Start, Template, World};
use super::{Case, Verdict};

/// What is done when Carnet dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    /// An operator opens a task.
    Open,
    /// A person says yes.
    Approve,
    /// The agent does what is counted.
    Counted,
    /// The agent does what is not counted.
    Uncounted,
    /// The agent reads.
    Read,
    /// An operator ends a task.
    Close,
}

/// How far it came before Carnet died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reached {
    /// Nothing was durable.
    Nothing,
    /// It was durable, and had no effect outside yet.
    Durable,
    /// The server had carried it out.
    Done,
}

/// Name, what is done, the points that are passed, and how far it comes.
type Point = (&'static str, Act, &'static str, Reached);

const POINTS: &[Point] = &[
    ("open, before", Act::Open, "open.before", Reached::Nothing),
    ("open, in the store", Act::Open, "open.before>committed", Reached::Durable),
    ("open, leaf written", Act::Open, "open.before>ledger.written", Reached::Durable),
    ("open, leaf synced", Act::Open, "open.before>ledger.synced", Reached::Durable),
    ("open, not taken off the outbox", Act::Open, "open.before>drained", Reached::Durable),
    ("open, not answered", Act::Open, "open.after", Reached::Durable),
    ("approve, before", Act::Approve, "approve.before", Reached::Nothing),
    ("approve, in the store", Act::Approve, "approve.before>committed", Reached::Durable),
    ("approve, leaf synced", Act::Approve, "approve.before>ledger.synced", Reached::Durable),
    ("approve, not answered", Act::Approve, "approve.after", Reached::Durable),
    ("reserve, before", Act::Counted, "reserve.before", Reached::Nothing),
    ("reserve, in the store", Act::Counted, "reserve.before>committed", Reached::Durable),
    ("reserve, leaf written", Act::Counted, "reserve.before>ledger.written", Reached::Durable),
    ("reserve, leaf synced", Act::Counted, "reserve.before>ledger.synced", Reached::Durable),
    ("reserve, after", Act::Counted, "reserve.after", Reached::Durable),
    ("record, before", Act::Uncounted, "record.before", Reached::Nothing),
    ("record, leaf written", Act::Uncounted, "record.before>ledger.written", Reached::Durable),
    ("record, after", Act::Uncounted, "record.before>record.after", Reached::Durable),
    ("record of a read, before", Act::Read, "record.before", Reached::Nothing),
    ("record of a read, after", Act::Read, "record.before>record.after", Reached::Durable),
    ("forward, before", Act::Counted, "forward.before", Reached::Durable),
    ("forward, answered", Act::Counted, "forward.before>forward.after", Reached::Done),
    ("forward of a read, answered", Act::Read, "forward.before>forward.after", Reached::Done),
    ("settle, before", Act::Counted, "settle.before", Reached::Done),
    ("settle, in the store", Act::Counted, "settle.before>committed", Reached::Done),
    ("settle, after", Act::Counted, "settle.after", Reached::Done),
    ("close, before", Act::Close, "close.before", Reached::Nothing),
    ("close, in the store", Act::Close, "close.before>committed", Reached::Durable),
    ("close, leaf written", Act::Close, "close.before>ledger.written", Reached::Durable),
    ("close, leaf synced", Act::Close, "close.before>ledger.synced", Reached::Durable),
    ("close, not answered", Act::Close, "close.after", Reached::Durable),
];

/// What was there before Carnet was started with its fault point, all of it acknowledged.
struct Before {
    task: String,
    question: Option<Question>,
}

/// A question that waits, and the running copy of the agent that asked. Nobody says yes to another.
struct Question {
    id: String,
    agent: Agent,
}

/// Every step, before and after.
pub(super) fn cases() -> Vec<Case> {
    let case = |(at, point): (usize, &'static Point)| {
        Case::new(format!("killed at {}", point.0), move |template| case(template, at, *point))
    };
    POINTS.iter().enumerate().map(case).collect()
}

fn case(template: &Template, at: usize, point: Point) -> anyhow::Result<Verdict> {
    let (_, act, fault, reached) = point;
    let mut world = template.world(&format!("k{at}"))?;
    let mut before = prepare(&world, act)?;
    world.stop()?;
    world.start(&Start { fault: Some(fault.to_owned()), ..Start::default() })?;
    act_out(&world, act, &before, reached)?;
    world.wait_for_death()?;
    audit::at_rest(&world)?;
    world.start(&Start::default()).context("it does not start again")?;
    let leaves = audit::all(&world)?;
    ensure!(
        leaves.count("task", &before.task, "opened") == 1,
        "the task's opening is not there once"
    );
    look(&world, act, &mut before, reached)?;
    work::whole_run(&world, "afterwards").context("afterwards")?;
    audit::all(&world).context("afterwards")?;
    Ok(Verdict::Held)
}

fn prepare(world: &World<'_>, act: Act) -> anyhow::Result<Before> {
    let approve = if act == Act::Approve { Approve::OnUse } else { Approve::Never };
    let task = work::open(world, approve)?;
    let mut question = None;
    if act == Act::Approve {
        let mut agent = world.agent(&task)?;
        work::asked(&work::refund(&mut agent, "case")?)?;
        let mut waiting = work::questions(world)?;
        ensure!(waiting.len() == 1, "one question waits, not {}", waiting.len());
        question = waiting.pop().map(|id| Question { id, agent });
    }
    Ok(Before { task, question })
}

/// Does what kills Carnet. Whoever asked is not told that it was done.
fn act_out(world: &World<'_>, act: Act, before: &Before, reached: Reached) -> anyhow::Result<()> {
    let question =
        before.question.as_ref().map(|question| question.id.as_str()).unwrap_or_default();
    let code = match act {
        Act::Open => {
            let file = work::intent(world, Approve::Never)?;
            world.try_command(&work::opening(&file))?.code
        }
        Act::Approve => world.try_command(&["approve", question])?.code,
        Act::Close => world.try_command(&["task", "close", &before.task])?.code,
        Act::Counted | Act::Uncounted | Act::Read => {
            let mut agent = world.agent(&before.task)?;
            let outcome = match act {
                Act::Counted => work::refund(&mut agent, "case"),
                Act::Uncounted => work::message(&mut agent, "case"),
                _ => work::read(&mut agent),
            };
            agent.end();
            return match outcome {
                Ok(outcome) if work::is_done(&outcome) => {
                    anyhow::bail!("a call was answered that killed Carnet")
                }
                // An agent that lost its bridge has nothing to say.
                Ok(_) | Err(_) => Ok(()),
            };
        }
    };
    // The end of a task is acknowledged once the store has it: its leaf may come after.
    let may_be_told = act == Act::Close && reached == Reached::Durable;
    ensure!(code != 0 || may_be_told, "a command was acknowledged that killed Carnet");
    Ok(())
}

fn look(world: &World<'_>, act: Act, before: &mut Before, reached: Reached) -> anyhow::Result<()> {
    match act {
        Act::Open => opened(world, before, reached),
        Act::Approve => approved(world, before, reached),
        Act::Counted => counted(world, before, reached),
        Act::Uncounted | Act::Read => uncounted(world, before, act),
        Act::Close => closed(world, before, reached),
    }
}

/// The new task is there whole or not at all.
fn opened(world: &World<'_>, before: &Before, reached: Reached) -> anyhow::Result<()> {
    let open = audit::tasks(world, false)?;
    ensure!(open.contains_key(&before.task), "the older task is gone");
    let new: Vec<&String> = open.keys().filter(|task| **task != before.task).collect();
    ensure!(
        new.len() == usize::from(reached != Reached::Nothing),
        "{} new tasks are open",
        new.len()
    );
    for task in open.keys() {
        let mut agent = world.agent(task)?;
        done(&work::read(&mut agent)?).with_context(|| format!("{task} cannot be used"))?;
        agent.end();
    }
    Ok(())
}

/// The yes counts once or never; the question is not lost.
fn approved(world: &World<'_>, before: &mut Before, reached: Reached) -> anyhow::Result<()> {
    let Question { id: question, mut agent } = before.question.take().context("one was put")?;
    let waiting = work::questions(world)?;
    match reached {
        Reached::Nothing => {
            ensure!(
                waiting == [question.as_str()],
                "the question does not wait any more: {waiting:?}"
            );
            world.operate(&["approve", &question])?;
        }
        _ => ensure!(waiting.is_empty(), "the question still waits: {waiting:?}"),
    }
    done(&work::refund(&mut agent, "case")?)?;
    // One yes is one use: the next one is a new question.
    let again = work::refund(&mut agent, "case")?;
    ensure!(!work::is_done(&again), "one yes was used twice");
    agent.end();
    ensure!(work::refunds(world, "case")? == 1, "the refund was not carried out once");
    Ok(())
}

/// What was set aside and has no outcome stays spent.
fn counted(world: &World<'_>, before: &Before, reached: Reached) -> anyhow::Result<()> {
    let carried_out = usize::from(reached == Reached::Done);
    let count = work::refunds(world, "case")?;
    ensure!(count == carried_out, "the desk refunded {count} times, not {carried_out}");
    let spent = audit::uses(world, &before.task, "desk.tool.issue_refund")?;
    let expected = u64::from(reached != Reached::Nothing);
    ensure!(spent == expected, "{spent} uses are spent, not {expected}");
    let mut agent = world.agent(&before.task)?;
    let again = work::refund(&mut agent, "case")?;
    match reached {
        Reached::Nothing => done(&again)?,
        _ => drop(refused(&again)?),
    }
    refused(&work::refund(&mut agent, "case")?)?;
    agent.end();
    let count = work::refunds(world, "case")?;
    let expected = usize::from(reached != Reached::Durable);
    ensure!(count == expected, "after a repeat the desk refunded {count} times, not {expected}");
    Ok(())
}

/// What is not counted can be done again.
fn uncounted(world: &World<'_>, before: &Before, act: Act) -> anyhow::Result<()> {
    ensure!(world.journal()?.is_empty(), "the desk carried something out");
    let mut agent = world.agent(&before.task)?;
    done(&work::read(&mut agent)?)?;
    if act == Act::Uncounted {
        done(&work::message(&mut agent, "case")?)?;
    }
    agent.end();
    Ok(())
}

/// The task is over, or it was never ended.
fn closed(world: &World<'_>, before: &Before, reached: Reached) -> anyhow::Result<()> {
    let is_open = audit::tasks(world, false)?.contains_key(&before.task);
    ensure!(is_open == (reached == Reached::Nothing), "the task is open: {is_open}");
    if is_open {
        world.operate(&["task", "close", &before.task])?;
    }
    let again = world.try_command(&["task", "close", &before.task])?;
    ensure!(again.code == 3, "an ended task could be ended again ({})", again.code);
    let mut agent = world.agent(&before.task)?;
    let late = work::read(&mut agent);
    ensure!(!late.is_ok_and(|late| work::is_done(&late)), "an ended task still reads");
    agent.end();
    Ok(())
}
