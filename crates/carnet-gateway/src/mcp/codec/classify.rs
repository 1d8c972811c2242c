//! From a message to what is decided.

use carnet_core::{ActionName, NameError, OperationKind, ResourceName};
use serde_json::{Map, Value};

use super::input::{Capabilities, Retry};
use super::list::ListKind;
use super::message::Sender;
use super::method::{Mapping, Rule, Shape, find};
use super::refusal::Refusal;
use super::revision::Revision;
use super::undecided::{check_meta, check_undecided};
use super::uri;

/// The longest name of a tool or prompt.
const NAME_BYTES_MAX: usize = 128;
/// The longest page cursor.
const CURSOR_BYTES_MAX: usize = 8 << 10;
/// What `resources/read` is called among the operations of a resource.
const READ: &str = "read";
/// Words that name a secret, without the marks between them.
const SECRET_WORDS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "privatekey",
    "credential",
    "cardnumber",
    "creditcard",
    "cvv",
    "cvc",
    "onetimecode",
    "otpcode",
    "mnemonic",
    "seedphrase",
    "recoveryphrase",
];

const UNKNOWN: &str = "has a member that is not understood: leave it out";

/// A message, once it is known how it is decided.
#[derive(Debug, Clone, PartialEq)]
pub enum Classified {
    /// An operation.
    Call(Call),
    /// A list whose answer is filtered.
    List(ListKind),
    /// It opens or describes the exchange.
    Handshake,
    /// It belongs to an exchange that was decided.
    Relay,
}

/// What an operation is made from. Its path and effect come from the registry, not from here.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The middle part of the action's name.
    pub kind: OperationKind,
    /// The last part.
    pub item: String,
    /// The arguments as they were sent, or the parameters that stand for them.
    pub arguments: Map<String, Value>,
    /// What the client sends back from an earlier attempt. Not an argument.
    pub retry: Option<Retry>,
}

impl Call {
    /// The action's name at `resource`.
    pub fn action(&self, resource: &ResourceName) -> Result<ActionName, NameError> {
        ActionName::of(resource, self.kind.as_str(), &self.item)
    }

    fn method(item: &str, arguments: Map<String, Value>) -> Self {
        Self { kind: OperationKind::Method, item: item.to_owned(), arguments, retry: None }
    }
}

/// What `method` with `params` is to be decided as.
pub fn classify(
    revision: Revision,
    sender: Sender,
    shape: Shape,
    method: &str,
    params: &Map<String, Value>,
) -> Result<Classified, Refusal> {
    let row = find(revision, sender, shape, method)?;
    if params.get("_meta").is_some_and(|meta| !meta.is_object()) {
        return Err(Refusal::params(revision, "/params/_meta", "is not an object"));
    }
    if sender == Sender::Client {
        check_meta(revision, params)?;
    }
    if revision.is_stateless() && sender == Sender::Client && shape == Shape::Request {
        Capabilities::declared(revision, params)?;
    }
    if sender == Sender::Client && matches!(row.rule, Rule::Handshake | Rule::Relay) {
        check_undecided(revision, method, params)?;
    }
    let reader = Params { revision, params };
    match row.rule {
        Rule::Operation(mapping) => reader.call(mapping).map(Classified::Call),
        Rule::List(kind) => reader.list().map(|()| Classified::List(kind)),
        Rule::Handshake => Ok(Classified::Handshake),
        Rule::Relay => Ok(Classified::Relay),
        Rule::NotCarried(because) => Err(Refusal::NotCarried { revision, because }),
    }
}

struct Params<'a> {
    revision: Revision,
    params: &'a Map<String, Value>,
}

