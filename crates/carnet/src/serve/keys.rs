//! The keys of one installation: made once, mode 0600, one purpose each.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use anyhow::Context;
use carnet_broker::Vault;
use carnet_identity::{KeyUse, SigningKey};
use carnet_ledger::LedgerKeys;
use secrecy::{ExposeSecret, SecretBox};

/// Every key of one installation.
pub(crate) struct Keys {
    pub access: SigningKey,
    pub svid: SigningKey,
    pub vault: Vault,
    pub ledger: LedgerKeys,
}

impl Keys {
    /// Reads the keys under `dir`, making those that are not there yet.
    pub(crate) fn load_or_create(dir: &Path) -> anyhow::Result<Self> {
        make_private_dir(dir)?;
        Ok(Self {
            access: signing(&dir.join("access.p8"), KeyUse::AccessToken)?,
            svid: signing(&dir.join("svid.p8"), KeyUse::JwtSvid)?,
            vault: vault(&dir.join("vault.key"))?,
            ledger: LedgerKeys::load_or_create(&dir.join("ledger")).context("the ledger's keys")?,
        })
    }
}

/// Makes a directory only its owner can look into.
pub(crate) fn make_private_dir(dir: &Path) -> anyhow::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("cannot make {}", dir.display()))
}

fn signing(file: &Path, key_use: KeyUse) -> anyhow::Result<SigningKey> {
    if file.exists() {
        let bytes = std::fs::read(file).with_context(|| file.display().to_string())?;
        return SigningKey::from_pkcs8(key_use, &bytes)
            .with_context(|| format!("{} is not a key Carnet wrote", file.display()));
    }
    let key = SigningKey::generate(key_use)?;
    write_new(file, key.to_pkcs8()?.expose_secret())?;
    Ok(key)
}

fn vault(file: &Path) -> anyhow::Result<Vault> {
    if !file.exists() {
        let mut key = [0; 32];
        aws_lc_rs::rand::fill(&mut key).map_err(|_| anyhow::anyhow!("no randomness"))?;
        write_new(file, &key)?;
    }
    let bytes = std::fs::read(file).with_context(|| file.display().to_string())?;
    let key: [u8; 32] = bytes
        .as_slice()
        .try_into()
        .with_context(|| format!("{} is not 32 bytes: restore it from a backup", file.display()))?;
    Ok(Vault::new(SecretBox::new(Box::new(key))))
}

fn write_new(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .with_context(|| format!("cannot write {}", file.display()))?;
    out.write_all(bytes)?;
    out.sync_all()?;
    Ok(())
}
