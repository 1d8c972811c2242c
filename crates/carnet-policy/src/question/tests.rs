use cedar_policy::{Authorizer, Decision, PolicySet};
use proptest::prelude::*;

use super::*;
use crate::sample::{documents, refund};

fn question(document: &Document) -> Result<Question, String> {
    Question::of(Vocabulary::shared().unwrap(), document)
}

proptest! {
    #[test]
    fn every_document_that_fits_together_conforms_to_the_schema(document in documents()) {
        let question = question(&document).unwrap();
        // Said outright, so that this holds in release builds of the tests too.
        prop_assert_eq!(question.conforms(Vocabulary::shared().unwrap()), Ok(()));
        for key in question.keys() {
            let found = [&question.principal_keys[0], &question.action_keys[0], &question.resource_keys[0]]
                .iter()
                .any(|end| *end == key || question.entities.is_ancestor_of(key, end));
            prop_assert!(found, "{}", key);
        }
        let ancestors: usize = [question.request.principal(), question.request.action(), question.request.resource()]
            .iter()
            .map(|uid| 1 + question.entities.ancestors(uid.unwrap()).unwrap().count())
            .sum();
        prop_assert_eq!(ancestors, question.keys().count());
    }
}

#[test]
fn a_document_that_does_not_fit_together_is_refused() {
    let broken: [fn(&mut Document); 7] = [
        |d| d.verb = Verb::McpRead,
        |d| d.verb = Verb::LedgerRead,
        |d| d.verb = Verb::ApprovalDecide,
        |d| d.target = Target::House,
        |d| d.task = None,
        |d| d.principal.principal = Principal::User("ana".parse().unwrap()),
        |d| d.now = carnet_core::Timestamp::from_us(i64::MAX),
    ];
    assert!(question(&refund()).is_ok());
    for (n, breaking) in broken.into_iter().enumerate() {
        let mut document = refund();
        breaking(&mut document);
        assert!(question(&document).is_err(), "{n}");
    }
}

#[test]
fn more_teams_than_the_bound_are_refused() {
    let mut document = refund();
    document.principal.teams = (0..=MEMBERS_MAX).map(|n| format!("team-{n}")).collect();
    assert!(question(&document).is_err());
}

/// The first trap of Cedar: the action groups live in the entity store. Shown on Cedar itself, and
/// then on what this crate builds.
#[test]
fn trap_a_forbid_on_an_action_group_needs_the_action_hierarchy() {
    let set: PolicySet = "permit(principal, action, resource);
        forbid(principal, action in Carnet::Action::\"write\", resource);"
        .parse()
        .unwrap();
    let asked = question(&refund()).unwrap();
    let decide = |entities: &Entities| {
        Authorizer::new().is_authorized(&asked.request, &set, entities).decision()
    };
    let types = &Vocabulary::shared().unwrap().types;
    let bare = asked.entities.iter().filter(|e| *e.uid().type_name() != types.action).cloned();
    let bare = Entities::from_entities(bare, None).unwrap();
    assert_eq!(
        decide(&bare),
        Decision::Allow,
        "Cedar's trap: without the hierarchy the forbid vanishes"
    );
    assert_eq!(decide(&asked.entities), Decision::Deny);
}
