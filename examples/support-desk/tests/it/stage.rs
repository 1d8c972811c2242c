//! A desk on a free port, with its journal and credentials in a folder of its own.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use serde_json::{Value, json};
use support_desk::{
    agent::{Agent, Outcome, Revision, Target},
    credential::CredentialFiles,
    desk::{Desk, Journal},
    http::Listening,
};
use tempfile::TempDir;
use tokio::task::JoinHandle;

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const REVISIONS: [Revision; 4] =
    [Revision::V2025_06_18, Revision::V2025_11_25, Revision::V2026_07_28, Revision::Auto];

pub(crate) struct Stage {
    pub(crate) folder: TempDir,
    pub(crate) url: String,
    server: JoinHandle<std::io::Result<()>>,
}

impl Stage {
    pub(crate) async fn open() -> Self {
        Self::start(false).await
    }

    pub(crate) async fn guarded() -> Self {
        Self::start(true).await
    }

    async fn start(guarded: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = CredentialFiles {
            read: folder.path().join("read"),
            write: folder.path().join("write"),
        };
        std::fs::write(&files.read, "the-read-token\n").unwrap();
        std::fs::write(&files.write, "the-write-token\n").unwrap();
        let journal = Journal::to_file(&folder.path().join("journal.jsonl")).unwrap();
        let desk = Arc::new(Desk::with_samples(journal));
        let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let listening = Listening::bind(desk, address, guarded.then_some(files)).await.unwrap();
        let url = listening.url();
        let server = tokio::spawn(listening.serve(std::future::pending()));
        Self { folder, url, server }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn agent(&self, revision: Revision, token: Option<&str>) -> Agent {
        let token_file = token.map(|name| self.path(name));
        Agent::new(Target::Http { url: self.url.clone(), token_file }, revision, PATIENCE)
    }

    pub(crate) fn journal(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path("journal.jsonl")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.server.abort();
    }
}

pub(crate) async fn call(agent: &mut Agent, tool: &str, arguments: Value) -> Outcome {
    let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
    agent.call(tool, arguments).await
}

pub(crate) fn refund() -> Value {
    json!({ "order_id": "O-5001", "amount_cents": 4_900, "reason": "cracked lid" })
}
