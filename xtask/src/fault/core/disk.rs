//! The disk runs full: of the ledger alone, and of everything.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

use super::audit;
use super::work::{self, Approve};
use super::world::{Agent, Start, Template, World};
use super::{Case, Verdict};
use crate::beside;

/// The most calls until a disk must have run full.
const CALLS_MAX: u32 = 400;
/// How long Carnet may take to see that there is space again.
const HEALS_WITHIN: Duration = Duration::from_secs(30);

/// What is on the small disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Small {
    Ledger,
    Everything,
}

/// A small disk that is full.
pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new("the ledger's disk is full across the end of a segment", |template| {
            full(template, Small::Ledger)
        }),
        Case::new("the disk of store and ledger is full", |template| {
            full(template, Small::Everything)
        }),
        Case::new("killed on a full disk", killed_when_full),
    ]
}

/// A file system in memory, taken down with its value.
struct Mount(PathBuf);

impl Mount {
    /// Puts a file system of so many bytes under what is in `dir`; none where that is not allowed.
    fn under(dir: &Path, bytes: u64) -> anyhow::Result<Result<Self, String>> {
        let aside = dir.with_extension("aside");
        std::fs::rename(dir, &aside)?;
        std::fs::create_dir(dir)?;
        std::fs::set_permissions(dir, std::fs::metadata(&aside)?.permissions())?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={bytes},mode=0700"), "tmpfs"]).arg(dir);
        let mounted = beside::finish(&mut mount, Duration::from_secs(10));
        match mounted {
            Ok(ended) if ended.code == 0 => {}
            Ok(ended) => return Ok(Err(ended.err.trim().to_owned())),
            Err(error) => return Ok(Err(error.to_string())),
        }
        let mounted = Self(dir.to_owned());
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(aside.join(".")).arg(dir);
        ensure!(beside::finish(&mut copy, Duration::from_secs(30))?.code == 0, "files do not fit");
        Ok(Ok(mounted))
    }

