//! Whether one allowance is within another: what a task hands on is never more than it has.
//!
//! Every comparison is on the safe side. Where two bounds cannot be compared, such as two different
//! expressions, the answer is no, and the pair is named.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use super::allowance::{Allowance, Other};
use super::binding::{Binding, EmailBinding};
use super::reader::shown;
use crate::{Approve, ArgumentKind, Path};

/// What reviewers call an argument, over every operation it may be given to.
type KindsOf<'a> = &'a dyn Fn(&str) -> Vec<Option<ArgumentKind>>;

/// Why an allowance is not within another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wider {
    /// It speaks of operations the other does not.
    #[error("`{own}` names operations that `{above}` does not")]
    Action {
        /// Its pattern.
        own: String,
        /// The other's.
        above: String,
    },
    /// It is for another path.
    #[error("it is for the {own} path and the task's own for the {above} path")]
    Path {
        /// Its path.
        own: Path,
        /// The other's.
        above: Path,
    },
    /// An argument may be more than the other lets it, or the two cannot be compared.
    #[error("`where.{name}`: {own} is not within {above}, or cannot be compared with it")]
    Argument {
        /// Its name.
        name: String,
        /// Its binding.
        own: String,
        /// The other's.
        above: String,
    },
    /// An argument the other binds is not bound.
    #[error("`where.{name}` is missing: the task's own is bound to {above}")]
    Unbound {
        /// Its name.
        name: String,
        /// The other's binding.
        above: String,
    },
    /// An argument the other sums is not summed.
    #[error("`total.{name}` is missing: the task's own is summed")]
    Unsummed {
        /// Its name.
        name: String,
    },
    /// It lets arguments through that the other refuses.
    #[error("`other = \"any\"`: the task's own refuses arguments that it does not name")]
    Other,
    /// It names an argument the other refuses.
    #[error("`{name}` is named here, and the task's own refuses it")]
    Unnamed {
        /// Its name.
        name: String,
    },
    /// Fewer people must say yes.
    #[error("`approve`: the task's own asks people {above}; write the same or `on_use`")]
    Approval {
        /// When the other asks.
        above: &'static str,
    },
}

impl Allowance {
    /// Whether whatever this covers, `above` covers too. How often and how much is not looked at:
    /// that is the grant's to know.
    pub fn check_within(&self, above: &Self, kinds: KindsOf<'_>) -> Result<(), Wider> {
        if !above.action.contains(&self.action) {
            let [own, above] = [&self.action, &above.action].map(ToString::to_string);
            return Err(Wider::Action { own, above });
        }
        if self.path != above.path {
            return Err(Wider::Path { own: self.path, above: above.path });
        }
        self.check_bindings_within(above, kinds)?;
        self.check_names_within(above)?;
        if self.approve < above.approve {
            return Err(Wider::Approval { above: above.approve.when() });
        }
        Ok(())
    }

    fn check_bindings_within(&self, above: &Self, kinds: KindsOf<'_>) -> Result<(), Wider> {
        for (name, bound) in &above.where_ {
            let Some(own) = self.where_.get(name) else {
                return Err(Wider::Unbound { name: shown(name), above: text(bound) });
            };
            if !own.is_within(bound, &kinds(name)) {
                let (own, above) = (text(own), text(bound));
                return Err(Wider::Argument { name: shown(name), own, above });
            }
        }
        let unsummed = above.total.keys().find(|name| !self.total.contains_key(*name));
        unsummed.map_or(Ok(()), |name| Err(Wider::Unsummed { name: shown(name) }))
    }

    fn check_names_within(&self, above: &Self) -> Result<(), Wider> {
        if above.other == Other::Any {
            return Ok(());
        }
        if self.other == Other::Any {
            return Err(Wider::Other);
        }
        let known: BTreeSet<_> = above.where_.keys().chain(above.total.keys()).collect();
        let unnamed =
            self.where_.keys().chain(self.total.keys()).find(|name| !known.contains(name));
        unnamed.map_or(Ok(()), |name| Err(Wider::Unnamed { name: shown(name) }))
    }
}

