//! Programs of others, kept under `target/peers` and never in the repository. What is installed is
//! pinned: by version and digest in `xtask/peers/*.txt` for PyPI, by exact version for npm.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::{process, workspace};

/// Where peers are kept.
pub(crate) fn dir() -> PathBuf {
    workspace::root().join("target/peers")
}

/// The program `program` of exactly `version`: the one on `PATH` if it is that, else one installed
/// as `xtask/peers/<program>.txt` says.
pub(crate) fn pip(program: &str, version: &str) -> anyhow::Result<PathBuf> {
    let target = dir().join(program);
    let installed = target.join("bin").join(program);
    for found in [PathBuf::from(program), installed.clone()] {
        if is_version(&found, version) {
            return Ok(found);
        }
    }
    let pins = workspace::root().join("xtask/peers").join(format!("{program}.txt"));
    let args = ["-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--require-hashes"];
    let mut install = process::command("python3");
    install.args(args).arg("--target").arg(&target).arg("--requirement").arg(pins);
    process::run(&mut install)
        .with_context(|| format!("{program} {version} could not be installed"))?;
    anyhow::ensure!(
        is_version(&installed, version),
        "{program} was installed and is not {version}"
    );
    Ok(installed)
}

/// Where the Python packages are that `xtask/peers/<set>.txt` pins; installed where they are missing
/// or another set was meant.
pub(crate) fn python(set: &str) -> anyhow::Result<PathBuf> {
    let target = dir().join(format!("python-{set}"));
    let pins = workspace::root().join("xtask/peers").join(format!("{set}.txt"));
    let wanted = std::fs::read(&pins).with_context(|| pins.display().to_string())?;
    let installed = target.join("pins.txt");
    if std::fs::read(&installed).is_ok_and(|known| known == wanted) {
        return Ok(target);
    }
    let args = ["-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--require-hashes"];
    let mut install = process::command("python3");
    install.args(args).arg("--target").arg(&target).arg("--requirement").arg(&pins);
    process::run(&mut install).with_context(|| format!("{set} could not be installed"))?;
    std::fs::write(&installed, wanted)?;
    Ok(target)
}

/// Where `package` at exactly `version` is installed from npm, with all it needs.
pub(crate) fn npm(package: &str, version: &str) -> anyhow::Result<PathBuf> {
    let target = dir().join(format!("{}-{version}", package.replace('@', "").replace('/', "-")));
    let found = target.join("node_modules").join(package);
    if found.is_dir() {
        return Ok(found);
    }
    std::fs::create_dir_all(&target)?;
    let args = ["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"];
    let mut install = process::command("npm");
    install.args(args).arg(&target).arg(format!("{package}@{version}"));
    process::run(&mut install)
        .with_context(|| format!("{package} {version} could not be installed"))?;
    Ok(found)
}

fn is_version(program: &Path, version: &str) -> bool {
    let printed = process::command(program).arg("--version").output();
    printed.is_ok_and(|printed| names_version(&String::from_utf8_lossy(&printed.stdout), version))
}

fn names_version(printed: &str, version: &str) -> bool {
    printed.split_whitespace().any(|word| word == version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_is_not_the_one_asked_for() {
        assert!(names_version("cargo-deny 0.20.2", "0.20.2"));
        assert!(!names_version("cargo-deny 0.20.21", "0.20.2"));
        assert!(!is_version(Path::new("/no/such/program"), "1"));
    }

    #[test]
    fn every_pin_names_a_digest() {
        let pins = std::fs::read_dir(workspace::root().join("xtask/peers")).unwrap();
        for pin in pins {
            let text = std::fs::read_to_string(pin.unwrap().path()).unwrap();
            assert!(text.contains("==") && text.contains("--hash=sha256:"), "{text}");
        }
    }
}
