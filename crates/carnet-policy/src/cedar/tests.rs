use carnet_core::{UserName, Verb};
use cedar_policy::PolicySet;
use proptest::prelude::*;

use super::*;
use crate::sample::{documents, refund, source, sources};
use crate::scope::evaluate_set;
use crate::starter;

fn load(files: &[(&str, &str)]) -> CedarPolicy {
    CedarPolicy::load(&source(files)).unwrap()
}

fn ids(verdict: &Verdict) -> Vec<&str> {
    verdict.determining.iter().map(PolicyId::as_str).collect()
}

const PERMIT_ALL: (&str, &str) = (
    "permit/all.cedar",
    "@id(\"all\") permit(principal, action in Carnet::Action::\"call\", resource);",
);

/// Overflows on the refund's amount.
const FAILS: &str = "when { context.number.hasTag(\"amount_cents\") && \
    context.number.getTag(\"amount_cents\") * 9000000000000000000 > 0 }";

/// The second trap of Cedar: it skips a policy that fails, forbids included.
#[test]
fn trap_a_forbid_that_fails_is_a_deny() {
    let text = format!(
        "@id(\"never\") forbid(principal, action in Carnet::Action::\"write\", resource) {FAILS};"
    );
    let policy = load(&[PERMIT_ALL, ("forbid/a.cedar", &text)]);

    let both: PolicySet = format!("{} {text}", PERMIT_ALL.1).parse().unwrap();
    let question = Question::of(policy.vocabulary, &refund()).unwrap();
    let cedar = Authorizer::new().is_authorized(&question.request, &both, &question.entities);
    assert_eq!(
        cedar.decision(),
        cedar_policy::Decision::Allow,
        "Cedar's trap: the forbid is skipped"
    );

    let verdict = policy.judge(&refund());
    assert_eq!(verdict.effect, VerdictEffect::Deny);
    assert_eq!(ids(&verdict), ["never"]);
    assert_eq!(verdict.errors[0].message, "policy `never` computes a number out of range");
}

#[test]
fn an_ask_that_fails_is_a_deny_and_a_permit_that_fails_is_reported_and_skipped() {
    let ask = format!(
        "@id(\"ask\") @approvers(\"owner\") forbid(principal, action in Carnet::Action::\"write\", resource) {FAILS};"
    );
    let verdict = load(&[PERMIT_ALL, ("ask/a.cedar", &ask)]).judge(&refund());
    assert_eq!((verdict.effect.clone(), ids(&verdict)), (VerdictEffect::Deny, vec!["ask"]));

    let permit = format!(
        "@id(\"half\") permit(principal, action in Carnet::Action::\"write\", resource) {FAILS};"
    );
    let verdict = load(&[("permit/a.cedar", &permit)]).judge(&refund());
    assert_eq!((verdict.effect.clone(), ids(&verdict)), (VerdictEffect::Deny, vec![]));
    assert_eq!(verdict.errors.len(), 1);
    let verdict = load(&[PERMIT_ALL, ("permit/a.cedar", &permit)]).judge(&refund());
    assert_eq!((verdict.effect.clone(), ids(&verdict)), (VerdictEffect::Permit, vec!["all"]));
    assert_eq!(verdict.errors.len(), 1);
}

#[test]
fn enough_different_approvals_turn_an_ask_into_a_permit_that_names_it() {
    let ask = "@id(\"two\") @approvers(\"team:finance\") @threshold(\"2\") \
        forbid(principal, action in Carnet::Action::\"write\", resource);";
    let policy = load(&[PERMIT_ALL, ("ask/a.cedar", ask)]);
    let with = |names: &[&str]| {
        let mut document = refund();
        document.approvals.by = names.iter().map(|n| n.parse::<UserName>().unwrap()).collect();
        policy.judge(&document)
    };
    assert!(matches!(with(&[]).effect, VerdictEffect::Ask(terms) if terms.threshold == 2));
    assert!(matches!(with(&["ana"]).effect, VerdictEffect::Ask(_)));
    assert!(matches!(with(&["ana", "ana"]).effect, VerdictEffect::Ask(_)));
    let verdict = with(&["ana", "bo"]);
    assert_eq!(
        (verdict.effect.clone(), ids(&verdict)),
        (VerdictEffect::Permit, vec!["all", "two"])
    );
}

