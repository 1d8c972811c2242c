//! The purpose of a task, in the words of whoever opened it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::value::{first_hidden, nfc};

/// The longest purpose.
const PURPOSE_CHARS_MAX: usize = 256;

/// One line of visible text that says what a task is for. Policy compares it exactly, in NFC.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Purpose(String);

/// Why a text is not a purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PurposeError {
    /// Empty or only white space.
    #[error("the purpose is empty; say in one line what the task is for")]
    Empty,
    /// Too long.
    #[error("the purpose is longer than {PURPOSE_CHARS_MAX} characters; say it shorter")]
    TooLong,
    /// White space before or after it.
    #[error("the purpose begins or ends with white space; remove it")]
    Untrimmed,
    /// A character a reader cannot see.
    #[error(
        "the purpose has a control, bidirectional or invisible character (U+{0:04X}); remove it"
    )]
    HiddenCharacter(u32),
}

impl Purpose {
    /// The purpose as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Purpose {
    type Err = PurposeError;
    fn from_str(text: &str) -> Result<Self, PurposeError> {
        if text.trim().is_empty() {
            return Err(PurposeError::Empty);
        }
        if text.chars().count() > PURPOSE_CHARS_MAX {
            return Err(PurposeError::TooLong);
        }
        if let Some(hidden) = first_hidden(text) {
            return Err(PurposeError::HiddenCharacter(u32::from(hidden)));
        }
        if text.trim() != text {
            return Err(PurposeError::Untrimmed);
        }
        Ok(Self(nfc(text)))
    }
}

impl TryFrom<String> for Purpose {
    type Error = PurposeError;
    fn try_from(text: String) -> Result<Self, PurposeError> {
        text.parse()
    }
}

impl From<Purpose> for String {
    fn from(purpose: Purpose) -> Self {
        purpose.0
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
