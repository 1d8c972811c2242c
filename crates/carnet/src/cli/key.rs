//! `carnet keys`: what Carnet signs with.

use std::process::ExitCode;

use carnet_broker::keys::{KeyPurpose, Phase};
use carnet_broker::operator::KeyShown;
use carnet_core::Timestamp;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::task::instants;
use super::{Session, exit};
use crate::client::segment;
use crate::output::{Output, Tone};
use crate::shown::{escaped, now, span, time};

/// See, change and take away the keys Carnet signs with
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  carnet keys list")]
pub(crate) enum KeyCommand {
    List(List),
    Rotate(Rotate),
    Remove(Remove),
}

/// List the keys, and what each does now
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  carnet keys list --output json")]
pub(crate) struct List {}

/// Let a new key take over
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  carnet keys rotate access-token

The new key is published at once and signs after six minutes, when everybody who keeps a copy of the key
set knows it; a federation key after a day, for clouds do not say how long they keep one. The old one stays
for verifying until all it signed has expired. Nothing is interrupted.")]
pub(crate) struct Rotate {
    /// What it signs: one of the purposes `carnet keys list` shows
    #[arg(value_name = "PURPOSE")]
    purpose: KeyPurpose,
    /// Let it sign now: who keeps a copy of the key set may refuse what it signs for up to five minutes
    #[arg(long)]
    at_once: bool,
}

/// Take a key away: all it signed is refused at once. Policy cannot take this away
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  carnet keys remove nUz3…

For a key that somebody else may have. Agents get new tokens by themselves. Where it was the only key of
its purpose another is made in its place. Who keeps a copy of the key set elsewhere may accept the old key
until they fetch it again, within five minutes; a cloud may keep a federation key for longer.")]
pub(crate) struct Remove {
    /// Its name, as in `carnet keys list`
    #[arg(value_name = "KID")]
    kid: String,
}

impl KeyCommand {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        match self {
            Self::List(_) => list(session).await,
            Self::Rotate(rotate) => rotate.run(session).await,
            Self::Remove(remove) => remove.run(session).await,
        }
    }
}

async fn list(session: &Session) -> anyhow::Result<ExitCode> {
    let keys: Vec<KeyShown> = session.client()?.get("/v1/keys").await?;
    session.output.print(&keys, || table(session.output, &keys, now()))?;
    exit::done()
}

fn table(output: Output, keys: &[KeyShown], now: Timestamp) -> String {
    let row = |key: &KeyShown| {
        let (tone, text) = told(&key.phase, now);
        vec![
            escaped(&key.kid).into(),
            key.purpose.to_string().into(),
            time(key.made_at).into(),
            output.cell(tone, text),
        ]
    };
    output.table(&["key", "signs", "made", "state"], keys.iter().map(row).collect())
}

fn told(phase: &Phase, now: Timestamp) -> (Tone, String) {
    let left = |at: Timestamp| span(at.s().saturating_sub(now.s()).max(0));
    match phase {
        Phase::Published { signs_from } => {
            (Tone::Waiting, format!("published, signs in {}", left(*signs_from)))
        }
        Phase::Removed { at } => (Tone::Bad, format!("removed {}", time(*at))),
        Phase::Signing => (Tone::Good, "signing".to_owned()),
        Phase::Verifying { until } => {
            (Tone::Waiting, format!("verifying, gone in {}", left(*until)))
        }
    }
}

impl Rotate {
    async fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        let body = json!({ "purpose": self.purpose, "at_once": self.at_once });
        let answer: Value = session.client()?.post("/v1/keys/rotate", &body).await?;
        session.output.print(&answer, || {
            let kid = answer.get("kid").and_then(Value::as_str).map(escaped).unwrap_or_default();
            let from = answer.get("signs_from").cloned().unwrap_or_default();
            let from: Option<Timestamp> = serde_json::from_value(from).ok();
            let when = from.map(time).unwrap_or_default();
            format!("made {kid}; it signs {} from {when}", self.purpose)
        })?;
        exit::done()
    }
}

impl Remove {
    async fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        let path = format!("/v1/keys/{}", segment(&self.kid));
        let answer: Value = session.client()?.delete(&path).await?;
        session.output.print(&answer, || {
            format!(
                "removed {}: all it signed is refused\n{}",
                escaped(&self.kid),
                instants(&answer)
            )
        })?;
        exit::done()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_told_with_what_it_does_now_and_until_when() {
        let now = Timestamp::from_s(1_000);
        let said = |phase| told(&phase, now).1;
        let signs_from = Timestamp::from_s(1_300);
        assert_eq!(said(Phase::Published { signs_from }), "published, signs in 5m");
        assert_eq!(said(Phase::Signing), "signing");
        assert_eq!(said(Phase::Verifying { until: now }), "verifying, gone in 0s");
    }
}
