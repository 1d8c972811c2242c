//! What a reviewer decides of one operation, and how it is found from what was said.

use std::collections::BTreeMap;

use carnet_broker::Review;
use carnet_core::{ArgumentKind, EffectClass, OperationKind, Path, Reach, Registered};

use super::candidate::{Candidate, State};
use super::file::ReviewFile;
use super::rules::Rules;
use crate::cli::exit;

/// Where an operation goes and what it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decided {
    /// The path, or none: off every path.
    pub(crate) path: Option<Path>,
    pub(crate) effect: EffectClass,
    pub(crate) arguments: BTreeMap<String, ArgumentKind>,
}

/// Everything that was said in one review.
#[derive(Debug, Clone, Default)]
pub(crate) struct Said {
    pub(crate) rules: Rules,
    pub(crate) file: ReviewFile,
    pub(crate) accept_suggestions: bool,
}

/// What it comes to.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// What is to be sent, and of which candidate.
    pub(crate) reviews: Vec<(Candidate, Decided)>,
    /// Suggestions that were not accepted in bulk, because something in them looks wrong.
    pub(crate) held_back: Vec<Candidate>,
}

impl Decided {
    /// As it was reviewed.
    pub(crate) fn of(reviewed: &Registered) -> Self {
        Self {
            path: Some(reviewed.path),
            effect: reviewed.effect,
            arguments: reviewed.arguments.clone(),
        }
    }

    /// What a person decided before stays, unless the new definition suggests something stricter.
    pub(crate) fn stricter_of(self, reviewed: &Registered) -> Self {
        let mut arguments = self.arguments;
        arguments.extend(reviewed.arguments.clone());
        Self {
            path: self.path.max(Some(reviewed.path)),
            effect: EffectClass {
                reversible: self.effect.reversible && reviewed.effect.reversible,
                reach: self.effect.reach.max(reviewed.effect.reach),
            },
            arguments,
        }
    }
}

impl Said {
    /// Whether nothing was decided: the review is then only looked at.
    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.file.is_empty() && !self.accept_suggestions
    }

    /// What is to be sent for `candidates`.
    pub(crate) fn plan(&self, candidates: &[Candidate]) -> anyhow::Result<Plan> {
        self.rules.check(candidates)?;
        self.file.check(candidates)?;
        let mut plan = Plan::default();
        for candidate in candidates {
            let Some(decided) = self.decide(candidate, candidates) else {
                if self.accept_suggestions && candidate.is_held_back() {
                    plan.held_back.push(candidate.clone());
                }
                continue;
            };
            if candidate.is_as(&decided) {
                continue;
            }
            check(candidate, &decided)?;
            plan.reviews.push((candidate.clone(), decided));
        }
        Ok(plan)
    }

    /// The decision on one candidate, or none where nothing was said of it.
    fn decide(&self, candidate: &Candidate, all: &[Candidate]) -> Option<Decided> {
        let from_file = self.file.decided(candidate);
        let accepted = self.accept_suggestions && candidate.is_acceptable();
        let named = self.rules.names(candidate);
        let path = self.rules.path(candidate);
        // What is already on a path can be changed in its other parts alone.
        let stays = named && candidate.state == State::Unchanged;
        if path.is_none() && from_file.is_none() && !accepted && !stays {
            return None;
        }
        let before = match (&candidate.reviewed, candidate.state) {
            (Some(reviewed), State::Unchanged) => Decided::of(reviewed),
            _ => candidate.suggested.clone(),
        };
        let mut decided = from_file.unwrap_or(before);
        if let Some(path) = path {
            decided.path = path;
        }
        if let Some(reversible) = self.rules.reversible(candidate) {
            decided.effect.reversible = reversible;
        }
        if let Some(reach) = self.rules.reach(candidate) {
            decided.effect.reach = reach;
        }
        self.rules.arguments(candidate, all, &mut decided.arguments);
        // What is gone can only be taken off.
        (candidate.state != State::Gone || decided.path.is_none()).then_some(decided)
    }
}

impl Candidate {
    /// Whether its suggestion may be accepted without being named.
    fn is_acceptable(&self) -> bool {
        self.is_open() && self.suspicions.is_empty() && !self.is_method()
    }

    fn is_open(&self) -> bool {
        matches!(self.state, State::New | State::Changed)
    }

    /// A method is offered by the protocol, and not by the server: nothing said of it is a
    /// suggestion, and some let a server speak to the person or to the model.
    fn is_method(&self) -> bool {
        self.kind == OperationKind::Method
    }

    fn is_held_back(&self) -> bool {
        self.is_open() && !self.suspicions.is_empty()
    }

    /// Whether `decided` changes nothing.
    fn is_as(&self, decided: &Decided) -> bool {
        match (&self.reviewed, decided.path) {
            (None, None) => true,
            (Some(reviewed), _) => reviewed.pin == self.pin && Decided::of(reviewed) == *decided,
            (None, Some(_)) => false,
        }
    }
}

/// What Carnet would refuse is refused here with the flag that mends it.
fn check(candidate: &Candidate, decided: &Decided) -> anyhow::Result<()> {
    let name = candidate.label();
    if decided.path == Some(Path::Read) && decided.effect.reach == Reach::Egress {
        return Err(exit::usage(format!(
            "{name}: reading can be sending, and nothing says that this stays inside the \
             organisation: add --inside '{name}' if it does, or put it on --write"
        )));
    }
    let opaque = |kind: &ArgumentKind| matches!(kind, ArgumentKind::Sql | ArgumentKind::Code);
    let takes_program = decided.arguments.iter().find(|(_, kind)| opaque(kind));
    if let Some((argument, _)) = takes_program
        && !matches!(decided.path, None | Some(Path::Admin))
    {
        return Err(exit::usage(format!(
            "{name}: its argument `{argument}` is SQL or code, which nothing here can read: put it \
             on --admin, or say --argument '{}.{argument}=text' if it is neither",
            candidate.name
        )));
    }
    Ok(())
}

impl Plan {
    /// The reviews as they are sent.
    pub(crate) fn reviews(&self) -> Vec<Review> {
        self.reviews.iter().map(|(candidate, decided)| candidate.review(decided)).collect()
    }
}
