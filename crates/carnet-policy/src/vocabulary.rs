//! The words policy may use, and their compiled form.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use carnet_core::Verb;
use cedar_policy::{Entities, EntityId, EntityTypeName, EntityUid, Schema};

/// The policy vocabulary as a Cedar schema.
pub const SCHEMA: &str = include_str!("carnet.cedarschema");

/// The version of the vocabulary. It is part of every policy set's digest; a change of [`SCHEMA`]
/// that could change the meaning of a set is a new version.
pub const VOCABULARY_VERSION: u32 = 1;

/// The id of the one [`House`](SCHEMA) entity.
pub(crate) const HOUSE_ID: &str = "house";

/// One fact a condition may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word {
    /// How a policy writes it.
    pub path: &'static str,
    /// Its type.
    pub kind: &'static str,
    /// Where it is present: `always`, or when.
    pub present: &'static str,
    /// What it says.
    pub meaning: &'static str,
}

const fn word(
    path: &'static str,
    kind: &'static str,
    present: &'static str,
    meaning: &'static str,
) -> Word {
    Word { path, kind, present, meaning }
}

const AGENT: &str = "an agent is judged";
const OPERATION: &str = "not for `operate`";
const WORK: &str = "not for `operate`";

/// Every fact a condition may read. `docs/policy.md` shows the same table.
pub const WORDS: &[Word] = &[
    word(
        "principal.owner",
        "String",
        AGENT,
        "`user:NAME` or `team:NAME` that answers for the agent",
    ),
    word("principal.environment", "String", AGENT, "the environment the agent is registered in"),
    word("resource.environment", "String", OPERATION, "the environment of the resource"),
    word("resource.labels", "Set<String>", OPERATION, "the labels reviewers gave the resource"),
    word("resource.reversible", "Bool", OPERATION, "what it does can be undone, as reviewed"),
    word(
        "resource.egress",
        "Bool",
        OPERATION,
        "it carries agent-chosen bytes out of the organisation",
    ),
    word("resource.path", "String", OPERATION, "`read`, `write` or `admin`"),
    word("context.task.purpose", "String", WORK, "the declared purpose of the task"),
    word("context.task.agent", "Agent", WORK, "the agent that works on the task"),
    word("context.task.subject_user", "User", "the subject is a person", "on whose behalf it runs"),
    word(
        "context.task.subject_agent",
        "Agent",
        "the subject is an agent",
        "on whose behalf it runs",
    ),
    word("context.task.opened_by_user", "User", "a person opened it", "who opened the task"),
    word("context.task.opened_by_agent", "Agent", "an agent opened it", "who opened the task"),
    word("context.task.standing", "Bool", WORK, "it was opened from a standing intent"),
    word("context.task.depth", "Long", WORK, "how many tasks are above it"),
    word("context.task.marked", "Bool", WORK, "something untrusted has been read in its tree"),
    word("context.approvals.count", "Long", "always", "how many people approved exactly this"),
    word("context.approvals.by", "Set<User>", "always", "who they are"),
    word("context.now", "datetime", "always", "when the decision is made"),
    word(
        "context.text",
        "Arguments",
        "always",
        "arguments as text: `.hasTag(\"x\")`, `.getTag(\"x\")`",
    ),
    word("context.number", "Numbers", "always", "whole numbers among the arguments, as Long"),
];

/// The action groups, which no request is about but scopes may name.
pub(crate) const GROUPS: [&str; 5] = ["call", "read", "write", "admin", "operate"];

/// The entity types, without the namespace.
pub(crate) const TYPES: [&str; 9] =
    ["Team", "User", "Agent", "Resource", "Operation", "House", "Arguments", "Numbers", "Action"];

/// The names of the entity types, parsed once.
pub(crate) struct TypeNames {
    pub(crate) team: EntityTypeName,
    pub(crate) user: EntityTypeName,
    pub(crate) agent: EntityTypeName,
    pub(crate) resource: EntityTypeName,
    pub(crate) operation: EntityTypeName,
    pub(crate) house: EntityTypeName,
    pub(crate) arguments: EntityTypeName,
    pub(crate) numbers: EntityTypeName,
    pub(crate) action: EntityTypeName,
}

impl TypeNames {
    fn parse() -> Result<Self, String> {
        let name = |text: &str| {
            format!("Carnet::{text}").parse::<EntityTypeName>().map_err(|e| e.to_string())
        };
        Ok(Self {
            team: name("Team")?,
            user: name("User")?,
            agent: name("Agent")?,
            resource: name("Resource")?,
            operation: name("Operation")?,
            house: name("House")?,
            arguments: name("Arguments")?,
            numbers: name("Numbers")?,
            action: name("Action")?,
        })
    }
}

/// An action a request may be about, with the part of the action hierarchy above it.
pub(crate) struct ActionFacts {
    pub(crate) uid: EntityUid,
    /// The action and its groups: what a request may be filed under.
    pub(crate) keys: Vec<EntityUid>,
    /// The entities of the action and its groups, hierarchy included. Without them
    /// `action in …` would match nothing, and forbids on a group would silently vanish.
    pub(crate) entities: Entities,
}

