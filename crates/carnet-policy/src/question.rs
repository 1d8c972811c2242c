//! A document in the form Cedar evaluates: a request, and the entities it is about.
//!
//! Requests are built by hand, not checked against the schema each time: that would cost more than
//! deciding. What is built conforms by construction; debug builds, and with them every test, check
//! each request against the schema all the same.

use carnet_core::{Document, Path, Principal, Reach, Target, TaskFacts, Verb};
use cedar_policy::{Context, Entities, Entity, EntityUid, Request, RestrictedExpression as Value};

use crate::argument::Flat;
use crate::instant::instant_text;
use crate::vocabulary::{ActionFacts, Vocabulary, uid};

/// The most teams, labels and approvals of one document.
const MEMBERS_MAX: usize = 256;

/// A document, ready to be evaluated.
pub(crate) struct Question {
    pub(crate) request: Request,
    pub(crate) entities: Entities,
    /// The principal and its teams.
    pub(crate) principal_keys: Vec<EntityUid>,
    /// The action and its groups.
    pub(crate) action_keys: &'static [EntityUid],
    /// The operation and its resource, or the house.
    pub(crate) resource_keys: Vec<EntityUid>,
}

impl Question {
    /// The question `document` asks, or why it asks none: a document that does not fit together is
    /// refused, whoever made it.
    pub(crate) fn of(vocabulary: &'static Vocabulary, document: &Document) -> Result<Self, String> {
        check_shape(document)?;
        check_bounds(document)?;
        let action = vocabulary.action(document.verb).ok_or("the verb is not in the vocabulary")?;
        let flat = Flat::of(&document.arguments).map_err(|e| e.to_string())?;
        let principal_keys = principal_keys(vocabulary, document);
        let resource_keys = resource_keys(vocabulary, &document.target);
        let (Some(principal), Some(resource)) = (principal_keys.first(), resource_keys.first())
        else {
            return Err("the document names nobody and nothing".to_owned());
        };
        let context = context(vocabulary, document)?;
        let entities = [
            principal_entity(document, &principal_keys)?,
            target_entity(document, &resource_keys)?,
            text_entity(vocabulary, flat.text)?,
            number_entity(vocabulary, flat.number)?,
        ];
        let question = Self {
            request: request(principal, action, resource, context)?,
            entities: action.entities.clone().add_entities(entities, None).map_err(message)?,
            action_keys: &action.keys,
            principal_keys,
            resource_keys,
        };
        if cfg!(debug_assertions) {
            question.conforms(vocabulary)?;
        }
        Ok(question)
    }

    /// Every key a policy that could match may lie under.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &EntityUid> {
        self.principal_keys.iter().chain(self.action_keys).chain(&self.resource_keys)
    }

    /// Whether request and entities are what the schema says they are.
    fn conforms(&self, vocabulary: &Vocabulary) -> Result<(), String> {
        let (request, schema) = (&self.request, &vocabulary.schema);
        let parts = (request.principal(), request.action(), request.resource(), request.context());
        let (Some(principal), Some(action), Some(resource), Some(context)) = parts else {
            return Err("the request is not whole".to_owned());
        };
        Request::new(
            principal.clone(),
            action.clone(),
            resource.clone(),
            context.clone(),
            Some(schema),
        )
        .map_err(message)?;
        let own = self.entities.iter().filter(|e| *e.uid().type_name() != vocabulary.types.action);
        let checked = Entities::from_entities(own.cloned(), Some(schema)).map_err(message)?;
        for entity in self.entities.iter() {
            let held = checked.get(&entity.uid()).is_some_and(|other| other.deep_eq(entity));
            if !held {
                return Err(format!("the schema knows another `{}`", entity.uid()));
            }
        }
        Ok(())
    }
}

