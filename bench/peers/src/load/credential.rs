//! What a request shows: nothing, a bearer token, or a token with a proof of its key.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use thiserror::Error;

use super::{ProofError, ProofKey, proof::TokenHash};

/// How long a token is used before its file is looked at again.
const TOKEN_AGE_MAX: Duration = Duration::from_secs(1);
/// The largest token, in bytes.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// The token or key cannot be used.
#[derive(Debug, Error)]
pub enum CredentialError {
    /// A file cannot be read.
    #[error("{path} cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// The token file is empty or too large.
    #[error("{0} must hold one token of at most {TOKEN_BYTES_MAX} bytes")]
    BadToken(PathBuf),
    /// The key is not usable.
    #[error(transparent)]
    Proof(#[from] ProofError),
}

/// What to show with each request. Clones share the token and look at its file together.
#[derive(Debug, Clone, Default)]
pub struct Credential {
    token: Option<Arc<TokenFile>>,
    key: Option<Arc<ProofKey>>,
}

#[derive(Debug)]
struct TokenFile {
    path: PathBuf,
    current: Mutex<(Instant, Arc<Token>)>,
}

/// One token, without a way to print it.
struct Token {
    text: String,
    hash: TokenHash,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

/// The header values of one request.
pub(super) struct Shown {
    pub(super) authorization: Option<String>,
    pub(super) proof: Option<String>,
}

impl Credential {
    /// Reads the token from `token_file`, again and again as the run goes on, and the proof key from `key_file`, once.
    ///
    /// # Errors
    ///
    /// When either cannot be read or used.
    pub fn load(
        token_file: Option<&Path>,
        key_file: Option<&Path>,
    ) -> Result<Self, CredentialError> {
        let token = token_file.map(TokenFile::open).transpose()?.map(Arc::new);
        let key = match key_file {
            Some(path) => Some(Arc::new(ProofKey::from_pem(&read(path)?)?)),
            None => None,
        };
        Ok(Self { token, key })
    }

    /// What to show for a request to `target`.
    pub(super) fn show(&self, method: &str, target: &str) -> Result<Shown, CredentialError> {
        let token = self.token.as_ref().map(|file| file.current()).transpose()?;
        let proof = match &self.key {
            Some(key) => {
                Some(key.prove(method, target, token.as_ref().map(|token| &token.hash))?)
            }
            None => None,
        };
        let scheme = if proof.is_some() { "DPoP" } else { "Bearer" };
        let authorization = token.map(|token| format!("{scheme} {}", token.text));
        Ok(Shown { authorization, proof })
    }
}

impl TokenFile {
    fn open(path: &Path) -> Result<Self, CredentialError> {
        let token = Arc::new(Token::read(path)?);
        Ok(Self { path: path.to_owned(), current: Mutex::new((Instant::now(), token)) })
    }

    fn current(&self) -> Result<Arc<Token>, CredentialError> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.0.elapsed() > TOKEN_AGE_MAX {
            *current = (Instant::now(), Arc::new(Token::read(&self.path)?));
        }
        Ok(Arc::clone(&current.1))
    }
}

impl Token {
    fn read(path: &Path) -> Result<Self, CredentialError> {
        let text = read(path)?.trim().to_owned();
        if text.is_empty() || text.len() > TOKEN_BYTES_MAX {
            return Err(CredentialError::BadToken(path.to_owned()));
        }
        let hash = TokenHash::of(&text);
        Ok(Self { text, hash })
    }
}

fn read(path: &Path) -> Result<String, CredentialError> {
    std::fs::read_to_string(path)
        .map_err(|source| CredentialError::Unreadable { path: path.to_owned(), source })
}