    /// Takes all the space there is; returns the file that does.
    fn fill(&self) -> anyhow::Result<PathBuf> {
        let ballast = self.0.join("ballast");
        let mut file = File::create(&ballast)?;
        for bytes in [64 << 10, 4 << 10, 1] {
            while file.write_all(&vec![0xa5; bytes]).is_ok() {}
        }
        Ok(ballast)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A world on a small disk.
fn small<'a>(
    template: &'a Template,
    name: &str,
    what: Small,
) -> anyhow::Result<Result<(World<'a>, Mount), String>> {
    let mut world = template.copy(name)?;
    let (dir, bytes) = match what {
        Small::Ledger => (world.dir().join("state/ledger"), 6 << 20),
        // The store keeps 16 MiB back for what narrows.
        Small::Everything => (world.dir().join("state"), 28 << 20),
    };
    let mount = match Mount::under(&dir, bytes)? {
        Ok(mount) => mount,
        Err(why) => return Ok(Err(format!("a file system of its own is needed: {why}"))),
    };
    world.start_desk(template.desk_port())?;
    world.start(&Start::default())?;
    Ok(Ok((world, mount)))
}

fn full(template: &Template, what: Small) -> anyhow::Result<Verdict> {
    let (mut world, mount) = match small(template, &format!("full-{what:?}"), what)? {
        Ok(both) => both,
        Err(why) => return Ok(Verdict::Skipped(why)),
    };
    let (first, second) =
        (work::open(&world, Approve::Never)?, work::open(&world, Approve::Never)?);
    let mut agent = world.agent(&first)?;
    work::done(&work::message(&mut agent, "before")?)?;
    let ballast = mount.fill()?;
    exhaust(&mut agent)?;
    everything_ordinary_is_denied(&world, &mut agent)?;
    brakes_work(&world, &second)?;
    std::fs::remove_file(&ballast)?;
    heals(&world)?;
    let leaves = audit::all(&world)?;
    ensure!(leaves.count("task", &second, "closed") == 1, "the end of a task is not recorded once");
    work::whole_run(&world, "afterwards").context("afterwards")?;
    agent.end();
    world.stop()?;
    world.start(&Start::default()).context("it does not start again")?;
    audit::all(&world).context("after a restart")?;
    work::whole_run(&world, "restarted").context("after a restart")?;
    world.stop()?;
    drop(world);
    drop(mount);
    Ok(Verdict::Held)
}

/// Reads until Carnet says that it cannot record.
fn exhaust(agent: &mut Agent) -> anyhow::Result<()> {
    for _ in 0..CALLS_MAX {
        let outcome = work::read(agent)?;
        if !work::is_done(&outcome) {
            let why = work::refused(&outcome)?;
            ensure!(why.contains("ledger_unavailable"), "it was refused for another reason: {why}");
            return Ok(());
        }
    }
    bail!("{CALLS_MAX} reads fit on a full disk")
}

fn everything_ordinary_is_denied(world: &World<'_>, agent: &mut Agent) -> anyhow::Result<()> {
    let before = world.journal()?.len();
    for outcome in [work::refund(agent, "case")?, work::message(agent, "full")?, work::read(agent)?]
    {
        let why = work::refused(&outcome)?;
        ensure!(
            why.contains("ledger_unavailable") || why.contains("control_unavailable"),
            "it was refused for another reason: {why}"
        );
    }
    ensure!(world.journal()?.len() == before, "a write was carried out that nobody could record");
    let file = work::intent(world, Approve::Never)?;
    let ended = world.try_command(&work::opening(&file))?;
    ensure!(ended.code == 1, "a task could be opened ({}): {}", ended.code, ended.out);
    Ok(())
}

/// Closing and locking are durable and in force on a full disk.
fn brakes_work(world: &World<'_>, task: &str) -> anyhow::Result<()> {
    let closed = world.operate(&["task", "close", task]).context("a task cannot be ended")?;
    ensure!(closed.pointer("/instants/durable") == Some(&json!(true)), "not durable: {closed}");
    let locked = world.operate(&["lock", "resource:desk", "--reason", "the disk is full"])?;
    ensure!(locked.pointer("/instants/durable") == Some(&json!(true)), "not durable: {locked}");
    ensure!(!audit::tasks(world, false)?.contains_key(task), "an ended task is still open");
    Ok(())
}

/// With space again Carnet takes records without being told.
fn heals(world: &World<'_>) -> anyhow::Result<()> {
    let file = work::intent(world, Approve::Never)?;
    let deadline = Instant::now() + HEALS_WITHIN;
    loop {
        let ended = world.try_command(&work::opening(&file))?;
        match ended.code {
            0 => break,
            _ if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(200)),
            code => bail!("with space again it still refuses ({code}): {}", ended.err.trim()),
        }
    }
    let status = world.operate(&["status"])?;
    let locks = status.get("locks").and_then(Value::as_array).context("a status has locks")?;
    ensure!(locks.len() == 1, "{} locks are in force, not 1", locks.len());
    let lock = locks.first().and_then(|lock| lock.get("id")?.as_str()).context("a lock's id")?;
    world.operate(&["unlock", lock])?;
    Ok(())
}

fn killed_when_full(template: &Template) -> anyhow::Result<Verdict> {
    let (mut world, mount) = match small(template, "full-killed", Small::Ledger)? {
        Ok(both) => both,
        Err(why) => return Ok(Verdict::Skipped(why)),
    };
    let (first, second) =
        (work::open(&world, Approve::Never)?, work::open(&world, Approve::Never)?);
    let mut agent = world.agent(&first)?;
    work::done(&work::refund(&mut agent, "case")?)?;
    let ballast = mount.fill()?;
    exhaust(&mut agent)?;
    agent.end();
    brakes_work(&world, &second)?;
    world.kill();
    audit::at_rest(&world)?;
    world.start(&Start::default()).context("it does not start on a full disk")?;
    ensure!(!audit::tasks(&world, false)?.contains_key(&second), "an ended task is open again");
    world.kill();
    std::fs::remove_file(&ballast)?;
    world.start(&Start::default()).context("it does not start with space again")?;
    heals(&world)?;
    audit::all(&world)?;
    let mut agent = world.agent(&first)?;
    work::refused(&work::refund(&mut agent, "case")?)?;
    agent.end();
    work::whole_run(&world, "afterwards").context("afterwards")?;
    world.stop()?;
    drop(world);
    drop(mount);
    Ok(Verdict::Held)
}
