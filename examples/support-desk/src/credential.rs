//! The desk's two credentials: one may only read, the other may also write.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
};

use subtle::ConstantTimeEq;
use thiserror::Error;

/// The largest credential file that is read, in bytes.
pub const CREDENTIAL_BYTES_MAX: usize = 16 * 1024;

/// What a caller has shown it may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    /// Only read.
    Read,
    /// Read and write.
    Write,
}

impl Credential {
    /// The word for it in the journal.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// Why credentials could not be used.
#[derive(Debug, Error)]
pub enum CredentialError {
    /// The option is not `read=FILE,write=FILE`.
    #[error("{0:?} is not of the form read=FILE,write=FILE; give both files, each once")]
    Malformed(String),
    /// A credential file could not be read.
    #[error("the credential file {path} cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// A credential file is empty or far too large.
    #[error("the credential file {0} must hold one token of at most {CREDENTIAL_BYTES_MAX} bytes")]
    BadContent(PathBuf),
}

/// The files that hold the two bearer tokens. They are read anew at every request, so that they may be rotated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialFiles {
    /// The file with the token that may only read.
    pub read: PathBuf,
    /// The file with the token that may also write.
    pub write: PathBuf,
}

impl CredentialFiles {
    /// Which credential `presented` is, if any.
    ///
    /// # Errors
    ///
    /// When a file cannot be read: nobody gets in then.
    pub fn recognise(&self, presented: &str) -> Result<Option<Credential>, CredentialError> {
        let write = token(&self.write)?;
        let read = token(&self.read)?;
        Ok(if bool::from(write.as_bytes().ct_eq(presented.as_bytes())) {
            Some(Credential::Write)
        } else if bool::from(read.as_bytes().ct_eq(presented.as_bytes())) {
            Some(Credential::Read)
        } else {
            None
        })
    }
}

impl FromStr for CredentialFiles {
    type Err = CredentialError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (mut read, mut write) = (None, None);
        for part in text.split(',') {
            let slot = match part.split_once('=') {
                Some(("read", file)) if !file.is_empty() => (&mut read, file),
                Some(("write", file)) if !file.is_empty() => (&mut write, file),
                _ => return Err(CredentialError::Malformed(text.to_owned())),
            };
            if slot.0.replace(PathBuf::from(slot.1)).is_some() {
                return Err(CredentialError::Malformed(text.to_owned()));
            }
        }
        match (read, write) {
            (Some(read), Some(write)) => Ok(Self { read, write }),
            _ => Err(CredentialError::Malformed(text.to_owned())),
        }
    }
}

/// Reads the one token in `path`, without surrounding white space.
///
/// # Errors
///
/// When the file cannot be read, is empty or is too large.
pub fn token(path: &Path) -> Result<String, CredentialError> {
    let content = std::fs::read_to_string(path)
        .map_err(|source| CredentialError::Unreadable { path: path.to_owned(), source })?;
    let token = content.trim();
    if token.is_empty() || token.len() > CREDENTIAL_BYTES_MAX {
        return Err(CredentialError::BadContent(path.to_owned()));
    }
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_files_are_named_once_each() {
        let files: CredentialFiles = "write=w,read=r".parse().unwrap();
        assert_eq!(files, CredentialFiles { read: "r".into(), write: "w".into() });
        for wrong in ["", "read=r", "read=r,read=r", "read=r,write=", "read=r,admin=a", "r,w"] {
            assert!(wrong.parse::<CredentialFiles>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_empty_file_lets_nobody_in() {
        let folder = tempfile::tempdir().unwrap();
        let files =
            CredentialFiles { read: folder.path().join("r"), write: folder.path().join("w") };
        assert!(files.recognise("").is_err());
        std::fs::write(&files.read, "\n").unwrap();
        std::fs::write(&files.write, "w-token\n").unwrap();
        assert!(files.recognise("").is_err());
        std::fs::write(&files.read, "r-token\n").unwrap();
        assert_eq!(files.recognise("r-token").unwrap(), Some(Credential::Read));
        assert_eq!(files.recognise("w-token").unwrap(), Some(Credential::Write));
        assert_eq!(files.recognise("").unwrap(), None);
    }
}
