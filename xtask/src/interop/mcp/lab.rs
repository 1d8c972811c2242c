//! A Carnet with one agent and several servers behind it, for other people's clients.

use std::net::TcpStream;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::programs::Programs;
use crate::beside::{self, Beside};
use crate::installation::{self, Installation, Wanted};

/// The one agent.
pub(super) const AGENT: &str = "client";
/// The server of the conformance suite.
pub(super) const FIXTURE: &str = "fixture";
/// The servers of others.
pub(super) const EVERYTHING: &str = "everything";
pub(super) const EVERYTHING_STDIO: &str = "everything-stdio";
pub(super) const FILES: &str = "files";
/// What the file the read cases look for holds.
pub(super) const NOTE: &str = "what the note says";

const POLICY: &str = r#"@id("lab-operates")
permit (principal in Carnet::Team::"lab", action in Carnet::Action::"operate", resource);

@id("lab-opens-tasks")
permit (principal in Carnet::Team::"lab", action == Carnet::Action::"task.open", resource)
when { principal is Carnet::User };

@id("client-calls")
permit (
  principal == Carnet::Agent::"client", action in Carnet::Action::"call", resource
);
"#;

/// Everything that runs for the cases.
#[derive(Debug)]
pub(super) struct Lab<'a> {
    pub(super) programs: &'a Programs,
    pub(super) carnet: Installation,
    /// Where the fixture is without Carnet.
    pub(super) fixture_url: String,
    /// The directory the file server may see.
    pub(super) files: PathBuf,
    dir: PathBuf,
    _beside: [Beside; 2],
}

impl<'a> Lab<'a> {
    /// Starts everything in `dir`, which must be empty, and registers it.
    pub(super) fn set(programs: &'a Programs, dir: &Path) -> anyhow::Result<Self> {
        let log = dir.join("fixture.log");
        let fixture = Beside::start("fixture", &mut beside::tied(&programs.fixture), &log)?;
        let fixture_url = fixture.first_line()?;
        let (everything, everything_url) = start_everything(programs, dir)?;
        let (state, files) = (dir.join("carnet"), dir.join("files"));
        installation::empty_dir(&state)?;
        installation::empty_dir(&files)?;
        std::fs::write(files.join("note.txt"), NOTE)?;
        let carnet = Installation::start(&programs.carnet, &state)?;
        carnet.activate(&[("permit/lab.cedar".to_owned(), POLICY.to_owned())])?;
        carnet.add_agent(AGENT, &["--bearer-read"])?;
        carnet.operate(&["resource", "add", FIXTURE, "--url", &fixture_url])?;
        carnet.operate(&["resource", "add", EVERYTHING, "--url", &everything_url])?;
        let beside = [fixture, everything];
        let dir = dir.to_owned();
        let lab = Self { programs, carnet, fixture_url, files, dir, _beside: beside };
        lab.add_stdio(EVERYTHING_STDIO, &programs.everything, "stdio")?;
        lab.add_stdio(FILES, &programs.files, &lab.files.display().to_string())?;
        Ok(lab)
    }

    /// Where a run may leave its own files.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Reviews `resource`: everything on the read path, as nothing that leaves or cannot be undone.
    pub(super) fn review_all_as_reads(&self, resource: &str) -> anyhow::Result<()> {
        self.review(resource, &["--read", "*", "--inside", "*", "--effect", "reversible"])
    }

    /// Reviews `resource` as `decisions` say.
    pub(super) fn review(&self, resource: &str, decisions: &[&str]) -> anyhow::Result<()> {
        let args = [&["resource", "review", resource], decisions, &["--yes"]].concat();
        self.carnet.operate(&args).map(drop)
    }

    /// Opens a task whose intent allows `allowances`: each an action, a path, and more lines.
    pub(super) fn task(&self, allowances: &[(&str, &str, &str)]) -> anyhow::Result<String> {
        let mut intent =
            "purpose = \"see how others' programs fare\"\ndeadline = \"1h\"\n".to_owned();
        for (action, path, more) in allowances {
            let head = format!("\n[[allow]]\naction = \"{action}\"\npath = \"{path}\"\n{more}\n");
            intent.push_str(&head);
        }
        self.carnet.open_task(AGENT, &intent)
    }

    /// A file with a bearer token of the read path of `resource` under `task`.
    pub(super) fn token_file(&self, task: &str, resource: &str) -> anyhow::Result<PathBuf> {
        let token = self.carnet.token(Wanted { task, resource, key: None })?;
        let file = self.dir.join(format!("{resource}.token"));
        std::fs::write(&file, token)?;
        Ok(file)
    }

    fn add_stdio(&self, name: &str, script: &Path, argument: &str) -> anyhow::Result<()> {
        let (node, script) = (text(&self.programs.node)?, text(script)?);
        let args = ["resource", "add", name, "--stdio", "--", &node, &script, argument];
        self.carnet.operate(&args).map(drop)
    }
}

fn start_everything(programs: &Programs, dir: &Path) -> anyhow::Result<(Beside, String)> {
    let port = installation::free_port()?;
    let mut command = beside::tied(&programs.node);
    command.arg(&programs.everything).arg("streamableHttp").env("PORT", port.to_string());
    let mut everything =
        Beside::start("server-everything", &mut command, &dir.join("everything.log"))?;
    everything.wait_until(|| Ok(TcpStream::connect(("127.0.0.1", port)).is_ok()))?;
    Ok((everything, format!("http://127.0.0.1:{port}/mcp")))
}

fn text(path: &Path) -> anyhow::Result<String> {
    path.to_str().map(str::to_owned).with_context(|| format!("{} is not UTF-8", path.display()))
}
