//! The socket workloads connect to: its file, and how many may sit at it.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tonic::transport::server::Connected;

use crate::workload::WorkloadError;
use crate::workload::authority::Authorities;
use crate::workload::peer::Peer;

/// Anybody may ask: who they are is told by the kernel, not by who can open the file.
const SOCKET_MODE: u32 = 0o666;
/// The folder, where we make it.
const DIR_MODE: u32 = 0o755;
/// Written by others than its owner.
const DIR_OPEN: u32 = 0o022;
/// Nobody removes what another made.
const DIR_STICKY: u32 = 0o1000;
/// The most connections at once.
const CONNECTIONS_MAX: usize = 1024;
/// The most of one uid, so that one workload cannot shut out the others.
const CONNECTIONS_OF_UID_MAX: usize = 64;
/// How much is read at once.
const READ_BYTES: usize = 8 * 1024;
/// How long to wait after a connection could not be accepted.
const ACCEPT_PAUSE_MS: u64 = 100;

/// A bound socket. Dropping it removes the file, where it is still ours.
#[derive(Debug)]
pub struct WorkloadSocket {
    listener: UnixListener,
    path: PathBuf,
    file: (u64, u64),
    seats: Seats,
}

impl WorkloadSocket {
    /// Binds the socket at `path`, for everybody to connect to. A socket that nobody listens on is
    /// replaced; anything else that is there is left alone.
    pub async fn bind(path: &Path) -> Result<Self, WorkloadError> {
        prepare_dir(path)?;
        clear(path).await?;
        let failed = |error| WorkloadError::Bind { path: path.to_owned(), error };
        let listener = UnixListener::bind(path).map_err(failed)?;
        let mode = std::fs::Permissions::from_mode(SOCKET_MODE);
        std::fs::set_permissions(path, mode).map_err(failed)?;
        let about = std::fs::symlink_metadata(path).map_err(failed)?;
        let file = (about.dev(), about.ino());
        Ok(Self { listener, path: path.to_owned(), file, seats: Seats::default() })
    }

    /// Where it is, as `SPIFFE_ENDPOINT_SOCKET` wants it.
    pub fn endpoint(&self) -> String {
        format!("unix://{}", self.path.display())
    }

    /// The connections as they come. Those there is no seat for are closed at once.
    pub(crate) fn incoming(self) -> impl Stream<Item = io::Result<Connection>> {
        futures::stream::unfold(self, |socket| async move {
            let connection = socket.next().await;
            Some((Ok(connection), socket))
        })
    }

    async fn next(&self) -> Connection {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    if let Some(connection) = self.seats.admit(stream) {
                        return connection;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "a workload could not connect");
                    tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
                }
            }
        }
    }
}

impl Drop for WorkloadSocket {
    fn drop(&mut self) {
        let ours = std::fs::symlink_metadata(&self.path)
            .is_ok_and(|about| (about.dev(), about.ino()) == self.file);
        if ours && let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(%error, "the Workload API socket could not be removed");
        }
    }
}

/// A folder that others can write to, and that is not sticky, lets them put their own socket in
/// the place of ours.
fn prepare_dir(path: &Path) -> Result<(), WorkloadError> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |error| WorkloadError::Directory { dir: dir.to_owned(), error };
    if !dir.exists() {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(DIR_MODE).create(dir).map_err(failed)?;
        let mode = std::fs::Permissions::from_mode(DIR_MODE);
        std::fs::set_permissions(dir, mode).map_err(failed)?;
    }
    let mode = std::fs::metadata(dir).map_err(failed)?.mode();
    match mode & DIR_OPEN != 0 && mode & DIR_STICKY == 0 {
        true => Err(WorkloadError::DirectoryOpen { dir: dir.to_owned() }),
        false => Ok(()),
    }
}

/// Makes room at `path`: removes a socket that nobody listens on, and nothing else.
async fn clear(path: &Path) -> Result<(), WorkloadError> {
    let occupied = || WorkloadError::Occupied { path: path.to_owned() };
    let about = match std::fs::symlink_metadata(path) {
        Ok(about) => about,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(WorkloadError::Bind { path: path.to_owned(), error }),
    };
    if !about.file_type().is_socket() {
        return Err(occupied());
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            let removed = std::fs::remove_file(path);
            removed.map_err(|error| WorkloadError::Bind { path: path.to_owned(), error })
        }
        _ => Err(occupied()),
    }
}

