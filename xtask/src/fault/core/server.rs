//! The server behind Carnet dies while a write is in flight.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context as _, ensure};

use super::audit;
use super::work::{self, Approve};
use super::world::{Start, Template, World, wait_until_free};
use super::{Case, Verdict};
use crate::installation::free_port;

/// What a request for a refund holds.
const REFUND: &[u8] = b"issue_refund";

/// The server dies before it acts, and after.
pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new("the server dies with a write in flight, before it acts", |template| {
            in_flight(template, "request", Loses::Request)
        }),
        Case::new("the server dies with a write in flight, after it acted", |template| {
            in_flight(template, "answer", Loses::Answer)
        }),
    ]
}

/// What a wire does with a refund that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loses {
    Nothing,
    /// The request: Carnet sent it and the server never saw it.
    Request,
    /// The answer: the server acted and Carnet never learns of it.
    Answer,
}

fn in_flight(template: &Template, name: &str, loses: Loses) -> anyhow::Result<Verdict> {
    let mut world = template.copy(name)?;
    let behind = free_port()?;
    world.start_desk(behind)?;
    let wire = Wire::lay(template.desk_port(), behind)?;
    world.start(&Start::default())?;
    let task = work::open(&world, Approve::Never)?;
    let mut agent = world.agent(&task)?;
    work::done(&work::message(&mut agent, "first")?)?;
    wire.lose(loses);
    let outcome = work::refund(&mut agent, "case")?;
    let desk = world.desk.as_mut().context("the desk runs")?;
    desk.kill();
    let why = work::refused(&outcome)?;
    ensure!(why.contains("outcome_unknown"), "it does not say that it was sent: {why}");
    wire.lose(Loses::Nothing);
    wait_until_free(behind)?;
    world.start_desk(behind)?;
    let carried_out = usize::from(loses == Loses::Answer);
    stays_spent(&world, &task, carried_out)?;
    agent.end();
    world.stop()?;
    world.start(&Start::default())?;
    stays_spent(&world, &task, carried_out).context("after a restart")?;
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

/// A wire to the server that can lose what goes over it.
struct Wire {
    loses: Arc<Mutex<Loses>>,
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

impl Wire {
    /// Lays a wire from `port` to what listens at `behind`.
    fn lay(port: u16, behind: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port))?;
        let loses = Arc::new(Mutex::new(Loses::Nothing));
        let wire = Self { loses: Arc::clone(&loses), ended: Arc::default(), port };
        let ended = Arc::clone(&wire.ended);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if ended.load(Ordering::Acquire) {
                    return;
                }
                if let Ok(server) = TcpStream::connect(("127.0.0.1", behind)) {
                    join(client, server, &loses);
                }
            }
        });
        Ok(wire)
    }

    fn lose(&self, loses: Loses) {
        *self.loses.lock().unwrap_or_else(PoisonError::into_inner) = loses;
    }
}

/// Carries bytes both ways, save what the wire loses; the connection is cut there.
fn join(client: TcpStream, server: TcpStream, loses: &Arc<Mutex<Loses>>) {
    let (Ok(mut asking), Ok(mut serving)) = (client.try_clone(), server.try_clone()) else {
        return;
    };
    let (mut client, mut server) = (client, server);
    let loses = Arc::clone(loses);
    let doomed = Arc::new(AtomicBool::new(false));
    let dooms = Arc::clone(&doomed);
    thread::spawn(move || {
        carry(&mut asking, &mut serving, |bytes| {
            let asks = bytes.windows(REFUND.len()).any(|window| window == REFUND);
            let loses = *loses.lock().unwrap_or_else(PoisonError::into_inner);
            dooms.fetch_or(asks && loses == Loses::Answer, Ordering::AcqRel);
            !(asks && loses == Loses::Request)
        });
        let _ = serving.shutdown(Shutdown::Both);
        let _ = asking.shutdown(Shutdown::Both);
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
