//! What a server offers, with what the codec suggests and suspects, for the reviewer.

use std::sync::Arc;

use async_trait::async_trait;
use carnet_broker::operator::{Inspect, Offered};
use carnet_core::{EffectClass, OperationKind, Path, Reach, Resource};
use carnet_gateway::mcp::codec;
use carnet_gateway::{Gateway, Offer};

/// The gateway, as the operators' interface sees it.
pub(crate) struct Looking(pub Arc<Gateway>);

#[async_trait]
impl Inspect for Looking {
    async fn inspect(&self, resource: &Resource) -> Result<Vec<Offered>, String> {
        let offers = self.0.inspect(resource).await.map_err(|error| error.to_string())?;
        let names: Vec<String> = offers.iter().map(|offer| offer.name.clone()).collect();
        Ok(offers.into_iter().map(|offer| offered(offer, resource, &names)).collect())
    }
}

fn offered(offer: Offer, resource: &Resource, names: &[String]) -> Offered {
    match offer.kind {
        OperationKind::Tool => tool(offer, resource, names),
        // Reading what a server chose to show changes nothing; the rest is the reviewer's.
        kind => Offered {
            kind,
            suggested_path: match kind {
                OperationKind::Method => Path::Write,
                _ => Path::Read,
            },
            suggested_effect: EffectClass { reversible: true, reach: Reach::Inside },
            suggested_arguments: Default::default(),
            suspicions: Vec::new(),
            name: offer.name,
            definition: offer.definition,
        },
    }
}

fn tool(offer: Offer, resource: &Resource, names: &[String]) -> Offered {
    let suggestion = codec::suggest(&offer.definition);
    let others = names.iter().filter(|name| **name != offer.name);
    let neighbours: Vec<codec::Neighbour<'_>> =
        others.map(|tool| codec::Neighbour { server: resource.name.as_str(), tool }).collect();
    let suspicions = codec::suspicions(resource.name.as_str(), &offer.definition, &neighbours);
    Offered {
        kind: offer.kind,
        name: offer.name,
        definition: offer.definition,
        suggested_path: suggestion.path,
        suggested_effect: suggestion.effect,
        suggested_arguments: suggestion.arguments,
        suspicions: suspicions.iter().map(ToString::to_string).collect(),
    }
}