/// How many sit at the socket, by uid.
#[derive(Debug, Clone, Default)]
struct Seats(Arc<Mutex<HashMap<u32, usize>>>);

impl Seats {
    fn admit(&self, stream: UnixStream) -> Option<Connection> {
        let credentials = stream.peer_cred().ok()?;
        let seat = self.take(credentials.uid())?;
        Some(Connection {
            stream,
            authorities: Authorities::default(),
            read: Vec::new(),
            given: 0,
            peer: Arc::new(Peer::of(credentials)),
            _seat: seat,
        })
    }

    fn take(&self, uid: u32) -> Option<Seat> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_uid = taken.get(&uid).copied().unwrap_or(0);
        if taken.values().sum::<usize>() >= CONNECTIONS_MAX || of_uid >= CONNECTIONS_OF_UID_MAX {
            tracing::warn!(uid, "too many connections to the Workload API: one was closed");
            return None;
        }
        taken.insert(uid, of_uid + 1);
        Some(Seat { seats: self.clone(), uid })
    }
}

/// One place at the socket, given back when dropped.
#[derive(Debug)]
struct Seat {
    seats: Seats,
    uid: u32,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.0.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.uid) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(taken.remove(&self.uid)),
        }
    }
}

/// One connection, and who is at its other end.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: UnixStream,
    authorities: Authorities,
    /// What was read and can be given, and how much of it was.
    read: Vec<u8>,
    given: usize,
    peer: Arc<Peer>,
    _seat: Seat,
}

impl Connected for Connection {
    type ConnectInfo = Arc<Peer>;

    fn connect_info(&self) -> Arc<Peer> {
        Arc::clone(&self.peer)
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.given >= self.read.len() {
            match ready!(self.poll_more(context))? {
                0 => return Poll::Ready(Ok(())),
                _more => {}
            }
        }
        let left = self.read.get(self.given..).unwrap_or_default();
        let count = left.len().min(buffer.remaining());
        buffer.put_slice(left.get(..count).unwrap_or_default());
        self.given += count;
        Poll::Ready(Ok(()))
    }
}

impl Connection {
    /// Reads more, and tells how much there is to give or to wait for; nothing at the end.
    fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut bytes = [0; READ_BYTES];
        let mut buffer = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
        self.read.clear();
        self.given = 0;
        let count = buffer.filled().len();
        match count {
            0 => self.authorities.finish(&mut self.read),
            _ => self.authorities.feed(buffer.filled(), &mut self.read),
        }
        Poll::Ready(Ok(count.max(self.read.len())))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_bounded_for_one_uid_and_given_back() {
        let seats = Seats::default();
        let taken: Vec<_> = (0..CONNECTIONS_OF_UID_MAX).map(|_| seats.take(7).unwrap()).collect();
        assert!(seats.take(7).is_none());
        assert!(seats.take(8).is_some());
        drop(taken);
        assert!(seats.take(7).is_some());
        assert!(seats.0.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn only_a_socket_nobody_listens_on_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/workload.sock");
        let first = WorkloadSocket::bind(&path).await.unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o666);
        assert_eq!(std::fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777, 0o755);
        let second = WorkloadSocket::bind(&path).await;
        assert!(matches!(second, Err(WorkloadError::Occupied { .. })));
        drop(first);
        assert!(!path.exists(), "its file goes with it");

        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let stale = WorkloadSocket::bind(&path).await.unwrap();
        drop(stale);
        std::fs::write(&path, b"a file").unwrap();
        assert!(matches!(WorkloadSocket::bind(&path).await, Err(WorkloadError::Occupied { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), b"a file");
    }

    #[tokio::test]
    async fn a_folder_others_can_write_to_is_refused_unless_it_is_sticky() {
        let dir = tempfile::tempdir().unwrap();
        let mode = |mode| std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(dir.path(), mode(0o777)).unwrap();
        let path = dir.path().join("workload.sock");
        let refused = WorkloadSocket::bind(&path).await;
        assert!(matches!(refused, Err(WorkloadError::DirectoryOpen { .. })));
        std::fs::set_permissions(dir.path(), mode(0o1777)).unwrap();
        WorkloadSocket::bind(&path).await.unwrap();
    }
}
