//! The keys of a ledger: one that signs checkpoints and one that wraps the subjects' data keys.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use aws_lc_rs::signature::Ed25519KeyPair;
use zeroize::Zeroizing;

use crate::disk::{Disk as _, RealDisk};
use crate::error::{IoContext, LedgerError};
use crate::note::{VerifyingKey, verifying_key};

/// The signing key's file in a key directory (Ed25519, PKCS#8, DER).
const SIGNING_FILE: &str = "checkpoint.pk8";
/// The key-encryption key's file in a key directory (32 bytes).
const WRAPPING_FILE: &str = "sidecar.kek";
const KEY_FILE_BYTES_MAX: u64 = 4096;

/// A ledger's keys. Their content is never shown.
pub struct LedgerKeys {
    signing: Ed25519KeyPair,
    pkcs8: Zeroizing<Vec<u8>>,
    wrapping: Zeroizing<[u8; 32]>,
}

impl std::fmt::Debug for LedgerKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LedgerKeys(..)")
    }
}

impl LedgerKeys {
    /// New keys from the system's randomness.
    pub fn generate() -> Result<Self, LedgerError> {
        let crypto = |_| LedgerError::Crypto { what: "making a signing key" };
        let pair = Ed25519KeyPair::generate().map_err(crypto)?;
        let pkcs8 = Zeroizing::new(pair.to_pkcs8().map_err(crypto)?.as_ref().to_vec());
        let mut wrapping = Zeroizing::new([0; 32]);
        crate::random(wrapping.as_mut())?;
        Ok(Self { signing: pair, pkcs8, wrapping })
    }

    /// Keys from their stored forms: PKCS#8 for signing, 32 bytes for wrapping.
    pub fn from_bytes(pkcs8: &[u8], wrapping: [u8; 32]) -> Result<Self, LedgerError> {
        let refused = |why: String| LedgerError::note("the signing key", why);
        let signing = Ed25519KeyPair::from_pkcs8(pkcs8)
            .map_err(|error| refused(format!("it is not Ed25519 in PKCS#8: {error}")))?;
        let pkcs8 = Zeroizing::new(pkcs8.to_vec());
        Ok(Self { signing, pkcs8, wrapping: Zeroizing::new(wrapping) })
    }

    /// Reads the keys in `dir`. Files that others may read are refused.
    pub fn load(dir: &Path) -> Result<Self, LedgerError> {
        let pkcs8 = read_key(&dir.join(SIGNING_FILE))?;
        let wrapping = read_key(&dir.join(WRAPPING_FILE))?;
        let wrapping = <[u8; 32]>::try_from(wrapping.as_slice())
            .map_err(|_| LedgerError::note("the key-encryption key", "it is not 32 bytes long"))?;
        Self::from_bytes(&pkcs8, wrapping)
    }

    /// Reads the keys in `dir`, or makes new ones there (mode 0600) when both files are missing.
    /// One alone is refused: what the other protected would be lost silently.
    pub fn load_or_create(dir: &Path) -> Result<Self, LedgerError> {
        let (signing, wrapping) = (dir.join(SIGNING_FILE), dir.join(WRAPPING_FILE));
        if signing.exists() || wrapping.exists() {
            return Self::load(dir);
        }
        let keys = Self::generate()?;
        RealDisk.make_dir(dir).at("make", dir)?;
        // The wrapping key first: a signing key alone would look like a whole pair to nobody.
        write_key(&wrapping, keys.wrapping.as_ref())?;
        write_key(&signing, &keys.pkcs8)?;
        RealDisk.sync_dir(dir).at("sync", dir)?;
        Ok(keys)
    }

    /// The public key that checks this ledger's checkpoints under `origin`.
    pub fn verifying_key(&self, origin: &str) -> Result<VerifyingKey, LedgerError> {
        verifying_key(&self.signing, origin)
    }

    pub(crate) fn into_parts(self) -> (Ed25519KeyPair, Zeroizing<[u8; 32]>) {
        (self.signing, self.wrapping)
    }
}

fn read_key(path: &Path) -> Result<Zeroizing<Vec<u8>>, LedgerError> {
    let about = fs::metadata(path).at("read", path)?;
    if about.mode() & 0o077 != 0 {
        let what = format!("the key file `{}`", path.display());
        return Err(LedgerError::note(what, "others may read it: set its mode to 0600"));
    }
    if about.len() > KEY_FILE_BYTES_MAX {
        let what = format!("the key file `{}`", path.display());
        return Err(LedgerError::note(what, "it is too long for a key"));
    }
    fs::read(path).map(Zeroizing::new).at("read", path)
}

fn write_key(path: &Path, bytes: &[u8]) -> Result<(), LedgerError> {
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path).at("make", path)?;
    file.write_all(bytes).at("write", path)?;
    file.sync_all().at("sync", path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn keys_made_once_are_read_again_and_are_private() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("keys");
        let made = LedgerKeys::load_or_create(&dir).unwrap();
        let read = LedgerKeys::load_or_create(&dir).unwrap();
        assert_eq!(made.verifying_key("o").unwrap(), read.verifying_key("o").unwrap());
        for name in [SIGNING_FILE, WRAPPING_FILE] {
            assert_eq!(fs::metadata(dir.join(name)).unwrap().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_key_that_others_may_read_and_a_pair_half_gone_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        LedgerKeys::load_or_create(dir.path()).unwrap();
        let file = dir.path().join(WRAPPING_FILE);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(LedgerKeys::load(dir.path()).is_err());
        fs::remove_file(&file).unwrap();
        assert!(LedgerKeys::load_or_create(dir.path()).is_err());
    }

    #[test]
    fn keys_show_nothing_of_themselves() {
        assert_eq!(format!("{:?}", LedgerKeys::generate().unwrap()), "LedgerKeys(..)");
    }
}
