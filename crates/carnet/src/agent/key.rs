//! The key of an instance, kept in a file: for programs that make their own proofs.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use carnet_identity::DpopKey;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};

/// The longest key file.
const FILE_BYTES_MAX: u64 = 8 * 1024;
/// Only its owner reads it.
const MODE: u32 = 0o600;
/// What nobody but the owner may have.
const OTHERS: u32 = 0o077;
/// How long a line of PEM is.
const PEM_LINE: usize = 64;

/// The key in `file`, made there where there is none.
pub(crate) fn load_or_create(file: &Path) -> anyhow::Result<DpopKey> {
    match std::fs::File::open(file) {
        Ok(opened) => load(file, opened),
        Err(error) if error.kind() == ErrorKind::NotFound => create(file),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

fn load(file: &Path, opened: std::fs::File) -> anyhow::Result<DpopKey> {
    let mode = opened.metadata()?.mode();
    if mode & OTHERS != 0 {
        bail!(
            "{} can be used by others: take that right away (`chmod 600`), and make a new key if \
             anybody could have read this one",
            file.display()
        );
    }
    let mut bytes = Vec::new();
    opened.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    let bytes = SecretSlice::from(bytes);
    let not_a_key = || format!("{} holds no P-256 key in PKCS#8: move it away", file.display());
    let der = PrivatePkcs8KeyDer::from_pem_slice(bytes.expose_secret()).with_context(not_a_key)?;
    DpopKey::from_pkcs8(der.secret_pkcs8_der()).with_context(not_a_key)
}

fn create(file: &Path) -> anyhow::Result<DpopKey> {
    let key = DpopKey::generate()?;
    let pem = pem(key.to_pkcs8()?.expose_secret());
    let mut out = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(file)
        .with_context(|| format!("cannot write {}", file.display()))?;
    out.write_all(pem.expose_secret().as_bytes())?;
    out.sync_all()?;
    Ok(key)
}

fn pem(der: &[u8]) -> SecretString {
    let text = STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at_checked(PEM_LINE).unwrap_or((rest, ""));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    pem.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("agent.key");
        let made = load_or_create(&file).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        let again = load_or_create(&file).unwrap();
        assert_eq!(made.thumbprint(), again.thumbprint());
    }

    #[test]
    fn a_key_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("agent.key");
        load_or_create(&file).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = load_or_create(&file).unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }

    #[test]
    fn what_is_no_key_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("agent.key");
        std::fs::write(&file, "a note").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(load_or_create(&file).is_err());
        assert_eq!(std::fs::read(&file).unwrap(), b"a note");
    }
}