#[test]
fn asks_that_no_one_question_can_meet_are_a_deny_even_with_approvals() {
    let asks = "@id(\"a\") @approvers(\"user:ana\") forbid(principal, action in Carnet::Action::\"call\", resource);
        @id(\"b\") @approvers(\"user:bo\") forbid(principal, action in Carnet::Action::\"write\", resource);";
    let policy = load(&[PERMIT_ALL, ("ask/a.cedar", asks)]);
    let mut document = refund();
    document.approvals.by = vec!["ana".parse().unwrap(), "bo".parse().unwrap()];
    let verdict = policy.judge(&document);
    assert_eq!((verdict.effect.clone(), ids(&verdict)), (VerdictEffect::Deny, vec!["a", "b"]));
    assert!(verdict.errors[0].message.contains("cannot be met together"));
}

#[test]
fn an_impossible_document_is_a_failed_verdict() {
    let mut document = refund();
    document.verb = Verb::LedgerRead;
    let verdict = load(&[PERMIT_ALL]).judge(&document);
    assert_eq!(verdict.effect, VerdictEffect::Deny);
    assert_eq!(verdict.errors.len(), 1);
}

#[test]
fn a_near_miss_names_the_part_that_failed() {
    let policy = load(&[(
        "permit/a.cedar",
        "// first line
@id(\"small\") permit(principal is Carnet::Agent, action in Carnet::Action::\"write\", resource in Carnet::Resource::\"desk\")
when { context.task.purpose == \"refund\" && context.number.hasTag(\"amount_cents\") && context.number.getTag(\"amount_cents\") <= 100 };
@id(\"reads\") permit(principal is Carnet::Agent, action in Carnet::Action::\"read\", resource in Carnet::Resource::\"wiki\");
@id(\"people\") permit(principal is Carnet::User, action == Carnet::Action::\"task.open\", resource in Carnet::Resource::\"wiki\");",
    )]);
    let explanation = policy.explain(&refund());
    assert!(explanation.determining.is_empty());
    let near: Vec<_> =
        explanation.nearest.iter().map(|n| (n.policy.id.as_str(), n.policy.line)).collect();
    assert_eq!(near, [("small", 2), ("reads", 4)]);
    let failed = &explanation.nearest[0].failed;
    assert_eq!(failed.len(), 1);
    assert!(
        failed[0].contains("getTag(\"amount_cents\")) <= 100") || failed[0].contains("<= 100"),
        "{failed:?}"
    );
    assert_eq!(
        explanation.nearest[1].failed,
        ["action in [Carnet::Action::\"read\"]", "resource in Carnet::Resource::\"wiki\""]
    );
}

#[test]
fn an_explanation_shows_the_determining_policies_as_written() {
    let text = "@id(\"no\")\n@description(\"never\")\nforbid(principal, action in Carnet::Action::\"call\", resource);";
    let policy = load(&[PERMIT_ALL, ("forbid/a.cedar", &format!("\n  {text}\n"))]);
    let explanation = policy.explain(&refund());
    assert_eq!(explanation.verdict, policy.judge(&refund()));
    let shown = &explanation.determining[0];
    assert_eq!((shown.file.as_str(), shown.line, shown.column), ("forbid/a.cedar", 2, 3));
    assert_eq!(shown.text, text);
    assert_eq!(shown.annotations["description"], "never");
}

#[test]
fn the_starter_set_loads_and_every_policy_in_it_has_a_scope() {
    let policy = CedarPolicy::load(&starter()).unwrap();
    let summary = policy.summary();
    assert_eq!((summary.tiers.permit, summary.tiers.forbid, summary.tiers.ask), (8, 5, 1));
    assert_eq!(summary.unscoped, []);
}

#[test]
fn the_starter_set_gives_an_agent_nothing_without_a_label_and_asks_for_what_matters() {
    let policy = CedarPolicy::load(&starter()).unwrap();
    let mut document = refund();
    let verdict = policy.judge(&document);
    assert!(
        matches!(&verdict.effect, VerdictEffect::Ask(terms) if terms.approvers.contains("owner"))
    );
    assert_eq!(ids(&verdict), ["writes-that-matter-ask"]);

    let carnet_core::Target::Operation { labels, .. } = &mut document.target else {
        unreachable!()
    };
    labels.clear();
    assert_eq!(ids(&policy.judge(&document)), [""; 0]);

    let mut document = refund();
    document.principal.environment = "live".into();
    assert_eq!(ids(&policy.judge(&document)), ["environments-do-not-mix"]);
}

/// Tier by tier over the whole set, without an index.
fn found_unsliced(policy: &CedarPolicy, tier: Tier, question: &Question) -> Found {
    let rules = policy.rules.values().filter(|rule| rule.tier == tier);
    let set = PolicySet::from_policies(rules.map(|rule| rule.policy.clone())).unwrap();
    let mut found = Found::default();
    evaluate_set(&policy.authorizer, &set, question, &mut found);
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_scope_index_finds_what_evaluating_everything_finds(
        source in sources(24),
        documents in proptest::collection::vec(documents(), 1..8),
    ) {
        let policy = CedarPolicy::load(&source).unwrap();
        for document in &documents {
            let question = Question::of(policy.vocabulary, document).unwrap();
            for (tier, index) in [
                (Tier::Permit, &policy.permit),
                (Tier::Forbid, &policy.forbid),
                (Tier::Ask, &policy.ask),
            ] {
                let sliced = index.evaluate(&policy.authorizer, &question);
                prop_assert_eq!(sliced, found_unsliced(&policy, tier, &question));
            }
        }
    }

    #[test]
    fn the_same_inputs_give_the_same_bytes(source in sources(24), document in documents()) {
        let one = CedarPolicy::load(&source).unwrap();
        let two = CedarPolicy::load(&PolicySource::from_bytes(&source.to_bytes()).unwrap()).unwrap();
        prop_assert_eq!(one.digest(), two.digest());
        let bytes = |policy: &CedarPolicy| serde_json::to_vec(&policy.judge(&document)).unwrap();
        prop_assert_eq!(bytes(&one), bytes(&one));
        prop_assert_eq!(bytes(&one), bytes(&two));
        let shown = |policy: &CedarPolicy| serde_json::to_vec(&policy.explain(&document)).unwrap();
        prop_assert_eq!(shown(&one), shown(&two));
    }

    #[test]
    fn a_forbid_or_an_ask_more_never_widens_the_answer(source in sources(16), document in documents()) {
        let strict = CedarPolicy::load(&source).unwrap();
        let files = source.files().filter(|(name, _)| name.starts_with("permit/"));
        let files: std::collections::BTreeMap<_, _> =
            files.map(|(n, t)| (n.to_owned(), t.to_owned())).collect();
        prop_assume!(!files.is_empty());
        let loose = CedarPolicy::load(&PolicySource::from_files(files).unwrap()).unwrap();
        let permits = |policy: &CedarPolicy| policy.judge(&document).effect == VerdictEffect::Permit;
        prop_assert!(!permits(&strict) || permits(&loose));
    }
}
