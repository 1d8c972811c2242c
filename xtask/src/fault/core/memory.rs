//! A disk that forgets everything unsynced: the control plane over it, cut off at every moment.

use super::{Case, Verdict};
use crate::process;

/// The control plane's own test, as a case.
pub(super) fn cases() -> Vec<Case> {
    vec![Case::new("a disk that forgets everything unsynced", |_| {
        let mut test = process::cargo();
        test.args(["test", "--quiet", "--package", "carnet-broker", "--test", "it", "forgetful"]);
        let (printed, is_ok) = process::watch(&mut test)?;
        anyhow::ensure!(is_ok, "acknowledged changes were lost, or it could not be run");
        anyhow::ensure!(!printed.contains(" 0 passed"), "nothing was run");
        Ok(Verdict::Held)
    })]
}