impl Params<'_> {
    fn call(&self, mapping: Mapping) -> Result<Call, Refusal> {
        match mapping {
            Mapping::Tool => self.tool(),
            Mapping::Resource => self.resource(),
            Mapping::Prompt => self.prompt(),
            Mapping::Completion => self.completion(),
            Mapping::Listen => self.listen(),
            Mapping::Elicitation => self.elicitation(),
            Mapping::Method(item) => self.whole(item),
        }
    }

    fn tool(&self) -> Result<Call, Refusal> {
        if self.params.contains_key("task") {
            return Err(self.refuse("/params/task", "is not carried: call without a task handle"));
        }
        self.only(&["name", "arguments"], true)?;
        let item = self.name()?;
        let arguments = self.object("arguments")?;
        Ok(Call { kind: OperationKind::Tool, item, arguments, retry: self.retry()? })
    }

    fn resource(&self) -> Result<Call, Refusal> {
        self.only(&["uri"], true)?;
        let uri = self.uri()?;
        let arguments = Map::from_iter([("uri".to_owned(), Value::from(uri))]);
        let kind = OperationKind::Resource;
        Ok(Call { kind, item: READ.to_owned(), arguments, retry: self.retry()? })
    }

    fn prompt(&self) -> Result<Call, Refusal> {
        self.only(&["name", "arguments"], true)?;
        let item = self.name()?;
        let arguments = self.object("arguments")?;
        if !arguments.values().all(Value::is_string) {
            return Err(self.refuse("/params/arguments", "holds something other than texts"));
        }
        Ok(Call { kind: OperationKind::Prompt, item, arguments, retry: self.retry()? })
    }

    fn completion(&self) -> Result<Call, Refusal> {
        self.only(&["ref", "argument", "context"], false)?;
        let reference = self.object("ref")?;
        self.closed("/params/ref", &reference, &["type", "name", "uri"])?;
        let (kind, target) = match reference.get("type").and_then(Value::as_str) {
            Some(kind @ "ref/prompt") => (kind, reference.get("name")),
            Some(kind @ "ref/resource") => (kind, reference.get("uri")),
            _ => return Err(self.refuse("/params/ref/type", "is not a kind of reference")),
        };
        let target = target.filter(|target| target.is_string());
        let target = target.ok_or_else(|| self.refuse("/params/ref", "names nothing"))?;
        let argument = self.object("argument")?;
        self.closed("/params/argument", &argument, &["name", "value"])?;
        let member = |name: &str| argument.get(name).filter(|value| value.is_string()).cloned();
        let (Some(name), Some(value)) = (member("name"), member("value")) else {
            return Err(self.refuse("/params/argument", "is not a name and a value"));
        };
        let mut arguments = Map::from_iter([
            ("ref_type".to_owned(), Value::from(kind)),
            ("ref".to_owned(), target.clone()),
            ("argument".to_owned(), name),
            ("value".to_owned(), value),
        ]);
        if let Some(context) = self.params.get("context") {
            arguments.insert("context".to_owned(), context.clone());
        }
        Ok(Call::method("completion.complete", arguments))
    }

    fn listen(&self) -> Result<Call, Refusal> {
        self.only(&["notifications"], false)?;
        if !self.params.get("notifications").is_some_and(Value::is_object) {
            return Err(self.refuse("/params/notifications", "is not an object"));
        }
        let arguments = self.object("notifications")?;
        let at = "/params/notifications/resourceSubscriptions";
        match arguments.get("resourceSubscriptions") {
            None => {}
            Some(Value::Array(uris)) => {
                for uri in uris {
                    let text = uri.as_str().ok_or_else(|| self.refuse(at, "holds no URI"))?;
                    uri::check(text).map_err(|rule| self.refuse(at, rule))?;
                }
            }
            Some(_) => return Err(self.refuse(at, "is not a list of URIs")),
        }
        Ok(Call::method("subscriptions.listen", arguments))
    }

    fn elicitation(&self) -> Result<Call, Refusal> {
        let mode = match self.params.get("mode") {
            None => "form",
            Some(Value::String(mode)) => mode.as_str(),
            Some(_) => return Err(self.refuse("/params/mode", "is not a text")),
        };
        match mode {
            "form" => self.form()?,
            "url" if self.revision >= Revision::V2025_11_25 => self.web_address()?,
            _ => return Err(self.refuse("/params/mode", "is not known in this version")),
        }
        let mode = mode.to_owned();
        let mut call = self.whole("elicitation.create")?;
        call.arguments.insert("mode".to_owned(), Value::String(mode));
        Ok(call)
    }

    /// A form must not be the way to a secret: what is typed there passes through the agent.
    fn form(&self) -> Result<(), Refusal> {
        let at = "/params/requestedSchema";
        let schema = self.object("requestedSchema")?;
        let Some(Value::Object(fields)) = schema.get("properties") else {
            return Err(self.refuse(at, "has no fields"));
        };
        let texts = fields.iter().flat_map(|(name, field)| {
            let said = ["title", "description"].into_iter();
            let said = said.filter_map(|member| field.get(member).and_then(Value::as_str));
            std::iter::once(name.as_str()).chain(said)
        });
        let message = self.params.get("message").and_then(Value::as_str);
        if texts.chain(message).any(asks_for_secret) {
            return Err(self.refuse(at, "asks for a secret in a form"));
        }
        Ok(())
    }

    fn web_address(&self) -> Result<(), Refusal> {
        match self.params.get("url") {
            Some(Value::String(url)) if uri::is_web_address(url) => Ok(()),
            _ => Err(self.refuse("/params/url", "is not an https address without a user in it")),
        }
    }

    /// Every parameter is an argument, so that policy sees all of it.
    fn whole(&self, item: &str) -> Result<Call, Refusal> {
        if item.starts_with("resources.") {
            self.only(&["uri"], false)?;
            self.uri()?;
        }
        if item == "logging.setLevel" {
            self.only(&["level"], false)?;
        }
        let mut arguments = self.params.clone();
        arguments.remove("_meta");
        Ok(Call::method(item, arguments))
    }

    fn list(&self) -> Result<(), Refusal> {
        self.only(&["cursor"], false)?;
        match self.params.get("cursor") {
            None => Ok(()),
            Some(Value::String(cursor)) if cursor.len() <= CURSOR_BYTES_MAX => Ok(()),
            Some(_) => Err(self.refuse("/params/cursor", "is not a text of at most 8192 bytes")),
        }
    }

    fn refuse(&self, at: &str, rule: &'static str) -> Refusal {
        Refusal::params(self.revision, at, rule)
    }

    /// Refuses parameters that nobody would see: neither policy nor the approver.
    fn only(&self, names: &[&str], retried: bool) -> Result<(), Refusal> {
        let retried = retried && self.revision.asks_by_result();
        let understood = |name: &str| {
            name == "_meta"
                || names.contains(&name)
                || (retried && matches!(name, "inputResponses" | "requestState"))
        };
        if self.params.keys().all(|name| understood(name)) {
            return Ok(());
        }
        Err(self.refuse("/params", UNKNOWN))
    }

    /// The same for an object within the parameters.
    fn closed(
        &self,
        at: &str,
        members: &Map<String, Value>,
        names: &[&str],
    ) -> Result<(), Refusal> {
        match members.keys().all(|name| names.contains(&name.as_str())) {
            true => Ok(()),
            false => Err(self.refuse(at, UNKNOWN)),
        }
    }

    fn retry(&self) -> Result<Option<Retry>, Refusal> {
        if self.revision.asks_by_result() {
            return Retry::of(self.revision, self.params);
        }
        Ok(None)
    }

    fn name(&self) -> Result<String, Refusal> {
        match self.params.get("name") {
            Some(Value::String(name)) if (1..=NAME_BYTES_MAX).contains(&name.len()) => {
                Ok(name.clone())
            }
            _ => Err(self.refuse("/params/name", "is not a text of 1 to 128 bytes")),
        }
    }

    fn uri(&self) -> Result<&str, Refusal> {
        let uri = self.params.get("uri").and_then(Value::as_str);
        let uri = uri.ok_or_else(|| self.refuse("/params/uri", "is not a text"))?;
        uri::check(uri).map_err(|rule| self.refuse("/params/uri", rule))?;
        Ok(uri)
    }

    fn object(&self, name: &str) -> Result<Map<String, Value>, Refusal> {
        match self.params.get(name) {
            None => Ok(Map::new()),
            Some(Value::Object(members)) => Ok(members.clone()),
            Some(_) => Err(self.refuse(&format!("/params/{name}"), "is not an object")),
        }
    }
}

fn asks_for_secret(text: &str) -> bool {
    let plain: String =
        text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    SECRET_WORDS.iter().any(|word| plain.contains(word))
}
