//! What a request asks for: one resource on one path, for one task.

use carnet_core::{Path, ResourceName, TaskId};

use crate::oauth::details::{self, Details};
use crate::oauth::form::Form;
use crate::oauth::issuer::{Issuer, MCP};
use crate::oauth::refusal::{Kind, NamedIn, Refusal};

/// How a task is named in `scope`.
pub(crate) const SCOPE_PREFIX: &str = "task:";

/// One resource on one path, for the task named or the agent's standing one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) path: Path,
    pub(crate) resource: ResourceName,
    pub(crate) task: Option<TaskId>,
    pub(crate) named_in: NamedIn,
}

impl Wanted {
    /// Reads what `form` asks for at the MCP gateway.
    pub(crate) fn read(form: &Form, issuer: &Issuer) -> Result<Self, Refusal> {
        Self::of(form, issuer, MCP)
    }

    /// Reads what `form` asks for of what speaks `protocol`.
    pub(crate) fn of(form: &Form, issuer: &Issuer, protocol: &str) -> Result<Self, Refusal> {
        let (path, resource) = target(form, issuer, protocol)?;
        let scoped = form.get("scope").map(scope).transpose()?;
        let detailed = form.get("authorization_details").map(Details::parse).transpose()?;
        let detailed = match detailed {
            None => None,
            Some(details) if details.is_for(issuer, path, &resource, protocol) => {
                Some(details.task)
            }
            Some(_) => return Err(details::refused()),
        };
        let (task, named_in) = match (detailed, scoped) {
            (None, None) => (None, NamedIn::Nothing),
            (None, Some(task)) => (Some(task), NamedIn::Scope),
            (Some(task), None) => (Some(task), NamedIn::Details),
            (Some(task), Some(other)) if task == other => (Some(task), NamedIn::Details),
            (Some(_), Some(_)) => {
                let advice = "scope and authorization_details name different tasks; name it once";
                return Err(Refusal::new(Kind::InvalidRequest, "task_ambiguous", advice));
            }
        };
        Ok(Self { path, resource, task, named_in })
    }
}

impl Details {
    /// Whether what they say of a place is what is `wanted` at the MCP gateway.
    pub(crate) fn is_for_mcp(&self, wanted: &Wanted, issuer: &Issuer) -> bool {
        self.is_for(issuer, wanted.path, &wanted.resource, MCP)
    }

    fn is_for(&self, issuer: &Issuer, path: Path, resource: &ResourceName, protocol: &str) -> bool {
        let same_path = self.path.is_none_or(|said| said == path);
        let same_place = self.locations.as_ref().is_none_or(|locations| {
            let places: Option<Vec<_>> =
                locations.iter().map(|place| issuer.target_of(place, protocol)).collect();
            matches!(places.as_deref(), Some([(said, name)]) if *said == path && name == resource)
        });
        same_path && same_place
    }
}

fn target(form: &Form, issuer: &Issuer, protocol: &str) -> Result<(Path, ResourceName), Refusal> {
    let refused = |code, advice| Refusal::new(Kind::InvalidTarget, code, advice);
    if form.get("audience").is_some() {
        return Err(refused("target_as_audience", "name the target in resource, not in audience"));
    }
    match form.resources().as_slice() {
        [] => Err(refused("target_missing", "name the resource the token is for in resource")),
        [one] => issuer.target_of(one, protocol).ok_or_else(|| {
            let advice =
                "the resource is none of this issuer's; see its protected resource metadata";
            refused("target_unknown", advice)
        }),
        _ => Err(refused("target_twice", "a token is for exactly one resource; ask once for each")),
    }
}

fn scope(scope: &str) -> Result<TaskId, Refusal> {
    let task = scope.strip_prefix(SCOPE_PREFIX).and_then(|task| task.parse().ok());
    task.ok_or(Refusal::new(
        Kind::InvalidScope,
        "scope_unknown",
        "the only scope there is names a task: task:task_ and its id",
    ))
}

/// The scope that names `task`.
pub(crate) fn scope_of(task: &TaskId) -> String {
    format!("{SCOPE_PREFIX}{task}")
}
