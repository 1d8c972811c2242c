//! Upstreams that are child processes: one child a session, a cleared environment, bounded output,
//! and a process group that is killed whole.

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use carnet_core::{Path, ResourceName};
use secrecy::ExposeSecret;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{Mutex as AsyncMutex, mpsc};

use super::{
    ANSWER_BYTES_MAX, Inbound, Messages, Outbound, Reply, UpstreamError, WAITING_MESSAGES_MAX,
};
use crate::control::Credential;
use crate::mcp::codec::{Id, Message, Sender, read_message};

/// How much of a child's standard error is kept for the operator's log.
const STDERR_BYTES_MAX: u64 = 64 << 10;
/// The most requests of one session that may wait at once.
const WAITING_REQUESTS_MAX: usize = 256;
/// Where programs are looked for: the child inherits nothing else.
const CHILD_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

type Answers = mpsc::Sender<Result<Inbound, UpstreamError>>;

/// One session with one child process.
#[derive(Debug)]
pub(crate) struct StdioLink {
    input: AsyncMutex<ChildStdin>,
    router: Arc<Router>,
    group: Group,
}

/// Who waits for what the child says.
#[derive(Debug, Default)]
struct Router {
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Requests by id, in the order they were sent.
    requests: HashMap<Id, (u64, Answers)>,
    next: u64,
    /// The stream of what belongs to no request.
    listener: Option<Answers>,
    ended: Option<UpstreamError>,
}

/// A process group, killed when the session goes.
#[derive(Debug)]
struct Group(Option<rustix::process::Pid>);

impl StdioLink {
    /// Starts the child. The command comes from the registry, never from a request.
    pub(crate) fn open(
        resource: &ResourceName,
        path: Path,
        command: &str,
        args: &[String],
        credential: Option<Credential>,
    ) -> Result<Self, UpstreamError> {
        let mut child = spawn(command, args, credential)?;
        let ended = |what: &str| UpstreamError::Ended(format!("it has no {what}"));
        let input = child.stdin.take().ok_or_else(|| ended("standard input"))?;
        let output = child.stdout.take().ok_or_else(|| ended("standard output"))?;
        let errors = child.stderr.take().ok_or_else(|| ended("standard error"))?;
        let group =
            Group(child.id().and_then(|id| {
                rustix::process::Pid::from_raw(i32::try_from(id).unwrap_or_default())
            }));
        let router = Arc::new(Router::default());
        tokio::spawn(read_output(output, Arc::clone(&router), child));
        tokio::spawn(read_errors(errors, resource.clone(), path));
        Ok(Self { input: AsyncMutex::new(input), router, group })
    }

    pub(crate) async fn send(&self, outbound: Outbound<'_>) -> Result<Reply, UpstreamError> {
        let reply = match &outbound.id {
            Some(id) => Reply::Messages(self.router.expect(id.clone())?),
            None => Reply::Accepted,
        };
        let line = one_line(&outbound.bytes)?;
        let mut input = self.input.lock().await;
        let ended = |error: std::io::Error| UpstreamError::Ended(error.to_string());
        input.write_all(&line).await.map_err(ended)?;
        input.write_all(b"\n").await.map_err(ended)?;
        input.flush().await.map_err(ended)?;
        Ok(reply)
    }

    pub(crate) async fn listen(&self) -> Result<Messages, UpstreamError> {
        let (sender, messages) = mpsc::channel(WAITING_MESSAGES_MAX);
        self.router.lock().listener = Some(sender);
        Ok(messages)
    }

    pub(crate) fn close(&self) {
        self.group.kill();
    }
}

fn spawn(
    command: &str,
    args: &[String],
    credential: Option<Credential>,
) -> Result<Child, UpstreamError> {
    let mut spawned = Command::new(command);
    spawned
        .args(args)
        .env_clear()
        .env("PATH", CHILD_PATH)
        .env("LANG", "C.UTF-8")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    if let Some(Credential { secret, as_variable: Some(variable) }) = credential {
        spawned.env(variable, secret.expose_secret());
    }
    spawned
        .spawn()
        .map_err(|error| UpstreamError::Ended(format!("`{command}` could not be started: {error}")))
}

/// A message as one line. JSON may hold line breaks only between its tokens, where a space is as
/// good; a message that would have to change otherwise is refused.
fn one_line(bytes: &Bytes) -> Result<Bytes, UpstreamError> {
    if !bytes.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        return Ok(bytes.clone());
    }
    let line: Vec<u8> =
        bytes.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }).collect();
    Ok(line.into())
}

