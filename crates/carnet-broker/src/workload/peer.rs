//! Who is at the other end of a socket, as the kernel says and never as the peer does.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use carnet_core::{Agent, Digest};
use tokio::net::unix::UCred;
use tokio::sync::{OnceCell, Semaphore};

/// Where the kernel tells of processes.
const PROCESSES: &str = "/proc";
/// The largest executable whose digest is taken.
const EXECUTABLE_BYTES_MAX: u64 = 1 << 30;
/// How many digests are taken at once.
static DIGESTS: Semaphore = Semaphore::const_new(2);

/// The peer of one connection. Credentials are those of the moment it connected.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) uid: u32,
    gid: u32,
    pub(crate) pid: Option<i32>,
    process: Option<Process>,
    digest: OnceCell<Option<Digest>>,
}

/// A process, and which of all that ever had its number.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Process {
    dir: PathBuf,
    started: u64,
    executable: PathBuf,
}

impl Peer {
    /// The peer with these credentials.
    pub(crate) fn of(credentials: UCred) -> Self {
        let process = credentials.pid().and_then(|pid| Process::read(Path::new(PROCESSES), pid));
        Self {
            uid: credentials.uid(),
            gid: credentials.gid(),
            pid: credentials.pid(),
            process,
            digest: OnceCell::new(),
        }
    }

    /// Whether it is what `agent` must be. The uid is asked first; the digest last, because it
    /// reads the whole executable.
    pub(crate) async fn is(&self, agent: &Agent) -> bool {
        let Some(wanted) = &agent.selectors else { return false };
        if wanted.uid != self.uid || wanted.gid.is_some_and(|gid| gid != self.gid) {
            return false;
        }
        if let Some(path) = &wanted.executable
            && self.executable() != Some(Path::new(path))
        {
            return false;
        }
        match &wanted.executable_digest {
            Some(digest) => self.digest().await == Some(*digest),
            None => true,
        }
    }

    fn executable(&self) -> Option<&Path> {
        self.process.as_ref().map(|process| process.executable.as_path())
    }

    async fn digest(&self) -> Option<Digest> {
        let digest = self.digest.get_or_init(|| async {
            let process = self.process.clone()?;
            let _turn = DIGESTS.acquire().await.ok()?;
            tokio::task::spawn_blocking(move || process.digest()).await.ok().flatten()
        });
        *digest.await
    }
}

impl Process {
    /// Reads what process `pid` runs. Its start is read before and after, so that what was read is
    /// not of another process that got the same number in between.
    fn read(processes: &Path, pid: i32) -> Option<Self> {
        let dir = processes.join(pid.to_string());
        let started = start_of(&dir)?;
        let executable = std::fs::read_link(dir.join("exe")).ok()?;
        let process = Self { dir, started, executable };
        process.still_runs().then_some(process)
    }

    fn still_runs(&self) -> bool {
        start_of(&self.dir) == Some(self.started)
    }

    /// The digest of the file it runs, which may since be another file under the same name.
    fn digest(&self) -> Option<Digest> {
        let file = File::open(self.dir.join("exe")).ok()?;
        let about = file.metadata().ok()?;
        if !about.is_file() || about.len() > EXECUTABLE_BYTES_MAX {
            return None;
        }
        let digest = digest_of(file.take(EXECUTABLE_BYTES_MAX))?;
        self.still_runs().then_some(digest)
    }
}

/// When the process at `dir` started, in ticks since boot: the 22nd field of its `stat`. The second
/// is its name in brackets and may hold anything, brackets included.
fn start_of(dir: &Path) -> Option<u64> {
    let stat = std::fs::read(dir.join("stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_ascii_whitespace().nth(19)?.parse().ok()
}

fn digest_of(mut reader: impl Read) -> Option<Digest> {
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = reader.read(&mut buffer).ok()?;
        if read == 0 {
            break;
        }
        context.update(buffer.get(..read)?);
    }
    let hex: String = context.finish().as_ref().iter().map(|b| format!("{b:02x}")).collect();
    format!("sha256:{hex}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fake(dir: &Path, pid: i32, stat: &str) -> PathBuf {
        let process = dir.join(pid.to_string());
        std::fs::create_dir_all(&process).unwrap();
        std::fs::write(process.join("stat"), stat).unwrap();
        process
    }

    fn stat(name: &str, started: u64) -> String {
        let before = vec!["1"; 18].join(" ");
        format!("7 ({name}) S {before} {started} 1 2 3\n")
    }

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_move_the_fields() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["sh", "a) S 1 1 1 1", ") 1 2 3 (", "\u{e9}"] {
            let process = fake(dir.path(), 7, &stat(name, 4242));
            assert_eq!(start_of(&process), Some(4242), "{name}");
        }
        for text in ["", "7 (sh) S 1 2", "7 sh S 1"] {
            assert_eq!(start_of(&fake(dir.path(), 7, text)), None, "{text}");
        }
    }

    #[test]
    fn a_process_that_got_the_same_number_is_another() {
        let dir = tempfile::tempdir().unwrap();
        let process = fake(dir.path(), 7, &stat("sh", 1));
        let program = dir.path().join("program");
        std::fs::write(&program, b"program").unwrap();
        std::os::unix::fs::symlink(&program, process.join("exe")).unwrap();
        let known = Process::read(dir.path(), 7).unwrap();
        assert_eq!(known.executable, program);
        assert_eq!(known.digest(), Some(Digest::of(b"program")));
        fake(dir.path(), 7, &stat("sh", 2));
        assert!(!known.still_runs());
        assert_eq!(known.digest(), None);
        assert_eq!(Process::read(dir.path(), 8), None);
    }
}