fn message(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Whether principal, verb, target and task belong together, as the schema has it.
fn check_shape(document: &Document) -> Result<(), String> {
    use Verb::{
        ApprovalDecide, LedgerRead, McpAdmin, McpRead, McpWrite, PolicyActivate, RegistryChange,
        RegistryRead, TaskDelegate, TaskOpen,
    };
    let agent = matches!(document.principal.principal, Principal::Agent(_));
    let path = match &document.target {
        Target::Operation { path, .. } => Some(*path),
        Target::House => None,
    };
    let (principal_fits, target_fits, task_expected) = match document.verb {
        McpRead => (agent, path == Some(Path::Read), true),
        McpWrite => (agent, path == Some(Path::Write), true),
        McpAdmin => (agent, path == Some(Path::Admin), true),
        TaskOpen => (true, path.is_some(), true),
        TaskDelegate => (agent, path.is_some(), true),
        ApprovalDecide => (!agent, path.is_some(), true),
        RegistryChange | RegistryRead | LedgerRead | PolicyActivate => {
            (!agent, path.is_none(), false)
        }
    };
    let verb = document.verb.as_str();
    if !principal_fits {
        return Err(format!("`{verb}` is not asked by `{}`", document.principal.principal));
    }
    if !target_fits {
        return Err(format!("`{verb}` is not asked of this target or path"));
    }
    if task_expected != document.task.is_some() {
        let word = if task_expected { "needs" } else { "has no" };
        return Err(format!("`{verb}` {word} task"));
    }
    Ok(())
}

fn check_bounds(document: &Document) -> Result<(), String> {
    let labels = match &document.target {
        Target::Operation { labels, .. } => labels.len(),
        Target::House => 0,
    };
    let most = document.principal.teams.len().max(labels).max(document.approvals.by.len());
    if most > MEMBERS_MAX {
        return Err(format!("the document has more than {MEMBERS_MAX} teams, labels or approvals"));
    }
    Ok(())
}

fn party(vocabulary: &Vocabulary, principal: &Principal) -> EntityUid {
    match principal {
        Principal::Agent(name) => uid(&vocabulary.types.agent, name.as_str()),
        Principal::User(name) => uid(&vocabulary.types.user, name.as_str()),
    }
}

fn principal_keys(vocabulary: &Vocabulary, document: &Document) -> Vec<EntityUid> {
    let facts = &document.principal;
    let teams = facts.teams.iter().map(|team| uid(&vocabulary.types.team, team));
    std::iter::once(party(vocabulary, &facts.principal)).chain(teams).collect()
}

fn resource_keys(vocabulary: &Vocabulary, target: &Target) -> Vec<EntityUid> {
    match target {
        Target::Operation { action, resource, .. } => vec![
            uid(&vocabulary.types.operation, action.as_str()),
            uid(&vocabulary.types.resource, resource.as_str()),
        ],
        Target::House => vec![vocabulary.house_uid.clone()],
    }
}

/// `keys` is the entity and then its parents, which need no entities of their own: a policy may
/// ask whether the principal is in a team, never what a team is.
fn entity(
    keys: &[EntityUid],
    attributes: impl IntoIterator<Item = (&'static str, Value)>,
) -> Result<Entity, String> {
    let (own, parents) = keys.split_first().ok_or("the document names nobody and nothing")?;
    let attributes = attributes.into_iter().map(|(name, value)| (name.to_owned(), value));
    Entity::new_with_tags(own.clone(), attributes, parents.iter().cloned(), []).map_err(message)
}

fn principal_entity(document: &Document, keys: &[EntityUid]) -> Result<Entity, String> {
    let facts = &document.principal;
    match facts.principal {
        Principal::User(_) => entity(keys, []),
        Principal::Agent(_) => {
            entity(keys, [("owner", text(&facts.owner)), ("environment", text(&facts.environment))])
        }
    }
}

fn target_entity(document: &Document, keys: &[EntityUid]) -> Result<Entity, String> {
    let Target::Operation { environment, labels, effect, path, .. } = &document.target else {
        return entity(keys, []);
    };
    entity(
        keys,
        [
            ("environment", text(environment)),
            ("labels", Value::new_set(labels.iter().map(|label| text(label)))),
            ("reversible", Value::new_bool(effect.reversible)),
            ("egress", Value::new_bool(effect.reach == Reach::Egress)),
            ("path", text(path.as_str())),
        ],
    )
}

fn text_entity(vocabulary: &Vocabulary, tags: Vec<(String, String)>) -> Result<Entity, String> {
    let tags = tags.into_iter().map(|(name, value)| (name, Value::new_string(value)));
    Entity::new_with_tags(vocabulary.text_uid.clone(), [], [], tags).map_err(message)
}

fn number_entity(vocabulary: &Vocabulary, tags: Vec<(String, i64)>) -> Result<Entity, String> {
    let tags = tags.into_iter().map(|(name, value)| (name, Value::new_long(value)));
    Entity::new_with_tags(vocabulary.number_uid.clone(), [], [], tags).map_err(message)
}

fn text(value: &str) -> Value {
    Value::new_string(value.to_owned())
}

fn context(vocabulary: &Vocabulary, document: &Document) -> Result<Context, String> {
    let now = instant_text(document.now).ok_or("the time of the document is out of range")?;
    let mut pairs = vec![
        ("approvals".to_owned(), approvals(vocabulary, document)?),
        ("now".to_owned(), Value::new_datetime(now)),
        ("text".to_owned(), Value::new_entity_uid(vocabulary.text_uid.clone())),
        ("number".to_owned(), Value::new_entity_uid(vocabulary.number_uid.clone())),
    ];
    if let Some(task) = &document.task {
        pairs.push(("task".to_owned(), task_record(vocabulary, task)?));
    }
    Context::from_pairs(pairs).map_err(message)
}

fn approvals(vocabulary: &Vocabulary, document: &Document) -> Result<Value, String> {
    let people: std::collections::BTreeSet<_> = document.approvals.by.iter().collect();
    let count = i64::try_from(people.len()).unwrap_or(i64::MAX);
    let by = people
        .into_iter()
        .map(|name| Value::new_entity_uid(uid(&vocabulary.types.user, name.as_str())));
    let fields =
        [("count".to_owned(), Value::new_long(count)), ("by".to_owned(), Value::new_set(by))];
    Value::new_record(fields).map_err(message)
}

fn task_record(vocabulary: &Vocabulary, task: &TaskFacts) -> Result<Value, String> {
    let name = |user: &'static str, agent: &'static str, principal: &Principal| {
        let field = if matches!(principal, Principal::User(_)) { user } else { agent };
        (field.to_owned(), Value::new_entity_uid(party(vocabulary, principal)))
    };
    let agent = uid(&vocabulary.types.agent, task.agent.as_str());
    let fields = [
        ("purpose".to_owned(), text(&task.purpose)),
        ("agent".to_owned(), Value::new_entity_uid(agent)),
        name("subject_user", "subject_agent", &task.subject),
        name("opened_by_user", "opened_by_agent", &task.opened_by),
        ("standing".to_owned(), Value::new_bool(task.standing)),
        ("depth".to_owned(), Value::new_long(i64::from(task.depth))),
        ("marked".to_owned(), Value::new_bool(task.marked)),
    ];
    Value::new_record(fields).map_err(message)
}

fn request(
    principal: &EntityUid,
    action: &ActionFacts,
    resource: &EntityUid,
    context: Context,
) -> Result<Request, String> {
    Request::new(principal.clone(), action.uid.clone(), resource.clone(), context, None)
        .map_err(message)
}

#[cfg(test)]
mod tests;