async fn read_output(output: impl AsyncRead + Unpin, router: Arc<Router>, mut child: Child) {
    let mut reader = BufReader::new(output);
    let error = loop {
        match read_line(&mut reader).await {
            Ok(Some(line)) => {
                if let Err(error) = router.route(line).await {
                    break error;
                }
            }
            Ok(None) => break UpstreamError::Ended("it closed its output".into()),
            Err(error) => break error,
        }
    };
    // Whatever ended the conversation ends the process, its children included.
    let group = Group(
        child
            .id()
            .and_then(|id| rustix::process::Pid::from_raw(i32::try_from(id).unwrap_or_default())),
    );
    group.kill();
    let _ = child.wait().await;
    router.end(error).await;
}

async fn read_line(
    reader: &mut (impl AsyncBufReadExt + Unpin),
) -> Result<Option<Bytes>, UpstreamError> {
    loop {
        let mut line = Vec::new();
        let mut bounded = (&mut *reader).take(ANSWER_BYTES_MAX as u64 + 1);
        let read = bounded.read_until(b'\n', &mut line).await;
        let read = read.map_err(|error| UpstreamError::Ended(error.to_string()))?;
        if read == 0 {
            return Ok(None);
        }
        if line.len() > ANSWER_BYTES_MAX {
            return Err(UpstreamError::Answer("a message is too long".into()));
        }
        let trimmed = line.trim_ascii();
        if !trimmed.is_empty() {
            return Ok(Some(Bytes::copy_from_slice(trimmed)));
        }
    }
}

/// The child's standard error goes to the log, bounded, and then nowhere.
async fn read_errors(errors: impl AsyncRead + Unpin, resource: ResourceName, path: Path) {
    let mut limited = BufReader::new(errors.take(STDERR_BYTES_MAX));
    let mut line = String::new();
    while let Ok(1..) = limited.read_line(&mut line).await {
        let shown: String =
            line.trim_end().chars().take(500).flat_map(char::escape_debug).collect();
        tracing::debug!(%resource, %path, stderr = %shown, "the upstream's process says");
        line.clear();
    }
    let mut rest = limited.into_inner().into_inner();
    let _ = tokio::io::copy(&mut rest, &mut tokio::io::sink()).await;
}

impl Router {
    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn expect(&self, id: Id) -> Result<Messages, UpstreamError> {
        let mut waiting = self.lock();
        if let Some(ended) = &waiting.ended {
            return Err(ended.clone());
        }
        waiting.requests.retain(|_, (_, answers)| !answers.is_closed());
        if waiting.requests.len() >= WAITING_REQUESTS_MAX || waiting.requests.contains_key(&id) {
            let problem = "too many requests wait, or one with this id does already";
            return Err(UpstreamError::Answer(problem.into()));
        }
        let (sender, messages) = mpsc::channel(WAITING_MESSAGES_MAX);
        let place = waiting.next;
        waiting.next += 1;
        waiting.requests.insert(id, (place, sender));
        Ok(messages)
    }

    /// An answer goes to who asked. Anything else goes to the oldest request that waits, for a
    /// child cannot say what it belongs to, or to the listener.
    async fn route(&self, line: Bytes) -> Result<(), UpstreamError> {
        let message = read_message(line, Sender::Server)
            .map_err(|refusal| UpstreamError::Answer(refusal.to_string()))?;
        let answers = {
            let mut waiting = self.lock();
            match &message {
                Message::Response(response) => {
                    let id = response.id.as_ref();
                    id.and_then(|id| waiting.requests.remove(id)).map(|(_, answers)| answers)
                }
                _ => {
                    let oldest = waiting.requests.values().min_by_key(|(place, _)| *place);
                    oldest.map(|(_, answers)| answers).or(waiting.listener.as_ref()).cloned()
                }
            }
        };
        if let Some(answers) = answers {
            let _ = answers.send(Ok(Inbound { message, status: 200 })).await;
        }
        Ok(())
    }

    async fn end(&self, error: UpstreamError) {
        let waiting: Vec<Answers> = {
            let mut waiting = self.lock();
            waiting.ended = Some(error.clone());
            let listener = waiting.listener.take();
            waiting.requests.drain().map(|(_, (_, answers))| answers).chain(listener).collect()
        };
        for answers in waiting {
            let _ = answers.send(Err(error.clone())).await;
        }
    }
}

impl Group {
    fn kill(&self) {
        if let Some(pid) = self.0 {
            let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        }
    }
}

impl Drop for StdioLink {
    fn drop(&mut self) {
        self.group.kill();
    }
}