impl Approve {
    const fn when(self) -> &'static str {
        match self {
            Self::None => "never",
            Self::UpFront => "up front",
            Self::OnUse => "at each use",
        }
    }
}

impl Binding {
    /// Whether every value this lets through, `above` lets through too, whatever of `kinds` a
    /// reviewer called the argument.
    pub fn is_within(&self, above: &Self, kinds: &[Option<ArgumentKind>]) -> bool {
        let admitted = |value: &Value| kinds.iter().all(|kind| above.check(value, *kind).is_ok());
        match (self, above) {
            (own, above) if own == above => true,
            (Self::Equals(value), _) => !kinds.is_empty() && admitted(value),
            (Self::OneOf(values), _) => !kinds.is_empty() && values.iter().all(admitted),
            (Self::Length { min, max }, Self::Length { min: least, max: most }) => {
                min.unwrap_or(0) >= least.unwrap_or(0)
                    && max.unwrap_or(u64::MAX) <= most.unwrap_or(u64::MAX)
            }
            (Self::FileUnder(own), Self::FileUnder(above)) => own.is_under(above),
            (Self::Url(own), Self::Url(above)) => own.is_within(above),
            (Self::Email(own), Self::Email(above)) => own.is_within(above),
            (Self::Every(own), Self::Every(above)) => own.is_within(above, kinds),
            (Self::Range { min, max }, Self::Range { min: least, max: most }) => {
                least <= min && max <= most
            }
            (Self::Range { min, max }, Self::AtMost(most)) => !min.is_negative() && max <= most,
            (Self::AtMost(own), Self::AtMost(most)) => own <= most,
            (Self::AtMost(own), Self::Range { min, max }) => is_zero_or_less(*min) && own <= max,
            _ => false,
        }
    }
}

impl EmailBinding {
    fn is_within(&self, above: &Self) -> bool {
        match (self, above) {
            (Self::Address(own), Self::Domain(domain)) => own.domain() == domain,
            (own, above) => own == above,
        }
    }
}

fn is_zero_or_less(number: crate::Number) -> bool {
    number.is_negative() || number.integer() == Some(0)
}

