//! A leaf as it is stored, and how it reads.

use carnet_core::Timestamp;
use serde_json::{Map, Value};

use crate::entry::{Kind, OutboxPosition, SidecarPlace};
use crate::error::LedgerError;

/// One leaf: the exact bytes that are stored and hashed, and what they say.
#[derive(Debug, Clone, PartialEq)]
pub struct Leaf {
    /// Its place in the log.
    pub index: u64,
    /// The stored bytes.
    pub bytes: Vec<u8>,
    kind: Kind,
    id: String,
    at: Timestamp,
    node: String,
    header: Map<String, Value>,
    commitments: Map<String, Value>,
    outbox: Option<OutboxPosition>,
    sidecar: Option<SidecarPlace>,
}

impl Leaf {
    /// Reads the leaf at `index` from its bytes.
    pub fn parse(index: u64, bytes: &[u8]) -> Result<Self, LedgerError> {
        let refused = |why: &str| LedgerError::NotALeaf { index, why: why.to_owned() };
        let mut map: Map<String, Value> =
            serde_json::from_slice(bytes).map_err(|error| refused(&error.to_string()))?;
        if map.get("v").and_then(Value::as_u64) != Some(1) {
            return Err(refused("its version is not 1"));
        }
        if map.get("seq").and_then(integer) != Some(index) {
            return Err(refused("its `seq` is not its place in the log"));
        }
        let text = |name: &str| map.get(name).and_then(Value::as_str).map(str::to_owned);
        let kind = text("kind").and_then(|kind| kind.parse().ok());
        let at = map.get("at_us").and_then(signed).map(Timestamp::from_us);
        let (id, node) = (text("id"), text("node"));
        let outbox = pair(map.get("outbox"), "seq", "revision")
            .map_err(|()| refused("its `outbox` does not read"))?
            .map(|(seq, revision)| OutboxPosition { seq, revision });
        let sidecar = pair(map.get("sidecar"), "file", "offset")
            .map_err(|()| refused("its `sidecar` does not read"))?
            .map(|(file, offset)| SidecarPlace { file, offset });
        let commitments = object(&mut map, "commitments")
            .filter(|commitments| commitments.values().all(Value::is_string));
        let missing = || refused("a member is missing or does not read");
        Ok(Self {
            index,
            bytes: bytes.to_vec(),
            kind: kind.ok_or_else(missing)?,
            id: id.ok_or_else(missing)?,
            at: at.ok_or_else(missing)?,
            node: node.ok_or_else(missing)?,
            header: object(&mut map, "header").ok_or_else(missing)?,
            commitments: commitments.ok_or_else(missing)?,
            outbox,
            sidecar,
        })
    }

    /// What it records.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The thing it is about.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// When.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// The node that wrote it.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// What anyone may read.
    pub fn header(&self) -> &Map<String, Value> {
        &self.header
    }

    /// The commitments to its sealed values, by name: `hmac-sha256:` and hexadecimal digits.
    pub fn commitments(&self) -> &Map<String, Value> {
        &self.commitments
    }

    /// Its position in the store's outbox, if it came from there.
    pub fn outbox(&self) -> Option<OutboxPosition> {
        self.outbox
    }

    pub(crate) fn sidecar(&self) -> Option<SidecarPlace> {
        self.sidecar
    }
}

/// Takes a member that must be an object.
fn object(map: &mut Map<String, Value>, name: &str) -> Option<Map<String, Value>> {
    match map.remove(name) {
        Some(Value::Object(members)) => Some(members),
        _ => None,
    }
}

/// An integer, or the string a wide one is written as.
fn integer(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str().and_then(crate::text::decimal))
}

fn signed(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str().and_then(|text| text.parse().ok()))
}

fn pair(value: Option<&Value>, one: &str, two: &str) -> Result<Option<(u64, u64)>, ()> {
    let Some(value) = value else { return Ok(None) };
    let member = |name: &str| value.get(name).and_then(integer).ok_or(());
    Ok(Some((member(one)?, member(two)?)))
}
