//! The set a new installation begins with.

use std::collections::BTreeMap;

use crate::source::PolicySource;

const FILES: [(&str, &str); 4] = [
    ("permit/people.cedar", include_str!("../starter/permit/people.cedar")),
    ("permit/agents.cedar", include_str!("../starter/permit/agents.cedar")),
    ("forbid/guards.cedar", include_str!("../starter/forbid/guards.cedar")),
    ("ask/writes.cedar", include_str!("../starter/ask/writes.cedar")),
];

/// The policy set a new installation begins with: people of the team `operators` run Carnet, agents
/// get nothing until a reviewer labels a resource, and a write that matters asks the agent's owner.
pub fn starter() -> PolicySource {
    let files: BTreeMap<String, String> =
        FILES.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    // The files are part of this crate and a test loads them; were they out of bounds, an empty set
    // is refused by the loader.
    PolicySource::from_files(files).unwrap_or_else(|_| PolicySource::empty())
}