/// The binding as it is written, as far as a person wants to read it.
fn text(binding: &impl Serialize) -> String {
    let text = serde_json::to_string(binding).unwrap_or_default();
    match text.char_indices().nth(80) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn allowance(value: Value) -> Allowance {
        serde_json::from_value(value).unwrap()
    }

    fn within(own: Value, above: Value) -> bool {
        let read = |binding: Value| {
            let whole =
                json!({ "action": "desk.tool.a", "path": "write", "where": { "x": binding } });
            allowance(whole).where_.remove("x").unwrap()
        };
        read(own).is_within(&read(above), &[None])
    }

    #[test]
    fn a_binding_within_another_is_seen() {
        for (own, above) in [
            (json!({ "equals": 5 }), json!({ "at_most": 5 })),
            (json!({ "one_of": [1, 2] }), json!({ "range": { "min": 1, "max": 2 } })),
            (json!({ "one_of": ["a", "b"] }), json!({ "one_of": ["c", "b", "a"] })),
            (json!({ "at_most": 4 }), json!({ "at_most": 5 })),
            (json!({ "at_most": 4 }), json!({ "range": { "min": -1, "max": 4 } })),
            (json!({ "range": { "min": 0, "max": 4 } }), json!({ "at_most": 4 })),
            (
                json!({ "range": { "min": 2, "max": 3 } }),
                json!({ "range": { "min": 2, "max": 4 } }),
            ),
            (json!({ "length": { "min": 2, "max": 3 } }), json!({ "length": { "max": 3 } })),
            (json!({ "file_under": "/a/b" }), json!({ "file_under": "/a" })),
            (json!({ "equals": "/a/b" }), json!({ "file_under": "/a" })),
            (
                json!({ "email": { "address": "bo@x.org" } }),
                json!({ "email": { "domain": "X.org" } }),
            ),
            (json!({ "equals": "Bo@x.org" }), json!({ "email": { "domain": "x.org" } })),
            (
                json!({ "url": { "scheme": "https", "host": "x.org", "path_under": "/a/b" } }),
                json!({ "url": { "scheme": "https", "host": "X.org", "path_under": "/a" } }),
            ),
            (json!({ "matches": "a+" }), json!({ "matches": "a+" })),
            (json!({ "every": { "at_most": 1 } }), json!({ "every": { "at_most": 2 } })),
            (json!({ "equals": [1, 2] }), json!({ "every": { "at_most": 2 } })),
        ] {
            assert!(within(own.clone(), above.clone()), "{own} within {above}");
        }
    }

    #[test]
    fn a_wider_binding_and_one_that_cannot_be_compared_are_not_within() {
        for (own, above) in [
            (json!({ "at_most": 6 }), json!({ "at_most": 5 })),
            (json!({ "at_most": 4 }), json!({ "range": { "min": 1, "max": 4 } })),
            (json!({ "range": { "min": -1, "max": 4 } }), json!({ "at_most": 4 })),
            (json!({ "equals": 6 }), json!({ "at_most": 5 })),
            (json!({ "one_of": ["a", "d"] }), json!({ "one_of": ["a", "b"] })),
            (json!({ "length": { "min": 2 } }), json!({ "length": { "max": 3 } })),
            (json!({ "file_under": "/" }), json!({ "file_under": "/a" })),
            (json!({ "file_under": "/ab" }), json!({ "file_under": "/a" })),
            (
                json!({ "email": { "domain": "x.org" } }),
                json!({ "email": { "address": "bo@x.org" } }),
            ),
            (
                json!({ "url": { "scheme": "https", "host": "x.org" } }),
                json!({ "url": { "scheme": "https", "host": "x.org", "path_under": "/a" } }),
            ),
            (
                json!({ "url": { "scheme": "https", "host": "y.org" } }),
                json!({ "url": { "scheme": "https", "host": "x.org" } }),
            ),
            (json!({ "matches": "a" }), json!({ "matches": "a+" })),
            (json!({ "every": { "at_most": 3 } }), json!({ "every": { "at_most": 2 } })),
            (json!({ "at_most": 1 }), json!({ "every": { "at_most": 2 } })),
        ] {
            assert!(!within(own.clone(), above.clone()), "{own} within {above}");
        }
    }

    #[test]
    fn what_is_not_within_is_named_with_its_counterpart() {
        let above = json!({
            "action": "desk.tool.issue_*", "path": "write", "approve": "up_front",
            "where": { "order_id": { "one_of": ["O-1", "O-2"] } }, "total": { "cents": 500 },
        });
        let check = |own: Value| {
            allowance(own)
                .check_within(&allowance(above.clone()), &|_| vec![None])
                .map_err(|wider| wider.to_string())
        };
        let own = json!({
            "action": "desk.tool.issue_refund", "path": "write", "approve": "up_front",
            "where": { "order_id": { "equals": "O-1" } }, "total": { "cents": 500 },
        });
        assert_eq!(check(own.clone()), Ok(()));
        let with = |pointer: &str, value: Value| {
            let mut own = own.clone();
            *own.pointer_mut(pointer).unwrap() = value;
            check(own).unwrap_err()
        };
        assert!(with("/action", json!("desk.tool.*")).contains("`desk.tool.issue_*` does not"));
        assert!(with("/path", json!("read")).contains("the read path"));
        assert!(with("/approve", json!("none")).contains("asks people up front"));
        assert!(with("/total", json!({})).contains("`total.cents` is missing"));
        assert!(with("/where", json!({})).contains("bound to {\"one_of\":[\"O-1\",\"O-2\"]}"));
        let wide = with("/where/order_id", json!({ "matches": "O-.*" }));
        assert!(wide.contains("{\"matches\":\"O-.*\"} is not within {\"one_of\""), "{wide}");
        let named =
            with("/where", json!({ "order_id": { "equals": "O-1" }, "note": { "equals": 1 } }));
        assert!(named.contains("`note` is named here"), "{named}");
    }
}
