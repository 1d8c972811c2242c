//! From bytes to rules, or to everything that is wrong with them.

use std::collections::{BTreeMap, HashMap, HashSet};

use cedar_policy::{
    Effect, Policy, PolicyId, PolicySet, ValidationMode, ValidationWarning, Validator,
};

use crate::annotation::Annotated;
use crate::diagnosis::{Diagnosis, parse_diagnosis, validation_diagnosis, warning_diagnosis};
use crate::fact::missing_facts;
use crate::load_error::{LoadError, LoadErrors, Places};
use crate::rule::{Rule, Tier};
use crate::scan::{Statement, statements};
use crate::source::PolicySource;
use crate::suggestion::nearest;
use crate::vocabulary::Vocabulary;

/// The most policies in a set.
const POLICIES_MAX: usize = 20_000;

/// The rules of `source`, in the order of files and lines.
pub(crate) fn load_rules(
    source: &PolicySource,
    vocabulary: &Vocabulary,
) -> Result<Vec<Rule>, LoadErrors> {
    let mut load = Load::default();
    for (name, text) in source.files() {
        load.read_file(name, text);
    }
    load.check_count();
    load.check_ids();
    load.check_facts();
    load.validate(vocabulary);
    let errors = LoadErrors::of(load.errors);
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(load.drafts.into_iter().filter_map(|draft| draft.rule).collect())
}

#[derive(Default)]
struct Load<'a> {
    files: Vec<File<'a>>,
    drafts: Vec<Draft>,
    errors: Vec<LoadError>,
}

struct File<'a> {
    name: &'a str,
    text: &'a str,
    places: Places,
}

/// A policy that parsed. It has a rule where its annotations make sense.
struct Draft {
    file: usize,
    statement: Statement,
    policy: Policy,
    id: Option<String>,
    rule: Option<Rule>,
}

impl<'a> Load<'a> {
    fn read_file(&mut self, name: &'a str, text: &'a str) {
        let index = self.files.len();
        self.files.push(File { name, text, places: Places::of(text) });
        let tier = match tier_of(name) {
            Ok(tier) => tier,
            Err((what, suggestion)) => return self.file_error(index, what, Some(suggestion)),
        };
        let found = match statements(text) {
            Ok(found) => found,
            Err(error) => {
                let suggestion = Some("split it into several policies".to_owned());
                return self.error(index, error.at, None, error.bound.what(), suggestion);
            }
        };
        match text.parse::<PolicySet>() {
            Ok(set) => self.read_set(index, tier, &found, &set),
            Err(errors) => {
                for error in errors.iter() {
                    let Diagnosis { at, what, suggestion } = parse_diagnosis(error);
                    self.error(index, at.unwrap_or(text.len()), None, what, suggestion);
                }
            }
        }
    }

    fn read_set(&mut self, file: usize, tier: Tier, found: &[Statement], set: &PolicySet) {
        if set.num_of_policies() + set.num_of_templates() != found.len() {
            let what = "the places of its policies cannot be told".to_owned();
            return self.file_error(
                file,
                what,
                Some("write one policy after the other".to_owned()),
            );
        }
        for template in set.templates() {
            let at = statement_of(template.id(), found).map_or(0, |s| s.start);
            let what = "is a template: Carnet fills in no slots".to_owned();
            let suggestion = "write the entity itself in place of `?principal` or `?resource`";
            self.error(file, at, template.annotation("id"), what, Some(suggestion.to_owned()));
        }
        // The set lists its policies in no order.
        let mut policies: Vec<(Statement, &Policy)> =
            set.policies().filter_map(|p| Some((statement_of(p.id(), found)?, p))).collect();
        policies.sort_by_key(|(statement, _)| statement.start);
        for (statement, policy) in policies {
            self.read_policy(file, tier, statement, policy);
        }
    }

    fn read_policy(&mut self, file: usize, tier: Tier, statement: Statement, policy: &Policy) {
        let id = policy.annotation("id").map(str::to_owned);
        let annotated = Annotated::read(tier, policy);
        if policy.effect() != tier.effect() {
            let (what, suggestion) = tier_fault(tier, policy.effect());
            self.error(file, statement.start, id.as_deref(), what, Some(suggestion));
        }
        for fault in &annotated.faults {
            let at = self.find_in(file, statement, &format!("@{}", fault.key));
            self.error(file, at, id.as_deref(), fault.what.clone(), fault.suggestion.clone());
        }
        let rule = self.rule(file, tier, statement, policy, annotated);
        self.drafts.push(Draft { file, statement, policy: policy.clone(), id, rule });
    }

