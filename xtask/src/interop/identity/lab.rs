//! Two Carnets with the same agents before the same server: one over TLS that demands nonces, for
//! everybody; one in clear on loopback, for the suite that knows nothing else. Beside them an identity
//! provider that is not ours.

use std::path::{Path, PathBuf};

use anyhow::ensure;
use serde_json::Value;

use super::agents::{self, PLANNER, Redirects};
use super::plan;
use super::programs::Programs;
use crate::beside::{self, Beside};
use crate::installation::{self, Installation, Setting};

/// The built-in trust domain.
pub(super) const DOMAIN: &str = "lab.carnet";
/// The server behind Carnet.
pub(super) const FIXTURE: &str = "fixture";
/// The one tool of it that is called.
pub(super) const TOOL: &str = "test_simple_text";
/// What every task is for.
pub(super) const PURPOSE: &str = "see how others' programs fare";
/// The name the identity provider has for the person, and its key.
pub(super) const PERSON: &str = "person-7";
pub(super) const PROVIDER: &str = "provider";

const POLICY: &str = r#"@id("lab-operates")
permit (principal in Carnet::Team::"lab", action in Carnet::Action::"operate", resource);

@id("opens-tasks")
permit (principal, action == Carnet::Action::"task.open", resource);

@id("hands-on")
permit (
  principal == Carnet::Agent::"planner", action == Carnet::Action::"task.delegate", resource
);

@id("calls")
permit (principal, action in Carnet::Action::"call", resource)
when { principal is Carnet::Agent };
"#;

/// Everything that runs for the cases.
#[derive(Debug)]
pub(super) struct Lab<'a> {
    pub(super) programs: &'a Programs,
    /// Over TLS, with nonces.
    pub(super) carnet: Installation,
    /// In clear, on loopback.
    pub(super) plain: Installation,
    dir: PathBuf,
    _beside: [Beside; 2],
}

/// Where everything is, known before any of it runs: the parts name each other.
#[derive(Debug)]
pub(super) struct Places {
    /// The directory of certificates and keys.
    pub(super) keys: PathBuf,
    /// The port of the Carnet over TLS.
    pub(super) port: u16,
    /// The port of the identity provider.
    pub(super) provider_port: u16,
    /// Where clients with a person before them send that person back to.
    pub(super) web: String,
    pub(super) suite: String,
}

impl<'a> Lab<'a> {
    /// Starts everything in `dir`, which must be empty, and registers it.
    pub(super) fn set(programs: &'a Programs, dir: &Path) -> anyhow::Result<Self> {
        let places = Places::choose(programs, dir)?;
        let fixture = Beside::start(
            "fixture",
            &mut beside::tied(&programs.fixture),
            &dir.join("fixture.log"),
        )?;
        let server = fixture.first_line()?;
        let provider = start_provider(programs, dir, &places)?;
        let carnet = over_tls(programs, dir, &places)?;
        let plain = in_clear(programs, dir)?;
        for carnet in [&carnet, &plain] {
            furnish(carnet, &places, &server)?;
        }
        let lab =
            Self { programs, carnet, plain, dir: dir.to_owned(), _beside: [fixture, provider] };
        for (carnet, name) in [(&lab.carnet, "plan"), (&lab.plain, "plan-plain")] {
            let task = open_task(carnet)?;
            let plan = plan::whole(programs, &places, carnet, &task)?;
            plan::write(&lab.plan(name), &plan)?;
        }
        Ok(lab)
    }

    /// The file that tells programs what they need to know.
    pub(super) fn plan(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.json"))
    }

    /// The certificate everybody trusts.
    pub(super) fn ca(&self) -> PathBuf {
        self.dir.join("keys/ca.pem")
    }

    /// Where a program's complaints go.
    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.log"))
    }
}

