//! The engine: a loaded set and the verdicts it gives.

use std::collections::HashMap;

use carnet_core::{
    ApprovalTerms, Digest, Document, EngineError, Obligation, Policy, PolicyId, Verdict,
    VerdictEffect,
};
use cedar_policy::Authorizer;

use crate::load::load_rules;
use crate::load_error::LoadErrors;
use crate::obligation::merge_obligations;
use crate::question::Question;
use crate::rule::{Rule, Tier};
use crate::scope::{Found, ScopeIndex};
use crate::source::PolicySource;
use crate::terms::{are_met, merge_terms};
use crate::vocabulary::Vocabulary;

/// A loaded Cedar policy set. Immutable: a change of policy is another value.
pub struct CedarPolicy {
    pub(crate) vocabulary: &'static Vocabulary,
    pub(crate) rules: HashMap<String, Rule>,
    pub(crate) authorizer: Authorizer,
    permit: ScopeIndex,
    forbid: ScopeIndex,
    ask: ScopeIndex,
    digest: Digest,
}

impl CedarPolicy {
    /// Loads `source`: every file parsed, every annotation understood, every policy validated
    /// against the vocabulary. One thing wrong refuses the set, and all that is wrong is told.
    pub fn load(source: &PolicySource) -> Result<Self, LoadErrors> {
        let vocabulary = Vocabulary::shared().map_err(|e| LoadErrors::whole(e, None))?;
        let rules = load_rules(source, vocabulary)?;
        let mut policy = Self {
            vocabulary,
            rules: HashMap::with_capacity(rules.len()),
            authorizer: Authorizer::new(),
            permit: ScopeIndex::default(),
            forbid: ScopeIndex::default(),
            ask: ScopeIndex::default(),
            digest: source.digest(),
        };
        for rule in rules {
            let index = match rule.tier {
                Tier::Permit => &mut policy.permit,
                Tier::Forbid => &mut policy.forbid,
                Tier::Ask => &mut policy.ask,
            };
            index.add(&rule.policy).map_err(|e| LoadErrors::whole(e, None))?;
            policy.rules.insert(rule.id.as_str().to_owned(), rule);
        }
        Ok(policy)
    }

    /// The verdict on a question, tier by tier.
    pub(crate) fn answer(&self, question: &Question, document: &Document) -> Verdict {
        let mut errors = Vec::new();
        let permits = self.permit.evaluate(&self.authorizer, question);
        let forbids = self.forbid.evaluate(&self.authorizer, question);
        self.note_failures(&permits, &mut errors);
        self.note_failures(&forbids, &mut errors);
        // Cedar skips a policy that fails. A forbid that fails must not be skipped.
        if !forbids.satisfied.is_empty() || !forbids.failed.is_empty() {
            return verdict(VerdictEffect::Deny, self.ids(&[&forbids]), Vec::new(), errors);
        }
        if permits.satisfied.is_empty() {
            return verdict(VerdictEffect::Deny, Vec::new(), Vec::new(), errors);
        }
        let asks = self.ask.evaluate(&self.authorizer, question);
        self.note_failures(&asks, &mut errors);
        if !asks.failed.is_empty() {
            return verdict(VerdictEffect::Deny, self.ids(&[&asks]), Vec::new(), errors);
        }
        if !asks.satisfied.is_empty() {
            let Some(terms) = self.merged_terms(&asks) else {
                let message = "these asks cannot be met together: no approver is named by all of them, or too few are";
                errors.push(EngineError { policy: None, message: message.to_owned() });
                return verdict(VerdictEffect::Deny, self.ids(&[&asks]), Vec::new(), errors);
            };
            if !are_met(&terms, &document.approvals.by) {
                return verdict(VerdictEffect::Ask(terms), self.ids(&[&asks]), Vec::new(), errors);
            }
        }
        let rules = permits.satisfied.iter().filter_map(|id| self.rules.get(id));
        let obligations = merge_obligations(rules.flat_map(|rule| &rule.obligations));
        // A permit that failed determines nothing: only what was satisfied is named.
        let permits = Found { failed: Default::default(), ..permits };
        verdict(VerdictEffect::Permit, self.ids(&[&permits, &asks]), obligations, errors)
    }

    /// The one question that meets every ask in `asks`. An ask without terms does not load, so
    /// that a missing one can only mean that no question will do.
    fn merged_terms(&self, asks: &Found) -> Option<ApprovalTerms> {
        let terms: Option<Vec<&ApprovalTerms>> =
            asks.satisfied.iter().map(|id| self.rules.get(id)?.terms.as_ref()).collect();
        merge_terms(terms?)
    }

    fn note_failures(&self, found: &Found, errors: &mut Vec<EngineError>) {
        errors.extend(found.failed.iter().map(|(id, why)| EngineError {
            policy: self.rules.get(id).map(|rule| rule.id.clone()),
            message: format!("policy `{id}` {why}"),
        }));
    }

    /// The policies in `all`, satisfied or failed, sorted.
    fn ids(&self, all: &[&Found]) -> Vec<PolicyId> {
        let ids = all.iter().flat_map(|f| f.satisfied.iter().chain(f.failed.keys()));
        let mut ids: Vec<PolicyId> =
            ids.filter_map(|id| self.rules.get(id)).map(|rule| rule.id.clone()).collect();
        ids.sort();
        ids.dedup();
        ids
    }
}

impl Policy for CedarPolicy {
    fn digest(&self) -> Digest {
        self.digest
    }

    fn judge(&self, document: &Document) -> Verdict {
        match Question::of(self.vocabulary, document) {
            Ok(question) => self.answer(&question, document),
            Err(why) => Verdict::failed(why),
        }
    }
}

impl std::fmt::Debug for CedarPolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CedarPolicy({}, {} policies)", self.digest, self.rules.len())
    }
}

fn verdict(
    effect: VerdictEffect,
    determining: Vec<PolicyId>,
    obligations: Vec<Obligation>,
    mut errors: Vec<EngineError>,
) -> Verdict {
    errors.sort();
    Verdict { effect, determining, obligations, errors }
}

#[cfg(test)]
mod tests;