    fn rule(
        &self,
        file: usize,
        tier: Tier,
        statement: Statement,
        policy: &Policy,
        annotated: Annotated,
    ) -> Option<Rule> {
        let File { name, text, places } = self.files.get(file)?;
        let id = annotated.id?;
        let (line, column) = places.at(text, statement.start);
        Some(Rule {
            policy: policy.new_id(PolicyId::new(id.as_str())),
            id,
            tier,
            file: (*name).to_owned(),
            line,
            column,
            annotations: policy.annotations().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
            terms: annotated.terms,
            obligations: annotated.obligations,
        })
    }

    fn check_count(&mut self) {
        if self.drafts.is_empty() && self.errors.is_empty() {
            let suggestion = "write at least one; to stop everything, set a lock instead";
            self.set_error("has no policy".to_owned(), suggestion);
        }
        if self.drafts.len() > POLICIES_MAX {
            let suggestion = "let one policy name a group, a team or a label";
            self.set_error(format!("has more than {POLICIES_MAX} policies"), suggestion);
            self.drafts.truncate(POLICIES_MAX);
        }
    }

    fn check_ids(&mut self) {
        let mut first: BTreeMap<&str, usize> = BTreeMap::new();
        let mut twice = Vec::new();
        for (n, draft) in self.drafts.iter().enumerate() {
            let Some(id) = draft.id.as_deref() else { continue };
            match first.get(id) {
                Some(earlier) => twice.push((n, *earlier)),
                None => drop(first.insert(id, n)),
            }
        }
        for (n, earlier) in twice {
            let (Some(draft), Some(other)) = (self.drafts.get(n), self.drafts.get(earlier)) else {
                continue;
            };
            let (file, statement, id) = (draft.file, draft.statement, draft.id.clone());
            let place = self.place(other.file, other.statement.start);
            let at = self.find_in(file, statement, "@id");
            let what = format!("its `@id` is already that of the policy at {place}");
            self.error(file, at, id.as_deref(), what, Some("give each policy its own".to_owned()));
        }
    }

    fn check_facts(&mut self) {
        let faults: Vec<_> = self
            .drafts
            .iter()
            .flat_map(|d| {
                missing_facts(&d.policy).into_iter().map(|f| (d.file, d.statement, d.id.clone(), f))
            })
            .collect();
        for (file, statement, id, (what, suggestion)) in faults {
            let snippet = what.split('`').nth(1).unwrap_or_default().trim_end_matches(" in …");
            let at = self.find_in(file, statement, snippet);
            self.error(file, at, id.as_deref(), what, suggestion);
        }
    }

    fn validate(&mut self, vocabulary: &Vocabulary) {
        // Ids of their own, so that a policy without a usable `@id` is validated too.
        let ids: HashMap<String, usize> =
            (0..self.drafts.len()).map(|n| (format!("draft{n}"), n)).collect();
        let policies = self.drafts.iter().enumerate();
        let set = PolicySet::from_policies(
            policies.map(|(n, draft)| draft.policy.new_id(PolicyId::new(format!("draft{n}")))),
        );
        let set = match set {
            Ok(set) => set,
            Err(error) => {
                return self.set_error(error.to_string(), "remove the policies added last");
            }
        };
        let result =
            Validator::new(vocabulary.schema.clone()).validate(&set, ValidationMode::Strict);
        let draft_of = |id: &PolicyId| ids.get(AsRef::<str>::as_ref(id)).copied();
        let mut told = HashSet::new();
        for error in result.validation_errors() {
            let draft = draft_of(error.policy_id());
            told.insert(draft);
            self.diagnosed(draft, validation_diagnosis(error, self.text_of(draft)));
        }
        // A policy that does not fit never matches either; one complaint is enough.
        let mut warnings: Vec<&ValidationWarning> = result.validation_warnings().collect();
        warnings.sort_by_key(|warning| match warning {
            ValidationWarning::InvalidActionApplication(_) => 1,
            ValidationWarning::ImpossiblePolicy(_) => 2,
            _ => 0,
        });
        for warning in warnings {
            let draft = draft_of(warning.policy_id());
            let fresh = told.insert(draft);
            if fresh || !is_about_matching(warning) {
                self.diagnosed(draft, warning_diagnosis(warning));
            }
        }
    }

