//! What there is to review: what the server offers, and what it offered once.

use carnet_broker::Review;
use carnet_broker::operator::registry::Offer;
use carnet_core::{ActionName, Digest, OperationKind, Registered, Resource};
use serde_json::Value;

use super::decided::Decided;

/// What of an operation differs from what was reviewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Never reviewed.
    New,
    /// As it was reviewed.
    Unchanged,
    /// Its definition changed: it is refused until it is reviewed again.
    Changed,
    /// Reviewed, and not offered any more.
    Gone,
}

/// One operation there is to decide on.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) action: ActionName,
    pub(crate) kind: OperationKind,
    pub(crate) name: String,
    pub(crate) pin: Digest,
    pub(crate) definition: Value,
    pub(crate) state: State,
    pub(crate) suspicions: Vec<String>,
    pub(crate) reviewed: Option<Registered>,
    /// What accepting the suggestion would mean.
    pub(crate) suggested: Decided,
}

impl Candidate {
    /// Of an offer.
    pub(crate) fn of_offer(offer: Offer) -> Self {
        let Offer { action, pin, offered, state, reviewed } = offer;
        let state = match (state.as_str(), &reviewed) {
            ("unchanged", Some(_)) => State::Unchanged,
            (_, Some(_)) => State::Changed,
            (_, None) => State::New,
        };
        let suggested = Decided {
            path: Some(offered.suggested_path),
            effect: offered.suggested_effect,
            arguments: offered.suggested_arguments,
        };
        Self {
            action,
            kind: offered.kind,
            name: offered.name,
            pin,
            definition: offered.definition,
            state,
            suspicions: offered.suspicions,
            suggested: match &reviewed {
                Some(reviewed) => suggested.stricter_of(reviewed),
                None => suggested,
            },
            reviewed,
        }
    }

    /// What was reviewed of `resource` and is offered by none of `offered`.
    pub(crate) fn gone(resource: &Resource, offered: &[Self]) -> Vec<Self> {
        let is_gone = |registered: &&Registered| {
            offered.iter().all(|candidate| candidate.action != registered.action)
        };
        resource.operations.values().filter(is_gone).filter_map(Self::of_registered).collect()
    }

    fn of_registered(registered: &Registered) -> Option<Self> {
        let mut parts = registered.action.as_str().splitn(3, '.').skip(1);
        let kind = match parts.next()? {
            "tool" => OperationKind::Tool,
            "resource" => OperationKind::Resource,
            "prompt" => OperationKind::Prompt,
            "federation" => OperationKind::Federation,
            _ => OperationKind::Method,
        };
        Some(Self {
            action: registered.action.clone(),
            kind,
            name: parts.next()?.to_owned(),
            pin: registered.pin,
            definition: registered.definition.clone(),
            state: State::Gone,
            suspicions: Vec::new(),
            suggested: Decided { path: None, ..Decided::of(registered) },
            reviewed: Some(registered.clone()),
        })
    }

    /// `kind/name`: what patterns may speak of beside the name.
    pub(crate) fn label(&self) -> String {
        format!("{}/{}", self.kind.as_str(), self.name)
    }

    /// The review that decides this.
    pub(crate) fn review(&self, decided: &Decided) -> Review {
        Review {
            action: self.action.clone(),
            pin: self.pin,
            definition: self.definition.clone(),
            path: decided.path,
            effect: decided.effect,
            arguments: decided.arguments.clone(),
        }
    }
}

impl State {
    /// The word for it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Unchanged => "unchanged",
            Self::Changed => "changed",
            Self::Gone => "gone",
        }
    }
}
