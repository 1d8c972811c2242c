//! The authorization details of handing on (RFC 9396): exactly one object of the type
//! `carnet_delegation`, with the intent of the child task and nothing else.

use carnet_core::Intent;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::oauth::delegate::INTENT_ADVICE;
use crate::oauth::refusal::{Kind, Refusal};

/// The type of these details.
pub(crate) const DELEGATION_TYPE: &str = "carnet_delegation";
/// The longest text read.
const DETAILS_BYTES_MAX: usize = 64 * 1024;

/// What a `carnet_delegation` object says.
#[derive(Debug)]
pub(crate) struct Delegation {
    /// What the child task will do.
    pub(crate) intent: Intent,
    /// The same as it was sent.
    pub(crate) said: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Object<'a> {
    #[serde(rename = "type")]
    _type: DetailsType,
    #[serde(borrow)]
    intent: &'a RawValue,
}

#[derive(Deserialize)]
enum DetailsType {
    #[serde(rename = "carnet_delegation")]
    Delegation,
}

impl Delegation {
    /// Reads the parameter `authorization_details`.
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        if text.len() > DETAILS_BYTES_MAX {
            return Err(refused());
        }
        // The typed reader would also take an array for an object.
        let shapes: Vec<Map<String, Value>> = serde_json::from_str(text).map_err(|_| refused())?;
        let objects: Vec<Object<'_>> = serde_json::from_str(text).map_err(|_| refused())?;
        let (mut shapes, mut objects) = (shapes.into_iter(), objects.into_iter());
        let (Some(shape), Some(object), None) = (shapes.next(), objects.next(), objects.next())
        else {
            return Err(refused());
        };
        let said = shape.get("intent").filter(|intent| intent.is_object()).cloned();
        let said = said.ok_or(refused())?;
        let intent = Intent::from_json(object.intent.get().as_bytes()).map_err(|error| {
            let refusal = Refusal::new(Kind::InvalidDetails, "intent_malformed", INTENT_ADVICE);
            refusal.with_detail(error.to_string())
        })?;
        Ok(Self { intent, said })
    }
}

/// What any unusable details are answered with.
pub(crate) const fn refused() -> Refusal {
    Refusal::new(
        Kind::InvalidDetails,
        "details_malformed",
        "send an array of exactly one object of the type carnet_delegation with the member intent, an object, and no other",
    )
}
