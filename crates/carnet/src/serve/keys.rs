//! The keys of one installation that are files: what seals the others at rest, and the ledger's own.
//! Made once, mode 0600, one purpose each.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::{Context, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use carnet_broker::Vault;
use carnet_ledger::LedgerKeys;
use secrecy::{ExposeSecret as _, SecretBox};

use crate::config::KekSource;

/// The longest file that can be a key.
const KEY_BYTES_MAX: u64 = 4_096;

/// Every key of one installation.
pub(crate) struct Keys {
    pub vault: Vault,
    pub ledger: LedgerKeys,
}

impl Keys {
    /// Reads the keys under `dir`, making those that are not there yet. Where something was written
    /// with them already (`is_used`) none is made: what the old one protected would be lost silently.
    /// What seals at rest comes from `kek`, where that is said; it is never made there.
    pub(crate) fn load_or_create(
        dir: &Path,
        is_used: bool,
        kek: Option<&KekSource>,
    ) -> anyhow::Result<Self> {
        make_private_dir(dir)?;
        refuse_open(dir, "700")?;
        let place = Place { dir, is_used };
        Ok(Self {
            vault: match kek {
                None => place.vault("vault.key")?,
                Some(source) => vault_of(source)?,
            },
            ledger: place.ledger("ledger")?,
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

/// Where keys are kept, and whether they must all be there.
struct Place<'a> {
    dir: &'a Path,
    is_used: bool,
}

impl Place<'_> {
    fn vault(&self, name: &str) -> anyhow::Result<Vault> {
        let file = self.dir.join(name);
        if !self.has(&file)? {
            let mut key = [0; 32];
            aws_lc_rs::rand::fill(&mut key).map_err(|_| anyhow::anyhow!("no randomness"))?;
            write_new(&file, &key)?;
        }
        let key: [u8; 32] = read_private(&file)?.as_slice().try_into().with_context(|| {
            format!("{} is not 32 bytes: restore it from a backup", file.display())
        })?;
        Ok(Vault::new(SecretBox::new(Box::new(key))))
    }

    fn ledger(&self, name: &str) -> anyhow::Result<LedgerKeys> {
        let dir = self.dir.join(name);
        let keys = match self.has(&dir)? && self.is_used {
            true => LedgerKeys::load(&dir),
            false => LedgerKeys::load_or_create(&dir),
        };
        keys.context("the ledger's keys")
    }

    /// Whether `file` is there. One that is missing and must not be is an error.
    fn has(&self, file: &Path) -> anyhow::Result<bool> {
        let exists = file.try_exists().with_context(|| file.display().to_string())?;
        if !exists && self.is_used {
            bail!(
                "the key {} is missing, and this installation was used before: restore it from a backup, or, to begin \
                 anew without what it protected, move the whole state directory away",
                file.display()
            );
        }
        Ok(exists)
    }
}

/// The vault under the key of `source`.
fn vault_of(source: &KekSource) -> anyhow::Result<Vault> {
    let (bytes, place) = match source {
        KekSource::File(file) => (read_private(file)?, file.display().to_string()),
        KekSource::Env(name) => {
            let value = std::env::var(name)
                .with_context(|| format!("state.kek: the variable {name} is not set"))?;
            (value.into_bytes(), format!("the variable {name}"))
        }
    };
    let bytes = secrecy::SecretSlice::from(bytes);
    let key = kek_in(bytes.expose_secret());
    let key = key.with_context(|| {
        format!("state.kek: {place} holds neither 32 bytes nor their base64; `openssl rand -base64 32` makes one")
    })?;
    Ok(Vault::new(SecretBox::new(Box::new(key))))
}

/// The 32 bytes of a key, as they are or in base64.
fn kek_in(bytes: &[u8]) -> Option<[u8; 32]> {
    if let Ok(key) = bytes.try_into() {
        return Some(key);
    }
    let decoded = secrecy::SecretSlice::from(STANDARD.decode(bytes.trim_ascii()).ok()?);
    decoded.expose_secret().try_into().ok()
}

/// Refuses what others than its owner may look at.
fn refuse_open(file: &Path, mode_wanted: &str) -> anyhow::Result<()> {
    let about = std::fs::metadata(file).with_context(|| file.display().to_string())?;
    let mode = about.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let file = file.display();
        bail!(
            "{file} has mode {mode:o}: others could have read the keys; make new ones, or, if nobody else was here, \
             `chmod {mode_wanted} {file}`"
        );
    }
    Ok(())
}

fn read_private(file: &Path) -> anyhow::Result<Vec<u8>> {
    refuse_open(file, "600")?;
    let about = std::fs::metadata(file).with_context(|| file.display().to_string())?;
    if about.len() > KEY_BYTES_MAX {
        bail!("{} is too long for a key: restore it from a backup", file.display());
    }
    std::fs::read(file).with_context(|| file.display().to_string())
}

/// Writes a key so that it is there whole or not at all, whenever the machine stops.
fn write_new(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let problem = || format!("cannot write {}", file.display());
    let unfinished = file.with_extension("unfinished");
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error).with_context(problem)?,
        _ => {}
    }
    let mut out = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)
        .with_context(problem)?;
    out.write_all(bytes).with_context(problem)?;
    out.sync_all().with_context(problem)?;
    std::fs::rename(&unfinished, file).with_context(problem)?;
    let dir = file.parent().unwrap_or(Path::new("."));
    File::open(dir).and_then(|dir| dir.sync_all()).with_context(problem)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    fn set_mode(file: &Path, mode: u32) {
        fs::set_permissions(file, Permissions::from_mode(mode)).unwrap();
    }

    fn refused(dir: &Path, is_used: bool) -> String {
        format!("{:#}", Keys::load_or_create(dir, is_used, None).err().expect("it was accepted"))
    }

    #[test]
    fn keys_made_once_are_whole_private_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("keys");
        let made = Keys::load_or_create(&dir, false, None).unwrap();
        let read = Keys::load_or_create(&dir, true, None).unwrap();
        let public =
            |keys: &Keys| format!("{:?}", keys.ledger.verifying_key("c.example/log").unwrap());
        assert_eq!(public(&made), public(&read));
        let mode = fs::metadata(dir.join("vault.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 2, "nothing unfinished is left");
    }

    #[test]
    fn a_key_or_its_directory_that_is_open_to_others_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("keys");
        Keys::load_or_create(&dir, false, None).unwrap();
        for name in ["vault.key"] {
            for mode in [0o640, 0o604, 0o620] {
                set_mode(&dir.join(name), mode);
                let error = refused(&dir, false);
                assert!(error.contains(name) && error.contains("chmod 600"), "{error}");
                assert!(error.contains(&format!("{mode:o}")), "{error}");
            }
            set_mode(&dir.join(name), 0o600);
        }
        set_mode(&dir, 0o750);
        assert!(refused(&dir, false).contains("chmod 700"));
        set_mode(&dir, 0o700);
        Keys::load_or_create(&dir, false, None).unwrap();
    }

    #[test]
    fn a_key_that_is_missing_where_it_was_used_is_not_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("keys");
        Keys::load_or_create(&dir, false, None).unwrap();
        for name in ["vault.key", "ledger"] {
            let (file, away) = (dir.join(name), dir.join("away"));
            fs::rename(&file, &away).unwrap();
            let error = refused(&dir, true);
            assert!(error.contains(name) && error.contains("backup"), "{error}");
            assert!(!file.exists(), "{name}");
            fs::rename(&away, &file).unwrap();
        }
    }

    #[test]
    fn a_key_half_written_when_the_machine_stopped_is_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("vault.unfinished"), "half").unwrap();
        set_mode(dir.path(), 0o700);
        Keys::load_or_create(dir.path(), false, None).unwrap();
        assert_eq!(fs::read(dir.path().join("vault.key")).unwrap().len(), 32);
    }

    #[test]
    fn the_sealing_key_may_come_from_a_private_file_or_a_variable_and_is_never_made_there() {
        let dir = tempfile::tempdir().unwrap();
        let (keys, file) = (dir.path().join("keys"), dir.path().join("kek"));
        let from = |source: &KekSource| Keys::load_or_create(&keys, false, Some(source));
        let missing = from(&KekSource::File(file.clone())).err().unwrap();
        assert!(format!("{missing:#}").contains("kek"), "{missing:#}");
        assert!(!file.exists());
        for good in [
            vec![7; 32],
            STANDARD.encode([7; 32]).into_bytes(),
            b"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n".to_vec(),
        ] {
            fs::write(&file, good).unwrap();
            set_mode(&file, 0o600);
            from(&KekSource::File(file.clone())).unwrap();
        }
        set_mode(&file, 0o640);
        assert!(from(&KekSource::File(file.clone())).is_err(), "others could read it");
        set_mode(&file, 0o600);
        fs::write(&file, "too short").unwrap();
        let odd = from(&KekSource::File(file)).err().unwrap().to_string();
        assert!(odd.contains("openssl rand") && !odd.contains("too short"), "{odd}");
        let unset = from(&KekSource::Env("CARNET_NO_SUCH_KEK".into())).err().unwrap();
        assert!(unset.to_string().contains("CARNET_NO_SUCH_KEK"), "{unset}");
        assert!(!keys.join("vault.key").exists());
    }

    #[test]
    fn a_sealing_key_is_32_bytes_and_nothing_else() {
        assert_eq!(kek_in(&[7; 32]), Some([7; 32]));
        for odd in [&b""[..], &[7; 31], &[7; 33], b"BwcH", &[0xff; 44]] {
            assert_eq!(kek_in(odd), None);
        }
    }
}
