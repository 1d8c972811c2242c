//! What the broker keeps in the store: typed records, read and written in one place.

use carnet_core::{
    Agent, AgentName, Approval, Digest, Grant, Instance, Lease, Lock, ReservationId, Resource,
    RevokedToken, Task, TaskId, Timestamp, User,
};
use carnet_store::{Key, Kind};
use serde::{Deserialize, Serialize};

use crate::error::BrokerError;
use crate::keys::KeyRecord;
use crate::outbox;

/// One record of the store.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Item {
    Agent(Agent),
    Instance(Instance),
    User(User),
    Resource(Resource),
    Task(Task),
    Grant(Grant),
    Approval(Box<Approval>),
    Lock(Lock),
    Lease(Lease),
    Reservation(Reservation),
    ActivePolicy(ActivePolicy),
    Key(KeyRecord),
    RevokedToken(RevokedToken),
    Attestation(Attestation),
    Heard(Heard),
}

/// Since when the running copies of an agent are told as they are now. What was issued to one before
/// says nothing any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Attestation {
    pub(crate) agent: AgentName,
    pub(crate) after: Timestamp,
}

/// An event of another issuer that was taken, and is not taken again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Heard {
    /// The digest of issuer and `jti`.
    pub(crate) id: Digest,
    /// When it was taken.
    pub(crate) at: Timestamp,
    /// The digest of who told of it: each has a share of what is remembered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<Digest>,
}

/// What is set aside for one operation, until its outcome is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reservation {
    /// Its id.
    pub id: ReservationId,
    /// The decision it belongs to.
    pub decision: carnet_core::DecisionId,
    /// The task.
    pub task: TaskId,
    /// What it takes, of which grants.
    pub charges: Vec<carnet_core::Charge>,
    /// Whether it takes one call of the task's budget.
    pub counts_call: bool,
}

/// The policy set in force, and the one before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActivePolicy {
    /// The digest of the set in force.
    pub digest: Digest,
    /// The digest of the set before it, for a rollback.
    pub previous: Option<Digest>,
}

const ACTIVE_POLICY_ID: &str = "active-policy";
pub(crate) const ATTESTATION_PREFIX: &str = "attested-after/";
pub(crate) const HEARD_PREFIX: &str = "heard/";

impl Item {
    /// The key the record is stored under.
    pub(crate) fn key(&self) -> Key {
        match self {
            Self::Agent(agent) => Key::new(Kind::Agent, agent.name.as_str()),
            Self::Instance(instance) => Key::new(Kind::Instance, instance.id.as_str()),
            Self::User(user) => Key::new(Kind::Operator, user.name.as_str()),
            Self::Resource(resource) => Key::new(Kind::Resource, resource.name.as_str()),
            Self::Task(task) => Key::new(Kind::Task, task.id.as_str()),
            Self::Grant(grant) => Key::new(Kind::Grant, grant.id.as_str()),
            Self::Approval(approval) => Key::new(Kind::Approval, approval.id.as_str()),
            Self::Lock(lock) => Key::new(Kind::Lock, lock.id.as_str()),
            Self::Lease(lease) => Key::new(Kind::Lease, lease.id.as_str()),
            Self::Reservation(held) => Key::new(Kind::Reservation, held.id.as_str()),
            Self::ActivePolicy(_) => Key::new(Kind::Meta, ACTIVE_POLICY_ID),
            Self::Key(key) => Key::new(Kind::Secret, key.kid.as_str()),
            Self::RevokedToken(token) => Key::new(Kind::Token, token.jti.as_str()),
            Self::Attestation(it) => {
                Key::new(Kind::Meta, format!("{ATTESTATION_PREFIX}{}", it.agent))
            }
            Self::Heard(it) => Key::new(Kind::Meta, format!("{HEARD_PREFIX}{}", it.id)),
        }
    }

