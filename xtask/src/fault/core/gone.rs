//! Whoever asked goes away while Carnet works: what was begun is finished, and nothing is confused.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::audit;
use super::chance::Dice;
use super::work::{self, Approve};
use super::world::{Template, World};
use super::{Case, Verdict};

/// How often somebody goes away.
const TIMES: usize = 40;
/// The latest moment at which they do, in microseconds.
const PATIENCE_US_MAX: u64 = 6_000;

/// Operators and agents that do not wait.
pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(format!("{TIMES} operators who do not wait for the end of a task"), operators),
        Case::new("agents that are killed in the midst of a call", agents),
    ]
}

fn operators(template: &Template) -> anyhow::Result<Verdict> {
    let mut dice = Dice::new();
    let world = template.world("operators")?;
    let mut tasks = Vec::new();
    for _ in 0..TIMES {
        tasks.push(work::open(&world, Approve::Never)?);
    }
    for task in &tasks {
        let patience = Duration::from_micros(dice.roll(PATIENCE_US_MAX));
        close_and_leave(&world, task, patience)?;
    }
    for task in &tasks {
        let ended = world.try_command(&["task", "close", task])?;
        let text = ended.err.trim();
        ensure!(matches!(ended.code, 0 | 3), "{task} cannot be ended ({}): {text}", ended.code);
    }
    ensure!(audit::tasks(&world, false)?.is_empty(), "a task is still open");
    audit::all(&world)?;
    work::whole_run(&world, "afterwards").context("afterwards")?;
    Ok(Verdict::Held)
}

/// Asks for the end of a task and hangs up after a moment.
fn close_and_leave(world: &World<'_>, task: &str, patience: Duration) -> anyhow::Result<()> {
    let body = "{\"closure\":\"completed\"}";
    let mut stream = UnixStream::connect(world.socket())?;
    write!(
        stream,
        "POST /v1/tasks/{task}/close HTTP/1.1\r\nhost: carnet\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    stream.set_read_timeout(Some(patience.max(Duration::from_micros(1))))?;
    // An answer that comes in time is not looked at: many will not.
    let _ = stream.read(&mut [0; 16]);
    Ok(())
}

fn agents(template: &Template) -> anyhow::Result<Verdict> {
    let mut dice = Dice::new();
    let world = template.world("agents")?;
    for at in 0..12 {
        let task = work::open(&world, Approve::Never)?;
        let reason = format!("agent {at}");
        let mut agent = world.agent(&task)?;
        work::done(&work::message(&mut agent, "so that the session is there")?)?;
        agent.begin("issue_refund", work::refund_arguments(&reason))?;
        std::thread::sleep(Duration::from_micros(dice.roll(30_000)));
        // Agent and bridge die; Carnet sees the connection go.
        agent.kill();
        let mut agent = world.agent(&task)?;
        for _ in 0..2 {
            let outcome = work::refund(&mut agent, &reason)?;
            ensure!(
                work::is_done(&outcome) || work::refused(&outcome).is_ok(),
                "a call after that was neither done nor refused: {outcome}"
            );
        }
        agent.end();
        let count = work::refunds(&world, &reason)?;
        ensure!(count <= 1, "one use was spent {count} times");
        world.operate(&["task", "close", &task]).context("a task cannot be ended")?;
    }
    audit::all(&world)?;
    work::whole_run(&world, "afterwards").context("afterwards")?;
    Ok(Verdict::Held)
}
