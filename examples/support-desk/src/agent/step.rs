//! One line of the agent's script.

use rmcp::model::JsonObject;
use serde::Deserialize;

/// The longest script line that is read, in bytes.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;

/// What to do next.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Step {
    /// Call a tool: `{"tool":"get_ticket","arguments":{…}}`.
    Tool {
        /// The tool's name.
        tool: String,
        /// Its arguments.
        #[serde(default)]
        arguments: JsonObject,
    },
    /// List what the server offers: `{"list":"tools"}`.
    List {
        /// What to list.
        list: List,
    },
    /// Read a resource: `{"read":"desk://handbook"}`.
    Read {
        /// The resource's URI.
        read: String,
    },
    /// Fetch a prompt: `{"prompt":"work_ticket","arguments":{…}}`.
    Prompt {
        /// The prompt's name.
        prompt: String,
        /// Its arguments.
        #[serde(default)]
        arguments: JsonObject,
    },
}

/// What can be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum List {
    /// Tools.
    Tools,
    /// Resources.
    Resources,
    /// Prompts.
    Prompts,
}

impl Step {
    /// Reads one line of a script.
    ///
    /// # Errors
    ///
    /// With the sentence to show, when the line is none of the known steps.
    pub fn parse(line: &str) -> Result<Self, String> {
        if line.len() > LINE_BYTES_MAX {
            return Err(format!("a script line may have at most {LINE_BYTES_MAX} bytes"));
        }
        serde_json::from_str(line).map_err(|_| {
            "not a step; expected {\"tool\":…,\"arguments\":{…}}, {\"list\":\"tools\"}, {\"read\":\"…\"} or \
             {\"prompt\":…}"
                .to_owned()
        })
    }

    /// What the step is about, to label its outcome.
    #[must_use]
    pub fn subject(&self) -> String {
        match self {
            Self::Tool { tool, .. } => tool.clone(),
            Self::List { list: List::Tools } => "tools".to_owned(),
            Self::List { list: List::Resources } => "resources".to_owned(),
            Self::List { list: List::Prompts } => "prompts".to_owned(),
            Self::Read { read } => read.clone(),
            Self::Prompt { prompt, .. } => prompt.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_step_may_leave_out_its_arguments() {
        let step = Step::parse(r#"{"tool":"list_tickets"}"#).unwrap();
        assert_eq!(step, Step::Tool { tool: "list_tickets".into(), arguments: JsonObject::new() });
    }

    #[test]
    fn a_line_that_is_no_step_is_refused() {
        for line in
            ["", "{}", "[]", r#"{"tool":1}"#, r#"{"list":"secrets"}"#, r#"{"read":"a","x":1}"#]
        {
            assert!(Step::parse(line).is_err(), "{line}");
        }
    }
}