    fn text_of(&self, draft: Option<usize>) -> &'a str {
        let draft = draft.and_then(|n| self.drafts.get(n));
        draft.and_then(|d| self.files.get(d.file)).map_or("", |file| file.text)
    }

    fn diagnosed(&mut self, draft: Option<usize>, diagnosis: Diagnosis) {
        let Some(draft) = draft.and_then(|n| self.drafts.get(n)) else {
            return self.set_error(diagnosis.what, "remove the policies added last");
        };
        let (file, id) = (draft.file, draft.id.clone());
        let at = diagnosis.at.unwrap_or(draft.statement.start);
        self.error(file, at, id.as_deref(), diagnosis.what, diagnosis.suggestion);
    }

    /// The place of `needle` in a statement, or else of the statement.
    fn find_in(&self, file: usize, statement: Statement, needle: &str) -> usize {
        let text = self.files.get(file).and_then(|f| f.text.get(statement.start..statement.end));
        let at = text.filter(|_| !needle.is_empty()).and_then(|text| text.find(needle));
        statement.start + at.unwrap_or_default()
    }

    fn place(&self, file: usize, at: usize) -> String {
        self.files.get(file).map_or_else(String::new, |File { name, text, places }| {
            let (line, column) = places.at(text, at);
            format!("{name}:{line}:{column}")
        })
    }

    fn error(
        &mut self,
        file: usize,
        at: usize,
        policy: Option<&str>,
        what: String,
        suggestion: Option<String>,
    ) {
        let Some(File { name, text, places }) = self.files.get(file) else { return };
        let (line, column) = places.at(text, at);
        let policy = policy.map(str::to_owned);
        self.errors.push(LoadError {
            file: (*name).to_owned(),
            line,
            column,
            policy,
            what,
            suggestion,
        });
    }

    /// An error of the set as a whole.
    fn set_error(&mut self, what: String, suggestion: &str) {
        let (file, suggestion) = (String::new(), Some(suggestion.to_owned()));
        self.errors.push(LoadError {
            file,
            line: 0,
            column: 0,
            policy: None,
            what: format!("the set {what}"),
            suggestion,
        });
    }

    fn file_error(&mut self, file: usize, what: String, suggestion: Option<String>) {
        let name = self.files.get(file).map_or("", |f| f.name).to_owned();
        self.errors.push(LoadError {
            file: name,
            line: 0,
            column: 0,
            policy: None,
            what,
            suggestion,
        });
    }
}

/// The tier a file lies in, or what is wrong with its name and what to do.
fn tier_of(name: &str) -> Result<Tier, (String, String)> {
    let Some((folder, file)) = name.split_once('/') else {
        let what = "a policy set has permit/, forbid/ and ask/ and nothing beside them".to_owned();
        return Err((what, "move the file into a tier, or out of the set".to_owned()));
    };
    let Some(tier) = Tier::ALL.into_iter().find(|tier| tier.as_str() == folder) else {
        let suggestion = nearest(folder, Tier::ALL.map(Tier::as_str));
        return Err((
            format!("`{folder}/` is not a tier"),
            suggestion.map_or_else(
                || "the tiers are permit/, forbid/ and ask/".to_owned(),
                |known| format!("did you mean `{known}/`?"),
            ),
        ));
    };
    let stem = file.strip_suffix(".cedar");
    if stem.is_none_or(|stem| stem.is_empty() || stem.starts_with('.') || stem.contains('/')) {
        let what = format!("{tier}/ holds `.cedar` files and nothing else");
        return Err((what, "rename the file, or move it out of the set".to_owned()));
    }
    Ok(tier)
}

fn tier_fault(tier: Tier, effect: Effect) -> (String, String) {
    match (tier, effect) {
        (Tier::Ask, _) => (
            "is a permit in ask/, where each policy is a forbid that people can lift".to_owned(),
            "write `forbid`, or move the policy to permit/".to_owned(),
        ),
        (_, Effect::Permit) => {
            (format!("is a permit in {tier}/"), "move the policy to permit/".to_owned())
        }
        (_, Effect::Forbid) => (
            format!("is a forbid in {tier}/"),
            "move the policy to forbid/, or to ask/ if people may lift it".to_owned(),
        ),
    }
}

fn is_about_matching(warning: &ValidationWarning) -> bool {
    matches!(
        warning,
        ValidationWarning::InvalidActionApplication(_) | ValidationWarning::ImpossiblePolicy(_)
    )
}

/// The statement of a policy the parser numbered `policyN`.
fn statement_of(id: &PolicyId, found: &[Statement]) -> Option<Statement> {
    let number = AsRef::<str>::as_ref(id).strip_prefix("policy")?.parse::<usize>().ok()?;
    found.get(number).copied()
}
