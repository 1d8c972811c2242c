//! The server behind Carnet dies while a write is in flight.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::audit;
use super::work::{self, Approve};
use super::world::{Start, Template, World, wait_until_free};
use super::{Case, Verdict};
use crate::installation::free_port;

/// How long a call may take to be under way.
const UNDER_WAY: Duration = Duration::from_millis(1_500);

/// The server dies before it acts, and after.
pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new("the server dies with a write in flight, before it acts", before_it_acts),
        Case::new("the server acts and its answer is lost", answer_is_lost),
    ]
}

fn before_it_acts(template: &Template) -> anyhow::Result<Verdict> {
    let mut world = template.world("stopped")?;
    let task = work::open(&world, Approve::Never)?;
    let mut agent = world.agent(&task)?;
    // What the server offers is looked at now, so that only the write itself meets a dead server.
    work::done(&work::message(&mut agent, "first")?)?;
    let desk = world.desk.as_mut().context("the desk runs")?;
    desk.signal("STOP")?;
    agent.begin("issue_refund", work::refund_arguments("case"))?;
    thread::sleep(UNDER_WAY);
    desk.kill();
    let outcome = agent.outcome()?;
    let why = work::refused(&outcome)?;
    ensure!(why.contains("upstream_failed"), "it does not say that the server failed: {why}");
    wait_until_free(template.desk_port())?;
    world.start_desk(template.desk_port())?;
    stays_spent(&world, &task, 0)?;
    agent.end();
    world.stop()?;
    world.start(&Start::default())?;
    stays_spent(&world, &task, 0).context("after a restart")?;
    work::whole_run(&world, "afterwards").context("afterwards")?;
    Ok(Verdict::Held)
}

fn answer_is_lost(template: &Template) -> anyhow::Result<Verdict> {
    let mut world = template.copy("lost")?;
    let behind = free_port()?;
    world.start_desk(behind)?;
    let cut = cutting_wire(template.desk_port(), behind)?;
    world.start(&Start::default())?;
    let task = work::open(&world, Approve::Never)?;
    let mut agent = world.agent(&task)?;
    work::done(&work::message(&mut agent, "first")?)?;
    cut.cuts.store(true, Ordering::Release);
    let outcome = work::refund(&mut agent, "case")?;
    let why = work::refused(&outcome)?;
    ensure!(why.contains("upstream_failed"), "it does not say that the server failed: {why}");
    cut.cuts.store(false, Ordering::Release);
    stays_spent(&world, &task, 1)?;
    agent.end();
    world.stop()?;
    world.start(&Start::default())?;
    stays_spent(&world, &task, 1).context("after a restart")?;
    work::whole_run(&world, "afterwards").context("afterwards")?;
    Ok(Verdict::Held)
}

/// The outcome is recorded as not known, and the use stays spent whatever the server did.
fn stays_spent(world: &World<'_>, task: &str, carried_out: usize) -> anyhow::Result<()> {
    let leaves = audit::all(world)?;
    let outcomes = leaves.outcomes("desk.tool.issue_refund");
    ensure!(outcomes == ["unknown"], "the outcomes are {outcomes:?}");
    let mut agent = world.agent(task)?;
    work::refused(&work::refund(&mut agent, "case")?).context("the use is spent")?;
    agent.end();
    let count = work::refunds(world, "case")?;
    ensure!(count == carried_out, "the desk refunded {count} times, not {carried_out}");
    let spent = audit::uses(world, task, "desk.tool.issue_refund")?;
    ensure!(spent == 1, "{spent} uses are spent, not 1");
    Ok(())
}

/// A wire to the server that can lose the answers to calls.
struct Wire {
    cuts: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
    port: u16,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        // So that the one who waits for connections sees it.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn cutting_wire(port: u16, behind: u16) -> anyhow::Result<Wire> {
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    let (cuts, ended) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let wire = Wire { cuts: Arc::clone(&cuts), ended: Arc::clone(&ended), port };
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            if ended.load(Ordering::Acquire) {
                return;
            }
            if let Ok(server) = TcpStream::connect(("127.0.0.1", behind)) {
                join(client, server, &cuts);
            }
        }
    });
    Ok(wire)
}

/// Carries bytes both ways. A connection that asked for a refund while the wire cuts loses the answer.
fn join(client: TcpStream, server: TcpStream, cuts: &Arc<AtomicBool>) {
    let (Ok(mut asking), Ok(mut serving)) = (client.try_clone(), server.try_clone()) else {
        return;
    };
    let (mut client, mut server) = (client, server);
    let doomed = Arc::new(AtomicBool::new(false));
    let (dooms, cuts) = (Arc::clone(&doomed), Arc::clone(cuts));
    thread::spawn(move || {
        carry(&mut asking, &mut serving, |bytes| {
            let asks = bytes.windows(12).any(|window| window == b"issue_refund");
            if asks && cuts.load(Ordering::Acquire) {
                dooms.store(true, Ordering::Release);
            }
            true
        });
        let _ = serving.shutdown(Shutdown::Both);
    });
    thread::spawn(move || {
        carry(&mut server, &mut client, |_| !doomed.load(Ordering::Acquire));
        let _ = client.shutdown(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
    });
}

fn carry(from: &mut impl Read, to: &mut impl Write, mut may: impl FnMut(&[u8]) -> bool) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let bytes = buffer.get(..count).unwrap_or_default();
        if !may(bytes) || to.write_all(bytes).is_err() {
            return;
        }
    }
}
