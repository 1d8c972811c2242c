//! What the annotations of a policy say.

use carnet_core::{ApprovalTerms, Obligation, PolicyId};

use crate::obligation::{KINDS, parse_obligations};
use crate::rule::Tier;
use crate::suggestion::did_you_mean;
use crate::terms::{
    THRESHOLD_DEFAULT, THRESHOLD_MAX, TIMEOUT_S_DEFAULT, TIMEOUT_S_MAX, TIMEOUT_S_MIN, can_be_met,
    parse_approvers, parse_bounded,
};

/// Every annotation, and the one tier it belongs in, if it belongs in one.
const KNOWN: [(&str, Option<Tier>); 7] = [
    ("id", None),
    ("description", None),
    ("owner", None),
    ("approvers", Some(Tier::Ask)),
    ("threshold", Some(Tier::Ask)),
    ("timeout_s", Some(Tier::Ask)),
    ("obligation", Some(Tier::Permit)),
];

/// Something wrong with one annotation, or with its absence.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The annotation; it may be missing.
    pub(crate) key: String,
    pub(crate) what: String,
    pub(crate) suggestion: Option<String>,
}

/// The meaning of a policy's annotations, as far as they have one.
#[derive(Debug, Default)]
pub(crate) struct Annotated {
    pub(crate) id: Option<PolicyId>,
    pub(crate) terms: Option<ApprovalTerms>,
    pub(crate) obligations: Vec<Obligation>,
    pub(crate) faults: Vec<Fault>,
}

impl Annotated {
    /// Reads the annotations of a policy in `tier`.
    pub(crate) fn read(tier: Tier, policy: &cedar_policy::Policy) -> Self {
        let mut read = Self::default();
        for (key, _) in policy.annotations() {
            read.check_known(tier, key);
        }
        read.read_id(policy.annotation("id"));
        if tier == Tier::Ask {
            read.read_terms(policy);
        }
        if let (Tier::Permit, Some(text)) = (tier, policy.annotation("obligation")) {
            match parse_obligations(text) {
                Ok(obligations) => read.obligations = obligations,
                Err(why) => read.fault("obligation", why, Some(obligation_suggestion(text))),
            }
        }
        read
    }

    fn fault(&mut self, key: &str, why: String, suggestion: Option<String>) {
        let what = format!("`@{key}` {why}");
        self.faults.push(Fault { key: key.to_owned(), what, suggestion });
    }

    fn check_known(&mut self, tier: Tier, key: &str) {
        match KNOWN.iter().find(|(known, _)| *known == key) {
            Some((_, Some(only))) if *only != tier => {
                let why = format!("belongs in {only}/, this policy lies in {tier}/");
                let suggestion = format!("remove it, or move the policy to {only}/");
                self.fault(key, why, Some(suggestion));
            }
            Some(_) => {}
            None => {
                let known = KNOWN.iter().map(|(known, _)| *known);
                let suggestion =
                    did_you_mean(key, known).map(|s| s.replace('`', "`@").replace("`@?", "`?"));
                let suggestion =
                    suggestion.or_else(|| Some("known are @id, @description, @owner, @approvers, @threshold, @timeout_s and @obligation".to_owned()));
                self.fault(key, "is not an annotation Carnet knows".to_owned(), suggestion);
            }
        }
    }

    fn read_id(&mut self, text: Option<&str>) {
        let Some(text) = text else {
            let example = "write `@id(\"a-name\")` before the policy".to_owned();
            return self.fault("id", "is missing".to_owned(), Some(example));
        };
        match text.parse() {
            Ok(id) => self.id = Some(id),
            Err(error) => self.fault("id", format!("cannot be used: {error}"), None),
        }
    }

    fn read_terms(&mut self, policy: &cedar_policy::Policy) {
        let before = self.faults.len();
        let mut number = |key: &str, least, most, default| match policy.annotation(key) {
            None => default,
            Some(text) => parse_bounded(text, least, most).unwrap_or_else(|why| {
                self.fault(key, why, None);
                default
            }),
        };
        let threshold = number("threshold", 1, THRESHOLD_MAX, THRESHOLD_DEFAULT);
        let timeout_s = number("timeout_s", TIMEOUT_S_MIN, TIMEOUT_S_MAX, TIMEOUT_S_DEFAULT);
        let form =
            Some("write such as `@approvers(\"user:ana,team:finance,owner,subject\")`".to_owned());
        let Some(text) = policy.annotation("approvers") else {
            return self.fault(
                "approvers",
                "is missing: an ask says who may answer".to_owned(),
                form,
            );
        };
        let approvers = match parse_approvers(text) {
            Ok(approvers) => approvers,
            Err(why) => return self.fault("approvers", why, form),
        };
        let terms = ApprovalTerms { approvers, threshold, timeout_s };
        if !can_be_met(&terms) {
            let why = format!("is {threshold}, more than the people `@approvers` names");
            let suggestion = "lower it, or name more people or a team".to_owned();
            return self.fault("threshold", why, Some(suggestion));
        }
        if self.faults.len() == before {
            self.terms = Some(terms);
        }
    }
}

fn obligation_suggestion(text: &str) -> String {
    let kinds =
        text.split(';').filter_map(|part| part.split_once('=')).map(|(kind, _)| kind.trim());
    kinds
        .filter(|kind| !KINDS.contains(kind))
        .find_map(|kind| did_you_mean(kind, KINDS))
        .unwrap_or_else(|| {
            "write such as `@obligation(\"result_bytes_max=65536;redact=email,phone;notify=team:x\")`"
                .to_owned()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(tier: Tier, annotations: &str) -> Annotated {
        let effect = if tier == Tier::Permit { "permit" } else { "forbid" };
        let text = format!("{annotations} {effect}(principal, action, resource);");
        Annotated::read(tier, &text.parse().unwrap())
    }

    #[test]
    fn an_ask_has_defaults_for_all_but_its_approvers() {
        let terms = read(Tier::Ask, r#"@id("a") @approvers("owner")"#).terms.unwrap();
        assert_eq!((terms.threshold, terms.timeout_s), (1, 900));
        let bare = read(Tier::Ask, r#"@id("a")"#);
        assert!(bare.terms.is_none());
        assert_eq!(bare.faults[0].key, "approvers");
    }

    #[test]
    fn a_misspelt_annotation_is_refused_with_the_right_one() {
        let read = read(Tier::Ask, r#"@id("a") @aprovers("owner") @approvers("owner")"#);
        assert_eq!(read.faults[0].what, "`@aprovers` is not an annotation Carnet knows");
        assert_eq!(read.faults[0].suggestion.as_deref(), Some("did you mean `@approvers`?"));
    }

    #[test]
    fn an_annotation_of_another_tier_is_refused() {
        for (tier, annotation) in [
            (Tier::Permit, r#"@approvers("owner")"#),
            (Tier::Forbid, r#"@threshold("1")"#),
            (Tier::Forbid, r#"@obligation("redact=a")"#),
            (Tier::Ask, r#"@obligation("redact=a")"#),
        ] {
            let read = read(tier, &format!("@id(\"a\") {annotation}"));
            assert!(read.faults.iter().any(|f| f.what.contains("belongs in")), "{annotation}");
        }
    }

    #[test]
    fn a_bad_number_leaves_no_terms() {
        let read = read(Tier::Ask, r#"@id("a") @approvers("owner") @timeout_s("15m")"#);
        assert!(read.terms.is_none());
        assert_eq!(read.faults.len(), 1);
    }
}
