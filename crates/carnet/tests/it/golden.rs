//! Comparing what is printed with what was printed when a person last looked at it.

use std::path::{Path, PathBuf};

/// Compares `text` with `golden/NAME`. With `CARNET_GOLDEN=write` it is written instead.
#[track_caller]
pub(crate) fn assert_golden(name: &str, text: &str) {
    let file: PathBuf =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join("it").join("golden").join(name);
    if std::env::var_os("CARNET_GOLDEN").is_some_and(|value| value == "write") {
        std::fs::write(&file, text).unwrap();
        return;
    }
    let golden = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(text, golden, "{name} is not as it was; look at it, then CARNET_GOLDEN=write");
}
