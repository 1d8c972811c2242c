use std::collections::BTreeMap;

use carnet_broker::operator::Offered;
use carnet_core::{
    ActionName, ArgumentKind, Digest, EffectClass, OperationKind, Path, Reach, Registered,
};
use clap::Parser;
use serde_json::{Value, json};

use super::*;

#[derive(Debug, Parser)]
struct Typed {
    #[command(flatten)]
    review: ReviewCommand,
}

const CLOSED_READ: (Path, EffectClass) = (Path::Read, EffectClass::CLOSED);
const EGRESS_WRITE: (Path, EffectClass) =
    (Path::Write, EffectClass { reversible: false, reach: Reach::Egress });

fn definition(name: &str) -> Value {
    json!({ "name": name, "description": "d", "inputSchema": { "properties": { "q": {}, "to": {} } } })
}

fn offer(name: &str, (path, effect): (Path, EffectClass)) -> Offer {
    let definition = definition(name);
    Offer {
        action: format!("desk.tool.{name}").parse().unwrap(),
        pin: Digest::of_json(&definition).unwrap(),
        offered: Offered {
            kind: OperationKind::Tool,
            name: name.to_owned(),
            definition,
            suggested_path: path,
            suggested_effect: effect,
            suggested_arguments: BTreeMap::new(),
            suspicions: Vec::new(),
        },
        state: "new".to_owned(),
        reviewed: None,
    }
}

fn registered(name: &str, path: Path) -> Registered {
    Registered {
        action: format!("desk.tool.{name}").parse::<ActionName>().unwrap(),
        path,
        effect: EffectClass::CLOSED,
        arguments: BTreeMap::new(),
        pin: Digest::of(b"old"),
        definition: json!({ "name": name, "description": "old" }),
    }
}

fn candidates(offers: Vec<Offer>) -> Vec<Candidate> {
    offers.into_iter().map(Candidate::of_offer).collect()
}

fn plan(flags: &[&str], candidates: &[Candidate]) -> anyhow::Result<Plan> {
    let words = ["review", "desk"].iter().chain(flags);
    let typed = Typed::try_parse_from(words)?.review;
    let said = Said {
        rules: typed.rules,
        file: ReviewFile::default(),
        accept_suggestions: typed.accept_suggestions,
    };
    said.plan(candidates)
}

fn paths(plan: &Plan) -> Vec<(&str, Option<Path>)> {
    plan.reviews
        .iter()
        .map(|(candidate, decided)| (candidate.name.as_str(), decided.path))
        .collect()
}

#[test]
fn without_a_decision_nothing_is_planned() {
    let all = candidates(vec![offer("get", CLOSED_READ), offer("put", EGRESS_WRITE)]);
    assert!(plan(&[], &all).unwrap().reviews.is_empty());
}

#[test]
fn the_later_flag_wins_across_flags() {
    let all = candidates(vec![offer("get_a", CLOSED_READ), offer("get_b", CLOSED_READ)]);
    let one = plan(&["--write", "*", "--read", "get_a"], &all).unwrap();
    assert_eq!(paths(&one), [("get_a", Some(Path::Read)), ("get_b", Some(Path::Write))]);
    let other = plan(&["--read", "get_a", "--write", "*"], &all).unwrap();
    assert_eq!(paths(&other), [("get_a", Some(Path::Write)), ("get_b", Some(Path::Write))]);
}

#[test]
fn a_pattern_may_name_the_kind() {
    let all = candidates(vec![offer("get", CLOSED_READ)]);
    assert_eq!(paths(&plan(&["--read", "tool/g*"], &all).unwrap()), [("get", Some(Path::Read))]);
    assert!(plan(&["--read", "prompt/*"], &all).is_err());
}

#[test]
fn a_flag_that_matches_nothing_is_a_slip_and_refused() {
    let all = candidates(vec![offer("get", CLOSED_READ)]);
    let error = plan(&["--read", "gte"], &all).unwrap_err().to_string();
    assert!(error.contains("--read 'gte' matches nothing"), "{error}");
}

#[test]
fn what_may_leave_the_organisation_does_not_go_on_read_unless_said_to_stay_inside() {
    let all = candidates(vec![offer("search", EGRESS_WRITE)]);
    let error = plan(&["--read", "search"], &all).unwrap_err().to_string();
    assert!(error.contains("--inside 'tool/search'"), "{error}");
    let said = plan(&["--read", "search", "--inside", "search"], &all).unwrap();
    assert_eq!(said.reviews[0].1.effect.reach, Reach::Inside);
}

#[test]
fn an_effect_without_a_pattern_is_for_everything_decided_and_decides_nothing_itself() {
    let all = candidates(vec![offer("a", CLOSED_READ), offer("b", CLOSED_READ)]);
    let said = plan(&["--write", "a", "--effect", "irreversible"], &all).unwrap();
    assert_eq!(paths(&said), [("a", Some(Path::Write))]);
    assert!(!said.reviews[0].1.effect.reversible);
    let said = plan(&["--write", "*", "--effect", "b=irreversible"], &all).unwrap();
    assert!(said.reviews[0].1.effect.reversible && !said.reviews[1].1.effect.reversible);
    assert!(plan(&["--effect", "sometimes"], &all).is_err());
}

#[test]
fn an_argument_is_of_the_tool_with_the_longest_name_and_must_exist() {
    let mut nested = offer("a.b", CLOSED_READ);
    nested.offered.definition = definition("a.b");
    let all = candidates(vec![offer("a", CLOSED_READ), nested]);
    let said = plan(&["--read", "*", "--argument", "a.b.to=email"], &all).unwrap();
    assert!(said.reviews[0].1.arguments.is_empty());
    assert_eq!(said.reviews[1].1.arguments, BTreeMap::from([("to".into(), ArgumentKind::Email)]));
    let error = plan(&["--read", "a", "--argument", "a.zz=url"], &all).unwrap_err().to_string();
    assert!(error.contains("it has q, to"), "{error}");
    assert!(plan(&["--read", "a", "--argument", "a.q=banana"], &all).is_err());
}

