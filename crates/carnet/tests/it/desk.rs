//! A stand-in for the operators' socket: answers as it is told, and keeps what it was asked.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) line: String,
    pub(crate) body: Value,
}

/// The stand-in. It ends with the test.
pub(crate) struct Desk {
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Desk {
    /// Listens as the Carnet configured in `dir`. `answers` are tried in their order: the method and
    /// the path, and what is answered. Everything else does not exist.
    pub(crate) fn listen(dir: &Path, answers: Vec<(&'static str, u16, Value)>) -> Self {
        let run = dir.join("run");
        std::fs::create_dir_all(&run).unwrap();
        let listener = UnixListener::bind(run.join("operator.sock")).unwrap();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let kept = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), &answers, &kept);
            }
        });
        Self { asked }
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The body of the one request for `line`.
    #[track_caller]
    pub(crate) fn body(&self, line: &str) -> Value {
        let asked = self.asked();
        let mut fitting = asked.iter().filter(|asked| asked.line == line);
        let body = fitting.next().unwrap_or_else(|| panic!("{line}: {asked:?}")).body.clone();
        assert!(fitting.next().is_none(), "{line} was asked twice");
        body
    }

    /// Whether anything but reading was asked.
    pub(crate) fn was_changed(&self) -> bool {
        self.asked().iter().any(|asked| !asked.line.starts_with("GET "))
    }
}

fn answer(
    mut stream: UnixStream,
    answers: &[(&'static str, u16, Value)],
    asked: &Mutex<Vec<Asked>>,
) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut first = String::new();
    reader.read_line(&mut first).unwrap();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        let header = header.trim().to_ascii_lowercase();
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if header.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let line = first.rsplit_once(' ').unwrap().0.to_owned();
    let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
    let found = answers.iter().find(|(wanted, ..)| *wanted == line);
    asked.lock().unwrap().push(Asked { line, body });
    let missing = json!({ "code": "not_found", "message": "there is no such thing" });
    let (status, value) =
        found.map_or((404, missing), |(_, status, value)| (*status, value.clone()));
    let body = value.to_string();
    write!(
        stream,
        "HTTP/1.1 {status} -\r\ncontent-length: {}\r\ncontent-type: application/json\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
}
