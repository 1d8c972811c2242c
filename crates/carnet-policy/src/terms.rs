//! What an ask demands, and how several asks become one question.

use std::collections::BTreeSet;

use carnet_core::{ApprovalTerms, UserName};

use crate::obligation::is_party_name;

/// How many must approve where a policy does not say.
pub(crate) const THRESHOLD_DEFAULT: u32 = 1;
/// The most that may have to approve.
pub(crate) const THRESHOLD_MAX: u32 = 16;
/// How long a question stands where a policy does not say, in seconds.
pub(crate) const TIMEOUT_S_DEFAULT: u32 = 900;
/// The shortest a question may stand: a person must be able to read it.
pub(crate) const TIMEOUT_S_MIN: u32 = 30;
/// The longest a question may stand: a day.
pub(crate) const TIMEOUT_S_MAX: u32 = 86_400;
/// The most entries in a list of approvers.
const APPROVERS_MAX: usize = 64;

/// Reads `user:x,team:y,owner,subject`. The message of an error completes "`@approvers` …".
pub(crate) fn parse_approvers(text: &str) -> Result<BTreeSet<String>, String> {
    let approvers: BTreeSet<String> = text.split(',').map(|p| p.trim().to_owned()).collect();
    if let Some(bad) = approvers.iter().find(|party| !is_approver(party)) {
        return Err(format!("has `{bad}`, which names nobody"));
    }
    if approvers.len() > APPROVERS_MAX {
        return Err(format!("names more than {APPROVERS_MAX}"));
    }
    Ok(approvers)
}

fn is_approver(party: &str) -> bool {
    match party.split_once(':') {
        Some(("user", name)) => name.parse::<UserName>().is_ok(),
        Some(("team", name)) => is_party_name(name),
        Some(_) => false,
        None => matches!(party, "owner" | "subject"),
    }
}

/// Reads a whole number from `least` to `most`. The message completes "`@threshold` …".
pub(crate) fn parse_bounded(text: &str, least: u32, most: u32) -> Result<u32, String> {
    match text.parse() {
        Ok(number)
            if (least..=most).contains(&number) && text.bytes().all(|b| b.is_ascii_digit()) =>
        {
            Ok(number)
        }
        _ => Err(format!("is `{text}`: write a whole number from {least} to {most}")),
    }
}

/// Whether enough different people could ever answer. A team or an owner may be many people.
pub(crate) fn can_be_met(terms: &ApprovalTerms) -> bool {
    let one_each = terms.approvers.iter().all(|party| names_one(party));
    !one_each || terms.approvers.len() >= terms.threshold as usize
}

fn names_one(party: &str) -> bool {
    party == "subject" || party.starts_with("user:")
}

/// One question that meets every ask: only those whom each ask names, as many as the most
/// demanding wants, for as long as the shortest allows. `None` where no question can.
pub(crate) fn merge_terms<'a>(
    all: impl IntoIterator<Item = &'a ApprovalTerms>,
) -> Option<ApprovalTerms> {
    let mut all = all.into_iter();
    let mut merged = all.next()?.clone();
    for terms in all {
        merged.approvers.retain(|party| terms.approvers.contains(party));
        merged.threshold = merged.threshold.max(terms.threshold);
        merged.timeout_s = merged.timeout_s.min(terms.timeout_s);
    }
    (!merged.approvers.is_empty() && can_be_met(&merged)).then_some(merged)
}

/// Whether the people in `by` are enough. Who may answer for a team, an owner or a subject was
/// checked when the approval was recorded; where only people are named, today's names decide.
pub(crate) fn are_met(terms: &ApprovalTerms, by: &[UserName]) -> bool {
    let named_only = terms.approvers.iter().all(|party| party.starts_with("user:"));
    let counted: BTreeSet<&UserName> = by
        .iter()
        .filter(|name| !named_only || terms.approvers.contains(&format!("user:{name}")))
        .collect();
    counted.len() >= terms.threshold as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(approvers: &str, threshold: u32, timeout_s: u32) -> ApprovalTerms {
        ApprovalTerms { approvers: parse_approvers(approvers).unwrap(), threshold, timeout_s }
    }

    fn people(names: &str) -> Vec<UserName> {
        names.split(' ').filter(|n| !n.is_empty()).map(|n| n.parse().unwrap()).collect()
    }

    #[test]
    fn an_approver_that_names_nobody_is_refused() {
        for text in ["", ",", "ana", "user:", "user:Ana Maria", "role:x", "owner,", "Owner"] {
            assert!(parse_approvers(text).is_err(), "{text}");
        }
        assert_eq!(parse_approvers(" owner , user:ana,owner").unwrap().len(), 2);
    }

    #[test]
    fn a_threshold_that_enough_people_can_never_reach_cannot_be_met() {
        assert!(!can_be_met(&terms("user:ana", 2, 60)));
        assert!(!can_be_met(&terms("user:ana,subject", 3, 60)));
        assert!(can_be_met(&terms("user:ana,user:bo", 2, 60)));
        assert!(can_be_met(&terms("team:finance", 2, 60)));
    }

    #[test]
    fn several_asks_become_the_stricter_question() {
        let merged = merge_terms(&[
            terms("owner,user:ana,user:bo", 1, 900),
            terms("user:ana,user:bo,team:x", 2, 60),
        ]);
        assert_eq!(merged, Some(terms("user:ana,user:bo", 2, 60)));
        assert_eq!(merge_terms(&[terms("user:ana", 1, 60), terms("team:x", 1, 60)]), None);
        assert_eq!(
            merge_terms(&[terms("user:ana", 1, 60), terms("user:ana,user:bo", 2, 60)]),
            None
        );
        assert_eq!(merge_terms(&[]), None);
    }

    #[test]
    fn one_person_twice_is_one_person_and_a_person_no_longer_named_does_not_count() {
        assert!(!are_met(&terms("team:x", 2, 60), &people("ana ana")));
        assert!(are_met(&terms("team:x", 2, 60), &people("ana bo")));
        assert!(!are_met(&terms("user:ana", 1, 60), &people("bo")));
        assert!(are_met(&terms("user:ana,owner", 1, 60), &people("bo")));
        assert!(!are_met(&terms("owner", 1, 60), &[]));
    }
}