#[test]
fn code_goes_on_admin_or_nowhere() {
    let all = candidates(vec![offer("run", CLOSED_READ)]);
    assert!(plan(&["--write", "run", "--argument", "run.q=code"], &all).is_err());
    assert!(plan(&["--admin", "run", "--argument", "run.q=code"], &all).is_ok());
}

#[test]
fn what_looks_suspicious_is_accepted_only_by_name() {
    let mut poisoned = offer("get", CLOSED_READ);
    poisoned.offered.suspicions.push("it speaks to the model".into());
    let all = candidates(vec![poisoned, offer("see", CLOSED_READ)]);
    let said = plan(&["--accept-suggestions"], &all).unwrap();
    assert_eq!(paths(&said), [("see", Some(Path::Read))]);
    assert_eq!(said.held_back.len(), 1);
    let said = plan(&["--accept-suggestions", "--read", "get"], &all).unwrap();
    assert_eq!(said.reviews.len(), 2);
}

#[test]
fn a_method_is_accepted_only_by_name() {
    let mut method = offer("sampling.createMessage", EGRESS_WRITE);
    method.offered.kind = OperationKind::Method;
    let all = candidates(vec![method]);
    assert!(plan(&["--accept-suggestions"], &all).unwrap().reviews.is_empty());
    assert_eq!(plan(&["--write", "method/sampling.*"], &all).unwrap().reviews.len(), 1);
}

#[test]
fn accepting_a_change_never_makes_it_laxer_than_it_was_reviewed() {
    let mut changed = offer("get", CLOSED_READ);
    changed.reviewed = Some(registered("get", Path::Admin));
    changed.state = "changed".into();
    let all = candidates(vec![changed]);
    assert_eq!(all[0].state, State::Changed);
    let said = plan(&["--accept-suggestions"], &all).unwrap();
    assert_eq!(paths(&said), [("get", Some(Path::Admin))]);
    assert_eq!(said.reviews()[0].pin, Digest::of_json(&definition("get")).unwrap());
}

#[test]
fn what_is_already_so_is_not_sent_again() {
    let mut known = offer("get", CLOSED_READ);
    let pin = known.pin;
    known.reviewed = Some(Registered { pin, ..registered("get", Path::Read) });
    known.state = "unchanged".into();
    let all = candidates(vec![known, offer("new", CLOSED_READ)]);
    assert!(plan(&["--read", "get", "--off", "new"], &all).unwrap().reviews.is_empty());
    assert_eq!(paths(&plan(&["--off", "get"], &all).unwrap()), [("get", None)]);
    let said = plan(&["--effect", "get=irreversible"], &all).unwrap();
    assert_eq!(paths(&said), [("get", Some(Path::Read))]);
}

#[test]
fn what_is_gone_can_only_be_taken_off() {
    let resource = Resource {
        name: "desk".parse().unwrap(),
        environment: "development".into(),
        labels: Default::default(),
        upstream: carnet_core::Upstream {
            transport: carnet_core::Transport::Http { url: "http://127.0.0.1/".into() },
            credentials: BTreeMap::new(),
        },
        operations: [registered("old/one", Path::Read)]
            .into_iter()
            .map(|it| (it.action.clone(), it))
            .collect(),
    };
    let gone = Candidate::gone(&resource, &[]);
    assert_eq!((gone[0].name.as_str(), gone[0].state), ("old/one", State::Gone));
    assert!(plan(&["--read", "old/*", "--accept-suggestions"], &gone).unwrap().reviews.is_empty());
    assert_eq!(paths(&plan(&["--off", "*"], &gone).unwrap()), [("old/one", None)]);
}

#[test]
fn a_file_decides_and_a_flag_wins_over_it() {
    let all = candidates(vec![offer("get", CLOSED_READ), offer("put", EGRESS_WRITE)]);
    let file: ReviewFile = toml::from_str(
        "[[operation]]\nname = \"get\"\npath = \"read\"\n\n\
         [[operation]]\nname = \"put\"\nkind = \"tool\"\npath = \"write\"\nreversible = true\n\
         egress = false\narguments = { to = \"email\" }\n",
    )
    .unwrap();
    let said = Said { file, ..Said::default() };
    let planned = said.plan(&all).unwrap();
    assert_eq!(paths(&planned), [("get", Some(Path::Read)), ("put", Some(Path::Write))]);
    assert_eq!(planned.reviews[1].1.effect, EffectClass::CLOSED);
    assert_eq!(planned.reviews[1].1.arguments["to"], ArgumentKind::Email);
    let words = ["review", "desk", "--off", "put", "--admin", "get"];
    let rules = Typed::try_parse_from(words).unwrap().review.rules;
    let planned = Said { rules, ..said }.plan(&all).unwrap();
    assert_eq!(paths(&planned), [("get", Some(Path::Admin))]);
}

#[test]
fn a_file_that_names_what_is_not_offered_is_refused() {
    let file: ReviewFile = toml::from_str("[[operation]]\nname = \"x\"\npath = \"off\"\n").unwrap();
    let error = Said { file, ..Said::default() }.plan(&[]).unwrap_err().to_string();
    assert!(error.contains("operation[0]: tool/x is not offered"), "{error}");
    assert!(
        toml::from_str::<ReviewFile>("[[operation]]\nname = \"x\"\npaht = \"read\"\n").is_err()
    );
}
