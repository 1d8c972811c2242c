//! Running the binary.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// What a run left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs `carnet` with `args` in `dir`, without a terminal.
pub(crate) fn carnet(dir: &Path, args: &[&str]) -> Ran {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_carnet"))
        .args(args)
        .current_dir(dir)
        .env_remove("CARNET_CONFIG")
        .env_remove("CARNET_LOG")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Ran {
        code: status.code().unwrap_or(-1),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}

impl Ran {
    /// The one JSON document on standard output.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Itself, if it ended with `code`.
    #[track_caller]
    pub(crate) fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }
}

/// A directory with a fresh configuration in `c`.
pub(crate) fn initialised() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    carnet(dir.path(), &["init", "c"]).ended(0);
    dir
}
