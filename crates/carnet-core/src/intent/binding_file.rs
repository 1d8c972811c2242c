//! Reading a binding: a table with one key that says how to compare.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::binding::{Binding, EVERY_DEPTH_MAX, EmailBinding};
use super::mismatch::BindingError;
use super::reader::{self, Fields, IntentError, Place};
use super::regular::RegularExpression;
use super::tree;
use super::url_binding::UrlBinding;
use crate::value::{Email, EmailDomain, FilePath};

const BINDINGS: [&str; 10] = [
    "equals",
    "one_of",
    "range",
    "at_most",
    "length",
    "file_under",
    "url",
    "email",
    "matches",
    "every",
];

impl Binding {
    /// Reads the shape of a binding.
    pub(super) fn read(value: &Value, place: &Place) -> Result<Self, IntentError> {
        Self::read_at(value, place, 0)
    }

    fn read_at(value: &Value, place: &Place, depth: usize) -> Result<Self, IntentError> {
        let Value::Object(members) = value else {
            return Err(place.error("a binding says how to compare, such as `{ equals = … }`"));
        };
        let mut members = members.iter();
        let (Some((name, value)), None) = (members.next(), members.next()) else {
            return Err(place.error("a binding has exactly one key, such as `{ equals = … }`"));
        };
        let inner = place.key(name);
        match name.as_str() {
            "equals" => Ok(Self::Equals(value.clone())),
            "one_of" => reader::list(value, &inner, |v, _| Ok(v.clone())).map(Self::OneOf),
            "range" => read_range(value, &inner),
            "at_most" => reader::number(value, &inner).map(Self::AtMost),
            "length" => read_length(value, &inner),
            "file_under" => {
                reader::canonical(value, &inner, FilePath::parse).map(Self::FileUnder)
            }
            "url" => read_url(value, &inner).map(Self::Url),
            "email" => read_email(value, &inner).map(Self::Email),
            "matches" => {
                reader::parsed(value, &inner, RegularExpression::new).map(Self::Matches)
            }
            "every" if depth >= EVERY_DEPTH_MAX => Err(inner.error(BindingError::EveryTooDeep)),
            "every" => {
                let element = Self::read_at(value, &inner, depth + 1)?;
                Ok(Self::Every(Box::new(element)))
            }
            "from" => Err(place.error(
                "`from` is not supported yet; bind the value itself, or have each use approved with `approve = \"on_use\"`",
            )),
            _ => Err(place.error(reader::unknown("binding", name, &BINDINGS))),
        }
    }
}

fn read_range(value: &Value, place: &Place) -> Result<Binding, IntentError> {
    let fields = Fields::of(value, place, &["min", "max"])?;
    Ok(Binding::Range {
        min: fields.required("min", reader::number)?,
        max: fields.required("max", reader::number)?,
    })
}

fn read_length(value: &Value, place: &Place) -> Result<Binding, IntentError> {
    let fields = Fields::of(value, place, &["min", "max"])?;
    Ok(Binding::Length {
        min: fields.optional("min", reader::count)?,
        max: fields.optional("max", reader::count)?,
    })
}

fn read_url(value: &Value, place: &Place) -> Result<UrlBinding, IntentError> {
    let fields = Fields::of(value, place, &["scheme", "host", "port", "path_under"])?;
    let text = |v: &Value, p: &Place| reader::text(v, p).map(str::to_owned);
    let scheme = fields.required("scheme", text)?;
    let host = fields.required("host", text)?;
    let port = fields.optional("port", |v, p| {
        let port = reader::count(v, p)?;
        u16::try_from(port).map_err(|_| p.error("write a port from 1 to 65535"))
    })?;
    let path_under = fields.optional("path_under", text)?;
    UrlBinding::new(&scheme, &host, port, path_under.as_deref()).map_err(|error| place.error(error))
}

fn read_email(value: &Value, place: &Place) -> Result<EmailBinding, IntentError> {
    let fields = Fields::of(value, place, &["address", "domain"])?;
    let address = fields.optional("address", |v, p| reader::canonical(v, p, Email::parse))?;
    let domain = fields.optional("domain", |v, p| reader::canonical(v, p, EmailDomain::parse))?;
    match (address, domain) {
        (Some(address), None) => Ok(EmailBinding::Address(address)),
        (None, Some(domain)) => Ok(EmailBinding::Domain(domain)),
        _ => Err(place.error("give either `address` or `domain`")),
    }
}

impl<'de> Deserialize<'de> for Binding {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = tree::read(deserializer)?;
        Self::read(&value, &Place::default()).map_err(D::Error::custom)
    }
}
