//! A closed-loop MCP load client.
//!
//! Each connection introduces itself once and then calls the tool `echo` again and again, one call after another, each
//! with an argument of its own that the answer must carry back. Latency runs from the request's first byte handed to
//! the connection until the answer's body was read to its end. At its end it closes its session.

mod answer;
mod connection;
mod credential;
mod message;
mod proof;
mod tally;

use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use thiserror::Error;
use tokio::task::LocalSet;

use connection::Connection;
pub use credential::{Credential, CredentialError};
pub use message::Revision;
pub use proof::{ProofError, ProofKey};
use tally::Tally;
pub use tally::{RUN_S_MAX, Report};

/// The most connections of one run.
pub const CONNECTIONS_MAX: usize = 4_096;
/// The largest answer that is read, in bytes.
pub const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The longest a single answer is waited for.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(30);
/// How many times in a row a connection may fail to come back before it gives up.
const RECONNECTS_IN_A_ROW_MAX: u32 = 50;

/// What one run does.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The MCP endpoint, over plain HTTP.
    pub url: http::Uri,
    /// The revision to speak.
    pub revision: Revision,
    /// How many connections call at the same time.
    pub connections: usize,
    /// How long calls are made but not counted.
    pub warm_up: Duration,
    /// When to stop.
    pub stop: Stop,
    /// The name of the tool that echoes its `text`.
    pub tool: String,
    /// What to show with each request.
    pub credential: Credential,
}

/// When a run is over.
#[derive(Debug, Clone, Copy)]
pub enum Stop {
    /// After this long, not counting the warm-up.
    After(Duration),
    /// When every connection has made this many calls.
    Calls(u64),
}

/// Why something about a load run went wrong.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The plan cannot be carried out.
    #[error("{0}")]
    Plan(String),
    /// The connection could not be made or broke.
    #[error("the connection to {authority} failed: {source}")]
    Connection {
        /// Where to.
        authority: String,
        /// What went wrong.
        source: std::io::Error,
    },
    /// HTTP went wrong.
    #[error("HTTP: {0}")]
    Http(#[from] hyper::Error),
    /// A request could not be put together.
    #[error("the request is malformed: {0}")]
    Request(#[from] http::Error),
    /// The answer was not what had to come back.
    #[error("{0}")]
    Answer(String),
    /// The answer did not come in time.
    #[error("no answer within {} s", ANSWER_WAIT_MAX.as_secs())]
    Silence,
    /// The token or key cannot be used.
    #[error(transparent)]
    Credential(#[from] CredentialError),
}

impl LoadError {
    /// Whether the connection is still in step after this error: a whole, if wrong, answer was read.
    fn leaves_connection_usable(&self) -> bool {
        matches!(self, Self::Answer(_))
    }
}

/// Carries out `plan`, on the current thread.
///
/// # Errors
///
/// When the plan is impossible or not even the first introduction succeeds. Errors after that are counted.
pub async fn run(plan: Plan) -> Result<Report, LoadError> {
    check(&plan)?;
    let plan = Rc::new(plan);
    // One introduction before the clock starts, so that a wrong URL or token is an error and not a row of zeros.
    Connection::open(Rc::clone(&plan), 0).await?.close().await;
    let begin = Instant::now() + plan.warm_up;
    let tasks = LocalSet::new();
    let mut callers = Vec::with_capacity(plan.connections);
    for number in 0..plan.connections {
        callers.push(tasks.spawn_local(call_until_done(Rc::clone(&plan), number, begin)));
    }
    let mut tally = Tally::default();
    tasks
        .run_until(async {
            for caller in callers {
                match caller.await {
                    Ok(own) => tally.merge(own),
                    Err(error) => tally.note(&Arc::from(error.to_string())),
                }
            }
        })
        .await;
    let measured = match plan.stop {
        Stop::After(duration) => duration,
        Stop::Calls(_) => begin.elapsed(),
    };
    Ok(tally.report(plan.connections, measured))
}

fn check(plan: &Plan) -> Result<(), LoadError> {
    if plan.url.scheme_str() != Some("http") || plan.url.authority().is_none() {
        return Err(LoadError::Plan("the URL must be http://HOST:PORT/PATH".to_owned()));
    }
    if plan.connections == 0 || plan.connections > CONNECTIONS_MAX {
        return Err(LoadError::Plan(format!("connections must be 1 to {CONNECTIONS_MAX}")));
    }
    match plan.stop {
        Stop::After(duration) if duration.is_zero() || duration > RUN_S_MAX => {
            let most = RUN_S_MAX.as_secs();
            Err(LoadError::Plan(format!("a run takes at least 1 and at most {most} seconds")))
        }
        _ => Ok(()),
    }
}

async fn call_until_done(plan: Rc<Plan>, number: usize, begin: Instant) -> Tally {
    let mut tally = Tally::default();
    let mut connection = None;
    let mut fails_in_a_row = 0;
    let mut calls = 0;
    while !is_over(plan.stop, begin, calls) {
        let mut open = match connection.take() {
            Some(open) => open,
            None => match Connection::open(Rc::clone(&plan), number).await {
                Ok(open) => open,
                Err(error) => {
                    tally.fail(begin, &error);
                    fails_in_a_row += 1;
                    if fails_in_a_row > RECONNECTS_IN_A_ROW_MAX {
                        break;
                    }
                    // A refused connection fails at once; without a pause the loop would starve the others.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                }
            },
        };
        calls += 1;
        match open.call(calls).await {
            Ok(took) => {
                fails_in_a_row = 0;
                tally.succeed(begin, end(plan.stop, begin), took);
                connection = Some(open);
            }
            Err(error) => {
                tally.fail(begin, &error);
                if error.leaves_connection_usable() {
                    connection = Some(open);
                } else {
                    tally.reconnect(begin);
                }
            }
        }
    }
    if let Some(open) = connection {
        open.close().await;
    }
    tally
}

fn is_over(stop: Stop, begin: Instant, calls: u64) -> bool {
    match stop {
        Stop::After(_) => end(stop, begin).is_some_and(|end| Instant::now() >= end),
        Stop::Calls(most) => calls >= most,
    }
}

fn end(stop: Stop, begin: Instant) -> Option<Instant> {
    match stop {
        Stop::After(duration) => begin.checked_add(duration),
        Stop::Calls(_) => None,
    }
}
