//! The messages of `workload.proto`, and the parts of `google.protobuf.Struct` they need.
//!
//! Written by hand instead of generated: seven messages do not repay a compiler in the build. Field
//! numbers are the standard's and never change; an independent client checks them in the tests.
//! Messages that hold a token have no `Debug`.

use std::collections::BTreeMap;

use prost::Message;

/// A request for SVIDs.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct JwtSvidRequest {
    /// Where it is to be good.
    #[prost(string, repeated, tag = "1")]
    pub(crate) audience: Vec<String>,
    /// The one identity wanted, or empty for all there are.
    #[prost(string, tag = "2")]
    pub(crate) spiffe_id: String,
}

/// The SVIDs issued.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(crate) struct JwtSvidResponse {
    /// One for each identity.
    #[prost(message, repeated, tag = "1")]
    pub(crate) svids: Vec<JwtSvid>,
}

/// One SVID.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(crate) struct JwtSvid {
    /// Whose it is.
    #[prost(string, tag = "1")]
    pub(crate) spiffe_id: String,
    /// The token.
    #[prost(string, tag = "2")]
    pub(crate) svid: String,
    /// Which of several it is: the agent's name.
    #[prost(string, tag = "3")]
    pub(crate) hint: String,
}

/// A request for the bundle.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct JwtBundlesRequest {}

/// The bundles by trust domain.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct JwtBundlesResponse {
    /// JSON key sets by the SPIFFE ID of the trust domain.
    #[prost(btree_map = "string, bytes", tag = "1")]
    pub(crate) bundles: BTreeMap<String, Vec<u8>>,
}

/// A request to check an SVID.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(crate) struct ValidateJwtSvidRequest {
    /// The audience it must be for.
    #[prost(string, tag = "1")]
    pub(crate) audience: String,
    /// The token.
    #[prost(string, tag = "2")]
    pub(crate) svid: String,
}

/// What a good SVID says.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ValidateJwtSvidResponse {
    /// Whose it is.
    #[prost(string, tag = "1")]
    pub(crate) spiffe_id: String,
    /// Its claims.
    #[prost(message, optional, tag = "2")]
    pub(crate) claims: Option<Struct>,
}

/// A JSON object (`google.protobuf.Struct`).
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Struct {
    /// Its members.
    #[prost(btree_map = "string, message", tag = "1")]
    pub(crate) fields: BTreeMap<String, Value>,
}

/// A JSON value (`google.protobuf.Value`), of the kinds claims have.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Value {
    /// Which it is.
    #[prost(oneof = "ValueKind", tags = "2, 3, 6")]
    pub(crate) kind: Option<ValueKind>,
}

/// The kinds of value.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum ValueKind {
    /// A number.
    #[prost(double, tag = "2")]
    Number(f64),
    /// A text.
    #[prost(string, tag = "3")]
    Text(String),
    /// A list.
    #[prost(message, tag = "6")]
    List(ListValue),
}

/// A JSON array (`google.protobuf.ListValue`).
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ListValue {
    /// Its elements.
    #[prost(message, repeated, tag = "1")]
    pub(crate) values: Vec<Value>,
}

impl Value {
    /// A number. Claims are whole seconds, which a double holds exactly.
    pub(crate) fn number(number: i64) -> Self {
        Self { kind: Some(ValueKind::Number(number as f64)) }
    }

    /// A text.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self { kind: Some(ValueKind::Text(text.into())) }
    }

    /// A list of one.
    pub(crate) fn list_of(value: Self) -> Self {
        Self { kind: Some(ValueKind::List(ListValue { values: vec![value] })) }
    }
}