/// The vocabulary, compiled.
pub(crate) struct Vocabulary {
    pub(crate) schema: Schema,
    pub(crate) types: TypeNames,
    pub(crate) text_uid: EntityUid,
    pub(crate) number_uid: EntityUid,
    pub(crate) house_uid: EntityUid,
    actions: BTreeMap<Verb, ActionFacts>,
}

impl Vocabulary {
    /// The compiled vocabulary. Made on first use; it depends on nothing but this crate's text.
    pub(crate) fn shared() -> Result<&'static Self, &'static str> {
        static SHARED: LazyLock<Result<Vocabulary, String>> = LazyLock::new(Vocabulary::compile);
        SHARED.as_ref().map_err(String::as_str)
    }

    fn compile() -> Result<Self, String> {
        let (schema, _) = Schema::from_cedarschema_str(SCHEMA).map_err(|e| e.to_string())?;
        let types = TypeNames::parse()?;
        let all = schema.action_entities().map_err(|e| e.to_string())?;
        let actions = Verb::ALL
            .into_iter()
            .map(|verb| Ok((verb, action_facts(&all, &types, verb)?)))
            .collect::<Result<_, String>>()?;
        Ok(Self {
            text_uid: uid(&types.arguments, "request"),
            number_uid: uid(&types.numbers, "request"),
            house_uid: uid(&types.house, HOUSE_ID),
            schema,
            types,
            actions,
        })
    }

    /// What is known of the action that asks `verb`.
    pub(crate) fn action(&self, verb: Verb) -> Option<&ActionFacts> {
        self.actions.get(&verb)
    }
}

fn action_facts(all: &Entities, types: &TypeNames, verb: Verb) -> Result<ActionFacts, String> {
    let own = uid(&types.action, verb.as_str());
    let ancestors = all.ancestors(&own).ok_or("the schema lacks a verb")?.cloned();
    let keys: Vec<EntityUid> = std::iter::once(own.clone()).chain(ancestors).collect();
    let kept = keys.iter().filter_map(|key| all.get(key)).cloned();
    let entities = Entities::from_entities(kept, None).map_err(|e| e.to_string())?;
    Ok(ActionFacts { uid: own, keys, entities })
}

/// The entity `id` of a type whose name is already parsed.
pub(crate) fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use carnet_core::Digest;
    use std::collections::BTreeSet;

    #[test]
    fn the_vocabulary_is_frozen_under_its_version() {
        // A golden digest: if this fails the vocabulary changed. Sets in ledgers are read by it, so
        // decide whether that is a new VOCABULARY_VERSION before changing the digest.
        assert_eq!(VOCABULARY_VERSION, 1);
        let golden = include_str!("../tests/golden/vocabulary-1.digest");
        assert_eq!(Digest::of(SCHEMA.as_bytes()).to_string(), golden.trim());
    }

    #[test]
    fn actions_and_their_groups_are_those_of_the_core() {
        let vocabulary = Vocabulary::shared().unwrap();
        for verb in Verb::ALL {
            let facts = vocabulary.action(verb).unwrap();
            let found: BTreeSet<&str> = facts.keys.iter().map(|k| k.id().unescaped()).collect();
            let expected: BTreeSet<&str> =
                std::iter::once(verb.as_str()).chain(verb.groups().iter().copied()).collect();
            assert_eq!(found, expected);
            assert_eq!(facts.entities.len(), expected.len());
            for group in verb.groups() {
                let group = uid(&vocabulary.types.action, group);
                assert!(facts.entities.is_ancestor_of(&group, &facts.uid), "{verb:?}");
            }
        }
        let actions: BTreeSet<String> =
            vocabulary.schema.actions().map(|a| a.id().unescaped().to_owned()).collect();
        let expected: BTreeSet<String> =
            Verb::ALL.iter().map(|v| v.as_str()).chain(GROUPS).map(str::to_owned).collect();
        assert_eq!(actions, expected);
    }

    #[test]
    fn every_word_validates_and_no_attribute_of_the_schema_lacks_a_word() {
        let attributes: BTreeSet<&str> =
            WORDS.iter().filter_map(|w| w.path.rsplit('.').next()).collect();
        for line in SCHEMA.lines() {
            let line = line.split("//").next().unwrap_or_default().trim();
            if let Some((name, _)) = line.split_once(':')
                && name.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c == '?')
            {
                let name = name.trim_end_matches('?');
                assert!(
                    name == "task" || name == "approvals" || attributes.contains(name),
                    "{name}"
                );
            }
        }
        for word in WORDS {
            let parent = word.path.rsplit_once('.').unwrap();
            let text = format!(
                "@id(\"x\") permit(principal is Carnet::Agent, action == Carnet::Action::\"mcp.read\", \
                 resource is Carnet::Operation) when {{ {} has {} && {} == {} }};",
                parent.0, parent.1, word.path, word.path
            );
            let set: cedar_policy::PolicySet = text.parse().unwrap();
            let schema = Vocabulary::shared().unwrap().schema.clone();
            let result = cedar_policy::Validator::new(schema)
                .validate(&set, cedar_policy::ValidationMode::Strict);
            assert!(result.validation_passed(), "{}: {result}", word.path);
        }
    }
}