impl Places {
    fn choose(programs: &Programs, dir: &Path) -> anyhow::Result<Self> {
        let keys = dir.join("keys");
        installation::empty_dir(&keys)?;
        let mut command = programs.python_script("authority.py");
        command.arg(&keys).args(agents::CLIENTS).arg(PROVIDER);
        let ended = beside::finish(&mut command, super::peer::WITHIN)?;
        ensure!(ended.code == 0, "no certificates were made: {}{}", ended.out, ended.err);
        Ok(Self {
            keys,
            port: installation::free_port()?,
            provider_port: installation::free_port()?,
            web: format!("http://127.0.0.1:{}/back", installation::free_port()?),
            suite: format!("http://127.0.0.1:{}/callback", installation::free_port()?),
        })
    }

    /// Who issues the tokens of the Carnet over TLS.
    pub(super) fn issuer(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The identity provider.
    pub(super) fn provider(&self) -> String {
        format!("https://127.0.0.1:{}", self.provider_port)
    }
}

fn start_provider(programs: &Programs, dir: &Path, places: &Places) -> anyhow::Result<Beside> {
    let file = dir.join("plan-provider.json");
    plan::write(&file, &plan::of_provider(places)?)?;
    let mut command = programs.node_script(&programs.scripts.provider);
    command.arg(file).env("NODE_EXTRA_CA_CERTS", places.keys.join("ca.pem"));
    let provider = Beside::start("oidc-provider", &mut command, &dir.join("oidc-provider.log"))?;
    provider.first_line()?;
    Ok(provider)
}

fn over_tls(programs: &Programs, dir: &Path, places: &Places) -> anyhow::Result<Installation> {
    let state = dir.join("carnet");
    installation::empty_dir(&state)?;
    let (certificate, key) = (places.keys.join("server.pem"), places.keys.join("server-key.pem"));
    let provider = places.provider();
    let sections = sections(&provider, &places.keys.join("ca.pem"));
    let setting = Setting {
        tls: Some((&certificate, &key)),
        login: Some((&provider, PERSON)),
        sections: &sections,
        port: Some(places.port),
    };
    Installation::start_as(&programs.carnet, &state, &setting)
}

fn in_clear(programs: &Programs, dir: &Path) -> anyhow::Result<Installation> {
    let state = dir.join("plain");
    installation::empty_dir(&state)?;
    Installation::start(&programs.carnet, &state)
}

/// Nonces are demanded, and the provider is believed: of workloads, of people, and who is at the browser.
fn sections(provider: &str, ca: &Path) -> String {
    let ca = ca.display();
    format!(
        "[tokens]\ndpop_nonce = true\n\n\
         [[trust.issuer]]\nurl = \"{provider}\"\nca = \"{ca}\"\n\n\
         [[trust.idp]]\nurl = \"{provider}\"\nca = \"{ca}\"\n\n\
         [login]\nissuer = \"{provider}\"\nclient_id = \"carnet\"\nca = \"{ca}\"\n"
    )
}

/// Policy, the server with its review, and every agent.
fn furnish(carnet: &Installation, places: &Places, server: &str) -> anyhow::Result<()> {
    carnet.activate(&[("permit/lab.cedar".to_owned(), POLICY.to_owned())])?;
    carnet.operate(&["resource", "add", FIXTURE, "--url", server])?;
    let all = ["--read", "*", "--inside", "*", "--effect", "reversible", "--yes"];
    carnet.operate(&[&["resource", "review", FIXTURE], &all[..]].concat())?;
    let redirects = Redirects { web: &places.web, suite: &places.suite };
    agents::register(carnet, &places.keys, &places.provider(), &redirects)
}

fn open_task(carnet: &Installation) -> anyhow::Result<String> {
    let intent = format!(
        "purpose = \"{PURPOSE}\"\ndeadline = \"1h\"\n\n\
         [[allow]]\naction = \"{FIXTURE}.tool.{TOOL}\"\npath = \"read\"\n"
    );
    carnet.open_task(PLANNER, &intent)
}

/// A file's JSON.
pub(super) fn json_of(file: &Path) -> anyhow::Result<Value> {
    Ok(serde_json::from_str(&agents::read(file)?)?)
}