    /// The record's bytes. What would not read back as it is, is refused before it is committed.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, BrokerError> {
        match self {
            Self::Agent(agent) => self.checked(agent),
            Self::Instance(instance) => self.checked(instance),
            Self::User(user) => self.checked(user),
            Self::Resource(resource) => self.checked(resource),
            Self::Task(task) => self.checked(task),
            Self::Grant(grant) => self.checked(grant),
            Self::Approval(approval) => self.checked(&**approval),
            Self::Lock(lock) => self.checked(lock),
            Self::Lease(lease) => self.checked(lease),
            Self::Reservation(held) => self.checked(held),
            Self::ActivePolicy(active) => self.checked(active),
            Self::Key(key) => self.checked(key),
            Self::RevokedToken(token) => self.checked(token),
            Self::Attestation(it) => self.checked(it),
            Self::Heard(it) => self.checked(it),
        }
    }

    fn checked<T>(&self, record: &T) -> Result<Vec<u8>, BrokerError>
    where
        T: Serialize + serde::de::DeserializeOwned + PartialEq,
    {
        let key = self.key().to_string();
        match serde_json::to_vec(record) {
            Ok(bytes) => outbox::check_reads_back(&key, record, &bytes).map(|()| bytes),
            Err(error) => Err(BrokerError::Corrupt { key, error }),
        }
    }

    /// The record under `key`, or none where the kind is not one the broker decodes.
    pub(crate) fn decode(key: &Key, bytes: &[u8]) -> Result<Option<Self>, BrokerError> {
        let item = match key.kind {
            Kind::Agent => serde_json::from_slice(bytes).map(Self::Agent),
            Kind::Instance => serde_json::from_slice(bytes).map(Self::Instance),
            Kind::Operator => serde_json::from_slice(bytes).map(Self::User),
            Kind::Resource => serde_json::from_slice(bytes).map(Self::Resource),
            Kind::Task => serde_json::from_slice(bytes).map(Self::Task),
            Kind::Grant => serde_json::from_slice(bytes).map(Self::Grant),
            Kind::Approval => serde_json::from_slice(bytes).map(Box::new).map(Self::Approval),
            Kind::Lock => serde_json::from_slice(bytes).map(Self::Lock),
            Kind::Lease => serde_json::from_slice(bytes).map(Self::Lease),
            Kind::Reservation => serde_json::from_slice(bytes).map(Self::Reservation),
            Kind::Meta if key.id == ACTIVE_POLICY_ID => {
                serde_json::from_slice(bytes).map(Self::ActivePolicy)
            }
            Kind::Meta if key.id.starts_with(ATTESTATION_PREFIX) => {
                serde_json::from_slice(bytes).map(Self::Attestation)
            }
            Kind::Meta if key.id.starts_with(HEARD_PREFIX) => {
                serde_json::from_slice(bytes).map(Self::Heard)
            }
            Kind::Secret => serde_json::from_slice(bytes).map(Self::Key),
            Kind::Token => serde_json::from_slice(bytes).map(Self::RevokedToken),
            Kind::Meta | Kind::Policy => return Ok(None),
        };
        item.map(Some).map_err(|error| BrokerError::Corrupt { key: key.to_string(), error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_a_change_keeps_its_form() {
        let at = Timestamp::from_s(7);
        let id = Digest::of(b"x");
        let items = [
            (
                Item::Attestation(Attestation { agent: "desk".parse().unwrap(), after: at }),
                "meta/attested-after/desk".to_owned(),
                r#"{"agent":"desk","after":7000000}"#.to_owned(),
            ),
            (
                Item::Heard(Heard { id, at, from: None }),
                format!("meta/heard/{id}"),
                format!(r#"{{"id":"{id}","at":7000000}}"#),
            ),
            (
                Item::Heard(Heard { id, at, from: Some(id) }),
                format!("meta/heard/{id}"),
                format!(r#"{{"id":"{id}","at":7000000,"from":"{id}"}}"#),
            ),
        ];
        for (item, key, bytes) in items {
            assert_eq!(item.key().to_string(), key);
            assert_eq!(item.encode().unwrap(), bytes.as_bytes());
            let read = Item::decode(&item.key(), bytes.as_bytes()).unwrap();
            assert_eq!(read, Some(item));
        }
    }
}
