//! What is offered on which path: learned from the lists, asked for each call.

use std::collections::HashMap;

use carnet_core::Path;
use carnet_gateway::mcp::codec::{ListKind, Mirrored};
use serde_json::{Map, Value};

use crate::cli::connect::merge::Listing;

/// Everything offered, and where.
#[derive(Debug, Default)]
pub(crate) struct Offers {
    tools: HashMap<String, Offered>,
    prompts: HashMap<String, Offered>,
    resources: HashMap<String, Offered>,
    templates: HashMap<String, Offered>,
}

/// One thing that is offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offered {
    /// The path it is offered on.
    pub(crate) path: Path,
    /// The arguments its definition wants repeated in headers.
    pub(crate) mirrored: Vec<Mirrored>,
}

/// Where a request belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// Where it is offered.
    To(Offered),
    /// Nothing of that name is offered: these lists may tell.
    Unknown(&'static [ListKind]),
    /// No list tells: the first path there is, or the one it is sent on to.
    Anywhere,
}

impl Offers {
    /// Takes over what `path` offers of `kind`. A name that another path offers already stays
    /// there: one operation has one path.
    pub(crate) fn learn(&mut self, kind: ListKind, path: Path, listing: &Listing) {
        let known = self.of_mut(kind);
        known.retain(|_, offered| offered.path != path);
        for item in &listing.items {
            let offered = Offered { path, mirrored: item.mirrored.clone() };
            known.entry(item.key.clone()).or_insert(offered);
        }
    }

    /// Where the request `method` with `params` belongs.
    pub(crate) fn route(&self, method: &str, params: &Map<String, Value>) -> Route {
        let text = |name: &str| params.get(name).and_then(Value::as_str).unwrap_or_default();
        match method {
            "tools/call" => found(self.tools.get(text("name")), &[ListKind::Tools]),
            "prompts/get" => found(self.prompts.get(text("name")), &[ListKind::Prompts]),
            "resources/read" => found(self.resource(text("uri")), RESOURCE_LISTS),
            "completion/complete" => self.completion(params.get("ref").unwrap_or(&Value::Null)),
            _ => Route::Anywhere,
        }
    }

    fn completion(&self, reference: &Value) -> Route {
        let text = |name: &str| reference.get(name).and_then(Value::as_str).unwrap_or_default();
        let known = match text("type") {
            "ref/prompt" => self.prompts.get(text("name")),
            _ => self.templates.get(text("uri")).or_else(|| self.resource(text("uri"))),
        };
        // Completing is an operation of its own, and may travel elsewhere than what it completes.
        known.map_or(Route::Anywhere, |offered| Route::To(offered.clone()))
    }

    /// Reading is one operation for every address, so any resource tells where it travels.
    fn resource(&self, uri: &str) -> Option<&Offered> {
        let any =
            || self.templates.values().chain(self.resources.values()).min_by_key(|it| it.path);
        self.resources.get(uri).or_else(any)
    }

    fn of_mut(&mut self, kind: ListKind) -> &mut HashMap<String, Offered> {
        match kind {
            ListKind::Tools => &mut self.tools,
            ListKind::Prompts => &mut self.prompts,
            ListKind::Resources => &mut self.resources,
            ListKind::Templates => &mut self.templates,
        }
    }
}

const RESOURCE_LISTS: &[ListKind] = &[ListKind::Resources, ListKind::Templates];

fn found(offered: Option<&Offered>, lists: &'static [ListKind]) -> Route {
    offered.map_or(Route::Unknown(lists), |offered| Route::To(offered.clone()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn listing(kind: ListKind, items: &Value) -> Listing {
        let mut listing = Listing::default();
        let result = json!({ kind.member(): items });
        listing.add(kind, &result.to_string()).unwrap();
        listing
    }

    fn route(offers: &Offers, method: &str, params: &Value) -> Option<Path> {
        match offers.route(method, params.as_object().unwrap()) {
            Route::To(offered) => Some(offered.path),
            _ => None,
        }
    }

    #[test]
    fn a_call_goes_where_its_tool_is_offered() {
        let mut offers = Offers::default();
        let tools = |names: &[&str]| {
            let items: Vec<_> = names.iter().map(|name| json!({ "name": name })).collect();
            listing(ListKind::Tools, &json!(items))
        };
        offers.learn(ListKind::Tools, Path::Read, &tools(&["look"]));
        offers.learn(ListKind::Tools, Path::Write, &tools(&["send", "look"]));
        let to =
            |offers: &Offers, name: &str| route(offers, "tools/call", &json!({ "name": name }));
        assert_eq!(to(&offers, "look"), Some(Path::Read));
        assert_eq!(to(&offers, "send"), Some(Path::Write));
        assert_eq!(to(&offers, "gone"), None);
        offers.learn(ListKind::Tools, Path::Write, &tools(&["gone"]));
        assert_eq!(to(&offers, "send"), None, "what is not offered any more is forgotten");
        assert_eq!(to(&offers, "gone"), Some(Path::Write));
    }

    #[test]
    fn a_resource_nobody_listed_is_read_where_the_others_are() {
        let mut offers = Offers::default();
        let read = json!({ "uri": "file:///b" });
        let unknown = Route::Unknown(RESOURCE_LISTS);
        assert_eq!(offers.route("resources/read", read.as_object().unwrap()), unknown);
        let templates = listing(ListKind::Templates, &json!([{ "uriTemplate": "file:///{x}" }]));
        offers.learn(ListKind::Templates, Path::Write, &templates);
        assert_eq!(route(&offers, "resources/read", &read), Some(Path::Write));
    }

    #[test]
    fn a_completion_goes_where_what_it_completes_is() {
        let mut offers = Offers::default();
        let prompts = listing(ListKind::Prompts, &json!([{ "name": "reply" }]));
        offers.learn(ListKind::Prompts, Path::Write, &prompts);
        let of = |reference| json!({ "ref": reference });
        let known = of(json!({ "type": "ref/prompt", "name": "reply" }));
        assert_eq!(route(&offers, "completion/complete", &known), Some(Path::Write));
        let other = of(json!({ "type": "ref/resource", "uri": "x" }));
        assert_eq!(route(&offers, "completion/complete", &other), None);
    }
}
